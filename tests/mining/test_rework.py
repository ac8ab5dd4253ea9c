"""Rework, first-pass yield, skipped stages and ping-pong against slow loops over the deals."""

from __future__ import annotations

from datetime import datetime, timedelta
from importlib import import_module
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifelines import AalenJohansenFitter

from salesops_ml.errors import DataError
from salesops_ml.mining import first_pass
from salesops_ml.mining.event_log import event_log
from salesops_ml.warehouse import Warehouse

ping_pong = import_module("salesops_ml.mining.ping_pong")
rework = import_module("salesops_ml.mining.rework")
skipped_stages = import_module("salesops_ml.mining.skipped_stages")

ORDER = ["A", "B", "C"]
OPTIONS = {"won": ["Won"], "lost": ["Lost"], "order": ORDER}
START = datetime(2026, 1, 1)
PATHS = st.lists(
    st.tuples(st.lists(st.sampled_from(ORDER), min_size=1, max_size=7),
              st.sampled_from(["Won", "Lost"])),
    min_size=1, max_size=12,
)  # fmt: skip


def log_of(paths: list[list[str]]) -> pd.DataFrame:
    """A deal per path, an event each three days, deals a day apart."""
    rows = [
        (f"d{case:03d}", name, START + timedelta(days=case + 3 * turn))
        for case, path in enumerate(paths)
        for turn, name in enumerate(path)
    ]
    frame = pd.DataFrame(rows, columns=["case:concept:name", "concept:name", "time:timestamp"])
    return frame.assign(**{"time:timestamp": pd.to_datetime(frame["time:timestamp"])})


def ended(pairs: list[tuple[list[str], str]]) -> list[list[str]]:
    return [[*path, outcome] for path, outcome in pairs]


def later(one: str, other: str) -> bool:
    return ORDER.index(one) > ORDER.index(other)


@settings(max_examples=40, deadline=None)
@given(PATHS)
def test_rework_of_ended_deals_is_what_a_loop_counts(pairs: list[tuple[list[str], str]]) -> None:
    paths = ended(pairs)
    found = rework.rework(log_of(paths), as_of=datetime(2027, 1, 1), **OPTIONS)
    assert list(found.columns) == list(rework.COLUMNS)
    for row in found.itertuples():
        there = [path for path in paths if row.stage in path]
        again = [path for path in there if path.count(row.stage) > 1]
        moves = [pair for path in paths for pair in pairwise(path)]
        assert (row.deals, row.returned) == (len(there), len(again))
        assert row.rework_rate == pytest.approx(len(again) / len(there))
        assert row.rework_low <= row.rework_rate <= row.rework_high
        assert row.visits_again == sum(path.count(row.stage) - 1 for path in there)
        assert row.visits_same == moves.count((row.stage, row.stage))
        back = [one for one, other in moves if other == row.stage and one in ORDER]
        assert row.visits_back == sum(later(one, row.stage) for one in back)
        assert row.extra_days == pytest.approx(3 * row.visits_again)
        for told, group in ((row.win_rate_with, again),
                            (row.win_rate_without, [p for p in there if p not in again])):  # fmt: skip
            if group:
                assert told == pytest.approx(np.mean([path[-1] == "Won" for path in group]))
            else:
                assert np.isnan(told)


def test_the_rate_of_rework_with_open_deals_is_lifelines_aalen_johansen() -> None:
    rng = np.random.default_rng(3)
    rows, told = [], []
    for case in range(120):
        day, stop = rng.exponential(20, 2) + 0.01
        end = START + timedelta(days=60)
        begun = end - timedelta(days=float(rng.uniform(1, 30)))
        seen, kind = (end - begun) / timedelta(days=1), rng.integers(0, 2)
        first = min(day, stop, seen)
        told.append((first, 0 if first == seen else 1 if first == day else 2))
        rows.append((f"d{case}", "A", begun))
        if day <= min(stop, seen):
            rows.append((f"d{case}", "A", begun + timedelta(days=day)))
        if stop < seen:
            rows.append((f"d{case}", ["Won", "Lost"][kind], begun + timedelta(days=stop)))
    frame = pd.DataFrame(rows, columns=["case:concept:name", "concept:name", "time:timestamp"])
    found = rework.rework(frame, as_of=end, won=["Won"], lost=["Lost"]).iloc[0]
    time, cause = (np.array(part) for part in zip(*told, strict=True))
    ends = [
        AalenJohansenFitter(calculate_variance=False).fit(time, cause, door)
        .cumulative_density_.iloc[-1, 0]
        for door in (1, 2)
    ]  # fmt: skip
    assert (cause == 0).sum() > 20
    assert found.rework_rate == pytest.approx(ends[0] / sum(ends), abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(PATHS)
def test_first_pass_yield_of_ended_deals_is_what_a_loop_counts(
    pairs: list[tuple[list[str], str]],
) -> None:
    paths = ended(pairs)
    found = first_pass.first_pass_yield(log_of(paths), as_of=datetime(2027, 1, 1), **OPTIONS)
    rolled = 1.0
    for row in found.itertuples():
        there = [path for path in paths if row.stage in path]
        after = [path[path.index(row.stage) + 1] for path in there]
        good = [
            path.count(row.stage) == 1
            and then != "Lost"
            and (then == "Won" or later(then, row.stage))
            for path, then in zip(there, after, strict=True)
        ]
        assert (row.entered, row.passed, row.pending) == (len(there), sum(good), 0)
        assert row.lost_there == after.count("Lost")
        assert row.entered == row.passed + row.lost_there + row.went_back + row.came_back
        assert row.first_pass_yield == pytest.approx(np.mean(good))
        rolled *= np.mean(good)
        assert row.rolled_yield == pytest.approx(rolled)
        assert row.rolled_low <= rolled + 1e-9
        assert rolled <= row.rolled_high + 1e-9


def test_open_deals_are_pending_and_not_failures() -> None:
    paths = [["A", "B", "Won"], ["A", "B"], ["A"], ["A", "B", "A", "Won"]]
    found = first_pass.first_pass_yield(log_of(paths), as_of=START + timedelta(days=90), **OPTIONS)
    lead = found.set_index("stage").loc["A"]
    assert (lead.passed, lead.pending, lead.came_back) == (1, 2, 1)
    assert lead.first_pass_yield == pytest.approx(0.5)


@settings(max_examples=40, deadline=None)
@given(PATHS)
def test_skipped_stages_are_what_a_loop_counts(pairs: list[tuple[list[str], str]]) -> None:
    paths = [path if turn % 3 == 0 else [*path, end] for turn, (path, end) in enumerate(pairs)]
    found = skipped_stages.skipped_stages(log_of(paths), as_of=datetime(2027, 1, 1), **OPTIONS)
    assert list(found.columns) == list(skipped_stages.COLUMNS)
    for row in found.itertuples():
        past = [
            path for path in paths
            if "Won" in path or any(x in ORDER and later(x, row.stage) for x in path)
        ]  # fmt: skip
        skipped = [path for path in past if row.stage not in path]
        late = [
            path for path in past
            if row.stage in path and any(later(x, row.stage) for x in path[: path.index(row.stage)])
        ]  # fmt: skip
        assert row.reached_later == len(past)
        assert (row.skipped, row.visited_late) == (len(skipped), len(late))
        assert len(row.examples) == min(len(skipped), 5)


def test_skipping_is_judged_from_the_moment_beyond() -> None:
    """Six deals skip B, and half of them win; six go through it and all win."""
    paths = [["A", "C", "Won"]] * 3 + [["A", "C", "Lost"]] * 3 + [["A", "B", "C", "Won"]] * 6
    found = skipped_stages.skipped_stages(log_of(paths), as_of=datetime(2027, 1, 1), **OPTIONS)
    row = found.set_index("stage").loc["B"]
    assert (row.win_rate_skipped, row.win_rate_visited) == pytest.approx((0.5, 1.0))
    assert row.win_rate_difference == pytest.approx(-0.5)
    assert "skipped B" in row.finding


def runs_by_hand(path: list[str]) -> list[tuple[str, str, int]]:
    """Every maximal run of two sides in turn, as (one, other, returns)."""
    sides = [one for turn, one in enumerate(path) if turn == 0 or path[turn - 1] != one]
    found, turn = [], 0
    while turn + 1 < len(sides):
        stop = turn + 2
        while stop < len(sides) and sides[stop] == sides[stop - 2]:
            stop += 1
        if stop - turn >= 4:
            found.append((*sorted(sides[turn : turn + 2]), stop - turn - 2))
        turn = stop - 1
    return found


@settings(max_examples=60, deadline=None)
@given(PATHS)
def test_ping_pong_is_what_a_loop_counts(pairs: list[tuple[list[str], str]]) -> None:
    paths = ended(pairs)
    found = ping_pong.ping_pong(
        log_of(paths), as_of=datetime(2027, 1, 1), won=["Won"], lost=["Lost"]
    )
    assert list(found.columns) == list(ping_pong.COLUMNS)
    told = [(case, *run) for case, path in enumerate(paths) for run in runs_by_hand(path)]
    expected = {
        pair: (len({x[0] for x in told if x[1:3] == pair}), sum(x[1:3] == pair for x in told),
               sum(x[3] for x in told if x[1:3] == pair))
        for pair in {x[1:3] for x in told}
    }  # fmt: skip
    ours = {(r.one, r.other): (r.deals, r.episodes, r.returns) for r in found.itertuples()}
    assert ours == expected
    for row in found.itertuples():
        moved = [
            path for path in paths
            if {(row.one, row.other), (row.other, row.one)} & set(pairwise(path))
        ]  # fmt: skip
        assert row.deals_moved == len(moved)
        back = [p for p in moved if (row.one, row.other) in [x[:2] for x in runs_by_hand(p)]]
        assert row.win_rate_with == pytest.approx(np.mean([p[-1] == "Won" for p in back]))


def test_ping_pong_between_reps() -> None:
    log = log_of([["A", "B", "C", "A", "B", "Won"], ["A", "B", "C", "A", "B", "Lost"]])
    reps = ["r1", "r2", "r2", "r1", "r2", "r2", "r1", None, "r1", "r3", "r1", "r1"]
    found = ping_pong.ping_pong(log, reps, as_of=datetime(2027, 1, 1), won=["Won"], lost=["Lost"])
    row = found[found.between == "reps"].iloc[0]
    assert (row.one, row.other, row.deals, row.returns) == ("r1", "r2", 1, 2)
    assert row.extra_days == 6.0 + 0.0  # from the first return until it was won
    assert row.examples == ["d000"]
    with pytest.raises(DataError, match="`owners` has 2 entries"):
        ping_pong.ping_pong(log, ["r1", "r2"])


def test_the_companys_own_log(company: Warehouse) -> None:
    log = event_log(company, as_of=datetime(2026, 2, 1))
    found = rework.rework(log).set_index("stage")
    assert found.index.tolist() == ["Lead", "Offer"]
    assert found.loc["Lead", "returned"] == 1
    assert found.loc["Lead", "extra_days"] == 6.0
    assert (
        np.isnan(found.loc["Lead", "extra_amount_days"])
        or found.loc["Lead", "extra_amount_days"] == 0
    )
    assert first_pass.first_pass_yield(log).entered.tolist() == [4, 3]
    assert skipped_stages.skipped_stages(log).skipped.tolist() == [0, 0]
    assert ping_pong.ping_pong(log).empty


def test_totals_hold_the_truth_as_often_as_promised() -> None:
    """Deals come by chance, and each brings days by chance: the interval is about the expected sum."""
    held = []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        size = rng.poisson(80)
        days, case = rng.exponential(5, size), np.arange(size)
        found = rework.totals("x", np.zeros(size, int), case, days, 1, 0.9, seed)
        held.append(found["x_low"][0] <= 400 <= found["x_high"][0])
    assert 0.82 <= np.mean(held) <= 0.97


def test_helpdesk_in_any_row_order(helpdesk: pd.DataFrame) -> None:
    """Real tickets: what is counted does not hang on the order of rows, and adds up."""
    log = helpdesk.drop_duplicates(["case:concept:name", "time:timestamp"])
    shuffled = log.sample(frac=1, random_state=1)
    for table in (rework.rework, first_pass.first_pass_yield, skipped_stages.skipped_stages,
                  ping_pong.ping_pong):  # fmt: skip
        pd.testing.assert_frame_equal(table(log), table(shuffled))
    counts = log.groupby(["case:concept:name", "concept:name"]).size()
    again = (counts - 1).groupby("concept:name").sum()
    ours = rework.rework(log).set_index("stage")["visits_again"]
    assert (ours == again.reindex(ours.index)).all()
