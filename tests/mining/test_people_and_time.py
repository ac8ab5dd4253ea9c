"""Hand-overs, loads, dots and the spectrum: counted again by hand, by pm4py, and on real logs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from importlib import import_module
from itertools import pairwise
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pm4py
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.errors import DataError, SchemaError, UsageError
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.event_log import event_log
from salesops_ml.mining.steps import NEVER, WON, as_steps
from salesops_ml.mining.transitions import transitions
from salesops_ml.warehouse import Warehouse
from tests.mining.conftest import made_log

dots = import_module("salesops_ml.mining.dotted_chart")
hand = import_module("salesops_ml.mining.handovers")
spectrum = import_module("salesops_ml.mining.performance_spectrum")
load = import_module("salesops_ml.mining.rep_load")

CASE, ACTIVITY, TIME, REP = "case:concept:name", "concept:name", "time:timestamp", "org:resource"
DAY = datetime(2026, 1, 5)
AS_OF = datetime(2026, 2, 1)
ENDS: dict[str, Any] = {"won": ["S3"], "lost": ["S2"], "as_of": AS_OF}


def held_log(cases: int = 60, seed: int = 3, **shape: int) -> pd.DataFrame:
    """A random log with reps, a few of them unknown."""
    log = made_log(cases, seed, **shape)
    rng = np.random.default_rng(seed)
    reps = np.array(["Ann", "Bo", "Cy", "Di", None], dtype=object)
    return log.assign(**{REP: reps[rng.choice(5, len(log), p=[0.3, 0.3, 0.2, 0.15, 0.05])]})


def in_order(log: pd.DataFrame) -> pd.DataFrame:
    return log.sort_values([CASE, TIME], kind="stable")


def frame_equal(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other, check_dtype=False)


# hand-overs


def pairs_by_hand(log: pd.DataFrame) -> dict[tuple[str, str], list[tuple[str, str, float]]]:
    found = defaultdict(list)
    for case, rows in in_order(log).groupby(CASE):
        events = rows[[REP, ACTIVITY, TIME]].to_numpy().tolist()
        for (giver, _, then), (taker, stage, now) in pairwise(events):
            if giver is not None and taker is not None and giver != taker:
                days = (now - then) / timedelta(days=1)
                found[giver, taker].append((case, stage, days))
    return found


def test_handovers_are_those_of_a_loop_by_hand() -> None:
    log = held_log()
    told = hand.handovers(log).set_index(["source", "target"])
    by_hand = pairs_by_hand(log)
    assert set(told.index) == set(by_hand)
    total = sum(map(len, by_hand.values()))
    for pair, found in by_hand.items():
        row = told.loc[pair]
        waits = [days for _, _, days in found]
        assert row["count"] == len(found)
        assert row["share"] == pytest.approx(len(found) / total)
        assert row["cases"] == len({case for case, _, _ in found})
        assert row["wait_p50_days"] == pytest.approx(np.quantile(waits, 0.5))
        assert row["wait_p90_days"] == pytest.approx(np.quantile(waits, 0.9))
        stages = Counter(stage for _, stage, _ in found)
        assert row["stage"] == min(stages, key=lambda name: (-stages[name], name))
    assert list(told["count"]) == sorted(told["count"], reverse=True)


def test_handovers_are_those_of_pm4py(helpdesk: pd.DataFrame) -> None:
    """pm4py counts a pair's share of all successions, those within one rep counted too."""
    theirs = pm4py.discover_handover_of_work_network(helpdesk, beta=0).connections
    reps = in_order(helpdesk)[REP].astype(str).to_numpy()
    case = in_order(helpdesk)[CASE].to_numpy()
    successions = int((case[1:] == case[:-1]).sum())
    ours = hand.handovers(helpdesk).set_index(["source", "target"])["count"]
    wanted = {pair: round(share * successions) for pair, share in theirs.items()}
    assert ours.to_dict() == {
        pair: count for pair, count in wanted.items() if pair[0] != pair[1] and count
    }
    assert len(ours) > 20
    assert len(set(reps)) > 10


@pytest.mark.parametrize("kind", ["arrow", "ibis", "kinds"])
def test_handovers_are_the_same_from_any_table(kind: str) -> None:
    log = held_log()
    known = {"won": ["S3"], "lost": ["S2"], "as_of": AS_OF}
    wanted = hand.handovers(log, **known)
    if kind == "arrow":
        frame_equal(hand.handovers(pa.Table.from_pandas(log), **known), wanted)
    elif kind == "ibis":
        frame_equal(hand.handovers(ibis.memtable(log), **known), wanted)
    else:
        steps = as_steps(log, **known)
        seen = in_order(log[log[TIME] <= pd.Timestamp(AS_OF, tz="UTC")])
        kinds = pd.DataFrame({"rep": seen[REP].to_numpy()})
        frame_equal(hand.handovers(steps, kinds), wanted)


def test_win_rates_after_a_handover_leave_open_deals_censored() -> None:
    moves = {"a": "Won", "b": "Lost", "c": None, "d": "Won"}
    rows = []
    for case, end in moves.items():
        rows += [(case, "Lead", "Ann", DAY), (case, "Offer", "Bo", DAY + timedelta(days=2))]
        rows += [(case, end, "Bo", DAY + timedelta(days=4))] if end else []
    log = pd.DataFrame(rows, columns=[CASE, ACTIVITY, REP, TIME])
    told = hand.handovers(log, as_of=DAY + timedelta(days=30), won=["Won"], lost=["Lost"])
    assert told.loc[0, ["source", "target", "count", "stage"]].tolist() == ["Ann", "Bo", 4, "Offer"]
    assert told.loc[0, "win_rate_after"] == pytest.approx(2 / 3)


def test_the_warehouse_says_who_held_a_deal(company: Warehouse) -> None:
    log = event_log(company, as_of=DAY + timedelta(days=20))
    assert hand.handovers(log).empty
    assert list(hand.handovers(log).columns) == list(hand.COLUMNS)
    told = load.rep_load(log)
    assert set(told.rep) == {"r1"}
    assert told.open_deals.iloc[-1] == 1
    assert told.amount.iloc[-1] == 70.0


def test_a_log_without_reps_is_refused_by_name() -> None:
    log = made_log(5, 1)
    with pytest.raises(SchemaError, match="org:resource"):
        hand.handovers(log)
    with pytest.raises(UsageError, match="`Steps` do not say who acted"):
        load.rep_load(as_steps(log))
    with pytest.raises(DataError, match="`kinds` has 1 rows"):
        load.rep_load(log, pd.DataFrame({"rep": ["Ann"]}))


# loads


def load_by_hand(log: pd.DataFrame, moment: pd.Timestamp, as_of: datetime) -> Counter[str]:
    """Who holds which open deals at a moment, from what was seen by `as_of`."""
    held: Counter[str] = Counter()
    seen = in_order(log[log[TIME] <= pd.Timestamp(as_of, tz="UTC")])
    for _, rows in seen.groupby(CASE):
        past = rows[rows[TIME] <= moment]
        if past.empty or past[ACTIVITY].isin(["S2", "S3"]).any():
            continue
        rep = past[REP].iloc[-1]
        if rep is not None:
            held[rep] += 1
    return held


def test_loads_are_those_of_a_loop_by_hand() -> None:
    log = held_log(cases=90, length=9, names=9, seed=5)
    told = load.rep_load(log, **ENDS)
    assert told.week_start.dt.dayofweek.eq(0).all()
    for week, rows in told.groupby("week_start"):
        moment = min(week + timedelta(days=7) - timedelta(microseconds=1), pd.Timestamp(AS_OF))
        held = load_by_hand(log, pd.Timestamp(moment, tz="UTC"), AS_OF)
        assert dict(zip(rows.rep, rows.open_deals, strict=True)) == {
            rep: held.get(rep, 0) for rep in rows.rep
        }
        busy = [count for count in held.values() if count]
        if busy:
            assert rows.team_p50.iloc[0] == np.quantile(busy, 0.5)
            assert rows.team_p90.iloc[0] == pytest.approx(np.quantile(busy, 0.9))
    assert told.open_deals.max() > 5


def test_every_deal_is_taken_and_every_win_is_somebodys() -> None:
    log = held_log(cases=90, seed=5).assign(**{REP: "Ann"})
    told = load.rep_load(log, **ENDS)
    steps = as_steps(log, **ENDS)
    closed = np.where(steps.closed == NEVER, np.iinfo(np.int64).max, steps.closed)
    opened = steps.first & ~steps.closing[steps.activity] & (steps.at < closed[steps.case])
    assert 0 < told.taken.sum() == int(opened.sum())
    assert 0 < told.won.sum() == int((steps.outcome == WON).sum())


def steady(weeks: int, then: int) -> pd.DataFrame:
    """One rep with two new deals a week, each closed after a week, and at last many."""
    rows = []
    for week in range(weeks):
        for turn in range(2 if week < weeks - 1 else then):
            begin = DAY + timedelta(days=7 * week + 1, hours=turn)
            rows += [(f"{week}-{turn}", "Lead", "Ann", begin),
                     (f"{week}-{turn}", "Won", "Ann", begin + timedelta(days=7))]  # fmt: skip
    return pd.DataFrame(rows, columns=[CASE, ACTIVITY, REP, TIME])


def test_more_than_usual_is_told_from_the_weeks_before_alone() -> None:
    log = steady(14, then=9)
    told = load.rep_load(log, as_of=DAY + timedelta(days=7 * 14 - 1), won=["Won"])
    assert told.own_p90.isna().sum() == load.FEW_WEEKS
    assert told.above_usual.tolist() == [False] * 13 + [True]
    shorter = load.rep_load(log, as_of=DAY + timedelta(days=7 * 12 - 1), won=["Won"])
    frame_equal(told.head(11), shorter.head(11))


def test_amounts_are_those_known_at_the_entry_where_they_are_given() -> None:
    log = steady(2, then=2)
    steps = as_steps(log, as_of=DAY + timedelta(days=13), won=["Won"])
    kinds = pd.DataFrame(
        {"rep": ["Ann"] * len(steps.case), "amount": 10.0 + np.arange(len(steps.case))}
    )
    told = load.rep_load(steps, kinds)
    assert told.open_deals.tolist() == [2, 2]
    amounts = kinds.amount[~steps.closing[steps.activity]].tolist()
    assert told.amount.tolist() == [sum(amounts[:2]), sum(amounts[2:])]
    assert load.rep_load(log, as_of=DAY + timedelta(days=13), won=["Won"]).amount.isna().all()


# dots


@given(st.integers(0, 200), st.integers(1, 40))
def test_a_thinned_chart_stands_for_every_deal(cases: int, most: int) -> None:
    log = made_log(cases, 2) if cases else made_log(1, 2).head(0)
    told = dots.dotted_chart(log, most_cases=most)
    per_case = told.drop_duplicates("case_id")
    assert len(per_case) == min(cases, most)
    assert per_case.stands_for.sum() == cases
    if cases:
        assert per_case.stands_for.max() - per_case.stands_for.min() <= 1
        assert sorted(per_case["row"]) == list(range(len(per_case)))


def test_dots_are_the_events_in_the_order_of_their_deals_begins() -> None:
    log = made_log(40, 7)
    told = dots.dotted_chart(log, **ENDS)
    seen = log[log[TIME] <= pd.Timestamp(AS_OF, tz="UTC")]
    begins = seen.groupby(CASE)[TIME].min()
    assert len(told) == len(seen)
    order = sorted(begins.index, key=lambda case: (begins[case], case))
    assert list(told.drop_duplicates("case_id").case_id) == order
    for case, rows in told.groupby("case_id"):
        own = in_order(seen[seen[CASE] == case])
        assert rows.stage.tolist() == own[ACTIVITY].tolist()
        lasted = (own[TIME] - begins[case]) / timedelta(days=1)
        assert rows.days.to_numpy() == pytest.approx(lasted.to_numpy())
        closing = own[own[ACTIVITY].isin(["S2", "S3"])]
        wanted = "open" if closing.empty else {"S3": "won", "S2": "lost"}[closing[ACTIVITY].iloc[0]]
        assert set(rows.outcome) == {wanted}
        ends = pd.Timestamp(AS_OF) if closing.empty else closing[TIME].iloc[0].tz_localize(None)
        assert set(rows.ended_at) == {ends}


def test_a_chart_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="most_cases"):
        dots.dotted_chart(made_log(3, 1), most_cases=0)


# spectrum


def test_the_spectrum_counts_what_the_transitions_count(bpi_2012: pd.DataFrame) -> None:
    told = spectrum.performance_spectrum(bpi_2012)
    counts = told.groupby(["source", "target"])["count"].sum()
    edges = transitions(bpi_2012)
    edges = edges[edges.kind == "step"].set_index(["source", "target"])["count"]
    frame_equal(counts.sort_index().to_frame(), edges.sort_index().to_frame())
    assert (told[list(spectrum.CLASSES)].sum(axis=1) == told["count"]).all()
    assert told.waiting.sum() == 0
    assert told.grain.unique().tolist() == ["week"]


def test_passings_are_those_of_pm4py(helpdesk: pd.DataFrame) -> None:
    """pm4py takes out all other activities first; so does the test, for ours."""
    pair = helpdesk[ACTIVITY].value_counts().index[:2].tolist()
    alone = helpdesk[helpdesk[ACTIVITY].isin(pair)]
    theirs = pm4py.algo.discovery.performance_spectrum.algorithm.apply(
        alone.assign(**{TIME: alone[TIME].dt.as_unit("ns")}),
        pair,
        parameters={"sample_size": 10**9},
    )
    wanted = sorted(tuple(round(moment) for moment in one) for one in theirs["points"])
    ours = spectrum.spectrum_passings(alone)
    ours = ours[(ours.source == pair[0]) & (ours.target == pair[1])]
    seconds = [
        (ours[name].astype("datetime64[s]").astype("int64")) for name in ("entered_at", "left_at")
    ]
    assert sorted(zip(*seconds, strict=True)) == wanted
    assert len(wanted) > 1000


def test_classes_are_quarters_of_the_segments_durations() -> None:
    log = held_log(cases=200, names=3)
    told = spectrum.spectrum_passings(log)
    for _, rows in told.groupby(["source", "target"]):
        cuts = np.quantile(rows.days, [0.25, 0.5, 0.75])
        wanted = np.array(spectrum.CLASSES)[np.searchsorted(cuts, rows.days, side="left")]
        assert rows["class"].tolist() == wanted.tolist()
        assert ((rows.left_at - rows.entered_at) / timedelta(days=1)).to_numpy() == pytest.approx(
            rows.days.to_numpy()
        )


@pytest.mark.parametrize("grain", spectrum.GRAINS)
def test_bins_are_those_of_pandas(grain: str) -> None:
    log = held_log(cases=80, names=3)
    told = spectrum.performance_spectrum(log, grain=grain)
    each = spectrum.spectrum_passings(log)
    periods = each.entered_at.dt.to_period(
        {"day": "D", "week": "W", "month": "M", "quarter": "Q"}[grain]
    )
    each = each.assign(bin_start=periods.dt.start_time)
    wanted = each.groupby(["source", "target", "bin_start"]).size()
    ours = told.set_index(["source", "target", "bin_start"])["count"]
    assert ours.to_dict() == wanted.to_dict()


def test_deals_that_wait_are_told_beside_those_that_moved() -> None:
    rows = [(f"c{k}", "Lead", DAY + timedelta(days=7 * k)) for k in range(4)]
    rows += [(f"c{k}", "Offer", DAY + timedelta(days=7 * k + 2)) for k in range(2)]
    log = pd.DataFrame(rows, columns=[CASE, ACTIVITY, TIME])
    known = {"won": ["Won"], "as_of": DAY + timedelta(days=60), "grain": "week"}
    told = spectrum.performance_spectrum(log, **known)
    assert told["count"].tolist() == [1, 1, 0, 0]
    assert told.waiting.tolist() == [0, 0, 1, 1]
    assert (told.passings == 2).all()
    working = spectrum.performance_spectrum(log, clock=Clock(working=True), **known)
    assert working.p50_days.tolist() == told.p50_days.tolist() == [2.0] * 4


def test_the_busiest_segments_can_be_asked_for_and_wrong_grains_are_refused() -> None:
    log = held_log()
    every, few = spectrum.performance_spectrum(log), spectrum.performance_spectrum(log, limit=3)
    assert len(few.drop_duplicates(["source", "target"])) == 3
    frame_equal(few, every.head(len(few)))
    assert few.passings.min() >= every.passings[len(few) :].max()
    with pytest.raises(UsageError, match="`grain`: 'year' is not known"):
        spectrum.performance_spectrum(log, grain="year")


MINED: dict[str, Callable[..., pd.DataFrame]] = {
    "handovers": hand.handovers, "load": load.rep_load, "dots": dots.dotted_chart,
    "spectrum": spectrum.performance_spectrum, "passings": spectrum.spectrum_passings,
}  # fmt: skip


@pytest.mark.parametrize("name", MINED)
@settings(max_examples=12)
@given(st.integers(5, 60), st.integers(0, 50), st.integers(1, 25))
def test_nothing_sees_the_future(name: str, cases: int, seed: int, days: int) -> None:
    """Looking back at a day gives what one would have seen on that day."""
    log = held_log(cases, seed)
    then = datetime(2026, 1, 1) + timedelta(days=days)
    known = ENDS | {"as_of": then}
    before = log[log[TIME] <= pd.Timestamp(then, tz="UTC")]
    frame_equal(MINED[name](log, **known), MINED[name](before, **known))


@pytest.mark.parametrize("name", MINED)
@settings(max_examples=12)
@given(st.integers(5, 60), st.integers(0, 50))
def test_the_order_of_rows_does_not_matter(name: str, cases: int, seed: int) -> None:
    """But for events of one deal at one moment, which keep the order of their rows."""
    log = held_log(cases, seed).drop_duplicates([CASE, TIME])
    shuffled = log.sample(frac=1, random_state=seed)
    frame_equal(MINED[name](log, **ENDS), MINED[name](shuffled, **ENDS))


def test_an_empty_log_gives_empty_frames_with_their_columns() -> None:
    log = held_log().head(0).astype({CASE: object, ACTIVITY: object, REP: object})
    for told, columns in (
        (hand.handovers(log), hand.COLUMNS), (load.rep_load(log), load.COLUMNS),
        (dots.dotted_chart(log), dots.COLUMNS), (spectrum.performance_spectrum(log), spectrum.COLUMNS),
        (spectrum.spectrum_passings(log), spectrum.PASS_COLUMNS),
    ):  # fmt: skip
        assert told.empty
        assert list(told.columns) == list(columns)
