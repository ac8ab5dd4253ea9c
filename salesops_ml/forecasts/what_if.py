"""What if: a deal slips, is lost or won, changes its amount; a segment wins more; a rep leaves.

The forecast is made twice from the same model and the same random numbers, once as things are and once
as supposed; what the series model adds is held as it was. It tells how the forecast would read, not what
would follow in the world: a win rate that rises for a reason may move other things as well.

| written | supposes |
|---|---|
| `lost:DEAL`, `won:DEAL` | the deal is lost or won today |
| `slip:DEAL=DATE` | nothing happens to the deal before that day; then it goes on at its pace |
| `amount:DEAL=NUMBER` | its amount, in company currency |
| `win-rate:COLUMN=VALUE=POINTS` | deals of a segment, open and to come, win so many points more often |
| `leaves:REP` | the rep's open deals are lost, and no new ones start |
| `leaves:REP=OTHER` | the rep's open deals go to another; no new ones start with the one who left |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Literal

import numpy as np
import pandas as pd

from salesops_ml.errors import UsageError
from salesops_ml.forecasts.batch import Bools, Floats
from salesops_ml.forecasts.history import History
from salesops_ml.forecasts.model import RevenueModel
from salesops_ml.forecasts.pipeline_roll_up import ScoredPipeline
from salesops_ml.forecasts.revenue import placed
from salesops_ml.models.curves import lost_beside

Kind = Literal["lost", "won", "slip", "amount", "win-rate", "leaves"]
SEGMENTS = ("node", "product", "pipeline", "stage", "rep_id", "account_id")
ASSOCIATION = "the forecast as it would read, not what would follow"
COLUMNS = (
    "node", "grain", "period", "period_start", "before", "after", "difference",
    "p10_before", "p10_after", "p90_before", "p90_after",
)  # fmt: skip
_YEAR = pd.Timedelta(days=365)


@dataclass(frozen=True)
class Change:
    """One thing that is supposed.

    Attributes:
        kind: what happens.
        what: the deal, the rep, or the column of a segment.
        value: the day, amount or other rep; for a win rate the segment's value; "" where none.
        points: percentage points on the win rate.
    """

    kind: Kind
    what: str
    value: str = ""
    points: float = 0.0


def parse_change(text: str) -> Change:
    """A change as it is written on the command line.

    Raises:
        UsageError: it is none of those in the table above.

    Example:
        >>> parse_change("win-rate:product=Core=+5")
        Change(kind='win-rate', what='product', value='Core', points=5.0)
    """
    kind, _, rest = text.partition(":")
    what, *values = rest.split("=")
    if kind in ("lost", "won") and what and not values:
        return Change("lost" if kind == "lost" else "won", what)
    if kind == "leaves" and what and len(values) <= 1:
        return Change("leaves", what, "".join(values))
    if kind == "slip" and what and len(values) == 1:
        _day(values[0])
        return Change("slip", what, values[0])
    if kind == "amount" and what and len(values) == 1:
        _number(values[0], text)
        return Change("amount", what, values[0])
    if kind == "win-rate" and what and len(values) == 2:
        return Change("win-rate", what, values[0], _number(values[1], text))
    raise UsageError(
        f"what-if `{text}` is not understood; write lost:DEAL, won:DEAL, slip:DEAL=2026-10-01,"
        " amount:DEAL=50000, win-rate:product=Core=+5, leaves:REP or leaves:REP=OTHER"
    )


def what_if(
    model: RevenueModel,
    pipeline: ScoredPipeline,
    history: History,
    changes: Sequence[Change],
) -> pd.DataFrame:
    """The forecast before and after the changes, by node and period.

    Args:
        model: learned at `history.as_of`, with the weights in use.
        pipeline: the open deals of that day, scored.
        history: the deals as known then.
        changes: applied in order.

    Returns:
        `COLUMNS`, money in company currency, in the order of the forecast's rows; `difference` is
        after less before. Without a change that bites, exactly 0 everywhere.

    Raises:
        UsageError: a deal is not open, a segment or rep is not known, or a value makes no sense.
    """
    pipeline = placed(pipeline, history)
    before = model.project(pipeline)
    factors = before.factors(model.weights)
    supposed, deals = model, pipeline
    for change in changes:
        supposed, deals = _APPLY[change.kind](supposed, deals, history, change)
    after = supposed.project(deals).frame(model.weights, factors=factors)
    rows = before.frame(model.weights)
    return pd.DataFrame(
        {
            **{name: rows[name] for name in ("node", "grain", "period", "period_start")},
            "before": rows["mean"],
            "after": after["mean"],
            "difference": after["mean"] - rows["mean"],
            "p10_before": rows["p10"],
            "p10_after": after["p10"],
            "p90_before": rows["p90"],
            "p90_after": after["p90"],
        }
    )[[*COLUMNS]]


Supposed = tuple[RevenueModel, ScoredPipeline]


def _ended(
    model: RevenueModel, pipeline: ScoredPipeline, history: History, change: Change
) -> Supposed:
    row = _row(pipeline, change.what)
    won, lost = pipeline.cif_won.copy(), pipeline.cif_lost.copy()
    won[row], lost[row] = (1.0, 0.0) if change.kind == "won" else (0.0, 1.0)
    return model, replace(pipeline, cif_won=won, cif_lost=lost)


def _slipped(
    model: RevenueModel, pipeline: ScoredPipeline, history: History, change: Change
) -> Supposed:
    row, day = _row(pipeline, change.what), _day(change.value)
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC).replace(tzinfo=None)
    wait = (moment - pipeline.as_of).total_seconds() / 86_400.0
    if wait <= 0:
        raise UsageError(
            f"what-if: deal `{change.what}` slips to {day}, which is not after the forecast's day"
            f" {pipeline.as_of:%Y-%m-%d}; give a later day"
        )
    waits = pipeline.deals.get("wait_days", pd.Series(0.0, index=pipeline.deals.index)).copy()
    waits.iloc[row] = wait
    return model, replace(pipeline, deals=pipeline.deals.assign(wait_days=waits))


def _priced(
    model: RevenueModel, pipeline: ScoredPipeline, history: History, change: Change
) -> Supposed:
    row = _row(pipeline, change.what)
    amount = _number(change.value, f"amount:{change.what}={change.value}")
    deals = pipeline.deals.copy()
    deals["amount"] = deals["amount"].astype("float64")
    deals.loc[row, "amount"] = amount
    return model, replace(pipeline, deals=deals)


def _more_often_won(
    model: RevenueModel, pipeline: ScoredPipeline, history: History, change: Change
) -> Supposed:
    if not -100 <= change.points <= 100:
        raise UsageError(f"what-if: {change.points:g} points on a win rate; give -100 to 100")
    share = change.points / 100
    inside = _segment(pipeline, history, change)
    mass = np.clip(pipeline.cif_won[:, -1] + np.where(inside, share, 0.0), 0.0, 1.0)
    lost = lost_beside(mass, pipeline.cif_won[:, -1], pipeline.cif_lost[:, -1])
    moved = replace(
        pipeline,
        cif_won=np.where(inside[:, None], _ending_at(pipeline.cif_won, mass), pipeline.cif_won),
        cif_lost=np.where(inside[:, None], _ending_at(pipeline.cif_lost, lost), pipeline.cif_lost),
    )
    rate = max(model.new_deals.win_rate, 1e-6)
    factor = float(np.clip(rate + share, 0.0, 1.0)) / rate
    part = _part_of_leaves(model, history, change)
    return _with_new(model, 1.0 + part * (factor - 1.0)), moved


def _left(
    model: RevenueModel, pipeline: ScoredPipeline, history: History, change: Change
) -> Supposed:
    reps = pipeline.deals["deal_id"].map(history.open.set_index("deal_id")["rep_id"])
    theirs = (reps == change.what).to_numpy()
    known = history.deals["rep_id"]
    for rep in (change.what, change.value):
        if rep and not (known == rep).any():
            raise UsageError(
                f"what-if: nobody called `{rep}` owns or owned a deal; check the rep_id"
            )
    stays = 1.0 - _part_of_leaves(model, history, Change("win-rate", "rep_id", change.what))
    model = _with_new(model, stays)
    if change.value:
        deals = pipeline.deals.copy()
        deals.loc[theirs, "node"] = _leaf_of(history, change.value, model.leaves)
        return model, replace(pipeline, deals=deals)
    won, lost = pipeline.cif_won.copy(), pipeline.cif_lost.copy()
    won[theirs], lost[theirs] = 0.0, 1.0
    return model, replace(pipeline, cif_won=won, cif_lost=lost)


_APPLY = {
    "lost": _ended, "won": _ended, "slip": _slipped, "amount": _priced,
    "win-rate": _more_often_won, "leaves": _left,
}  # fmt: skip


def _with_new(model: RevenueModel, factor: Floats) -> RevenueModel:
    """The model with another conversion of deals to come, by leaf."""
    rates = replace(model.new_deals, conversion=model.new_deals.conversion * factor)
    return replace(model, new_deals=rates)


def _segment(pipeline: ScoredPipeline, history: History, change: Change) -> Bools:
    """Which open deals belong to the segment."""
    values = _values(history.open, change)
    inside = pipeline.deals["deal_id"].map(values.set_axis(history.open["deal_id"]))
    everywhere = _values(history.deals, change)
    if not everywhere.any():
        raise UsageError(
            f"what-if: no deal has `{change.what}` = `{change.value}`; check the spelling"
        )
    return np.asarray(inside.fillna(False), dtype=bool)


def _values(deals: pd.DataFrame, change: Change) -> pd.Series[bool]:
    """Whether each deal lies in the segment; a node holds all below it."""
    if change.what not in SEGMENTS:
        raise UsageError(
            f"what-if: `{change.what}` is no segment; it can be: {', '.join(SEGMENTS)}"
        )
    column = deals[change.what].astype("string").fillna("")
    if change.what == "node":
        return (column == change.value) | column.str.startswith(f"{change.value}/")
    return column == change.value


def _part_of_leaves(model: RevenueModel, history: History, change: Change) -> Floats:
    """The share of what each leaf won in the last year that lies in the segment, (leaves,).

    Deals to come have no stage, so a stage's share is 0. A leaf that won nothing takes the company's.
    """
    won = history.won[history.won["closed_at"] > pd.Timestamp(history.as_of) - _YEAR]
    won = won[won["node"].isin(model.leaves)]
    if change.what == "stage" or won.empty:
        return np.zeros(len(model.leaves))
    worth = won["amount"].fillna(0.0).to_numpy(dtype=np.float64)
    places, count = model.tree.places(won["node"]), len(model.leaves)
    inside = _values(won, change).to_numpy(dtype=bool)
    total = np.bincount(places, weights=worth, minlength=count)
    part = np.bincount(places[inside], weights=worth[inside], minlength=count)
    if change.what in ("node", "rep_id"):
        own = [leaf for leaf in model.leaves if _holds(leaf, change)]
        return np.where(
            total > 0, part / np.where(total > 0, total, 1.0), np.isin(model.leaves, own)
        )
    usual = part.sum() / total.sum() if total.sum() > 0 else 0.0
    return np.asarray(np.where(total > 0, part / np.where(total > 0, total, 1.0), usual))


def _holds(leaf: str, change: Change) -> bool:
    """Whether a leaf lies in a node, or ends in a rep."""
    if change.what == "node":
        return leaf == change.value or leaf.startswith(f"{change.value}/")
    return leaf.rsplit("/", 1)[-1] == change.value


def _leaf_of(history: History, rep: str, leaves: tuple[str, ...]) -> str:
    """Where the rep's deals stand: the leaf of the last one."""
    theirs = history.deals[(history.deals["rep_id"] == rep) & history.deals["node"].isin(leaves)]
    if theirs.empty:
        raise UsageError(
            f"what-if: `{rep}` has no place in the tree of the forecast; name another rep"
        )
    return str(theirs.sort_values("created_at", kind="stable")["node"].iloc[-1])


def _ending_at(curves: Floats, mass: Floats) -> Floats:
    """Curves of the same timing that end at `mass`; straight ones where there was none."""
    end = curves[:, -1]
    straight = np.linspace(0.0, 1.0, curves.shape[1])[None, :]
    shape = np.where(end[:, None] > 0, curves / np.where(end > 0, end, 1.0)[:, None], straight)
    return np.asarray(mass[:, None] * shape)


def _row(pipeline: ScoredPipeline, deal: str) -> int:
    rows = np.flatnonzero((pipeline.deals["deal_id"].astype(str) == deal).to_numpy())
    if not len(rows):
        raise UsageError(
            f"what-if: deal `{deal}` is not open on {pipeline.as_of:%Y-%m-%d}; check the deal_id"
        )
    return int(rows[0])


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"what-if: `{text}` is no day; write one such as 2026-10-01") from None


def _number(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise UsageError(f"what-if `{place}`: `{text}` is no number")
    return value
