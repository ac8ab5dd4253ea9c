"""Who did each event: in the order of the steps, from any kind of log."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from salesops_ml.errors import SchemaError, UsageError
from salesops_ml.mining.event_log import event_log
from salesops_ml.mining.resources import NOBODY, people_of
from salesops_ml.mining.steps import as_steps
from salesops_ml.warehouse import Warehouse
from tests.mining.conftest import made_log

DAY = datetime(2026, 1, 1)


def with_people(seed: int) -> pd.DataFrame:
    log = made_log(30, seed)
    names = np.array(["Ann", "Bob", "Cy", None], dtype=object)
    return log.assign(
        **{"org:resource": names[np.random.default_rng(seed).integers(0, 4, len(log))]}
    )


@pytest.mark.parametrize("seed", range(3))
def test_people_stand_beside_their_events_in_any_kind_of_log(seed: int) -> None:
    log = with_people(seed)
    steps = as_steps(log)
    ordered = log.sort_values(["case:concept:name", "time:timestamp"], kind="stable")
    code, names = people_of(log, steps)
    assert names == ("Ann", "Bob", "Cy")
    assert [names[one] if one != NOBODY else None for one in code] == [
        None if who is None else who for who in ordered["org:resource"]
    ]
    arrow = pa.Table.from_pandas(log)
    categories = log.assign(**{"org:resource": log["org:resource"].astype("category")})
    for other in (arrow, categories):
        np.testing.assert_array_equal(people_of(other, steps)[0], code)


def test_events_after_the_day_are_left_out() -> None:
    log = with_people(4)
    day = log["time:timestamp"].dt.tz_localize(None).sort_values().iloc[40].to_pydatetime()
    steps = as_steps(log, as_of=day, won=["S0"])
    assert len(people_of(log, steps)[0]) == len(steps.case) < len(log)


def test_the_warehouse_log_knows_its_reps(company: Warehouse) -> None:
    log = event_log(company, as_of=DAY + timedelta(days=20))
    code, names = people_of(log, as_steps(log))
    assert (names, code.tolist()) == (("r1",), [0] * 11)


def test_a_log_without_people_and_another_log_are_named() -> None:
    log = made_log(5, 1)
    with pytest.raises(SchemaError, match=r"no column `org:resource`.*`four_eyes`"):
        people_of(log, as_steps(log))
    other = with_people(2)
    with pytest.raises(UsageError, match="is not the log that `steps` was made from"):
        people_of(other, as_steps(log))
