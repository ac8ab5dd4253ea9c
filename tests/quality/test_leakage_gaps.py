"""Fields that are there for one outcome, or filled when the deal is over, are found by their gaps."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from salesops_ml.quality.availability import availability_findings
from salesops_ml.quality.late_fills import birth_findings, history_findings, open_findings
from salesops_ml.quality.looks import Looks
from salesops_ml.schema import Attribute, CanonicalTables, no_rejects
from salesops_ml.snapshots.features import FeatureSpec
from salesops_ml.warehouse import Warehouse
from tests.quality.planted import START, deals, flag, seen, some, verdicts, words


def test_a_field_filled_at_the_close_is_found_by_its_gaps() -> None:
    data = deals(f_late=lambda won, _: np.where(won, "yes", None), f_fair=words)
    found = birth_findings(seen(data))
    assert verdicts(found) == {"f_late": "fail"}
    assert "100% of won deals, 0% of lost" in found[0].evidence.replace("won,", "won deals,")


def test_noughts_among_sums_are_gaps_but_noughts_among_flags_are_answers() -> None:
    looks = seen(
        deals(
            f_x_close_value=lambda won, random: np.where(won, random.uniform(1, 9e4, len(won)), 0.0),
            f_x_discounted=flag,
        ),
        "f_x_close_value", "f_x_discounted",
    )  # fmt: skip
    assert verdicts(birth_findings(looks)) == {"f_x_close_value": "fail"}


def test_a_field_that_few_deals_have_and_all_of_them_won_is_found() -> None:
    data = deals(f_x_iban=some(0.15, 0.0), f_x_fax=some(0.15, 0.05), f_x_rare=some(0.02, 0.0))
    assert verdicts(birth_findings(seen(data, "f_x_iban", "f_x_fax", "f_x_rare"))) == {
        "f_x_iban": "fail"
    }
    assert birth_findings(seen(data)) == []


def test_only_the_first_look_at_a_deal_tells_what_was_filled_at_its_birth() -> None:
    data = deals(f_late=lambda won, _: np.where(won, "yes", None))
    before = data.assign(f_late=None, as_of=data["as_of"] - timedelta(days=30))
    assert (
        birth_findings(Looks.of(pd.concat([data, before]), FeatureSpec(()), test=None, seed=1))
        == []
    )


@pytest.mark.parametrize("dated", [True, False])
def test_a_field_of_ended_deals_that_open_ones_lack_fails(dated: bool) -> None:
    data = deals(share_open=0.4, dated=dated, f_x_fair=words)
    ended = data["outcome"] != "open"
    data["f_x_invoice"] = np.where(ended, "sent", None)
    data["f_x_half"] = np.where(ended | (np.arange(len(data)) % 3 == 0), "sent", None)
    found = open_findings(seen(data, "f_x_invoice", "f_x_half", "f_x_fair"))
    assert verdicts(found) == {"f_x_invoice": "fail", "f_x_half": "warn"}
    assert open_findings(seen(data)) == []


def test_a_field_dropped_last_summer_is_no_leak() -> None:
    """Old deals have it and ended; young ones lack it and are open. Of like age, all are alike."""
    data = deals(2000, share_open=0.3)
    late = data["created_at"] > START + timedelta(days=300)
    data.loc[~late & (np.arange(len(data)) % 20 > 0), "outcome"] = "lost"
    data["f_x_fax"] = np.where(late, None, "yes")
    assert open_findings(seen(data, "f_x_fax")) == []


def history(rows: list[tuple[str, str, int]], ended: int = 100) -> CanonicalTables:
    """Forty deals closed on day `ended`; rows are (field, value, day), for each deal."""
    names = [f"d{n}" for n in range(40)]
    day = {n: START + timedelta(days=n) for n in range(400)}
    made = {
        "deals": pa.table(
            {
                "deal_id": names, "status": ["won", "lost"] * 20, "x_team": ["a"] * 40,
                "created_at": pa.array([day[0]] * 40, pa.timestamp("us")),
                "closed_at": pa.array([day[ended]] * 40, pa.timestamp("us")),
            }
        ),
        "deal_changes": pa.Table.from_pylist(
            [
                {"deal_id": name, "field": field, "changed_at": day[at], "seq": 0, "new_value": value}
                for name in names for field, value, at in rows
            ]
        ),
    }  # fmt: skip
    return CanonicalTables(
        made, no_rejects(), attributes=(Attribute("team", "string", "at_creation"),)
    )


def test_the_history_convicts_a_declared_field_that_was_entered_at_the_closing() -> None:
    spec = FeatureSpec((), attributes=(Attribute("team", "string", "at_creation"),))
    for at, expected in ((100, {"f_x_team": "fail"}), (0, {}), (40, {})):
        with Warehouse.in_memory(history([("team", "a", at), ("amount", "9", 0)])) as warehouse:
            assert verdicts(history_findings(warehouse, spec)) == expected


def test_a_tracked_field_first_entered_at_the_closing_is_of_no_use() -> None:
    tables = history([("amount", "9", 100), ("salesops_win_probability", ".5", 100)])
    with Warehouse.in_memory(tables) as warehouse:
        found = history_findings(warehouse, FeatureSpec(()))
    assert verdicts(found) == {"amount": "warn"}
    assert "100% of 40 closed deals" in found[0].evidence


def test_gaps_that_go_with_losing_are_told_of_declared_fields_and_gaps_by_chance_are_not() -> None:
    data = deals(f_x_phone=some(0.8, 0.4), f_x_mail=some(0.7, 0.6))
    found = availability_findings(seen(data, "f_x_phone", "f_x_mail"))
    assert verdicts(found) == {"f_x_phone": "warn"}
    assert "at look 1" in found[0].evidence
    assert availability_findings(seen(data)) == []
    few = deals(70, f_x_phone=some(0.6, 0.3))
    assert availability_findings(seen(few, "f_x_phone")) == []


def test_later_looks_are_compared_with_looks_of_like_age() -> None:
    data = deals(900, looks=9, f_days_since_quote=some(0.95, 0.2), f_days_since_call=some(0.8, 0.5))
    data.loc[data["as_of"] == data["created_at"], ["f_days_since_quote", "f_days_since_call"]] = (
        None
    )
    found = availability_findings(Looks.of(data, FeatureSpec(()), test=None, seed=1))
    assert verdicts(found) == {"f_days_since_quote": "warn"}
    assert "at look 2" in found[0].evidence
