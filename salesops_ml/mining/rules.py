"""A short list of rules: which deals are slow, or lost, in conjunctions that a manager can read.

Half of the deals choose the rules, the other half tests them. A rule joins at most `MOST_CONDITIONS`
conditions, each on another attribute as known at the entry, found by a beam search for the largest
harm that the evidence leaves for sure (`_SURE` standard errors below the estimate). The next rule is
sought among the deals that no earlier rule holds of, so the list is read from the top: the first rule
that holds of a deal speaks of it (separate and conquer; Fuernkranz 1999, Artif. Intell. Rev. 13, 3-54).

The other half sees neither the search nor its choices: effects, intervals and p-values there are
those of plain comparisons, clustered by deal and rep, and held to the usual share of false
discoveries over the rules. Unlike in `causes`, the others are all other deals, whatever their kind:
a rule says which deals are slow, not what makes them so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import false_discovery_control

from salesops_ml.mining.circumstances import circumstances
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.clusters import Clusters, two_sided, width
from salesops_ml.mining.conditions import FEWEST_ROWS, Condition, codes_of
from salesops_ml.mining.dwell import share_at_end, stage_quantiles
from salesops_ml.mining.effects import outcome_weights, pace_effects, usual_exits, win_effects
from salesops_ml.mining.factors import as_categories, factors, other_side
from salesops_ml.mining.frames import typed
from salesops_ml.mining.questions import LOST, SLOW, WHOLE, Question, examples, questions
from salesops_ml.mining.segments import KEY
from salesops_ml.mining.slow_kinds import FALSE_SHARE
from salesops_ml.mining.stages import stage_order
from salesops_ml.mining.steps import Floats, Mask, Steps, as_steps
from salesops_ml.mining.visits import stays_of

if TYPE_CHECKING:
    import pandas as pd

MOST_RULES, MOST_CONDITIONS = 5, 3
INTERVAL = 0.9
BEAM = 8

COLUMNS = {
    "outcome": "slow: time until moving on; lost: win rate from the first event on",
    "rank": "place in the list of its outcome; a rule speaks of the deals that none before holds of",
    "rule": "what is true of the deals, joined by `and`",
    "conditions": "how many conditions it joins",
    "finding": "whether the half that did not choose it confirms it (q < 0.1)",
    "text": "the rule as a sentence",
    "pace": "for slow, in the testing half: rate of moving on over that of the others in the stage",
    "pace_low": "lower end of its 90 % interval",
    "pace_high": "upper end",
    "win_points": "for lost, in the testing half: points of win rate over the others'",
    "win_points_low": "lower end of its 90 % interval",
    "win_points_high": "upper end",
    "p_value": "one-sided, in the testing half, clustered by deal and rep",
    "q_value": "the same, adjusted for all rules (Benjamini-Hochberg)",
    "cases": "deals that it speaks of, both halves",
    "dwell_p50_days": "for slow: their median days in the stage, open deals censored, both halves",
    "others_p50_days": "median days of the others that it is held against",
    "win_rate": "for lost: share won of those that close, open deals censored, both halves",
    "others_win_rate": "share won of the others",
    "open_now": "of these deals, how many are there, or open, now",
    "examples": "ids of deals; slow: those still there, longest first; lost: the latest",
}

_STAGE = "stage"
_NAMES = ("rep",)
"""Not used in rules: a rule is to hold for reps to come; `causes` tells how single reps differ."""
_SURE = 2.0
_WORTH, _STEP = 1.25, 0.02
"""A further condition must raise the sure harm by a quarter and by this much."""
_COUNTS = ("rank", "conditions", "cases", "open_now")
_TEXTS = ("outcome", "rule", "text")


@dataclass(frozen=True)
class Rule:
    """A conjunction, and the deals that it is held against.

    Attributes:
        conditions: what must be true.
        rows: (n,) rows of which all of it is true and no earlier rule holds.
        left: (n,) rows of which no earlier rule holds.
    """

    conditions: tuple[Condition, ...]
    rows: Mask
    left: Mask

    def __str__(self) -> str:
        return " and ".join(str(one) for one in self.conditions)


def rule_list(
    log: Any,
    kinds: pd.DataFrame | None = None,
    *,
    as_of: datetime | None = None,
    won: Sequence[str] = (),
    lost: Sequence[str] = (),
    clock: Clock | None = None,
    order: Sequence[str] = (),
    seed: int = 7,
) -> pd.DataFrame:
    """At most `MOST_RULES` rules for slow deals, and as many for lost ones.

    Args:
        log, kinds, as_of, won, lost, clock, order: as of `causes`.
        seed: which deals choose and which test.

    Returns:
        A frame with the columns of `COLUMNS`, by outcome (slow, then lost) and rank.

    Raises:
        SchemaError, UsageError: see `as_steps`. DataError: the same, or `kinds` does not fit the log.

    Example:
        >>> import pandas as pd
        >>> times = pd.date_range("2026-01-01", periods=800)
        >>> waits = pd.to_timedelta([2, 9] * 400, unit="D")
        >>> log = pd.concat([pd.DataFrame({"case:concept:name": [f"d{k:03}" for k in range(800)],
        ...     "concept:name": stage, "time:timestamp": moment})
        ...     for stage, moment in (("Lead", times), ("Offer", times + waits))])
        >>> kinds = pd.DataFrame({"product": ["Core"] * 2 + ["Plus"] * 2}).loc[[0, 1, 2, 3] * 400]
        >>> found = rule_list(log, kinds.reset_index(drop=True))
        >>> found[["rule", "finding", "dwell_p50_days", "others_p50_days"]].values.tolist()
        [['product Plus', True, 9.0, 2.0]]
    """
    import pandas as pd

    steps = as_steps(log, as_of=as_of, won=won, lost=lost)
    clock = clock or Clock()
    known = as_categories(circumstances(steps, kinds, clock=clock))
    stays = stays_of(steps, stage_order(steps, order), clock)
    choosing = np.random.default_rng(seed).permutation(len(steps.case_ids)) % 2 == 0
    rows: list[dict[str, Any]] = []
    for question in _asked(list(questions(steps, stays, clock))):
        facts = known.iloc[question.row].reset_index(drop=True)
        offered = _offered(steps, question, facts)
        rules = learnt(question, offered, choosing[question.case])
        tests = choosing[question.case]
        rows += [
            _row(steps, question, rule, codes_of(facts, "rep"), ~tests, place)
            for place, rule in enumerate(rules, start=1)
        ]
    q_values = false_discovery_control([row["p_value"] for row in rows]) if rows else []
    for row, q_value in zip(rows, q_values, strict=True):
        row["q_value"], row["finding"] = float(q_value), bool(q_value < FALSE_SHARE)
    return typed(
        pd.DataFrame(rows), COLUMNS, counts=_COUNTS, flags=("finding",), texts=_TEXTS,
        lists=("examples",),
    )  # fmt: skip


def _asked(every: Sequence[Question]) -> list[Question]:
    """Through all stages, or the only one; and whether won, from the first event on."""
    slow = [question for question in every if question.outcome == SLOW]
    lost = [q for q in every if q.outcome == LOST and q.stage == WHOLE]
    return [q for q in slow if q.stage == WHOLE or len(slow) == 1] + lost


def _offered(steps: Steps, question: Question, facts: pd.DataFrame) -> list[Condition]:
    """Every condition that a rule may use: of paces also the stage."""
    made = []
    if question.outcome == SLOW and len(np.unique(question.stratum)) > 1:
        for stage in np.unique(question.stratum):
            here = question.stratum == stage
            made.append(Condition(_STAGE, steps.activities[int(stage)], here))
    names = [str(name) for name in facts if name not in (*KEY, *_NAMES)]
    for factor in factors(facts, names):
        for condition, _ in factor.sides():
            made += [condition, other_side(condition)] if factor.ordered else [condition]
    return made


def learnt(question: Question, offered: Sequence[Condition], choosing: Mask) -> list[Rule]:
    """The rules that the choosing half of the rows finds.

    Args:
        question: n rows.
        offered: conditions on those rows.
        choosing: (n,) whether the row's deal chooses.
    """
    rules: list[Rule] = []
    left = np.ones(len(question.row), dtype=bool)
    while len(rules) < MOST_RULES:
        found = _best(question, offered, choosing & left)
        if not found:
            break
        rows = left & np.logical_and.reduce([one.rows for one in found])
        rules.append(Rule(found, rows, left))
        left = left & ~rows
    return rules


def _best(question: Question, offered: Sequence[Condition], among: Mask) -> tuple[Condition, ...]:
    """The conjunction with the largest sure harm; empty where no harm is sure."""
    chosen = np.flatnonzero(among)
    if len(chosen) < FEWEST_ROWS or not offered:
        return ()
    half = question.taken(among)
    meets = np.array([one.rows[chosen] for one in offered])
    facts = _harm_facts(half)
    stages = [k for k, one in enumerate(offered) if one.attribute == _STAGE]
    beam: list[tuple[float, tuple[int, ...]]] = [(0.0, ()), *((0.0, (k,)) for k in stages)]
    best: tuple[float, tuple[int, ...]] = (0.0, ())
    for _ in range(MOST_CONDITIONS):
        beam = _longer(offered, meets, facts, beam, question.outcome)
        if not beam or beam[0][0] < _WORTH * best[0] + _STEP:
            break
        best = beam[0]
    ordered = sorted(best[1], key=lambda k: (offered[k].attribute != _STAGE, k))
    return tuple(offered[k] for k in ordered)


def _longer(
    offered: Sequence[Condition], meets: Mask, facts: Floats,
    beam: Sequence[tuple[float, tuple[int, ...]]], outcome: str,
) -> list[tuple[float, tuple[int, ...]]]:  # fmt: skip
    """The best conjunctions of one condition more."""
    found: dict[tuple[int, ...], float] = {}
    for _, held in beam:
        rows = np.logical_and.reduce(meets[list(held)]) if held else np.ones(meets.shape[1], bool)
        stage = [k for k in held if offered[k].attribute == _STAGE]
        total = facts[meets[stage[0]]].sum(axis=0) if stage else facts.sum(axis=0)
        harm = _sure_harm(meets[:, rows] @ facts[rows], total, outcome)
        used = {offered[k].attribute for k in held}
        for k in np.flatnonzero(harm > 0).tolist():
            if offered[k].attribute not in {*used, _STAGE}:
                found[tuple(sorted((*held, k)))] = float(harm[k])
    ranked = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
    return [(harm, held) for held, harm in ranked[:BEAM]]


def _harm_facts(question: Question) -> Floats:
    """(n, 3) what sums over rows are made of: seen, usual, and rows (or weights) of each row."""
    if question.outcome == SLOW:
        return np.stack(
            [question.good, usual_exits(question), np.ones(len(question.row))], axis=1
        ).astype(np.float64)
    weight = outcome_weights(question.days, question.ended)
    rows = question.ended.astype(np.float64)
    return np.stack([weight * question.good, weight, rows], axis=1)


def _sure_harm(sums: Floats, total: Floats, outcome: str) -> Floats:
    """(k,) harm at least, below 0 where none is sure: of paces in logarithms, of wins in shares.

    Args:
        sums: (k, 3) sums of `_harm_facts` over the rows of each rule.
        total: (3,) over all rows that it is held against, its own included.
    """
    rest = total - sums
    fits = (np.minimum(sums, rest)[:, 2] >= FEWEST_ROWS) & (np.minimum(sums, rest)[:, 1] > 0)
    own = np.maximum(sums[:, 0], 0.5) / np.where(fits, sums[:, 1], 1.0)
    others = np.maximum(rest[:, 0], 0.5) / np.where(fits, rest[:, 1], 1.0)
    if outcome == SLOW:
        sure = np.log(others / own) - _SURE / np.sqrt(np.maximum(sums[:, 0], 1.0))
    else:
        spread = np.sqrt(others * (1 - np.minimum(others, 1)) / np.maximum(sums[:, 2], 1.0))
        sure = others - own - _SURE * spread
    return np.asarray(np.where(fits, sure, -np.inf))


def _row(
    steps: Steps, question: Question, rule: Rule, rep: Any, testing: Mask, place: int
) -> dict[str, Any]:
    """One rule: its effect in the testing half, and what both halves say of its deals."""
    kept = rule.left & testing
    half = question.taken(kept)
    column = rule.rows[kept].astype(np.float64)[:, None]
    regression = pace_effects if question.outcome == SLOW else win_effects
    fit = regression(half, column, np.zeros(len(half.row)))
    together = Clusters.of(half.case, None if rep is None else rep[kept])
    error, reps = together.error(fit.influence), together.reps
    error = np.where(error > 0, error, np.inf)
    both = two_sided(fit.level, error, reps)[0]
    half_width = width(INTERVAL, reps) * error[0]
    ends = (fit.level[0], fit.level[0] - half_width, fit.level[0] + half_width)
    row: dict[str, Any] = {
        "outcome": question.outcome,
        "rank": place,
        "rule": str(rule),
        "conditions": len(rule.conditions),
        "p_value": float(both / 2 if fit.level[0] < 0 else 1 - both / 2),
        "cases": len(np.unique(question.case[rule.rows])),
        "open_now": int((rule.rows & ~question.ended).sum()),
        "examples": examples(steps, question, rule.rows),
    }
    row |= _told(question, rule, ends)
    return row | {"text": _sentence(row)}


def _told(question: Question, rule: Rule, ends: Sequence[float]) -> dict[str, float]:
    """The effect with its interval, and medians or win rates of both sides."""
    against = rule.left
    if question.outcome == SLOW:
        stages = np.unique(question.stratum[rule.rows])
        against = rule.left & np.isin(question.stratum, stages)
    half = question.taken(against)
    inside = rule.rows[against].astype(np.int64)
    if question.outcome == LOST:
        rates = share_at_end(inside, half.days, half.ended, half.good, 2)
        names = ("win_points", "win_points_low", "win_points_high")
        told = dict(zip(names, map(float, ends), strict=True))
        return told | {"win_rate": float(rates[1]), "others_win_rate": float(rates[0])}
    days = stage_quantiles(inside, half.days, half.ended, 2, (0.5,))[:, 0]
    names = ("pace", "pace_low", "pace_high")
    told = dict(zip(names, map(float, np.exp(ends)), strict=True))
    return told | {"dwell_p50_days": float(days[1]), "others_p50_days": float(days[0])}


def _sentence(row: dict[str, Any]) -> str:
    if row["outcome"] == SLOW:
        return (
            f"If {row['rule']}: {row['dwell_p50_days']:.1f} days at the median, not "
            f"{row['others_p50_days']:.1f}; {row['cases']:,} deals."
        )
    return (
        f"If {row['rule']}: {row['win_rate']:.0%} are won, not {row['others_win_rate']:.0%}; "
        f"{row['cases']:,} deals."
    )
