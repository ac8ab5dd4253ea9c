"""What each planted bottleneck truly costs: the same world, with and without it, on the same luck.

Deals that never come near a bottleneck live the same life in both worlds, so only the others are
run again. Money is what the records show: the amount at the close, company currency.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from salesops_ml.synthetic import columns
from salesops_ml.synthetic.amounts import AmountPath, Rates, amount_path
from salesops_ml.synthetic.clock import Days
from salesops_ml.synthetic.draws import Floats
from salesops_ml.synthetic.facts import Facts
from salesops_ml.synthetic.parameters import Bottleneck
from salesops_ml.synthetic.simulation import Run, simulate_some


@dataclass(frozen=True)
class _Effect:
    """One bottleneck's effect; the months' arrays are (with, without) x whole months."""

    visits: int
    share_of_visits: float
    days_with: float
    days_without: float
    extra_days_error: float
    amounts: Floats
    deals: Floats


def bottleneck_tables(facts: Facts, amounts: AmountPath, rates: Rates) -> dict[str, pa.Table]:
    """The truth's `bottlenecks` (one row each), `bottleneck_months` and `causes`."""
    effects = [_effect(facts, amounts, rates, k) for k in range(len(facts.world.planted))]
    return {
        "bottlenecks": _summary(facts, effects),
        "bottleneck_months": _by_month(facts, effects),
        "causes": _causes(facts, effects),
    }


def bottleneck_name(facts: Facts, bottleneck: Bottleneck) -> str:
    """Such as `Contract: discount above 0.2`."""
    if bottleneck.cause == "discount":
        return f"{bottleneck.stage}: discount above {facts.world.deep_discount:g}"
    return f"{bottleneck.stage}: {bottleneck.cause} is {bottleneck.value}"


def _effect(facts: Facts, amounts: AmountPath, rates: Rates, k: int) -> _Effect:
    """Remove bottleneck `k`, leave the others, run those again whom it can have touched."""
    stage = _stage(facts, facts.world.planted[k])
    touched = _touched(facts, k, stage)
    rest = tuple(b for n, b in enumerate(facts.world.planted) if n != k)
    world = replace(facts.world, planted=rest)
    laws = replace(facts.laws, segments=np.delete(facts.laws.segments, k, axis=0))
    run = simulate_some(world, facts.clock, facts.deals, laws, np.flatnonzero(touched))
    without = replace(facts, world=world, laws=laws, run=run)
    freed = amount_path(world, facts.deals, without.moves, rates, facts.quote_stage)
    here, there = _first_dwell(facts.run, facts, k), _first_dwell(run, facts, k)
    both = touched & (here >= 0) & (there >= 0)
    extra = (here - there)[both]
    money = [_monthly(facts, amounts, None), _monthly(without, freed, touched)]
    count = [_monthly_count(facts, None), _monthly_count(without, touched)]
    untouched = _monthly(facts, amounts, ~touched), _monthly_count(facts, ~touched)
    return _Effect(
        visits=int(both.sum()),
        share_of_visits=float(both.sum() / max(np.sum(_visited(facts, stage)), 1)),
        days_with=float(here[both].mean()) if both.any() else 0.0,
        days_without=float(there[both].mean()) if both.any() else 0.0,
        extra_days_error=float(extra.std() / np.sqrt(len(extra))) if len(extra) else 0.0,
        amounts=np.stack([money[0], money[1] + untouched[0]]),
        deals=np.stack([count[0], count[1] + untouched[1]]),
    )


def _stage(facts: Facts, bottleneck: Bottleneck) -> int:
    return facts.stage_names.index(bottleneck.stage)


def _visited(facts: Facts, stage: int) -> npt.NDArray[np.bool_]:
    """Deals that stood in the stage, in the run-off too."""
    done = np.full(facts.deals.count, stage == 0)
    done[facts.run.moves.deal[facts.run.moves.to_stage == stage]] = True
    return done


def _touched(facts: Facts, k: int, stage: int) -> npt.NDArray[np.bool_]:
    """Deals that the bottleneck can have slowed."""
    hit = _visited(facts, stage) & facts.laws.segments[k]
    if facts.world.planted[k].cause == "discount":
        hit = hit & facts.deals.deep
    return np.asarray(hit)


def _first_dwell(run: Run, facts: Facts, k: int) -> Days:
    """Days of each deal's first slowed visit to the stage, begun in the record; -1 for none."""
    bottleneck, moves = facts.world.planted[k], run.moves
    left = (moves.stage == _stage(facts, bottleneck)) & (moves.day - moves.age < facts.clock.days)
    if bottleneck.cause == "discount":
        left = left & _is_quoted(run, facts)
    rows = np.flatnonzero(left)[::-1]
    dwell = np.full(facts.deals.count, -1, dtype=np.int64)
    dwell[moves.deal[rows]] = moves.age[rows] + 1
    return dwell


def _is_quoted(run: Run, facts: Facts) -> npt.NDArray[np.bool_]:
    """Whether the deal had its quote before each move."""
    moves = run.moves
    first = np.full(facts.deals.count, np.inf)
    rows = np.flatnonzero(moves.to_stage >= facts.quote_stage)[::-1]
    first[moves.deal[rows]] = moves.day[rows]
    return np.asarray(moves.day > first[moves.deal])


def _months(facts: Facts) -> tuple[npt.NDArray[np.datetime64], Days]:
    """First days of the whole months of the record, and the edges between them as day numbers."""
    first = facts.clock.dates(0).astype("datetime64[D]")
    after = facts.clock.dates(facts.clock.days).astype("datetime64[D]")
    start = int((first - np.timedelta64(1, "D")).astype("datetime64[M]").astype(np.int64)) + 1
    stop = int(after.astype("datetime64[M]").astype(np.int64)) + 1
    months = np.arange(start, stop).astype("datetime64[M]").astype("datetime64[D]")
    edges = (months - first).astype(np.int64)
    return months[:-1], edges


def _monthly(facts: Facts, amounts: AmountPath, only: npt.NDArray[np.bool_] | None) -> Floats:
    """Won amount by whole month, of some of the deals."""
    base = amounts.last(facts.deals.count)[1] * facts.deals.amount_known
    return _summed(facts, base, only)


def _monthly_count(facts: Facts, only: npt.NDArray[np.bool_] | None) -> Floats:
    return _summed(facts, np.ones(facts.deals.count), only)


def _summed(facts: Facts, worth: Floats, only: npt.NDArray[np.bool_] | None) -> Floats:
    rows = facts.won if only is None else facts.won & only
    edges = _months(facts)[1]
    if len(edges) < 2:
        return np.zeros(0)
    return np.histogram(facts.run.closed[rows], bins=edges - 0.5, weights=worth[rows])[0]


def _summary(facts: Facts, effects: list[_Effect]) -> pa.Table:
    rows = [
        {
            "name": bottleneck_name(facts, bottleneck),
            "stage": bottleneck.stage,
            "cause": bottleneck.cause,
            "value": bottleneck.value,
            "slowdown": bottleneck.slowdown,
            "visits": effect.visits,
            "mean_days_with": effect.days_with,
            "mean_days_without": effect.days_without,
            "extra_days": effect.days_with - effect.days_without,
            "extra_days_error": effect.extra_days_error,
            "won_amount_month_with": _mean(effect.amounts[0]),
            "won_amount_month_without": _mean(effect.amounts[1]),
            "cost_per_month": _mean(effect.amounts[1] - effect.amounts[0]),
            "cost_per_month_error": _error(effect.amounts[1] - effect.amounts[0]),
            "lost_wins_per_month": _mean(effect.deals[1] - effect.deals[0]),
        }
        for bottleneck, effect in zip(facts.world.planted, effects, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=_SUMMARY)


_SUMMARY = pa.schema(
    [(name, pa.string()) for name in ("name", "stage", "cause", "value")]
    + [("slowdown", pa.float64()), ("visits", pa.int64())]
    + [
        (name, pa.float64())
        for name in (
            "mean_days_with", "mean_days_without", "extra_days", "extra_days_error",
            "won_amount_month_with", "won_amount_month_without", "cost_per_month",
            "cost_per_month_error", "lost_wins_per_month",
        )
    ]
)  # fmt: skip


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0


def _error(values: Floats) -> float:
    return float(values.std() / np.sqrt(len(values))) if len(values) else 0.0


def _by_month(facts: Facts, effects: list[_Effect]) -> pa.Table:
    months = _months(facts)[0]
    names = [bottleneck_name(facts, bottleneck) for bottleneck in facts.world.planted]
    count = len(effects)
    flat = np.array([effect.amounts for effect in effects]).reshape(count, 2, len(months))
    wins = np.array([effect.deals for effect in effects]).reshape(count, 2, len(months))
    return pa.table(
        {
            "name": columns.words(names, np.repeat(np.arange(count), len(months))),
            "month": columns.dates(np.tile(months, count)),
            "won_amount_with": pa.array(flat[:, 0].ravel()),
            "won_amount_without": pa.array(flat[:, 1].ravel()),
            "won_deals_with": pa.array(wins[:, 0].ravel()),
            "won_deals_without": pa.array(wins[:, 1].ravel()),
        }
    )


def _causes(facts: Facts, effects: list[_Effect]) -> pa.Table:
    """Why each bottleneck slows whom: the column, and the value or the threshold in it."""
    threshold = facts.world.deep_discount
    rows = [
        {
            "name": bottleneck_name(facts, bottleneck),
            "column": _COLUMNS[bottleneck.cause],
            "value": bottleneck.value or None,
            "above": threshold if bottleneck.cause == "discount" else None,
            "share_of_deals": effect.share_of_visits,
        }
        for bottleneck, effect in zip(facts.world.planted, effects, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=_CAUSES)


_COLUMNS = {
    "discount": "quotes.discount", "product": "deals.product", "region": "accounts.region",
    "industry": "accounts.industry", "lead_source": "deals.lead_source",
    "deal_type": "deals.deal_type",
}  # fmt: skip
_CAUSES = pa.schema(
    [(name, pa.string()) for name in ("name", "column", "value")]
    + [(name, pa.float64()) for name in ("above", "share_of_deals")]
)
