"""Rows on their way in: canonical columns, and beside each row the file and line that it came from.

Every check speaks of the place in the user's file, so the place travels with the row until the last
check is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.crm.tabular import Cells
from salesops_ml.errors import SourceError
from salesops_ml.schema import REJECTS, Attribute, CanonicalTables, no_rejects

FILE = "@file"
LINE = "@line"
PLACE = (FILE, LINE)
_MOST_REJECTED = 0.5


@dataclass(frozen=True)
class Draft:
    """Tables that are read but not yet checked against each other.

    Attributes:
        tables: canonical name -> typed rows with the columns of `PLACE` beside them.
        rejects: tables of rejected values so far.
        attributes: extra deal attributes.
        counts: source rows used or left, by reason.
        left: rows left out of each table because they are rejects.
        time_zone: where the source's bare dates and local times are meant.
        truth: what only a synthetic world knows.
        located: turns rejects by the source's own row numbers into rejects by line of the file.
    """

    tables: dict[str, pa.Table]
    rejects: tuple[pa.Table, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    time_zone: str = "UTC"
    truth: dict[str, pa.Table] = field(default_factory=dict)
    located: Callable[[pa.Table], pa.Table] = lambda rejects: rejects

    @classmethod
    def of(cls, tables: CanonicalTables, source: str) -> Draft:
        """Tables that are canonical already, from a source whose rows have no lines."""
        placed = {
            name: place(table, source, pa.array([0] * table.num_rows, pa.int64()))
            for name, table in tables.tables.items()
        }
        counts = dict(tables.counts)
        return cls(placed, (tables.rejects,), tables.attributes, counts, truth=tables.truth)

    def without(self, name: str, bad: pa.ChunkedArray | pa.Array, rejects: pa.Table) -> Draft:
        """The draft with the rows of table `name` where `bad` is true left out, and noted."""
        kept = self.tables[name].filter(pc.invert(pc.fill_null(bad, False)))
        lost = self.tables[name].num_rows - kept.num_rows
        return replace(
            self,
            tables={**self.tables, name: kept},
            rejects=(*self.rejects, rejects),
            left={**self.left, name: self.left.get(name, 0) + lost},
        )

    def all_rejects(self) -> pa.Table:
        """Every reject so far, as one table."""
        return self.located(pa.concat_tables([no_rejects(), *self.rejects]))


def place(table: pa.Table, file: str, lines: pa.ChunkedArray | pa.Array) -> pa.Table:
    """`table` with the place of each row beside it."""
    files = pa.array([file], pa.string()).take(pa.array([0] * table.num_rows, pa.int64()))
    return table.append_column(FILE, files).append_column(LINE, lines.cast(pa.int64()))


def rejects_of(
    rows: pa.Table,
    *,
    table: str,
    column: str,
    values: pa.ChunkedArray | pa.Array,
    reason: str | pa.ChunkedArray | pa.Array,
    cure: str,
) -> pa.Table:
    """One reject for each of `rows` (which carry their place), told in the user's words."""
    size = rows.num_rows
    filled = {
        "source": rows[FILE],
        "row": rows[LINE],
        "table": pa.repeat(table, size),
        "column": pa.repeat(column, size),
        "value": values.cast(pa.string()),
        "reason": pa.repeat(reason, size) if isinstance(reason, str) else reason,
        "cure": pa.repeat(cure, size),
    }
    return pa.table(filled, schema=REJECTS.arrow())


def ragged_rejects(cells: Cells, file: str, table: str) -> pa.Table:
    """The rows of a file that have more or fewer cells than its header."""
    reason = f"cells where the header has {cells.columns.num_columns}"
    rows = [
        {
            "source": file, "row": row.line, "table": table, "column": "", "value": row.text,
            "reason": f"has {row.cells} {reason}",
            "cure": "quote values that hold the delimiter, and give each row every cell",
        }
        for row in cells.ragged
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=REJECTS.arrow())


def refuse_mostly_rejected(draft: Draft) -> None:
    """Raise `SourceError` where more than half of a table's rows could not be used."""
    for name, lost in draft.left.items():
        kept = draft.tables[name].num_rows if name in draft.tables else 0
        read = lost + kept
        if lost > _MOST_REJECTED * read:
            raise SourceError(_mostly_rejected(name, read, lost, draft.all_rejects()))


def _mostly_rejected(name: str, read: int, lost: int, rejects: pa.Table) -> str:
    of_table = rejects.filter(pc.equal(rejects["table"], name)).slice(0, 3).to_pylist()
    lines = [
        f"{row['source']}, line {row['row']}, column `{row['column']}`: "
        f"{row['value']!r}: {row['reason']}; {row['cure']}"
        for row in of_table
    ]
    head = f"table `{name}`: {lost} of {read} rows cannot be used, so the mapping must be wrong:"
    return "\n  ".join([head, *lines])


def joined(tables: Iterable[pa.Table]) -> pa.Table:
    """Tables laid under each other; a column that one lacks is null there."""
    return pa.concat_tables(list(tables), promote_options="default")
