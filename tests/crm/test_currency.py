"""Amounts in company money, and the rate that is missing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from salesops_ml.errors import SourceError

HEAD = "id,state,money,value,opened,closed\n"
COLUMNS = {"deal_id": "id", "status": "state", "currency": "money", "amount": "value",
           "created_at": "opened", "closed_at": "closed"}  # fmt: skip
RATES = "currency,day,rate\nUSD,2026-01-01,0.5\nUSD,2026-02-01,0.9\nGBP,2026-01-01,1.2\n"


def load(desk: Any, rows: str, rates: str | None = RATES, **more: Any) -> Any:
    tables: dict[str, Any] = {"deals": desk.deals(HEAD + rows, columns=COLUMNS, values={}, **more)}
    if rates is not None:
        desk.write("rates.csv", rates)
        tables["exchange_rates"] = {"path": "rates.csv"}
    return desk.read(tables)


def bases(read: Any) -> dict[str, Decimal | None]:
    deals = read.tables["deals"]
    ids, amounts = deals["deal_id"].to_pylist(), deals["amount_base"].to_pylist()
    return dict(zip(ids, amounts, strict=True))


def test_a_closed_deal_takes_the_rate_of_its_close_and_an_open_one_that_of_its_creation(
    desk: Any,
) -> None:
    read = load(desk, "a,won,USD,100,2026-01-10,2026-02-10\nb,open,usd,100,2026-01-10,\n"
                      "c,open,,100,2026-01-10,\nd,open,EUR,0.01,,\n")  # fmt: skip
    assert bases(read) == {
        "a": Decimal("90.00"), "b": Decimal("50.00"), "c": Decimal("100.00"), "d": Decimal("0.01"),
    }  # fmt: skip
    assert set(read.tables["deals"]["currency"].to_pylist()) == {"USD", "EUR"}


def test_a_missing_rate_is_a_reject_that_names_currency_and_day(desk: Any) -> None:
    read = load(desk, "a,open,EUR,1,2026-01-10,\nb,open,EUR,1,2026-01-10,\n"
                      "c,open,CHF,1,2026-01-10,\nd,open,EUR,1,2026-01-10,\n"
                      "e,open,USD,1,2025-12-31,\nf,open,USD,1,,\ng,open,EUR,1,,\n")  # fmt: skip
    told = {(row["row"], row["column"], row["reason"]) for row in read.rejects.to_pylist()}
    assert told == {
        (4, "currency", "no rate for CHF on 2026-01-10"),
        (6, "currency", "no rate for USD on 2025-12-31"),
        (7, "currency", "no rate for USD on an unknown day"),
    }


def test_a_rate_of_more_than_a_month_ago_is_none(desk: Any) -> None:
    read = load(desk, "a,open,GBP,10,2026-02-01,\nb,open,GBP,10,2026-03-01,\nc,open,EUR,1,,\n")
    assert bases(read) == {"a": Decimal("12.00"), "c": Decimal("1.00")}


def test_foreign_money_without_any_rates_stops_the_load_with_the_cure(desk: Any) -> None:
    with pytest.raises(SourceError, match="no rate for USD on 2026-01-10; add the rate"):
        load(desk, "a,open,USD,1,2026-01-10,\n", rates=None)


def test_an_amount_in_company_money_that_the_source_brings_is_kept(desk: Any) -> None:
    columns = {**COLUMNS, "amount_base": "base"}
    text = HEAD.strip() + ",base\na,open,CHF,10,2026-01-10,,9.50\nb,open,EUR,10,2026-01-10,,\n"
    desk.write("deals.csv", text)
    read = desk.read({"deals": {"path": "deals.csv", "columns": columns}})
    assert bases(read) == {"a": Decimal("9.50"), "b": Decimal("10.00")}


def test_a_deal_without_an_amount_needs_no_rate(desk: Any) -> None:
    assert bases(load(desk, "a,open,CHF,,2026-01-10,\n")) == {"a": None}
