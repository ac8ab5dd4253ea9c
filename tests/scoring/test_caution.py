"""A score that should not be acted on says so, and is not written where its stage was never seen."""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from salesops_ml.models.known_deals import NO_SIGNAL, UNSEEN_STAGE
from salesops_ml.scoring import plan_write_back, render_plan, score_open_deals
from salesops_ml.scoring.fields import FIELDS

AS_OF = datetime(2026, 3, 1)
NOTHING = pd.DataFrame(columns=["deal_id", *FIELDS])


class Even:
    """Everything is even, and deals called odd are strange."""

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        told = {"p_win": 0.5, "p_lost": 0.5, "p_open": 0.0, "p_win_low": 0.4, "p_win_high": 0.6}
        days = {"close_p10": 1.0, "close_p50": 2.0, "close_p90": 3.0}
        return pd.DataFrame({**told, **days}, index=frame.index)

    def reasons(self, frame: pd.DataFrame) -> list[list[dict[str, object]]]:
        return [[] for _ in range(len(frame))]

    def caution(self, frame: pd.DataFrame) -> list[str | None]:
        return [f"{UNSEEN_STAGE}: X" if name == "odd" else None for name in frame["deal_id"]]


class Plain:
    """The same without a sense of caution."""

    predict, reasons = Even.predict, Even.reasons


def scored(*names: str, model: type = Even) -> pd.DataFrame:
    frame = pd.DataFrame({"deal_id": list(names), "as_of": pd.Timestamp(AS_OF)})
    return score_open_deals(
        frame, model(), as_of=AS_OF, model_version="deal_scores/1", bands=(0.2, 0.5, 0.8)
    )


def test_caution_stands_beside_the_score() -> None:
    told = scored("odd", "fine").set_index("deal_id")["caution"]
    assert told["odd"] == f"{UNSEEN_STAGE}: X"
    assert pd.isna(told["fine"])
    assert scored("odd", model=Plain)["caution"].isna().all()
    assert list(scored()["caution"]) == []


def test_a_stage_never_seen_is_not_written_and_the_plan_counts_it() -> None:
    plan = plan_write_back(NOTHING, scored("odd", "fine"), min_change=0.01)
    assert [change.deal_id for change in plan.to_write] == ["fine"]
    assert [change.deal_id for change in plan.withheld] == ["odd"]
    assert plan.withheld[0].new is None
    assert f"1 withheld: {UNSEEN_STAGE}: X" in render_plan(plan)
    assert plan.to_frame().set_index("deal_id")["why"]["odd"].startswith("withheld")


def test_a_probability_from_before_the_strange_stage_is_taken_back() -> None:
    first = plan_write_back(NOTHING, scored("odd", model=Plain), min_change=0.01).changes[0]
    assert first.new is not None
    current = pd.DataFrame([{"deal_id": "odd", **first.new.values()}])
    plan = plan_write_back(current, scored("odd"), min_change=0.01)
    assert plan.counts()["withdraw"] == 1
    assert len(plan.withheld) == 1
    assert plan.changes[0].new is None


def test_other_cautions_do_not_withhold() -> None:
    scores = scored("fine").assign(caution=NO_SIGNAL)
    plan = plan_write_back(NOTHING, scores, min_change=0.01)
    assert plan.counts()["insert"] == 1
    assert plan.withheld == ()
