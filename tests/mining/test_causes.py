"""Causes and rules in worlds whose truth is known: what is planted comes first, chance is not found."""

from __future__ import annotations

from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush
from importlib import import_module

import numpy as np
import pandas as pd
import pytest

from salesops_ml.errors import DataError
from salesops_ml.mining import rules
from salesops_ml.mining.causes import causes
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.event_log import event_log
from salesops_ml.mining.questions import WHOLE, questions
from salesops_ml.mining.rules import rule_list
from salesops_ml.mining.segments import segments
from salesops_ml.mining.stages import stage_order
from salesops_ml.mining.steps import as_steps
from salesops_ml.mining.visits import stays_of
from salesops_ml.synthetic import Bottleneck, WorldParameters, generate
from salesops_ml.warehouse import Warehouse
from tests.mining.conftest import made_log

module = import_module("salesops_ml.mining.causes")

UNTIL = datetime(2026, 12, 1)
LOAD = 8


def mined(world: WorldParameters) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Causes and rules of a synthetic company at the end of its record."""
    as_of = datetime.combine(world.end, datetime.min.time()) + timedelta(days=1)
    with Warehouse.in_memory(generate(world)) as warehouse:
        log = event_log(warehouse, as_of=as_of)
        kinds = segments(warehouse, log, as_of=as_of)
        return causes(log, kinds), rule_list(log, kinds)


@pytest.fixture(scope="module")
def emea() -> tuple[pd.DataFrame, pd.DataFrame]:
    planted = (Bottleneck("Negotiation", "region", "EMEA", 0.3),)
    return mined(WorldParameters(deals=2500, years=2.0, seed=31, planted=planted))


def test_the_planted_cause_comes_first(emea: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    first = emea[0].iloc[0]
    assert (first.outcome, first.stage, first.cause) == (
        "slow",
        "Negotiation",
        "account region EMEA",
    )
    assert first.finding
    assert 0.5 * 0.3 < first.pace < 1.6 * 0.3
    assert first.pace_low < first.pace < first.pace_high
    assert first.dwell_p50_days > 1.5 * first.others_p50_days
    assert first.days_more_low < first.days_more < first.days_more_high
    assert f"In Negotiation, deals with account region EMEA move at {first.pace:.0%}" in first.text


def test_what_loses_deals_is_found(emea: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """Outbound leads are lost more often by the laws of the synthetic company."""
    found = emea[0]
    lost = found[(found.outcome == "lost") & (found.cause == "lead source Outbound")]
    lost = lost.set_index("stage").loc[WHOLE]
    assert lost.finding
    assert lost.win_rate < lost.others_win_rate
    assert lost.win_points_low < lost.win_points < lost.win_points_high < 0
    assert lost.text.startswith("From the first event on, deals with lead source Outbound are won")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "stage", "cause", "value", "told"),
    [
        (32, "Contract", "discount", "", "discount > 20%"),
        (34, "Proposal", "product", "Plus", "product Plus"),
    ],
)
def test_other_planted_causes_come_first_too(
    seed: int, stage: str, cause: str, value: str, told: str
) -> None:
    planted = (Bottleneck(stage, cause, value, 0.3),)  # type: ignore[arg-type]
    found, _ = mined(WorldParameters(deals=4000, years=2.0, seed=seed, planted=planted))
    assert (found.iloc[0].stage, found.iloc[0].cause) == (stage, told)


def test_the_rule_list_names_the_planted_kind(emea: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    rule = emea[1].iloc[0]
    assert rule.rule == "stage Negotiation and account region EMEA"
    assert rule.finding
    assert rule.pace_high < 0.5
    counts = emea[1].groupby("outcome").size()
    assert counts.max() <= rules.MOST_RULES
    assert emea[1].conditions.between(1, rules.MOST_CONDITIONS).all()


def test_the_frames_are_ordered_and_typed(emea: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    for frame, described in zip(emea, (module.COLUMNS, rules.COLUMNS), strict=True):
        assert list(frame.columns) == list(described)
        for _, part in frame.groupby("outcome"):
            assert part["rank"].tolist() == list(range(1, len(part) + 1))
        assert frame.q_value.ge(frame.p_value - 1e-12).all()
        assert frame.examples.map(len).max() == 5
    found = emea[0]
    assert found[found.finding].text.notna().all()
    assert found[~found.finding].text.isna().all()
    lost = found.outcome == "lost"
    assert found[lost].pace.isna().all()
    assert found[~lost].win_points.isna().all()
    harms = np.where(lost, found.win_points < 0, found.pace < 1)
    assert harms[found.finding].all()


def test_hands_and_hours_are_asked(emea: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    asked = set(emea[0].attribute)
    assert {"rep", "rep_team", "rep_load", "entry_weekday", "entry_hour", "product"} <= asked
    assert set(emea[0].stage) >= {WHOLE, "Lead", "Contract"}


def chance(seed: int, *, busy: float = 1.0, deals: int = 1500) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A log of three stages with properties that mean nothing; but reps with over `LOAD` other open
    deals at the entry take `busy` times as long."""
    rng = np.random.default_rng(seed)
    rep = rng.integers(0, 12, deals)
    start = np.sort(rng.uniform(0, 300.0, deals))
    waiting = [(start[deal], deal, 0) for deal in range(deals)]
    heapify(waiting)
    held = np.zeros(12, dtype=int)
    rows = []
    while waiting:
        moment, deal, turn = heappop(waiting)
        held[rep[deal]] -= turn > 0
        name = ("Lead", "Offer", "Talks", "Won")[turn] if turn <= 3 else "Lost"
        rows.append((f"d{deal:04}", name, moment, f"r{rep[deal]:02}"))
        if turn < 3:
            wait = rng.exponential(6.0 * (busy if held[rep[deal]] > LOAD else 1.0))
            held[rep[deal]] += 1
            lost = rng.random() < 0.2
            heappush(waiting, (moment + wait, deal, 4 if lost else turn + 1))
    frame = pd.DataFrame(rows, columns=["case:concept:name", "concept:name", "days", "rep"])
    frame = frame.sort_values(["case:concept:name", "days"], ignore_index=True)
    times = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(frame.pop("days"), unit="D")
    frame.insert(2, "time:timestamp", times)
    frame = frame[times < pd.Timestamp(UNTIL, tz="UTC")].reset_index(drop=True)
    made = {name: rng.choice(list("ABC"), deals) for name in ("product", "region")}
    made["amount"] = rng.lognormal(9, 1, deals)
    case = frame["case:concept:name"].str[1:].astype(int).to_numpy()
    kinds = pd.DataFrame({name: values[case] for name, values in made.items()})
    return frame.drop(columns="rep"), kinds.assign(rep=frame.rep)


def test_where_nothing_matters_hardly_anything_is_found() -> None:
    """Each log holds a false finding with a chance of one in ten: of five, three or more do so
    one time in a hundred."""
    hits = 0
    for seed in range(5):
        log, kinds = chance(seed)
        hits += causes(log, kinds, won=["Won"], lost=["Lost"], as_of=UNTIL).finding.any()
    assert hits <= 2


def test_rules_of_chance_are_seldom_confirmed() -> None:
    hits = 0
    for seed in range(5):
        log, kinds = chance(seed)
        hits += rule_list(log, kinds, won=["Won"], lost=["Lost"], as_of=UNTIL).finding.any()
    assert hits <= 2


def test_the_strongest_cause_does_not_depend_on_the_order_of_the_log() -> None:
    log, kinds = chance(3)
    mixed = np.random.default_rng(0).permutation(len(log))
    shuffled = log.iloc[mixed].reset_index(drop=True)
    one = causes(log, kinds, won=["Won"], lost=["Lost"], as_of=UNTIL)
    other = causes(shuffled, kinds, won=["Won"], lost=["Lost"], as_of=UNTIL)
    pd.testing.assert_frame_equal(one, other)
    a = rule_list(log, kinds, won=["Won"], lost=["Lost"], as_of=UNTIL)
    pd.testing.assert_frame_equal(
        a, rule_list(shuffled, kinds, won=["Won"], lost=["Lost"], as_of=UNTIL)
    )


def test_busy_reps_are_found_to_be_slow() -> None:
    log, kinds = chance(5, busy=3.0)
    found = causes(log, kinds, won=["Won"], lost=["Lost"], as_of=UNTIL)
    named = found[found.finding & (found.outcome == "slow")]
    assert named.iloc[0].attribute == "rep_load"
    assert named.iloc[0].value in ("> 7", "> 8", "> 9")
    assert 0.28 < named.iloc[0].pace < 0.45


def test_open_deals_are_censored_not_slow_or_lost() -> None:
    """Following all deals for longer changes what is known, not what a question means."""
    log, _ = chance(6)
    steps = as_steps(log, won=["Won"], lost=["Lost"], as_of=UNTIL)
    stays = stays_of(steps, stage_order(steps), Clock())
    for question in questions(steps, stays, Clock()):
        waiting = np.isin(question.case, np.flatnonzero(steps.outcome == 0))
        if question.outcome == "lost":
            assert (question.ended == ~waiting).all()
        assert not (question.good & ~question.ended).any()
        assert (question.days >= 0).all()


def test_nothing_after_the_day_is_read() -> None:
    """A log cut at the day, and whole: the same causes and rules at that day."""
    log, kinds = chance(7, busy=3.0)
    day = datetime(2026, 7, 1)
    seen = (log["time:timestamp"] <= pd.Timestamp(day, tz="UTC")).to_numpy()
    cut, then = log[seen].reset_index(drop=True), kinds[seen].reset_index(drop=True)
    whole = as_steps(log, won=["Won"], lost=["Lost"], as_of=day)
    assert len(whole.case) == seen.sum()
    ends = {"won": ["Won"], "lost": ["Lost"], "as_of": day}
    found = causes(cut, then, **ends)
    pd.testing.assert_frame_equal(found, causes(log, then, **ends))
    assert found.finding.any()
    pd.testing.assert_frame_equal(rule_list(cut, then, **ends), rule_list(log, then, **ends))


def test_a_log_without_outcomes_asks_for_paces_alone() -> None:
    found = causes(made_log(400, 2))
    assert set(found.outcome) == {"slow"}
    assert set(found.attribute) <= {"entry_weekday", "entry_hour"}
    assert rule_list(made_log(400, 2)).outcome.isin(["slow"]).all()


def test_a_log_of_nothing_or_little_gives_empty_frames() -> None:
    for log in (made_log(5, 1).head(0), made_log(5, 1)):
        for frame, described in (
            (causes(log), module.COLUMNS), (rule_list(log), rules.COLUMNS)
        ):  # fmt: skip
            assert frame.empty
            assert list(frame.columns) == list(described)


def test_kinds_must_fit_the_log() -> None:
    with pytest.raises(DataError, match="`kinds` has 1 rows for a log of"):
        causes(made_log(20, 1), pd.DataFrame({"product": ["A"]}))


def test_the_helpdesks_log_is_explained_by_its_hands_and_hours(helpdesk: pd.DataFrame) -> None:
    kinds = pd.DataFrame({"rep": helpdesk["org:resource"]})
    found = causes(helpdesk, kinds)
    assert set(found.attribute) <= {
        "rep",
        "rep_load",
        "owner_changed",
        "entry_weekday",
        "entry_hour",
    }
    assert found.finding.any()
    stay = found[(found.stage == "Resolve ticket") & (found.attribute == "owner_changed")].iloc[0]
    assert stay.cases + stay.others >= helpdesk["case:concept:name"].nunique() * 0.9
    rules_of_it = rule_list(helpdesk, kinds)
    assert rules_of_it.rule.str.contains("stage ").any()
    assert not rules_of_it.rule.str.contains(r"\brep rep|\brep Value", regex=True).any()
