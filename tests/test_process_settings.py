"""Settings of the agreed process: what is accepted, and how a contradiction is named."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from salesops_ml.errors import ConfigError
from salesops_ml.process_settings import ConformanceRules, Process
from salesops_ml.settings import parse

FULL = {
    "starts": ["Lead"],
    "allowed": {"Lead": ["Offer"], "*": ["Lost"]},
    "required": ["Offer", {"step": "Legal", "of": "won"}],
    "order": ["Lead", "Offer"],
    "maximum_days": [{"stage": "Offer", "days": 14}, {"from": "Lead", "to": "Won", "days": 60}],
    "four_eyes": [["Offer", "Legal"]],
    "allow": [{"deal": "D-1", "reason": "agreed with the board"},
              {"variant": ["Lead", "Won"], "rule": "move", "reason": "renewals"}],
}  # fmt: skip


def test_an_empty_process_has_no_rule_and_a_full_one_reads_back_equal() -> None:
    assert not Process().conformance.any_rule
    settings = parse({"process": {"conformance": FULL, "model": "sales.bpmn"}})
    rules = settings.process.conformance
    assert rules.any_rule
    assert [(one.step, one.of) for one in rules.required] == [("Offer", "closed"), ("Legal", "won")]
    assert (rules.maximum_days[1].start, rules.maximum_days[1].end) == ("Lead", "Won")
    assert parse(yaml.safe_load(settings.to_yaml())) == settings


def test_a_deal_that_is_a_number_is_its_text() -> None:
    rules = ConformanceRules.model_validate({"allow": [{"deal": 173688, "reason": "agreed"}]})
    assert rules.allow[0].deal == "173688"


@pytest.mark.parametrize(
    "part", ["starts", "allowed", "required", "order", "maximum_days", "four_eyes"]
)
def test_each_part_alone_is_a_rule(part: str) -> None:
    assert ConformanceRules.model_validate({part: FULL[part]}).any_rule
    assert not ConformanceRules.model_validate({"allow": FULL["allow"]}).any_rule


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"maximum_days": [{"stage": "A", "from": "B", "days": 1}]}, "either `stage`, or both"),
        ({"maximum_days": [{"from": "B", "days": 1}]}, "either `stage`, or both"),
        ({"maximum_days": [{"days": 1}]}, "either `stage`, or both"),
        ({"maximum_days": [{"from": "B", "to": "B", "days": 1}]}, "are both `B`; write `stage`"),
        ({"maximum_days": [{"stage": "A", "days": 0}]}, "greater than 0"),
        ({"maximum_days": [{"stage": "A", "days": float("inf")}]}, "finite"),
        ({"order": ["A", "B", "A"]}, "`A` stands twice"),
        ({"four_eyes": [["A", "A"]]}, "`A` is paired with itself"),
        ({"four_eyes": [["A"]]}, "Field required"),
        ({"allow": [{"reason": "x"}]}, "name a `deal`, a `variant`"),
        ({"allow": [{"deal": "1", "reason": ""}]}, "at least 1 character"),
        ({"allow": [{"deal": "1"}]}, "Field required"),
        ({"required": [{"step": "A", "of": "lost"}]}, "'closed' or 'won'"),
        ({"required": "Offer"}, "valid tuple"),
        ({"forbidden": ["A"]}, "is not a setting"),
    ],
)
def test_a_rule_that_means_nothing_is_named(rules: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        parse({"process": {"conformance": rules}})
    assert f"process.conformance.{next(iter(rules))}" in str(caught.value)
