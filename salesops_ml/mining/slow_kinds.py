"""Slow kinds: which kind of deal is slow in which stage, beyond what chance and nature explain.

Every condition is tested in every stage. Stages and kinds always differ a little - that is nature,
not a bottleneck - so the yardstick is how much they differ here in general: the spread of all the
estimates beyond their own errors, taken robustly (an empirical null, Efron 2004). The slowest group
that stands out is given a pace of its own, the rest is fitted and tested again, until nothing stands
out. Errors are clustered by deal and rep (`clusters`). False discoveries are held to a share
of `FALSE_SHARE` over all the tests (Benjamini and Hochberg 1995).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from salesops_ml.mining.clusters import Clusters
from salesops_ml.mining.conditions import Condition
from salesops_ml.mining.pace import PaceFit, fit_pace, score_groups
from salesops_ml.mining.permutation import q_values
from salesops_ml.mining.steps import Floats, Ints, Mask
from salesops_ml.mining.visits import Stays

FALSE_SHARE = 0.1
MOST_FINDINGS = 8
FEWEST_STAYS = 50
_LEAST_NATURE = 0.02
_QUANTILES = (0.5, 0.9)


@dataclass(frozen=True)
class SlowKind:
    """One kind of deal in one stage, and its pace there.

    Attributes:
        stage: code of the stage.
        condition: what kind of deal.
        rows: (n,) its stays there.
        log_pace: log of its pace over that of comparable deals; below 0 where slow.
        error: standard error of that, clustered by deal and rep, how much kinds differ by nature
            included.
        p_value: one-sided, against the empirical null.
        q_value: the same, adjusted for all the tests.
        influence: (n,) what each stay adds to `log_pace`.
    """

    stage: int
    condition: Condition
    rows: Mask
    log_pace: float
    error: float
    p_value: float
    q_value: float
    influence: Floats

    @property
    def found(self) -> bool:
        """Whether it counts as a finding."""
        return self.q_value < FALSE_SHARE


def find_slow_kinds(
    stays: Stays, mix: Floats, rep: Ints | None, tests: Sequence[Condition]
) -> tuple[list[SlowKind], PaceFit]:
    """Every kind that is slow in a stage by more than chance and nature, strongest evidence first.

    Args:
        stays: the stays, n rows.
        mix: (n, p) what kind of deal each is, to compare like with like.
        rep: (n,) code of the rep, or None.
        tests: conditions to test in every stage.

    Returns:
        The slow kinds, and the fit in which each of them has a pace of its own.
    """
    chosen: list[tuple[int, Condition, Mask]] = []
    told: list[tuple[float, float]] = []
    fit = fit_pace(stays, mix, rep, [])
    nature = _LEAST_NATURE
    while len(chosen) < MOST_FINDINGS:
        cells = [cell for cell in _cells(stays, tests) if not _known(cell, chosen)]
        table = _tested(fit, stays, cells, rep)
        nature = nature_of(table[:, 0], table[:, 1])
        p_values = _p_values(table[:, 0], table[:, 1], nature)
        adjusted = q_values(p_values)
        best = _clearest(table, nature, adjusted)
        if best is None:
            break
        chosen.append(_first_alike(cells, best))
        told.append((float(p_values[best]), float(adjusted[best])))
        fit = fit_pace(stays, mix, rep, [rows for _, _, rows in chosen])
    together = Clusters.of(stays.visits.case, rep).error(fit.slow_influence)
    errors = np.hypot(np.maximum(fit.slow_se, together), nature)
    found = [
        SlowKind(
            stage, condition, rows, float(fit.slow[turn]), float(errors[turn]), *told[turn],
            fit.slow_influence[:, turn],
        )
        for turn, (stage, condition, rows) in enumerate(chosen)
        if fit.slow[turn] < 0
    ]  # fmt: skip
    return found, fit


def _cells(stays: Stays, tests: Sequence[Condition]) -> list[tuple[int, Condition, Mask]]:
    """(stage, condition, stays) for every pair that has enough stays on both sides."""
    found = []
    for stage in np.unique(stays.visits.stage):
        here = stays.visits.stage == stage
        for condition in tests:
            rows = condition.rows & here
            inside = int(rows.sum())
            if FEWEST_STAYS <= inside <= here.sum() - FEWEST_STAYS:
                found.append((int(stage), condition, rows))
    return found


def _known(
    cell: tuple[int, Condition, Mask], chosen: Sequence[tuple[int, Condition, Mask]]
) -> bool:
    """Whether the cell is, almost row by row, one that has been chosen already."""
    for stage, _, rows in chosen:
        if stage == cell[0] and (rows & cell[2]).sum() > 0.95 * (rows | cell[2]).sum():
            return True
    return False


def _first_alike(
    cells: Sequence[tuple[int, Condition, Mask]], best: int
) -> tuple[int, Condition, Mask]:
    """The first cell that holds almost the same stays as the best.

    Where a team sells to one region alone, the two are one set of deals and no data can tell them
    apart; what is said of the customer comes before what is said of the rep.
    """
    return next(cell for cell in cells if _known(cell, [cells[best]]))


def _tested(
    fit: PaceFit, stays: Stays, cells: Sequence[tuple[int, Condition, Mask]], rep: Ints | None
) -> Floats:
    """(cells, 3) log-pace, its error clustered by deal and rep, and that of independent stays."""
    done = np.full((len(cells), 3), np.nan)
    stages = np.array([stage for stage, _, _ in cells], dtype=np.int64)
    for stage in np.unique(stages):
        which = np.flatnonzero(stages == stage)
        found = score_groups(fit, stays, int(stage), [cells[int(k)][2] for k in which], rep)
        done[which] = np.stack(found, axis=1)
    return done


def _clearest(table: Floats, nature: float, adjusted: Floats) -> int | None:
    """Of the cells that stand out, the one that does most if stays were independent; None if none does.

    Cells that share most of their deals, such as two cuts of one discount, differ little in evidence;
    with few reps the clustered errors are too rough to choose among them.
    """
    standing = np.flatnonzero(adjusted < FALSE_SHARE)
    if not len(standing):
        return None
    size = table[standing, 0] / np.hypot(table[standing, 2], nature)
    return int(standing[np.argmin(size)])


def nature_of(log_pace: Floats, error: Floats) -> float:
    """Standard deviation of the paces beyond their errors, told robustly.

    It is the least value at which neither the median nor the 90th percentile of |log-pace| over its
    total error is above that of a normal: the few groups that really are slow do not count.
    """
    known = np.isfinite(log_pace) & np.isfinite(error)
    if not known.any():
        return _LEAST_NATURE
    size, noise = np.abs(log_pace[known]), error[known]
    expected = norm.ppf((1 + np.array(_QUANTILES)) / 2)
    low, high = _LEAST_NATURE, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        seen = np.quantile(size / np.hypot(noise, middle), _QUANTILES)
        if (seen > expected).any():
            low = middle
        else:
            high = middle
    return float(high)


def _p_values(log_pace: Floats, error: Floats, nature: float) -> Floats:
    """(cells,) chance of being so slow by error and nature alone."""
    return np.asarray(norm.cdf(log_pace / np.hypot(error, nature)))
