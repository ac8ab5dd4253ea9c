"""The tables as they were known on a day: what was recorded later is not looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import ibis
import ibis.expr.types as ir

from salesops_ml.snapshots.record_end import believable_end
from salesops_ml.warehouse import Warehouse


@dataclass(frozen=True)
class Known:
    """A warehouse seen from `as_of`: histories end there, and deals created later are not there yet.

    Today's values in `deals` are today's all the same: a CRM does not say what stood there before.
    """

    warehouse: Warehouse
    as_of: datetime
    counted: dict[str, int] = field(default_factory=dict)

    def has(self, *names: str) -> bool:
        """Whether all the tables hold rows."""
        return all(self.rows(name) > 0 for name in names)

    def rows(self, name: str) -> int:
        """How many rows of table `name` were known; counted once."""
        if name not in self.counted:
            here = name in self.warehouse.names()
            self.counted[name] = int(self.table(name).count().execute()) if here else 0
        return self.counted[name]

    def filled(self, name: str, column: str) -> int:
        """How many known rows of table `name` have a value in `column`; counted once."""
        key = f"{name}.{column}"
        if key not in self.counted:
            self.counted[key] = int(self.table(name)[column].count().execute())
        return self.counted[key]

    def table(self, name: str) -> ir.Table:
        """Table `name` without what was recorded, or for deals created, after `as_of`."""
        rows = self.warehouse.table(name)
        moment = ibis.literal(self.as_of)
        if "recorded_at" in rows.columns:
            return rows.filter(rows.recorded_at.isnull() | (rows.recorded_at <= moment))
        if name == "deals":
            return rows.filter(rows.created_at.isnull() | (rows.created_at <= moment))
        return rows

    @cached_property
    def end(self) -> datetime | None:
        """The end of the record, also where `as_of` lies before it; None where nothing is dated."""
        return believable_end(self.warehouse)

    @property
    def moment(self) -> ir.TimestampScalar:
        """`as_of` as a value of expressions."""
        return ibis.literal(self.as_of)
