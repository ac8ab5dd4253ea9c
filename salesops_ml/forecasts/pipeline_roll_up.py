"""What the open deals will bring, month by month: thousands of possible futures of the pipeline.

Each deal is won in a month with the chance that its curve gives, for the amount that such deals close
for. Deals do not flip independent coins: a good quarter lifts them all. That shared shock enters as
a one-factor Gaussian copula (Vasicek 1987): it leaves every deal's own chances untouched, so the mean
is exactly the curves' mean, and only widens what the total can do.

Beyond the last day of the curves, deals still open go on at constant rates of winning and losing: in
equal parts the deal's own, from the last third of its curves, and the company's for deals of that
age; winning keeps the rhythm of the quarter.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from scipy.special import ndtri
from scipy.stats import norm

from salesops_ml.errors import ModelError
from salesops_ml.forecasts.batch import Bools, Floats, Ints
from salesops_ml.forecasts.closing_amounts import ClosingAmounts
from salesops_ml.forecasts.lag_to_win import LateRates

_TOLERANCE = 1e-6
_CHUNK_CELLS = 2_000_000


@dataclass(frozen=True)
class ScoredPipeline:
    """The open deals of one day with their win and loss curves, sorted by deal_id.

    Attributes:
        as_of: the day that the deals were scored on.
        deals: one row per open deal: `deal_id`, `amount` (company currency, NaN where not known),
            and, where the caller places them in the tree, `node` (leaf path); `wait_days`, during
            which nothing happens to the deal before its curves begin. Others are kept.
        days: days after `as_of` at which the curves are told, rising; linear in between.
        cif_won: chance of having won by each day, (deals, days).
        cif_lost: chance of having lost by each day, (deals, days).

    Raises:
        ModelError: shapes differ, a deal stands twice, or a curve falls or leaves 0..1.

    Example:
        >>> deals = pd.DataFrame({"deal_id": ["b", "a"], "amount": [10.0, 20.0]})
        >>> days, won = np.array([0.0, 30.0]), np.array([[0.0, 0.5], [0.0, 0.25]])
        >>> pipeline = ScoredPipeline(datetime(2026, 1, 1), deals, days, won, won)
        >>> pipeline.deals.deal_id.tolist(), pipeline.cif_won[:, -1].tolist()
        (['a', 'b'], [0.25, 0.5])
    """

    as_of: datetime
    deals: pd.DataFrame
    days: Floats
    cif_won: Floats
    cif_lost: Floats

    def __post_init__(self) -> None:
        deals = self.deals.reset_index(drop=True)
        days = np.asarray(self.days, dtype=np.float64)
        won, lost = (np.asarray(c, dtype=np.float64) for c in (self.cif_won, self.cif_lost))
        _check_shapes(deals, days, won, lost)
        order = np.argsort(deals["deal_id"].to_numpy(dtype=str), kind="stable")
        _check_curves(deals, won, lost)
        sorted_deals = deals.iloc[order].reset_index(drop=True)
        for name, value in (
            ("deals", sorted_deals), ("days", days), ("cif_won", won[order]), ("cif_lost", lost[order]),
        ):  # fmt: skip
            object.__setattr__(self, name, value)

    @property
    def amounts(self) -> Floats:
        """Amounts now, (deals,)."""
        amounts: Floats = self.deals["amount"].to_numpy(dtype=np.float64)
        return amounts

    def won_by(self, days: Floats, rhythm: Floats, late: LateRates) -> Floats:
        """Chance of having won by each of `days`, within the curves and beyond; (deals, len(days)).

        Args:
            days: rising days after `as_of`.
            rhythm: factor on the rate of winning before each day, used beyond the curves only.
            late: the company's rates there.
        """
        waits = self._waits()
        done = np.empty((len(self.deals), len(days)))
        for wait in np.unique(waits):
            rows = waits == wait
            done[rows] = self._started(rows, np.maximum(days - wait, 0.0), rhythm, late)
        return done

    def _waits(self) -> Floats:
        if "wait_days" not in self.deals.columns:
            return np.zeros(len(self.deals))
        return np.asarray(self.deals["wait_days"].fillna(0.0), dtype=np.float64)

    def _started(self, rows: Bools, days: Floats, rhythm: Floats, late: LateRates) -> Floats:
        """`won_by` of some deals by days since their curves began."""
        grid, won, lost = self._from_zero()
        won, lost = won[rows], lost[rows]
        inside = _interpolated(grid, won, np.minimum(days, grid[-1]))
        beyond = np.maximum(days - grid[-1], 0.0)
        if not beyond.any():
            return inside
        newly = np.diff(_tail(grid, won, lost, beyond, late), axis=1, prepend=0.0) * rhythm
        most = np.maximum(1.0 - won[:, -1:] - lost[:, -1:], 0.0)
        return inside + np.minimum(np.cumsum(newly, axis=1), most)

    def _from_zero(self) -> tuple[Floats, Floats, Floats]:
        """The curves from day 0 on, where nothing has happened yet."""
        if self.days[0] <= 0:
            return self.days, self.cif_won, self.cif_lost
        nothing = np.zeros((len(self.deals), 1))
        return (
            np.concatenate([[0.0], self.days]),
            np.hstack([nothing, self.cif_won]),
            np.hstack([nothing, self.cif_lost]),
        )


@dataclass(frozen=True)
class OpenRevenue:
    """Revenue from the open deals: exact means, simulated futures, and the size of chance.

    Attributes:
        mean: (leaves, months).
        samples: (leaves, months, samples).
        variance: of the company's total if deals were independent, by month.
        loading: change of the company's total for one unit of the shared factor, by month.
    """

    mean: Floats
    samples: Floats
    variance: Floats
    loading: Floats


def chances_by_month(
    pipeline: ScoredPipeline, ends: Floats, rhythm: Floats, late: LateRates
) -> Floats:
    """Chance of having won by the end of each month, never falling; (deals, months)."""
    by = pipeline.won_by(ends, rhythm, late)
    return np.asarray(np.clip(np.maximum.accumulate(by, axis=1), 0.0, 1.0))


def roll_up(
    pipeline: ScoredPipeline,
    amounts: ClosingAmounts,
    leaves: Ints,
    *,
    leaf_count: int,
    ends: Floats,
    rhythm: Floats,
    late: LateRates,
    factor: Floats,
    shock: float,
    rng: np.random.Generator,
) -> OpenRevenue:
    """Simulate the pipeline.

    Args:
        pipeline: the open deals.
        amounts: how amounts now become amounts at close.
        leaves: each deal's leaf number.
        leaf_count: number of leaves.
        ends: days from `as_of` to the end of each month.
        rhythm: factor of each month on the rate of winning, for months beyond the curves.
        late: rates of old deals in the company, beyond the curves.
        factor: the shared factor of each sample, standard normal, (samples,).
        shock: correlation of a deal's fate with the factor, 0..1.
        rng: source of all other chance.
    """
    won_by = chances_by_month(pipeline, ends, rhythm, late)
    in_month = np.diff(won_by, axis=1, prepend=0.0)
    base = amounts.base(pipeline.amounts)
    mean = np.zeros((leaf_count, len(ends)))
    np.add.at(mean, leaves, in_month * (base * amounts.mean_ratio)[:, None])
    edges = ndtri(won_by)
    variance, loading = _chance(in_month, edges, base, amounts)
    samples = _simulate(edges, base, amounts, leaves, leaf_count, factor, shock, rng)
    return OpenRevenue(mean, samples, variance, loading)


def _chance(
    in_month: Floats, edges: Floats, base: Floats, amounts: ClosingAmounts
) -> tuple[Floats, Floats]:
    """Variance of the total under independence, and its slope in the shared factor, by month."""
    expected = base * amounts.mean_ratio
    square = base**2 * amounts.mean_square_ratio
    variance = (in_month * square[:, None] - (in_month * expected[:, None]) ** 2).sum(axis=0)
    density = np.diff(norm.pdf(edges), axis=1, prepend=0.0)
    return variance, np.asarray((density * expected[:, None]).sum(axis=0))


def _simulate(
    edges: Floats,
    base: Floats,
    amounts: ClosingAmounts,
    leaves: Ints,
    leaf_count: int,
    factor: Floats,
    shock: float,
    rng: np.random.Generator,
) -> Floats:
    """Revenue by leaf, month and sample; deals in chunks that fit in memory.

    Every deal draws its luck and its ratio whether it is won or not, so that what becomes of one deal
    changes no other's.
    """
    months, samples = edges.shape[1], len(factor)
    total = np.zeros(leaf_count * months * samples)
    step = max(1, _CHUNK_CELLS // max(samples, 1))
    own = np.sqrt(1.0 - shock**2)
    for start in range(0, len(base), step):
        rows = slice(start, start + step)
        luck = own * rng.standard_normal((len(base[rows]), samples)) - shock * factor
        pick = rng.integers(len(amounts.ratios), size=luck.shape)
        month = np.zeros(luck.shape, dtype=np.int8)
        for edge in edges[rows].T:
            month += luck > edge[:, None]
        deal, sample = np.nonzero(month < months)
        won_in = month[deal, sample].astype(np.int64)
        ratio = amounts.ratios[pick[deal, sample]]
        cell = (leaves[rows][deal] * months + won_in) * samples + sample
        total += np.bincount(cell, weights=base[rows][deal] * ratio, minlength=len(total))
    return total.reshape(leaf_count, months, samples)


def _tail(grid: Floats, won: Floats, lost: Floats, beyond: Floats, late: LateRates) -> Floats:
    """Chance of winning within `beyond` days after the curves end."""
    span = max(float(grid[-1]) / 3, 1e-12)
    third = np.array([float(grid[-1]) - span])
    newly_won = won[:, -1] - _interpolated(grid, won, third)[:, 0]
    newly_lost = lost[:, -1] - _interpolated(grid, lost, third)[:, 0]
    still_open = np.maximum(1.0 - won[:, -1] - lost[:, -1], 0.0)
    at_risk_days = np.maximum(still_open + (newly_won + newly_lost) / 2, 1e-12) * span
    win = (1 - late.trust) * newly_won / at_risk_days + late.trust * late.win
    loss = (1 - late.trust) * newly_lost / at_risk_days + late.trust * late.loss
    rate = np.maximum(win + loss, 1e-12)
    gone = 1.0 - np.exp(-rate[:, None] * beyond[None, :])
    return np.asarray((still_open * win / rate)[:, None] * gone)


def _interpolated(grid: Floats, curves: Floats, days: Floats) -> Floats:
    if len(grid) == 1:
        return np.repeat(curves[:, :1], len(days), axis=1)
    right = np.clip(np.searchsorted(grid, days), 1, len(grid) - 1)
    left = right - 1
    share = np.clip((days - grid[left]) / (grid[right] - grid[left]), 0.0, 1.0)
    return np.asarray(curves[:, left] * (1 - share) + curves[:, right] * share)


def _check_shapes(deals: pd.DataFrame, days: Floats, won: Floats, lost: Floats) -> None:
    missing = [name for name in ("deal_id", "amount") if name not in deals.columns]
    if missing:
        raise ModelError(f"scored pipeline lacks column `{missing[0]}` in `deals`")
    wanted = (len(deals), len(days))
    for name, curve in (("cif_won", won), ("cif_lost", lost)):
        if curve.shape != wanted:
            raise ModelError(
                f"scored pipeline: `{name}` has shape {curve.shape}; deals and days ask for {wanted}"
            )
    if len(days) == 0 or (np.diff(days) <= 0).any() or days[0] < 0:
        raise ModelError("scored pipeline: `days` must rise from 0 or later, and not be empty")
    twice = deals["deal_id"].duplicated()
    if twice.any():
        raise ModelError(
            f"scored pipeline: deal `{deals.loc[twice, 'deal_id'].iloc[0]}` stands twice; score once"
        )


def _check_curves(deals: pd.DataFrame, won: Floats, lost: Floats) -> None:
    outside = ~np.isfinite(won + lost) | (won < -_TOLERANCE) | (lost < -_TOLERANCE)
    outside |= won + lost > 1 + _TOLERANCE
    falling = (np.diff(won, axis=1) < -_TOLERANCE) | (np.diff(lost, axis=1) < -_TOLERANCE)
    bad = outside.any(axis=1) | falling.any(axis=1)
    if bad.any():
        name = deals["deal_id"].iloc[int(np.argmax(bad))]
        raise ModelError(
            f"scored pipeline: the curves of deal `{name}` fall, or leave 0..1; refit the deal model"
        )
