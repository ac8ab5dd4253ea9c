"""Why the forecast of a period changed between two days, cause by cause, at every node.

start + won + lost + created + re-opened + removed + stage moved + date moved + amount + currency
+ re-scored + booked otherwise + owner in + owner out + new business + adjustment = end.

Every deal counts what is booked of it in the period and what it is expected to bring. A deal that was
won moves the forecast by what was booked less what had been expected of it; one that was lost takes away
what had been expected. Of a deal that stays open, what its amount did is told first, at the chance that
it had; the rest is put down to its expected close if that moved, else to its stage if that moved, else
it is `re-scored`: other news, or none while time passed. `new business` is the part of deals to come,
which shrinks as they come; `adjustment` is what combining with past totals adds. Both days count as they
were known then, in the organisation of their time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from salesops_ml.errors import UsageError
from salesops_ml.forecasts.batch import Floats
from salesops_ml.forecasts.combine import Weights
from salesops_ml.forecasts.hierarchy import ancestors
from salesops_ml.forecasts.history import History, read_history
from salesops_ml.forecasts.model import RevenueModel, learn_revenue_model
from salesops_ml.forecasts.pipeline_roll_up import ScoredPipeline, chances_by_month
from salesops_ml.forecasts.revenue import placed
from salesops_ml.periods import Period
from salesops_ml.settings import Settings
from salesops_ml.warehouse import Warehouse

OF_DEALS = (
    "won", "lost", "created", "re-opened", "removed", "stage moved", "date moved", "amount",
    "currency", "re-scored", "booked otherwise",
)  # fmt: skip
CAUSES = (
    "start", *OF_DEALS, "owner in", "owner out", "new business", "adjustment", "end",
)  # fmt: skip
_STATE = ("status", "amount", "own_amount", "stage", "expected_close_date", "closed_at", "node")


@dataclass(frozen=True)
class ForecastDay:
    """A forecast of one day, with all that it was made of.

    Attributes:
        history: the deals as known then.
        model: learned from it.
        pipeline: the open deals, scored and placed.
        forecast: rows of forecast.parquet.
    """

    history: History
    model: RevenueModel
    pipeline: ScoredPipeline
    forecast: pd.DataFrame

    @classmethod
    def made(
        cls,
        warehouse: Warehouse,
        pipeline: ScoredPipeline,
        *,
        as_of: datetime,
        settings: Settings,
        weights: Weights,
    ) -> ForecastDay:
        """The forecast of `as_of` by given weights; arguments and errors are `forecast_revenue`'s."""
        history = read_history(warehouse, as_of=as_of, settings=settings)
        model = learn_revenue_model(history, settings, weights)
        pipeline = placed(pipeline, history)
        return cls(history, model, pipeline, model.project(pipeline).frame(weights))

    def period(self, label: str) -> Period | None:
        """The period of this forecast that is called so."""
        view = self.model.view
        known = {period.label: period for period in (*view.months, *view.quarters)}
        return known.get(label)


def forecast_change(
    before: ForecastDay, after: ForecastDay, periods: Sequence[str] | None = None
) -> pd.DataFrame:
    """The change of each node's mean between two days, taken apart.

    Args:
        before: the forecast of the earlier day.
        after: that of the later day.
        periods: labels; by default all that the earlier day told. A period that has ended meanwhile
            ends with what was booked in it.

    Returns:
        `node`, `period` and the columns of `CAUSES`, company currency, in the order of the periods and
        then by node.

    Raises:
        UsageError: `after` is not later than `before`, or the earlier day did not forecast a period.
    """
    if after.model.as_of <= before.model.as_of:
        raise UsageError(
            f"the forecast of {after.model.as_of} is not after that of {before.model.as_of}; swap them"
        )
    labels = list(dict.fromkeys(before.forecast["period"])) if periods is None else periods
    deals = _paired(before.history.deals, after.history.deals)
    members = _members(deals)
    days = [(day, _by_month(day, deals["deal_id"])) for day in (before, after)]
    found = [pd.DataFrame(columns=["node", "period", *CAUSES])]
    for label in labels:
        period = before.period(label)
        if period is None:
            raise UsageError(
                f"period `{label}` was not forecast on {before.model.as_of:%Y-%m-%d}, which told"
                f" {', '.join(dict.fromkeys(before.forecast['period']))}"
            )
        chances = [_in_period(*day, period) for day in days]
        told = _of_deals(deals, period, before, after, chances)
        found.append(_told(_at_nodes(told, members), before, after, label))
    return pd.concat([frame for frame in found if len(frame)] or found, ignore_index=True)


def _paired(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Every deal that was open on a day or changed since it closed, with its state on both, sorted."""
    sides = [frame[["deal_id", *_STATE]] for frame in (old, new)]
    deals = sides[0].merge(sides[1], on="deal_id", how="outer", suffixes=("_old", "_new"))
    deals = deals.sort_values("deal_id", kind="stable", ignore_index=True)
    for side, other in (("old", "new"), ("new", "old")):
        here, there = deals[f"node_{side}"], deals[f"node_{other}"]
        deals[f"node_{side}"] = here.where(here.notna(), there)
    settled = deals["status_old"].isin(["won", "lost"])
    for name in ("status", "amount", "closed_at", "node"):
        then, now = deals[f"{name}_old"], deals[f"{name}_new"]
        settled &= (then == now) | (then.isna() & now.isna())
    return deals[~settled].reset_index(drop=True)


def _members(deals: pd.DataFrame) -> pd.DataFrame:
    """row (of the deal), node, in_old, in_new: every node that holds a deal on either day."""
    sides = []
    for column, mark in (("node_old", "in_old"), ("node_new", "in_new")):
        nodes = pd.Series([ancestors(path) for path in deals[column]], dtype=object)
        rows = pd.DataFrame({"row": np.arange(len(deals)), "node": nodes}).explode("node")
        sides.append(rows.assign(**{mark: True}))
    both = sides[0].merge(sides[1], on=["row", "node"], how="outer")
    return both.assign(in_old=both["in_old"].eq(True), in_new=both["in_new"].eq(True))


def _by_month(day: ForecastDay, deals: pd.Series[str]) -> tuple[Floats, Floats]:
    """Chance of being won in each month, (deals, months), and what each brings if won, (deals,)."""
    model, pipeline = day.model, day.pipeline
    by = chances_by_month(pipeline, model.view.ends, model.new_deals.rhythm, model.late)
    worth = model.amounts.base(pipeline.amounts) * model.amounts.mean_ratio
    places = pd.Index(deals).get_indexer(pd.Index(pipeline.deals["deal_id"]))
    chances, brings = np.zeros((len(deals), by.shape[1])), np.zeros(len(deals))
    chances[places], brings[places] = np.diff(by, axis=1, prepend=0.0), worth
    return chances, brings


def _in_period(
    day: ForecastDay, by_month: tuple[Floats, Floats], period: Period
) -> tuple[Floats, Floats]:
    """Chance of being won in what is left of the period, and what each deal brings if won."""
    months = [period.start <= month.start < period.end for month in day.model.view.months]
    return by_month[0][:, np.array(months)].sum(axis=1), by_month[1]


def _of_deals(
    deals: pd.DataFrame,
    period: Period,
    before: ForecastDay,
    after: ForecastDay,
    chances: Sequence[tuple[Floats, Floats]],
) -> pd.DataFrame:
    """Per deal: `was`, what it counted on the earlier day, and its change by cause."""
    booked = [
        _booked(deals, side, period, day.model.company.time_zone)
        for side, day in (("old", before), ("new", after))
    ]
    expected = [chance * brings for chance, brings in chances]
    was = booked[0] + expected[0]
    change = booked[1] + expected[1] - was
    stays = ((deals["status_old"] == "open") & (deals["status_new"] == "open")).to_numpy()
    amount, currency = _priced_anew(deals, chances[0][0], before.model.amounts.mean_ratio)
    told = dict.fromkeys(OF_DEALS, np.zeros(len(deals)))
    told |= {"amount": np.where(stays, amount, 0.0), "currency": np.where(stays, currency, 0.0)}
    rest = change - told["amount"] - told["currency"]
    causes = _causes(deals)
    for cause in OF_DEALS:
        told[cause] = told[cause] + np.where(causes == cause, rest, 0.0)
    return pd.DataFrame({"was": was, **told})


def _booked(deals: pd.DataFrame, side: str, period: Period, time_zone: str) -> Floats:
    """Won amounts in the period, as known on a day."""
    start, end = (pd.Timestamp(moment) for moment in period.bounds(time_zone))
    closed_at = deals[f"closed_at_{side}"]
    inside = (deals[f"status_{side}"] == "won") & (closed_at >= start) & (closed_at < end)
    amounts = deals[f"amount_{side}"].fillna(0.0).to_numpy(dtype=np.float64)
    return np.where(inside.to_numpy(), amounts, 0.0)


def _priced_anew(deals: pd.DataFrame, chance: Floats, ratio: float) -> tuple[Floats, Floats]:
    """What another amount does at the chance that the deal had: by its own change, by the rate."""
    old, new, own_old, own_new = (
        deals[name].to_numpy(dtype=np.float64)
        for name in ("amount_old", "amount_new", "own_amount_old", "own_amount_new")
    )
    change = np.where(np.isfinite(old) & np.isfinite(new), new - old, 0.0)
    known = np.isfinite(own_old) & np.isfinite(own_new) & (own_old != 0)
    growth = np.divide(own_new, own_old, out=np.ones(len(deals)), where=known) - 1.0
    by_deal = np.where(known, np.nan_to_num(old) * growth, change)
    rounding = np.abs(change - by_deal) < 0.01
    by_deal = np.where(rounding, change, by_deal)
    return chance * ratio * by_deal, chance * ratio * (change - by_deal)


def _causes(deals: pd.DataFrame) -> Floats:
    """The one cause to which each deal's change is put down, but for what its amount did."""
    old, new = deals["status_old"].fillna(""), deals["status_new"].fillna("")
    open_then, open_now = old == "open", new == "open"
    due_old, due_new = deals["expected_close_date_old"], deals["expected_close_date_new"]
    moved_date = (due_old != due_new) & ~(due_old.isna() & due_new.isna())
    stages = [deals[f"stage_{side}"].fillna("") for side in ("old", "new")]
    cases = [
        (new == "", "removed"),
        (open_then & open_now & moved_date, "date moved"),
        (open_then & open_now & (stages[0] != stages[1]), "stage moved"),
        (open_then & open_now, "re-scored"),
        (open_now & (old == ""), "created"),
        (open_now, "re-opened"),
        ((new == "won") & (old != "won"), "won"),
        ((new == "lost") & (old != "won"), "lost"),
    ]
    conditions = [np.asarray(condition, dtype=bool) for condition, _ in cases]
    return np.select(conditions, [name for _, name in cases], default="booked otherwise")


def _at_nodes(told: pd.DataFrame, members: pd.DataFrame) -> pd.DataFrame:
    """The deals' part of every node: what they counted, the causes, and who changed hands."""
    rows = told.take(members["row"].to_numpy(dtype=np.int64))
    here, there = (members[mark].to_numpy() for mark in ("in_new", "in_old"))
    was = rows.pop("was").to_numpy(dtype=np.float64)
    rows = rows.mul(here, axis=0)
    rows["owner in"] = np.where(here & ~there, was, 0.0)
    rows["owner out"] = np.where(there & ~here, -was, 0.0)
    rows["node"] = members["node"].to_numpy()
    return rows.groupby("node", sort=True).sum()


def _told(moves: pd.DataFrame, before: ForecastDay, after: ForecastDay, label: str) -> pd.DataFrame:
    """The causes between the two published means; what deals do not explain is not theirs."""
    old, new = (_published(day, label) for day in (before, after))
    nodes = old.index.union(new.index).union(moves.index[moves.ne(0).any(axis=1)])
    table = moves.reindex(nodes, fill_value=0.0)
    old, new = old.reindex(nodes, fill_value=0.0), new.reindex(nodes, fill_value=0.0)
    table["start"], table["new business"] = old["mean"], new["from_new"] - old["from_new"]
    if after.period(label) is None:
        beyond_deals = old["mean"] - old["closed"] - old["from_open"]
        table["end"] = old["mean"] - beyond_deals + moves.reindex(nodes, fill_value=0.0).sum(axis=1)
    else:
        table["end"] = new["mean"]
    others = [name for name in CAUSES if name not in ("adjustment", "end")]
    table["adjustment"] = table["end"] - table[others].sum(axis=1)
    table.insert(0, "period", label)
    return table.rename_axis("node").reset_index()[["node", "period", *CAUSES]]


def _published(day: ForecastDay, label: str) -> pd.DataFrame:
    """What a day said of a period: mean and parts by node; no row where it said nothing."""
    rows = day.forecast[day.forecast["period"] == label].set_index("node")
    return rows[["mean", "closed", "from_open", "from_new"]].astype("float64")
