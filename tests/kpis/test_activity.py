"""Selling time, meetings and speed to lead, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from salesops_ml.kpis.meetings import prospect_meetings
from salesops_ml.kpis.selling_time import selling_time, won_per_selling_hour
from salesops_ml.kpis.speed_to_lead import speed_to_lead
from salesops_ml.settings import parse
from tests.kpis.tiny import Q1, Q2, Row, company, counts_of, deal, rows_of


def _did(at: str, rep_id: str, kind: str, minutes: float | None, deal_id: str | None) -> Row:
    return {
        "activity_id": f"{rep_id} {at}", "at": at, "rep_id": rep_id, "kind": kind,
        "duration_minutes": minutes, "deal_id": deal_id,
    }  # fmt: skip


DEALS = [
    deal("a", "ann", "2026-01-01", "won", "2026-02-01", "300"),
    deal("b", "bob", "2026-01-01"),
]
ACTIVITIES = [
    _did("2026-01-02", "ann", "meeting", 60, "a"),
    _did("2026-01-03", "ann", "internal", 30, None),
    _did("2026-01-04", "ann", "email", None, "a"),
    _did("2026-02-02", "ann", "meeting", 30, "a"),  # the deal is won already
    _did("2026-01-05", "bob", "call", 20, "b"),
    _did("2026-01-06", "bob", "task", 60, "b"),
    _did("2026-03-31 23:00", "bob", "demo", 40, "b"),
    _did("2026-04-01", "bob", "meeting", 15, "b"),
]
TABLES: dict[str, Any] = {"deals": DEALS, "activities": ACTIVITIES}
ANN, BOB = "company/EMEA/North/ann", "company/EMEA/North/bob"


def test_selling_time() -> None:
    """Ann: 90 of 120 minutes with customers. Bob: 20 + 40 of 120. Together 150 of 240."""
    with company(**TABLES) as warehouse:
        told = rows_of(selling_time, warehouse, Q1)
        counts = counts_of(selling_time, warehouse, Q1)
        calls_only = rows_of(
            selling_time, warehouse, Q1, settings=parse({"kpis": {"selling": ["call"]}})
        )
    assert told["selling_time_share", "2026-Q1", ANN] == 75
    assert told["selling_time_share", "2026-Q1", BOB] == 50
    assert told["selling_time_share", "2026-Q1", "company"] == 62.5
    assert counts["selling_time_share", "2026-Q1", ANN] == 3  # the email has no duration
    assert calls_only["selling_time_share", "2026-Q1", "company"] == pytest.approx(100 * 20 / 240)


def test_won_per_selling_hour() -> None:
    """300 won in 150 minutes of selling; Ann's 300 in 90 minutes; Bob has won nothing."""
    with company(**TABLES) as warehouse:
        told = rows_of(won_per_selling_hour, warehouse, Q1)
    assert told["won_per_selling_hour", "2026-Q1", "company"] == 120
    assert told["won_per_selling_hour", "2026-Q1", ANN] == 200
    assert told["won_per_selling_hour", "2026-Q1", BOB] == 0


def test_prospect_meetings() -> None:
    """Ann met once over an open deal, Bob demoed once: 2 over 2 reps. Q2: Bob alone met once."""
    with company(**TABLES) as warehouse:
        told = rows_of(prospect_meetings, warehouse, Q1, Q2)
    assert told["meetings_per_rep", "2026-Q1", "company"] == 1
    assert told["meetings_per_rep", "2026-Q1", ANN] == 1
    assert told["meetings_per_rep", "2026-Q2", "company"] == 1
    assert ("meetings_per_rep", "2026-Q2", ANN) not in told


def test_a_meeting_without_a_deal_is_none_with_a_prospect() -> None:
    done = [_did("2026-01-02", "ann", "meeting", 60, None)]
    with company(deals=DEALS, activities=done) as warehouse:
        told = rows_of(prospect_meetings, warehouse, Q1)
    assert told["meetings_per_rep", "2026-Q1", "company"] == 0


def test_speed_to_lead() -> None:
    """First touch after 2, 4 and 0 hours (before creation); d never, lost after 3 hours.

    Leaving at 0: S = 3/4. At 2: S = 3/4 x 2/3 = 1/2, so half are touched within 2 hours. At 3 one is
    censored; at 4 the last: S = 0, so 90 % are touched within 4 hours.
    """
    deals = [deal(name, "ann", "2026-01-05") for name in "abc"]
    deals += [deal("d", "ann", "2026-01-05", "lost", "2026-01-05 03:00")]
    done = [
        _did("2026-01-05 02:00", "ann", "call", 5, "a"),
        _did("2026-01-09 02:00", "ann", "call", 5, "a"),
        _did("2026-01-05 04:00", "bob", "email", None, "b"),
        _did("2026-01-04 12:00", "cy", "call", 5, "c"),
    ]
    with company(deals=deals, activities=done) as warehouse:
        told = rows_of(speed_to_lead, warehouse, Q1)
    assert told["speed_to_lead_p50", "2026-Q1", "company"] == 2
    assert told["speed_to_lead_p90", "2026-Q1", "company"] == 4


def test_speed_that_most_have_not_shown_is_not_told() -> None:
    deals = [deal(name, "ann", "2026-01-05") for name in "abc"]
    done = [_did("2026-01-05 02:00", "ann", "call", 5, "a")]
    with company(deals=deals, activities=done) as warehouse:
        assert rows_of(speed_to_lead, warehouse, Q1) == {}
