"""The best forecast of a series is many forecasts: the weighted middle of a pool of models.

Choosing one model per series by its last few errors is among the worst things to do, for those errors
are mostly luck. The pool takes the middle of all members instead, and lets a member count for more
only when it was better over the whole panel, replayed from earlier days, and then only halfway.

A wide panel (30 series and 10,000 values) has members that learn from all series at once, and needs no
ARIMA, which costs more than all others together; a narrow one, which could not teach them, has ARIMA and
theta in their place. Two state space models are candidates up to 2,000 series. On the panels at hand
they helped as often as they hurt, so each is let in only where the replays say that the middle is better
for it; where they do not, it costs its replays and no more.

Sources: Petropoulos and Svetunkov (2020) for medians of simple models; Claeskens et al. (2016) on why
estimated weights must be shrunk towards equal ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from salesops_ml.forecasts.batch import Batch, Bools, Floats, Ints
from salesops_ml.forecasts.conformal import Replays, replays, series_scale, widths_from
from salesops_ml.forecasts.series_breaks import unbroken
from salesops_ml.forecasts.series_learner import FEWEST_SERIES, learned_forecasts
from salesops_ml.forecasts.series_members import STATE_SPACE, Fitter, member_forecasts
from salesops_ml.forecasts.series_shared import NAMES as SHARED
from salesops_ml.forecasts.series_shared import shared_forecasts
from salesops_ml.forecasts.smoothing import combined

_MOST_REPLAYS, _SMALL_PANEL_REPLAYS = 400, 60
"""Replays at most: three a series between these bounds, for each costs as much as a forecast."""
_FEWEST_REPLAYS = 20
"""Replays below which all members weigh the same."""
_TOWARDS_PRIOR = 0.5
_FIRST = 1.5
"""What the first member counts beside each other one, before evidence."""
_ENOUGH_VALUES = 10_000
_WIDE, _NARROW = ("ets", "ces"), ("ets", "arima", "ces", "theta")
_STATE_SPACE_PRIOR = 0.5
"""What each state space model counts beside other members before evidence: they are two of a kind."""
_CLEARLY = 2.0
"""Standard errors by which a candidate must make the replayed middle better."""
_MOST_FOR_STATE_SPACE = 2_000
"""Series up to which state space models are tried, for they may double the hours."""
_CUT = 0.2
"""Share of the weight cut off at either end of the ranked members."""
_WILD = 20.0
"""Errors' scales from the latest value, grown with the horizon's root, that no member may exceed."""


@dataclass(frozen=True)
class Pool:
    """Which members a panel gets: the two scales' median, `names` one a series, perhaps shared ones."""

    names: tuple[str, ...]
    shared: bool
    candidates: tuple[str, ...] = ()

    @classmethod
    def of(cls, batch: Batch) -> Pool:
        """The members for a panel, by how much it can teach and how many series wait."""
        count = len(batch.length)
        shared = count >= FEWEST_SERIES and int(batch.length.sum()) >= _ENOUGH_VALUES
        candidates = STATE_SPACE if count <= _MOST_FOR_STATE_SPACE else ()
        return cls(_WIDE if shared else _NARROW, shared, candidates)

    @property
    def prior(self) -> Floats:
        """Weights before any evidence, (members,), summing to 1.

        The first member, itself the median of two models on two scales, counts for more than others,
        a state space model for less.
        """
        others = [_STATE_SPACE_PRIOR if name in STATE_SPACE else 1.0 for name in self.names]
        weights = np.array([_FIRST, *[1.0] * (1 + len(SHARED)) * self.shared, *others])
        return np.asarray(weights / weights.sum())


def pooled_forecast(
    batch: Batch, horizon: int, levels: Sequence[int], *, fit: Fitter | None = None
) -> tuple[Floats, dict[int, Floats]]:
    """Mean (series, horizon) and half-widths of its intervals by level, for series without gaps.

    `fit` says where the members of one series each are fitted; None: here, in one process.
    """
    most = int(np.clip(3 * len(batch.length), _SMALL_PANEL_REPLAYS, _MOST_REPLAYS))
    found = replays(batch, horizon, most=most)
    today = np.zeros(len(batch.length), dtype=np.int64)
    pool = Pool.of(batch)
    errors, weights = [np.empty(0)] * horizon, pool.prior
    if found is not None:
        tried = replace(pool, names=(*pool.names, *pool.candidates))
        earlier = _members(found.earlier, found.back, horizon, fit, tried)
        pool, earlier = admitted(pool, earlier, found)
        weights = learned_weights(earlier, found, pool.prior)
        errors = found.errors(weighted_middle(earlier, weights))
    members = _members(batch, today, horizon, fit, pool)
    widths = widths_from(errors, series_scale(batch), levels)
    return weighted_middle(members, weights), widths


def pooled_mean(batch: Batch, horizon: int) -> Floats:
    """The middle of the pool alone, all members weighing as before any evidence; (series, horizon)."""
    today, pool = np.zeros(len(batch.length), dtype=np.int64), Pool.of(batch)
    return weighted_middle(_members(batch, today, horizon, None, pool), pool.prior)


def admitted(pool: Pool, told: Floats, found: Replays) -> tuple[Pool, Floats]:
    """The pool with those candidates that made its replayed middle better, and the replays of these.

    One after the other is let in when the mean scaled error of the middle falls by more than two
    standard errors of the difference, replay by replay; fewer than 20 replays let none in.

    Args:
        pool: the members that stand.
        told: (replays, members, horizon) forecasts of the pool's members and of all its candidates.
        found: what then came.
    """
    standing = told.shape[1] - len(pool.candidates)
    columns = list(range(standing))
    for place, name in enumerate(pool.candidates, start=standing):
        larger = replace(pool, names=(*pool.names, name))
        gain = _middle_error(pool, told[:, columns], found) - _middle_error(
            larger, told[:, [*columns, place]], found
        )
        spread = float(gain.std()) / np.sqrt(len(gain))
        if len(gain) >= _FEWEST_REPLAYS and gain.mean() > _CLEARLY * spread:
            pool, columns = larger, [*columns, place]
    return pool, told[:, columns]


def _middle_error(pool: Pool, told: Floats, found: Replays) -> Floats:
    """Mean scaled error of the middle by replay; (replays,)."""
    middle = weighted_middle(told, learned_weights(told, found, pool.prior))
    error = np.abs(middle - found.actual) / found.scale[:, None]
    seen = ~np.isnan(error)
    return np.asarray(np.where(seen, error, 0.0).sum(axis=1) / np.maximum(seen.sum(axis=1), 1))


def learned_weights(told: Floats, found: Replays, prior: Floats) -> Floats:
    """Weights of the members by their replayed errors over the panel, halfway to the prior ones.

    Args:
        told: (replays, members, horizon) forecasts, NaN where a member has none.
        found: what then came.
        prior: (members,) weights before any evidence.

    Returns:
        (members,) weights that sum to 1; a member that never forecast counts as the average one.
    """
    if len(told) < _FEWEST_REPLAYS:
        return prior
    error = np.abs(told - found.actual[:, None, :]) / found.scale[:, None, None]
    seen = ~np.isnan(error)
    total = np.where(seen, error, 0.0).sum(axis=(0, 2))
    count = seen.sum(axis=(0, 2))
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    if np.isnan(mean).all() or np.nanmax(mean) <= 0:
        return prior
    mean = np.where(np.isnan(mean), np.nanmean(mean), np.maximum(mean, 1e-3 * np.nanmax(mean)))
    precision = prior * mean**-2.0
    shrunk = _TOWARDS_PRIOR * prior + (1 - _TOWARDS_PRIOR) * precision / precision.sum()
    return np.asarray(shrunk)


def weighted_middle(members: Floats, weights: Floats) -> Floats:
    """Mean of the members without a fifth of their weight at either end; NaN members are left out.

    Args:
        members: (series, members, horizon).
        weights: (members,), summing to 1.

    Returns:
        (series, horizon).

    Example:
        >>> one_day = np.array([[[1.0], [2.0], [3.0], [4.0], [90.0]]])
        >>> weighted_middle(one_day, np.full(5, 0.2)).round(6).tolist()
        [[3.0]]
    """
    weight = np.where(np.isnan(members), 0.0, weights[None, :, None])
    order = np.argsort(members, axis=1)
    ranked = np.take_along_axis(np.nan_to_num(members), order, axis=1)
    share = np.take_along_axis(weight, order, axis=1)
    reached = np.cumsum(share / share.sum(axis=1, keepdims=True), axis=1)
    before = np.concatenate([np.zeros_like(reached[:, :1]), reached[:, :-1]], axis=1)
    kept = np.clip(np.minimum(reached, 1 - _CUT) - np.maximum(before, _CUT), 0.0, None)
    return np.asarray((ranked * kept).sum(axis=1) / kept.sum(axis=1))


def _members(batch: Batch, day: Ints, horizon: int, fit: Fitter | None, pool: Pool) -> Floats:
    """All members' forecasts, within bounds; (series, members, horizon).

    Shared models are taught day by day, so that no series tells them what came after another's `day`.
    They see series as they were, steps onto other levels included: they go by the latest changes, and
    a panel whose jumps are hidden teaches all of its series worse.
    """
    seen = unbroken(batch)
    values = [seen.values[row, start:] for row, start in enumerate(seen.start)]
    chunks = [combined(seen.take(rows), horizon) for rows in _chunks(len(values))]
    parts = [np.concatenate(chunks)[:, None, :]]
    if pool.shared:
        raw = [batch.values[row, start:] for row, start in enumerate(batch.start)]
        shared = np.full((len(values), 1 + len(SHARED), horizon), np.nan)
        for one in np.unique(day):
            rows = np.flatnonzero(day == one)
            some = [raw[int(row)] for row in rows]
            shared[rows, 0] = learned_forecasts(some, horizon, batch.season)
            shared[rows, 1:] = shared_forecasts(some, horizon, batch.season)
        parts.append(shared)
    parts.append(member_forecasts(values, horizon, batch.season, names=pool.names, fit=fit))
    return _bounded(np.concatenate(parts, axis=1), batch)


def _bounded(members: Floats, batch: Batch) -> Floats:
    """Members kept above zero where the past was, and NaN where they run wild."""
    known = batch.known
    least = np.where(known, batch.values, np.inf).min(axis=1)
    most = np.where(known, batch.values, -np.inf).max(axis=1)
    room = _WILD * series_scale(batch) * np.sqrt(members.shape[2]) + (most - least)
    outside = (members > (most + room)[:, None, None]) | (members < (least - room)[:, None, None])
    members = np.where(outside, np.nan, members)
    members[:, 0] = np.where(np.isnan(members[:, 0]), batch.values[:, [-1]], members[:, 0])
    floor = np.where(least >= 0, 0.0, -np.inf)
    return np.asarray(np.maximum(members, floor[:, None, None]))


def _chunks(count: int, size: int = 512) -> list[Bools]:
    place = np.arange(count)
    return [(place >= start) & (place < start + size) for start in range(0, count, size)]
