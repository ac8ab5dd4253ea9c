"""A company of several currencies: booked at the closing day's rate, open at the last one known."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from salesops_ml.crm import complete_history
from salesops_ml.errors import DataError
from salesops_ml.forecasts import read_history
from salesops_ml.forecasts.revenue import placed
from salesops_ml.schema import CanonicalTables
from salesops_ml.settings import Settings, merge, parse
from salesops_ml.warehouse import Warehouse
from tests.forecasts.companies import SETTINGS, Book, flat_pipeline

AS_OF = datetime(2026, 5, 20, 12)
LATEST: Settings = parse(
    merge(SETTINGS.model_dump(mode="json"), {"company": {"open_amounts_at": "latest_rate"}})
)
FIRST = date(2025, 12, 1)


def rate(currency: str, day: date) -> float:
    """A rate for every day, so that a wrong day gives a wrong sum."""
    level = {"USD": 0.9, "GBP": 1.2, "EUR": 1.0}[currency]
    drift = {"USD": 0.001, "GBP": -0.0005, "EUR": 0.0}[currency]
    return level * (1.0 + drift * (day - FIRST).days)


def company(seed: int = 3, deals: int = 60, until: date = date(2026, 6, 30)) -> CanonicalTables:
    """Deals in three currencies: created, changed, won, lost and open; own-currency amounts only."""
    rng = np.random.default_rng(seed)
    book, currencies = Book(), {}
    for number in range(deals):
        name = f"d{number:03d}"
        start = datetime(2026, 1, 1) + timedelta(days=int(rng.integers(100)))
        book.deal(name, start.isoformat(), amount=float(rng.integers(10, 500)))
        if rng.random() < 0.5:
            later = start + timedelta(days=int(rng.integers(1, 15)))
            book.change(name, "amount_base", later.isoformat(), str(float(rng.integers(10, 500))))
        if rng.random() < 0.6:
            end = start + timedelta(days=int(rng.integers(16, 60)))
            stage = "Won" if rng.random() < 0.6 else "Lost"
            book.move(name, stage, end.isoformat())
            book.deals[-1] |= {"closed_at": end, "status": stage.lower()}
        currencies[name] = ["EUR", "USD", "GBP"][int(rng.integers(3))]
    for row in book.changes:
        row["field"] = row["field"].replace("amount_base", "amount")
    for row in book.deals:
        row["currency"] = currencies[row["deal_id"]]
    tables = book.tables()
    days = [FIRST + timedelta(days=number) for number in range((until - FIRST).days)]
    rates = [
        {"currency": currency, "day": day, "rate": rate(currency, day)}
        for currency in ("USD", "GBP") for day in days
    ]  # fmt: skip
    found = {**tables.tables, "exchange_rates": pa.Table.from_pylist(rates)}
    return complete_history(replace(tables, tables=found), base_currency="EUR")


def by_hand(tables: CanonicalTables, latest: bool) -> dict[str, float]:
    """Each deal's worth at `AS_OF`, by a loop."""
    changes = [row for row in tables.tables["deal_changes"].to_pylist() if row["field"] == "amount"]
    worth = {}
    for deal in tables.tables["deals"].to_pylist():
        known = [
            row for row in changes
            if row["deal_id"] == deal["deal_id"] and row["changed_at"] <= AS_OF
        ]  # fmt: skip
        if not known:
            continue
        last = max(known, key=lambda row: (row["changed_at"], row["seq"]))
        closed = deal["closed_at"] if deal["closed_at"] and deal["closed_at"] <= AS_OF else None
        day = last["changed_at"]
        if closed and deal["status"] == "won":
            day = closed
        if closed is None and latest:
            day = AS_OF
        worth[deal["deal_id"]] = float(last["new_value"]) * rate(deal["currency"], day.date())
    return worth


@pytest.mark.parametrize("latest", [False, True])
def test_worth_of_every_deal_and_every_total_is_that_of_a_loop_by_hand(latest):
    tables = company()
    with Warehouse.in_memory(tables) as warehouse:
        history = read_history(warehouse, as_of=AS_OF, settings=LATEST if latest else SETTINGS)
    found = history.deals.set_index("deal_id")["amount"]
    expected = by_hand(tables, latest)
    assert found.to_dict() == pytest.approx(expected, abs=0.011)
    won = [row["deal_id"] for row in tables.tables["deals"].to_pylist() if row["status"] == "won"]
    assert history.won["amount"].sum() == pytest.approx(
        sum(expected[name] for name in won if name in set(history.won.deal_id)), abs=0.5
    )


def test_rates_of_later_days_move_nothing_that_was_known():
    full, cut = company(), company(until=AS_OF.date() + timedelta(days=1))
    known = []
    for tables in (full, cut):
        kept = {
            name: table.filter(pa.compute.less_equal(table["changed_at"], pa.scalar(AS_OF)))
            if name == "deal_changes" else table
            for name, table in tables.tables.items()
        }  # fmt: skip
        with Warehouse.in_memory(replace(tables, tables=kept)) as warehouse:
            known.append(read_history(warehouse, as_of=AS_OF, settings=LATEST).deals)
    pd.testing.assert_frame_equal(*known)


def test_the_forecast_takes_the_worth_of_the_day():
    with Warehouse.in_memory(company()) as warehouse:
        history = read_history(warehouse, as_of=AS_OF, settings=LATEST)
    names = history.open.deal_id.tolist()
    pipeline = flat_pipeline(AS_OF, dict.fromkeys(names, 0.5), dict.fromkeys(names, 1.0))
    found = placed(pipeline, history).deals.set_index("deal_id")["amount"]
    assert found.to_dict() == pytest.approx(history.open.set_index("deal_id")["amount"].to_dict())


def test_rates_that_ended_long_ago_are_named_with_deal_currency_and_day():
    tables = company(until=date(2026, 4, 1))
    with (
        Warehouse.in_memory(tables) as warehouse,
        pytest.raises(DataError, match=r"deal `d\d+`: no rate for \w+ on 2026-05-20.*add the rate"),
    ):
        read_history(warehouse, as_of=AS_OF, settings=LATEST)


def test_changes_of_a_deal_that_is_not_in_the_record_are_no_matter_of_rates():
    tables = company()
    changes = tables.tables["deal_changes"].to_pandas()
    own = changes[changes.field == "amount"].assign(deal_id="stranger").head(1)
    table = pa.Table.from_pandas(
        pd.concat([changes[changes.field != "amount_base"], own]),
        schema=tables.tables["deal_changes"].schema, preserve_index=False,
    )  # fmt: skip
    found = complete_history(
        replace(tables, tables={**tables.tables, "deal_changes": table}), base_currency="EUR"
    )
    assert found.rejects.num_rows == tables.rejects.num_rows == 0


def test_a_change_on_a_day_without_a_rate_is_a_reject_and_counts_in_neither_money():
    tables = company(until=date(2026, 1, 20))
    reasons = tables.rejects.to_pylist()
    assert reasons
    assert all(row["reason"].startswith("deal d") for row in reasons)
    assert all("no rate for" in row["reason"] and row["cure"] for row in reasons)
    changes = tables.tables["deal_changes"].to_pandas()
    base = changes[changes.field == "amount_base"]
    assert base["new_value"].notna().all()
    told = changes[changes.field == "amount"].groupby("deal_id").size()
    assert (base.groupby("deal_id").size() >= told).all()
