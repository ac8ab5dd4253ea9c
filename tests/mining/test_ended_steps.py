"""The short way through an ended log says what the estimators for censored logs say."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.mining import ended_steps
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.ended_steps import all_ended, blocks_of_cases, ended_edges
from salesops_ml.mining.steps import as_steps
from salesops_ml.mining.transitions import _ended_edges, _step_edges, transitions
from tests.mining.conftest import made_log

PROBABILITIES = (0.0, 0.1, 0.5, 0.9, 1.0)


def edges(part: dict) -> pd.DataFrame:
    frame = pd.DataFrame(part)
    return frame.sort_values(["source", "target"], ignore_index=True)[sorted(frame.columns)]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), cases=st.integers(0, 30), block=st.integers(1, 40))
@pytest.mark.parametrize("names", [1, 3, 300])
def test_both_ways_agree(seed: int, cases: int, block: int, names: int) -> None:
    log = made_log(cases, seed, names=names)
    log["worth"] = np.where(log["case:concept:name"].str[-1] < "5", 10.25, np.nan)
    steps = as_steps(log, amount_key="worth") if cases else as_steps(log.head(0))
    assert all_ended(steps)
    size, ended_steps._BLOCK = ended_steps._BLOCK, block
    try:
        found = edges(_ended_edges(steps))
    finally:
        ended_steps._BLOCK = size
    pd.testing.assert_frame_equal(found, edges(_step_edges(steps, Clock())), rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), long=st.booleans())
def test_quantiles_are_times_that_were_seen(seed: int, long: bool) -> None:
    """By hand: the smallest time that at least so many of an edge's do not exceed."""
    log = made_log(300 if long else 12, seed, names=2)
    steps = as_steps(log)
    found = ended_edges(steps, PROBABILITIES)
    seen: dict[tuple[int, int], list[int]] = {}
    for row in range(len(steps.case) - 1):
        if steps.case[row] == steps.case[row + 1]:
            pair = (int(steps.activity[row]), int(steps.activity[row + 1]))
            seen.setdefault(pair, []).append(int(steps.at[row + 1] - steps.at[row]))
    assert list(zip(found.source.tolist(), found.target.tolist(), strict=True)) == sorted(seen)
    for turn, pair in enumerate(sorted(seen)):
        times = sorted(seen[pair])
        ranks = [max(int(np.ceil(p * len(times) - 1e-9)), 1) for p in PROBABILITIES]
        wanted = [times[rank - 1] / 86_400_000_000 for rank in ranks]
        assert found.quantile_days[turn].tolist() == wanted
        assert found.count[turn] == len(times)
        assert found.mean_days[turn] == pytest.approx(np.mean(times) / 86_400_000_000)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_blocks_hold_whole_cases(size: int) -> None:
    case = np.repeat(np.arange(6), [1, 5, 2, 1, 1, 4])
    rows = list(blocks_of_cases(case, size))
    assert np.concatenate([case[part] for part in rows]).tolist() == case.tolist()
    held = [set(case[part].tolist()) for part in rows]
    assert sum(map(len, held)) == 6


def test_memory_grows_with_the_log_and_not_with_the_square_of_the_names() -> None:
    """Ten thousand names could make a hundred million pairs; a table of them would take 800 MB."""
    import tracemalloc

    day = datetime(2026, 1, 1)
    log = pd.DataFrame({
        "case:concept:name": np.repeat([f"c{case}" for case in range(5_000)], 4),
        "concept:name": [f"Activity {row % 10_000}" for row in range(20_000)],
        "time:timestamp": pd.to_datetime([day + timedelta(hours=row) for row in range(20_000)]),
    })  # fmt: skip
    steps = as_steps(log)
    tracemalloc.start()
    found = transitions(steps)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found["kind"] == "step").sum() == 7_500
    assert peak < 60_000_000
    tracemalloc.start()
    transitions(as_steps(log, won=["Activity 3"], as_of=day + timedelta(days=2000)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60_000_000
