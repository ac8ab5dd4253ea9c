"""Forecasts of a whole tree that add up: company, regions, teams, reps, products and what crosses them.

Every node is forecast by its own past (`series`), past days are replayed, and the leaves are moved so
that all sums hold (`reconciliation`). Intervals come from the replayed errors of the reconciled
forecasts, node by node: a total's is as wide as totals were wrong, not the sum of its parts' or less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.errors import DataError
from salesops_ml.forecasts.batch import Bools, Floats, Ints
from salesops_ml.forecasts.conformal import upper_quantile
from salesops_ml.forecasts.hierarchy import Tree
from salesops_ml.forecasts.panel import Calendar, Series, read_panel
from salesops_ml.forecasts.reconciliation import Method, leaf_weights
from salesops_ml.forecasts.series import Mode, check_arguments, filled, point_forecast
from salesops_ml.forecasts.summing import Parts, Structure

MOST_REPLAYS = 24
LEAST_PERIODS = 3
LEAST_NODES = 8
"""Nodes of different size below which each keeps the spread of its own errors."""


def forecast_hierarchy(
    panel: pd.DataFrame,
    tree: Tree | Parts,
    *,
    horizon: int,
    season_length: int,
    freq: str | int,
    levels: Sequence[int] = (80, 95),
    method: Method = "pooled",
    mode: Mode = "best",
) -> pd.DataFrame:
    """Forecast every node of a tree; parents equal the sum of their children.

    A leaf whose rows begin after the others' was not there before (a rep who joined); one whose rows
    end before them has left and gets 0. Periods missing in between are filled in a straight line.

    Args:
        panel: long frame `unique_id`, `ds`, `y` of the leaves; totals in it are left aside.
        tree: a `Tree` of paths, or a mapping from each total to its parts; a part may belong to several.
        horizon: periods ahead.
        season_length: periods in a season; 1 for none.
        freq: pandas frequency of `ds`, or the whole-number step of an integer `ds`.
        levels: interval levels in per cent.
        method: bottom_up, wls_struct, mint_shrink, or pooled, their mean.
        mode: "best" or "fast", as in `forecast_series`, for the forecasts themselves; past days are
            replayed fast in either.

    Returns:
        `unique_id`, `depth`, `ds`, `mean`, and `lo_L`, `hi_L` for each level; one row per node and step,
        the widest nodes first.

    Raises:
        DataError: the panel lacks a leaf or is no panel; a node has no children; the tree has a cycle.
        UsageError: an argument is out of range.

    Example:
        >>> months = pd.date_range("2025-01-01", periods=24, freq="MS")
        >>> panel = pd.concat(
        ...     pd.DataFrame({"unique_id": name, "ds": months, "y": y})
        ...     for name, y in [("a", 3), ("b", 4)]
        ... )
        >>> told = forecast_hierarchy(
        ...     panel, {"all": ["a", "b"]}, horizon=1, season_length=12, freq="MS"
        ... )
        >>> told[["unique_id", "mean"]].round(6).values.tolist()
        [['all', 7.0], ['a', 3.0], ['b', 4.0]]
    """
    check_arguments(horizon, season_length, levels)
    past = _Past.read(panel, Structure.of(tree), freq)
    reconciled = _reconcile(past, horizon, season_length, method, mode)
    columns: dict[str, Any] = {
        "unique_id": np.repeat(past.structure.nodes, horizon),
        "depth": np.repeat(past.structure.level, horizon),
        "ds": np.tile(np.asarray(past.stamps(horizon)), len(past.structure.nodes)),
        "mean": reconciled.mean.ravel(),
    }
    floor = np.where(past.never_negative, 0.0, -np.inf)[:, None]
    for level in levels:
        width = reconciled.half_width(level / 100)
        columns[f"lo_{level}"] = np.maximum(reconciled.mean - width, floor).ravel()
        columns[f"hi_{level}"] = (reconciled.mean + width).ravel()
    return pd.DataFrame(columns)


def sample_hierarchy(
    panel: pd.DataFrame,
    tree: Tree | Parts,
    *,
    horizon: int,
    season_length: int,
    freq: str | int,
    draws: int = 1_000,
    seed: int = 7,
    method: Method = "pooled",
    mode: Mode = "best",
) -> tuple[tuple[str, ...], Floats]:
    """Nodes, and draws of what they may book, in which parents equal their children; unlike intervals.

    A draw lays the errors that all leaves made on one replayed day, with either sign, over the forecast,
    so that what goes wrong together does so here; a leaf of a small forecast may fall below 0.

    Returns:
        The nodes, and draws of shape (draws, nodes, horizon).

    Raises:
        DataError: as `forecast_hierarchy`, or no past day can be replayed.
        UsageError: an argument is out of range.
    """
    check_arguments(horizon, season_length, ())
    past = _Past.read(panel, Structure.of(tree), freq)
    reconciled = _reconcile(past, horizon, season_length, method, mode)
    leaves = len(past.structure.leaves)
    errors = reconciled.errors[:, -leaves:]
    whole = errors[~np.isnan(errors[:, :, -1]).all(axis=1)]
    if not len(whole):
        raise DataError(
            f"`horizon`: no past day can be replayed {horizon} periods ahead; give a longer panel"
            " or a shorter horizon"
        )
    random = np.random.default_rng(seed)
    day = random.integers(len(whole), size=draws)
    sign = random.choice([-1.0, 1.0], size=draws)
    drawn = reconciled.mean[-leaves:] + sign[:, None, None] * np.nan_to_num(whole[day])
    summed = np.einsum("nl,dlh->dnh", past.structure.matrix, drawn)
    return past.structure.nodes, summed


@dataclass(frozen=True)
class _Past:
    """What every node did: values on one calendar, 0 before a node's first period.

    Attributes:
        values: (nodes, periods).
        start: first period of each node.
        gone: leaves whose rows end before the others'.
    """

    structure: Structure
    values: Floats
    start: list[int]
    gone: Bools
    calendar: Calendar

    @classmethod
    def read(cls, panel: pd.DataFrame, structure: Structure, freq: str | int) -> _Past:
        """The leaves' rows of the panel, added up."""
        if "unique_id" in panel.columns:
            panel = panel[panel["unique_id"].astype(str).isin(structure.leaves)]
            absent = sorted(set(structure.leaves) - set(panel["unique_id"].astype(str)))
            if absent:
                raise DataError(
                    f"leaf `{absent[0]}` has no rows in the panel ({len(absent)} such); add them, or"
                    " take it out of the tree"
                )
        series, calendar = read_panel(panel, freq)
        periods = max(one.last for one in series) + 1
        by_name = {one.unique_id: one for one in series}
        ordered = [by_name[leaf] for leaf in structure.leaves]
        leaf = np.vstack([_laid_out(one, periods) for one in ordered])
        began = np.array([one.last + 1 - len(one.values) for one in ordered])
        part = structure.matrix > 0
        start = [int(began[row].min()) for row in part]
        gone = np.array([one.last < periods - 1 for one in ordered])
        return cls(structure, structure.aggregate(leaf), start, gone, calendar)

    @property
    def never_negative(self) -> Bools:
        """Nodes that never fell below 0."""
        return np.asarray((self.values >= 0).all(axis=1))

    def stamps(self, horizon: int) -> pd.Index:
        """The periods that are forecast."""
        return self.calendar.stamps(self.values.shape[1], horizon)

    def forecast(self, until: int, horizon: int, season: int, mode: Mode = "fast") -> Floats:
        """Each node by its own past before period `until`; 0 for one that was not there yet."""
        told = np.zeros((len(self.values), horizon))
        there = [row for row, start in enumerate(self.start) if start < until]
        known = [self.values[row, self.start[row] : until] for row in there]
        told[there] = point_forecast(known, horizon, season, mode=mode)
        return told


def _laid_out(series: Series, periods: int) -> Floats:
    values = np.zeros(periods)
    values[series.last + 1 - len(series.values) : series.last + 1] = filled(series)
    return values


@dataclass(frozen=True)
class _Reconciled:
    """Forecasts that add up, and how wrong such forecasts were on past days.

    Attributes:
        mean: (nodes, horizon).
        errors: what happened less what was forecast; NaN where unknown. (replays, nodes, horizon).
        level: nodes of one level share the shape of their errors. (nodes,).
    """

    mean: Floats
    errors: Floats
    level: Ints

    def half_width(self, share: float) -> Floats:
        """Half-width of the interval that holds `share`, (nodes, horizon); never less further ahead.

        Errors are divided by the node's spread (`_steadied`) and by the growth with the step ahead that
        all nodes share; the quantile of what remains is the level's.
        """
        if np.isnan(self.errors).all():
            return np.full(self.mean.shape, np.nan)
        spread = _root_mean_square(self.errors, (0, 2))
        spread = np.where(np.isnan(spread), np.nanmedian(spread), spread)
        spread = _steadied(spread, np.abs(self.mean).mean(axis=1))
        scaled = self.errors / np.where(spread > 0, spread, np.nan)[None, :, None]
        growth = np.maximum.accumulate(np.nan_to_num(_root_mean_square(scaled, (0, 1))))
        growth = np.where(growth > 0, growth, 1.0)
        size = np.abs(scaled) / growth
        width = np.zeros_like(self.mean)
        for level in np.unique(self.level):
            rows = self.level == level
            known = size[:, rows][~np.isnan(size[:, rows])]
            times = upper_quantile(known, share) if len(known) else 0.0
            width[rows] = times * spread[rows, None] * growth
        return width


def _steadied(spread: Floats, size: Floats) -> Floats:
    """Spreads moved half of the way to what nodes of the same size usually have, on the log scale.

    A few replayed days tell little of one node; that larger nodes miss by more is told by all of them.
    """
    told = (spread > 0) & (size > 0)
    if len(np.unique(size[told])) < LEAST_NODES:
        return spread
    own, scale = np.log(spread[told]), np.log(size[told])
    usual = np.polynomial.Polynomial.fit(scale, own, 1)(scale)
    steadied = spread.copy()
    steadied[told] = np.exp((own + usual) / 2)
    return steadied


def _root_mean_square(errors: Floats, axes: tuple[int, ...]) -> Floats:
    known = ~np.isnan(errors)
    count = known.sum(axis=axes)
    total = np.where(known, errors, 0.0) ** 2
    return np.asarray(np.sqrt(total.sum(axis=axes) / np.where(count > 0, count, np.nan)))


def _reconcile(past: _Past, horizon: int, season: int, method: Method, mode: Mode) -> _Reconciled:
    """Forecast, replay past days, and move the leaves so that every sum holds."""
    periods = past.values.shape[1]
    days = _replayed(periods, season)
    told = [past.forecast(day, horizon, season) for day in days]
    first = [_happened(past, day, 1) - one[:, :1] for day, one in zip(days, told, strict=True)]
    summing = past.structure.matrix
    errors = np.hstack(first).T if first else np.empty((0, len(summing)))
    weights = leaf_weights(summing, errors, method)
    leaf = weights @ past.forecast(periods, horizon, season, mode)
    floor = np.where(past.never_negative[-len(leaf) :], 0.0, -np.inf)[:, None]
    leaf = np.where(past.gone[:, None], 0.0, np.maximum(leaf, floor))
    replays = [
        _happened(past, day, horizon) - summing @ np.maximum(weights @ one, floor)
        for day, one in zip(days, told, strict=True)
    ]
    wrong = np.array(replays) if replays else np.full((1, len(summing), horizon), np.nan)
    return _Reconciled(summing @ leaf, wrong, past.structure.level)


def _replayed(periods: int, season: int) -> range:
    """The days that are replayed: the last ones, each with two seasons before it where they exist."""
    least = 2 * season + 1 if periods >= 3 * season + 1 else LEAST_PERIODS
    return range(max(least, periods - MOST_REPLAYS), periods)


def _happened(past: _Past, day: int, horizon: int) -> Floats:
    """What each node did in the periods from `day` on; NaN after the end and while it was new."""
    told = np.full((len(past.values), horizon), np.nan)
    seen = past.values[:, day : day + horizon]
    told[:, : seen.shape[1]] = seen
    new = np.array(past.start) > day - LEAST_PERIODS
    told[new] = np.nan
    return told
