"""What all KPIs start from: the deals, the open pipeline at the borders of each period, and nodes.

The tables are worked out once and kept in the engine, so that some thirty metrics over some thirty
periods cost one short query each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field as attribute
from datetime import datetime, timedelta
from functools import cached_property

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from salesops_ml.kpis.history import FOREVER, Field, settled_deals, stays, value_at, values
from salesops_ml.kpis.nodes import Places, places
from salesops_ml.periods import Period, utc_midnight
from salesops_ml.settings import Settings
from salesops_ml.warehouse import Warehouse

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class Facts:
    """What was known at `as_of`, ready to be counted by period and node.

    Attributes:
        warehouse: the canonical tables.
        as_of: what was recorded later does not count.
        settings: hierarchy, company calendar and what counts as selling.
        periods: the periods that are told; those that had not begun by `as_of` are left out.
    """

    warehouse: Warehouse
    as_of: datetime
    settings: Settings
    periods: tuple[Period, ...]
    _kept: list[str] = attribute(default_factory=list, repr=False)

    @classmethod
    @contextmanager
    def known(
        cls,
        warehouse: Warehouse,
        *,
        as_of: datetime,
        settings: Settings,
        periods: Sequence[Period] | None = None,
    ) -> Iterator[Facts]:
        """The facts at `as_of`; without `periods`, those that `settings.kpis` asks for."""
        asked = recent_periods(as_of, settings) if periods is None else periods
        zone = settings.company.time_zone
        begun = [period for period in asked if utc_midnight(period.start, zone) < as_of]
        facts = cls(warehouse, as_of, settings, tuple(sorted(set(begun))))
        try:
            yield facts
        finally:
            for name in facts._kept:
                warehouse.connection.drop_table(name, force=True)

    @cached_property
    def spans(self) -> ir.Table:
        """One row a period: its days, its moments, and the last ones before it and in it.

        Columns: period, starts_on, ends_on (the day after), starts_at, ends_at, `before` (the last
        moment before it) and `until` (the last moment in it, or `as_of` while it is in progress).
        """
        zone = self.settings.company.time_zone
        rows = []
        for period in self.periods:
            starts_at, ends_at = period.bounds(zone)
            until = self.as_of if self.as_of < ends_at else ends_at - _TICK
            moments = (starts_at, ends_at, starts_at - _TICK, until)
            rows.append((period.label, period.start, period.end, *moments))
        names = ("period", "starts_on", "ends_on", "starts_at", "ends_at", "before", "until")
        kinds = (pa.string(), pa.date32(), pa.date32(), *[pa.timestamp("us")] * 4)
        schema = pa.schema(list(zip(names, kinds, strict=True)))
        columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in names]
        return ibis.memtable(pa.table(columns, schema=schema))

    @property
    def long_periods(self) -> tuple[str, ...]:
        """Labels of the periods that are long enough to follow a stage: quarters, if there are any."""
        long = [period.label for period in self.periods if (period.end - period.start).days > 45]
        return tuple(long or [period.label for period in self.periods])

    @cached_property
    def stays(self) -> ir.Table:
        """Stretches of a deal in one stage, or closed: see `history.stays`."""
        return self.keep(stays(self.warehouse, as_of=self.as_of))

    @cached_property
    def settled(self) -> ir.Table:
        """From when on a deal's row of today may be believed: see `history.settled_deals`."""
        return self.keep(settled_deals(self.warehouse, self.stays, as_of=self.as_of))

    @cached_property
    def amounts(self) -> ir.Table:
        """Stretches of one amount, company currency: deal_id, value, valid_from, valid_until."""
        return self._values("amount")

    @cached_property
    def owners(self) -> ir.Table:
        """Stretches with one owner, likewise."""
        return self._values("rep_id")

    @cached_property
    def own_amounts(self) -> ir.Table:
        """Stretches of one amount in the deal's own currency, likewise."""
        return self._values("own_amount")

    @cached_property
    def due_dates(self) -> ir.Table:
        """Stretches of one expected close date, likewise."""
        return self._values("expected_close_date")

    @cached_property
    def deals(self) -> ir.Table:
        """One row a deal: deal_id, created_at, status, closed_at, and amount and rep_id.

        Amount and owner are those at closing, or at `as_of` for an open deal. Deals that had not
        begun by `as_of` are not here; nor are open deals that nobody knows the beginning of.
        """
        last = self.stays.filter(self.stays.valid_until == _moment(FOREVER))
        born = self.warehouse.table("deals").select(_deal="deal_id", created_at="created_at")
        known = last.left_join(born, last.deal_id == born["_deal"])
        closed_at = ibis.ifelse(known.outcome == "open", None, known.valid_from)
        known = known.select("deal_id", "created_at", status=known.outcome, closed_at=closed_at)
        known = known.mutate(moment=known.closed_at.fill_null(_moment(self.as_of)))
        return self.keep(self._with_state(known, due=False).drop("moment"))

    @cached_property
    def places(self) -> Places:
        """Which node each rep and deal belongs to."""
        products = self._values("product")
        latest = products.filter(products.valid_until == _moment(FOREVER))
        levels = self.settings.forecast.hierarchy
        found = places(self.warehouse, levels, latest, as_of=self.as_of)
        return Places(levels, self.keep(found.reps), self.keep(found.deals))

    @cached_property
    def closed(self) -> ir.Table:
        """Deals closed in each period, once a node: period, node, and the columns of `deals`."""
        ended = self.deals.filter(self.deals.status != "open")
        return self.keep(self.placed(self.within(ended, "closed_at")))

    @cached_property
    def won(self) -> ir.Table:
        """Those of `closed` that are won."""
        return self.closed.filter(self.closed.status == "won")

    @cached_property
    def won_by_rep(self) -> ir.Table:
        """period, rep_id, won_amount: what each rep won in each period."""
        won = self.within(self.deals.filter(self.deals.status == "won"), "closed_at")
        return won.group_by("period", "rep_id").agg(won_amount=won.amount.sum())

    @cached_property
    def reps(self) -> ir.Table:
        """Every rep that is named anywhere: rep_id."""
        reps = self.warehouse.table("reps").select("rep_id")
        owners = self.owners.select(rep_id="value")
        named = ibis.union(reps, owners, distinct=True)
        return self.keep(named.filter(named.rep_id.notnull()))

    @cached_property
    def activities(self) -> ir.Table:
        """The activities that had taken place and were recorded by `as_of`."""
        done = self.warehouse.table("activities")
        return done.filter(done.recorded_at <= self.as_of, done["at"] <= self.as_of)

    @cached_property
    def open_at_start(self) -> ir.Table:
        """`at_start`, once a node."""
        return self.keep(self.placed(self.at_start))

    @cached_property
    def open_at_end(self) -> ir.Table:
        """`at_end`, once a node."""
        return self.keep(self.placed(self.at_end))

    @cached_property
    def logged(self) -> ir.Table:
        """What each rep did in each period, once a node.

        Columns: period, node, rep_id, kind, prospect (it served a deal that was not closed yet), n,
        timed (how many have a duration) and seconds.
        """
        closed = self.deals.select(_deal="deal_id", closed_at="closed_at")
        done = self.within(self.activities, "at")
        done = done.left_join(closed, done.deal_id == closed["_deal"])
        not_closed = done.closed_at.isnull() | (done["at"] <= done.closed_at)
        seconds = (done.duration_minutes * 60).round().cast("int64")
        logged = done.select(
            "period", "rep_id", "kind", seconds=seconds,
            prospect=done["_deal"].notnull() & not_closed,
        )  # fmt: skip
        counts = logged.group_by("period", "rep_id", "kind", "prospect").agg(
            n=logged.count(), timed=logged.seconds.count(), seconds=logged.seconds.sum()
        )
        return self.keep(self.placed(counts))

    @cached_property
    def created(self) -> ir.Table:
        """Deals created in each period: period, deal_id, created_at, amount and rep_id.

        Amount and owner are those at the end of the period, or at closing where that came first.
        """
        begun = self.within(self.deals.select("deal_id", "created_at", "closed_at"), "created_at")
        begun = begun.mutate(moment=ibis.least(begun.until, begun.closed_at))
        return self.keep(self._with_state(begun.drop("until"), due=False).drop("moment"))

    @cached_property
    def at_start(self) -> ir.Table:
        """Deals open just before each period, so that what its first moment brings is new in it."""
        return self.keep(self._open("before"))

    @cached_property
    def at_end(self) -> ir.Table:
        """Deals open at the end of each period, or at `as_of` in the one that is in progress."""
        return self.keep(self._open("until"))

    def placed(self, table: ir.Table) -> ir.Table:
        """`table` once for every node that each row belongs to."""
        return self.places.placed(table)

    def within(self, table: ir.Table, at: str) -> ir.Table:
        """`table` with the `period` that `at` falls in, and its `until`; once for each such period."""
        spans = self.spans.select("period", "until", _from="starts_at", _to="ends_at")
        inside = [table[at] >= spans["_from"], table[at] < spans["_to"]]
        return table.inner_join(spans, inside).drop("_from", "_to")

    def spanned(self, table: ir.Table) -> ir.Table:
        """`table` with the columns of `spans` for its `period`."""
        spans = self.spans.rename(_period="period")
        return table.inner_join(spans, table.period == spans["_period"]).drop("_period")

    def _open(self, border: str) -> ir.Table:
        """Deals open at a border of each period, with state then.

        Columns: period, deal_id, line, stage, probability, created_at, amount, rep_id and
        expected_close_date.
        """
        spans = self.spans.select("period", moment=border)
        here = self.stays.filter(self.stays.outcome == "open")
        here = here.inner_join(
            spans, [here.valid_from <= spans.moment, here.valid_until > spans.moment]
        ).select("period", "moment", "deal_id", "line", "stage", "probability")
        born = self.deals.select(_deal="deal_id", created_at="created_at")
        here = here.inner_join(born, here.deal_id == born["_deal"]).drop("_deal")
        return self._with_state(here, due=True).drop("moment")

    def _with_state(self, table: ir.Table, *, due: bool) -> ir.Table:
        """Amount, owner and, if asked, expected close date at the row's `moment`."""
        table = value_at(table, "moment", self.amounts, "amount")
        table = value_at(table, "moment", self.owners, "rep_id")
        return value_at(table, "moment", self.due_dates, "expected_close_date") if due else table

    def _values(self, field: Field) -> ir.Table:
        currency = self.settings.company.base_currency
        found = values(
            self.warehouse, field, self.settled, as_of=self.as_of, base_currency=currency
        )
        return self.keep(found)

    def keep(self, table: ir.Table) -> ir.Table:
        """`table`, worked out once and kept in the engine until the facts are left."""
        name = f"kpi_facts_{id(self)}_{len(self._kept)}"
        self._kept.append(name)
        return self.warehouse.connection.create_table(name, table, temp=True)


def recent_periods(as_of: datetime, settings: Settings) -> list[Period]:
    """The last fiscal quarters and months up to `as_of`, the ones in progress among them.

    Example:
        >>> from salesops_ml.settings import parse
        >>> settings = parse({"kpis": {"quarters": 2, "months": 1}})
        >>> [period.label for period in recent_periods(datetime(2026, 5, 1), settings)]
        ['2026-Q1', '2026-Q2', '2026-04']
    """
    calendar = settings.company.calendar
    offset = utc_midnight(as_of.date(), settings.company.time_zone) - datetime.combine(
        as_of.date(), datetime.min.time()
    )
    last = (as_of - offset - _TICK).date()
    first = last - timedelta(days=max(settings.kpis.quarters * 92, settings.kpis.months * 31) + 92)
    quarters = calendar.periods_between(first, last, "quarter")
    months = calendar.periods_between(first, last, "month")
    return [*quarters[-settings.kpis.quarters :], *months[len(months) - settings.kpis.months :]]


def _moment(at: datetime) -> ir.Value:
    return ibis.literal(at).cast("timestamp(6)")
