"""What was known at each entry: loads and changes of hands against a slow loop."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.errors import DataError
from salesops_ml.mining.circumstances import circumstances
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.steps import NEVER, Steps, as_steps
from tests.mining.conftest import made_log

END = datetime(2026, 4, 1)


def with_reps(seed: int, cases: int = 30) -> tuple[Steps, pd.DataFrame]:
    steps = as_steps(made_log(cases, seed), won=["S1"], lost=["S0"], as_of=END)
    rng = np.random.default_rng(seed)
    return steps, pd.DataFrame({"rep": rng.choice(["r1", "r2", "r3", None], len(steps.case))})


def slow_load(steps: Steps, reps: list[object], row: int) -> int:
    """Other deals that stand with the rep at that moment."""
    count = 0
    for other in range(len(steps.case)):
        if other == row or steps.closing[steps.activity[other]] or reps[other] != reps[row]:
            continue
        left = steps.left[other]
        count += steps.at[other] <= steps.at[row] and (left == NEVER or left > steps.at[row])
    return count


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000))
def test_load_and_changes_are_those_of_a_slow_loop(seed: int) -> None:
    steps, kinds = with_reps(seed)
    found = circumstances(steps, kinds)
    reps = kinds.rep.tolist()
    for row in range(len(steps.case)):
        if reps[row] is None:
            assert np.isnan(found.rep_load[row])
            assert found.owner_changed[row] is None
            continue
        assert found.rep_load[row] == slow_load(steps, reps, row)
        start = int(np.flatnonzero(steps.case == steps.case[row])[0])
        path = [reps[k] for k in range(start, row + 1)]
        moves = [a != b for a, b in pairwise(path) if a and b]
        assert found.owner_changed[row] == ("yes" if any(moves) else "no")


def test_nothing_after_the_entry_is_read() -> None:
    """Cut the log at a day, and take other reps afterwards: what was known before is the same."""
    log = made_log(60, 4)
    rng = np.random.default_rng(4)
    log = log.assign(rep=rng.choice(["r1", "r2"], len(log)))
    log = log.sort_values(["case:concept:name", "time:timestamp"], kind="stable", ignore_index=True)
    day = pd.Timestamp("2026-01-12", tz="UTC")
    before = log["time:timestamp"] < day
    full = as_steps(log, won=["S1"], lost=["S0"], as_of=END)
    cut = as_steps(
        log[before], won=["S1"], lost=["S0"], as_of=day.to_pydatetime().replace(tzinfo=None)
    )
    now = circumstances(full, log[["rep"]])[before.to_numpy()].reset_index(drop=True)
    then = circumstances(cut, log.loc[before, ["rep"]])
    pd.testing.assert_frame_equal(now, then)


def test_the_companys_clock_tells_day_and_hour() -> None:
    log = pd.DataFrame({
        "case:concept:name": ["a", "b"], "concept:name": "Lead",
        "time:timestamp": pd.to_datetime(["2026-11-20T23:30Z", "2026-11-20T12:00Z"]),
    })  # fmt: skip
    found = circumstances(as_steps(log), clock=Clock(time_zone="Europe/Amsterdam"))
    assert found.entry_weekday.tolist() == ["sat", "fri"]
    assert found.entry_hour.tolist() == ["before 9", "12 to 15"]


def test_a_log_of_days_knows_no_hours() -> None:
    log = pd.DataFrame({
        "case:concept:name": ["a", "b"], "concept:name": "Lead",
        "time:timestamp": pd.to_datetime(["2026-11-20", "2026-11-21"]),
    })  # fmt: skip
    found = circumstances(as_steps(log))
    assert found.entry_hour.isna().all()
    assert "rep_load" not in found


def test_kinds_must_fit_the_log() -> None:
    with pytest.raises(DataError, match="`kinds` has 3 rows for a log of"):
        circumstances(as_steps(made_log(20, 1)), pd.DataFrame({"rep": ["a"] * 3}))
