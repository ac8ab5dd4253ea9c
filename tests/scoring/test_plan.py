"""The plan writes what a seller would notice, once, and nothing else."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesops_ml.errors import DataError
from salesops_ml.scoring import Score, WriteBackPlan, plan_write_back, render_plan
from salesops_ml.scoring.fields import FIELDS

COLUMNS = ["deal_id", "p_win", "band", "close_p50_date", "reasons", "scored_at", "model_version"]
NOTHING = pd.DataFrame(columns=["deal_id", *FIELDS])


def _scores(*rows: tuple[str, float, str, str]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "deal_id": deal_id,
                "p_win": p_win,
                "band": band,
                "close_p50_date": pd.Timestamp(day),
                "reasons": "For: x.",
                "scored_at": pd.Timestamp("2026-03-01"),
                "model_version": "deal_scores/1",
            }
            for deal_id, p_win, band, day in rows
        ],
        columns=COLUMNS,
    )


def _written(plan: WriteBackPlan, current: pd.DataFrame = NOTHING) -> pd.DataFrame:
    """The CRM's table after the plan, by the plan's own words."""
    rows = {row["deal_id"]: row for row in current.to_dict("records")}
    for change in plan.to_write:
        rows[change.deal_id] = {"deal_id": change.deal_id, **(change.new or Score()).values()}
    return pd.DataFrame(list(rows.values()), columns=["deal_id", *FIELDS])


BEFORE = _written(
    plan_write_back(
        NOTHING,
        _scores(
            ("d1", 0.40, "low", "2026-04-01"),
            ("d2", 0.40, "low", "2026-04-01"),
            ("d3", 0.4999, "low", "2026-04-01"),
            ("d4", 0.40, "low", "2026-04-01"),
            ("d5", 0.40, "low", "2026-04-01"),
            ("d6", 0.40, "low", "2026-04-01"),
        ),
        min_change=0.01,
    )
)


def test_each_rule_of_the_plan() -> None:
    after = _scores(
        ("d0", 0.10, "very low", "2026-04-01"),  # new
        ("d1", 0.409, "low", "2026-04-07"),  # moved by less than 1 point and less than 7 days
        ("d2", 0.41, "low", "2026-04-01"),  # moved by exactly 1 point
        ("d3", 0.50, "medium", "2026-04-01"),  # hardly moved, but into the next band
        ("d4", 0.40, "low", "2026-04-08"),  # expected a week later
    )  # d5 is closed, d6 is not scored this time
    plan = plan_write_back(BEFORE, after, min_change=0.01, closed={"d5"})
    assert [(change.deal_id, change.action, change.why) for change in plan.changes] == [
        ("d0", "insert", "first score"),
        ("d1", "keep", "moved too little"),
        ("d2", "update", "win probability 40.0% -> 41.0%"),
        ("d3", "update", "band low -> medium"),
        ("d4", "update", "expected close 2026-04-01 -> 2026-04-08"),
        ("d5", "withdraw", "the deal is closed"),
        ("d6", "keep", "not scored this time"),
    ]
    assert plan.counts() == {"insert": 1, "update": 3, "withdraw": 1, "keep": 2}


def test_small_moves_add_up() -> None:
    current = BEFORE
    for p_win in (0.404, 0.408, 0.412):
        scores = _scores(("d1", p_win, "low", "2026-04-01"))
        plan = plan_write_back(current, scores, min_change=0.01)
        current = _written(plan, current)
    assert current.set_index("deal_id").loc["d1", FIELDS[0]] == 0.412


def test_a_withdrawn_deal_that_is_reopened_is_written_again() -> None:
    emptied = _written(plan_write_back(BEFORE, _scores(), min_change=0.01, closed={"d1"}), BEFORE)
    assert pd.isna(emptied.set_index("deal_id").loc["d1", FIELDS[0]])
    plan = plan_write_back(emptied, _scores(("d1", 0.4, "low", "2026-04-01")), min_change=0.01)
    assert plan.to_write[0].action == "insert"


@given(
    old=st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1), max_size=6),
    new=st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1), min_size=1, max_size=6),
    min_change=st.floats(0, 0.2),
)
def test_a_second_run_writes_nothing(
    old: dict[str, float], new: dict[str, float], min_change: float
) -> None:
    def scores(values: dict[str, float]) -> pd.DataFrame:
        return _scores(*[(key, value, "low", "2026-04-01") for key, value in values.items()])

    current = _written(plan_write_back(NOTHING, scores(old), min_change=min_change))
    closed = set(old) - set(new)
    first = plan_write_back(current, scores(new), min_change=min_change, closed=closed)
    second = plan_write_back(
        _written(first, current), scores(new), min_change=min_change, closed=closed
    )
    assert second.to_write == ()


def test_the_text_of_a_plan_is_short_and_complete() -> None:
    rows = [(f"d{at:02}", 0.1 + at / 100, "low", "2026-04-01") for at in range(30)]
    text = render_plan(plan_write_back(NOTHING, _scores(*rows), min_change=0.01), limit=2)
    assert text.splitlines() == [
        "write-back plan: 30 to insert, 0 to update, 0 to withdraw, 0 to keep",
        "  insert   d00: nothing -> 10.0% low (first score)",
        "  insert   d01: nothing -> 11.0% low (first score)",
        "  ... and 28 more",
    ]


def test_a_plan_is_frozen_and_reads_as_a_frame() -> None:
    plan = plan_write_back(NOTHING, _scores(("d1", 0.4, "low", "2026-04-01")), min_change=0.01)
    with pytest.raises(FrozenInstanceError):
        plan.changes = ()  # type: ignore[misc]
    frame = plan.to_frame()
    assert frame.loc[0, "new_win_probability"] == 0.4
    assert frame.loc[0, "old_band"] is None


def test_contradictions_are_named() -> None:
    twice = _scores(("d1", 0.4, "low", "2026-04-01"), ("d1", 0.5, "low", "2026-04-01"))
    with pytest.raises(DataError, match="`d1` stands twice in the scores"):
        plan_write_back(NOTHING, twice, min_change=0.01)
    with pytest.raises(DataError, match="closed"):
        plan_write_back(
            NOTHING, _scores(("d1", 0.4, "low", "2026-04-01")), min_change=0.01, closed={"d1"}
        )
