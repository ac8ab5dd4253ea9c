"""Drift in worlds of which it is known whether and when they change."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifelines import NelsonAalenFitter

from salesops_ml.errors import UsageError
from salesops_ml.mining.calendar_exits import Watched, exits_of, record_of, things_to_watch
from salesops_ml.mining.change_points import find_change, split_interval, stretches
from salesops_ml.mining.drift import COLUMNS, drift
from salesops_ml.mining.steps import as_steps
from tests.mining.conftest import made_log
from tests.mining.process_world import PLAIN, START, options, process_log, with_days, with_ways

READ = {name: value for name, value in options().items() if name != "order"}
DAY = 220.0
CHANGED = pd.Timestamp(START) + pd.Timedelta(days=DAY)
SLOW = with_days(Offer=22.0)
OTHER_WAY = with_ways("Lead", {"Offer": 0.3, "Contract": 0.4, "Lost": 0.3})


def steps_of(log: pd.DataFrame) -> object:
    return as_steps(log, **READ)  # type: ignore[arg-type]


def found_in(log: pd.DataFrame, **more: object) -> pd.DataFrame:
    return drift(log, **READ, **more)  # type: ignore[arg-type]


def test_surprises_add_up_to_nothing_and_expect_what_nelson_and_aalen_do() -> None:
    steps = steps_of(process_log(150, 1))
    exits = exits_of(steps)
    watched = things_to_watch(steps, exits)
    edges = stretches(int(steps.at.min()), steps.as_of, 30)
    told = record_of(steps, exits, watched, edges)
    assert np.allclose(told.surprise.sum(axis=1), 0, atol=1e-8)
    assert (told.variance >= 0).all()
    lead = steps.activities.index("Lead")
    here = exits.stage == lead
    begun, end, gone = exits.begun[here], exits.end[here], exits.exited[here]
    day = 86_400_000_000
    fitter = NelsonAalenFitter(nelson_aalen_smoothing=False).fit((end - begun) / day, gone)
    row = watched.index(Watched(lead, None, "dwell"))
    for turn in (4, 17, 29):
        low, high = edges[turn], edges[turn + 1]
        on = (begun < high) & (end > low)
        ages = [(np.clip(edge, begun[on], end[on]) - begun[on]) / day for edge in (low, high)]
        hazard = [fitter.cumulative_hazard_at_times(age).to_numpy() for age in ages]
        seen = (gone & (end > low) & (end <= high)).sum()
        assert told.surprise[row, turn] == pytest.approx(seen - (hazard[1] - hazard[0]).sum())


def test_a_change_of_pace_is_dated_and_named() -> None:
    found = found_in(process_log(600, 3, changes=((DAY, SLOW),)))
    assert list(found.columns) == list(COLUMNS)
    one = found[found.change == 1].iloc[0]
    assert (one.source, one.measure, one.kind) == ("Offer", "dwell", "stage")
    assert one.date_low <= CHANGED <= one.date_high
    assert abs(one.date - CHANGED) < pd.Timedelta(days=21)
    assert one.before < 10 < one.after
    assert one.strength < 0
    assert "deals stay longer in Offer" in one.finding


def test_a_change_of_way_is_dated_and_named() -> None:
    found = found_in(process_log(600, 4, changes=((DAY, OTHER_WAY),)))
    first = found[found.change == 1]
    assert set(first.source) == {"Lead"}
    assert {"Contract", "Offer"} == set(first.target)
    assert (first.measure == "share").all()
    to = first.set_index("target")
    assert to.loc["Contract", "before"] < 0.2 < 0.3 < to.loc["Contract", "after"]
    assert ((first.date - CHANGED).abs() < pd.Timedelta(days=14)).all()
    assert first.date.nunique() == 1


def test_two_changes_are_told_apart() -> None:
    log = process_log(1200, 8, changes=((120.0, SLOW), (250.0, PLAIN)))
    found = found_in(log)
    slow = found[(found.source == "Offer") & (found.measure == "dwell")]
    assert slow.change.nunique() >= 2
    assert slow.strength.iloc[0] < 0 < slow.strength.iloc[-1]
    for row, day in ((slow.iloc[0], 120), (slow.iloc[-1], 250)):
        assert abs(row.date - pd.Timestamp(START) - pd.Timedelta(days=day)) < pd.Timedelta(days=25)


def alarms(logs: Iterable[pd.DataFrame]) -> float:
    return float(np.mean([len(found_in(log, draws=399)) > 0 for log in logs]))


@pytest.mark.slow
def test_a_process_that_stays_as_it_is_raises_few_alarms() -> None:
    rate = alarms(process_log(300, 40 + seed) for seed in range(40))
    assert rate <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 40)


@pytest.mark.slow
def test_the_interval_of_a_date_holds_as_often_as_promised() -> None:
    held = []
    for seed in range(22):
        for laws in (SLOW, OTHER_WAY):
            found = found_in(process_log(500, 900 + seed, changes=((DAY, laws),)), draws=199)
            if len(found):
                nearest = found.loc[(found.date - CHANGED).abs().idxmin()]
                held.append(nearest.date_low <= CHANGED <= nearest.date_high)
    assert len(held) >= 36
    assert 0.8 <= np.mean(held) <= 0.99


def test_more_deals_are_no_change() -> None:
    """Four times as many deals begin in the second half: neither pace nor ways are others."""
    log = process_log(1000, 6)
    number = log["case:concept:name"].str[1:].astype(int)
    assert found_in(log[(log.begun > 180) | (number % 4 == 0)]).empty


def test_rows_can_be_shuffled() -> None:
    log = process_log(300, 10, changes=((DAY, SLOW),))
    pd.testing.assert_frame_equal(
        found_in(log, draws=99), found_in(log.sample(frac=1, random_state=3), draws=99)
    )


def test_nothing_after_as_of_is_seen() -> None:
    log = process_log(400, 12, changes=((DAY, SLOW),))
    early = {**READ, "as_of": CHANGED.to_pydatetime()}
    cut = log[log["time:timestamp"] <= CHANGED]
    pd.testing.assert_frame_equal(drift(log, **early), drift(cut, **early))  # type: ignore[arg-type]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(10, 40), st.floats(4, 9))
def test_a_large_step_is_found_where_it_is(seed: int, after: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    surprise, variance = rng.normal(size=(3, 50)) * 3, np.full((3, 50), 9.0)
    surprise[1, after:] += 3 * size
    one = find_change(surprise, variance, draws=199, seed=seed)
    assert one is not None
    assert one.after == after
    assert one.changed[1]
    assert one.strength[1] > 0
    best, low, high = split_interval(surprise[1:2], variance[1:2], level=0.9, draws=50, seed=seed)
    assert low <= best <= high
    assert best == after


def test_too_little_to_tell_is_no_change() -> None:
    assert drift(made_log(1, 0, length=1)).empty
    assert drift(made_log(30, 1)).empty
    assert find_change(np.zeros((2, 30)), np.zeros((2, 30))) is None
    with pytest.raises(UsageError, match="`alarm`"):
        drift(made_log(1, 0), alarm=0)
