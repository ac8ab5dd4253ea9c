"""How Bitrix24 reads what is asked: parameters as PHP writes them, filters with prefixes, pages of 50.

Sources: Bitrix24 REST documentation, "Features of List Methods", "Retrieve Large Volumes of Data", "How
to Execute Batch Requests" and the pages of the list methods.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

from salesops_ml.crm.twin_world import Row
from salesops_ml.crm.twin_world_bitrix24 import camel

PAGE = 50
_PREFIX = re.compile(r"(>=|<=|!=|!@|>|<|@|=|!)?(.+)")
_REFERENCE = re.compile(r"\$result((?:\[[^\]]+\])+)")
_KEY = re.compile(r"([^\[]+)((?:\[[^\]]*\])*)")
_ZONED = re.compile(r"\d{4}-\d\d-\d\dT.*[+\-]\d\d:\d\d")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ">=": lambda a, b: a >= b, ">": lambda a, b: a > b, "<=": lambda a, b: a <= b,
    "<": lambda a, b: a < b, "=": lambda a, b: a == b, "!=": lambda a, b: a != b,
    "!": lambda a, b: a != b, "@": lambda a, b: a in b, "!@": lambda a, b: a not in b,
}  # fmt: skip


def in_camel_case(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Filter and order with names as `crm.item.*` shows them; it takes the database's names, too.

    Example:
        >>> in_camel_case({"filter": {">=UPDATED_TIME": 1}, "order": {"ID": "ASC"}})
        {'filter': {'>=updatedTime': 1}, 'order': {'id': 'ASC'}}
    """

    def renamed(key: str) -> str:
        match = _PREFIX.fullmatch(key)
        if match is None or not match[2].isupper() or match[2].startswith("UF_CRM"):
            return key
        return f"{match[1] or ''}{camel(match[2])}"

    told = {key.lower(): value for key, value in asked.items()}
    for name in ("filter", "order"):
        if isinstance(told.get(name), Mapping):
            told[name] = {renamed(key): value for key, value in told[name].items()}
    return told


class BadArgument(Exception):
    """A filter or an order that Bitrix24 refuses (`INVALID_ARG_VALUE`)."""


@dataclass
class Table:
    """One kind of record.

    Attributes:
        key: the column of its id.
        rows: id -> record.
        version: grows with each change.
    """

    key: str
    rows: dict[int, Row] = field(default_factory=dict)
    version: int = 0
    _ids: tuple[int, list[int]] = (-1, [])
    _found: dict[str, tuple[int, list[int]]] = field(default_factory=dict)

    def ids(self) -> list[int]:
        """The ids in order."""
        if self._ids[0] != self.version:
            self._ids = (self.version, sorted(self.rows))
        return self._ids[1]

    def ids_where(self, conditions: Mapping[str, Any]) -> list[int]:
        """The ids of the records that meet the conditions, in order; remembered until a change."""
        if not conditions:
            return self.ids()
        name = json.dumps(conditions, sort_keys=True, default=str)
        version, found = self._found.get(name, (-1, []))
        if version != self.version:
            rest = {**conditions}
            named = rest.pop(f"@{self.key}", None)
            among = (
                self.ids() if named is None else sorted({int(n) for n in named} & self.rows.keys())
            )
            tests = [_test(key, value) for key, value in rest.items()]
            found = [n for n in among if all(test(self.rows[n]) for test in tests)]
            self._found = {name: (self.version, found)}
        return found


@dataclass(frozen=True)
class Page:
    """What a list method found: records, and where it counts, how many there are and what comes next."""

    rows: list[Row]
    total: int | None
    following: int | None


def read_page(
    table: Table, asked: Mapping[str, Any], *, known: set[str] | None, repeats: bool = False
) -> Page:
    """One page of a list method.

    Args:
        table: the records.
        asked: `filter`, `order` and `start`, in any case, as JSON or as text.
        known: the fields that may be asked for; None where Bitrix24 ignores what it does not know.
        repeats: whether the condition on the id is forgotten, so that a page comes again.

    Raises:
        BadArgument: a field that cannot be filtered or ordered by.
    """
    told = {key.lower(): value for key, value in asked.items()}
    conditions = dict(told.get("filter") or {})
    _check_order(told.get("order"), known)
    first = _after(conditions, table.key)
    for name in conditions:
        if known is not None and _PREFIX.fullmatch(name)[2] not in known:  # type: ignore[index]
            raise BadArgument(f"Invalid filter: field '{name}' is not allowed in filter")
    ids = table.ids_where(conditions)
    begin = 0 if first is None or repeats else bisect_right(ids, first)
    start = int(told.get("start") or 0)
    if start >= 0:
        begin += start
    rows = [table.rows[n] for n in ids[begin : begin + PAGE]]
    if start < 0:
        return Page(rows, None, None)
    more = begin + PAGE < len(ids)
    return Page(rows, len(ids), start + PAGE if more else None)


def _check_order(order: Any, known: set[str] | None) -> None:
    for name, way in (order or {}).items() if isinstance(order, Mapping) else ():
        if known is not None and name not in known:
            raise BadArgument(f"Invalid order: field '{name}' is not allowed in order")
        if str(way).upper() not in ("ASC", "DESC"):
            raise BadArgument(
                f"Invalid order: allowed sort directions are ASC, DESC. But got '{way}' for field "
                f"'{name}'"
            )


def _after(conditions: dict[str, Any], key: str) -> int | None:
    """The id after which records are wanted, taken out of the conditions.

    A reference that leads nowhere is empty text, and that is no condition.
    """
    asked = conditions.pop(f">{key}", None)
    return None if asked in (None, "") else int(asked)


def _test(key: str, wanted: Any) -> Callable[[Row], bool]:
    match = _PREFIX.fullmatch(key)
    assert match is not None
    compare, name = _COMPARE[match[1] or ("@" if isinstance(wanted, list) else "=")], match[2]
    right = [comparable(w) for w in wanted] if isinstance(wanted, list) else comparable(wanted)

    def test(row: Row) -> bool:
        left = row.get(name)
        return left is not None and compare(comparable(left), right)

    return test


def comparable(value: Any) -> Any:
    """A value as Bitrix24 compares it: numbers as numbers, moments as moments.

    Example:
        >>> comparable("2026-03-01T03:00:00+03:00") == comparable("2026-03-01T00:00:00+00:00")
        True
        >>> comparable("12") == comparable(12)
        True
    """
    if isinstance(value, int | float):
        return value
    text = str(value)
    if text.lstrip("-").isdigit():
        return int(text)
    if _ZONED.fullmatch(text):
        return datetime.fromisoformat(text).timestamp()
    return text


def parse_php(query: str) -> dict[str, Any]:
    """Parameters as PHP reads them from a query: brackets nest, numbered keys are lists.

    Example:
        >>> parse_php("id=5&fields[title]=a%20b&select[]=id&select[]=title&filter[%3Eid]=7")
        {'id': '5', 'fields': {'title': 'a b'}, 'select': ['id', 'title'], 'filter': {'>id': '7'}}
    """
    told: dict[str, Any] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        match = _KEY.fullmatch(unquote_plus(name))
        if match is None:
            continue
        keys = [match[1], *re.findall(r"\[([^\]]*)\]", match[2])]
        place = told
        for key in keys[:-1]:
            place = place.setdefault(key or str(len(place)), {})
        place[keys[-1] or str(len(place))] = unquote_plus(value)
    return {name: _listed(value) for name, value in told.items()}


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {key: _listed(one) for key, one in value.items()}
    if inner and list(inner) == [str(n) for n in range(len(inner))]:
        return list(inner.values())
    return inner


def resolved(value: Any, results: Mapping[str, Any]) -> Any:
    """Parameters of a batch command with `$result[...]` replaced by what earlier commands gave.

    Example:
        >>> resolved({">id": "$result[a][items][0][id]"}, {"a": {"items": [{"id": 7}]}})
        {'>id': '7'}
    """
    if isinstance(value, dict):
        return {key: resolved(one, results) for key, one in value.items()}
    if isinstance(value, list):
        return [resolved(one, results) for one in value]
    return _REFERENCE.sub(lambda match: _looked_up(match[1], results), value)


def _looked_up(path: str, results: Mapping[str, Any]) -> str:
    place: Any = results
    for key in re.findall(r"\[([^\]]+)\]", path):
        if isinstance(place, list):
            place = place[int(key)] if key.isdigit() and int(key) < len(place) else None
        else:
            place = place.get(key) if isinstance(place, Mapping) else None
    return "" if place is None or isinstance(place, dict | list) else str(place)


def php_array(told: dict[str, Any]) -> Any:
    """A PHP array as JSON: a list where it is empty, or numbered from nought.

    Example:
        >>> php_array({}), php_array({"a": 1}), php_array({"0": 1, "1": 2})
        ([], {'a': 1}, [1, 2])
    """
    if list(told) == [str(n) for n in range(len(told))]:
        return list(told.values())
    return told
