"""A mapping block, checked against the canonical schema and against the header of its file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from salesops_ml.crm.attributes import declared
from salesops_ml.crm.values import Format
from salesops_ml.errors import ConfigError, SourceError
from salesops_ml.schema import TABLES, Attribute, Kind
from salesops_ml.source_settings import FilesSource, FileTable

_MADE_HERE = ("seq",)
"""Required columns that we fill where the source has none."""


@dataclass(frozen=True)
class MappedColumn:
    """One canonical column: the source column or the constant that fills it, and how it is written.

    `name` is what the configuration calls it, `target` the column of the table.
    """

    name: str
    target: str
    kind: Kind
    source: str | None
    constant: str | None
    form: Format
    values: dict[str, str]
    scale: float = 1.0


@dataclass(frozen=True)
class Mapping:
    """All columns of one canonical table that one file fills."""

    table: str
    part: FileTable
    columns: tuple[MappedColumn, ...]
    attributes: tuple[Attribute, ...]
    place: str


def mapping_of(
    source: FilesSource, table: str, part: FileTable, header: list[str], split_column: str | None
) -> Mapping:
    """The mapping of `part`, with every name in it known to be right.

    Raises:
        ConfigError: it names a column that the canonical table does not have, or lacks one that
            the table cannot do without.
        SourceError: it names a column that the file does not have.
    """
    place = f"source.tables.{table}"
    spec = TABLES[table]
    extra = declared(part.attributes, split_column) if table == "deals" else []
    if part.attributes and table != "deals":
        raise ConfigError(f"`{place}.attributes`: only `deals` can carry extra attributes")
    columns = part.columns or {
        name: name for name in spec.names if name in header and name not in part.constants
    }
    names = [*spec.names, *(attribute.name for attribute, _ in extra)]
    for setting in ("columns", "constants"):
        _known(f"{place}.{setting}", getattr(part, setting), spec.names)
    for setting in ("dates", "values", "scale"):
        _known(f"{place}.{setting}", getattr(part, setting), (*names, "*"))
    _complete(place, table, {*columns, *part.constants})
    found = [
        _column(source, part, name, name, spec.column(name).kind, columns.get(name))
        for name in spec.names
        if name in columns or name in part.constants
    ]
    found += [
        _column(source, part, attribute.name, attribute.column, attribute.kind, column)
        for attribute, column in extra
    ]
    mapping = Mapping(table, part, tuple(found), tuple(known for known, _ in extra), place)
    _in_file(mapping, header)
    return mapping


def _column(
    source: FilesSource, part: FileTable, name: str, target: str, kind: Kind, column: str | None
) -> MappedColumn:
    dated = kind in ("timestamp", "date")
    pattern = part.dates.get(name, part.dates.get("*")) if dated else part.dates.get(name)
    form = Format(pattern, source.time_zone, part.decimal)
    constant = None if column is not None else part.constants[name]
    scale = part.scale.get(name, 1.0)
    if scale != 1.0 and kind not in ("money", "float"):
        raise ConfigError(f"`scale`: `{name}` is no amount and no number; leave its scale out")
    values = part.values.get(name, {})
    return MappedColumn(name, target, kind, column, constant, form, values, scale)


def _known(place: str, names: Iterable[str], known: Iterable[str]) -> None:
    choices = list(known)
    for name in names:
        if name not in choices:
            near = get_close_matches(name, choices, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"known are: {', '.join(choices)}"
            raise ConfigError(f"`{place}`: there is no column `{name}`; {hint}")


def _complete(place: str, table: str, filled: set[str]) -> None:
    for column in TABLES[table].columns:
        if column.required and column.name not in filled and column.name not in _MADE_HERE:
            raise ConfigError(
                f"`{place}.columns`: `{column.name}` ({column.meaning}) is required; "
                "map it to a column, or give it one value under `constants`"
            )


def _in_file(mapping: Mapping, header: list[str]) -> None:
    part = mapping.part
    place = mapping.place
    wanted = {_setting(mapping, column): column.source for column in mapping.columns}
    wanted |= {f"{place}.select.{name}": name for name in part.select}
    wanted[f"{place}.cursor"] = part.cursor
    for setting, column in wanted.items():
        if column is not None and column not in header and column not in part.lookup:
            near = get_close_matches(column, header, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"it has: {', '.join(header)}"
            raise SourceError(
                f"{part.path}: has no column `{column}`, which `{setting}` names; {hint}"
            )


def _setting(mapping: Mapping, column: MappedColumn) -> str:
    """Where the configuration names the source of `column`."""
    if column.target == column.name:
        return f"{mapping.place}.columns.{column.name}"
    if column.name in mapping.part.attributes:
        return f"{mapping.place}.attributes.{column.name}"
    return "split.column"
