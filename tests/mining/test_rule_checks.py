"""Each kind of rule against a slow reading of the log by hand, on random logs with open deals."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.mining.clock import Clock
from salesops_ml.mining.discovery import load_pm4py
from salesops_ml.mining.resources import people_of
from salesops_ml.mining.rule_checks import Verdicts, check_rules
from salesops_ml.mining.steps import NEVER, OPEN, Steps, as_steps
from salesops_ml.process_settings import ConformanceRules

DAY = datetime(2026, 1, 1)
AS_OF = DAY + timedelta(days=20)
ORDER = ["Lead", "Offer", "Legal", "Won", "Lost"]
Story = list[tuple[str, int, str | None]]
"""One deal: stage, hour and person of each event."""

STORIES = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(["Lead", "Offer", "Legal"]),
            st.integers(0, 60),
            st.sampled_from(["Ann", "Bob", None]),
        ),
        min_size=1,
        max_size=5,
    ),
    min_size=1,
    max_size=12,
)
ENDS = st.lists(st.sampled_from(["Won", "Lost", None]), min_size=12, max_size=12)


def made(stories: list[Story], ends: list[str | None]) -> tuple[pd.DataFrame, list[list[Any]]]:
    """A log, and each deal's events as (stage, moment, person)."""
    deals = []
    for number, story in enumerate(stories):
        moment, events = DAY + timedelta(hours=number), []
        for stage, hours, who in story:
            events.append((stage, moment, who))
            moment += timedelta(hours=hours)
        if ends[number] is not None:
            events.append((ends[number], moment, "Ann"))
        deals.append([event for event in events if event[1] <= AS_OF])
    rows = [(f"d{n:02d}", *event) for n, deal in enumerate(deals) for event in deal]
    names = ["case:concept:name", "concept:name", "time:timestamp", "org:resource"]
    frame = pd.DataFrame(rows, columns=names)
    return frame.assign(**{names[2]: pd.to_datetime(frame[names[2]], utc=True)}), deals


def read(frame: pd.DataFrame) -> Steps:
    return as_steps(frame, as_of=AS_OF, won=["Won"], lost=["Lost"])


def checked(
    frame: pd.DataFrame, rules: dict[str, Any], *, people: bool = False
) -> tuple[Steps, list[Verdicts]]:
    steps = read(frame)
    who = people_of(frame, steps)[0] if people else None
    told = ConformanceRules.model_validate(rules)
    return steps, check_rules(steps, told, people=who, clock=Clock(), order=ORDER)


def told(steps: Steps, one: Verdicts) -> dict[str, int]:
    """Times that each decided deal broke the rule."""
    return {str(steps.case_ids[case]): int(n) for case, n in zip(one.case, one.times, strict=True)}


def by_hand(deals: list[list[Any]], count: Callable[[list[Any]], int | None]) -> dict[str, int]:
    found = {f"d{number:02d}": count(deal) for number, deal in enumerate(deals)}
    return {name: times for name, times in found.items() if times is not None}


def stages(deal: list[Any]) -> list[str]:
    return [stage for stage, _, _ in deal]


def is_open(deal: list[Any]) -> bool:
    return deal[-1][0] not in ("Won", "Lost")


random_logs = given(STORIES, ENDS)
quickly = settings(max_examples=60, deadline=None)


@quickly
@random_logs
def test_starts(stories: list[Story], ends: list[str | None]) -> None:
    frame, deals = made(stories, ends)
    steps, (one,) = checked(frame, {"starts": ["Lead", "Legal"]})
    assert told(steps, one) == by_hand(deals, lambda deal: int(deal[0][0] == "Offer"))


@quickly
@random_logs
def test_moves(stories: list[Story], ends: list[str | None]) -> None:
    frame, deals = made(stories, ends)
    steps, found = checked(frame, {"allowed": {"Lead": ["Offer"], "*": ["Lost"]}})

    def times(target: str) -> Callable[[list[Any]], int | None]:
        def count(deal: list[Any]) -> int | None:
            moves = list(zip(stages(deal), stages(deal)[1:], strict=False))
            return moves.count(("Lead", target)) if any(a == "Lead" for a, _ in moves) else None

        return count

    expected = {f"Lead > {to}": by_hand(deals, times(to)) for to in ("Lead", "Legal", "Won")}
    strayed = {name: told for name, told in expected.items() if any(told.values())}
    assert {one.rule.subject: told(steps, one) for one in found} == (
        strayed or {"Lead": by_hand(deals, times("nothing"))}
    )


@quickly
@random_logs
def test_required_steps_are_missed_at_the_closing_only(
    stories: list[Story], ends: list[str | None]
) -> None:
    frame, deals = made(stories, ends)
    steps, (closed, won) = checked(frame, {"required": ["Offer", {"step": "Legal", "of": "won"}]})
    assert told(steps, closed) == by_hand(
        deals, lambda deal: None if is_open(deal) else int("Offer" not in stages(deal))
    )
    assert told(steps, won) == by_hand(
        deals, lambda deal: int("Legal" not in stages(deal)) if deal[-1][0] == "Won" else None
    )


@quickly
@random_logs
def test_order_of_first_visits(stories: list[Story], ends: list[str | None]) -> None:
    frame, deals = made(stories, ends)
    steps, (one,) = checked(frame, {"order": ["Lead", "Offer", "Legal"]})

    def count(deal: list[Any]) -> int | None:
        first = [stages(deal).index(name) for name in ORDER[:3] if name in stages(deal)]
        return int(first != sorted(first)) if len(first) >= 2 else None

    assert told(steps, one) == by_hand(deals, count)


@quickly
@random_logs
def test_time_in_a_stage(stories: list[Story], ends: list[str | None]) -> None:
    frame, deals = made(stories, ends)
    steps, (one,) = checked(frame, {"maximum_days": [{"stage": "Offer", "days": 1.5}]})

    def count(deal: list[Any]) -> int | None:
        until = [*(moment for _, moment, _ in deal[1:]), AS_OF]
        stays = [(end - moment > timedelta(days=1.5), number < len(deal) - 1)
                 for number, ((stage, moment, _), end) in enumerate(zip(deal, until, strict=True))
                 if stage == "Offer"]  # fmt: skip
        decided = [over for over, left in stays if over or left]
        return sum(decided) if decided else None

    assert told(steps, one) == by_hand(deals, count)


@quickly
@random_logs
def test_time_between_two_stages(stories: list[Story], ends: list[str | None]) -> None:
    frame, deals = made(stories, ends)
    limit = {"from": "Lead", "to": "Legal", "days": 2}
    steps, (one,) = checked(frame, {"maximum_days": [limit]})

    def count(deal: list[Any]) -> int | None:
        if "Lead" not in stages(deal):
            return None
        begin = stages(deal).index("Lead")
        there = [moment for stage, moment, _ in deal[begin + 1 :] if stage == "Legal"]
        last = AS_OF if is_open(deal) else deal[-1][1]
        over = (there[0] if there else last) - deal[begin][1] > timedelta(days=2)
        return int(over) if over or there or not is_open(deal) else None

    assert told(steps, one) == by_hand(deals, count)


@quickly
@random_logs
def test_four_eyes(stories: list[Story], ends: list[str | None]) -> None:
    frame, deals = made(stories, ends)
    steps, (one,) = checked(frame, {"four_eyes": [["Lead", "Offer"]]}, people=True)

    def count(deal: list[Any]) -> int | None:
        people = [{who for stage, _, who in deal if stage == name} for name in ("Lead", "Offer")]
        shared = (people[0] & people[1]) - {None}
        nameless = None in people[0] | people[1]
        return len(shared) if shared or (all(people) and not nameless) else None

    assert told(steps, one) == by_hand(deals, count)
    both = by_hand(deals, lambda deal: 1 if {"Lead", "Offer"} <= set(stages(deal)) else None)
    assert one.unknown == len(both) - len(one.case)


@pytest.mark.parametrize("seed", range(5))
def test_four_eyes_are_those_of_pm4py(seed: int) -> None:
    rng = np.random.default_rng(seed)
    stories = [
        [(ORDER[rng.integers(0, 3)], int(rng.integers(0, 60)), ["Ann", "Bob"][rng.integers(0, 2)])
         for _ in range(rng.integers(1, 6))]
        for _ in range(40)
    ]  # fmt: skip
    frame, _ = made(stories, [None] * 40)
    steps, (one,) = checked(frame, {"four_eyes": [["Lead", "Offer"]]}, people=True)
    pm4py = load_pm4py()  # on frames it looks at the last Offer alone, on its own logs at all
    log = pm4py.convert_to_event_log(frame)
    for keep in (True, False):
        kept = pm4py.filter_four_eyes_principle(log, "Lead", "Offer", keep_violations=keep)
        ours = {name for name, times in told(steps, one).items() if bool(times) == keep}
        assert ours == {trace.attributes["concept:name"] for trace in kept}
        assert ours


EVERYTHING: dict[str, Any] = {
    "starts": ["Lead"],
    "allowed": {"Lead": ["Offer"], "Offer": ["Won"], "Won": []},
    "required": ["Offer", {"step": "Legal", "of": "won"}],
    "order": ["Lead", "Offer", "Legal"],
    "maximum_days": [{"stage": "Offer", "days": 1}, {"from": "Lead", "to": "Won", "days": 2}],
    "four_eyes": [["Lead", "Offer"]],
}


@quickly
@given(STORIES, ENDS, st.randoms(use_true_random=False))
def test_groups_are_apart_and_the_order_of_rows_does_not_matter(
    stories: list[Story], ends: list[str | None], draw: Any
) -> None:
    frame, _ = made(stories, ends)
    frame = frame.drop_duplicates(["case:concept:name", "time:timestamp"])
    steps, found = checked(frame, EVERYTHING, people=True)
    rows = list(range(len(frame)))
    draw.shuffle(rows)
    _, again = checked(frame.iloc[rows], EVERYTHING, people=True)
    for one, other in zip(found, again, strict=True):
        assert one.rule == other.rule
        np.testing.assert_array_equal(one.times, other.times)
        assert (np.diff(one.case) > 0).all()
        np.testing.assert_array_equal(one.broken, one.times > 0)
        np.testing.assert_array_equal(one.broken, one.at != NEVER)
        if one.followed is not None:
            assert len(np.unique(one.followed.case)) == len(one.followed.case)
            closed = steps.closed[one.followed.case]
            assert (one.followed.since <= np.where(closed == NEVER, steps.as_of, closed)).all()


@quickly
@random_logs
def test_nothing_is_known_of_what_comes_after_the_day(
    stories: list[Story], ends: list[str | None]
) -> None:
    frame, _ = made(stories, ends)
    day = DAY + timedelta(days=4)
    early = frame[frame["time:timestamp"] <= pd.Timestamp(day, tz="UTC")]
    rules = ConformanceRules.model_validate(EVERYTHING)
    both = []
    for log in (frame, early):
        steps = as_steps(log, as_of=day, won=["Won"], lost=["Lost"])
        people = people_of(log, steps)[0]
        both.append(check_rules(steps, rules, people=people, clock=Clock(), order=ORDER))
    for one, other in zip(*both, strict=True):
        assert one.rule == other.rule
        np.testing.assert_array_equal(one.times, other.times)


def test_young_deals_are_not_compared_by_a_time_that_they_cannot_have_broken() -> None:
    stories: list[Story] = [[("Offer", 24, None), ("Legal", 1, None)] for _ in range(10)]
    frame, _ = made(stories, ["Won"] * 10)
    steps = as_steps(frame, as_of=DAY + timedelta(days=2), won=["Won"], lost=["Lost"])
    rules = ConformanceRules.model_validate({"maximum_days": [{"stage": "Offer", "days": 5}]})
    (one,) = check_rules(steps, rules, people=None, clock=Clock(), order=ORDER)
    assert len(one.case) == 10
    assert one.followed is not None
    assert not len(one.followed.case)


def test_a_limit_in_working_days_lets_the_weekend_pass() -> None:
    friday = datetime(2026, 1, 2)
    rows = [("a", "Offer", friday), ("a", "Legal", friday + timedelta(days=4))]
    frame = pd.DataFrame(rows, columns=["case:concept:name", "concept:name", "time:timestamp"])
    rules = ConformanceRules.model_validate({"maximum_days": [{"stage": "Offer", "days": 3}]})
    for clock, broken in ((Clock(), [True]), (Clock(working=True), [False])):
        (one,) = check_rules(as_steps(frame), rules, people=None, clock=clock, order=[])
        assert one.broken.tolist() == broken
        assert ("working days" in one.rule.text) == clock.working


def test_a_move_that_closes_the_deal_is_not_compared() -> None:
    frame, _ = made([[("Lead", 5, None)], [("Lead", 5, None), ("Offer", 3, None)]], ["Won", None])
    _, (one,) = checked(frame, {"allowed": {"Lead": ["Offer"]}})
    assert one.rule.name == "move: Lead > Won"
    assert one.followed is None


def test_closing_events_that_come_together_may_hold_the_required_one() -> None:
    rows = [
        ("a", "Lead", DAY),
        ("a", "Approved", DAY),
        ("a", "Registered", DAY + timedelta(hours=1)),
    ]
    frame = pd.DataFrame(rows, columns=["case:concept:name", "concept:name", "time:timestamp"])
    steps = as_steps(frame, as_of=AS_OF, won=["Approved", "Registered"])
    rules = ConformanceRules.model_validate({"required": ["Registered"]})
    (one,) = check_rules(steps, rules, people=None, clock=Clock(), order=[])
    assert steps.outcome.tolist() != [OPEN]
    assert one.broken.tolist() == [False]
