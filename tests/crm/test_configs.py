"""The configurations that the project ships load, on real data, to the deals that are known."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from salesops_ml.crm import complete_history, read_source
from salesops_ml.schema import CanonicalTables
from salesops_ml.settings import Settings, load
from tests.needs import ROOT, shared_data


def read(name: str, monkeypatch: pytest.MonkeyPatch, **overrides: Any) -> CanonicalTables:
    monkeypatch.chdir(ROOT)
    settings = load(f"configs/{name}.yaml", overrides=overrides)
    tables = read_source(settings)
    return complete_history(tables, base_currency=settings.company.base_currency)


def statuses(tables: CanonicalTables) -> Counter[str]:
    return Counter(tables.tables["deals"]["status"].to_pylist())


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_configuration_is_well_formed(path: Any) -> None:
    assert isinstance(load(path), Settings)


@pytest.mark.slow
def test_bpi_2012_loads_with_every_event_accounted_for(monkeypatch: pytest.MonkeyPatch) -> None:
    shared_data("bpic2012")
    tables = read("bpic2012", monkeypatch)
    assert statuses(tables) == {"won": 2_246, "lost": 10_442, "open": 399}
    assert tables.rejects.num_rows == 0
    counts = {key: value for key, value in tables.counts.items() if key.startswith("events: ")}
    assert counts.pop("events: read") == 262_200 == sum(counts.values())
    assert counts == {
        "events: rejected": 0,
        "events: used as stage events": 60_849,
        "events: used as quotes": 31_244,
        "events: used as activities": 72_413,
        "events: used as the start of an activity": 71_371,
        "events: left, activity schedule": 26_318,
        "events: left, activity begun but not ended": 5,
        "events: left, no pattern matches": 0,
    }
    sizes = {name: table.num_rows for name, table in tables.tables.items()}
    assert sizes["stage_events"] == 60_849
    assert sizes["quotes"] == 31_244
    assert sizes["activities"] == 72_413
    deals = tables.tables["deals"].to_pandas().set_index("deal_id")
    assert deals.loc["173688", "created_at"] == datetime(2011, 9, 30, 22, 38, 44, 546000)
    assert deals["amount"].sum() == Decimal(177_634_511)


@pytest.mark.slow
def test_bpi_2012s_registration_date_is_the_moment_of_the_first_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The log says both; taking either, no deal starts more than a tenth of a second apart."""
    shared_data("bpic2012")
    first = read("bpic2012", monkeypatch).tables["deals"].to_pandas()
    case = {"case": {"created_at": "REG_DATE"}}
    registered = read("bpic2012", monkeypatch, source=case).tables["deals"].to_pandas()
    apart = (first["created_at"] - registered["created_at"]).dt.total_seconds()
    assert apart.min() == 0
    assert apart.max() < 0.1


def test_maven_loads_all_four_files(monkeypatch: pytest.MonkeyPatch) -> None:
    shared_data("maven_crm")
    tables = read("maven", monkeypatch)
    assert statuses(tables) == {"won": 4_238, "lost": 2_473, "open": 2_089}
    assert tables.rejects.num_rows == 0
    deals = tables.tables["deals"].to_pandas()
    assert deals["created_at"].isna().sum() == 500
    assert deals["account_id"].isna().sum() == 1_425
    assert deals["x_list_price"].notna().all()
    assert "GTXPro" not in set(deals["product"])
    assert [(known.name, known.known) for known in tables.attributes] == [
        ("list_price", "at_creation"), ("product_series", "at_creation"), ("close_value", "at_close")
    ]  # fmt: skip
    accounts = tables.tables["accounts"].to_pandas()
    assert set(deals["account_id"].dropna()) <= set(accounts["account_id"])
    assert "technolgy" not in set(accounts["industry"])
    assert (
        accounts.set_index("account_id").loc["Acme Corporation", "annual_revenue"] == 1_100_040_000
    )
    reps = tables.tables["reps"].to_pandas()
    assert set(deals["rep_id"]) <= set(reps["rep_id"])
    stages = Counter(tables.tables["stage_events"]["stage"].to_pylist())
    assert stages == {"Engaging": 8_300, "Won": 4_238, "Lost": 2_473}


def test_helpdesk_loads_with_every_event_a_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    shared_data("helpdesk")
    tables = read("helpdesk", monkeypatch)
    assert tables.tables["deals"].num_rows == 4_580
    assert tables.tables["stage_events"].num_rows == 21_348
    assert statuses(tables) == {"won": 4_559, "open": 21}
