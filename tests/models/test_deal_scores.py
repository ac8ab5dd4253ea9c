"""The deal model: one distribution, the same numbers every time, and better than its baselines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from salesops_ml.errors import ModelError
from salesops_ml.evaluation.measure import Judged, measure_dates, measure_segments, measure_win
from salesops_ml.models import DealScores, fit_deal_scores
from salesops_ml.models.baselines import baseline_scores
from salesops_ml.models.hazard_table import HazardTable
from salesops_ml.models.reasons import contributions, group_of
from tests.models.conftest import Company


@pytest.fixture(scope="module")
def rough(company: Company) -> Company:
    """A third of the deals and a model of them, for what holds of a model of any size."""
    some = company.data["deal_id"].drop_duplicates().sample(700, random_state=2)
    data = company.data[company.data["deal_id"].isin(some)]
    less = {"trees": 10, "max_period_rows": 6_000, "max_classifier_rows": 3_000}
    models = company.settings.models.model_copy(update=less)
    settings = company.settings.model_copy(update={"models": models})
    block = company.block[data.index]
    model = fit_deal_scores(data, block, company.borders, spec=company.spec, settings=settings)
    assert not isinstance(model.timing, HazardTable)
    return replace(company, data=data, block=block, settings=settings, model=model)


def test_win_lose_and_stay_open_make_one(company: Company) -> None:
    scores = company.model.predict(company.test)
    total = scores[["p_win", "p_lost", "p_open"]].sum(axis=1)
    assert np.allclose(total, 1)
    curves = company.model.curves(company.test)
    assert np.allclose(curves.cif_won[:, -1], scores["p_win"])
    assert (np.diff(curves.cif_won) >= -1e-12).all()
    assert (curves.cif_won + curves.cif_lost <= 1 + 1e-9).all()
    assert (scores["p_win_low"] <= scores["p_win"]).all()
    assert (scores["p_win_high"] >= scores["p_win"]).all()
    assert (scores["close_p10"] <= scores["close_p50"]).all()
    assert (scores["close_p50"] <= scores["close_p90"]).all()
    assert scores["close_p90"].max() <= company.settings.models.horizon_days


def test_it_beats_every_baseline_on_the_test_block(company: Company) -> None:
    judged = Judged.of(company.test, company.settings.models.horizon_days)
    ours = company.model.predict(company.test)
    figures = measure_win(judged, ours["p_win"].to_numpy(), ours["p_lost"].to_numpy())
    said = baseline_scores(company.data, company.block, company.borders, settings=company.settings)
    assert set(said) == {
        "base_rate", "stage_age", "logistic", "crm_probability", "naive_bayes"
    }  # fmt: skip
    for name, scores in said.items():
        theirs = measure_win(judged, scores["p_win"].to_numpy(), scores["p_lost"].to_numpy())
        slack = 0.01 if name == "logistic" else -0.03
        assert figures["log_loss"] < theirs["log_loss"] + slack
    assert 0.7 < figures["calibration_slope"] < 1.4
    low, high = figures["log_loss_interval"]
    assert low < figures["log_loss"] < high
    dates = measure_dates(judged, ours)
    assert 0.6 < dates["coverage_80"] < 0.95
    assert "stage" in measure_segments(judged, ours["p_win"].to_numpy()) or len(judged.rows) < 400


def test_the_regression_of_the_model_is_the_baseline(company: Company) -> None:
    told = company.data, company.block, company.borders
    mine = company.model.voices.logistic
    assert mine is not None
    fresh = baseline_scores(*told, settings=company.settings)
    again = baseline_scores(*told, settings=company.settings, logistic=mine)
    pd.testing.assert_frame_equal(fresh["logistic"], again["logistic"], check_exact=True)


def test_saved_and_loaded_it_says_the_same(company: Company, tmp_path: Path) -> None:
    company.model.save(tmp_path / "model")
    names = {path.suffix for path in (tmp_path / "model").iterdir()}
    assert names <= {".json", ".txt"}
    back = DealScores.load(tmp_path / "model", threads=1)
    assert back.spec == company.model.spec
    pd.testing.assert_frame_equal(back.predict(company.test), company.model.predict(company.test))


@pytest.mark.slow
def test_same_seed_same_numbers_on_two_threads_and_shuffled_rows(rough: Company) -> None:
    shuffled = rough.data.sample(frac=1, random_state=1)
    settings = rough.settings.model_copy(update={"threads": 2})
    block = rough.block.reindex(shuffled.index)
    again = fit_deal_scores(shuffled, block, rough.borders, spec=rough.spec, settings=settings)
    first, second = rough.model.predict(rough.test), again.predict(rough.test)
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_words_never_seen_and_missing_blocks_are_survived(company: Company) -> None:
    odd = company.test.head(20).copy()
    odd["f_stage"] = "A stage from tomorrow"
    odd["f_product"] = None
    for name in [c for c in odd if c.startswith(("f_kind_", "f_days_since_"))]:
        odd[name] = np.nan
    scores = company.model.predict(odd)
    assert scores["p_win"].between(0, 1).all()
    assert scores.notna().all().all()


def test_a_missing_feature_is_named(company: Company) -> None:
    with pytest.raises(ModelError, match="`f_age_days`"):
        company.model.predict(company.test.drop(columns="f_age_days"))


def test_a_model_of_another_feature_version_is_refused(company: Company, tmp_path: Path) -> None:
    company.model.save(tmp_path)
    path = tmp_path / "deal_scores.json"
    path.write_text(path.read_text().replace(f'"version": {company.spec.version}', '"version": 99'))
    with pytest.raises(ModelError, match="features of version 99"):
        DealScores.load(tmp_path)


def test_one_outcome_only_is_an_error_in_words(company: Company) -> None:
    lost = company.data[company.data["outcome"] != "won"]
    with pytest.raises(ModelError, match="no deal is known as won"):
        fit_deal_scores(
            lost, company.block[lost.index], company.borders,
            spec=company.spec, settings=company.settings,
        )  # fmt: skip


def test_with_few_closed_deals_the_table_is_the_model_and_says_so(company: Company) -> None:
    some = company.data["deal_id"].drop_duplicates().sample(60, random_state=2)
    few = company.data[company.data["deal_id"].isin(some)]
    model = fit_deal_scores(
        few, company.block[few.index], company.borders,
        spec=company.spec, settings=company.settings,
    )  # fmt: skip
    assert isinstance(model.timing, HazardTable)
    assert "too few closed deals" in model.facts["calibration"]
    assert model.predict(company.test)["p_win"].between(0, 1).all()
    assert all(row for row in model.reasons(company.test.head(2)))


def test_the_future_of_the_training_block_does_not_reach_the_model(rough: Company) -> None:
    """Outcomes after the border may be anything: the model is the same to the bit."""
    twisted = rough.data.copy()
    ended = twisted["as_of"] + pd.to_timedelta(twisted["days_to_outcome"], unit="D")
    after = (ended > pd.Timestamp(rough.borders.test_from)).to_numpy()
    assert after.sum() > 100
    twisted.loc[after, "outcome"] = "lost"
    again = fit_deal_scores(
        twisted, rough.block, rough.borders, spec=rough.spec, settings=rough.settings
    )
    pd.testing.assert_frame_equal(
        again.predict(rough.test), rough.model.predict(rough.test), check_exact=True
    )


def test_contributions_sum_to_the_classifiers_log_odds(company: Company) -> None:
    model, rows = company.model, company.test.head(50)
    if model.classifier is None or model.encoder is None:
        pytest.skip("the stack gave the classifier no weight")
    parts = contributions(model.classifier, model.encoder, rows, threads=1)
    score = model.classifier.predict(model.encoder.transform(rows), raw_score=True)
    assert parts.sum(axis=1).to_numpy() == pytest.approx(score)


def test_reasons_are_the_strongest_groups_in_words(company: Company) -> None:
    told = company.model.reasons(company.test.head(30))
    assert len(told) == 30
    assert any(told)
    for row in told:
        strength = [abs(reason["contribution"]) for reason in row]
        assert strength == sorted(strength, reverse=True)
        assert sum(reason["contribution"] > 0 for reason in row) <= 3
        assert sum(reason["contribution"] < 0 for reason in row) <= 3
        assert all(group_of(reason["feature"]) == reason["group"] for reason in row)
        assert all("nan" not in reason["text"] for reason in row)
