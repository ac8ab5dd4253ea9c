"""Bottlenecks: where deals are slower than they need be, what that costs a month, and for whom.

A stage is dear when some kind of deal is slow in it - slower than comparable deals in that stage,
and more so than the kind is slow elsewhere. That is found by tests with a bound on false findings
(`slow_kinds`), and priced as the won amount that the delay costs (`delay_cost`). A stage in which
nothing stands out costs 0: it may be long, but nothing shows that it could be shorter.

Beside this stand two things that need no such comparison. The win rates of deals that leave a stage
within its target and of those that do not: an association, since deals that drag on may be the
worse ones. And, where days are agreed, a what-if: what would be won more a month if half of the deals
left within them; it takes the agreement's word that the stage can be so quick.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from salesops_ml.errors import DataError
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.conditions import codes_of, conditions, mix_columns
from salesops_ml.mining.delay_cost import DelayCost, delay_cost, gain_at_target
from salesops_ml.mining.dwell import share_at_end, stage_quantiles
from salesops_ml.mining.frames import typed
from salesops_ml.mining.pace import prospects
from salesops_ml.mining.slow_kinds import SlowKind, find_slow_kinds
from salesops_ml.mining.stages import stage_dwell, stage_order
from salesops_ml.mining.steps import ENDED, Floats, Ints, Steps, as_steps
from salesops_ml.mining.visits import Stays, endings_after, stays_of

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = 5

COLUMNS = {
    "kind": "stage: a stage as a whole; segment: one slow kind of deal in it; edge: one way out",
    "rank": "1 for the dearest of its kind: by cost, then the what-if, then the days waited in all",
    "stage": "the stage in which deals wait",
    "target": "for an edge, the stage entered next",
    "finding": "whether some kind of deal is slow here beyond chance and nature (q < 0.1)",
    "segment": "what must be true of a deal to be slow here; of the dearest finding for a stage",
    "attribute": "the attribute that it speaks of",
    "value": "what the attribute must be",
    "pace": "pace of these deals over that of comparable ones: 0.5 is half as fast",
    "p_value": "one-sided, against chance and the usual differences between kinds and stages",
    "q_value": "the same, adjusted for all tests (Benjamini-Hochberg)",
    "cost_per_month": "won amount a month that the delay costs, company currency",
    "cost_low": "lower end of its 90 % bootstrap interval, drawn by deal",
    "cost_high": "upper end",
    "wins_per_month": "won deals a month that the delay costs",
    "delay_days": "days by which a stay of these deals is longer",
    "cases": "deals concerned",
    "amount": "their amount in all, company currency; null where no amount is known",
    "dwell_p50_days": "their median days in the stage, open deals censored",
    "others_p50_days": "median days of the other deals there",
    "target_days": "agreed days, else the time of the quickest share of the stays",
    "target_from": "agreed, quantile, or none",
    "share_past_target": "share of all stays in the stage that last longer than that",
    "open_now": "deals concerned that are there now",
    "amount_now": "their amount, company currency",
    "win_rate_within": "share won of deals that leave the stage within the target",
    "win_rate_past": "share won of deals that stay longer",
    "gain_at_target_per_month": "what-if, where days are agreed: won amount a month more if half of "
    "the deals left within them",
    "examples": "ids of deals concerned: those that wait now, longest first, then the slowest others",
}

_TEXTS = ("kind", "stage", "target", "segment", "attribute", "value", "target_from")


@dataclass(frozen=True)
class _Priced:
    """A slow kind with its cost."""

    slow: SlowKind
    cost: DelayCost


def bottlenecks(
    log: Any,
    kinds: pd.DataFrame | None = None,
    *,
    as_of: datetime | None = None,
    won: Sequence[str] = (),
    lost: Sequence[str] = (),
    clock: Clock | None = None,
    expected_days: Mapping[str, float] | None = None,
    target_quantile: float = 0.25,
    order: Sequence[str] = (),
    bootstrap: int = 200,
    seed: int = 7,
) -> pd.DataFrame:
    """Stages, slow kinds and ways out, each ranked by what its delay costs a month.

    Args:
        log: an `event_log`, or a pandas, Arrow or Ibis table with pm4py's columns.
        kinds: what was known of the deal at each event of the log, a row each, in the order of
            (case, time), as `segments` gives it; without it no kind can stand out, and only the
            what-if is told.
        as_of, won, lost: for a log with pm4py's columns, see `as_steps`.
        clock: calendar days (default) or working days, for the times told; prices are calendar.
        expected_days, target_quantile, order: see `stage_dwell`.
        bootstrap: draws for the interval of a cost.
        seed: of the draws.

    Returns:
        A frame with the columns of `COLUMNS`, by kind (stage, segment, edge) and rank. Money is null
        where the log knows no amounts.

    Raises:
        SchemaError, DataError, UsageError: see `as_steps`.
    """
    import pandas as pd

    steps = as_steps(log, as_of=as_of, won=won, lost=lost)
    clock = clock or Clock()
    turn = stage_order(steps, order)
    stays = stays_of(steps, turn, Clock())
    priced, outlook, at_entry = _priced(steps, stays, kinds, bootstrap, seed)
    table = stage_dwell(
        steps, clock=clock, expected_days=expected_days, target_quantile=target_quantile,
        order=order,
    )  # fmt: skip
    table = table[~table.is_closed].set_index("stage")
    told = stays_of(steps, turn, clock)
    segments = [_segment_row(steps, told, one, table) for one in priced]
    stages = [
        _stage_row(steps, told, outlook, at_entry, table.loc[name], segments)
        for name in table.index
    ]
    edges = _edge_rows(steps, told, priced, table)
    frames = [_ranked(pd.DataFrame(rows)) for rows in (stages, segments, edges) if rows]
    frame = typed(
        pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(),
        COLUMNS, counts=("rank", "cases"), flags=("finding",), texts=_TEXTS, lists=("examples",),
    )  # fmt: skip
    if np.isnan(steps.amount).all():
        frame[["cost_per_month", "cost_low", "cost_high"]] = np.nan
    return frame


def _priced(
    steps: Steps, stays: Stays, kinds: pd.DataFrame | None, bootstrap: int, seed: int
) -> tuple[list[_Priced], Floats, Floats | None]:
    """The slow kinds with their costs, and the prospects and the amount at entry of each stay."""
    if kinds is not None and len(kinds) != len(steps.case):
        raise DataError(
            f"`kinds` has {len(kinds)} rows for a log of {len(steps.case)} events; give one an event"
        )
    if not len(stays.lost):
        return [], np.zeros(0), None
    if kinds is None:
        return [], np.zeros(len(stays.lost)), None
    known = kinds.iloc[stays.visits.row].reset_index(drop=True)
    mix, rep = mix_columns(known), codes_of(known, "rep")
    slow, fit = find_slow_kinds(stays, mix, rep, conditions(known))
    outlook = prospects(fit, stays, mix, rep)
    at_entry = known["amount"].to_numpy(dtype=np.float64) if "amount" in known else None
    priced = []
    for one in slow:
        cost = delay_cost(
            steps, stays, one, outlook, bootstrap=bootstrap, seed=seed, at_entry=at_entry
        )
        priced.append(_Priced(one, cost))
    return priced, outlook, at_entry


def _segment_row(steps: Steps, told: Stays, one: _Priced, table: pd.DataFrame) -> dict[str, Any]:
    """One slow kind of deal in one stage."""
    visits, slow = told.visits, one.slow
    here = visits.stage == slow.stage
    inside = np.where(slow.rows[here], 0, 1)
    half = stage_quantiles(inside, visits.days[here], visits.exited[here], 2, (0.5,))[:, 0]
    waiting = slow.rows & ~visits.exited
    stage = table.loc[steps.activities[slow.stage]]
    return {
        "kind": "segment",
        "stage": steps.activities[slow.stage],
        "target": None,
        "finding": slow.found,
        "segment": str(slow.condition),
        "attribute": slow.condition.attribute,
        "value": slow.condition.value,
        "pace": float(np.exp(slow.log_pace)),
        "p_value": slow.p_value,
        "q_value": slow.q_value,
        "cost_per_month": one.cost.amount,
        "cost_low": one.cost.low,
        "cost_high": one.cost.high,
        "wins_per_month": one.cost.wins,
        "delay_days": one.cost.delay_days,
        **_deals(steps, visits.case[slow.rows]),
        "dwell_p50_days": half[0],
        "others_p50_days": half[1],
        **_target(stage),
        "open_now": int(waiting.sum()),
        "amount_now": float(np.nansum(steps.amount[visits.case[waiting]])),
        "examples": _examples(steps, told, slow.rows),
    }


def _stage_row(
    steps: Steps,
    told: Stays,
    outlook: Floats,
    at_entry: Floats | None,
    stage: pd.Series[Any],
    segments: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """A stage: the sum of its slow kinds, the dearest of them as its reason."""
    name = str(stage.name)
    code = steps.activities.index(name)
    rows = told.visits.stage == code
    mine = sorted(
        (row for row in segments if row["stage"] == name), key=lambda row: -row["wins_per_month"]
    )
    reason = mine[0] if mine else {}
    agreed = float(stage["target_days"]) if stage["target_from"] == "agreed" else np.nan
    copied = ("segment", "attribute", "value", "pace", "p_value", "q_value", "others_p50_days",
              "delay_days")  # fmt: skip
    summed = ("cost_per_month", "cost_low", "cost_high", "wins_per_month")
    return {
        "kind": "stage",
        "stage": name,
        "target": None,
        "finding": bool(mine),
        **{column: reason.get(column) for column in copied},
        **{column: float(sum(row[column] for row in mine)) for column in summed},
        "cases": int(stage["cases"]),
        "amount": stage["amount"],
        "dwell_p50_days": stage["dwell_p50_days"],
        **_target(stage),
        "open_now": int(stage["open_now"]),
        "amount_now": stage["amount_now"],
        **_win_rates(steps, told, rows, float(stage["target_days"])),
        "gain_at_target_per_month": gain_at_target(steps, told, rows, outlook, agreed, at_entry),
        "examples": reason.get("examples") or _examples(steps, told, rows),
    }


def _win_rates(steps: Steps, told: Stays, rows: Any, target_days: float) -> dict[str, float]:
    """Share won, open deals censored, of the stays within the target and of those past it."""
    visits = told.visits
    if (steps.outcome == ENDED).any():
        return {"win_rate_within": np.nan, "win_rate_past": np.nan}
    past = (visits.days[rows] > target_days).astype(np.int64)
    moment, case = steps.at[visits.row[rows]], visits.case[rows]
    after = endings_after(steps, case, moment, Clock())
    within, beyond = share_at_end(past, after.days, after.known, after.won, 2)
    return {"win_rate_within": float(within), "win_rate_past": float(beyond)}


def _edge_rows(
    steps: Steps, told: Stays, priced: Sequence[_Priced], table: pd.DataFrame
) -> list[dict[str, Any]]:
    """Each way out of a stage: its share of the stage's cost is that of the slow deals that took it."""
    visits, names = told.visits, len(steps.activities)
    moved = np.flatnonzero(visits.target >= 0)
    edges = np.unique(visits.stage[moved] * names + visits.target[moved])
    rows = []
    for source, target in zip(edges // names, edges % names, strict=True):
        taken = (visits.stage == source) & (visits.target == target)
        shares = [(one, _share_of(one.slow, told, taken)) for one in priced]
        stage = table.loc[steps.activities[source]]
        rows.append({
            "kind": "edge",
            "stage": steps.activities[source],
            "target": steps.activities[target],
            "finding": any(share > 0 for _, share in shares),
            "cost_per_month": float(sum(share * one.cost.amount for one, share in shares)),
            "wins_per_month": float(sum(share * one.cost.wins for one, share in shares)),
            **_deals(steps, visits.case[taken]),
            "dwell_p50_days": float(np.median(visits.days[taken])),
            **_target(stage),
            "examples": _examples(steps, told, taken),
        })  # fmt: skip
    return rows


def _share_of(slow: SlowKind, told: Stays, taken: Any) -> float:
    """Share of the slow deals' exits onward that went this way."""
    onward = slow.rows & (told.onward | told.won)
    return float((onward & taken).sum() / max(onward.sum(), 1))


def _deals(steps: Steps, case: Ints) -> dict[str, Any]:
    """How many deals, and their amount."""
    deals = np.unique(case)
    known = ~np.isnan(steps.amount[deals])
    amount = float(steps.amount[deals][known].sum()) if known.any() else np.nan
    return {"cases": len(deals), "amount": amount}


def _target(stage: Any) -> dict[str, Any]:
    return {name: stage[name] for name in ("target_days", "target_from", "share_past_target")}


def _examples(steps: Steps, told: Stays, rows: Any) -> list[str]:
    """Deals that wait now, longest first, then those that took longest."""
    visits = told.visits
    chosen = np.flatnonzero(rows)
    order = np.lexsort((visits.case[chosen], -visits.days[chosen], visits.exited[chosen]))
    cases = dict.fromkeys(visits.case[chosen[order]].tolist())
    return [str(steps.case_ids[case]) for case in list(cases)[:EXAMPLES]]


def _ranked(frame: pd.DataFrame) -> pd.DataFrame:
    """Dearest first; where money is not known, by the wins that the delay costs."""
    keys = ["cost_per_month", "wins_per_month", "gain_at_target_per_month", "waited"]
    waited = frame["cases"] * frame["dwell_p50_days"]
    worth = frame.assign(waited=waited).reindex(columns=keys).astype(float).fillna(0.0)
    order = worth.assign(stage=frame["stage"]).sort_values(
        [*keys, "stage"], ascending=[False] * len(keys) + [True], kind="stable"
    )
    frame = frame.loc[order.index].reset_index(drop=True)
    return frame.assign(rank=np.arange(1, len(frame) + 1))
