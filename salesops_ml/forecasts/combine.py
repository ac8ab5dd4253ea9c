"""What past forecasts teach the next one: how much to trust the series, how wide to be.

Four things are learned from replayed forecasts whose periods have ended:

- the lift: by how much the company's bottom-up forecasts fell short (or went too far), by how far away
  the end of the period was, drawn to 1 where replays are few;
- the weight of the series model beside the bottom-up forecast, likewise, from the company's monthly
  errors (ridge towards 0: with little evidence the forecast is closed + open + new);
- the shared shock, from how much the company's errors exceed what independent deals would give;
- the width of the published intervals, by grain and level of the tree: the conformal quantile of the
  errors in units of the interval itself, drawn towards 1 where errors are few.

Days of one month say nearly the same: together they count as one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd

from salesops_ml.forecasts.batch import Floats
from salesops_ml.forecasts.conformal import upper_quantile
from salesops_ml.forecasts.hierarchy import ROOT

LEVELS = (0.025, 0.05, 0.1, 0.5, 0.9, 0.95, 0.975)
QUANTILES = ("p025", "p05", "p10", "p50", "p90", "p95", "p975")
PARTS = ("closed", "from_open", "from_new", "adjustment")

_LIFT_EVIDENCE = 12.0
"""Replayed months at which the lift that was seen counts half."""
_LIFT_RANGE = (0.67, 1.5)
_WEIGHT_SPREAD = 0.1
"""Standard deviation of the series' true weight around 0, before any evidence."""
_WEEK = 0.25
_WITHIN = (_WEEK, 2 * _WEEK, 3 * _WEEK)
"""Distances within the month of the forecast, in months, at which lifts and weights are told."""
MONTH_DAYS = 30.4375
_SHOCK_EVIDENCE = 4.0
"""Replayed months that the configured shock counts for."""
_SHOCK_RANGE = (0.02, 0.6)
_WIDTH_EVIDENCE = 20.0
"""Periods of nodes at which the learned width counts half; all forecasts of one count as one."""
_WIDTH_RANGE = (0.5, 4.0)
_FACTOR_RANGE = (0.25, 4.0)


@dataclass(frozen=True)
class Weights:
    """What was learned from replayed forecasts.

    Attributes:
        shock: correlation of every deal's fate with the shared factor, 0..1.
        lift: factor on open and new deals, by distance to the end of the period.
        series: weight of the series model; likewise.
        distances: months to the end of the period at which `lift` and `series` are told, rising; in
            between they go in straight lines, beyond they stay. Whole months from 1 where empty.
        money: factors on what open deals win in the near, middle and far future, and by part of the
            quarter, from deals that the deal model has not learned from (`app.win_corrections`); empty
            where none are known.
        widths: `grain/level` (such as month/0), or `grain/tree/level` of a further tree -> width factors
            of the 80 % and 95 % intervals.
        origins: how many replayed days the lessons rest on.

    Example:
        >>> lift, series = Weights(shock=0.1, lift=(1.0, 1.1)).at(np.array([0.2, 1.5, 2.0, 3.0]))
        >>> lift.round(3).tolist(), series.tolist()
        ([1.0, 1.05, 1.1, 1.1], [0.0, 0.0, 0.0, 0.0])
    """

    shock: float
    lift: tuple[float, ...] = ()
    series: tuple[float, ...] = ()
    widths: dict[str, tuple[float, float]] = field(default_factory=dict)
    origins: int = 0
    distances: tuple[float, ...] = ()
    money: tuple[float, ...] = ()

    def at(self, months_to_end: Floats) -> tuple[Floats, Floats]:
        """Lift, and weight of the series model, of periods that end so many months from now."""
        return self._told(self.lift, months_to_end, 1.0), self._told(
            self.series, months_to_end, 0.0
        )

    def _told(self, values: tuple[float, ...], months: Floats, default: float) -> Floats:
        if not values:
            return np.full(len(months), default)
        knots = self.distances or tuple(range(1, len(values) + 1))
        return np.asarray(np.interp(months, knots, values), dtype=np.float64)

    def width(self, grain: str, depth: int, tree: str = "") -> tuple[float, float]:
        """Factors on the half-widths of the 80 % and 95 % intervals; 1 where nothing is known.

        A further tree's own are those of its level, else those of the main tree's.
        """
        main = self.widths.get(f"{grain}/{depth}", (1.0, 1.0))
        return self.widths.get(f"{grain}/{tree}/{depth}", main) if tree and depth else main

    def to_json(self) -> str:
        """As JSON that `from_json` reads back equal."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Weights:
        """What `to_json` wrote."""
        values = json.loads(text)
        widths = {key: (float(a), float(b)) for key, (a, b) in values["widths"].items()}
        lift, series = tuple(values["lift"]), tuple(values["series"])
        distances, money = (tuple(values.get(name, ())) for name in ("distances", "money"))
        return cls(values["shock"], lift, series, widths, values["origins"], distances, money)


def learn_weights(
    replayed: pd.DataFrame, *, shock: float, trees: pd.DataFrame | None = None
) -> Weights:
    """Learn from the rows of a backtest whose periods have ended (`actual` known).

    Args:
        replayed: rows of `backtest_revenue`; methods `bottom_up` and `series` are used.
        shock: what to assume of the shared shock before evidence.
        trees: rows of further trees, as `replay_revenue` gives them.
    """
    ended = replayed[replayed["actual"].notna()] if len(replayed) else replayed
    if ended.empty:
        return Weights(shock=shock)
    further = {} if trees is None or trees.empty else _tree_widths(trees)
    ours = ended[ended["method"] == "bottom_up"]
    company = ours[(ours["node"] == ROOT) & (ours["grain"] == "month")]
    series = ended[(ended["method"] == "series") & (ended["node"] == ROOT)]
    pairs = company.merge(
        series[["origin", "grain", "period", "mean"]],
        on=["origin", "grain", "period"],
        suffixes=("", "_series"),
    )
    knots = _knots(company)
    lift = _lifts(company, knots)
    return Weights(
        shock=_learned_shock(company, shock),
        lift=lift,
        series=_series_weights(pairs, lift, knots),
        widths=_widths(ours) | further,
        origins=int(ended["origin"].nunique()),
        distances=knots if lift else (),
    )


def future_factors(
    bottom_up: Floats, series: Floats, weights: Weights, months_to_end: Floats
) -> Floats:
    """By what each month's company forecast of what is still to come is scaled; (months,).

    Args:
        bottom_up: from open and new deals, (months,).
        series: what the series model leaves for the same time, (months,).
        months_to_end: from the day of the forecast to the end of each month, (months,).
    """
    lift, weight = weights.at(months_to_end)
    lifted = lift * bottom_up
    ratio = np.where(lifted > 0, series / np.where(lifted > 0, lifted, 1.0), 1.0)
    return np.clip(lift * (1.0 + weight * (ratio - 1.0)), *_FACTOR_RANGE)


def widened(quantiles: Floats, factors: tuple[float, float]) -> Floats:
    """Quantiles (..., 7) stretched about their median: the inner pair by the first factor, the
    outer by the second, the pair between by their mean; they stay ordered.

    Example:
        >>> widened(np.array([0.0, 1.0, 2.0, 5.0, 8.0, 9.0, 10.0]), (2.0, 1.0)).tolist()
        [-1.0, -1.0, -1.0, 5.0, 11.0, 11.0, 11.0]
    """
    inner, outer = factors
    stretch = np.array([outer, (inner + outer) / 2, inner, 1, inner, (inner + outer) / 2, outer])
    middle = quantiles[..., 3:4]
    done = middle + stretch * (quantiles - middle)
    done[..., 2::-1] = np.minimum.accumulate(done[..., 2::-1], axis=-1)
    done[..., 4:] = np.maximum.accumulate(done[..., 4:], axis=-1)
    return done


def _knots(company: pd.DataFrame) -> tuple[float, ...]:
    """Distances at which to tell lifts: within the first month, and whole months as far as was seen."""
    furthest = int(np.ceil(_months(company).max() - 0.1)) if len(company) else 0
    return (*_WITHIN, *(float(month) for month in range(1, furthest + 1)))


def _months(rows: pd.DataFrame) -> Floats:
    """Months from each row's origin to the end of its period."""
    return np.asarray(rows["days_to_end"], dtype=np.float64) / MONTH_DAYS


def _crowd(rows: pd.DataFrame) -> pd.Series[pd.Period]:
    """The month that each row's origin lies in."""
    return pd.to_datetime(rows["origin"]).dt.to_period("M").reset_index(drop=True)


def _nearness(rows: pd.DataFrame, distance: float) -> Floats:
    """What each row counts at a distance; the rows of one month of origins count as one at most."""
    ratio = (_months(rows) + _WEEK) / (distance + _WEEK)
    near = pd.Series(np.minimum(ratio, 1.0 / ratio))
    months = near.groupby(_crowd(rows))
    return np.asarray(near / (months.transform("sum") / months.transform("max")), dtype=np.float64)


def _lifts(company: pd.DataFrame, knots: tuple[float, ...]) -> tuple[float, ...]:
    """What was still to come, over what was said to come, by distance to the end."""
    if company.empty:
        return ()
    said = (company["mean"] - company["closed"]).to_numpy(dtype=np.float64)
    came = (company["actual"] - company["closed"]).to_numpy(dtype=np.float64)
    lifts = []
    for distance in knots:
        near = _nearness(company, distance)
        prior = _LIFT_EVIDENCE * float(np.average(said, weights=near))
        lifts.append(float((near @ came + prior) / max(near @ said + prior, 1e-9)))
    return tuple(float(lift) for lift in np.clip(lifts, *_LIFT_RANGE))


def _series_weights(
    pairs: pd.DataFrame, lift: tuple[float, ...], knots: tuple[float, ...]
) -> tuple[float, ...]:
    """Ridge of the lifted forecast's error on its distance from the series."""
    if pairs.empty:
        return ()
    closed = pairs["closed"].to_numpy(dtype=np.float64)
    factor = np.interp(_months(pairs), knots, lift)
    lifted = closed + factor * (pairs["mean"].to_numpy(dtype=np.float64) - closed)
    gap = pairs["mean_series"].to_numpy(dtype=np.float64) - lifted
    error = pairs["actual"].to_numpy(dtype=np.float64) - lifted
    weights = []
    for distance in knots:
        near = _nearness(pairs, distance)
        ridge = max(float(np.average(error**2, weights=near)), 1e-12) / _WEIGHT_SPREAD**2
        weights.append(float((near * gap) @ error / (near @ gap**2 + ridge)))
    return tuple(float(weight) for weight in np.clip(weights, 0.0, 1.0))


def _learned_shock(company: pd.DataFrame, assumed: float) -> float:
    """Moment estimate: squared errors beyond chance, over squared loadings; `assumed` as a prior."""
    near = company[company["horizon"] <= 2]
    if near.empty:
        return assumed
    error = (near["actual"] - near["mean"]).to_numpy(dtype=np.float64)
    beyond = error**2 - near["variance"].to_numpy(dtype=np.float64)
    loading = near["loading"].to_numpy(dtype=np.float64) ** 2
    months = _crowd(near)
    voice = 1.0 / near["origin"].groupby(months.to_numpy()).transform("nunique").to_numpy()
    prior = _SHOCK_EVIDENCE * float(voice @ loading) / months.nunique()
    if prior <= 0:
        return assumed
    square = (prior * assumed**2 + voice @ beyond) / (prior + voice @ loading)
    return float(np.clip(np.sqrt(max(square, 0.0)), *_SHOCK_RANGE))


def _widths(ours: pd.DataFrame) -> dict[str, tuple[float, float]]:
    depths = ours["node"].str.count("/")
    found = {}
    for (grain, depth), rows in ours.groupby([ours["grain"], depths]):
        found[f"{grain}/{depth}"] = (
            _width(rows, "p10", "p90", 0.8), _width(rows, "p025", "p975", 0.95),
        )  # fmt: skip
    return found


def _tree_widths(trees: pd.DataFrame) -> dict[str, tuple[float, float]]:
    told = trees[(trees["method"] == "bottom_up") & trees["actual"].notna()]
    return {
        f"{grain}/{tree}/{depth}": factors
        for tree, rows in told.groupby("tree")
        for (grain, _, depth), factors in (
            (key.partition("/"), factors) for key, factors in _widths(rows).items()
        )
    }


def _width(rows: pd.DataFrame, low: str, high: str, level: float) -> float:
    """How much wider the interval must be to hold `level` of the errors; 1 where few are known."""
    gap = rows["actual"] - rows["p50"]
    half = np.where(gap < 0, rows["p50"] - rows[low], rows[high] - rows["p50"])
    usable = half > 0
    if not usable.any():
        return 1.0
    score = np.abs(gap.to_numpy(dtype=np.float64)[usable]) / half[usable]
    wanted = np.clip(upper_quantile(score, level), *_WIDTH_RANGE)
    told = len(rows.loc[usable, ["node", "period"]].drop_duplicates())
    trust = told / (told + _WIDTH_EVIDENCE)
    return float(np.exp(trust * np.log(wanted)))
