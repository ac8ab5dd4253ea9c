"""Stages: how many deals get on from each, and how long they stay.

Cohort-wise: the visits that began in the period, followed to `as_of`. Deals still in a stage are
censored, not failed: they count as "at least so long".
"""

from __future__ import annotations

from collections.abc import Iterator

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_ml.kpis.facts import Facts
from salesops_ml.kpis.history import FOREVER, value_at
from salesops_ml.kpis.nodes import ROOT
from salesops_ml.kpis.rows import SECONDS_A_DAY, Row, seconds_between, to_frame, told
from salesops_ml.kpis.survival import exit_curves
from salesops_ml.periods import working_days

ON, LOST = 1, 2
QUANTILES = (50, 90)


def stage_conversion(facts: Facts) -> pd.DataFrame:
    """Share of the deals entering a stage that reach a later one, and that win, %.

    `stage_conversion:STAGE` and `stage_win_rate:STAGE`, over the deals that entered the stage for
    the first time in the period: cumulative incidence (Aalen-Johansen) by `as_of`, where losing
    competes and deals still on their way are censored. Told once some deal has been followed for
    `models.horizon_days`, or all have ended: before that it would only say that it is early.
    n: deals that entered.
    """
    entered = _first_entries(facts)
    rows: list[Row] = []
    for metric, at in (("stage_conversion", "on_at"), ("stage_win_rate", "won_at")):
        lost = (entered.lost_at < entered[at]) | entered[at].isnull()
        ended = ibis.ifelse(lost, entered.lost_at, entered[at])
        followed = entered.mutate(
            door=ibis.cases((ended.isnull(), 0), (lost, LOST), else_=ON),
            duration=_days(entered.valid_from, ended.fill_null(_moment(facts))),
        )
        placed = facts.placed(followed).select("period", "node", "name", "duration", "door")
        frame = to_frame(placed, categories=True)
        for (period, node, name), curve in exit_curves(frame, ["period", "node", "name"]):
            if curve.known_until >= facts.settings.models.horizon_days:
                share = 100 * curve.share(np.inf, ON)
                rows.append((f"{metric}:{name}", period, node, share, curve.n))
    return told(rows)


def stage_dwell(facts: Facts) -> pd.DataFrame:
    """Days in a stage over any exit, and the share that stays past the expected days.

    `stage_dwell_p50:STAGE`, `stage_dwell_p90:STAGE`: Kaplan-Meier quantiles, left out where so many
    have not left yet; `stage_overdue:STAGE`, %: the share still there after the expected days.
    Working days where `process.calendar` says so. n: visits.
    """
    visits = _with_owner(facts, _visits(facts))
    ends = visits.valid_until == _forever()
    visits = visits.mutate(door=ibis.ifelse(ends, 0, 1))
    placed = facts.placed(visits)
    columns = ("period", "node", "name", "valid_from", "left_at", "door")
    frame = to_frame(placed.select(*columns), categories=True)
    frame["duration"] = _durations(facts, frame)
    expected = expected_days(facts)
    return told(_dwell_rows(frame, expected))


def transition_dwell(facts: Facts) -> pd.DataFrame:
    """Days in a stage by where the deal went next: `transition_dwell_p50:A → B`, and p90.

    Quantiles of the cumulative incidence given that exit (Aalen-Johansen), for the company as a
    whole: a transition is a matter of the process. n: visits that left that way.
    """
    visits = _visits(facts)
    going_on = visits.next_outcome == "open"
    target = ibis.ifelse(going_on, visits.next_stage.fill_null("no stage"), visits.next_outcome)
    frame = to_frame(visits.select("period", "name", "valid_from", "left_at", target=target))
    frame["duration"] = _durations(facts, frame)
    targets = sorted(frame["target"].dropna().unique())
    numbers = {name: number for number, name in enumerate(targets, start=1)}
    frame["door"] = frame["target"].map(numbers).fillna(0).astype("int64")
    counts = frame.groupby(["period", "name", "door"]).size()
    rows: list[Row] = []
    for (period, name), curve in exit_curves(frame, ["period", "name"]):
        for number in curve.by_door:
            n = int(counts[(period, name, number)])
            for share in QUANTILES:
                days = curve.quantile_given(share / 100, number)
                label = f"transition_dwell_p{share}:{name} → {targets[number - 1]}"
                rows.append((label, period, ROOT, days, n))
    return told(rows)


def expected_days(facts: Facts) -> dict[str, float]:
    """Agreed days by stage name: those of `process.expected_days`, else those that the CRM has."""
    stages = to_frame(
        _named(facts, facts.warehouse.table("stages").rename(line="pipeline")).select(
            "name", "stage", "expected_days"
        )
    )
    agreed = facts.settings.process.expected_days
    stages["expected_days"] = stages["stage"].map(agreed).fillna(stages["expected_days"])
    known = stages.dropna(subset=["expected_days"])
    return dict(zip(known["name"], known["expected_days"].astype(float), strict=True))


def _dwell_rows(frame: pd.DataFrame, expected: dict[str, float]) -> Iterator[Row]:
    for (period, node, name), curve in exit_curves(frame, ["period", "node", "name"]):
        for share in QUANTILES:
            days = curve.quantile(share / 100)
            yield f"stage_dwell_p{share}:{name}", period, node, days, curve.n
        limit = expected.get(name)
        if limit is not None and curve.known_until >= limit:
            past = 100 * (1 - curve.share(limit))
            yield f"stage_overdue:{name}", period, node, past, curve.n


def _visits(facts: Facts) -> ir.Table:
    """Visits to a stage that began in each long period, with `name` and `left_at` (or `as_of`)."""
    stays = facts.stays.filter(facts.stays.outcome == "open", facts.stays.stage.notnull())
    begun = facts.within(_named(facts, stays), "valid_from")
    begun = begun.filter(begun.period.isin(facts.long_periods))
    left_at = ibis.ifelse(begun.valid_until == _forever(), _moment(facts), begun.valid_until)
    return begun.mutate(left_at=left_at)


def _first_entries(facts: Facts) -> ir.Table:
    """First visits of a deal to a stage, with when it got on, was won and was lost, if ever."""
    visits = _visits(facts)
    visits = visits.filter(visits.position.notnull())
    stays = facts.stays.filter(facts.stays.outcome == "open", facts.stays.stage.notnull())
    firsts = stays.group_by(_deal="deal_id", _stage="stage").agg(first=stays.valid_from.min())
    visits = visits.semi_join(
        firsts,
        [
            visits.deal_id == firsts["_deal"],
            visits.stage == firsts["_stage"],
            visits.valid_from == firsts["first"],
        ],
    )
    later = facts.stays.select(
        _deal="deal_id", _position="position", _outcome="outcome", _from="valid_from"
    )
    joined = visits.left_join(
        later, [visits.deal_id == later["_deal"], later["_from"] > visits.valid_from]
    )
    won = joined["_outcome"] == "won"
    on = won | ((joined["_outcome"] == "open") & (joined["_position"] > joined.position))
    ends = joined.group_by("period", "deal_id", "name", "valid_from").agg(
        on_at=joined["_from"].min(where=on),
        won_at=joined["_from"].min(where=won),
        lost_at=joined["_from"].min(where=joined["_outcome"] == "lost"),
    )
    return _with_owner(facts, ends)


def _with_owner(facts: Facts, visits: ir.Table) -> ir.Table:
    """The rep who had the deal when the visit began."""
    return value_at(visits, "valid_from", facts.owners, "rep_id")


def _named(facts: Facts, table: ir.Table) -> ir.Table:
    """`name` of a stage: with its pipeline before it where the company has several."""
    stages = facts.warehouse.table("stages")
    several = int(stages.pipeline.nunique().execute()) > 1
    name = table.line.fill_null("") + "/" + table.stage if several else table.stage
    return table.mutate(name=name)


def _durations(facts: Facts, frame: pd.DataFrame) -> pd.Series:
    if facts.settings.process.calendar == "working":
        company = facts.settings.company
        start, end = frame["valid_from"].to_numpy(), frame["left_at"].to_numpy()
        days = working_days(start, end, week=company.working_week, holidays=company.holidays)
        return pd.Series(days, index=frame.index)
    length: pd.Series = (frame["left_at"] - frame["valid_from"]).dt.total_seconds()
    return length / SECONDS_A_DAY


def _days(start: ir.Value, end: ir.Value) -> ir.Value:
    return seconds_between(start, end) / SECONDS_A_DAY


def _moment(facts: Facts) -> ir.Value:
    return ibis.literal(facts.as_of).cast("timestamp(6)")


def _forever() -> ir.Value:
    return ibis.literal(FOREVER).cast("timestamp(6)")
