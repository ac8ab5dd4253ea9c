"""Blocks in time: nothing after the border reaches the model, and nobody is dropped."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesops_ml.errors import DataError
from salesops_ml.evaluation.splits import labels_at, split_by_column, split_by_time
from salesops_ml.settings import Split


def looks(seed: int, deals: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    start = pd.Timestamp("2025-01-01") + pd.to_timedelta(rng.uniform(0, 300, deals), unit="D")
    length = rng.exponential(40, deals)
    rows = [
        (f"d{i:03d}", start[i], start[i] + pd.Timedelta(days=7 * k), length[i] - 7 * k, i % 3)
        for i in range(deals)
        for k in range(int(length[i] // 7) + 1)
    ]
    frame = pd.DataFrame(rows, columns=["deal_id", "created_at", "as_of", "left", "kind"])
    for name in ("created_at", "as_of"):
        frame[name] = frame[name].dt.floor("us")
    end = pd.Timestamp("2025-12-31")
    frame = frame[frame["as_of"] <= end].reset_index(drop=True)
    observed = (end - frame["as_of"]).dt.total_seconds() / 86_400
    open_ = frame["left"] > observed
    frame["outcome"] = np.where(open_, "open", np.where(frame["kind"] == 0, "won", "lost"))
    frame["days_to_outcome"] = frame["left"].where(~open_)
    frame["days_observed"] = observed
    return frame


@given(st.integers(0, 500), st.floats(0.3, 0.7), st.floats(0.0, 0.5))
def test_no_deal_of_the_test_block_is_known_before_the_border(
    seed: int, train: float, calibration: float
) -> None:
    data = looks(seed)
    split = Split(train=train, test=0.2, calibration=calibration)
    block, borders = split_by_time(data, split)
    learn = block.isin(["train", "calibration"])
    assert set(data.loc[learn, "deal_id"]).isdisjoint(data.loc[block == "test", "deal_id"])
    assert (data.loc[learn, "as_of"] < borders.test_from).all()
    assert (data.loc[block == "test", "created_at"] >= borders.test_from).all()
    assert (data.loc[block == "train", "created_at"] <= borders.calibration_from).all()
    labels = labels_at(data[learn], borders.test_from)
    ended = data.loc[learn, "as_of"] + pd.to_timedelta(labels["duration"], unit="D")
    late = ended > pd.Timestamp(borders.test_from) + pd.Timedelta(milliseconds=1)
    assert not late.any()
    later = data.loc[learn, "days_to_outcome"] > labels["followed"]
    assert (labels.loc[later, "event"] == 0).all()
    assert len(labels) == learn.sum()


def test_labels_over_the_whole_record_are_the_outcomes() -> None:
    data = looks(1)
    labels = labels_at(data, None)
    words = labels["event"].map({0: "open", 1: "won", 2: "lost"})
    assert (words == data["outcome"]).all()
    closed = labels["event"] > 0
    assert np.allclose(labels.loc[closed, "duration"], data.loc[closed, "days_to_outcome"])
    assert np.allclose(labels.loc[~closed, "duration"], data.loc[~closed, "days_observed"])


def test_the_share_of_deals_by_start_is_the_share_asked_for() -> None:
    data = looks(2, deals=200)
    block, borders = split_by_time(data, Split(train=0.6, test=0.2, calibration=0.25))
    starts = data.groupby("deal_id")["created_at"].first().sort_values()
    assert borders.test_from == starts.iloc[round(len(starts) * 0.6)].to_pydatetime()
    tested = data.loc[block == "test", "deal_id"].nunique()
    assert tested == round(len(starts) * 0.2)


def test_a_fixed_day_is_the_border() -> None:
    data = looks(3)
    block, borders = split_by_time(data, Split(test_from="2025-08-01"))
    assert (data.loc[block == "test", "created_at"] >= datetime(2025, 8, 1)).all()
    assert borders.test_from >= datetime(2025, 8, 1)


def test_an_empty_block_is_named() -> None:
    with pytest.raises(DataError, match="leave a block empty"):
        split_by_time(looks(4), Split(test_from="2030-01-01"))


def test_blocks_by_column_know_four_words() -> None:
    told = split_by_column(pd.Series(["Train", "test ", "calibration", "unused"]))
    assert told.tolist() == ["train", "test", "calibration", "unused"]
    with pytest.raises(DataError, match="row 2 says `holdout`"):
        split_by_column(pd.Series(["train", "holdout"]))
