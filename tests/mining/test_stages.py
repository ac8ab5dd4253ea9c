"""Stage dwell, order and what stands there now, on hand-worked companies."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter

from salesops_ml.mining.event_log import event_log
from salesops_ml.mining.stages import COLUMNS, stage_dwell
from salesops_ml.warehouse import Warehouse
from tests.mining.conftest import made_log

DAY = datetime(2026, 1, 1)


def test_each_number_of_a_small_company(company: Warehouse) -> None:
    log = event_log(company, as_of=DAY + timedelta(days=16))
    found = stage_dwell(log, expected_days={"Offer": 5.0}).set_index("stage")
    assert found.index.tolist() == ["Lead", "Offer", "Won", "Lost"]
    offer, lead = found.loc["Offer"], found.loc["Lead"]
    # Three stays in Offer: 1 day, 6 days, and 10 days so far.
    assert (offer.visits, offer.cases, offer.open_now, offer.amount_now) == (3, 3, 1, 70)
    assert offer.dwell_p50_days == 6
    assert np.isnan(offer.dwell_p75_days)
    assert offer.dwell_mean_days == pytest.approx((1 + 6 + 10) / 3)
    assert (offer.target_days, offer.target_from) == (5, "agreed")
    assert offer.share_past_target == pytest.approx(2 / 3)
    assert offer.past_target_now == 1
    # Five stays in Lead, one of them a return.
    assert (lead.visits, lead.cases, lead["returns"]) == (5, 4, 0.2)
    assert (lead.target_from, lead.target_days) == ("quantile", 4)
    assert found.loc["Won", "target_from"] == "none"
    assert found.loc["Lost", "win_rate_after"] == 0
    assert found.loc["Won", "win_rate_after"] == 1


def test_quantiles_equal_lifelines_on_bpi_2012(bpi_2012: pd.DataFrame) -> None:
    rows = bpi_2012[bpi_2012["concept:name"].str.startswith("A_")]
    until = datetime(2012, 3, 15)
    won, lost = ["A_APPROVED", "A_REGISTERED", "A_ACTIVATED"], ["A_DECLINED", "A_CANCELLED"]
    found = stage_dwell(rows, won=won, lost=lost, as_of=until).set_index("stage")
    assert found.open_now.sum() == 399
    case = rows["case:concept:name"]
    time = rows["time:timestamp"].dt.tz_localize(None)
    following = time.shift(-1).where(case.shift(-1) == case)
    stage = rows["concept:name"] == "A_FINALIZED"
    stay = (following.fillna(pd.Timestamp(until)) - time)[stage] / timedelta(days=1)
    fitter = KaplanMeierFitter().fit(stay, following[stage].notna())
    for quantile, column in ((0.25, "p25"), (0.5, "p50"), (0.75, "p75"), (0.9, "p90")):
        theirs = fitter.percentile(1 - quantile)
        assert abs(found.loc["A_FINALIZED", f"dwell_{column}_days"] - theirs) < 1e-9


def test_the_order_is_the_agreed_one_and_strangers_fall_in_place() -> None:
    log = made_log(60, 2)
    found = stage_dwell(log, order=["S3", "S1"])
    known = [stage for stage in found.stage if stage in ("S1", "S3")]
    assert known == ["S3", "S1"]
    assert found.position.tolist() == [0, 1, 2, 3]


def test_without_an_agreed_order_stages_come_as_deals_reach_them() -> None:
    rows = [
        (case, stage, DAY + timedelta(days=turn))
        for case in "abc"
        for turn, stage in enumerate(["Zeta", "Alpha", "Mid", "Lost"])
    ]
    log = pd.DataFrame(rows, columns=["case:concept:name", "concept:name", "time:timestamp"])
    found = stage_dwell(log, lost=["Lost"], as_of=DAY + timedelta(days=9))
    assert found.stage.tolist() == ["Zeta", "Alpha", "Mid", "Lost"]


def test_an_empty_log_has_no_stages(company: Warehouse) -> None:
    found = stage_dwell(event_log(company, as_of=DAY - timedelta(days=1)))
    assert found.empty
    assert list(found.columns) == list(COLUMNS)
