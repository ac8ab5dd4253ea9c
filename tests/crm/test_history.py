"""Histories made whole: first values, company money, closing stages; nothing made up."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.crm import complete_history
from salesops_ml.schema import Attribute, CanonicalTables, conform, no_rejects
from salesops_ml.warehouse import content_digest

DEALS = [
    {"deal_id": "a", "status": "open", "currency": "EUR", "created_at": datetime(2026, 1, 1),
     "amount": "300.00", "rep_id": "ann", "expected_close_date": date(2026, 6, 1)},
    {"deal_id": "b", "status": "open", "currency": "EUR", "created_at": datetime(2026, 1, 2),
     "amount": "50.00", "rep_id": "bob", "expected_close_date": date(2026, 7, 1)},
    {"deal_id": "c", "status": "open", "currency": "EUR", "created_at": None,
     "amount": "7.00", "rep_id": "bob", "expected_close_date": None},
]  # fmt: skip


def change(deal: str, field: str, day: int, old: str | None, new: str | None) -> dict[str, Any]:
    at = datetime(2026, 1, day)
    return {"deal_id": deal, "field": field, "changed_at": at, "seq": 0, "old_value": old,
            "new_value": new}  # fmt: skip


def world(changes: list[dict[str, Any]] | None, **tables: pa.Table) -> CanonicalTables:
    deals = pa.Table.from_pylist(DEALS)
    found = {"deals": conform("deals", deals), **tables}
    if changes is not None:
        found["deal_changes"] = conform("deal_changes", pa.Table.from_pylist(changes))
    return CanonicalTables(found, no_rejects())


def told(tables: CanonicalTables, field: str) -> list[tuple[Any, ...]]:
    rows = conform("deal_changes", tables.tables["deal_changes"]).to_pylist()
    return [
        (row["deal_id"], row["changed_at"].day, row["old_value"], row["new_value"])
        for row in rows
        if row["field"] == field
    ]


def test_the_first_value_is_the_old_one_of_the_first_change_or_todays() -> None:
    changes = [
        change("a", "amount", 9, "200.00", "300.00"),
        change("a", "amount", 5, "100.00", "200.00"),
    ]
    done = complete_history(world(changes), base_currency="EUR")
    assert told(done, "amount") == [
        ("a", 1, None, "100.00"),
        ("a", 5, "100.00", "200.00"),
        ("a", 9, "200.00", "300.00"),
        ("b", 2, None, "50.00"),
    ]


def test_a_field_without_a_history_gets_none() -> None:
    changes = [change("a", "amount", 5, "100.00", "300.00")]
    done = complete_history(world(changes), base_currency="EUR")
    assert told(done, "rep_id") == told(done, "expected_close_date") == []


def test_without_a_feed_nothing_is_made_up() -> None:
    done = complete_history(world(None), base_currency="EUR")
    assert "deal_changes" not in done.tables


def test_a_first_value_that_is_there_already_is_left_alone() -> None:
    changes = [change("a", "rep_id", 1, None, "ann"), change("b", "rep_id", 2, None, "bob")]
    done = complete_history(world(changes), base_currency="EUR")
    assert told(done, "rep_id") == [("a", 1, None, "ann"), ("b", 2, None, "bob")]


def test_a_change_at_the_very_moment_of_creation_comes_after_the_first_value() -> None:
    done = complete_history(world([change("a", "rep_id", 1, "eve", "ann")]), base_currency="EUR")
    assert told(done, "rep_id") == [
        ("a", 1, None, "eve"), ("a", 1, "eve", "ann"), ("b", 2, None, "bob")
    ]  # fmt: skip


def test_dates_and_attributes_are_written_as_the_feed_writes_them() -> None:
    changes = [change("a", "expected_close_date", 5, "2026-05-01", "2026-06-01"),
               change("a", "size", 5, "1", "2")]  # fmt: skip
    plain = world(changes)
    sized = plain.tables["deals"].append_column("x_size", pa.array([2.0, 3.5, None]))
    attributes = (Attribute("size", "float", "over_time"),)
    tables = CanonicalTables({**plain.tables, "deals": sized}, no_rejects(), attributes)
    done = complete_history(tables, base_currency="EUR")
    assert told(done, "expected_close_date")[-1] == ("b", 2, None, "2026-07-01")
    assert told(done, "size") == [("a", 1, None, "1"), ("a", 5, "1", "2"), ("b", 2, None, "3.5")]


def test_company_money_has_the_history_of_the_amount_at_each_days_rate() -> None:
    rates = pa.Table.from_pylist([
        {"currency": "USD", "day": date(2026, 1, 1), "rate": 0.5},
        {"currency": "USD", "day": date(2026, 1, 4), "rate": 0.25},
    ])  # fmt: skip
    tables = world([change("a", "amount", 5, "100.00", "300.00")],
                   exchange_rates=conform("exchange_rates", rates))  # fmt: skip
    deals = tables.tables["deals"]
    dollars = pa.array(["USD", "EUR", "EUR"])
    place = deals.column_names.index("currency")
    tables.tables["deals"] = deals.set_column(place, "currency", dollars)
    done = complete_history(tables, base_currency="EUR")
    assert told(done, "amount_base") == [
        ("a", 1, None, "50.00"), ("a", 5, "25.00", "75.00"), ("b", 2, None, "50.00")
    ]  # fmt: skip


def test_an_amount_is_valued_in_the_currency_that_the_deal_had_then() -> None:
    changes = [
        change("a", "currency", 1, None, "USD"), change("a", "currency", 7, "USD", "EUR"),
        change("a", "amount", 5, "100.00", "200.00"), change("a", "amount", 9, "200.00", "300.00"),
    ]  # fmt: skip
    rates = pa.table({"currency": ["USD"], "day": [date(2026, 1, 1)], "rate": [0.5]})
    tables = world(changes, exchange_rates=conform("exchange_rates", rates))
    done = complete_history(tables, base_currency="EUR", first_values=False)
    assert [(day, new) for _, day, _, new in told(done, "amount_base")] == [
        (5, "100.00"), (9, "300.00"),
    ]  # fmt: skip


def test_a_deal_with_its_own_history_of_company_money_leaves_others_to_the_rates() -> None:
    changes = [
        change("a", "amount", 5, "100.00", "200.00"), change("a", "amount_base", 5, "60.00", "90.00"),
        change("b", "amount", 5, "100.00", "200.00"),
    ]  # fmt: skip
    both = complete_history(world(changes), base_currency="EUR", first_values=False)
    alone = complete_history(world(changes[2:]), base_currency="EUR", first_values=False)
    assert told(both, "amount_base") == [
        ("a", 5, "60.00", "90.00"), ("b", 5, "100.00", "200.00")
    ]  # fmt: skip
    assert told(alone, "amount_base") == [("b", 5, "100.00", "200.00")]
    assert complete_history(both, base_currency="EUR", first_values=False) == both


def closings(events: list[tuple[str, int, str]], stages: list[dict[str, Any]]) -> CanonicalTables:
    deals = [
        {"deal_id": "a", "status": "won", "pipeline": "p", "closed_at": datetime(2026, 1, 20)},
        {"deal_id": "b", "status": "lost", "pipeline": "p", "closed_at": datetime(2026, 1, 21)},
        {"deal_id": "c", "status": "open", "pipeline": "p", "closed_at": None},
    ]
    steps = [
        {"deal_id": deal, "entered_at": datetime(2026, 1, day), "seq": 0, "stage": stage}
        for deal, day, stage in events
    ]
    return CanonicalTables(
        {
            "deals": conform("deals", pa.Table.from_pylist(deals)),
            "stage_events": conform("stage_events", pa.Table.from_pylist(steps)),
            "stages": conform("stages", pa.Table.from_pylist(stages)),
        },
        no_rejects(),
    )


def entered(tables: CanonicalTables) -> list[tuple[str, int, str]]:
    rows = conform("stage_events", tables.tables["stage_events"]).to_pylist()
    return [(row["deal_id"], row["entered_at"].day, row["stage"]) for row in rows]


OFFER = {"pipeline": "p", "stage": "Offer", "position": 0, "is_won": False, "is_closed": False}
SIGNED = {"pipeline": "p", "stage": "Signed", "position": 1, "is_won": True, "is_closed": True}
MOVES = [("a", 2, "Offer"), ("b", 3, "Offer"), ("c", 4, "Offer")]


def test_a_closed_deal_enters_the_closing_stage_of_its_pipeline_when_it_closed() -> None:
    done = complete_history(closings(MOVES, [OFFER, SIGNED]), base_currency="EUR")
    assert entered(done) == [
        ("a", 2, "Offer"), ("a", 20, "Signed"), ("b", 3, "Offer"), ("b", 21, "lost"),
        ("c", 4, "Offer"),
    ]  # fmt: skip
    lost = done.tables["stages"].to_pylist()[-1]
    assert (lost["stage"], lost["is_won"], lost["is_closed"]) == ("lost", False, True)


def test_a_deal_that_entered_a_closing_stage_or_never_moved_is_left_alone() -> None:
    moves = [("a", 2, "Offer"), ("a", 19, "Signed"), ("c", 4, "Offer")]
    tables = closings(moves, [OFFER, SIGNED])
    assert entered(complete_history(tables, base_currency="EUR")) == moves


moments = st.integers(1, 28)
words = st.one_of(st.none(), st.sampled_from(["ann", "bob"]))
feeds = st.lists(
    st.builds(change, st.sampled_from("abc"), st.just("rep_id"), moments, words, words),
    max_size=8, unique_by=lambda row: (row["deal_id"], row["changed_at"]),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(feeds)
def test_completing_twice_changes_nothing_and_no_recorded_change_is_lost(feed) -> None:
    tables = world(feed) if feed else world(None)
    once = complete_history(tables, base_currency="EUR")
    twice = complete_history(once, base_currency="EUR")
    assert content_digest(once) == content_digest(twice)
    if feed:
        kept = once.tables["deal_changes"].to_pylist()
        assert all(any(row.items() <= found.items() for found in kept) for row in feed)
        dated = {row["deal_id"] for row in DEALS if row["created_at"]}
        assert {row["deal_id"] for row in kept if row["old_value"] is None} >= dated - {
            row["deal_id"] for row in feed if row["old_value"] is None
        }


def test_company_money_of_another_deal_makes_none_of_todays_amount_known_earlier() -> None:
    """One deal's feed tells company money, another's its own: the other's is worked out from that."""
    tables = world([change("a", "amount", 5, "100.00", "300.00"),
                    change("b", "amount_base", 5, "20.00", "50.00")])  # fmt: skip
    deals = tables.tables["deals"]
    place = deals.column_names.index("amount_base")
    tables.tables["deals"] = deals.set_column(place, "amount_base", deals["amount"])
    done = complete_history(tables, base_currency="EUR")
    moves = [("a", 1, None, "100.00"), ("a", 5, "100.00", "300.00")]
    assert [move for move in told(done, "amount_base") if move[0] == "a"] == moves
    assert told(done, "amount_base")[-2:] == [("b", 2, None, "20.00"), ("b", 5, "20.00", "50.00")]
    again = complete_history(done, base_currency="EUR")
    assert content_digest(again) == content_digest(done)
