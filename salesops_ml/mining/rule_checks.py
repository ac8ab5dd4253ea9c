"""Each kind of rule held against the log: which deals kept it, which broke it, and since when.

A deal is judged once it is decided: a deal that has not yet come to a step, or has not yet stayed too
long, has neither kept nor broken the rule. To compare what became of the two groups, both are followed
from the same point of their lives on, named at each check; where breaking a rule is itself the outcome
(a move that closes the deal) nothing is compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from salesops_ml.mining.clock import Clock
from salesops_ml.mining.process_rules import (
    Rule,
    allowed_moves,
    forbidden_move_rule,
    four_eyes_rule,
    move_rule,
    order_rule,
    required_rule,
    start_rule,
    time_rule,
)
from salesops_ml.mining.resources import NOBODY
from salesops_ml.mining.steps import NEVER, OPEN, WON, Floats, Ints, Mask, Steps
from salesops_ml.mining.visits import visits_of
from salesops_ml.process_settings import ConformanceRules, MaximumTime, RequiredStep

NOT_YET = -1
"""The row of an event that has not come."""
_AT_NO_TIME = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Followed:
    """Deals that kept or broke a rule, each from a comparable moment on; (n,) rows."""

    case: Ints
    since: Ints
    broken: Mask


@dataclass(frozen=True)
class Verdicts:
    """How one rule was decided, a row a deal for which it was.

    Attributes:
        rule: the rule.
        case: (n,) code of the deal, each once.
        broken: (n,) whether it broke the rule.
        times: (n,) how often.
        at: (n,) when it first did, as an event of the log dates it; `NEVER` where it kept the rule.
        followed: the deals whose fates are compared; None where that would compare outcomes with
            themselves.
        unknown: deals to which the rule applies, but which the log does not tell enough about.
    """

    rule: Rule
    case: Ints
    broken: Mask
    times: Ints
    at: Ints
    followed: Followed | None
    unknown: int = 0


def check_rules(
    steps: Steps,
    rules: ConformanceRules,
    *,
    people: Ints | None,
    clock: Clock,
    order: Sequence[str],
) -> list[Verdicts]:
    """Every rule's verdicts.

    Args:
        steps: the log.
        rules: their stages exist, see `check_names`.
        people: (n,) who did each event, see `people_of`; needed by `four_eyes` only.
        clock: the days that limits are told in.
        order: the stages in their agreed order.
    """
    found = [*_starts(steps, rules.starts), *_moves(steps, rules)]
    found += [_required(steps, one, _rank(steps, order)) for one in rules.required]
    found += [_in_order(steps, rules.order)] if rules.order else []
    found += [_in_time(steps, limit, clock) for limit in rules.maximum_days]
    if people is not None:
        found += [_four_eyes(steps, pair, people) for pair in rules.four_eyes]
    return found


def _starts(steps: Steps, starts: Sequence[str]) -> Iterator[Verdicts]:
    """Compared from the first event on, but for deals that begin by closing."""
    if not starts:
        return
    rows = np.flatnonzero(steps.first)
    broken = ~_is_any(steps, starts)[rows]
    lives = ~steps.closing[steps.activity[rows]]
    case, at = steps.case[rows], steps.at[rows]
    yield _once(start_rule(starts), case, broken, at, Followed(case[lives], at[lives],
                                                               broken[lives]))  # fmt: skip


def _moves(steps: Steps, rules: ConformanceRules) -> Iterator[Verdicts]:
    """A rule for each forbidden move that was made; one, kept, for a stage left only as agreed.

    Compared from the move on: deals that went the forbidden way, and those that only ever left the
    stage as agreed, each from where it first did so and stayed open.
    """
    index = _numbers(steps)
    allowed = allowed_moves(rules)
    rows = np.flatnonzero(~steps.last)
    for source, targets in allowed.items():
        left = rows[steps.activity[rows] == index.get(source, NOT_YET)]
        into = steps.activity[left + 1]
        agreed = np.isin(into, [index[name] for name in targets if name in index])
        strayed = np.unique(steps.case[left[~agreed]])
        faithful = ~np.isin(steps.case[left], strayed)
        lives = ~steps.closing[into]
        kept = _first_of_case(steps, left[faithful & lives])
        if not len(strayed):
            yield _kept_move(steps, move_rule(source, targets), left)
        for other in np.unique(into[~agreed]):
            rule = forbidden_move_rule(source, steps.activities[other], targets)
            gone = left[into == other]
            first = _first_of_case(steps, gone)
            ends = steps.closing[other] or steps.closing[index[source]]
            followed = None if ends else _from_next(steps, first, kept)
            yield _move_verdicts(steps, rule, left, gone, followed)


def _kept_move(steps: Steps, rule: Rule, left: Ints) -> Verdicts:
    case = np.unique(steps.case[left])
    return _once(rule, case, np.zeros(len(case), bool), np.full(len(case), NEVER), None)


def _from_next(steps: Steps, broken: Ints, kept: Ints) -> Followed:
    """Both groups from the event after the given rows on."""
    rows = np.concatenate([broken, kept])
    return Followed(steps.case[rows], steps.at[rows + 1], np.arange(len(rows)) < len(broken))


def _move_verdicts(
    steps: Steps, rule: Rule, left: Ints, gone: Ints, followed: Followed | None
) -> Verdicts:
    case = np.unique(steps.case[left])
    times = np.bincount(np.searchsorted(case, steps.case[gone]), minlength=len(case))
    at = np.full(len(case), NEVER)
    first = _first_of_case(steps, gone)
    at[np.searchsorted(case, steps.case[first])] = steps.at[first + 1]
    return Verdicts(rule, case, times > 0, times.astype(np.int64), at, followed)


def _required(steps: Steps, step: RequiredStep, rank: Floats) -> Verdicts:
    """Decided when the deal closes.

    Compared from the first visit of a later open stage on: with the step behind it, or without.
    """
    seen = _first_rows(steps, _is_any(steps, [step.step]))
    over = steps.outcome == WON if step.of == "won" else steps.outcome != OPEN
    case = np.flatnonzero(over)
    index = _numbers(steps)
    closes = step.step in index and bool(steps.closing[index[step.step]])
    late = steps.at[seen[case]] > steps.closed[case]
    missed = (seen[case] == NOT_YET) | (late & (not closes))
    place = rank[index[step.step]] if step.step in index else np.nan
    later = _first_rows(steps, (rank > place)[steps.activity] & ~steps.closing[steps.activity])
    passed = np.flatnonzero(later != NOT_YET)
    skipped = (seen[passed] == NOT_YET) | (seen[passed] > later[passed])
    followed = Followed(passed, steps.at[later[passed]], skipped)
    return _once(required_rule(step.step, step.of), case, missed, steps.closed[case],
                 followed if len(passed) else None)  # fmt: skip


def _in_order(steps: Steps, order: Sequence[str]) -> Verdicts:
    """Decided once two of the stages were visited.

    Compared from the first visit that came out of order on, or from the second stage of the order
    that was visited on.
    """
    index = _numbers(steps)
    first = np.stack([
        _first_rows(steps, steps.activity == index.get(name, NOT_YET)) for name in order
    ])  # fmt: skip
    visited = first != NOT_YET
    case = np.flatnonzero(visited.sum(axis=0) >= 2)
    turned = _row_of_turn(first, visited)[case]
    broken = turned != NOT_YET
    rows = np.sort(np.where(visited, first, len(steps.case)), axis=0)
    row = np.where(broken, turned, rows[min(1, len(order) - 1), case])
    lives = ~steps.closing[steps.activity[row]]
    followed = Followed(case[lives], steps.at[row][lives], broken[lives])
    return _once(order_rule(order), case, broken, steps.at[row], followed)


def _row_of_turn(first: Ints, visited: Mask) -> Ints:
    """(m,) the row of the first visit that comes after one that should be later; else `NOT_YET`."""
    turned = np.full(first.shape[1], _AT_NO_TIME)
    for stage in range(len(first)):
        for later in range(stage + 1, len(first)):
            both = visited[stage] & visited[later] & (first[later] < first[stage])
            turned = np.where(both, np.minimum(turned, first[stage]), turned)
    return np.where(turned == _AT_NO_TIME, NOT_YET, turned)


def _in_time(steps: Steps, limit: MaximumTime, clock: Clock) -> Verdicts:
    """Decided when the time is over or the deal has moved on.

    Compared from the beginning of the time on, among deals that began so long ago that every one of
    them is decided: the young ones that have moved on already are the fast ones.
    """
    case, start, taken, ended = (
        _stays_in(steps, limit.stage, clock) if limit.stage is not None
        else _between(steps, limit, clock)
    )  # fmt: skip
    over = taken > limit.days
    decided = np.flatnonzero(over | ended)
    case, start, over = case[decided], start[decided], over[decided]
    unit = "working days" if clock.working else "days"
    names, place = np.unique(case, return_inverse=True)
    times = np.bincount(place, weights=over, minlength=len(names)).astype(np.int64)
    at, since = np.full(len(names), _AT_NO_TIME), np.full(len(names), _AT_NO_TIME)
    np.minimum.at(at, place[over], start[over])
    np.minimum.at(since, place, start)
    since = np.where(times > 0, at, since)
    at = np.where(times > 0, at, NEVER)
    old = np.ones(len(names), dtype=bool)
    if steps.as_of != NEVER:
        old = clock.days(since, np.full(len(names), steps.as_of)) >= limit.days
    followed = Followed(names[old], since[old], (times > 0)[old])
    return Verdicts(time_rule(limit, unit), names, times > 0, times, at, followed)


def _stays_in(steps: Steps, stage: str, clock: Clock) -> tuple[Ints, Ints, Floats, Mask]:
    """Deal, entry, length so far and end of each stay in the stage."""
    visits = visits_of(steps, clock)
    here = visits.stage == _numbers(steps).get(stage, NOT_YET)
    return visits.case[here], steps.at[visits.row[here]], visits.days[here], visits.exited[here]


def _between(steps: Steps, limit: MaximumTime, clock: Clock) -> tuple[Ints, Ints, Floats, Mask]:
    """From the first visit of one stage to the next one of the other; else to the closing, or now."""
    index = _numbers(steps)
    start = _first_rows(steps, steps.activity == index.get(str(limit.start), NOT_YET))
    since = start[steps.case]
    later = (since != NOT_YET) & (np.arange(len(steps.case)) > since)
    end = _first_rows(steps, later & (steps.activity == index.get(str(limit.end), NOT_YET)))
    case = np.flatnonzero(start != NOT_YET)
    begin = steps.at[start[case]]
    is_open = steps.outcome[case] == OPEN
    until = np.where(is_open, steps.as_of, steps.closed[case])
    until = np.where(end[case] != NOT_YET, steps.at[end[case]], until)
    taken = clock.days(begin, np.maximum(until, begin))
    return case, begin, taken, (end[case] != NOT_YET) | ~is_open


def _four_eyes(steps: Steps, pair: tuple[str, str], people: Ints) -> Verdicts:
    """Decided once both were done by people who are known.

    Compared from the moment on when both were done.
    """
    rows = [np.flatnonzero(_is_any(steps, [name])) for name in pair]
    first = [_first_rows(steps, _is_any(steps, [name])) for name in pair]
    width = int(people.max(initial=0)) + 2
    done = [np.unique(steps.case[one].astype(np.int64) * width + people[one] + 1) for one in rows]
    shared = np.intersect1d(done[0], done[1])
    shared = shared[shared % width != NOBODY + 1]
    times = np.bincount(shared // width, minlength=len(steps.case_ids))
    both = (first[0] != NOT_YET) & (first[1] != NOT_YET)
    nameless = np.zeros(len(steps.case_ids), dtype=bool)
    for one in rows:
        nameless[steps.case[one[people[one] == NOBODY]]] = True
    unknown = both & nameless & (times == 0)
    case = np.flatnonzero(both & ~unknown)
    row = np.maximum(first[0], first[1])[case]
    lives = ~steps.closing[steps.activity[row]]
    broken = times[case] > 0
    followed = Followed(case[lives], steps.at[row][lives], broken[lives])
    at = np.where(broken, steps.at[row], NEVER)
    return Verdicts(four_eyes_rule(pair), case, broken, times[case].astype(np.int64), at, followed,
                    unknown=int(unknown.sum()))  # fmt: skip


def _once(rule: Rule, case: Ints, broken: Mask, at: Ints, followed: Followed | None) -> Verdicts:
    """Verdicts on a rule that a deal can break once only."""
    when = np.where(broken, at, NEVER)
    return Verdicts(rule, case, broken, broken.astype(np.int64), when, followed)


def _numbers(steps: Steps) -> dict[str, int]:
    return {name: code for code, name in enumerate(steps.activities)}


def _is_any(steps: Steps, names: Sequence[str]) -> Mask:
    """(n,) whether the event is in one of these stages."""
    return np.isin(np.array(steps.activities, dtype=object), list(names))[steps.activity]


def _first_rows(steps: Steps, chosen: Mask) -> Ints:
    """(m,) the first of the chosen rows of each deal; `NOT_YET` where it has none."""
    rows = np.flatnonzero(chosen)[::-1]
    first = np.full(len(steps.case_ids), NOT_YET)
    first[steps.case[rows]] = rows
    return first


def _first_of_case(steps: Steps, rows: Ints) -> Ints:
    """The first row of each deal among rows in the order of the log."""
    return rows[np.unique(steps.case[rows], return_index=True)[1]]


def _rank(steps: Steps, order: Sequence[str]) -> Floats:
    """(a,) the agreed place of each activity, by `order`, else by the log's own; NaN where none is."""
    if not order:
        return steps.place
    place = {name: float(turn) for turn, name in enumerate(order)}
    return np.array([place.get(name, np.nan) for name in steps.activities])
