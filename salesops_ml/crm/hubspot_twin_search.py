"""Searches as HubSpot's twin answers them: groups of filters, one order, 10,000 results at most.

Source: HubSpot developer documentation, "Search the CRM": filters of a group are tied by AND, groups by
OR; at most 5 groups, 6 filters each, one order, 200 records a page.
"""

from __future__ import annotations

import contextlib
import functools
import heapq
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from salesops_ml.crm.hubspot_api import milliseconds, moment_of

Row = Mapping[str, Any]
Condition = Callable[[Row], bool]

MOST_FOUND, MOST_A_PAGE, MOST_GROUPS, MOST_FILTERS = 10_000, 200, 5, 6
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "EQ": operator.eq, "NEQ": operator.ne, "LT": operator.lt, "LTE": operator.le,
    "GT": operator.gt, "GTE": operator.ge,
}  # fmt: skip


class MalformedSearch(ValueError):
    """The search is none that HubSpot would answer."""


def search(rows: Iterable[Row], asked: Mapping[str, Any]) -> tuple[list[Row], int, str | None]:
    """The page of a search, how many records meet it, and where the next page begins.

    Raises:
        MalformedSearch: it asks for too much, or for what there is not.

    Example:
        >>> rows = [{"id": str(n), "stage": "ab"[n % 2]} for n in range(5)]
        >>> group = {"filters": [{"propertyName": "stage", "operator": "EQ", "value": "a"}]}
        >>> found, total, after = search(rows, {"filterGroups": [group], "limit": 2})
        >>> [row["id"] for row in found], total, after
        (['0', '2'], 3, '2')
    """
    limit, start = int(asked.get("limit") or 10), int(asked.get("after") or 0)
    if not 1 <= limit <= MOST_A_PAGE:
        raise MalformedSearch(f"the maximum limit is {MOST_A_PAGE}")
    if start + limit > MOST_FOUND:
        raise MalformedSearch("There was a problem with the request.")
    meets = _condition(asked.get("filterGroups") or [])
    sorts = asked.get("sorts") or []
    if len(sorts) > 1:
        raise MalformedSearch("a maximum of 1 sort is allowed")
    found = [row for row in rows if meets(row)]
    page = _ordered(found, sorts[0] if sorts else None, start + limit)[start:]
    after = str(start + limit) if start + limit < len(found) else None
    return page, len(found), after


def _ordered(found: list[Row], sort: Any, count: int) -> list[Row]:
    told = {"propertyName": sort} if isinstance(sort, str) else sort or {}
    name = told.get("propertyName", "hs_object_id")
    best = heapq.nlargest if told.get("direction") == "DESCENDING" else heapq.nsmallest
    return best(count, found, key=lambda row: _rank(_read(name, row)))


def _rank(value: Any) -> tuple[int, Any]:
    return (0, 0) if value is None else (2, value) if isinstance(value, str) else (1, value)


def _condition(groups: list[Any]) -> Condition:
    if len(groups) > MOST_GROUPS:
        raise MalformedSearch(f"a maximum of {MOST_GROUPS} filter groups is allowed")
    parts = [[_filter(one) for one in group["filters"]] for group in groups]
    if any(len(part) > MOST_FILTERS for part in parts):
        raise MalformedSearch(f"a maximum of {MOST_FILTERS} filters a group is allowed")
    if not parts:
        return lambda _row: True
    return lambda row: any(all(meets(row) for meets in part) for part in parts)


def _filter(told: Mapping[str, Any]) -> Condition:
    name, how = str(told["propertyName"]), str(told["operator"])
    if how in ("HAS_PROPERTY", "NOT_HAS_PROPERTY"):
        return lambda row: (_read(name, row) is not None) == (how == "HAS_PROPERTY")
    if how in ("IN", "NOT_IN"):
        chosen = {_value(name, text) for text in told["values"]}
        return lambda row: (_read(name, row) in chosen) == (how == "IN")
    if how not in _COMPARE:
        raise MalformedSearch(f"Invalid input: operator {how} is not one of {list(_COMPARE)}")
    compare, wanted = _COMPARE[how], _value(name, told["value"])

    def meets(row: Row) -> bool:
        stands = _read(name, row)
        alike = isinstance(stands, str) == isinstance(wanted, str)
        return stands is not None and alike and compare(stands, wanted)

    return meets


def _read(name: str, row: Row) -> Any:
    return _value(name, row["id"] if name == "hs_object_id" else row.get(name))


def _value(name: str, value: Any) -> Any:
    """A value as searches compare it: ids and moments as numbers, all else as text."""
    if value is None or value == "":
        return None
    if name.endswith("date"):
        with contextlib.suppress(ValueError):
            return _milliseconds(str(value))
    if name == "hs_object_id" and str(value).isdigit():
        return int(value)
    return str(value)


@functools.lru_cache(maxsize=1_000_000)
def _milliseconds(text: str) -> int:
    return milliseconds(moment_of(text))
