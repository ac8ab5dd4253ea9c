"""Scores from a file, chunk by chunk, are the scores in hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from salesops_ml.errors import DataError
from salesops_ml.models.known_deals import UNSEEN_STAGE
from salesops_ml.scoring.plan import WITHHELD, plan_in_chunks, plan_write_back
from salesops_ml.scoring.score_chunks import score_chunks, scored_deals


def scores(count: int) -> pd.DataFrame:
    """Scores of as many deals, one of them in a stage that the model has never seen."""
    rows = [
        {
            "deal_id": f"d{at:04}", "as_of": pd.Timestamp("2026-03-01"), "p_win": at / count,
            "close_p50_date": pd.NaT if at % 7 == 0 else pd.Timestamp("2026-04-01"),
            "band": "low", "reasons": f"For: «{at}» meetings.", "caution": None,
            "scored_at": pd.Timestamp("2026-03-01 08:30"), "model_version": "deal_scores/1",
        }
        for at in range(count)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("size", [1, 7, 50, 1_000])
def test_a_file_gives_the_plan_of_the_frame(tmp_path: Path, size: int) -> None:
    frame = scores(50)
    frame.loc[3, "caution"] = UNSEEN_STAGE
    path = tmp_path / "scores.parquet"
    frame.to_parquet(path, index=False)
    told = [
        list(plan_in_chunks(score_chunks(given, size=size), lambda _: {}, min_change=0.01))
        for given in (path, frame.sample(frac=1, random_state=3))
    ]
    nothing = pd.DataFrame(columns=["deal_id"])
    assert told[0] == told[1] == list(plan_write_back(nothing, frame, min_change=0.01).changes)
    assert told[0][3].why.startswith(WITHHELD)
    assert max(len(chunk) for chunk in score_chunks(path, size=size)) <= size
    assert scored_deals(path).to_pylist() == frame["deal_id"].tolist()


@pytest.mark.parametrize("order", [[0, 2, 1], [0, 1, 1]])
def test_deals_out_of_order_or_twice_are_refused_across_chunks(
    tmp_path: Path, order: list[int]
) -> None:
    path = tmp_path / "scores.parquet"
    scores(3).iloc[order].to_parquet(path, index=False)
    with pytest.raises(DataError, match="deal `d0001` stands behind deal `d000"):
        list(score_chunks(path, size=1))


def test_what_is_no_file_of_scores_is_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("deal,score\n")
    pd.DataFrame({"deal_id": ["a"]}).to_parquet(tmp_path / "other")
    for name, words in [("none", "cannot be read"), ("text", "as Parquet"), ("other", "`p_win`")]:
        with pytest.raises(DataError, match=words) as no:
            list(score_chunks(tmp_path / name, size=10))
        assert str(tmp_path / name) in str(no.value)
