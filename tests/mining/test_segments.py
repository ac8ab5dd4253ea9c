"""What was known of a deal when it entered a stage, and no more."""

from __future__ import annotations

from datetime import datetime, timedelta

import pyarrow as pa

from salesops_ml.mining.event_log import event_log
from salesops_ml.mining.segments import segments
from salesops_ml.schema import CanonicalTables
from salesops_ml.warehouse import Warehouse
from tests.mining.conftest import tables

DAY = datetime(2026, 1, 1)


def after(days: float) -> datetime:
    return DAY + timedelta(days=days)


def company() -> CanonicalTables:
    """One deal: Lead, Offer on day 5, Lead on day 9; its product, amount and quote change."""
    made = tables(
        [("a", "Lead", DAY), ("a", "Offer", after(5)), ("a", "Lead", after(9))],
        {"a": ("open", None)},
        [("a", "product", DAY, "Core"), ("a", "product", after(7), "Plus"),
         ("a", "amount_base", DAY, "10"), ("a", "amount_base", after(5), "20")],
    )  # fmt: skip
    deals = made.tables["deals"].append_column("account_id", pa.array(["x"]))
    deals = deals.append_column("lead_source", pa.array(["Web"]))
    more = {
        "deals": deals,
        "quotes": pa.table({
            "quote_id": ["q1", "q2"], "deal_id": ["a", "a"], "discount": [0.1, 0.3],
            "sent_at": [after(5), after(20)],
        }),
        "accounts": pa.table({
            "account_id": ["x", "x", "x"], "valid_from": [after(-9), after(6), None],
            "industry": ["Retail", "Software", "Never"], "region": ["EMEA"] * 3,
        }),
        "reps": pa.table({
            "rep_id": ["r1", "r1"], "valid_from": [after(-9), after(30)], "team": ["Red", "Blue"],
        }),
    }  # fmt: skip
    return CanonicalTables(made.tables | more, made.rejects)


def test_each_value_is_the_one_at_the_entry() -> None:
    with Warehouse.in_memory(company()) as warehouse:
        log = event_log(warehouse, as_of=after(40))
        found = segments(warehouse, log, as_of=after(40))
    assert found.position.tolist() == [0, 1, 2]
    assert found["product"].tolist() == ["Core", "Core", "Plus"]
    assert found.amount.tolist() == [10, 20, 20]
    assert found.discount.fillna(-1).tolist() == [-1, 0.1, 0.1]
    assert found.industry.tolist() == ["Retail", "Retail", "Software"]
    assert found.lead_source.tolist() == ["Web"] * 3
    assert found.rep_team.tolist() == ["Red"] * 3
    assert found.rep.tolist() == ["r1"] * 3


def test_columns_that_may_change_are_not_read_unless_they_are_said_not_to() -> None:
    with Warehouse.in_memory(company()) as warehouse:
        log = event_log(warehouse, as_of=after(40))
        found = segments(warehouse, log, as_of=after(40), known_at_creation=("pipeline",))
    assert found.lead_source.isna().all()
    assert found.industry.isna().all()


def test_a_company_without_histories_has_rows_of_nothing() -> None:
    made = tables([("a", "Lead", DAY)], {"a": ("open", None)})
    with Warehouse.in_memory(made) as warehouse:
        found = segments(warehouse, event_log(warehouse, as_of=after(1)), as_of=after(1))
    assert len(found) == 1
    assert found.drop(columns=["case_id", "position", "rep"]).isna().all(axis=None)
