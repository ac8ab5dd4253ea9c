"""What the company plans and promises: quotas of reps, and the forecasts their managers submit.

A manager adds up what is won so far and what the open pipeline is worth by the CRM's probabilities,
and colours it by temper; nobody knows the future here either.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa

from salesops_ml.periods import Period, periods_between
from salesops_ml.synthetic import columns
from salesops_ml.synthetic.amounts import AmountPath
from salesops_ml.synthetic.clock import Days
from salesops_ml.synthetic.directory import manager_ids, team_names
from salesops_ml.synthetic.draws import Floats, stream
from salesops_ml.synthetic.facts import Facts
from salesops_ml.synthetic.owners import Owners
from salesops_ml.synthetic.paths import Paths

SUBMISSION_DAYS = (0, 30, 60)


def quarters(facts: Facts) -> list[Period]:
    """The calendar quarters that the record touches."""
    return periods_between(facts.clock.first, facts.world.end, "quarter")


def _day(facts: Facts, period: Period) -> tuple[int, int]:
    return (period.start - facts.clock.first).days, (period.end - facts.clock.first).days


def quotas_table(facts: Facts, owners: Owners, amounts: AmountPath) -> pa.Table:
    """The canonical `quotas`: what a rep of that region usually wins in a quarter, and some more."""
    rng = stream(facts.world.seed, "quotas")
    reps = facts.reps
    won = _won_by_region(facts, amounts)
    rows: list[dict[str, object]] = []
    amount: list[float] = []
    for period in quarters(facts):
        first, after = _day(facts, period)
        at_work = np.flatnonzero((reps.hired <= first) & (reps.left > first))
        ramp = reps.ramp(at_work, np.full(len(at_work), (first + after) // 2), 6.0)
        growth = (1 + facts.world.growth) ** ((first - facts.clock.days / 2) / 365.25)
        plan = won[reps.region[at_work]] * (0.3 + 0.7 * ramp) * growth
        plan = plan * np.exp(rng.normal(0.0, 0.1, len(at_work)))
        amount.extend(np.maximum(1000.0, np.round(plan, -3)))
        rows += [
            {"owner": int(rep), "period_start": period.start,
             "period_end": period.end - timedelta(days=1)}
            for rep in at_work
        ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=_QUOTA_ROWS)
    return pa.table(
        {
            "owner_id": columns.words(facts.rep_ids, table["owner"].to_numpy()),
            "period_start": table["period_start"],
            "period_end": table["period_end"],
            "amount": columns.money(np.array(amount)),
        }
    ).sort_by([("owner_id", "ascending"), ("period_start", "ascending")])


_QUOTA_ROWS = pa.schema(
    [("owner", pa.int64()), ("period_start", pa.date32()), ("period_end", pa.date32())]
)


def _won_by_region(facts: Facts, amounts: AmountPath) -> Floats:
    """Won amount of a rep in a quarter, by region, over the whole record."""
    reps, regions = facts.reps, len(facts.world.regions)
    base = amounts.last(facts.deals.count)[1] * facts.deals.amount_known
    won = np.bincount(facts.deals.region[facts.won], base[facts.won], minlength=regions)
    worked = np.minimum(reps.left, facts.clock.days) - np.maximum(reps.hired, 0)
    rep_quarters = np.bincount(reps.region, np.maximum(worked, 0) / 91.3, minlength=regions)
    return won / np.maximum(rep_quarters, 1.0)


def submissions_table(facts: Facts, owners: Owners, amounts: AmountPath, paths: Paths) -> pa.Table:
    """The canonical `forecast_submissions`: company and team forecasts, three times a quarter."""
    rng = stream(facts.world.seed, "submissions")
    temper = rng.normal(0.10, 0.12, facts.reps.teams) * facts.world.optimism
    rows: list[dict[str, object]] = []
    value: list[float] = []
    for period in quarters(facts):
        first, after = _day(facts, period)
        for offset in SUBMISSION_DAYS:
            day = first + offset
            if not 0 <= day < facts.clock.days:
                continue
            by_team = _outlook(facts, owners, amounts, paths, day, first, after)
            noise = np.exp(temper + rng.normal(0.0, 0.08, len(by_team)))
            told = np.round(by_team * noise, -3)
            value += [*told, float(np.round(told.sum() * np.exp(rng.normal(-0.03, 0.04)), -3))]
            rows += _submission_rows(facts, period.label, day)
    at = facts.clock.moments(np.array([row.pop("day") for row in rows]), 0.1)
    table = pa.Table.from_pylist(rows, schema=_SUBMISSION_ROWS)
    done = {name: table[name] for name in table.column_names}
    done |= {"submitted_at": columns.times(at), "recorded_at": columns.times(at)}
    done["amount"] = columns.money(np.array(value, dtype=np.float64))
    keys = ("node", "period", "submitted_at")
    return pa.table(done).select(_SUBMISSION_ORDER).sort_by([(key, "ascending") for key in keys])


_SUBMISSION_ROWS = pa.schema(
    [(name, pa.string()) for name in ("node", "period", "author", "category", "reason")]
)
_SUBMISSION_ORDER = [
    "node", "period", "submitted_at", "author", "amount", "category", "reason", "recorded_at",
]  # fmt: skip


def _submission_rows(facts: Facts, period: str, day: int) -> list[dict[str, object]]:
    regions = _team_regions(facts)
    teams = zip(regions, team_names(facts.reps.teams), manager_ids(facts.reps.teams), strict=True)
    nodes = [(f"company/{region}/{team}", manager) for region, team, manager in teams]
    return [
        {"node": node, "period": period, "author": author, "category": "commit", "reason": None,
         "day": day}
        for node, author in [*nodes, ("company", "vp-sales")]
    ]  # fmt: skip


def _team_regions(facts: Facts) -> list[str]:
    """The region of each team."""
    region = np.zeros(facts.reps.teams, dtype=np.int64)
    region[facts.reps.team] = facts.reps.region
    return [facts.world.regions[number].name for number in region]


def _outlook(
    facts: Facts, owners: Owners, amounts: AmountPath, paths: Paths, day: int, first: int,
    after: int,
) -> Floats:  # fmt: skip
    """By team: won in the period before `day`, plus open amounts by the CRM's probabilities."""
    now = day + 0.1
    teams = facts.reps.teams
    closed = np.flatnonzero(facts.won & (facts.ends >= first) & (facts.ends < now))
    running = np.flatnonzero((facts.starts < now) & (facts.ends >= now))
    stage = _stage_at(facts, paths, running, now)
    belief = np.array([entry.probability for entry in facts.world.stages])[stage]
    weight = np.where(belief >= 0.7, belief, 0.3 * belief) * min(1.0, (after - now) / 75)
    deal = np.concatenate([closed, running])
    at = np.minimum(np.full(len(deal), now), facts.ends[deal])
    base = amounts.at(deal, at)[1] * facts.deals.amount_known[deal]
    worth = base * np.concatenate([np.ones(len(closed)), weight])
    team = facts.reps.team_on(owners.at(deal, at), np.full(len(deal), day))
    return np.bincount(team, worth, minlength=teams).astype(np.float64)


def _stage_at(facts: Facts, paths: Paths, deal: Days, now: float) -> Days:
    start = np.searchsorted(paths.deal, deal)
    stop = np.searchsorted(paths.deal, deal, side="right")
    width = int((stop - start).max()) if len(deal) else 0
    stage = np.zeros(len(deal), dtype=np.int64)
    for step in range(width):
        row = np.minimum(start + step, len(paths.deal) - 1)
        seen = (start + step < stop) & (paths.position[row] <= now)
        stage = np.where(seen, paths.stage[row], stage)
    return stage
