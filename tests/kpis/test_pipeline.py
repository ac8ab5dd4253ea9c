"""The open pipeline, its coverage and efficiency, slippage, ageing and the waterfall, by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from salesops_ml.kpis import Facts
from salesops_ml.kpis.ageing import ageing
from salesops_ml.kpis.pipeline import (
    model_weighted_pipeline,
    open_pipeline,
    pipeline_coverage,
    pipeline_efficiency,
    weighted_pipeline,
)
from salesops_ml.kpis.slippage import pushes, slippage
from salesops_ml.kpis.waterfall import STEPS, waterfall
from salesops_ml.settings import parse
from tests.kpis.tiny import (
    AS_OF,
    Q1,
    Q2,
    changes,
    company,
    counts_of,
    deal,
    moves,
    quota,
    rows_of,
    unchanged,
)

# a: Lead since December, Offer since February, open, 100 -> 150 in February, due in March -> May.
# b: Lead since January, won in March with 200, due in February.
# c: Lead since 1 April, open, 40, due in June.
DEALS = [
    deal("a", "ann", "2025-12-01"),
    deal("b", "ann", "2026-01-01", "won", "2026-03-02"),
    deal("c", "cy", "2026-04-01", amount="40", due="2026-06-30"),
]
EVENTS = [
    *moves("a", ("2025-12-01", "Lead"), ("2026-02-01", "Offer")),
    *moves("b", ("2026-01-01", "Lead"), ("2026-03-02", "Won")),
    *moves("c", ("2026-04-01", "Lead")),
]
CHANGES = [
    *changes("a", "amount_base", ("2025-12-01", "100"), ("2026-02-01", "150")),
    *changes(
        "a", "expected_close_date", ("2025-12-01", "2026-03-31"), ("2026-03-01", "2026-05-31")
    ),
    *changes("b", "amount_base", ("2026-01-01", "180"), ("2026-02-01", "200")),
    *changes("b", "expected_close_date", ("2026-01-01", "2026-02-28")),
]
TABLES = {"deals": DEALS, "stage_events": EVENTS, "deal_changes": CHANGES}


def test_open_and_weighted_pipeline() -> None:
    with company(**TABLES) as warehouse:
        told = rows_of(open_pipeline, warehouse, Q1, Q2)
        weighted = rows_of(weighted_pipeline, warehouse, Q1, Q2)
    assert (
        told["open_deals", "2026-Q1", "company"] == 1
    )  # a; c is created in the first moment of Q2
    assert told["open_pipeline", "2026-Q1", "company"] == 150
    assert told["open_pipeline", "2026-Q2", "company"] == 190  # a 150, c 40, at as_of
    assert weighted["weighted_pipeline_crm", "2026-Q1", "company"] == 75  # 150 x .5
    assert weighted["weighted_pipeline_crm", "2026-Q2", "company"] == 79  # 150 x .5 + 40 x .1
    assert weighted["weighted_pipeline_crm", "2026-Q2", "company/APAC"] == 4


def test_pipeline_weighted_by_the_model() -> None:
    chances = pd.DataFrame({"deal_id": ["a", "c", "gone"], "p_win": [0.8, 0.25, 0.9]})
    with (
        company(**TABLES) as warehouse,
        Facts.known(warehouse, as_of=AS_OF, settings=parse({}), periods=[Q1, Q2]) as facts,
    ):
        told = model_weighted_pipeline(facts, chances).set_index(["period", "node"])["value"]
    assert told["2026-Q2", "company"] == 130  # 150 x .8 + 40 x .25
    assert "2026-Q1" not in told.index.get_level_values(0)


def test_pipeline_efficiency() -> None:
    """Q1: won 200 of a's 100 open at the start and b's 200 created in it."""
    with company(**TABLES) as warehouse:
        told = rows_of(pipeline_efficiency, warehouse, Q1, Q2)
    assert told["pipeline_efficiency", "2026-Q1", "company"] == pytest.approx(100 * 200 / 300)
    assert told["pipeline_efficiency", "2026-Q2", "company"] == 0  # nothing won of 150 + 40


def test_a_pipeline_that_is_mostly_without_amounts_is_not_told() -> None:
    deals = [
        deal("a", "ann", "2026-04-01", amount="100"),
        deal("b", "bob", "2026-04-01", amount=None),
        deal("c", "bob", "2026-04-01", amount=None),
    ]
    with company(deals=deals) as warehouse:
        told = rows_of(open_pipeline, warehouse, Q2)
        efficiency = rows_of(pipeline_efficiency, warehouse, Q2)
    assert told["open_deals", "2026-Q2", "company"] == 3
    assert ("open_pipeline", "2026-Q2", "company") not in told
    assert told["open_pipeline", "2026-Q2", "company/EMEA/North/ann"] == 100
    assert set(efficiency) == {("pipeline_efficiency", "2026-Q2", "company/EMEA/North/ann")}


def test_pipeline_coverage() -> None:
    """Start of Q2: a, due in May, 150 against 300. On 1 May also c's 40; nothing won yet.

    Q1 started with a's 100 against 50. By Q1's end it is over, so only its start is told.
    """
    quotas = [quota("company", "50"), quota("company", "300", Q2), quota("cy", "80", Q2)]
    with company(**TABLES, quotas=quotas) as warehouse:
        told = rows_of(pipeline_coverage, warehouse, Q1, Q2)
    assert told["pipeline_coverage_start", "2026-Q1", "company"] == 2
    assert told["pipeline_coverage_start", "2026-Q2", "company"] == 0.5
    assert told["pipeline_coverage", "2026-Q2", "company"] == pytest.approx(190 / 300)
    assert told["pipeline_coverage", "2026-Q2", "company/APAC"] == 0.5  # c's 40 against Cy's 80
    assert ("pipeline_coverage", "2026-Q1", "company") not in told


def test_coverage_counts_what_is_won_already() -> None:
    """Quota 300, won 200 in April, 60 still due: 60 / (300 - 200). A quota that is met: nothing."""
    deals = [
        deal("w", "ann", "2026-04-01", "won", "2026-04-20", "200"),
        deal("x", "ann", "2026-04-01", amount="60", due="2026-05-15"),
    ]
    quotas = [quota("company", "300", Q2), quota("EMEA", "200", Q2)]
    with company(deals=deals, quotas=quotas) as warehouse:
        told = rows_of(pipeline_coverage, warehouse, Q2)
    assert told["pipeline_coverage", "2026-Q2", "company"] == pytest.approx(0.6)
    assert ("pipeline_coverage", "2026-Q2", "company/EMEA") not in told


def test_slippage() -> None:
    """Open at the start of Q1 and due in it: a (100, moved to May), s (300, won), t (600, overdue).

    One of three moved past the period; by amount 100 of 1000. b and c were not open at the start.
    """
    more = [
        deal("s", "bob", "2025-12-01", "won", "2026-01-15", "300", "2026-01-31"),
        deal("t", "bob", "2025-12-01", amount="600", due="2026-01-31"),
    ]
    tables = {"deals": [*DEALS, *more], "deal_changes": [*CHANGES, *unchanged(more)]}
    with company(**{**TABLES, **tables}) as warehouse:
        told = rows_of(slippage, warehouse, Q1)
        counts = counts_of(slippage, warehouse, Q1)
    assert told["slippage_deals", "2026-Q1", "company"] == pytest.approx(100 / 3)
    assert told["slippage_amount", "2026-Q1", "company"] == 10
    assert told["slippage_deals", "2026-Q1", "company/EMEA/North/bob"] == 0
    assert counts["slippage_deals", "2026-Q1", "company"] == 3


def test_pushes_per_deal() -> None:
    """In Q1, a is pushed twice and pulled once, b not at all: 2 pushes over 2 deals."""
    dates = changes(
        "a", "expected_close_date", ("2025-12-01", "2026-03-01"), ("2026-01-05", "2026-04-01"),
        ("2026-01-06", "2026-03-15"), ("2026-02-01", "2026-05-01"), ("2026-04-15", "2026-06-01"),
    )  # fmt: skip
    with company(deals=DEALS, deal_changes=dates) as warehouse:
        told = rows_of(pushes, warehouse, Q1, Q2)
    assert told["pushes_per_deal", "2026-Q1", "company"] == 1
    assert told["pushes_per_deal", "2026-Q2", "company"] == 0.5  # one push over a and c
    assert told["pushes_per_deal", "2026-Q1", "company/EMEA/North/ann"] == 1


def test_ageing() -> None:
    """Won deals left Lead at ages 10 and 20 days: P90 = 10 + .9 x 10 = 19. Nobody won left Offer.

    At the end of Q1, in Lead: old (90 days) and edge (19 days, not older). In Offer: one of 90 days.
    """
    deals = [
        deal("w1", "ann", "2026-01-01", "won", "2026-01-11"),
        deal("w2", "ann", "2026-01-01", "won", "2026-01-21"),
        deal("old", "ann", "2026-01-01", amount="500"),
        deal("edge", "bob", "2026-03-13", amount="70"),
        deal("offer", "bob", "2026-01-01", amount="900"),
    ]
    events = [
        *moves("w1", ("2026-01-01", "Lead"), ("2026-01-11", "Won")),
        *moves("w2", ("2026-01-01", "Lead"), ("2026-01-21", "Won")),
        *moves("old", ("2026-01-01", "Lead")),
        *moves("edge", ("2026-03-13", "Lead")),
        *moves("offer", ("2026-01-01", "Lead"), ("2026-01-02", "Offer")),
    ]
    tables = {"deals": deals, "stage_events": events, "deal_changes": unchanged(deals)}
    with company(**tables) as warehouse:
        told = rows_of(ageing, warehouse, Q1)
        counts = counts_of(ageing, warehouse, Q1)
    assert told["ageing_deals", "2026-Q1", "company"] == 1
    assert told["ageing_amount", "2026-Q1", "company"] == 500
    assert told["ageing_deals", "2026-Q1", "company/EMEA/North/bob"] == 0
    assert counts["ageing_deals", "2026-Q1", "company"] == 3


def _step(told: dict[tuple[str, str, str], float], node: str) -> dict[str, float]:
    """The steps at a node that are not zero, in Q1."""
    steps = {step: told.get((f"waterfall:{step}", "2026-Q1", node), 0.0) for step in STEPS}
    assert sum(steps.values()) == pytest.approx(2 * steps["end"])
    return {step: value for step, value in steps.items() if value}


def test_waterfall_step_by_step() -> None:
    """Every kind of step once, in Q1 (amount at the start -> at the end, due date in brackets)."""
    old = "2025-12-01"
    deals = [
        deal("stays", "ann", old),  # 100 -> 130 (March)
        deal("pushed", "ann", old),  # 50 (March -> May)
        deal("pulled", "ann", old),  # 70 -> 65 (May -> March)
        deal("won", "ann", old, "won", "2026-02-01"),  # 200 -> 180 (March)
        deal("lost", "ann", old, "lost", "2026-02-01"),  # 90 (March)
        deal("early", "ann", old, "won", "2026-02-01"),  # 40 (May), won before its time
        deal("new", "ann", "2026-01-10"),  # 25 (March)
        deal("quick", "ann", "2026-01-10", "won", "2026-01-20"),  # 10
        deal("again", "ann", old),  # 60, lost in December, re-opened in January (March)
        deal("moved", "bob", old),  # 500, Ann's, Bob's since February (March)
        deal("other", "ann", old, amount="999", due="2026-05-01"),  # never due
    ]
    events = [
        row
        for item in deals
        for row in moves(
            str(item["deal_id"]),
            (str(item["created_at"]), "Lead"),
            *([(str(item["closed_at"]), str(item["status"]).title())] if item["closed_at"] else []),
        )
        if item["deal_id"] != "again"
    ]
    events += moves("again", (old, "Lead"), ("2025-12-15", "Lost"), ("2026-01-05", "Lead"))
    amounts = {
        "stays": ("100", "130"), "pushed": ("50",), "pulled": ("70", "65"), "won": ("200", "180"),
        "lost": ("90",), "early": ("40",), "new": ("25",), "quick": ("10",), "again": ("60",),
        "moved": ("500",),
    }  # fmt: skip
    due = {"pushed": ("2026-03-31", "2026-05-31"), "pulled": ("2026-05-31", "2026-03-31"),
           "early": ("2026-05-31",)}  # fmt: skip
    history = []
    for name, values in amounts.items():
        first = "2026-01-10" if name in ("new", "quick") else old
        days = (first, "2026-01-25")
        history += changes(name, "amount_base", *zip(days, values, strict=False))
        history += changes(
            name, "expected_close_date", *zip(days, due.get(name, ("2026-03-31",)), strict=False)
        )
    history += changes("moved", "rep_id", (old, "ann"), ("2026-02-01", "bob"))
    with company(deals=deals, stage_events=events, deal_changes=history) as warehouse:
        told = rows_of(waterfall, warehouse, Q1)
    assert _step(told, "company") == {
        "start": 100 + 50 + 200 + 90 + 500,
        "created": 25 + 10,
        "re-opened": 60,
        "pulled in": 70 + 40,
        "amount up": 30,
        "amount down": -5 - 20,
        "pushed out": -50,
        "won": -180 - 40 - 10,
        "lost": -90,
        "end": 130 + 65 + 25 + 60 + 500,
    }
    assert _step(told, "company/EMEA/North/bob") == {"owner in": 500, "end": 500}
    assert _step(told, "company/EMEA/North/ann")["owner out"] == -500


def test_a_rate_that_moved_is_no_change_of_the_deal() -> None:
    deals = [{**deal("a", "ann", "2025-12-01", due="2026-03-31"), "currency": "USD"}]
    history = [
        *changes("a", "expected_close_date", ("2025-12-01", "2026-03-31")),
        *changes("a", "amount", ("2025-12-01", "110")),
        *changes("a", "amount_base", ("2025-12-01", "100"), ("2026-02-01", "104")),
    ]
    with company(deals=deals, deal_changes=history) as warehouse:
        told = rows_of(waterfall, warehouse, Q1)
    assert _step(told, "company") == {"start": 100, "currency": 4, "end": 104}
