"""Insights: what the model leans on costs most, what it does not read nothing, one seed one answer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from salesops_ml.app.model_card_insights import bent_by, leaned_on
from salesops_ml.evaluation.splits import labels_at
from salesops_ml.models.insights import attribute_insights, chance
from salesops_ml.models.reasons import group_of
from salesops_ml.models.voices import Voices, fit_table, horizon_target
from salesops_ml.models.win_mass import Stack
from tests.models.conftest import Company


@pytest.fixture(scope="module")
def insights(company: Company) -> dict[str, Any]:
    labels = labels_at(company.test, None)
    return attribute_insights(company.model, company.test, labels, seed=3)


def test_what_the_model_needs_costs_most_when_dealt_out(insights: dict[str, Any]) -> None:
    groups = {one["name"]: one for one in insights["groups"]}
    strongest = insights["groups"][0]
    assert strongest["interval"][0] > 0
    assert max(one["increase"] for one in groups.values()) == strongest["increase"]
    for one in [*insights["groups"], *insights["features"]]:
        low, high = one["interval"]
        assert low <= one["increase"] + 0.02
        assert one["increase"] - 0.02 <= high
    assert strongest["increase"] > 3 * abs(groups["season"]["increase"])


def test_features_stand_in_their_group_strongest_first(insights: dict[str, Any]) -> None:
    size = [one["increase"] for one in insights["features"]]
    assert size == sorted(size, reverse=True)
    assert all(one["group"] == group_of(one["name"]) for one in insights["features"])


def test_effects_are_centred_and_tell_how_many_rows(insights: dict[str, Any]) -> None:
    kinds = {effect["kind"] for effect in insights["effects"]}
    assert "accumulated local effect" in kinds
    for effect in insights["effects"]:
        height = [point["effect"] for point in effect["points"]]
        assert np.abs(height).max() <= 1
        if effect["kind"] == "accumulated local effect":
            values = [point["value"] for point in effect["points"]]
            assert values == sorted(set(values))
            assert min(height) <= 0 <= max(height)
            middle = (np.array(height[1:]) + height[:-1]) / 2
            rows = [point["rows"] for point in effect["points"][1:]]
            assert np.average(middle, weights=rows) == pytest.approx(0, abs=1e-9)


def test_a_feature_that_no_voice_reads_costs_nothing(company: Company) -> None:
    silent = replace(company.model, stack=Stack(("hazards",), (1e-12,), 0.0))
    told = attribute_insights(silent, company.test, labels_at(company.test, None), seed=3)
    assert all(abs(one["increase"]) < 1e-9 for one in told["groups"])


def test_same_seed_same_insights_fit_for_json(company: Company, insights: dict[str, Any]) -> None:
    again = attribute_insights(company.model, company.test, labels_at(company.test, None), seed=3)
    assert json.dumps(again) == json.dumps(insights)


def test_the_quick_reading_is_close_to_the_published_chance(company: Company) -> None:
    rows = company.test.head(200)
    gap = chance(company.model, rows) - company.model.predict(rows)["p_win"].to_numpy()
    assert np.abs(gap).max() < 0.05


def test_where_nothing_can_be_told_it_says_why(company: Company) -> None:
    labels = labels_at(company.test, None)
    learn = company.data[company.block == "train"]
    table = fit_table(learn, labels_at(learn, None), company.settings, by_stage=True)
    model = replace(company.model, voices=Voices(table), stack=Stack.average(("hazards",)))
    assert "table" in attribute_insights(model, company.test, labels, seed=1)["not_possible"]
    unseen = labels.assign(event=0, duration=1.0, followed=1.0)
    assert not horizon_target(unseen, company.model.horizon_days)[1].any()
    assert (
        "followed"
        in attribute_insights(company.model, company.test, unseen, seed=1)["not_possible"]
    )


def test_the_card_tells_groups_and_where_the_chance_is_highest(insights: dict[str, Any]) -> None:
    table = leaned_on(insights)
    assert table is not None
    assert table.rows[0][0].lower() == insights["groups"][0]["name"]
    told = bent_by(
        {
            "effects": [
                {"feature": "f_moves", "points": [point(1, -0.04), point(3, 0.1), point(2, 0.0)]},
                {"feature": "f_rep", "points": [point("anna", 0.2), point("bo", -0.2)]},
            ]
        }
    )
    assert told is not None
    high, low = "3 stage moves (+10 points)", "1 stage move (\N{MINUS SIGN}4 points)"
    assert [list(row) for row in told.rows] == [[high, low]]
    assert leaned_on({"not_possible": "no deals"}) is None
    assert bent_by(None) is None


def point(value: Any, effect: float) -> dict[str, Any]:
    return {"value": value, "rows": 5, "effect": effect}
