"""Which deals a small change of a CRM touches, and the landed rows that are theirs.

The deals whose rows a load brought, and those tied to them by a shared activity or a merger, can be
mapped as if there were no others. A change that could move any deal - of a stage, a pipeline, a
currency - is no small one: everything is mapped anew then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import ibis.expr.types as ir
import pyarrow as pa

from salesops_ml.crm.landing_book import DATASET, LOAD, squashed
from salesops_ml.crm.vendor_rows import landed_rows
from salesops_ml.crm.vendors import Link, Shape

ACTIVITIES = "activities"
CHOSEN, HANGING = "_chosen", "_hanging"
_LARGEST_SHARE = 0.2
_MOST_ROUNDS = 20


@dataclass(frozen=True)
class Narrowed:
    """The landed rows of the deals that a change touches.

    Attributes:
        tables: landed tables, those that belong to deals with the rows of these deals alone.
        deals: ids of the deals, gone ones among them.
        own: canonical table -> ids of its rows that changed, whatever deal they belong to.
        untouched: canonical tables that did not change, and need not be computed.
        hanging: whose activities are in `tables`: of all these deals, or, where no activity changed,
            of none before `with_activities` chooses the deals that came or went.
        hang: chooses them, and gives them with all that share an activity with one of them.
    """

    tables: dict[str, ir.Table]
    deals: list[str]
    own: dict[str, list[str]]
    untouched: frozenset[str]
    hanging: list[str]
    hang: Callable[[set[str]], set[str]]

    def with_activities(self, ids: set[str]) -> Narrowed:
        """The same, with the activities of some of the deals, and of those that share one with them."""
        hanging = sorted(self.hang(ids))
        return replace(self, untouched=self.untouched - {ACTIVITIES}, hanging=hanging)


def narrowed(
    tables: Mapping[str, ir.Table], shape: Shape, counts: Mapping[str, int], *, since: int
) -> Narrowed | None:
    """The part of a landing that later loads than `since` touch; None where that may be all of it.

    Args:
        tables: landed tables by name, on one open connection.
        shape: which of them belong to deals.
        counts: rows that these loads changed, by table.
        since: the load that is mapped already.
    """
    moved = {squashed(name) for name, count in counts.items() if count}
    of_deals = {squashed(name) for name in (*shape.deals, *shape.links)}
    apart = {squashed(name): canonical for name, canonical in shape.apart.items()}
    if moved - of_deals - apart.keys():
        return None
    part = _Part(tables, shape, moved, since)
    ids = part.touched()
    if ids is None:
        return None
    own = {name: part.changed(sources, key) for name, (sources, key) in shape.own.items()}
    still = {"accounts", "reps"} - {apart[name] for name in moved & apart.keys()}
    later = _activity_tables(shape)
    if moved & (later | apart.keys()):
        later = frozenset()
    if later:
        still.add(ACTIVITIES)
    chosen = part.rows_of(ids, later)
    hanging = [] if later else sorted(ids)
    return Narrowed(chosen, sorted(ids), own, frozenset(still), hanging, part.hang)


def _activity_tables(shape: Shape) -> frozenset[str]:
    """The landed tables that activities, and nothing else, are made of."""
    names, _ = shape.own.get(ACTIVITIES, ((), ""))
    through = [shape.links[name].through for name in names if name in shape.links]
    return frozenset(squashed(name) for name in (*names, *through))


class _Part:
    """Plain SQL over the landing: what changed since a load, and what is tied to it."""

    def __init__(
        self, tables: Mapping[str, ir.Table], shape: Shape, moved: set[str], since: int
    ) -> None:
        self.tables, self.shape, self.moved, self.since = tables, shape, moved, since
        self.ibis = next(iter(tables.values())).get_backend()
        self.raw: Any = self.ibis.con

    def touched(self) -> set[str] | None:
        """Deals of changed rows and all that are tied to them; None where they are too many."""
        ids: set[str] = set()
        for name, column in self.shape.deals.items():
            if squashed(name) in self.moved:
                ids |= self._values(f"SELECT {self._named(name, column)} {self._fresh(name)}")
        for name, link in self.shape.links.items():
            if squashed(name) in self.moved and self._here(link.through):
                fresh = f"SELECT {self._named(name, link.column)} {self._fresh(name)}"
                ids |= self._values(self._deals_of(link, fresh))
        first = self._place(next(iter(self.shape.deals)))
        most = _LARGEST_SHARE * int(self.raw.execute(f"SELECT count(*) FROM {first}").fetchone()[0])
        for _ in range(_MOST_ROUNDS):
            if len(ids) > most:
                return None
            more = self._tied(ids)
            if more <= ids:
                return ids
            ids |= more
        return None

    def _tied(self, ids: set[str]) -> set[str]:
        """Deals that share an activity or quote with one of `ids`, or were merged with one."""
        self._choose(ids)
        found: set[str] = set()
        for link in set(self.shape.links.values()):
            if self._here(link.through):
                found |= self._values(self._deals_of(link, self._shared(link)))
        if self.shape.merged is not None:
            found |= self._merged(ids, *self.shape.merged)
        return found

    def _shared(self, link: Link, chosen: str = CHOSEN) -> str:
        """What the chosen deals share with others."""
        deal = self._named(link.through, self.shape.deals[link.through])
        by = self._named(link.through, link.by)
        return f"SELECT {by} FROM {self._place(link.through)} WHERE {deal} IN (FROM {chosen})"

    def _deals_of(self, link: Link, shared: str) -> str:
        deal = self._named(link.through, self.shape.deals[link.through])
        by = self._named(link.through, link.by)
        return f"SELECT {deal} FROM {self._place(link.through)} WHERE {by} IN ({shared})"

    def _merged(self, ids: set[str], name: str, column: str) -> set[str]:
        rows = landed_rows(self.tables, name)
        if not rows.has(column):
            return set()
        deal, into = self._named(name, self.shape.deals[name]), self._named(name, column)
        pairs = self.raw.execute(
            f"SELECT {deal}, {into} FROM {self._place(name)} WHERE {into} <> ''"
        ).fetchall()
        families = [{winner, *(part.strip() for part in told.split(";"))} for winner, told in pairs]
        return {deal for family in families if family & ids for deal in family}

    def changed(self, sources: Iterable[str], key: str) -> list[str]:
        """Keys of the rows of some tables that changed, or whose ties to deals did."""
        found: set[str] = set()
        for name in sources:
            if squashed(name) in self.moved:
                found |= self._values(f"SELECT {self._named(name, key)} {self._fresh(name)}")
            link = self.shape.links.get(name)
            if link is not None and link.column == key and squashed(link.through) in self.moved:
                by = self._named(link.through, link.by)
                found |= self._values(f"SELECT {by} {self._fresh(link.through)}")
        return sorted(found)

    def rows_of(self, ids: set[str], later: frozenset[str]) -> dict[str, ir.Table]:
        """Each landed table with the rows that these deals need; `later` ones with those of `hang`."""
        self._choose(ids)
        self._choose(set(), HANGING)
        done = dict(self.tables)
        for name in self.tables:
            short = squashed(name)
            where = self._condition(short, HANGING if short in later else CHOSEN)
            if where is None:
                continue
            kind = "VIEW" if short in later else "TABLE"
            self.raw.execute(
                f'CREATE OR REPLACE TEMP {kind} "part_{name}" AS '
                f"SELECT * FROM {self._place(name)} WHERE {where}"
            )
            done[name] = self.ibis.table(f"part_{name}", database=("temp", "main"))
        return done

    def _condition(self, short: str, chosen: str) -> str | None:
        """Which rows of a table the deals in `chosen` need; None for all of them."""
        keys = {squashed(name): (name, column) for name, column in self.shape.deals.items()}
        links = {squashed(name): link for name, link in self.shape.links.items()}
        shared = {squashed(link.through): link for link in self.shape.links.values()}
        own = {squashed(name) for sources, _ in self.shape.own.values() for name in sources}
        if short in shared:
            link = shared[short]
            where = f"{self._named(short, link.by)} IN ({self._shared(link, chosen)})"
        elif short in keys:
            where = f"{self._named(*keys[short])} IN (FROM {chosen})"
        elif short in links and not self._here(links[short].through):
            where = "false"  # nothing says that a row is of a deal
        elif short in links:
            link = links[short]
            where = f"{self._named(short, link.column)} IN ({self._shared(link, chosen)})"
        else:
            return None
        return f"{where} OR {LOAD} > {self.since}" if short in own else where

    def hang(self, ids: set[str]) -> set[str]:
        """Whose activities the tables show that wait for it: of these deals and all tied to them.

        A shared activity counts for one of its deals, and for another once that one comes or goes.
        """
        hanging = set(ids)
        while hanging and not (more := self._tied(hanging)) <= hanging:
            hanging |= more
        self._choose(hanging, HANGING)
        return hanging

    def _choose(self, ids: set[str], name: str = CHOSEN) -> None:
        chosen = pa.table({"id": pa.array(sorted(ids), pa.string())})
        self.raw.register("_ids", chosen)
        self.raw.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT id FROM _ids")
        self.raw.unregister("_ids")

    def _values(self, query: str) -> set[str]:
        """What a query finds, without nothing and the empty text: a row that is tied to no deal."""
        return {str(row[0]) for row in self.raw.execute(query).fetchall() if row[0]}

    def _fresh(self, name: str) -> str:
        return f"FROM {self._place(name)} WHERE {LOAD} > {self.since}"

    def _here(self, name: str) -> bool:
        return landed_rows(self.tables, name).here

    def _place(self, name: str) -> str:
        return f'{DATASET}."{landed_rows(self.tables, name).table.op().name}"'

    def _named(self, name: str, column: str) -> str:
        found = landed_rows(self.tables, name).require(column).find(column)
        return f'"{found}"'
