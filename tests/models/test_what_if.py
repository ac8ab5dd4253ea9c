"""What if: an event in a copy of the deal's history moves exactly the features that it should."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pandas as pd
import pytest

from salesops_ml.errors import UsageError
from salesops_ml.models.what_if import (
    _MAKERS,
    ASSOCIATION,
    UNCHANGED,
    USUAL,
    Change,
    Supposed,
    _Deal,
    _find,
    what_if,
)
from salesops_ml.snapshots import open_deals, record_end, snapshot
from salesops_ml.synthetic import WorldParameters, generate
from salesops_ml.warehouse import Warehouse
from tests.models.conftest import Company

SELLING = ("meeting", "call", "demo")


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[Warehouse, datetime]]:
    with Warehouse.in_memory(generate(WorldParameters(deals=300, seed=4))) as warehouse:
        yield warehouse, record_end(warehouse)


@pytest.fixture(scope="module")
def standing(company: Company, world: tuple[Warehouse, datetime]) -> pd.DataFrame:
    """The open deals as they are."""
    warehouse, as_of = world
    return open_deals(warehouse, company.spec, as_of=as_of)


@pytest.fixture(scope="module")
def deal(standing: pd.DataFrame) -> str:
    rows = standing[(standing["stage"] == "Discovery") & standing["expected_close_date"].notna()]
    return str(rows["deal_id"].iloc[0])


@pytest.fixture(scope="module")
def found(company: Company, world: tuple[Warehouse, datetime], deal: str) -> _Deal:
    """The deal as `what_if` finds it, before any change."""
    warehouse, as_of = world
    return _find(warehouse, company.model, deal, as_of, SELLING)


def supposed(
    company: Company, world: tuple[Warehouse, datetime], found: _Deal, change: Change
) -> tuple[pd.Series, pd.Series]:
    """The deal's look before and after the change."""
    warehouse, as_of = world
    told = _MAKERS[change.kind](found, change)
    looks = found.look[["deal_id"]].assign(as_of=as_of + timedelta(days=told.later))
    return found.row, snapshot(Supposed(warehouse, told.rows), company.spec, looks).iloc[0]


def moved(before: pd.Series, after: pd.Series) -> set[str]:
    return {
        name
        for name in before.index
        if before[name] != after[name] and not (pd.isna(before[name]) and pd.isna(after[name]))
    }


@pytest.mark.slow
def test_every_usual_change_is_told_beside_the_deal_as_it_is(
    company: Company, world: tuple[Warehouse, datetime], standing: pd.DataFrame, deal: str
) -> None:
    warehouse, as_of = world
    table = what_if(warehouse, company.model, deal, as_of=as_of)
    assert len(table) == 1 + len(USUAL)
    first = table.iloc[0]
    assert first["change"] == UNCHANGED
    assert first["p_win_before"] == first["p_win_after"]
    scored = company.model.predict(standing)["p_win"][standing["deal_id"] == deal]
    assert first["p_win_before"] == pytest.approx(scored.item(), rel=1e-9)
    assert table["p_win_before"].nunique() == table["days_before"].nunique() == 1
    assert (table["note"][1:] == ASSOCIATION).all()
    assert table["p_win_after"].between(0, 1).all()
    assert (table["p_win_after"][1:] != table["p_win_before"][1:]).any()


def test_advancing_moves_the_stage_and_all_that_hangs_on_it(
    company: Company, world: tuple[Warehouse, datetime], found: _Deal
) -> None:
    before, after = supposed(company, world, found, Change("advance"))
    assert after["stage"] == after["f_stage"] == "Proposal" != before["f_stage"]
    assert after["f_days_in_stage"] == 0
    assert after["f_moves"] == before["f_moves"] + 1
    assert after["f_stage_position"] > before["f_stage_position"]
    assert after["f_age_days"] == before["f_age_days"]
    assert not {n for n in moved(before, after) if n.startswith(("f_kind_", "f_amount", "f_push"))}


def test_a_meeting_ends_the_silence_and_moves_no_stage(
    company: Company, world: tuple[Warehouse, datetime], found: _Deal
) -> None:
    before, after = supposed(company, world, found, Change("meeting"))
    assert after["f_days_since_activity"] == 0
    assert after["f_activities"] == before["f_activities"] + 1
    assert after["f_stage"] == before["f_stage"]
    assert after["f_days_in_stage"] == before["f_days_in_stage"]


def test_a_push_moves_the_date_and_counts(
    company: Company, world: tuple[Warehouse, datetime], found: _Deal
) -> None:
    before, after = supposed(company, world, found, Change("push", 30))
    gap = after["f_days_to_expected_close"] - before["f_days_to_expected_close"]
    assert gap == pytest.approx(30)
    assert after["f_pushes"] == before["f_pushes"] + 1
    assert after["f_days_pushed"] == pytest.approx(before["f_days_pushed"] + 30)


def test_a_cut_moves_the_amount(
    company: Company, world: tuple[Warehouse, datetime], found: _Deal
) -> None:
    before, after = supposed(company, world, found, Change("cut", 0.1))
    assert after["amount"] == pytest.approx(0.9 * before["amount"], abs=0.01)
    assert after["f_amount_cuts"] == before["f_amount_cuts"] + 1


def test_silence_lets_only_time_pass(
    company: Company, world: tuple[Warehouse, datetime], found: _Deal
) -> None:
    before, after = supposed(company, world, found, Change("silence", 14))
    assert after["f_age_days"] == pytest.approx(before["f_age_days"] + 14)
    assert after["f_days_in_stage"] == pytest.approx(before["f_days_in_stage"] + 14)
    assert after["f_activities"] == before["f_activities"]


def test_the_warehouse_stays_as_it_was(
    company: Company, world: tuple[Warehouse, datetime], deal: str
) -> None:
    warehouse, as_of = world
    before = {name: warehouse.table(name).count().execute() for name in warehouse.names()}
    what_if(warehouse, company.model, deal, [Change("advance")], as_of=as_of)
    assert before == {name: warehouse.table(name).count().execute() for name in warehouse.names()}


def test_who_stands_before_the_end_cannot_advance(
    world: tuple[Warehouse, datetime], found: _Deal
) -> None:
    warehouse, _ = world
    stages = warehouse.table("stages").to_pyarrow().to_pandas()
    last = stages[~stages["is_closed"]].sort_values("position")["stage"].iloc[-1]
    late = replace(found, look=found.look.assign(stage=last))
    told = _MAKERS["advance"](late, Change("advance"))
    assert told.rows == {}
    assert told.impossible is not None
    assert last in told.impossible


def test_unknown_closed_and_unborn_deals_are_named(
    company: Company, world: tuple[Warehouse, datetime]
) -> None:
    warehouse, as_of = world
    with pytest.raises(UsageError, match="`nobody` is not known"):
        what_if(warehouse, company.model, "nobody", as_of=as_of)
    deals = warehouse.table("deals").to_pyarrow().to_pandas()
    closed = str(deals["deal_id"][deals["status"] == "won"].iloc[0])
    with pytest.raises(UsageError, match=f"`{closed}` is not open.*won since"):
        what_if(warehouse, company.model, closed, as_of=as_of)
