"""The time machine: forecast again from days gone by, with what was known then, and see what came.

At each origin the deals are read, the rates learned and the pipeline scored as of that day. Lessons
(weights, shock, widths) come from earlier origins alone, judged by what was known on the day of the
new forecast. Only at the end is everything held against the actual amounts, as known at `as_of`.

A node's actual is what its members as of the origin brought: who moves later takes their deals along,
as in the forecast; who joined later is placed where they stand at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import norm

from salesops_ml.errors import UsageError
from salesops_ml.forecasts.baselines import RUN_RATES, at_pace, by_share, crm_weighted, run_rate
from salesops_ml.forecasts.batch import Floats
from salesops_ml.forecasts.combine import LEVELS, PARTS, QUANTILES, learn_weights
from salesops_ml.forecasts.conversion import Day, by_category, by_stage, existing_plus_new
from salesops_ml.forecasts.evidence import Evidence
from salesops_ml.forecasts.hierarchy import ROOT, UNKNOWN, Organisation, ancestors, depth
from salesops_ml.forecasts.history import History, read_history
from salesops_ml.forecasts.model import RevenueModel, learn_revenue_model
from salesops_ml.forecasts.outlook import Outlook, local_day
from salesops_ml.forecasts.pipeline_roll_up import ScoredPipeline
from salesops_ml.forecasts.projection import Projection, period_rows
from salesops_ml.forecasts.revenue import placed
from salesops_ml.forecasts.trees import COLUMN
from salesops_ml.periods import Grain, Period
from salesops_ml.settings import Settings
from salesops_ml.warehouse import Warehouse

Scorer = Callable[[datetime], ScoredPipeline]
"""Scores the deals open on a day with a model that has seen nothing later."""

COLUMNS = (
    "origin", "node", "level", "grain", "period", "period_start", "method", "horizon",
    "days_to_end", "mean", *QUANTILES, *PARTS, "actual", "variance", "loading",
)  # fmt: skip
_TEACHERS = ("bottom_up", "series")
_MONTHS_TOGETHER = 0.5
"""Correlation of the series model's errors between months of a quarter."""


def backtest_revenue(
    warehouse: Warehouse,
    scorer: Scorer,
    *,
    origins: Sequence[datetime],
    settings: Settings,
    as_of: datetime,
) -> pd.DataFrame:
    """Replay forecasts from `origins` beside baselines that knew as much.

    Methods: `ours` (closed + open + new, combined and calibrated by earlier origins), `bottom_up`
    (the same without lessons), `series`, `crm_weighted_pipeline` (where the CRM keeps probabilities
    and expected close dates), `run_rate` (12 months), `run_rate_3`, `existing_plus_new`, `by_stage`
    and `by_category` (`conversion`), and `submitted`, the last that people said by then.

    Args:
        scorer: gives the scored pipeline of a day.
        origins: the days to forecast from, each before `as_of`.
        as_of: until when actual amounts are known; periods that end later are left out.

    Returns:
        One row per origin, node, period and method. `horizon` counts months or quarters ahead, 0
        for the one of the origin; quantiles are NaN where a baseline has none; `variance` and
        `loading` (bottom-up, company) are what `learn_weights` needs.

    Raises:
        UsageError: an origin is not before `as_of`.
    """
    return replay_revenue(warehouse, scorer, origins=origins, settings=settings, as_of=as_of).main


@dataclass(frozen=True)
class Replayed:
    """The record of the past: rows of the main tree by every method, and of further trees by ours.

    Attributes:
        main: as `backtest_revenue` gives it.
        trees: its columns and `tree`; methods `ours` and `bottom_up`, without the company.
    """

    main: pd.DataFrame
    trees: pd.DataFrame


def replay_revenue(
    warehouse: Warehouse,
    scorer: Scorer,
    *,
    origins: Sequence[datetime],
    settings: Settings,
    as_of: datetime,
) -> Replayed:
    """`backtest_revenue`, with the further trees of the configuration beside the main one."""
    late = [origin for origin in origins if origin >= as_of]
    if late:
        raise UsageError(
            f"`origins` holds {late[0]}, not before `as_of` {as_of}; choose earlier days"
        )
    replays: list[_Replay] = []
    further: list[_Replay] = []
    evidence = Evidence.read(warehouse)
    for origin in sorted(set(origins)):
        history = read_history(warehouse, as_of=origin, settings=settings)
        weights = learn_weights(
            _lessons(replays, history),
            shock=settings.forecast.shock,
            trees=_lessons(further, history),
        )
        model = learn_revenue_model(history, settings, weights)
        pipeline = placed(scorer(origin), history)
        projection = model.project(pipeline)
        day = Day(history, evidence.known(origin), model)
        rows = _all_methods(projection, day, settings.forecast.hierarchy)
        replays.append(_Replay(history.organisation, rows.assign(origin=pd.Timestamp(origin))))
        further += _tree_replays(model, pipeline, projection, history, settings)
    if not replays:
        return Replayed(_NOTHING.copy(), _NOTHING.assign(tree=None))
    final = read_history(warehouse, as_of=as_of, settings=settings)
    return Replayed(_held(replays, final), _held(further, final))


def _held(replays: Sequence[_Replay], final: History) -> pd.DataFrame:
    """Rows whose periods are over, beside what came."""
    columns = [*COLUMNS, *(["tree"] if any(one.tree for one in replays) else [])]
    if not replays:
        return _NOTHING.assign(tree=None)
    judged = pd.concat([_judged(one, final) for one in replays], ignore_index=True)
    return judged[judged["actual"].notna()].reset_index(drop=True)[columns]


def _tree_replays(
    model: RevenueModel,
    pipeline: ScoredPipeline,
    main: Projection,
    history: History,
    settings: Settings,
) -> list[_Replay]:
    """What was said of the nodes of each further tree, with and without lessons."""
    done = []
    factors = main.factors(model.weights)
    for name, projection in model.project_trees(pipeline).items():
        levels = settings.forecast.trees[name]
        ours = projection.frame(model.weights, factors=factors).assign(method="ours")
        plain = projection.frame().assign(method="bottom_up")
        rows = pd.concat([ours, plain], ignore_index=True)
        rows = rows[rows["node"] != ROOT].reset_index(drop=True)
        rows["level"] = np.array([ROOT, *levels], dtype=object)[rows["node"].map(depth)]
        rows = _dated(rows, projection.view).assign(
            tree=name, origin=pd.Timestamp(history.as_of), variance=np.nan, loading=np.nan
        )
        done.append(_Replay(history.organisation, rows, name, levels))
    return done


def default_origins(
    *,
    as_of: datetime,
    settings: Settings,
    at: Literal["month_start", "mid_quarter"] = "month_start",
) -> list[datetime]:
    """The last `forecast.backtest_origins` days whose own month (or quarter) has ended by `as_of`.

    `month_start` is the first moment of a month, `mid_quarter` four weeks into a quarter.

    Example:
        >>> asked = Settings.model_validate({"forecast": {"backtest_origins": 2}})
        >>> [str(day.date()) for day in default_origins(as_of=datetime(2026, 3, 9), settings=asked)]
        ['2026-01-01', '2026-02-01']
    """
    grain: Grain = "month" if at == "month_start" else "quarter"
    company = settings.company
    day = local_day(as_of, company.time_zone)
    period = company.calendar.period_of(day, grain)
    origins: list[datetime] = []
    while len(origins) < settings.forecast.backtest_origins:
        begin, end = period.bounds(company.time_zone)
        if end <= as_of:
            origins.append(begin if grain == "month" else begin + timedelta(days=28))
        period = company.calendar.before(period, grain)
    return sorted(origins)


@dataclass(frozen=True)
class _Replay:
    """What was said on one day, and who belonged where then."""

    organisation: Organisation
    rows: pd.DataFrame
    tree: str = ""
    levels: tuple[str, ...] | None = None

    def teaching(self, as_of: datetime) -> _Replay:
        """Only what lessons are drawn from: the parts of our forecast, of periods over by `as_of`."""
        over = self.rows["method"].isin(_TEACHERS) & (self.rows["ends"] <= as_of)
        return replace(self, rows=self.rows[over])


def _lessons(replays: Sequence[_Replay], history: History) -> pd.DataFrame:
    """Earlier forecasts of periods that are over, held against what is known of them."""
    taught = [one.teaching(history.as_of) for one in replays]
    judged = [_judged(one, history) for one in taught if len(one.rows)]
    return pd.concat(judged) if judged else _NOTHING


_NOTHING = pd.DataFrame({name: pd.Series(dtype=object) for name in COLUMNS})


def _all_methods(projection: Projection, day: Day, levels: tuple[str, ...]) -> pd.DataFrame:
    """Every method's rows of one origin, not yet held against anything."""
    model = day.model
    ours = projection.frame(model.weights).assign(method="ours")
    plain = projection.frame().assign(method="bottom_up")
    plain = _with_chance(plain, projection)
    parts = [ours, plain, _series(projection, model)]
    for name, months in RUN_RATES.items():
        pace = run_rate(day.history, model, months)
        if pace is not None:
            totals = at_pace(pace, projection.view, projection.closed)
            parts.append(_means(projection, totals, name))
    parts += [_means(projection, _by_grain(projection, day, way), n) for n, way in _WAYS.items()]
    parts.append(_submitted(projection, day.evidence))
    rows = pd.concat([part for part in parts if len(part)], ignore_index=True)
    rows = rows[rows["mean"].notna()].reset_index(drop=True)
    names = np.array([ROOT, *levels], dtype=object)
    rows["level"] = names[rows["node"].map(depth).to_numpy(dtype=np.int64)]
    return _dated(rows, projection.view)


def _crm_weighted(day: Day, periods: Sequence[Period], closed: Floats) -> Floats | None:
    return crm_weighted(day.history, day.model, periods, closed)


Way = Callable[[Day, Sequence[Period], Floats], Floats | None]
_WAYS: dict[str, Way] = {
    "crm_weighted_pipeline": _crm_weighted, "existing_plus_new": existing_plus_new,
    "by_stage": by_stage, "by_category": by_category,
}  # fmt: skip


def _by_grain(projection: Projection, day: Day, way: Way) -> dict[str, Floats | None]:
    """Leaf totals of a way, month and quarter."""
    return {
        "month": way(day, projection.periods("month"), projection.closed.month),
        "quarter": way(day, projection.periods("quarter"), projection.closed.quarter),
    }


def _submitted(projection: Projection, evidence: Evidence) -> pd.DataFrame:
    """What was last submitted for each node and period."""
    view, tree = projection.view, projection.tree
    said = evidence.last_submissions
    rows = pd.concat(
        [
            period_rows(tree, view.months[: view.published], "month"),
            period_rows(tree, view.quarters, "quarter"),
        ]
    )
    rows = rows.merge(said[["node", "period", "amount"]], on=["node", "period"])
    return rows.rename(columns={"amount": "mean"}).assign(method="submitted")


def _with_chance(rows: pd.DataFrame, projection: Projection) -> pd.DataFrame:
    """The company's months with the size of chance and of the shared factor."""
    months = [month.label for month in projection.view.months]
    company = (rows["node"] == ROOT) & (rows["grain"] == "month")
    for name, values in (("variance", projection.variance), ("loading", projection.loading)):
        by_month = dict(zip(months, values.tolist(), strict=True))
        rows[name] = rows["period"].map(by_month).where(company)
    return rows


def _means(
    projection: Projection, totals: dict[str, Floats | None] | dict[str, Floats], method: str
) -> pd.DataFrame:
    """Rows of a method that gives means alone: leaf totals by grain, (leaves, periods)."""
    frames = []
    for grain, leaf_totals in totals.items():
        if leaf_totals is None:
            continue
        rows = period_rows(projection.tree, projection.periods(grain), grain)
        rows["mean"] = projection.tree.aggregate(leaf_totals).ravel()
        if grain == "month":
            rows = rows[rows["place"] < projection.view.published]
        frames.append(rows.assign(method=method))
    return pd.concat(frames) if frames else pd.DataFrame()


def _series(projection: Projection, model: RevenueModel) -> pd.DataFrame:
    """The totals' own past, shared among nodes by the last twelve months; quantiles at the company."""
    view = projection.view
    totals = at_pace(by_share(model), view, projection.closed)
    rows = _means(projection, totals, "series").reset_index(drop=True)
    deviation = model.series_deviation.copy()
    deviation[0] *= np.sqrt(view.ahead)
    inside = view.months_of_quarters
    own = (inside * deviation**2).sum(axis=1)
    quarterly = np.sqrt(own + _MONTHS_TOGETHER * ((inside @ deviation) ** 2 - own))
    months = deviation[: view.published]
    company = (rows["node"] == ROOT).to_numpy()
    spread = np.concatenate([months, quarterly])
    mean = rows.loc[company, "mean"].to_numpy(dtype=np.float64)
    for name, level in zip(QUANTILES, LEVELS, strict=True):
        rows[name] = np.nan
        rows.loc[company, name] = np.maximum(mean + norm.ppf(level) * spread, 0.0)
    return rows


def _dated(rows: pd.DataFrame, view: Outlook) -> pd.DataFrame:
    """Rows with how far ahead their period lies, and when it ends."""
    periods = {("month", month.label): (place, month) for place, month in enumerate(view.months)}
    periods |= {("quarter", q.label): (place, q) for place, q in enumerate(view.quarters)}
    found = [periods[key] for key in zip(rows["grain"], rows["period"], strict=True)]
    ends = [period.bounds(view.time_zone)[1] for _, period in found]
    begins = [period.bounds(view.time_zone)[0] for _, period in found]
    rows["horizon"] = [place for place, _ in found]
    rows["days_to_end"] = [(end - view.as_of).total_seconds() / 86_400.0 for end in ends]
    return rows.assign(begins=begins, ends=ends)


def _judged(replay: _Replay, history: History) -> pd.DataFrame:
    """The replay's rows with the amounts that came, as known in `history`; NaN while running."""
    rows = replay.rows
    won = history.won
    leaf = replay.organisation.place(won, replay.levels)
    joined_later = leaf.str.split("/").map(lambda parts: UNKNOWN in parts)
    leaf = leaf.where(~joined_later, won[COLUMN + replay.tree if replay.tree else "node"])
    periods = rows[["begins", "ends"]].drop_duplicates()
    actual: dict[tuple[pd.Timestamp, pd.Timestamp], dict[str, float]] = {}
    for begin, end in periods.itertuples(index=False):
        if end > history.as_of:
            continue
        inside = (won["closed_at"] >= begin) & (won["closed_at"] < end)
        sums = won.loc[inside, "amount"].fillna(0.0).groupby(leaf[inside]).sum()
        actual[(begin, end)] = _at_nodes(sums.items())
    keys = zip(rows["begins"], rows["ends"], rows["node"], strict=True)
    found = [
        actual[(begin, end)].get(node, 0.0) if (begin, end) in actual else np.nan
        for begin, end, node in keys
    ]
    return rows.assign(actual=found)


def _at_nodes(leaf_sums: Iterable[tuple[object, float]]) -> dict[str, float]:
    totals: dict[str, float] = {}
    for leaf, amount in leaf_sums:
        for node in ancestors(str(leaf)):
            totals[node] = totals.get(node, 0.0) + float(amount)
    return totals
