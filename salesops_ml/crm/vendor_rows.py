"""A landed table under the vendor's own names, its text read as what the canonical tables want.

Loaders write names in their own way (`StageName`, `stage_name`, `property_dealstage`); they are the
same here. A value that does not read as its kind leaves its row out, with a reject that says what stood
where.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import ibis
import ibis.expr.types as ir

from salesops_ml.crm.landing_book import DELETED, squashed
from salesops_ml.errors import SourceError

BAD, VALUE = "@bad", "@value"
_PREFIXES = ("", "property_", "properties_", "properties__")


class Rows:
    """One landed table; a column that it lacks reads as nothing.

    Args:
        table: the landed rows; None where the CRM or the loader brings no such table.
        name: the vendor's name of it, for messages.
    """

    def __init__(self, table: ir.Table | None, name: str) -> None:
        self.here = table is not None
        self.table = table if table is not None else _EMPTY
        self.name = name
        self._exact = frozenset[str](self.table.columns)
        self._loose: dict[str, str] = {squashed(c): c for c in self.table.columns}
        self._read: dict[str, tuple[str, ir.Value, ir.Value]] = {}

    def only(self, table: ir.Table) -> Rows:
        """The same columns of other rows."""
        return Rows(table, self.name)

    @property
    def live(self) -> Rows:
        """Without the rows that were deleted."""
        return self.only(self.table.filter(~self.table[DELETED])) if self.here else self

    def find(self, column: str) -> str | None:
        """The landed name of the vendor's `column`."""
        for prefix in _PREFIXES:
            if prefix + column in self._exact:
                return prefix + column
        for prefix in _PREFIXES:
            if squashed(prefix + column) in self._loose:
                return self._loose[squashed(prefix + column)]
        return None

    def has(self, column: str) -> bool:
        """Whether the column landed."""
        return self.find(column) is not None

    def require(self, *columns: str) -> Rows:
        """These rows, or `SourceError` where one of `columns` did not land."""
        missing = [column for column in columns if not self.has(column)]
        if not self.here:
            raise SourceError(
                f"table `{self.name}` has not landed, but nothing can be read without it; give the "
                "reading user the right to see it, or name it under `source.tables`"
            )
        if missing:
            known = ", ".join(sorted(c for c in self._exact if not c.startswith("_")))
            raise SourceError(
                f"table `{self.name}` has no column `{missing[0]}`; it has: {known}; give the "
                "reading user the right to see the field, or add it to what is loaded"
            )
        return self

    def text(self, column: str) -> ir.StringValue:
        """The column as it landed; empty text is nothing."""
        found = self.find(column)
        if found is None:
            return ibis.null("string")
        return self.table[found].nullif("")

    def number(self, column: str) -> ir.FloatingValue:
        """The column as numbers."""
        return self._as(column, "float64")

    def money(self, column: str) -> ir.DecimalValue:
        """The column as money, to the cent."""
        return self._as(column, "decimal(18, 2)")

    def integer(self, column: str) -> ir.IntegerValue:
        """The column as whole numbers; 12.0 is one."""
        return self._as(column, "float64").round().cast("int64")

    def moment(self, column: str) -> ir.TimestampValue:
        """The column as naive UTC moments; where an offset stands, it counts."""
        return self._as(column, "timestamp('UTC')").cast("timestamp")

    def day(self, column: str) -> ir.DateValue:
        """The column as days."""
        return self._as(column, "date")

    def truth(self, column: str) -> ir.BooleanValue:
        """The column as yes, no or nothing."""
        return self._as(column, "boolean")

    def flag(self, column: str) -> ir.BooleanValue:
        """The column as yes or no; nothing is no."""
        return self.truth(column).fill_null(False)

    def _as(self, column: str, kind: str) -> Any:
        raw = self.text(column)
        value = raw.try_cast(kind)
        self._read[column] = (column, raw, value)
        return value

    def unread(self) -> dict[str, ir.Value]:
        """Columns `BAD` and `VALUE`: the first column read that does not read, and what stands there."""
        told = [self._read[column] for column in self._read if self.has(column)]
        bad = [(raw.notnull() & value.isnull(), name, raw) for name, raw, value in told]
        nothing = ibis.null("string")
        if not bad:
            return {BAD: nothing, VALUE: nothing}
        return {
            BAD: ibis.cases(
                *[(wrong, ibis.literal(name)) for wrong, name, _ in bad], else_=nothing
            ),
            VALUE: ibis.cases(*[(wrong, raw) for wrong, _, raw in bad], else_=nothing),
        }


_EMPTY = ibis.memtable({DELETED: []}, schema={DELETED: "boolean"})


def landed_rows(tables: Mapping[str, ir.Table], *names: str) -> Rows:
    """The first of `names` that landed, as rows; the first name is the one that messages use."""
    loose = {squashed(name): table for name, table in tables.items()}
    for name in names:
        if squashed(name) in loose:
            return Rows(loose[squashed(name)], names[0])
    return Rows(None, names[0])


def renamed(text: ir.StringValue, names: Mapping[str, str]) -> ir.StringValue:
    """Old words in new ones; words that `names` does not have stay.

    Example:
        >>> renamed(ibis.literal("Verbal"), {"Verbal": "Commit"}).execute()
        'Commit'
    """
    return text.substitute(dict(names)) if names else text


def among(value: ir.Value, words: Iterable[str]) -> ir.BooleanValue:
    """Whether a value is one of `words`; nothing is not."""
    chosen = tuple(words)
    return value.isin(chosen).fill_null(False) if chosen else ibis.literal(False)


def local_day(moment: ir.TimestampValue, zone: str) -> ir.DateValue:
    """The day of a naive UTC moment where the clocks show `zone`."""
    if zone == "UTC":
        return moment.cast("date")
    return _timezone(zone, moment.cast("timestamp('UTC')")).cast("date")


def _shown(zone: str, moment: object) -> object: ...


_timezone = ibis.udf.scalar.builtin(
    _shown, name="timezone", signature=(("string", "timestamp('UTC')"), "timestamp")
)
"""DuckDB's own: what the clocks of a zone show at a moment."""
