"""Contracts and their renewals in a company whose truth is known: rates, what is due, the ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from salesops_ml.forecasts import forecast_revenue, read_history
from salesops_ml.forecasts.model import RevenueModel, learn_revenue_model
from salesops_ml.forecasts.recurring import MOVES, SIGNS, recurring_revenue
from salesops_ml.forecasts.renewals import learn_renewals, read_contracts
from salesops_ml.schema import CanonicalTables
from salesops_ml.settings import Settings, merge, parse
from salesops_ml.warehouse import Warehouse
from tests.forecasts.companies import SETTINGS, Book, flat_pipeline

AS_OF = datetime(2026, 1, 15, 12)
FOLLOWED: Settings = parse(
    merge(SETTINGS.model_dump(mode="json"), {"forecast": {"renewals": True, "hierarchy": ["rep"]}})
)
PLAIN: Settings = parse(
    merge(SETTINGS.model_dump(mode="json"), {"forecast": {"hierarchy": ["rep"]}})
)
RENEWS, GROWS = 0.8, 1.25


class Contracts(Book):
    """Writes contracts and their renewals."""

    def sell(
        self, name: str, account: str, won: datetime, amount: float, *, kind: str = "new",
        cycle: int = 30, outcome: str | None = "Won", term: int | None = 12, rep: str = "r1",
    ) -> None:  # fmt: skip
        created = won - timedelta(days=cycle)
        self.deal(name, created.isoformat(), amount=amount, rep=rep)
        row = {"account_id": account, "deal_type": kind, "term_months": term, "service_start": None}
        if outcome:
            self.move(name, outcome, won.isoformat())
            if outcome == "Won":
                row["service_start"] = (won + timedelta(days=10)).date()
        self.deals[-1] |= row


def year_later(moment: datetime) -> datetime:
    return (pd.Timestamp(moment) + pd.DateOffset(months=12)).to_pydatetime()


def company(accounts: int = 600, seed: int = 4) -> CanonicalTables:
    """Yearly contracts sold in 2023 and later, renewed by a coin ten days before they end."""
    rng = np.random.default_rng(seed)
    book = Contracts()
    for number in range(accounts):
        won = datetime(2023, 3, 1) + timedelta(days=float(rng.integers(0, 1000)))
        amount, rep, place = float(rng.integers(50, 150)), f"r{number % 3}", 0
        while won < AS_OF:
            kind = "renewal" if place else "new"
            book.sell(
                f"a{number:03d}-{place}", f"a{number:03d}", won, amount, kind=kind, rep=rep,
                cycle=60 if place else 30,
            )  # fmt: skip
            place, due = place + 1, year_later(won + timedelta(days=10)) - timedelta(days=10)
            if rng.random() > RENEWS:
                if rng.random() < 0.5:
                    book.sell(
                        f"a{number:03d}-{place}", f"a{number:03d}", due, amount, kind="renewal",
                        outcome="Lost", rep=rep, cycle=60,
                    )  # fmt: skip
                break
            won, amount = due, amount * (GROWS if rng.random() < 0.4 else 1.0)
    return book.tables()


@pytest.fixture(scope="module")
def renewing():
    with Warehouse.in_memory(company()) as warehouse:
        yield warehouse


@pytest.fixture(scope="module")
def history(renewing):
    return read_history(renewing, as_of=AS_OF, settings=FOLLOWED)


def test_rates_and_ratios_are_those_of_the_world(history):
    rates = learn_renewals(read_contracts(history), history)
    count = len(rates.renewed)
    assert count > 300
    assert abs(rates.renewed.mean() - RENEWS) < 3 * np.sqrt(RENEWS * (1 - RENEWS) / count)
    assert rates.ratios.mean() == pytest.approx(1 + 0.4 * (GROWS - 1), abs=0.03)
    # nobody has opened a renewal 30 days before the end, though those who renew do so 70 before
    late, early = rates.chance(pd.Series(["company/r1"] * 2), np.array([-30.0, -300.0]))
    assert late < 0.3 < 0.7 < early


def test_each_fate_is_what_was_known(history):
    contracts = read_contracts(history).set_index("deal_id")
    deals = history.deals.set_index("deal_id")
    status = contracts["renewal"].map(deals["status"])
    assert (status[contracts.fate == "renewed"] == "won").all()
    assert (status[contracts.fate == "in_pipeline"] == "open").all()
    silent = contracts[(contracts.fate == "churned") & contracts.renewal.isna()]
    assert (silent["end"] + timedelta(days=90) <= AS_OF).all()
    due = contracts[contracts.fate == "due"]
    assert (due["end"] + timedelta(days=90) > AS_OF).all()
    assert set(contracts.fate) == {"renewed", "in_pipeline", "churned", "due"}


def test_the_future_teaches_nothing(renewing, history):
    tables = company()
    cut = dict(tables.tables)
    deals = cut["deals"].to_pandas()
    cut["deals"] = cut["deals"].filter((deals["created_at"] <= AS_OF).to_numpy())
    for name, at in (("stage_events", "entered_at"), ("deal_changes", "changed_at")):
        cut[name] = cut[name].filter((cut[name][at].to_pandas() <= AS_OF).to_numpy())
    with Warehouse.in_memory(replace(tables, tables=cut)) as warehouse:
        before = read_history(warehouse, as_of=AS_OF, settings=FOLLOWED)
    pd.testing.assert_frame_equal(read_contracts(before), read_contracts(history))


def test_the_ledger_closes_at_every_node_and_month(history):
    table = recurring_revenue(history, FOLLOWED)
    signed = sum(sign * table[move] for sign, move in zip(SIGNS, MOVES, strict=True))
    assert (table["arr_start"] + signed).to_numpy() == pytest.approx(table["arr_end"].to_numpy())
    for _, rows in table.groupby("node"):
        assert rows["arr_start"].to_numpy()[1:] == pytest.approx(rows["arr_end"].to_numpy()[:-1])
    sums = table[table.node != "company"].groupby("period")[[*MOVES, "arr_end"]].sum()
    root = table[table.node == "company"].set_index("period")[[*MOVES, "arr_end"]]
    assert sums.loc[root.index].to_numpy() == pytest.approx(root.to_numpy())
    assert table["status"].value_counts().to_dict() == {
        "actual": 12 * 4, "running": 4, "forecast": 3 * 4
    }  # fmt: skip


def test_recurring_revenue_is_that_of_the_contracts_that_run(history):
    contracts = read_contracts(history)
    table = recurring_revenue(history, FOLLOWED)
    root = table[(table.node == "company") & (table.status == "actual")]
    told = root.set_index("period_start")["arr_end"]
    for start, arr in told.head(8).items():
        moment = start + pd.DateOffset(months=1)
        running = contracts[(contracts.start < moment) & (contracts.end >= moment)]
        assert arr == pytest.approx(running["arr"].sum())


def test_new_business_ahead_keeps_the_pace_of_the_last_year_unless_more_is_sold(history):
    table = recurring_revenue(history, FOLLOWED)
    root = table[table.node == "company"].set_index("period")
    past = root[root.status == "actual"]["new"].sum()
    days = pd.Timestamp(2026, 1, 1) - pd.Timestamp(2025, 1, 1)
    assert past > 0
    assert root.loc["2026-03", "new"] == pytest.approx(past / days.days * 31)
    assert root.loc["2026-02", "new"] == pytest.approx(past / days.days * 28)


def test_what_is_due_without_a_deal_joins_the_deals_to_come_once(renewing, history):
    open_deals = history.open
    pipeline = flat_pipeline(
        AS_OF, dict.fromkeys(open_deals.deal_id, 0.5),
        dict(zip(open_deals.deal_id, open_deals.amount, strict=True)),
    )  # fmt: skip
    model = learn_revenue_model(history, FOLLOWED)
    due = model.renewals
    contracts = read_contracts(history)
    waiting = contracts[
        (contracts.fate == "due") & (contracts.end < pd.Timestamp(model.view.months[-1].end))
    ]
    assert due is not None
    assert due.amount.sum() == pytest.approx(waiting["amount"].sum())
    assert not set(waiting["deal_id"]) & set(
        contracts.loc[contracts.fate == "in_pipeline", "deal_id"]
    )
    expected = float((due.chance * due.amount).sum() * due.ratios.mean())
    forecast = forecast_revenue(renewing, pipeline, as_of=AS_OF, settings=FOLLOWED)
    root = forecast[(forecast.node == "company") & (forecast.grain == "quarter")]
    bare = replace(model, renewals=None)
    plain = bare.project(pipeline_with_nodes(pipeline, history)).frame()
    plain = plain[(plain.node == "company") & (plain.grain == "quarter")]
    added = root["from_new"].sum() - plain["from_new"].sum()
    assert added == pytest.approx(expected)
    assert expected > 0


def pipeline_with_nodes(pipeline, history):
    nodes = history.open.set_index("deal_id")["node"]
    return replace(pipeline, deals=pipeline.deals.assign(node=pipeline.deals.deal_id.map(nodes)))


def test_samples_agree_with_the_mean(history):
    model = learn_revenue_model(history, FOLLOWED)
    nothing = flat_pipeline(AS_OF, {}, {})
    nothing = replace(nothing, deals=nothing.deals.assign(node=pd.Series(dtype=object)))
    projection = model.project(nothing)
    sampled = projection.samples.mean(axis=2).sum(axis=0)
    assert sampled == pytest.approx(projection.new_mean.sum(axis=0), rel=0.1, abs=20.0)


def test_the_model_is_read_back_with_its_renewals(history, tmp_path):
    model = learn_revenue_model(history, FOLLOWED)
    model.save(tmp_path)
    again = RevenueModel.load(tmp_path)
    assert again.renewals is not None
    assert model.renewals is not None
    assert again.renewals.chance.tolist() == model.renewals.chance.tolist()
    assert again.renewals.leaf.tolist() == model.renewals.leaf.tolist()


def test_a_renewal_without_a_term_has_that_of_the_contract_before_it():
    book = Contracts()
    book.sell("a", "x", datetime(2024, 1, 1), 100.0, term=24)
    book.sell("b", "x", datetime(2026, 1, 1), 240.0, kind="renewal", term=None)
    with Warehouse.in_memory(book.tables()) as warehouse:
        known = read_history(warehouse, as_of=AS_OF, settings=FOLLOWED)
    contracts = read_contracts(known).set_index("deal_id")
    assert contracts["arr"].to_dict() == {"a": 50.0, "b": 120.0}
    assert contracts.loc["a", "fate"] == "renewed"
    assert contracts.loc["a", "renewed_arr"] == 120.0


def test_odd_contracts_still_close():
    book = Contracts()
    book.sell("a", "x", datetime(2024, 6, 1), 100.0)
    book.sell("b", "x", datetime(2025, 5, 20), 0.0, kind="renewal")
    book.sell("c", "y", datetime(2025, 2, 1), 120.0, kind="renewal")
    book.sell("d", "y", datetime(2025, 2, 2), 60.0, kind="renewal", rep="r2")
    book.deals[-1]["service_start"] = book.deals[-2]["service_start"] = datetime(2024, 12, 1).date()
    book.sell("e", "z", datetime(2025, 3, 1), 0.0)
    with Warehouse.in_memory(book.tables()) as warehouse:
        known = read_history(warehouse, as_of=AS_OF, settings=FOLLOWED)
    contracts = read_contracts(known).set_index("deal_id")
    assert set(contracts.index) == {"a", "c", "d"}
    assert contracts.loc["a", "renewed_arr"] == 0.0
    table = recurring_revenue(known, FOLLOWED)
    root = table[table.node == "company"].set_index("period")
    assert root.loc["2025-06", "contraction"] == 100.0
    signed = sum(sign * table[move] for sign, move in zip(SIGNS, MOVES, strict=True))
    assert (table["arr_start"] + signed).to_numpy() == pytest.approx(table["arr_end"].to_numpy())
    assert np.isfinite(learn_renewals(read_contracts(known), known).ratios).all()


def test_without_terms_or_unasked_nothing_is_followed(renewing):
    plain = read_history(renewing, as_of=AS_OF, settings=PLAIN)
    assert read_contracts(plain).empty
    assert recurring_revenue(plain, PLAIN).empty
    assert learn_revenue_model(plain, PLAIN).renewals is None
