"""Causes: which deals are slow, or lost, and how much of it goes with what - product, region, rep, load,
hour, change of hands - all else being equal.

Asked are the time in each stage, the pace through all of them, and the win rate from each stage on. Each
property is held against all other deals, with like compared to like (`effects`), in turns: what is
said of the customer and the deal first; then the rep's team, of what is left; then the rep, the
rep's load, changes of hands and the hour, of what is left. So a region is not split among its teams.
Errors are clustered by deal and by rep (`clusters`), and false discoveries held to a share of
`FALSE_SHARE` over all the tests of the table (Benjamini and Hochberg 1995).

Every property is as known when the deal entered the stage, so nothing that came of the delay can
pass for its cause. An effect is still an association: what is not on record is not taken out.

Causes are ranked by what their evidence leaves at least: the end of the interval that is nearest to
no effect. Large effects that few deals show do not come first, nor do small ones that many show.
Reps always differ, so a rep's place counts only what goes beyond how much reps differ in this log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import false_discovery_control

from salesops_ml.mining.circumstances import circumstances
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.clusters import Clusters, two_sided, width
from salesops_ml.mining.conditions import Condition, codes_of
from salesops_ml.mining.dwell import share_at_end, stage_quantiles
from salesops_ml.mining.effects import extra_days, pace_effects, win_effects
from salesops_ml.mining.factors import Factor, as_categories, factors, other_side
from salesops_ml.mining.frames import typed
from salesops_ml.mining.questions import SLOW, WHOLE, Question, examples, questions
from salesops_ml.mining.segments import KEY
from salesops_ml.mining.slow_kinds import FALSE_SHARE, nature_of
from salesops_ml.mining.stages import stage_order
from salesops_ml.mining.steps import Floats, Ints, Mask, Steps, as_steps
from salesops_ml.mining.visits import stays_of

if TYPE_CHECKING:
    import pandas as pd

INTERVAL = 0.9

COLUMNS = {
    "outcome": "slow: time until moving on; lost: win rate from there on",
    "rank": "1 for the strongest cause of its outcome, findings first",
    "stage": "the stage; `whole deal` for the pace through all stages, or the win rate from the start",
    "cause": "what is true of the deals at their entry, in words",
    "attribute": "the attribute that it speaks of",
    "value": "what the attribute is",
    "finding": "whether it makes deals slower, or lost, beyond chance (q < 0.1)",
    "text": "the finding as a sentence; null for the others",
    "pace": "for slow: rate of moving on over that of comparable deals; 0.5 is half as fast",
    "pace_low": "lower end of its 90 % interval",
    "pace_high": "upper end",
    "days_more": "for slow findings: days in the stage (or whole deal) beyond those at usual pace",
    "days_more_low": "lower end",
    "days_more_high": "upper end",
    "win_points": "for lost: points of win rate (0.1 is ten of a hundred deals) over comparable deals",
    "win_points_low": "lower end of its 90 % interval",
    "win_points_high": "upper end",
    "p_value": "two-sided, clustered by deal and rep",
    "q_value": "the same, adjusted for all tests (Benjamini-Hochberg)",
    "cases": "deals of which it is true",
    "others": "deals of which it is not",
    "dwell_p50_days": "for slow findings: their median days in a stage, open deals censored",
    "others_p50_days": "median days of the others",
    "win_rate": "for lost findings: share won of those that close, open deals censored",
    "others_win_rate": "share won of the others",
    "open_now": "of these deals, how many are there, or open, now",
    "amount_now": "their amount, company currency; null where no amount is known",
    "examples": "for a finding: ids of deals; slow: those still there, longest first; lost: the latest",
}

_HANDS = ("rep", "rep_load", "owner_changed", "entry_weekday", "entry_hour")
_TEAM = ("rep_team",)
_TEXTS = ("outcome", "stage", "cause", "attribute", "value", "text")
_COUNTS = ("rank", "cases", "others", "open_now")
_CHUNK = 16


@dataclass(frozen=True)
class Contrast:
    """One property in one question.

    Attributes:
        question, condition: which deals, n rows, and what is true of some of them.
        effect: log-pace, or difference of the win rate; below 0 where it harms.
        error: its standard error, clustered by deal and rep; by_deal: by deal alone.
        reps: how many reps stand behind the error; 0 for a rep's own effect.
        spread: standard deviation of the effects of a rep's peers beyond their errors; else 0.
    """

    question: Question
    condition: Condition
    effect: float
    error: float
    by_deal: float
    reps: int
    spread: float = 0.0

    @property
    def least(self) -> float:
        """Harm that the interval leaves at least, beyond the usual spread; below 0 for none."""
        error = float(np.hypot(self.error, self.spread))
        return -self.effect - width(INTERVAL, self.reps) * error

    @property
    def turned(self) -> Contrast:
        """The same of the other side."""
        other = other_side(self.condition)
        return replace(self, condition=other, effect=-self.effect)


def causes(
    log: Any,
    kinds: pd.DataFrame | None = None,
    *,
    as_of: datetime | None = None,
    won: Sequence[str] = (),
    lost: Sequence[str] = (),
    clock: Clock | None = None,
    order: Sequence[str] = (),
) -> pd.DataFrame:
    """What goes with slow and with lost deals, strongest first.

    Args:
        log: an `event_log`, or a pandas, Arrow or Ibis table with pm4py's columns.
        kinds: what was known of the deal at each event of the log, a row each, in the order of
            (case, time), as `segments` gives it; without it only weekday and hour are asked.
        as_of, won, lost: for a log with pm4py's columns, see `as_steps`.
        clock: calendar days (default) or working days; weekday and hour are those of its zone.
        order: agreed order of the stages, see `stage_dwell`.

    Returns:
        A frame with the columns of `COLUMNS`, a row a tested property, by outcome (slow, then lost)
        and rank. Of the cuts of one number in one question the one with the strongest evidence is
        told, from its harmful side.

    Raises:
        SchemaError, UsageError: see `as_steps`. DataError: the same, or `kinds` does not fit the log.

    Example:
        >>> import pandas as pd
        >>> times = pd.date_range("2026-01-01", periods=400)
        >>> waits = pd.to_timedelta([2, 9] * 200, unit="D")
        >>> log = pd.concat([pd.DataFrame({"case:concept:name": [f"d{k:03}" for k in range(400)],
        ...     "concept:name": stage, "time:timestamp": moment})
        ...     for stage, moment in (("Lead", times), ("Offer", times + waits))])
        >>> kinds = pd.DataFrame({"product": ["Core"] * 2 + ["Plus"] * 2}).loc[[0, 1, 2, 3] * 200]
        >>> found = causes(log, kinds.reset_index(drop=True))
        >>> found.loc[found.finding, ["stage", "cause"]].values.tolist()
        [['Lead', 'product Plus']]
    """
    import pandas as pd

    steps = as_steps(log, as_of=as_of, won=won, lost=lost)
    clock = clock or Clock()
    known = as_categories(circumstances(steps, kinds, clock=clock))
    stays = stays_of(steps, stage_order(steps, order), clock)
    tests = [
        test for question in questions(steps, stays, clock) for test in contrasts(question, known)
    ]
    tests = _among_peers(tests)
    p_values, q_values = p_and_q_values(tests)
    kept = _strongest(tests)
    rows = [_row(steps, tests[k], float(p_values[k]), float(q_values[k])) for k in kept]
    frame = pd.DataFrame(rows).reindex(columns=[*COLUMNS, "least"])
    frame = frame.sort_values(
        ["outcome", "finding", "least", "stage", "cause"],
        ascending=[False, False, False, True, True], kind="stable", ignore_index=True,
    )  # fmt: skip
    frame["rank"] = frame.groupby("outcome").cumcount() + 1
    return typed(
        frame, COLUMNS, counts=_COUNTS, flags=("finding",), texts=_TEXTS, lists=("examples",)
    )


def contrasts(question: Question, known: pd.DataFrame) -> list[Contrast]:
    """Every property in one question: first what is said of the deal, then of the rep, see above.

    Args:
        question: n rows.
        known: what was known at each event of the log, a row each.
    """
    facts = known.iloc[question.row].reset_index(drop=True)
    together = Clusters.of(question.case, codes_of(facts, "rep"))
    given = np.zeros(len(facts))
    deal_side = [str(name) for name in facts if name not in (*KEY, *_TEAM, *_HANDS)]
    done, given = _block(question, factors(facts, deal_side), given, together)
    for names in (_TEAM, _HANDS):
        done += _block(question, factors(facts, names), given, together)[0]
    return done


def _among_peers(tests: Sequence[Contrast]) -> list[Contrast]:
    """The tests, those of reps with the spread of all reps: the largest in any question alike."""
    peers: dict[tuple[str, str], list[Contrast]] = {}
    for test in tests:
        if test.condition.attribute == "rep":
            peers.setdefault((test.question.outcome, test.question.stage), []).append(test)
    spread: dict[str, float] = {}
    for (outcome, _), those in peers.items():
        effects, errors = np.array([(test.effect, test.error) for test in those]).T
        spread[outcome] = max(spread.get(outcome, 0.0), nature_of(effects, errors))
    return [
        replace(test, spread=spread[test.question.outcome])
        if test.condition.attribute == "rep" else test
        for test in tests
    ]  # fmt: skip


def p_and_q_values(tests: Sequence[Contrast]) -> tuple[Floats, Floats]:
    """(k,) p-values of the tests, and their q-values, all being one family."""
    if not tests:
        return np.zeros(0), np.zeros(0)
    p_values = two_sided(
        np.array([test.effect for test in tests]), np.array([test.error for test in tests]),
        np.array([test.reps for test in tests]),
    )  # fmt: skip
    return p_values, np.asarray(false_discovery_control(p_values))


def _block(
    question: Question, block: Sequence[Factor], given: Floats, together: Clusters
) -> tuple[list[Contrast], Floats]:
    """The tests of factors that are fitted together, and what is given after them."""
    if not block:
        return [], given
    columns = np.hstack([factor.columns for factor in block])
    regression = pace_effects if question.outcome == SLOW else win_effects
    fit = regression(question, columns, given)
    conditions, weights = _sides(block)
    done: list[Contrast] = []
    for start in range(0, len(conditions), _CHUNK):
        part = slice(start, start + _CHUNK)
        effect = weights[part] @ fit.level
        errors = _errors(fit.influence @ weights[part].T, conditions[part], together)
        done += [
            Contrast(question, one, float(told[0]), float(told[1]), float(told[2]), int(told[3]))
            for one, *told in zip(conditions[part], effect, *errors, strict=True)
        ]
    return [test for test in done if test.error > 0], fit.fitted


def _sides(block: Sequence[Factor]) -> tuple[list[Condition], Floats]:
    """Every side of every factor, and (k, p) weights of the columns in it."""
    total = sum(len(factor.texts) for factor in block)
    found, weights, start = [], [], 0
    for factor in block:
        for condition, own in factor.sides():
            wide = np.zeros(total)
            wide[start : start + len(own)] = own
            found.append(condition)
            weights.append(wide)
        start += len(factor.texts)
    return found, np.array(weights).reshape(len(found), total)


def _errors(
    influence: Floats, conditions: Sequence[Condition], together: Clusters
) -> tuple[Floats, Floats, Ints]:
    """(k,) errors, those by deal alone, and how many reps stand behind the first.

    A rep's own effect has no other reps to be held against and is clustered by deal alone.
    """
    by_rep, by_deal = together.error(influence), together.error_by_deal(influence)
    own = np.array([condition.attribute == "rep" for condition in conditions])
    return np.where(own, by_deal, by_rep), by_deal, np.where(own, 0, together.reps)


def _strongest(tests: Sequence[Contrast]) -> list[int]:
    """Of the cuts of one number in one question the one with the strongest evidence; all others."""
    best: dict[tuple[str, ...], int] = {}
    for turn, test in enumerate(tests):
        place = (test.question.outcome, test.question.stage, test.condition.attribute)
        key = place if test.condition.value.startswith("> ") else (*place, test.condition.value)
        held = tests[best.get(key, turn)]
        if abs(test.effect) / test.by_deal >= abs(held.effect) / held.by_deal:
            best[key] = turn
    return list(best.values())


def _row(steps: Steps, test: Contrast, p_value: float, q_value: float) -> dict[str, Any]:
    if test.condition.value.startswith("> ") and test.effect > 0:
        test = test.turned
    question, inside = test.question, test.condition.rows
    found = bool(q_value < FALSE_SHARE and test.effect < 0)
    now = inside & ~question.ended
    known = ~np.isnan(steps.amount).all()
    row: dict[str, Any] = {
        "outcome": question.outcome,
        "stage": question.stage,
        "cause": str(test.condition),
        "attribute": test.condition.attribute,
        "value": test.condition.value,
        "finding": found,
        "least": test.least,
        "p_value": p_value,
        "q_value": q_value,
        "cases": _deals_in(question, inside),
        "others": _deals_in(question, ~inside),
        "open_now": int(now.sum()),
        "amount_now": float(np.nansum(steps.amount[question.case[now]])) if known else np.nan,
        "examples": examples(steps, question, inside) if found else [],
    }
    row |= _effect(test)
    if not found:
        return row
    row |= _pace_facts(test) if question.outcome == SLOW else _win_facts(test)
    return row | {"text": _sentence(row)}


def _deals_in(question: Question, rows: Mask) -> int:
    return int(np.count_nonzero(np.bincount(question.case[rows])))


def _interval(test: Contrast) -> tuple[float, float, float]:
    half = width(INTERVAL, test.reps) * test.error
    return test.effect, test.effect - half, test.effect + half


def _effect(test: Contrast) -> dict[str, float]:
    """The effect with its interval, as pace or as points of win rate."""
    ends = np.array(_interval(test))
    if test.question.outcome == SLOW:
        return dict(zip(("pace", "pace_low", "pace_high"), np.exp(ends).tolist(), strict=True))
    names = ("win_points", "win_points_low", "win_points_high")
    return dict(zip(names, ends.tolist(), strict=True))


def _pace_facts(test: Contrast) -> dict[str, float]:
    question, inside = test.question, test.condition.rows
    estimate, low, high = _interval(test)
    more = _days_more(question.taken(inside), [estimate, high, low])
    half = stage_quantiles(inside.astype(np.int64), question.days, question.ended, 2, (0.5,))[:, 0]
    return {
        **dict(
            zip(("days_more", "days_more_low", "days_more_high"), map(float, more), strict=True)
        ),
        "dwell_p50_days": float(half[1]),
        "others_p50_days": float(half[0]),
    }


def _days_more(own: Question, log_paces: Sequence[float]) -> Floats:
    """(m,) extra days of each visit to a stage, summed over the stages that a deal sees on average."""
    total = np.zeros(len(log_paces))
    for stage in np.unique(own.stratum):
        here = own.taken(own.stratum == stage)
        total += len(here.row) * extra_days(here.days, here.good, here.ended, log_paces)
    return total / len(np.unique(own.case))


def _win_facts(test: Contrast) -> dict[str, float]:
    question, inside = test.question, test.condition.rows.astype(np.int64)
    rates = share_at_end(inside, question.days, question.ended, question.good, 2)
    return {"win_rate": float(rates[1]), "others_win_rate": float(rates[0])}


def _sentence(row: dict[str, Any]) -> str:
    """The finding in words."""
    whole, who = row["stage"] == WHOLE, _deals(row["attribute"], row["value"], row["cause"])
    if row["outcome"] == SLOW:
        where = "Through all stages" if whole else f"In {row['stage']}"
        return (
            f"{where}, {who} move at {row['pace']:.0%} of the pace of comparable "
            f"deals ({row['pace_low']:.0%} to {row['pace_high']:.0%}), about "
            f"{row['days_more']:.1f} days more; {row['cases']:,} deals."
        )
    where = "From the first event on" if whole else f"From {row['stage']} on"
    low, high = sorted((-100 * row["win_points_low"], -100 * row["win_points_high"]))
    return (
        f"{where}, {who} are won less often than comparable deals, by "
        f"{-100 * row['win_points']:.0f} of a hundred ({low:.0f} to {high:.0f}); "
        f"{row['cases']:,} deals."
    )


def _deals(attribute: str, value: str, cause: str) -> str:
    """The deals, in words."""
    if attribute == "owner_changed":
        return "deals that changed hands" if value == "yes" else "deals that never changed hands"
    if attribute == "entry_weekday":
        return f"deals that entered on {value.capitalize()}"
    if attribute == "entry_hour":
        return f"deals that entered {value}"
    return f"deals with {cause}"
