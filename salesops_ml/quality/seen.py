"""What a quality check looks at: the rows known on a day, and the border beyond which dates are wrong.

Looking back at an earlier day, what happened since is no fault, only later; a date is in the future
when it lies after the day looked at *and* after the day the data were loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import ibis.expr.types as ir

from salesops_ml.schema import TABLES
from salesops_ml.warehouse import Warehouse


@dataclass(frozen=True)
class Seen:
    """The warehouse as it was known on a day.

    Attributes:
        as_of: the day, naive UTC; histories show what was recorded up to it.
        border: the later of that day and the last load; nothing true is dated after it.
    """

    warehouse: Warehouse
    as_of: datetime
    border: datetime

    @classmethod
    def at(cls, warehouse: Warehouse, *, as_of: datetime) -> Seen:
        """The warehouse as known at `as_of`."""
        return cls(warehouse, as_of, max(as_of, warehouse.loaded_at()))

    def has(self, *names: str) -> bool:
        """Whether each of the tables holds a row."""
        return all(self.warehouse.has(name) for name in names)

    def table(self, name: str) -> ir.Table:
        """The rows of a table that are known; of `deals`, all but those made between day and border."""
        table = self.warehouse.table(name)
        if name == "deals":
            made = table.created_at
            return table.filter(made.isnull() | (made <= self.as_of) | (made > self.border))
        if "recorded_at" in TABLES[name].names:
            known = table.recorded_at
            return table.filter(known.isnull() | (known <= self.as_of))
        return table
