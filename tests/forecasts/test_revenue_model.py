"""The revenue model as a thing to keep: saved as JSON, loaded equal, served by months ahead."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from salesops_ml.errors import ModelError, UsageError
from salesops_ml.forecasts import RevenueModel, Weights, fit_revenue_model, read_history
from salesops_ml.forecasts.revenue import placed
from tests.forecasts.companies import SETTINGS, TODAY

LESSONS = Weights(shock=0.12, lift=(1.05,), widths={"month/0": (1.1, 1.2)}, origins=4)


@pytest.fixture(scope="module")
def fitted(company, scorer) -> tuple[RevenueModel, pd.DataFrame]:
    return fit_revenue_model(
        company, scorer(TODAY), as_of=TODAY, settings=SETTINGS, weights=LESSONS
    )


def test_a_loaded_model_says_the_same(fitted, tmp_path, company, scorer):
    model, frame = fitted
    model.save(tmp_path)
    loaded = RevenueModel.load(tmp_path)
    history = read_history(company, as_of=TODAY, settings=SETTINGS)
    again = loaded.project(placed(scorer(TODAY), history)).frame(loaded.weights)
    pd.testing.assert_frame_equal(frame, again)
    pd.testing.assert_frame_equal(model.forecast(), loaded.forecast())
    assert loaded.weights == LESSONS


def test_it_tells_the_companys_months(fitted):
    model, frame = fitted
    told = model.forecast(1)
    wanted = frame[(frame.node == "company") & (frame.grain == "month")].head(2)
    pd.testing.assert_frame_equal(told, wanted.reset_index(drop=True), check_dtype=False)
    asked = model.predict(pd.DataFrame({"months_ahead": [1.0, 0.0]}))
    assert asked["mean"].tolist() == told["mean"].tolist()[::-1]
    assert asked["months_ahead"].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("months", [-1.0, 0.5, 99.0, np.nan])
def test_months_that_were_not_forecast_are_named(fitted, months):
    with pytest.raises(UsageError, match="`months_ahead` holds"):
        fitted[0].predict(pd.DataFrame({"months_ahead": [months]}))


def test_wrong_questions_are_named(fitted):
    with pytest.raises(UsageError, match="column `months_ahead`"):
        fitted[0].predict(pd.DataFrame({"month": [1]}))
    with pytest.raises(UsageError, match="tells 0 to 3"):
        fitted[0].forecast(4)
    with pytest.raises(ModelError, match="holds no forecast"):
        RevenueModel(**(vars(fitted[0]) | {"table": ()})).forecast()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: "{", "cannot be read"),
        (lambda text: json.dumps(json.loads(text) | {"version": 99}), "version 99"),
        (lambda text: json.dumps({"version": 1}), "is damaged at"),
        (lambda text: "[]", "version None"),
    ],
)
def test_damaged_files_are_named(fitted, tmp_path, damage, words):
    path = fitted[0].save(tmp_path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(ModelError, match=words):
        RevenueModel.load(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match="cannot be read as a revenue model"):
        RevenueModel.load(tmp_path / "nowhere")
