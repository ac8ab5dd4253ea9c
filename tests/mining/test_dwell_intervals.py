"""Intervals beside the figures of `stages` and `transitions`, on real logs and small ones."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from salesops_ml.errors import UsageError
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.dwell_intervals import COLUMNS, dwell_intervals
from salesops_ml.mining.event_log import event_log
from salesops_ml.mining.stages import stage_dwell
from salesops_ml.mining.transitions import transitions
from salesops_ml.warehouse import Warehouse
from tests.mining.conftest import made_log

AS_OF = datetime(2026, 2, 1)


def agrees(log: pd.DataFrame, **options: object) -> None:
    """Every figure is that of the plain tables, and lies within its interval."""
    found = dwell_intervals(log, **options)  # type: ignore[arg-type]
    assert list(found.columns) == list(COLUMNS)
    steps = found[found.kind == "step"].set_index(["source", "target"]).sort_index()
    for clock, unit in ((Clock(), "days"), (Clock(working=True), "working_days")):
        plain = transitions(log, clock=clock, **options)  # type: ignore[arg-type]
        plain = plain[plain.kind == "step"].set_index(["source", "target"]).sort_index()
        for ours, theirs in ((f"dwell_p50_{unit}", "dwell_p50_days"), ("share", "share"),
                             (f"dwell_p90_{unit}", "dwell_p90_days"), ("count", "count"),
                             ("win_rate_after", "win_rate_after"), ("cases", "cases")):  # fmt: skip
            pd.testing.assert_series_equal(steps[ours], plain[theirs], check_names=False)
        stages = found[found.kind == "stage"].set_index("source").sort_index()
        table = stage_dwell(log, clock=clock, **options).set_index("stage")  # type: ignore[arg-type]
        for quantile in ("p50", "p90"):
            pd.testing.assert_series_equal(
                stages[f"dwell_{quantile}_{unit}"], table[f"dwell_{quantile}_days"].sort_index(),
                check_names=False,
            )  # fmt: skip
        assert (stages["count"] == table["visits"].sort_index()).all()
    named = {name: (f"{name}_low", f"{name}_high") for name in COLUMNS
             if f"{name}_low" in COLUMNS}  # fmt: skip
    named["win_rate_after"] = ("win_rate_low", "win_rate_high")
    for name, (low, high) in named.items():
        assert not (found[low] > found[name] + 1e-9).any()
        assert not (found[high] < found[name] - 1e-9).any()


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_those_of_stages_and_transitions(seed: int) -> None:
    agrees(made_log(60, seed), as_of=datetime(2026, 1, 28), won=["S0"], lost=["S3"])


def test_a_log_without_outcomes() -> None:
    agrees(made_log(40, 11))


def test_helpdesk(helpdesk: pd.DataFrame) -> None:
    agrees(helpdesk, as_of=datetime(2013, 6, 1), won=["Closed"])


def test_the_companys_own_log(company: Warehouse) -> None:
    found = dwell_intervals(event_log(company, as_of=AS_OF))
    lead = found[(found.kind == "step") & (found.source == "Lead") & (found.target == "Offer")]
    assert lead["count"].item() == 3
    assert lead["share"].item() == pytest.approx(3 / 5)
    assert 0 < lead["share_low"].item() < 3 / 5 < lead["share_high"].item() < 1


def test_twice_the_deals_of_the_same_kind_are_surer() -> None:
    once = made_log(200, 5)
    twin = once.assign(**{"case:concept:name": once["case:concept:name"] + "x"})
    less, more = dwell_intervals(once), dwell_intervals(pd.concat([once, twin]))
    width = less.share_high - less.share_low, more.share_high - more.share_low
    assert (width[1] < width[0] + 1e-12).all()
    ratio = (width[1] / width[0])[less["count"] > 50]
    assert ratio.between(0.65, 0.78).all()


def test_row_order_changes_nothing() -> None:
    log = made_log(50, 3)
    log["time:timestamp"] += pd.to_timedelta(np.arange(len(log)), unit="s")  # no two at once
    pd.testing.assert_frame_equal(
        dwell_intervals(log), dwell_intervals(log.sample(frac=1, random_state=4))
    )


def test_one_event_and_a_level_that_is_none() -> None:
    one = made_log(1, 0, length=1)
    assert len(dwell_intervals(one)) == 1
    with pytest.raises(UsageError, match="`level`"):
        dwell_intervals(one, level=95)
