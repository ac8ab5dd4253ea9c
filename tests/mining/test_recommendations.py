"""Recommendations: ranked by what they rest on and by money, and not a number that is not a fact."""

from __future__ import annotations

import re
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesops_ml.errors import SchemaError
from salesops_ml.figures.recommendation_words import COLUMNS as SAID
from salesops_ml.figures.recommendation_words import worded
from salesops_ml.mining.bottlenecks import bottlenecks
from salesops_ml.mining.event_log import event_log
from salesops_ml.mining.recommendations import recommendations
from salesops_ml.mining.segments import segments
from salesops_ml.synthetic import Bottleneck, WorldParameters, generate
from salesops_ml.warehouse import Warehouse
from tests.mining.conftest import made_log

module = import_module("salesops_ml.mining.recommendations")

NUMBER = re.compile(
    r"(?P<less>fewer than |<)?(?P<minus>−)?[€$]?(?P<figure>\d[\d,]*(?:\.\d+)?)(?P<unit>%|[kMB]\b)?"
    r"(?: (?:to −?[\d.]+ )?(?P<word>points|days?|hours?|minutes?|seconds?)\b)?"
)
SCALE = {
    "%": 0.01, "k": 1e3, "M": 1e6, "B": 1e9, "points": 0.01, "hour": 1 / 24, "minute": 1 / 1440,
    "second": 1 / 86_400, "day": 1.0,
}  # fmt: skip


def slow_kind(**other: Any) -> dict[str, Any]:
    return {
        "kind": "segment", "finding": True, "stage": "Legal 2", "segment": "discount > 20%",
        "attribute": "discount", "value": "> 20%", "pace": 0.413, "q_value": 0.0123,
        "cost_per_month": 118_300.0, "cost_low": 61_000.0, "cost_high": 190_400.0,
        "wins_per_month": 2.34, "delay_days": 6.21, "cases": 57, "open_now": 4, "amount_now": 88_000.0,
        "examples": ["d-101", "d-77"], "gain_at_target_per_month": np.nan,
        "share_past_target": np.nan, "target_days": np.nan,
    } | other  # fmt: skip


def stage(**other: Any) -> dict[str, Any]:
    return slow_kind(
        kind="stage", finding=False, stage="Offer", attribute=None, value=None, segment=None,
        cost_per_month=0.0, share_past_target=0.617, target_days=12.0, q_value=np.nan,
        gain_at_target_per_month=45_600.0,
    ) | other  # fmt: skip


def cause(**other: Any) -> dict[str, Any]:
    return {
        "outcome": "lost", "finding": True, "stage": "whole deal", "attribute": "owner_changed",
        "value": "yes", "q_value": 0.0004, "cases": 410, "win_points": -0.1234,
        "win_points_low": -0.2, "win_points_high": -0.05, "win_rate": 0.21, "others_win_rate": 0.34,
        "open_now": 38, "amount_now": 1_250_000.0, "examples": ["d-9"], "pace": np.nan,
        "pace_low": np.nan, "pace_high": np.nan, "days_more": np.nan,
    } | other  # fmt: skip


def differing(**other: Any) -> dict[str, Any]:
    return {
        "stage": "Demo", "returned": 61, "extra_days": 612.4, "win_rate_with": 0.18,
        "win_rate_without": 0.31, "win_rate_difference": -0.13, "win_rate_difference_low": -0.21,
        "win_rate_difference_high": -0.04, "one": "Demo", "other": "Offer", "deals": 23,
        "skipped": 44, "reached_later": 310, "win_rate_skipped": 0.11, "win_rate_visited": 0.29,
    } | other  # fmt: skip


def broken(**other: Any) -> dict[str, Any]:
    return {
        "rule": "Four eyes above 50k", "count": 31, "cases": 29, "amount": 2_300_000.0,
        "win_rate_difference": -0.08, "low": -0.15, "high": -0.01,
    } | other  # fmt: skip


def everything() -> dict[str, pd.DataFrame]:
    return {
        "bottlenecks": pd.DataFrame([slow_kind(), slow_kind(stage="Demo", cost_per_month=9e5), stage()]),
        "causes": pd.DataFrame([
            cause(),
            cause(outcome="slow", stage="Offer", attribute="rep", value="Ann", pace=0.7, pace_low=0.6,
                  pace_high=0.82, days_more=3.3, win_points=np.nan, win_points_low=np.nan,
                  win_points_high=np.nan, amount_now=3e5),
        ]),
        "rework": pd.DataFrame([differing()]),
        "ping_pong": pd.DataFrame([differing()]),
        "skipped": pd.DataFrame([differing()]),
        "violations": pd.DataFrame([
            broken(win_rate_broken=0.21, win_rate_kept=0.29, kind="four_eyes"),
            broken(rule="No skips", high=0.02, count=1, cases=1, kind="required"),
            broken(rule="skips Offer", kind="model", win_rate_difference=-0.01),
        ]),
    }  # fmt: skip


def texts_taken_out(sentence: str, row: pd.Series) -> str:
    """The sentence without names and ids, whose digits are no numbers."""
    names = [str(value) for value in row.facts.values() if isinstance(value, str)]
    for name in sorted([*names, *row.examples], key=len, reverse=True):
        if name:
            sentence = sentence.replace(name, "·")
    return sentence


def unfounded(sentence: str, row: pd.Series) -> list[str]:
    """Numbers of the sentence that round from no number of the row."""
    facts = [float(v) for v in row.facts.values() if isinstance(v, (int, float, np.number))]
    wrong = []
    for found in NUMBER.finditer(texts_taken_out(sentence, row)):
        figure = found["figure"].replace(",", "")
        scale = SCALE.get(found["unit"] or "", 1.0) * SCALE.get(
            (found["word"] or "").rstrip("s"), 1.0
        )
        if found["word"] == "points":
            scale = 0.01
        digits = len(figure.partition(".")[2])
        said, half = float(figure) * scale, 0.5 * 10**-digits * scale
        if found["less"]:
            fits = any(0 <= fact < said for fact in facts)
        else:
            fits = any(abs(abs(fact) - said) <= half * 1.0001 for fact in facts)
        if not fits:
            wrong.append(found[0])
    return wrong


def test_every_number_said_is_a_fact() -> None:
    told = worded(recommendations(**everything()))
    assert len(told) == 11
    for _, row in told.iterrows():
        for name in SAID:
            assert unfounded(row[name], row) == [], row[name]
    said = " ".join(told.finding)
    assert len(NUMBER.findall(said)) > 25


def test_the_check_itself_finds_a_number_that_is_made_up() -> None:
    row = recommendations(pd.DataFrame([slow_kind()])).iloc[0]
    assert unfounded("That costs €118k, in 6.2 days, at 41%.", row) == []
    assert unfounded("That costs €119k, or 3 wins, at 43%.", row) == ["€119k", "3", "43%"]


@given(
    cost=st.floats(1, 1e10), pace=st.floats(0.001, 0.999), days=st.floats(0.001, 400),
    q_value=st.floats(0, 0.0999), cases=st.integers(1, 10**6),
)  # fmt: skip
def test_whatever_the_numbers_they_are_said_as_they_are(
    cost: float, pace: float, days: float, q_value: float, cases: int
) -> None:
    row = slow_kind(
        cost_per_month=cost, cost_low=cost / 3, cost_high=cost * 3, pace=pace, delay_days=days,
        q_value=q_value, cases=cases,
    )  # fmt: skip
    told = worded(recommendations(pd.DataFrame([row]))).iloc[0]
    assert unfounded(f"{told.finding} {told.confidence} {told.what_to_do}", told) == []


def test_the_order_is_by_what_it_rests_on_and_then_by_money() -> None:
    told = recommendations(**everything())
    assert told["rank"].tolist() == list(range(1, 12))
    assert told.kind.tolist() == [
        "slow kind", "slow kind", "lost", "slow", "rule broken", "deviation", "rework",
        "skipped stage", "back and forth", "what-if", "rule broken",
    ]  # fmt: skip
    assert told.place.tolist()[:2] == ["Demo", "Legal 2"]
    assert told.money[2] == pytest.approx(0.1234 * 1_250_000)
    assert told.money[4] == pytest.approx(0.08 * 2_300_000)
    tiers = told.certainty.map(list(module._ORDER).index)
    assert tiers.is_monotonic_increasing
    assert told.q_value.notna().tolist() == [True] * 4 + [False] * 7
    frame = recommendations(**everything(), limit=3)
    pd.testing.assert_frame_equal(frame, told.head(3))


def test_the_list_survives_a_file(tmp_path: Path) -> None:
    frames = everything()
    frames["rework"]["finding"] = "in words"
    told = worded(recommendations(**frames))
    told.to_parquet(tmp_path / "recommendations.parquet", index=False)
    back = pd.read_parquet(tmp_path / "recommendations.parquet")
    assert back.finding.tolist() == told.finding.tolist()
    for facts, kept in zip(told.facts, back.facts, strict=True):
        assert {k: kept[k] for k, v in facts.items() if not isinstance(v, list)} == {
            k: v for k, v in facts.items() if not isinstance(v, list)
        }
    nothing = worded(recommendations(violations=pd.DataFrame([broken(count=0)])))
    nothing.to_parquet(tmp_path / "none.parquet")
    assert pd.read_parquet(tmp_path / "none.parquet").kind.tolist() == ["none"]


def test_the_order_of_rows_does_not_matter() -> None:
    turned = {name: frame.iloc[::-1] for name, frame in everything().items()}
    pd.testing.assert_frame_equal(recommendations(**turned), recommendations(**everything()))


def test_what_the_first_finding_says() -> None:
    told = worded(recommendations(pd.DataFrame([slow_kind()])), currency="USD").iloc[0]
    assert told.finding == (
        "In Legal 2, deals with discount above 20% move at 41% of the pace of comparable deals. "
        "They stay 6.2 days longer. That costs about $118k of won deals a month."
    )
    assert told.confidence == (
        "The 90% interval of that cost is $61k to $190k. Tested against chance; of all findings as "
        "clear as this one, up to 1.2% may be false."
    )
    assert told.what_to_do == (
        "Settle who may grant such discounts, and approve them before Legal 2, not in it. "
        "Begin with d-101, d-77."
    )


def test_without_amounts_the_price_is_told_in_wins() -> None:
    row = slow_kind(cost_per_month=np.nan, cost_low=np.nan, cost_high=np.nan)
    told = worded(recommendations(pd.DataFrame([row]))).iloc[0]
    assert "about 2.3 won deals a month" in told.finding
    assert "interval" not in told.confidence
    assert "€" not in told.finding + told.confidence
    assert np.isnan(told.money)


def test_what_does_not_stand_out_is_not_recommended() -> None:
    quiet = {
        "bottlenecks": pd.DataFrame(
            [slow_kind(finding=False), stage(gain_at_target_per_month=0.2)]
        ),
        "causes": pd.DataFrame([cause(finding=False)]),
        "rework": pd.DataFrame([differing(win_rate_difference_high=0.01)]),
        "ping_pong": pd.DataFrame([differing(win_rate_difference_high=np.nan)]),
        "skipped": pd.DataFrame([differing(win_rate_difference_high=0.3)]),
        "violations": pd.DataFrame([broken(count=0)]),
    }
    told = worded(recommendations(**quiet))
    assert told.kind.tolist() == ["none"]
    assert told.finding[0] == "Nothing was found."
    assert "no proof that none is slow" in told.confidence[0]
    assert not re.search(r"\d", told.finding[0] + told.confidence[0] + told.what_to_do[0])
    assert told.facts[0]["looked"] == list(quiet)


def test_a_slow_kind_that_has_a_price_is_told_once() -> None:
    both = cause(outcome="slow", stage="Legal 2", attribute="discount", value="> 20%", pace=0.4)
    told = recommendations(pd.DataFrame([slow_kind()]), causes=pd.DataFrame([both]))
    assert told.kind.tolist() == ["slow kind"]
    other = cause(outcome="slow", stage="Demo", attribute="discount", value="> 20%", pace=0.4)
    assert len(recommendations(pd.DataFrame([slow_kind()]), causes=pd.DataFrame([other]))) == 2


def test_one_kind_of_deal_is_told_once_for_each_outcome() -> None:
    rows = [
        cause(stage="Lead", amount_now=9e6), cause(), cause(stage="Demo", attribute="rep", value="Bo"),
        cause(stage="Lead", attribute="rep", value="Bo", amount_now=9e6),
        cause(outcome="slow", stage="Lead", pace=0.4), cause(outcome="slow", pace=0.4),
    ]  # fmt: skip
    told = worded(recommendations(causes=pd.DataFrame(rows)))
    assert list(zip(told.kind, told.place, told.who, strict=True)) == [
        ("lost", "Lead", "deals with rep Bo"),
        ("lost", "the start", "deals that changed hands"),
        ("slow", "the whole process", "deals that changed hands"),
    ]
    assert not told.what_to_do.str.contains("the start|the whole process").any()


def test_a_frame_of_another_kind_is_refused_by_name() -> None:
    with pytest.raises(SchemaError, match="`violations` has no column `rule`"):
        recommendations(violations=pd.DataFrame({"name": ["x"]}))


def test_a_real_log_without_findings_says_so() -> None:
    log = made_log(200, 4)
    found = bottlenecks(log, as_of=datetime(2026, 3, 1), won=["S3"], lost=["S2"])
    told = worded(recommendations(found))
    assert told.kind.tolist() == ["none"]
    assert list(told.columns) == [*module.COLUMNS, *SAID]


def test_agreed_days_that_are_not_kept_are_a_what_if() -> None:
    told = worded(recommendations(pd.DataFrame([stage()]))).iloc[0]
    assert told.certainty == "what-if"
    assert told.finding == (
        "In Offer, 62% of the stays last longer than the agreed 12 days. If half of the deals left "
        "within them, about €46k more would be won a month."
    )


@pytest.mark.slow
def test_in_a_world_with_a_planted_bottleneck_that_is_the_first_to_look_at() -> None:
    world = WorldParameters(
        deals=3000, years=2.0, seed=21, planted=(Bottleneck("Contract", "discount", slowdown=0.3),)
    )
    as_of = datetime.combine(world.end, datetime.min.time())
    with Warehouse.in_memory(generate(world)) as warehouse:
        log = event_log(warehouse, as_of=as_of)
        found = bottlenecks(log, segments(warehouse, log, as_of=as_of), bootstrap=40)
    told = worded(recommendations(found))
    first = told.iloc[0]
    dearest = found[(found.kind == "segment") & (found["rank"] == 1)].iloc[0]
    assert (first.place, first.who) == ("Contract", "deals with discount above 20%")
    assert first.money == pytest.approx(dearest.cost_per_month, abs=0.005)
    assert first.examples == list(dearest.examples)
    for _, row in told.iterrows():
        assert unfounded(" ".join(row[list(SAID)]), row) == []
