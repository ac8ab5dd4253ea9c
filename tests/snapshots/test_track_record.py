"""Track records as of the day, against a slow loop over what had been closed by then."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import pandas as pd
import pyarrow as pa
import pytest

from salesops_ml.schema import Attribute, CanonicalTables, no_rejects
from salesops_ml.settings import parse
from salesops_ml.snapshots import build_dataset, learn_spec
from salesops_ml.snapshots.track_record import LATELY_DAYS, PRIOR_AMOUNTS, PRIOR_DEALS
from salesops_ml.warehouse import Warehouse
from tests.snapshots.company import DAY, World, agree


@pytest.fixture(scope="module")
def past(world: World) -> pd.DataFrame:
    """Every deal as it began, with its closing where there is one."""
    return world.beginnings.merge(
        world.closings.rename(columns={"recorded_at": "closed", "entered_at": "ended"}),
        on="deal_id",
        how="left",
    )


def rate(rows: pd.DataFrame, prior: float) -> float:
    return float((rows["won"].sum() + PRIOR_DEALS * prior) / (len(rows) + PRIOR_DEALS))


def test_win_rates_count_what_was_closed_by_then(
    world: World, sample: pd.DataFrame, past: pd.DataFrame
) -> None:
    assert world.spec.rated == ("product", "lead_source", "deal_type")
    own = past.set_index("deal_id")
    for _, look in sample.iterrows():
        closed = past[past["closed"] <= look["as_of"]]
        lately = closed[closed["closed"] > look["as_of"] - LATELY_DAYS * DAY]
        company = closed["won"].mean() if len(closed) else 0.5
        rep = closed[closed["rep_id"] == look["rep_id"]]
        of_rep = rate(rep, company)
        deal = own.loc[look["deal_id"]]
        expected = {
            "f_win_rate_180d": rate(lately, company),
            "f_rep_closed": len(rep),
            "f_rep_win_rate": of_rep,
            "f_rep_win_rate_180d": rate(lately[lately["rep_id"] == look["rep_id"]], of_rep),
            "f_rep_segment_win_rate": rate(rep[rep["product"] == look["product"]], of_rep),
            "f_product_win_rate": rate(closed[closed["product"] == look["product"]], company),
        }
        for name in ("lead_source", "deal_type"):
            same = closed[closed[name] == deal[name]]
            expected[f"f_{name}_win_rate"] = None if deal[name] is None else rate(same, company)
        agree(look, expected, within=1e-9)


def test_load_and_customers(world: World, sample: pd.DataFrame, past: pd.DataFrame) -> None:
    for _, look in sample.iterrows():
        begun = past[past["created_at"] <= look["as_of"]]
        still = begun[~(begun["closed"] <= look["as_of"])]
        mine = still[still["rep_id"] == look["rep_id"]]
        same = begun[begun["account_id"] == look["account_id"]]
        closed = same[same["closed"] <= look["as_of"]]
        last = closed.loc[closed["won"] == True, "closed"].max()  # noqa: E712
        agree(
            look,
            {
                "f_rep_open": len(mine),
                "f_rep_open_amount": mine["amount"].sum(),
                "f_account_closed": len(closed),
                "f_account_open": len(same) - len(closed),
                "f_days_since_account_win": (look["as_of"] - last) / DAY,
            },
        )


def test_amounts_and_ages_against_what_was_usual(
    world: World, sample: pd.DataFrame, past: pd.DataFrame
) -> None:
    def mean_log(rows: pd.DataFrame) -> float:
        return float(rows["amount"].map(math.log).mean())

    def usual(rows: pd.DataFrame, prior: float) -> float:
        logs = rows["amount"].dropna().map(math.log)
        return math.exp((logs.sum() + PRIOR_AMOUNTS * prior) / (len(logs) + PRIOR_AMOUNTS))

    compared = 0
    for _, look in sample.iterrows():
        begun = past[past["created_at"] <= look["as_of"]]
        won = past[(past["closed"] <= look["as_of"]) & (past["won"] == True)]  # noqa: E712
        mine = begun[begun["rep_id"] == look["rep_id"]]
        expected = {"f_amount_of_rep": look["amount"] / usual(mine, mean_log(begun))}
        if len(won):
            compared += 1
            segment = won[won["product"] == look["product"]]
            cycle = ((won["ended"] - won["created_at"]) / DAY).map(math.log).mean()
            expected |= {
                "f_amount_of_won": look["amount"] / math.exp(mean_log(won)),
                "f_amount_of_segment": look["amount"] / usual(segment, mean_log(won)),
                "f_age_of_won": look["f_age_days"] / math.exp(cycle),
            }
        agree(look, expected)
    assert compared > 60


def attributed(known: str) -> CanonicalTables:
    """60 deals, one a day, each closed after 10 days; campaigns c0 to c11, of which even ones win."""
    start = datetime(2026, 1, 1)
    deals = [
        {
            "deal_id": f"d{i:02}", "status": "won" if i % 2 == 0 else "lost",
            "created_at": start + timedelta(days=i), "closed_at": start + timedelta(days=i + 10),
            "x_campaign": f"c{i % 12}",
        }
        for i in range(60)
    ]  # fmt: skip
    return CanonicalTables(
        {"deals": pa.Table.from_pylist(deals)},
        no_rejects(),
        attributes=(Attribute("campaign", "string", known),),  # type: ignore[arg-type]
    )


def test_a_fine_attribute_gets_a_win_rate_that_knows_only_earlier_closings() -> None:
    settings, end = parse({}), datetime(2026, 4, 1)
    with Warehouse.in_memory(attributed("at_creation")) as warehouse:
        early = learn_spec(warehouse, settings, as_of=datetime(2026, 1, 6))
        spec = learn_spec(warehouse, settings, as_of=end)
        data = build_dataset(warehouse, settings, spec, as_of=end)
    assert early.rated == ()
    assert spec.rated == ("x_campaign",)
    first = data.drop_duplicates("deal_id").set_index("deal_id")["f_x_campaign_win_rate"]
    assert first["d00"] == 0.5
    # on day 36 d00 to d26 are closed, 14 of 27 won; of campaign c0 three, all won
    assert first["d36"] == pytest.approx((3 + 20 * 14 / 27) / 23)
    assert first["d37"] == pytest.approx((0 + 20 * 14 / 28) / 23)


def test_what_is_filled_at_the_close_gets_no_win_rate() -> None:
    with Warehouse.in_memory(attributed("at_close")) as warehouse:
        spec = learn_spec(warehouse, parse({}), as_of=datetime(2026, 4, 1))
    assert spec.rated == ()
