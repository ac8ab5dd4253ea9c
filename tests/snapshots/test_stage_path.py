"""The way through the stages, against a slow loop over each deal's own moves and those of the others."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from salesops_ml.periods import working_days
from salesops_ml.schema import CanonicalTables, no_rejects
from salesops_ml.settings import parse
from salesops_ml.snapshots import learn_spec, snapshot
from salesops_ml.snapshots.usual_dwell import PRIOR_DEALS, PRIOR_VISITS
from salesops_ml.snapshots.vocabulary import slug
from salesops_ml.warehouse import Warehouse
from tests.snapshots.company import DAY, World, agree


def spent(path: pd.DataFrame, until: pd.Timestamp) -> pd.Series:
    """Time in each visit so far."""
    return path["entered_at"].shift(-1).fillna(until) - path["entered_at"]


def test_time_in_stages_and_the_way_so_far(world: World, sample: pd.DataFrame) -> None:
    places = world.tables["stages"].set_index("stage")["position"]
    assert len(world.spec.stages) == 6
    for _, look in sample.iterrows():
        path = world.seen("stage_events", look, "entered_at")
        times = spent(path, look["as_of"])
        order = path["stage"].map(places).to_numpy()
        back = path["entered_at"].to_numpy()[1:][np.diff(order) < 0]
        first = (look["as_of"] - path["entered_at"].iloc[0]) / DAY
        previous = len(path) > 1
        expected = {
            "f_previous_stage": path["stage"].iloc[-2] if previous else None,
            "f_days_in_previous_stage": times.iloc[-2] / DAY if previous else None,
            "f_loops": len(path) - path["stage"].nunique(),
            "f_stages_seen": path["stage"].nunique(),
            "f_days_since_back": (look["as_of"] - back.max()) / DAY if len(back) else None,
            "f_days_per_stage": first / len(path),
            "f_moves_per_week": 7 * len(path) / max(first, 1.0),
            "f_moves_14d": ((look["as_of"] - path["entered_at"]) < 14 * DAY).sum(),
            "f_workdays_in_stage": working_days(
                [path["entered_at"].iloc[-1]],
                [look["as_of"]],
                holidays=world.settings.company.holidays,
            )[0],
        }
        for stage in world.spec.stages:
            expected[f"f_days_at_{slug(stage)}"] = times[path["stage"] == stage].sum() / DAY
        agree(look, expected)


@pytest.fixture(scope="module")
def visits(world: World) -> pd.DataFrame:
    """Each closed deal's stay in each stage, with its last owner there."""
    rows = []
    events = world.tables["stage_events"].sort_values(["entered_at", "seq"])
    paths = dict(iter(events.groupby("deal_id")))
    for _, end in world.closings.iterrows():
        path = paths[end["deal_id"]]
        path = path[path["recorded_at"] <= end["recorded_at"]]
        times = spent(path, end["recorded_at"])
        for stage in set(path["stage"]) - {"Won", "Lost"}:
            here = path["stage"] == stage
            seconds = times[here].sum().total_seconds()
            owner = path.loc[here, "rep_id"].iloc[-1]
            rows.append((stage, owner, end["recorded_at"], end["won"], math.log(seconds + 3600)))
    return pd.DataFrame(rows, columns=["stage", "rep_id", "at", "won", "log"])


def test_what_deals_that_won_needed(
    world: World, sample: pd.DataFrame, visits: pd.DataFrame
) -> None:
    for _, look in sample.iterrows():
        past = visits[visits["at"] <= look["as_of"]]
        here = past[past["stage"] == look["stage"]]
        mine = here[here["rep_id"] == look["rep_id"]]
        company = past["won"].mean() if len(past) else 0.5
        rate = (here["won"].sum() + PRIOR_DEALS * company) / (len(here) + PRIOR_DEALS)
        expected = {
            "f_stage_win_rate": rate,
            "f_rep_stage_win_rate": (mine["won"].sum() + PRIOR_DEALS * rate)
            / (len(mine) + PRIOR_DEALS),
            "f_days_in_stage_of_won": None,
        }
        if past["won"].any():
            won = here[here["won"]]
            prior = past.loc[past["won"], "log"].mean()
            usual = (won["log"].sum() + PRIOR_VISITS * prior) / (len(won) + PRIOR_VISITS)
            expected["f_days_in_stage_of_won"] = look["f_days_in_stage"] * 86_400 / math.exp(usual)
        agree(look, expected)


def test_an_entry_that_is_recorded_late_does_not_reach_back() -> None:
    """B was entered on day 5 but written down on day 20: on day 10 the deal came from A to C."""
    start = datetime(2026, 1, 5)
    moves = [("A", 0, 0), ("B", 5, 20), ("C", 7, 7)]
    events = [
        {
            "deal_id": "d", "seq": 0, "stage": stage, "entered_at": start + timedelta(days=at),
            "recorded_at": start + timedelta(days=told),
        }
        for stage, at, told in moves
    ]  # fmt: skip
    deals = [{"deal_id": "d", "status": "open", "created_at": start}]
    stages = [
        {"pipeline": "", "stage": s, "position": i, "is_won": False, "is_closed": False}
        for i, s in enumerate("ABC")
    ]
    tables = {
        "deals": pa.Table.from_pylist(deals), "stages": pa.Table.from_pylist(stages),
        "stage_events": pa.Table.from_pylist(events),
    }  # fmt: skip
    looks = pd.DataFrame(
        {"deal_id": "d", "as_of": [start, start + timedelta(days=10), start + timedelta(days=21)]}
    )
    with Warehouse.in_memory(CanonicalTables(tables, no_rejects())) as warehouse:
        spec = learn_spec(warehouse, parse({}), as_of=start + timedelta(days=30))
        born, then, later = (row for _, row in snapshot(warehouse, spec, looks).iterrows())
    agree(born, {"f_days_in_stage": 0, "f_days_at_a": 0, "f_previous_stage": None, "f_moves": 1})
    agree(then, {"f_days_at_a": 7, "f_days_at_b": 0, "f_days_at_c": 3, "f_previous_stage": "A"})
    agree(then, {"f_skips": 1, "f_days_in_previous_stage": 7})
    agree(later, {"f_days_at_a": 5, "f_days_at_b": 2, "f_days_at_c": 14, "f_previous_stage": "B"})
    agree(later, {"f_skips": 0, "f_days_in_previous_stage": 2})
