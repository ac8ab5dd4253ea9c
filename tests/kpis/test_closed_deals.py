"""Win rate, deal size, cycle, quotas and velocity, each worked out by hand."""

from __future__ import annotations

import pytest

from salesops_ml.kpis.cycle import sales_cycle, typical_time_to_win
from salesops_ml.kpis.deal_size import deal_size, open_deal_size
from salesops_ml.kpis.quota import quota_achievement, quota_attainment
from salesops_ml.kpis.velocity import sales_velocity
from salesops_ml.kpis.win_rate import win_rate
from salesops_ml.settings import parse
from tests.kpis.tiny import (
    MARCH,
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

# Closed in Q1: a, b won, c lost (Ann 2 of 2, Bob 0 of 1). Closed in Q2: d won by Cy. e is open.
DEALS = [
    deal("a", "ann", "2026-01-01", "won", "2026-01-11", "300"),
    deal("b", "ann", "2026-01-01", "won", "2026-03-02", "100"),
    deal("c", "bob", "2026-01-01", "lost", "2026-03-31 23:59", "600"),
    deal("d", "cy", "2026-01-01", "won", "2026-04-01", "50"),
    deal("e", "cy", "2026-01-01", amount="70"),
]
ANN, BOB = "company/EMEA/North/ann", "company/EMEA/North/bob"


def test_win_rate() -> None:
    with company(deals=DEALS) as warehouse:
        told = rows_of(win_rate, warehouse, Q1, Q2, MARCH)
        counts = counts_of(win_rate, warehouse, Q1)
    assert told["win_rate", "2026-Q1", "company"] == pytest.approx(100 * 2 / 3)
    assert told["win_rate_amount", "2026-Q1", "company"] == pytest.approx(100 * 400 / 1000)
    assert told["win_rate", "2026-Q1", ANN] == 100
    assert told["win_rate", "2026-Q1", BOB] == 0
    assert told["win_rate", "2026-03", "company/EMEA/North"] == 50  # b won, c lost
    assert told["win_rate", "2026-Q2", "company/APAC"] == 100  # the open deal counts neither way
    assert ("win_rate", "2026-Q1", "company/APAC") not in told
    assert counts["win_rate", "2026-Q1", "company"] == 3


def test_deal_size() -> None:
    with company(deals=DEALS, deal_changes=unchanged(DEALS)) as warehouse:
        told = rows_of(deal_size, warehouse, Q1)
        is_open = rows_of(open_deal_size, warehouse, Q1, Q2)
    assert told["deal_size_mean", "2026-Q1", "company"] == 200  # (300 + 100) / 2
    assert told["deal_size_median", "2026-Q1", "company"] == 200
    assert is_open["open_deal_size_mean", "2026-Q1", "company"] == 60  # d and e at the end of March
    assert is_open["open_deal_size_mean", "2026-Q2", "company"] == 70  # e at as_of


def test_amounts_are_those_at_closing() -> None:
    """A won deal whose amount was edited later keeps the amount that it was won with."""
    deals = [deal("a", "ann", "2026-01-01", "won", "2026-02-01", "999")]
    history = changes(
        "a", "amount_base", ("2026-01-01", "80"), ("2026-01-20", "100"), ("2026-04-01", "999")
    )
    with company(deals=deals, deal_changes=history) as warehouse:
        told = rows_of(deal_size, warehouse, Q1)
    assert told["deal_size_mean", "2026-Q1", "company"] == 100


def test_without_history_the_past_of_an_open_amount_is_not_known() -> None:
    """a's 300 are known from its closing on, e's 70 only now; what d was worth in March is not."""
    with company(deals=DEALS) as warehouse:
        won = rows_of(deal_size, warehouse, Q1)
        is_open = rows_of(open_deal_size, warehouse, Q1, Q2)
    assert won["deal_size_mean", "2026-Q1", "company"] == 200
    assert is_open["open_deal_size_mean", "2026-Q2", "company"] == 70
    assert ("open_deal_size_mean", "2026-Q1", "company") not in is_open


def test_a_rate_by_amount_needs_amounts_of_lost_deals() -> None:
    deals = [
        deal("a", "ann", "2026-01-01", "won", "2026-02-01", "300"),
        deal("b", "bob", "2026-01-01", "lost", "2026-02-01", "0"),
        deal("c", "bob", "2026-01-01", "lost", "2026-02-01", None),
    ]
    with company(deals=deals) as warehouse:
        told = rows_of(win_rate, warehouse, Q1)
    assert told["win_rate", "2026-Q1", "company"] == pytest.approx(100 / 3)
    assert ("win_rate_amount", "2026-Q1", "company") not in told
    assert told["win_rate_amount", "2026-Q1", ANN] == 100  # she lost none


def test_an_amount_in_foreign_money_needs_a_history_in_company_money() -> None:
    deals = [
        {**deal("a", "ann", "2026-01-01", "won", "2026-02-01", "55"), "currency": "USD"},
        {**deal("b", "ann", "2026-01-01", "won", "2026-02-01", "77"), "currency": "EUR"},
    ]
    history = changes("a", "amount", ("2026-01-01", "60")) + changes(
        "b", "amount", ("2026-01-01", "70")
    )
    with company(deals=deals, deal_changes=history) as warehouse:
        told = rows_of(deal_size, warehouse, Q1)
    assert told["deal_size_mean", "2026-Q1", "company"] == (55 + 70) / 2


def test_sales_cycle() -> None:
    with company(deals=DEALS) as warehouse:
        told = rows_of(sales_cycle, warehouse, Q1)
    assert told["cycle_mean", "2026-Q1", "company"] == 35  # a 10 days, b 60 days; c is lost
    assert told["cycle_median", "2026-Q1", "company"] == 35


def test_typical_time_to_win() -> None:
    """Four deals of January: won after 10, lost after 20, won after 30, open ever since (120 days).

    Winning, with losing as a competitor: at 10: 1/4. At 20 one of three leaves by losing: S = 1/2.
    At 30: 1/2 x 1/2 = 1/4 more, so F(90) = 1/2, half of it is 1/4, reached on day 10.
    """
    deals = [
        deal("a", "ann", "2026-01-01", "won", "2026-01-11"),
        deal("b", "ann", "2026-01-01", "lost", "2026-01-21"),
        deal("c", "ann", "2026-01-01", "won", "2026-01-31"),
        deal("d", "ann", "2026-01-01"),
        deal("e", "bob", "2026-04-10", "won", "2026-04-11"),
        deal("f", "bob", "2026-04-10"),
    ]
    with company(deals=deals) as warehouse:
        told = rows_of(typical_time_to_win, warehouse, Q1, Q2)
    assert told["cycle_typical", "2026-Q1", "company"] == 10
    assert ("cycle_typical", "2026-Q2", "company") not in told  # f is followed for 21 days only


def test_quotas() -> None:
    """Ann wins 400 of 300, Bob 0 of 500; Cy has no quota. Ann and Bob: 400 of 800."""
    quotas = [
        {"owner_id": "ann", "period_start": f"2026-0{month}-01", "period_end": f"2026-0{month}-28",
         "amount": "100"}
        for month in (1, 2, 3)
    ] + [
        {"owner_id": "bob", "period_start": "2026-01-01", "period_end": "2026-03-31", "amount": "500"},
        {"owner_id": "bob", "period_start": "2026-01-01", "period_end": "2026-12-31", "amount": "9999"},
    ]  # fmt: skip
    with company(deals=DEALS, quotas=quotas) as warehouse:
        achieved = rows_of(quota_achievement, warehouse, Q1)
        attained = rows_of(quota_attainment, warehouse, Q1)
    assert achieved == {
        ("quota_achievement_rate", "2026-Q1", node): value
        for node, value in [
            ("company", 50), ("company/EMEA", 50), ("company/EMEA/North", 50), (ANN, 100), (BOB, 0),
        ]
    }  # fmt: skip
    assert attained["quota_attainment", "2026-Q1", "company"] == 50  # 400 / 800
    assert attained["quota_attainment", "2026-Q1", ANN] == pytest.approx(100 * 400 / 300)
    assert attained["quota_attainment", "2026-Q1", BOB] == 0


def test_a_node_may_have_a_quota_of_its_own() -> None:
    quotas = [quota("ann", "300"), quota("North", "1000"), quota("company", "1600")]
    with company(deals=DEALS, quotas=quotas) as warehouse:
        attained = rows_of(quota_attainment, warehouse, Q1)
    assert attained["quota_attainment", "2026-Q1", "company/EMEA/North"] == 40  # 400 / 1000
    assert attained["quota_attainment", "2026-Q1", "company"] == 25  # 400 / 1600
    assert attained["quota_attainment", "2026-Q1", "company/EMEA"] == pytest.approx(400 / 3)


def test_exactly_the_quota_is_reached() -> None:
    with company(deals=DEALS, quotas=[quota("ann", "400")]) as warehouse:
        told = rows_of(quota_achievement, warehouse, Q1)
    assert told["quota_achievement_rate", "2026-Q1", ANN] == 100


def test_sales_velocity() -> None:
    """2 open at the end of Q1 x win rate 2/3 x mean size 200 / mean cycle 35 days."""
    with company(deals=DEALS) as warehouse:
        told = rows_of(sales_velocity, warehouse, Q1)
    assert told == {("sales_velocity", "2026-Q1", "company"): pytest.approx(2 * 2 / 3 * 200 / 35)}


def test_stage_history_is_believed_where_it_tells_closings() -> None:
    """The row says lost, the history says won in February, reopened, and won again in March."""
    deals = [deal("a", "ann", "2026-01-01", "lost", "2026-01-05")]
    events = moves(
        "a", ("2026-01-01", "Lead"), ("2026-02-01", "Won"), ("2026-02-10", "Offer"),
        ("2026-03-10", "Won"), ("2026-03-20", "Won"),
    )  # fmt: skip
    with company(deals=deals, stage_events=events) as warehouse:
        told = rows_of(win_rate, warehouse, Q1, MARCH)
        length = rows_of(sales_cycle, warehouse, Q1)
    assert told["win_rate", "2026-03", "company"] == 100
    assert length["cycle_mean", "2026-Q1", "company"] == 68  # 1 January to 10 March


def test_a_deal_outside_the_stage_history_is_told_by_its_row() -> None:
    deals = [
        deal("a", "ann", "2026-01-01", "open"),
        deal("b", "ann", "2026-01-01", "lost", "2026-01-05"),
    ]
    with company(deals=deals, stage_events=moves("a", ("2026-02-01", "Won"))) as warehouse:
        assert rows_of(win_rate, warehouse, Q1)["win_rate", "2026-Q1", "company"] == 50


def test_the_owner_is_whoever_had_the_deal_at_closing() -> None:
    deals = [deal("a", "cy", "2026-01-01", "won", "2026-02-01")]
    owners = changes(
        "a", "rep_id", ("2026-01-01", "ann"), ("2026-01-10", "bob"), ("2026-03-01", "cy")
    )
    with company(deals=deals, deal_changes=owners) as warehouse:
        told = rows_of(win_rate, warehouse, Q1)
    assert ("win_rate", "2026-Q1", BOB) in told
    assert ("win_rate", "2026-Q1", "company/APAC") not in told


def test_periods_follow_the_company_clock() -> None:
    """Won at 22:30 UTC on 31 March: in Amsterdam it is April already."""
    deals = [deal("a", "ann", "2026-01-01", "won", "2026-03-31 22:30")]
    here = parse({"company": {"time_zone": "Europe/Amsterdam"}})
    with company(deals=deals) as warehouse:
        assert not rows_of(win_rate, warehouse, Q1, settings=here)
        assert rows_of(win_rate, warehouse, Q2, settings=here)
        assert rows_of(win_rate, warehouse, Q1)


def test_what_is_unknown_still_adds_up() -> None:
    deals = [
        deal("a", "ann", "2026-01-01", "won", "2026-02-01"),
        deal("b", "a stranger", "2026-01-01", "lost", "2026-02-01"),
        {**deal("c", "", "2026-01-01", "lost", "2026-02-01"), "rep_id": None},
    ]
    with company(deals=deals) as warehouse:
        counts = counts_of(win_rate, warehouse, Q1)
    assert counts["win_rate", "2026-Q1", "company"] == 3
    assert counts["win_rate", "2026-Q1", "company/unknown/unknown"] == 2
    assert counts["win_rate", "2026-Q1", "company/unknown/unknown/unknown"] == 1


def test_the_tree_may_start_with_an_attribute_of_the_deal() -> None:
    deals = [{**row, "product": "Core/2", "lead_source": "Web"} for row in DEALS]
    settings = parse({"forecast": {"hierarchy": ["product", "lead_source", "region"]}})
    with company(deals=deals) as warehouse:
        told = rows_of(win_rate, warehouse, Q1, settings=settings)
    assert told["win_rate", "2026-Q1", "company/Core%2F2/Web/EMEA"] == pytest.approx(200 / 3)
