"""What overriding added: by hand, against a slow loop, and blind to what was said too late."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.forecasts.override_value import LATEST_MODEL, override_value, value_added

QUARTER = pd.Timestamp("2026-01-01")
END = pd.Timestamp("2026-04-01")


def told(*rows: tuple[str, str, float, float], method: str = "ours") -> pd.DataFrame:
    """origin, node, mean, actual of forecasts of 2026-Q1."""
    frame = pd.DataFrame(rows, columns=["origin", "node", "mean", "actual"])
    origin = pd.to_datetime(frame["origin"])
    days = (END - origin) / pd.Timedelta(days=1)
    return frame.assign(
        origin=origin, level="company", period="2026-Q1", method=method, days_to_end=days
    )


def said(*rows: tuple[str, str, str | None, float], category: str | None = "commit"):
    frame = pd.DataFrame(rows, columns=["submitted_at", "node", "author", "amount"])
    at = pd.to_datetime(frame["submitted_at"])
    return frame.assign(submitted_at=at, period="2026-Q1", category=category, reason="why")


def test_the_last_word_of_the_model_before_the_person_spoke_counts():
    model = told(
        ("2026-01-01", "company", 60, 100), ("2026-01-08", "company", 90, 100),
        ("2026-01-15", "company", 100, 100),
    )  # fmt: skip
    rows = override_value(model, said(("2026-01-12", "company", "ann", 105)))
    assert rows[["model", "person_miss", "model_miss", "value"]].to_numpy().tolist() == [
        [90, 5, 10, 5]
    ]
    at_once = override_value(model, said(("2026-01-15", "company", "ann", 105)))
    assert at_once["value"].tolist() == [-5]


def test_what_cannot_be_compared_is_left_out():
    model = told(("2026-01-01", "company", 60, 100), ("2026-03-28", "company", 90, 100))
    late = said(("2026-04-01", "company", "ann", 100), ("2026-04-02", "company", "ann", 100))
    assert override_value(model, late).empty
    old = said(("2026-01-20", "company", "ann", 100))
    assert override_value(model, old).empty
    assert len(override_value(model, old, within=timedelta(days=30))) == 1
    early = said(("2025-12-31", "company", "ann", 100), ("2026-01-02", "company/EMEA", "ann", 100))
    assert override_value(model, early).empty
    best = said(("2026-01-02", "company", "ann", 100), category="best_case")
    assert override_value(model, best).empty
    assert override_value(told(("2026-01-01", "company", 1, np.nan)), late).empty
    assert value_added(override_value(model, best)).empty


def test_a_word_without_category_or_author_is_a_forecast_of_somebody():
    model = told(("2026-01-01", "company", 60, 100))
    rows = override_value(model, said(("2026-01-02", "company", None, 70), category=None))
    assert rows[["author", "value"]].to_numpy().tolist() == [["unnamed", 10]]


def test_what_was_written_down_later_counts_from_then_on():
    model = told(("2026-01-01", "company", 60, 100), ("2026-01-08", "company", 95, 100))
    word = said(("2026-01-02", "company", "ann", 100))
    late = word.assign(recorded_at=pd.Timestamp("2026-01-09"))
    assert override_value(model, late)["value"].tolist() == [5]
    assert override_value(model, word.assign(recorded_at=pd.NaT))["value"].tolist() == [40]
    hindsight = word.assign(recorded_at=pd.Timestamp("2026-04-02"))
    assert override_value(model, hindsight).empty


def test_sums_by_hand():
    model = told(
        ("2026-01-01", "company", 80, 100), ("2026-01-01", "company/A", 40, 50),
        ("2026-01-01", "company/B", 60, 50),
    )  # fmt: skip
    words = said(
        ("2026-01-02", "company", "vp", 95), ("2026-01-02", "company/A", "ann", 30),
        ("2026-01-03", "company/B", "bob", 60),
    )  # fmt: skip
    values = override_value(model, words)
    total = value_added(values).iloc[0]
    assert (total.submissions, total.periods, total.nearer) == (3, 1, 1)
    assert total.value == 15 - 10 + 0
    assert total.value_share == pytest.approx(5 / 40)
    assert np.isnan(total.value_share_se)
    assert (total.person_wape, total.model_wape) == (35 / 200, 40 / 200)
    authors = value_added(values, by=["author"])
    assert authors[["author", "value"]].to_numpy().tolist() == [
        ["ann", -10],
        ["bob", 0],
        ["vp", 15],
    ]


def test_the_error_goes_by_periods():
    """Ten times the same period knows no more than once; two periods give the spread between them."""
    one = override_value(
        told(("2026-01-01", "company", 80, 100)), said(("2026-01-02", "company", "vp", 95))
    )
    other = one.assign(period="2026-Q2", value=-10.0)
    both = value_added(pd.concat([one, other])).iloc[0]
    many = value_added(pd.concat([one] * 10 + [other] * 10)).iloc[0]
    assert both.value_share == pytest.approx(many.value_share) == pytest.approx(5 / 40)
    off = 15 - 20 * 5 / 40
    assert both.value_share_se == pytest.approx(np.sqrt(2 * off**2 * 2) / 40)
    assert many.value_share_se == pytest.approx(both.value_share_se)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 100), st.sampled_from(["company", "company/A"]), st.integers(0, 9)),
        max_size=12,
    ),
    st.lists(st.tuples(st.integers(0, 80), st.sampled_from(["company", "company/A"])), max_size=12,
             unique=True),
)  # fmt: skip
def test_a_slow_loop_finds_the_same(words, model):
    actual = {"company": 7.0, "company/A": 3.0}
    spoken = [(str(QUARTER + pd.Timedelta(days=d)), n, float(d % 7), actual[n]) for d, n in model]
    heard = [(str(QUARTER + pd.Timedelta(days=d)), n, "x", float(a)) for d, n, a in words]
    found = override_value(told(*spoken), said(*heard)) if spoken and heard else pd.DataFrame()
    wanted = []
    for day, node, amount in words:
        before = [d for d, n in model if n == node and 0 <= day - d <= LATEST_MODEL.days]
        if before and day < 90:
            miss = abs(max(before) % 7 - actual[node])
            wanted.append(miss - abs(amount - actual[node]))
    assert sorted(found["value"].tolist() if len(found) else []) == pytest.approx(sorted(wanted))
