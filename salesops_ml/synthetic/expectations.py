"""What reps say of their deals: expected close dates, pushed again and again, and categories."""

from __future__ import annotations

import numpy as np

from salesops_ml.synthetic.clock import Days
from salesops_ml.synthetic.draws import Floats, stream
from salesops_ml.synthetic.facts import Facts

CATEGORIES = ("pipeline", "best_case", "commit", "closed", "omitted")
_MOST_CHANGES = 60


def close_dates(facts: Facts) -> tuple[Days, Floats, Days]:
    """Expected close days in order of (deal, position): the first guess and every later one.

    A guess is renewed when the deal reaches the quote stage or the last stage, and when its day
    comes near or is past. Optimistic reps guess early, and push more often by less.
    """
    rng = stream(facts.world.seed, "close dates")
    count = facts.deals.count
    optimism = facts.world.optimism * facts.reps.optimism[facts.deals.rep]
    guess: Floats = 80.0 * np.exp(
        0.12 * facts.deals.size - 0.25 * optimism + rng.normal(0, 0.35, count)
    )
    expected = _rounded(facts, rng, np.maximum(guess, 7.0) + facts.deals.created)
    last = facts.first_entry(len(facts.world.stages) - 1)
    renewals = np.stack([facts.first_entry(facts.quote_stage), last])
    notes = [(np.arange(count), facts.starts, expected.copy())]
    rows, position = np.arange(count), facts.starts.copy()
    for _ in range(_MOST_CHANGES):
        rows, moment, fresh = _next_guess(facts, rng, rows, position, expected, renewals, optimism)
        if not len(rows):
            break
        position[rows] = moment
        changed = fresh != expected[rows]
        expected[rows] = fresh
        notes.append((rows[changed], moment[changed], fresh[changed]))
    deal, at, day = (np.concatenate([note[k] for note in notes]) for k in range(3))
    order = np.lexsort((at, deal))
    return deal[order], at[order], day[order]


def _next_guess(
    facts: Facts, rng: np.random.Generator, rows: Days, position: Floats, expected: Days,
    renewals: Floats, optimism: Floats,
) -> tuple[Days, Floats, Days]:  # fmt: skip
    """The next change of mind of each deal, if it is still open by then."""
    mine = renewals[:, rows]
    renewal = np.where(mine > position[rows], mine, np.inf)
    push = np.maximum(expected[rows] + rng.integers(-6, 3, len(rows)), np.floor(position[rows]) + 1)
    pushed_at = push + rng.random(len(rows))
    moment = np.minimum(pushed_at, renewal.min(axis=0))
    live = moment < facts.ends[rows]
    rows, moment, renewal, pushed_at = rows[live], moment[live], renewal[:, live], pushed_at[live]
    late = np.isclose(renewal[1], moment)
    days = np.where(pushed_at <= moment, 30.0, np.where(late, 16.0, 45.0))
    ahead = days * np.exp(-0.25 * optimism[rows] + rng.normal(0, 0.3, len(rows)))
    return rows, moment, _rounded(facts, rng, moment + np.maximum(ahead, 4.0))


def _rounded(facts: Facts, rng: np.random.Generator, day: Floats) -> Days:
    """Whole days; a third of the guesses are simply the end of that month."""
    whole = np.floor(day).astype(np.int64)
    months = facts.clock.dates(whole).astype("datetime64[M]").astype(np.int64)
    next_month = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    last = next_month - 1 - np.datetime64(facts.clock.first, "D").astype(np.int64)
    return np.where(rng.random(len(day)) < 0.35, last, whole)


def categories(facts: Facts) -> tuple[Days, Floats, Days]:
    """Forecast categories in order of (deal, position): by the CRM's probability of the stage.

    An optimistic rep calls a stage earlier what others call later.
    """
    moves = facts.moves
    belief = np.array([stage.probability for stage in facts.world.stages])
    lift = 0.12 * facts.world.optimism * np.clip(facts.reps.optimism[facts.deals.rep], -1.5, 1.5)
    first = _category(belief[0] + lift)
    open_stage = np.maximum(moves.to_stage, 0)
    later = _category(belief[open_stage] + lift[moves.deal])
    later = np.where(moves.to_stage < 0, facts.entered - len(belief) + 3, later)
    deal = np.concatenate([np.arange(facts.deals.count), moves.deal])
    position = np.concatenate([facts.starts, moves.day + moves.share])
    value = np.concatenate([first, later])
    order = np.lexsort((position, deal))
    deal, position, value = deal[order], position[order], value[order]
    fresh = np.append(True, (deal[1:] != deal[:-1]) | (value[1:] != value[:-1]))
    return deal[fresh], position[fresh], value[fresh]


def _category(belief: Floats) -> Days:
    return (belief >= 0.58).astype(np.int64) + (belief >= 0.8)
