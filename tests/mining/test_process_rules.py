"""Rules held against the stages that there are: misspelled ones are named, with the nearest known."""

from __future__ import annotations

from typing import Any

import pytest

from salesops_ml.errors import ConfigError
from salesops_ml.mining.process_rules import (
    allowed_moves,
    check_names,
    either,
    rule_names,
)
from salesops_ml.process_settings import ConformanceRules, Process

STAGES = ["Lead", "Offer", "Won", "Lost"]


def rules(**parts: Any) -> ConformanceRules:
    return ConformanceRules.model_validate(parts)


@pytest.mark.parametrize(
    ("parts", "place", "name", "near"),
    [
        ({"starts": ["Led"]}, "starts", "Led", "Lead"),
        ({"allowed": {"Ofer": []}}, "allowed", "Ofer", "Offer"),
        ({"allowed": {"Lead": ["Ofer"]}}, "allowed.Lead", "Ofer", "Offer"),
        ({"allowed": {"*": ["Losst"]}}, r"allowed.\*", "Losst", "Lost"),
        ({"required": ["Ofer"]}, "required", "Ofer", "Offer"),
        ({"order": ["Lead", "Wn", "Offr"]}, "order", "Wn", "Won"),
        ({"maximum_days": [{"stage": "Leads", "days": 1}]}, "maximum_days", "Leads", "Lead"),
        ({"maximum_days": [{"from": "Lead", "to": "Wonn", "days": 1}]}, "maximum_days", "Wonn", "Won"),
        ({"four_eyes": [["Lead", "Offers"]]}, "four_eyes", "Offers", "Offer"),
        ({"allow": [{"variant": ["Lead", "Ofer"], "reason": "x"}]}, "allow", "Ofer", "Offer"),
    ],
)  # fmt: skip
def test_an_unknown_stage_is_named_with_the_nearest_known(
    parts: dict[str, Any], place: str, name: str, near: str
) -> None:
    process = Process(conformance=rules(**parts))
    with pytest.raises(ConfigError, match=rf"{place}`: there is no stage `{name}`.*`{near}`"):
        check_names(process, STAGES)


def test_where_nothing_is_near_the_known_stages_are_told() -> None:
    with pytest.raises(ConfigError, match="known are: Lead, Offer, Won, Lost"):
        check_names(Process(conformance=rules(required=["Zzz"])), STAGES)


def test_an_agreed_stage_that_no_deal_has_reached_is_known() -> None:
    check_names(Process(stages=("Legal",), conformance=rules(required=["Legal"])), STAGES)


@pytest.mark.parametrize(
    ("rule", "near"),
    [("moves", "move"), ("required: Ofer", "required: Offer"), ("move: Lead > Wn", "move: Lead > Won"),
     ("time: Lead", "time: Offer"), ("four_eyes: Offer + Lead", "four_eyes: Lead . Offer")],
)  # fmt: skip
def test_an_exemption_from_no_rule_is_named(rule: str, near: str) -> None:
    process = Process(conformance=rules(
        allowed={"Lead": ["Offer"]}, required=["Offer"], four_eyes=[["Lead", "Offer"]],
        maximum_days=[{"stage": "Offer", "days": 3}], allow=[{"rule": rule, "reason": "x"}],
    ))  # fmt: skip
    with pytest.raises(ConfigError, match=rf"`{rule.split(':')[0]}.*did you mean `{near}`".replace(
            "+", ".")):  # fmt: skip
        check_names(process, STAGES)


def test_every_rule_can_be_named_by_an_exemption() -> None:
    parts: dict[str, Any] = {
        "starts": ["Lead"],
        "allowed": {"Lead": ["Offer"]},
        "required": ["Offer"],
        "order": ["Lead", "Offer"],
        "maximum_days": [{"stage": "Offer", "days": 3}, {"from": "Lead", "to": "Won", "days": 3}],
        "four_eyes": [["Lead", "Offer"]],
    }
    names = rule_names(rules(**parts))
    assert len(names) == 7
    allow = [{"rule": name, "reason": "x"} for name in (*names, "move: Lead > Won", "model")]
    check_names(Process(conformance=rules(**parts, allow=allow)), STAGES)


def test_what_may_follow_every_stage_is_added_to_the_ruled_ones_alone() -> None:
    moves = allowed_moves(rules(allowed={"Lead": ["Offer", "Lost"], "Offer": [], "*": ["Lost"]}))
    assert moves == {"Lead": ("Offer", "Lost"), "Offer": ("Lost",)}
    assert allowed_moves(rules(allowed={"*": ["Lost"]})) == {}


def test_names_as_a_choice() -> None:
    assert [either(names) for names in (["A"], ["A", "B"], ["A", "B", "C"])] == [
        "A",
        "A or B",
        "A, B or C",
    ]
