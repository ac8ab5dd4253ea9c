"""The table of shrunken hazards against lifelines' Aalen-Johansen, and its shrinkage."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines import AalenJohansenFitter

from salesops_ml.models.hazard_table import HazardTable


def looks(n: int, seed: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    win, lose, reach = rng.exponential(40, n), rng.exponential(60, n), rng.uniform(1, 80, n)
    end = np.minimum(np.minimum(win, lose), reach)
    event = np.where(end == reach, 0, np.where(end == win, 1, 2))
    stage = np.where(rng.random(n) < 0.02, "rare", "usual")
    frame = pd.DataFrame({"stage": stage, "f_age_days": rng.uniform(0, 20, n)})
    return frame, event.astype(np.int64), end


def test_the_base_rate_is_close_to_aalen_johansen() -> None:
    frame, event, duration = looks(4_000, 1)
    table = HazardTable.fit(frame, event, duration, horizon=60, by_stage=False)
    curve = table.curves(frame.head(1))
    for cause, ours in ((1, curve.cif_won[0]), (2, curve.cif_lost[0])):
        fitter = AalenJohansenFitter(calculate_variance=False)
        fitter.fit(duration, event, event_of_interest=cause)
        theirs = fitter.cumulative_density_.iloc[:, 0]
        for day in (7, 14, 30, 60):
            place = np.searchsorted(curve.days, day)
            at = theirs[theirs.index <= curve.days[place]].iloc[-1]
            assert ours[place] == pytest.approx(at, abs=0.01)


def test_a_rare_cell_leans_on_the_company_and_a_common_one_does_not() -> None:
    frame, event, duration = looks(3_000, 2)
    event = np.where((frame["stage"] == "rare") & (event == 1), 2, event)
    table = HazardTable.fit(frame, event, duration, horizon=60, by_stage=True)
    company = table.curves(frame.assign(stage="never seen").head(1)).cif_won[0, -1]
    rare = table.curves(frame.assign(stage="rare").head(1)).cif_won[0, -1]
    assert 0 < rare < company


def test_a_cell_without_looks_says_what_its_stage_says() -> None:
    frame, event, duration = looks(500, 3)
    table = HazardTable.fit(frame, event, duration, horizon=60, by_stage=True)
    old = frame.head(1).assign(stage="usual", f_age_days=5_000.0)
    stage = HazardTable(table.edges, {"": table.cells["usual"]}, by_stage=False)
    assert np.allclose(table.curves(old).cif_won, stage.curves(old).cif_won)


def test_the_table_survives_json() -> None:
    frame, event, duration = looks(300, 4)
    table = HazardTable.fit(frame, event, duration, horizon=30, by_stage=True)
    back = HazardTable.from_dict(table.to_dict())
    assert np.array_equal(back.curves(frame).cif_lost, table.curves(frame).cif_lost)
