"""Batch scores: sorted by deal, dated, banded, with reasons in words."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from salesops_ml.errors import ConfigError, DataError, ModelError, UsageError
from salesops_ml.scoring import score_open_deals
from salesops_ml.scoring.batch import reasons_text
from salesops_ml.settings import parse

AS_OF = datetime(2026, 3, 1, 12)
BANDS = (0.2, 0.5, 0.8)


class AgeModel:
    """The older, the likelier; says so."""

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        p_win = (frame["f_age"] / 10).to_numpy(dtype=float)
        days = np.where(p_win > 0, 10.0, np.nan)
        return pd.DataFrame(
            {
                "p_win": p_win,
                "p_lost": (1 - p_win) / 2,
                "p_open": (1 - p_win) / 2,
                "p_win_low": p_win * 0.9,
                "p_win_high": np.minimum(p_win * 1.1, 1.0),
                "close_p10": days - 5,
                "close_p50": days,
                "close_p90": days + 20.6,
            },
            index=frame.index,
        )

    def reasons(self, frame: pd.DataFrame) -> list[list[dict[str, object]]]:
        return [
            [{"feature": "f_age", "group": "age", "contribution": age, "text": f"age {age:g}"}]
            for age in frame["f_age"]
        ]


def _frame(**age_by_deal: float) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "deal_id": list(age_by_deal),
            "as_of": pd.Timestamp(AS_OF),
            "f_age": [float(age) for age in age_by_deal.values()],
        }
    )


def _score(frame: pd.DataFrame) -> pd.DataFrame:
    return score_open_deals(
        frame, AgeModel(), as_of=AS_OF, model_version="deal_scores/3", bands=BANDS
    )


def test_scores_are_sorted_dated_and_banded() -> None:
    scores = _score(_frame(d2=8, d1=5, d3=1, d4=4.9))
    assert scores["deal_id"].tolist() == ["d1", "d2", "d3", "d4"]
    assert scores["band"].tolist() == ["medium", "high", "very low", "low"]
    assert scores["reasons"].tolist()[0] == "For: age 5."
    first = scores.iloc[0]
    assert first["close_p50"] == 10.0
    assert first["close_p50_date"] == pd.Timestamp("2026-03-11")
    assert first["close_p90_date"] == pd.Timestamp("2026-04-01")  # 1 March noon + 30.6 days
    assert first["scored_at"] == pd.Timestamp(AS_OF)
    assert set(scores["model_version"]) == {"deal_scores/3"}


def test_row_order_does_not_matter() -> None:
    frame = _frame(d2=8, d1=5, d3=1)
    pd.testing.assert_frame_equal(_score(frame), _score(frame.iloc[::-1]))


def test_a_deal_that_cannot_be_won_has_no_date() -> None:
    assert pd.isna(_score(_frame(d1=0)).iloc[0]["close_p50_date"])


def test_no_open_deals_give_no_rows_but_all_columns() -> None:
    scores = _score(_frame())
    assert len(scores) == 0
    assert set(_score(_frame(d1=1)).columns) == set(scores.columns)


def test_three_reasons_a_side_strongest_first() -> None:
    told = [{"text": f"r{value}", "contribution": value} for value in (1, 2, 3, 4, -1, -2, 0)]
    assert reasons_text(told) == "For: r4; r3; r2. Against: r-2; r-1."
    assert reasons_text([]) == ""


def test_bad_input_is_named() -> None:
    with pytest.raises(DataError, match="`d1` stands twice"):
        _score(pd.concat([_frame(d1=1), _frame(d1=2)]))
    with pytest.raises(DataError, match="as of 2025"):
        _score(_frame(d1=1).assign(as_of=pd.Timestamp("2025-01-01")))
    with pytest.raises(ModelError, match="outside"):
        _score(_frame(d1=11))
    with pytest.raises(UsageError, match="cut points"):
        score_open_deals(
            _frame(d1=1), AgeModel(), as_of=AS_OF, model_version="m/1", bands=(0.5, 0.2, 0.8)
        )


@pytest.mark.parametrize("bands", [[0.5, 0.2, 0.8], [0.0, 0.5, 0.8], [0.2, 0.5]])
def test_the_settings_refuse_such_bands_at_once(bands: list[float]) -> None:
    with pytest.raises(ConfigError, match="bands"):
        parse({"write_back": {"bands": bands}})


def test_an_answer_without_a_column_is_named() -> None:
    class Half(AgeModel):
        def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
            return super().predict(frame).drop(columns="p_open")

    with pytest.raises(ModelError, match="`p_open`"):
        score_open_deals(_frame(d1=1), Half(), as_of=AS_OF, model_version="m/1", bands=BANDS)
