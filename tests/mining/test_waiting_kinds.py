"""Kinds of waiting: small logs in which one kind is planted, and parts that always make the whole."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.errors import DataError, UsageError
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.steps import as_steps
from salesops_ml.mining.visits import visits_of
from salesops_ml.mining.waiting_kinds import COLUMNS, KINDS, waiting_kinds, waiting_parts
from tests.mining.conftest import made_log

MONDAY = datetime(2026, 11, 16)
Stay = tuple[str, float, float, str]
"""Deal, hours from Monday's midnight of entering and of leaving, and rep."""


def log_of(stays: list[Stay], until: str = "Offer") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Each deal stays in Lead, then goes to `until` and rests there; with its reps."""
    rows = []
    for deal, entered, left, rep in stays:
        rows.append((deal, "Lead", MONDAY + timedelta(hours=entered), rep))
        rows.append((deal, until, MONDAY + timedelta(hours=left), rep))
    frame = pd.DataFrame(
        rows, columns=["case:concept:name", "concept:name", "time:timestamp", "rep"]
    )
    frame = frame.sort_values(["case:concept:name", "time:timestamp"], ignore_index=True)
    return frame.drop(columns="rep"), frame[["rep"]]


def hours_of(stays: list[Stay], **options: object) -> dict[str, float]:
    log, kinds = log_of(stays)
    found = waiting_kinds(log, kinds, **options)  # type: ignore[arg-type]
    lead = found[found.stage == "Lead"].set_index("kind")["days"] * 24
    return {kind: round(float(value), 6) for kind, value in lead.items() if value > 1e-9}


def test_a_weekend_and_the_night_are_unavailability() -> None:
    friday, monday = 4 * 24 + 15.0, 7 * 24 + 11.0
    told = hours_of([("a", friday, monday, "r1")], hours=(9, 17))
    assert told == {"unavailability": 64.0, "rest": 4.0}
    assert hours_of([("a", friday, monday, "r1")]) == {"unavailability": 48.0, "rest": 20.0}


def test_a_holiday_is_unavailability() -> None:
    clock = Clock(holidays=("2026-11-17",))
    told = hours_of([("a", 12.0, 60.0, "r1")], clock=clock)
    assert told == {"unavailability": 24.0, "rest": 24.0}


def test_the_time_until_a_batch_is_full_is_batching() -> None:
    """Three deals come at 9, 11 and 13 o'clock and are moved together at 16 o'clock."""
    batch = [("a", 9.0, 16.0, "r1"), ("b", 11.0, 16.0, "r1"), ("c", 13.0, 16.0, "r1")]
    told = hours_of(batch, handling_hours=0)
    assert told == {"batching": 4.0 + 2.0, "rest": 9.0}
    apart = [("a", 9.0, 12.0, "r1"), ("b", 11.0, 14.0, "r1"), ("c", 13.0, 16.0, "r1")]
    assert hours_of(apart, handling_hours=0) == {"rest": 9.0}
    by_two = [("a", 9.0, 16.0, "r1"), ("b", 11.0, 16.0, "r2")]
    assert hours_of(by_two, handling_hours=0) == {"rest": 12.0}


def test_the_time_for_older_deals_is_contention() -> None:
    """The rep takes two hours for each; b waits its own two hours of rest and two for a."""
    told = hours_of([("a", 9.0, 12.0, "r1"), ("b", 10.0, 14.0, "r1")], handling_hours=2)
    assert told == {"contention": 2.0, "rest": 3.0 + 2.0}


def test_the_time_for_newer_deals_is_prioritisation() -> None:
    """b came later and is moved first."""
    told = hours_of([("a", 9.0, 15.0, "r1"), ("b", 11.0, 13.0, "r1")], handling_hours=1)
    assert told == {"prioritisation": 1.0, "rest": 5.0 + 2.0}


def test_other_reps_take_no_time() -> None:
    told = hours_of([("a", 9.0, 12.0, "r1"), ("b", 10.0, 14.0, "r2")], handling_hours=2)
    assert told == {"rest": 7.0}


def test_large_deals_that_overtake_are_told() -> None:
    log, kinds = log_of([("a", 9.0, 15.0, "r1"), ("b", 11.0, 13.0, "r1"), ("c", 10.0, 12.0, "r1")])
    steps = as_steps(log)
    told = pd.Series({"a": 10.0, "b": 50.0, "c": 5.0})
    steps = type(steps)(**{**vars(steps), "amount": told[list(steps.case_ids)].to_numpy()})
    parts = waiting_parts(steps, kinds, handling_hours=1)
    lead = parts.visits.stage == list(steps.activities).index("Lead")
    assert (parts.days[lead, 3] * 24).round(6).tolist() == [2.0, 0.0, 0.0]
    assert (parts.to_larger[lead] * 24).round(6).tolist() == [1.0, 0.0, 0.0]


def test_without_reps_only_the_calendar_is_told() -> None:
    log, _ = log_of([("a", 9.0, 16.0, "r1"), ("b", 11.0, 16.0, "r1")])
    found = waiting_kinds(log, hours=(9, 12))
    assert set(found[found.days > 0].kind) == {"unavailability", "rest"}


logs = st.builds(
    made_log, st.integers(1, 40), st.integers(0, 10_000), length=st.integers(1, 6),
    names=st.integers(2, 4),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    log=logs, reps=st.integers(1, 4), seed=st.integers(0, 99),
    hours=st.sampled_from([None, (9.0, 17.5), (0.0, 24.0)]), handling=st.sampled_from([0.0, 2.0, 40.0]),
    zone=st.sampled_from(["UTC", "Europe/Amsterdam", "America/New_York"]),
)  # fmt: skip
def test_parts_are_never_below_nothing_and_make_the_whole(
    log: pd.DataFrame, reps: int, seed: int, hours: tuple[float, float] | None, handling: float,
    zone: str,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    kinds = pd.DataFrame({"rep": rng.choice([f"r{k}" for k in range(reps)] + [None], len(log))})
    steps = as_steps(log, won=["S1"], lost=["S0"], as_of=datetime(2026, 4, 1))
    clock = Clock(time_zone=zone, holidays=("2026-01-06",))
    parts = waiting_parts(steps, kinds, clock=clock, hours=hours, handling_hours=handling)
    assert (parts.days >= -1e-9).all()
    assert np.allclose(parts.days.sum(axis=1), parts.visits.days, atol=1e-7)
    assert (parts.to_larger <= parts.days[:, 3] + 1e-9).all()
    every = visits_of(steps, Clock())
    closing = steps.closing[every.stage]
    assert parts.days.sum() == pytest.approx(every.days[~closing].sum(), abs=1e-6)
    found = waiting_kinds(
        log, kinds, won=["S1"], lost=["S0"], as_of=datetime(2026, 4, 1), clock=clock, hours=hours,
        handling_hours=handling,
    )  # fmt: skip
    assert list(found.columns) == list(COLUMNS)
    assert found.kind.tolist() == list(KINDS) * found.stage.nunique()
    assert found.days.sum() == pytest.approx(parts.days.sum(), abs=1e-6)


def test_contention_and_prioritisation_are_those_of_a_slow_loop() -> None:
    """Every pair of stays of one rep, minute by minute."""
    rng = np.random.default_rng(5)
    stays = []
    for k in range(14):
        entered = int(rng.integers(0, 200)) * 0.25
        left = entered + int(rng.integers(2, 60)) * 0.25 + k * 0.001
        stays.append((f"d{k:02}", entered, left, f"r{k % 2}"))
    log, kinds = log_of(stays)
    parts = waiting_parts(as_steps(log), kinds, handling_hours=1.5, batch_minutes=0)
    lead = parts.visits.stage == 0
    ours = parts.days[lead][:, 2:4] * 24
    for turn, (deal, entered, left, rep) in enumerate(sorted(stays)):
        slow = {"older": 0.0, "newer": 0.0}
        moves = sorted((s for s in stays if s[3] == rep), key=lambda s: s[2])
        for place, (other, came, moved, _) in enumerate(moves):
            began = moved - 1.5 if place == 0 else max(moved - 1.5, moves[place - 1][2])
            if other != deal:
                time = max(0.0, min(moved, left) - max(began, entered))
                slow["newer" if came > entered else "older"] += time
        assert ours[turn] == pytest.approx([slow["older"], slow["newer"]], abs=1e-5)


def test_bad_options_are_named() -> None:
    log, kinds = log_of([("a", 9.0, 16.0, "r1")])
    with pytest.raises(UsageError, match="`hours` must be two rising hours"):
        waiting_kinds(log, kinds, hours=(17, 9))
    with pytest.raises(UsageError, match="`handling_hours` must be 0 or more; got -1"):
        waiting_kinds(log, kinds, handling_hours=-1)
    with pytest.raises(DataError, match="`kinds` has 1 rows for a log of 2 events"):
        waiting_kinds(log, kinds.head(1))


def test_a_log_of_nothing_has_no_waiting() -> None:
    log, _ = log_of([("a", 9.0, 16.0, "r1")])
    found = waiting_kinds(log.head(0))
    assert found.empty
    assert list(found.columns) == list(COLUMNS)


def test_all_of_the_helpdesks_waiting_is_split(helpdesk: pd.DataFrame) -> None:
    kinds = pd.DataFrame({"rep": helpdesk["org:resource"]})
    found = waiting_kinds(helpdesk, kinds, hours=(9, 18))
    stays = visits_of(as_steps(helpdesk), Clock())
    assert found.days.sum() == pytest.approx(stays.days.sum())
    assert np.allclose(found.groupby("stage").share.sum().round(9) % 1, 0)
    assert (found.groupby("kind").days.sum() > 0).all()
