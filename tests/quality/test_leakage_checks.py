"""Each check of the audit finds what is planted for it, and lets strong but honest fields pass.

What gaps tell stands in `test_leakage_gaps.py`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from salesops_ml.quality.finding import summary
from salesops_ml.quality.late_fills import birth_findings
from salesops_ml.quality.leakage import CHECKS
from salesops_ml.quality.looks import Looks, declared_features
from salesops_ml.quality.names import name_findings
from salesops_ml.quality.own_fields import own_field_findings
from salesops_ml.quality.power import auc_error, clock_findings, power_findings
from salesops_ml.quality.ranking import power_within, ranking_power
from salesops_ml.quality.shift import shift_findings, stability
from salesops_ml.schema import Attribute
from salesops_ml.snapshots.features import FeatureSpec
from tests.quality.planted import HONEST, Column, deals, seen, strong, verdicts, words


@pytest.mark.parametrize("dated", [True, False])
@pytest.mark.parametrize("count", [120, 400, 4000])
def test_strong_but_honest_fields_never_fail(dated: bool, count: int) -> None:
    data = deals(count, dated=dated, share_open=0.2, **HONEST)
    test = data.iloc[int(0.7 * count) :]
    looks = seen(data.iloc[: int(0.7 * count)], *HONEST, test=test)
    found = [finding for check in CHECKS.values() for finding in check(looks)]
    assert {f.column for f in found if f.verdict == "fail"} == set()
    assert {f.check for f in found if f.verdict == "warn"} <= {"knows too much"}
    assert {f.column for f in found if f.verdict == "warn"} <= {"f_x_strong", "f_x_size"}


# Knows too much.


def test_a_feature_that_ranks_too_well_is_suspect_and_a_perfect_one_fails() -> None:
    data = deals(
        f_perfect=lambda won, _: won * 1.0,
        f_word=lambda won, _: np.where(won, "signed", "gone"),
        f_good=lambda won, random: won * 2.2 + random.normal(size=len(won)),
        f_fair=lambda won, random: won * 0.5 + random.normal(size=len(won)),
    )
    expected = {"f_perfect": "fail", "f_word": "fail", "f_good": "warn"}
    assert verdicts(power_findings(seen(data))) == expected


def test_undated_tables_are_audited_too() -> None:
    data = deals(dated=False, f_x_perfect=lambda won, _: won * 1.0, f_x_fair=words)
    assert verdicts(power_findings(seen(data, "f_x_perfect"))) == {"f_x_perfect": "fail"}


def test_a_leak_that_shows_at_later_looks_only_is_found_there() -> None:
    data = deals(looks=6, f_late=lambda won, _: won * 1.0)
    data.loc[data["as_of"] == data["created_at"], "f_late"] = 0.0
    found = power_findings(Looks.of(data, FeatureSpec(()), test=None, seed=1))
    assert verdicts(found) == {"f_late": "fail"}
    assert "ahead of the end" in found[0].evidence


def test_words_that_name_each_deal_do_not_look_clever_by_their_many_looks() -> None:
    data = deals(300, looks=10, f_who=lambda won, _: [f"who {n}" for n in range(len(won))])
    assert power_findings(Looks.of(data, FeatureSpec(()), test=None, seed=1)) == []


def test_a_few_closed_deals_prove_nothing() -> None:
    looks = seen(deals(40, f_x_perfect=lambda won, _: won * 1.0), "f_x_perfect")
    assert power_findings(looks) == birth_findings(looks) == name_findings(looks) == []


def test_the_error_of_an_auc_is_that_of_its_samples() -> None:
    random = np.random.default_rng(5)
    won = np.arange(120) < 60
    drawn = [ranking_power(pd.Series(won * 1.5 + random.normal(size=120)), won) for _ in range(400)]
    assert auc_error(float(np.mean(drawn)), 60, 60) == pytest.approx(np.std(drawn), rel=0.2)


def test_an_overwritten_close_date_knows_the_day() -> None:
    data = deals(f_x_hint=words)
    length = data["days_to_outcome"]
    noise = np.random.default_rng(1).normal(size=len(data))
    data["f_x_closes"] = data["created_at"] + pd.to_timedelta(length, unit="D")
    data["f_cycle_days"] = length.round()
    data["f_promised_days"] = length + 100 * noise
    found = clock_findings(seen(data, "f_x_closes"))
    assert verdicts(found) == {"f_x_closes": "fail", "f_cycle_days": "fail"}
    assert clock_findings(seen(deals(dated=False, f_cycle_days=strong))) == []


# The outcome in a name.


def renamed(data: pd.DataFrame, key: pd.Series, name: str = "x{:05}") -> pd.DataFrame:
    """Deals numbered in the order of `key`."""
    place = key.rank(method="first").astype(int)
    return data.assign(deal_id=[name.format(n) for n in place])


@pytest.mark.parametrize("dated", [True, False])
def test_ids_given_after_sorting_by_status_are_told(dated: bool) -> None:
    data = deals(dated=dated)
    won = data["outcome"] == "won"
    found = name_findings(seen(renamed(data, won.astype(float))))
    assert verdicts(found) == {"deal_id": "warn"}
    assert "AUC 1.000" in found[0].evidence
    lettered = data.assign(deal_id=np.where(won, "W-", "L-") + data["deal_id"].str[1:])
    assert verdicts(name_findings(seen(lettered))) == {"deal_id": "warn"}


def test_numbers_are_read_as_numbers_where_text_order_hides_them() -> None:
    """Without leading noughts, 9 sorts after 10 in text."""
    data = deals(2000, dated=False)
    found = name_findings(seen(renamed(data, (data["outcome"] == "won") * 1.0, "deal {}")))
    assert verdicts(found) == {"deal_id": "warn"}


def test_files_sorted_by_status_within_each_month_are_told() -> None:
    data = deals(3000)
    month = data["created_at"].dt.to_period("M").astype(str)
    sorted_within = month + (data["outcome"] == "won").astype(str)
    assert verdicts(name_findings(seen(renamed(data, sorted_within)))) == {"deal_id": "warn"}


def test_blocks_of_one_outcome_are_told_though_no_order_ranks_them() -> None:
    data = deals(1200, dated=False)
    place = pd.Series(np.arange(1200)) % 20
    found = name_findings(seen(renamed(data, 2.0 * place + (data["outcome"] == "won"))))
    assert "side by side" in found[0].evidence


def test_ids_that_follow_time_are_honest_even_where_winning_drifts() -> None:
    data = deals(2000).sort_values("created_at").reset_index(drop=True)
    random = np.random.default_rng(2)
    data["outcome"] = np.where(random.random(2000) < np.linspace(0.02, 0.98, 2000), "won", "lost")
    data = renamed(data, data["created_at"])
    won = (data["outcome"] == "won").to_numpy()
    assert ranking_power(data["deal_id"].rank(), won) > 0.8
    assert name_findings(seen(data)) == []


def test_the_time_of_day_that_tells_the_outcome_fails() -> None:
    data = deals()
    lost = data["outcome"] == "lost"
    data["created_at"] = data["created_at"].where(~lost, data["created_at"].dt.floor("D"))
    found = name_findings(seen(data))
    assert verdicts(found) == {"created_at": "fail"}


def test_accounts_numbered_when_they_became_customers_are_told() -> None:
    data = deals()
    won = (data["outcome"] == "won").to_numpy()
    data["account_id"] = [f"acc-{n + 5000 * w:05}" for n, w in enumerate(won)]
    assert verdicts(name_findings(seen(data))) == {"account_id": "warn"}


def test_an_attribute_that_is_such_an_id_fails_for_the_model_sees_it() -> None:
    data = deals(3000)
    month = (data["created_at"].dt.year * 12 + data["created_at"].dt.month) * 2.0
    data["f_x_row"] = (month + (data["outcome"] == "won")).rank(method="first")
    assert verdicts(name_findings(seen(data, "f_x_row"))) == {"f_x_row": "fail"}


def test_pairs_of_other_blocks_do_not_count() -> None:
    values = pd.Series([1.0, 2.0, 11.0, 12.0])
    won = np.array([False, True, False, True])
    assert power_within(values, won, np.array([0, 0, 1, 1])) == 1.0
    assert ranking_power(values, won) == 0.75


# Shift.


def moved(by: float, when: float = np.inf) -> Column:
    def make(won: np.ndarray, random: np.random.Generator) -> np.ndarray:
        place = np.arange(len(won)) / len(won)
        return random.normal(size=len(won)) + by * (place > when if np.isfinite(when) else place)

    return make


def test_a_break_at_the_border_is_told_and_usual_drift_is_not() -> None:
    data = deals(
        4000, f_break=moved(3, 0.75), f_drift=moved(3), f_still=moved(0), f_month=moved(9, 0.75)
    )
    begun = data["created_at"]
    late = begun > begun.quantile(0.75)
    found = shift_findings(seen(data[~late], test=data[late]))
    assert verdicts(found) == {"f_break": "warn"}


@pytest.mark.parametrize("dated", [True, False])
def test_a_field_that_is_empty_in_one_block_is_told(dated: bool) -> None:
    data = deals(600, dated=dated, f_old=words, f_new=words, f_fair=words)
    learn, test = data[:400].assign(f_new=None), data[400:].assign(f_old=None)
    assert verdicts(shift_findings(seen(learn, test=test))) == {"f_old": "warn", "f_new": "warn"}
    assert shift_findings(seen(learn)) == []


def test_blocks_of_another_age_are_compared_at_like_age() -> None:
    """Test deals are young, so they have few looks; that is no shift of a feature that ages."""
    data = deals(2000, looks=12)
    data["f_weeks"] = (data["as_of"] - data["created_at"]).dt.days / 7.0
    late = data["created_at"] > data["created_at"].quantile(0.7)
    young = data[late & (data["f_weeks"] < 4)]
    assert shift_findings(seen(data[~late], test=young)) == []


@hypothesis_settings(deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=8), st.randoms())
def test_stability_is_nought_for_equal_shares_and_positive_and_symmetric(raw, random) -> None:
    one = np.array(raw) / sum(raw)
    other = np.array(random.sample(list(one), len(one)))
    assert stability(one, one) == 0
    assert stability(one, other) >= 0
    assert stability(one, other) == pytest.approx(stability(other, one))


# Our own fields, and what is declared.


def test_our_own_scores_may_not_come_back() -> None:
    clean = own_field_findings(seen(deals(f_x_size=strong)))
    ours = own_field_findings(seen(deals(f_x_salesops_win_probability=strong)))
    assert verdicts(clean) == {"all features": "ok"}
    assert verdicts(ours) == {"f_x_salesops_win_probability": "fail"}


def test_what_is_declared_is_what_no_history_dates() -> None:
    spec = FeatureSpec(
        (), fixed=("account_id", "lead_source", "product"),
        attributes=(Attribute("size", "float", "at_creation"), Attribute("mood", "string", "over_time")),
    )  # fmt: skip
    assert declared_features(spec) == {"account_id", "f_lead_source", "f_product", "f_x_size"}


def test_row_order_and_index_do_not_matter() -> None:
    data = deals(500, looks=4, share_open=0.2, **HONEST)
    data["f_x_leak"] = np.where(data["outcome"] == "won", 1.0, np.nan)
    spec = FeatureSpec(
        (), attributes=tuple(Attribute(n[4:], "float", "at_creation") for n in HONEST)
    )
    told = []
    for rows in (data, data.sample(frac=1, random_state=1)):
        looks = Looks.of(rows, spec, test=None, seed=1)
        told.append(summary(f for check in CHECKS.values() for f in check(looks)))
    assert told[0] == told[1]
    assert told[0]["verdict"] == "fail"
