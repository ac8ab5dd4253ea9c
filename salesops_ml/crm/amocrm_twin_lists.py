"""Lists as amoCRM's twin gives them: filters, order, pages with `next` links, 204 for nothing.

A list refuses filters and orders that its page of the documentation does not name, so that nobody relies
on one. Sources: amoCRM developer documentation, pages "Filters", "Leads", "Companies", "Tasks", "Events
and notes", "Users".
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from salesops_ml.crm.twin_vendor import Request, Response
from salesops_ml.crm.twin_world import Row

JSON, PROBLEM = "application/hal+json", "application/problem+json"
_FILTER = re.compile(r"filter\[(\w+)\](?:\[(\w*)\])?")
_ORDER = re.compile(r"order\[(\w+)\]")
_SHARED = ("limit", "page", "with", "query")


def problem(status: int, title: str, detail: str, **more: Any) -> Response:
    """An error as amoCRM tells it."""
    told = {"title": title, "type": f"https://httpstatus.es/{status}", "status": status,
            "detail": detail, **more}  # fmt: skip
    return Response(status, told, {"Content-Type": PROBLEM})


@dataclass(frozen=True)
class Listing:
    """What one address lists.

    Attributes:
        name: what its rows are called in `_embedded`.
        filters: the columns that can be filtered.
        orders: the columns that it can be ordered by; `id` where none is asked for.
        most: most rows a page.
        paid: its filters are the account's paid option.
    """

    name: str
    filters: tuple[str, ...] = ()
    orders: tuple[str, ...] = ("id",)
    most: int = 250
    paid: bool = False


class ListFault(ValueError):
    """A filter, order or limit that the list does not know."""


@dataclass
class Lists:
    """Filtered and ordered rows, kept while nothing changes: pages of one list follow each other."""

    kept: dict[Any, list[Row]] = field(default_factory=dict)

    def forget(self) -> None:
        """Something changed."""
        self.kept.clear()

    def rows(
        self,
        listing: Listing,
        request: Request,
        table: Callable[[], Iterable[Row]],
        filters_on: bool,
    ) -> list[Row]:
        """The rows that a request asks for, all pages of them."""
        asked = {
            name: tuple(values) for name, values in request.query.items() if name not in _SHARED
        }
        key = (request.path, request.one("with"), filters_on, tuple(sorted(asked.items())))
        if key not in self.kept:
            tests = [_test(listing, name, values) for name, values in asked.items()
                     if name.startswith("filter")]  # fmt: skip
            used = tests if filters_on or not listing.paid else []
            found = [row for row in table() if all(test(row) for test in used)]
            for column, turned in _orders(listing, asked):
                found.sort(key=lambda row: (row.get(column) or 0, row["id"]), reverse=turned)
            self.kept[key] = found
        return self.kept[key]


def page_of(
    listing: Listing,
    request: Request,
    rows: list[Row],
    *,
    repeats: bool = False,
    show: Callable[[Row], Row] = dict,
) -> Response:
    """One page of rows, with links to its neighbours; `show` is how each is shown."""
    limit, page = limit_of(listing, request), max(1, int(request.one("page", "1")))
    shown = page - 1 if repeats and page > 2 else page
    start = (shown - 1) * limit
    told = [show(row) for row in rows[start : start + limit]]
    return shown_page(listing, request, told, len(rows) > page * limit)


def shown_page(listing: Listing, request: Request, rows: list[Row], more: bool) -> Response:
    """Rows as a page of a list; 204 where there are none."""
    if not rows:
        return Response(204)
    page = max(1, int(request.one("page", "1")))
    here = f"{request.path}?page={page}"
    links = {"self": {"href": here}}
    if more:
        links["next"] = {"href": f"{request.path}?page={page + 1}"}
    told = [{**row, "_links": {"self": {"href": f"{request.path}/{row['id']}"}}} for row in rows]
    body = {"_page": page, "_links": links, "_embedded": {listing.name: told}}
    return Response(200, body, {"Content-Type": JSON})


def limit_of(listing: Listing, request: Request) -> int:
    """Rows a page.

    Raises:
        ListFault: more than the list gives.
    """
    limit = int(request.one("limit", str(min(50, listing.most))))
    if not 1 <= limit <= listing.most:
        raise ListFault(f"limit: {limit} is not between 1 and {listing.most}")
    return limit


def _test(listing: Listing, name: str, values: tuple[str, ...]) -> Callable[[Row], bool]:
    shape = _FILTER.fullmatch(name)
    if shape is None or shape[1] not in listing.filters:
        raise ListFault(f"{name} is no filter of this list")
    column, bound = shape[1], shape[2]
    if bound == "from":
        return lambda row: int(row[column]) >= int(values[-1])
    if bound == "to":
        return lambda row: int(row[column]) <= int(values[-1])
    chosen = {part for value in values for part in value.split(",")}
    return lambda row: str(row.get(column)) in chosen


def _orders(listing: Listing, asked: Mapping[str, tuple[str, ...]]) -> list[tuple[str, bool]]:
    found = []
    for name, values in asked.items():
        shape = _ORDER.fullmatch(name)
        if shape is None:
            continue
        if shape[1] not in listing.orders or values[-1] not in ("asc", "desc"):
            raise ListFault(f"{name}={values[-1]} is no order of this list")
        found.append((shape[1], values[-1] == "desc"))
    return found or [("id", False)]


EVENTS = Listing(
    "events", ("id", "type", "entity", "entity_id", "created_at", "created_by"), (), 100
)
_MOST_TYPES = 10


def events_page(request: Request, events: list[Row], *, repeats: bool = False) -> Response:
    """One page of events, the newest first; `events` are in the order of time."""
    limit, page = limit_of(EVENTS, request), max(1, int(request.one("page", "1")))
    asked = {name: tuple(values) for name, values in request.query.items() if name not in _SHARED}
    types = [
        value
        for name, values in asked.items()
        if name.startswith("filter[type]")
        for value in values
    ]
    if len(types) > _MOST_TYPES:
        raise ListFault(f"filter[type]: no more than {_MOST_TYPES} types at once")
    tests = [_event_test(name, values) for name, values in asked.items()]
    last = asked.get("filter[created_at][to]")
    first = int(asked.get("filter[created_at][from]", ("0",))[-1])
    end = len(events)
    if last is not None:
        end = bisect_right(events, int(last[-1]), key=lambda row: row["created_at"])
    skipped = (page - 1 - (repeats and page > 1)) * limit
    found: list[Row] = []
    for at in range(end - 1, -1, -1):
        if events[at]["created_at"] < first or len(found) > skipped + limit:
            break
        if all(test(events[at]) for test in tests):
            found.append(events[at])
    rows = found[skipped : skipped + limit]
    return shown_page(EVENTS, request, rows, len(found) > skipped + limit)


def _event_test(name: str, values: tuple[str, ...]) -> Callable[[Row], bool]:
    if name.startswith("filter[entity]"):
        chosen = set(values)
        return lambda row: row["entity_type"] in chosen
    return _test(EVENTS, name, values)
