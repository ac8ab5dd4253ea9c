"""Stage conversion and dwell, by hand, with deals that are still there counted as still there."""

from __future__ import annotations

import pytest

from salesops_ml.kpis.stages import stage_conversion, stage_dwell, transition_dwell
from salesops_ml.settings import parse
from tests.kpis.tiny import MARCH, Q1, Q2, company, counts_of, deal, moves, rows_of

# In Lead from 1 January: a 4 days, then Offer, won on day 14; b 6 days, then lost; c 8 days, then
# Offer ever since; d ever since (120 days at as_of).
DEALS = [
    deal("a", "ann", "2026-01-01", "won", "2026-01-15"),
    deal("b", "ann", "2026-01-01", "lost", "2026-01-07"),
    deal("c", "ann", "2026-01-01"),
    deal("d", "bob", "2026-01-01"),
]
EVENTS = [
    *moves("a", ("2026-01-01", "Lead"), ("2026-01-05", "Offer"), ("2026-01-15", "Won")),
    *moves("b", ("2026-01-01", "Lead"), ("2026-01-07", "Lost")),
    *moves("c", ("2026-01-01", "Lead"), ("2026-01-09", "Offer")),
    *moves("d", ("2026-01-01", "Lead")),
]


def test_stage_conversion() -> None:
    """Of four in Lead, two got on, one was lost, one is still there: as it stands, 2 of 4.

    Of two in Offer one was won. Of four in Lead one was won.
    """
    with company(deals=DEALS, stage_events=EVENTS) as warehouse:
        told = rows_of(stage_conversion, warehouse, Q1)
        counts = counts_of(stage_conversion, warehouse, Q1)
    assert told["stage_conversion:Lead", "2026-Q1", "company"] == 50
    assert told["stage_conversion:Offer", "2026-Q1", "company"] == 50
    assert told["stage_win_rate:Lead", "2026-Q1", "company"] == 25
    assert told["stage_conversion:Lead", "2026-Q1", "company/EMEA/North/bob"] == 0
    assert counts["stage_conversion:Lead", "2026-Q1", "company"] == 4


def test_a_deal_that_joined_late_is_censored_not_failed() -> None:
    """e enters Lead five days before as_of. In time since entry: at 4 a gets on, 1 of 5. At 5 e is
    censored. At 6 b is lost: S = 4/5 x 2/3. At 8 c gets on: 8/15 x 1/2 = 4/15. In all 1/5 + 4/15.
    """
    deals = [*DEALS, deal("e", "ann", "2026-04-26")]
    events = [*EVENTS, *moves("e", ("2026-04-26", "Lead"))]
    whole = parse({"kpis": {"quarters": 1}})
    year = Q1.__class__(Q1.start, Q2.end, "both")
    with company(deals=deals, stage_events=events) as warehouse:
        told = rows_of(stage_conversion, warehouse, year, settings=whole)
        early = rows_of(stage_conversion, warehouse, Q2)
    assert told["stage_conversion:Lead", "both", "company"] == pytest.approx(100 * (1 / 5 + 4 / 15))
    assert early == {}  # five days say nothing about three months


def test_only_the_first_entry_of_a_deal_counts_for_conversion() -> None:
    events = moves(
        "a", ("2026-01-01", "Lead"), ("2026-01-03", "Offer"), ("2026-01-05", "Lead"),
        ("2026-01-09", "Lost"),
    )  # fmt: skip
    with company(deals=DEALS[:1], stage_events=events) as warehouse:
        told = rows_of(stage_conversion, warehouse, Q1)
        visits = counts_of(stage_dwell, warehouse, Q1)
    assert told["stage_conversion:Lead", "2026-Q1", "company"] == 100
    assert told["stage_win_rate:Lead", "2026-Q1", "company"] == 0
    assert visits["stage_dwell_p50:Lead", "2026-Q1", "company"] == 2


def test_stage_dwell() -> None:
    """Lead: 4, 6, 8 days and one still there: S falls to 3/4, 1/2, 1/4; half have left by day 6.

    The P90 is not reached. Expected in Lead are 5 days: by then one of four has left, 75 % are over.
    Offer: 10 days, and one still there: half have left by day 10, and nobody later, 50 % are over 10.
    """
    with company(deals=DEALS, stage_events=EVENTS) as warehouse:
        told = rows_of(stage_dwell, warehouse, Q1)
        agreed = parse({"process": {"expected_days": {"Lead": 7}}})
        other = rows_of(stage_dwell, warehouse, Q1, settings=agreed)
    company_only = {metric: value for (metric, _, node), value in told.items() if node == "company"}
    assert company_only == {
        "stage_dwell_p50:Lead": 6,
        "stage_overdue:Lead": 75,
        "stage_dwell_p50:Offer": 10,
        "stage_overdue:Offer": 50,
    }
    assert other["stage_overdue:Lead", "2026-Q1", "company"] == 50


def test_dwell_in_working_days() -> None:
    """From Thursday 1 January to Monday 5 January are two working days, Thursday and Friday."""
    settings = parse({"process": {"calendar": "working"}})
    with company(deals=DEALS[:1], stage_events=EVENTS[:3]) as warehouse:
        told = rows_of(stage_dwell, warehouse, Q1, settings=settings)
    assert told["stage_dwell_p50:Lead", "2026-Q1", "company"] == 2


def test_transition_dwell() -> None:
    """From Lead: to Offer on days 4 and 8, incidences 1/4 and 1/4; to lost on day 6."""
    with company(deals=DEALS, stage_events=EVENTS) as warehouse:
        told = rows_of(transition_dwell, warehouse, Q1)
        counts = counts_of(transition_dwell, warehouse, Q1)
    assert told["transition_dwell_p50:Lead → Offer", "2026-Q1", "company"] == 4
    assert told["transition_dwell_p90:Lead → Offer", "2026-Q1", "company"] == 8
    assert told["transition_dwell_p50:Lead → lost", "2026-Q1", "company"] == 6
    assert told["transition_dwell_p50:Offer → won", "2026-Q1", "company"] == 10
    assert counts["transition_dwell_p50:Lead → Offer", "2026-Q1", "company"] == 2


def test_several_pipelines_keep_their_stages_apart() -> None:
    stages = [
        {"pipeline": line, "stage": "Lead", "position": 0, "probability": 0.1}
        for line in ("new", "renewal")
    ]
    deals = [DEALS[0], {**DEALS[1], "pipeline": "renewal"}]
    with company(deals=deals, stage_events=EVENTS, stages=stages) as warehouse:
        told = rows_of(stage_dwell, warehouse, Q1)
    assert told["stage_dwell_p50:new/Lead", "2026-Q1", "company"] == 4
    assert told["stage_dwell_p50:renewal/Lead", "2026-Q1", "company"] == 6


def test_stages_are_told_of_quarters_where_there_are_any() -> None:
    with company(deals=DEALS, stage_events=EVENTS) as warehouse:
        told = rows_of(stage_dwell, warehouse, Q1, MARCH)
    assert {period for _, period, _ in told} == {"2026-Q1"}
