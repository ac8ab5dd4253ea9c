"""From a log with open deals to quantiles: all the way against lifelines."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from lifelines import AalenJohansenFitter, KaplanMeierFitter

from salesops_ml.mining.stages import stage_dwell
from salesops_ml.mining.transitions import transitions

CASE, ACTIVITY, TIMESTAMP = "case:concept:name", "concept:name", "time:timestamp"
DAY = datetime(2026, 1, 1)
AS_OF = DAY + timedelta(days=40)
TOLD = {"won": ["Won"], "lost": ["Lost"], "as_of": AS_OF}


def world(seed: int, cases: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A log whose deals come and go until a day, and its stays: stage, days, and where to."""
    rng = np.random.default_rng(seed)
    events, stays = [], []
    for case in range(cases):
        moment = DAY + timedelta(days=float(rng.uniform(0, 30)))
        stage = "Lead"
        while moment <= AS_OF:
            events.append((f"c{case}", stage, moment))
            if stage in ("Won", "Lost"):
                break
            later = moment + timedelta(days=float(rng.exponential(6)))
            following = str(rng.choice(["Lead", "Offer", "Won", "Lost"], p=[0.2, 0.4, 0.2, 0.2]))
            seen = later <= AS_OF
            stays.append((stage, (min(later, AS_OF) - moment) / timedelta(days=1),
                          following if seen else ""))  # fmt: skip
            moment, stage = later, following
    log = pd.DataFrame(events, columns=[CASE, ACTIVITY, TIMESTAMP])
    return log, pd.DataFrame(stays, columns=["stage", "days", "target"])


@pytest.mark.parametrize("seed", range(4))
def test_stage_quantiles_are_kaplan_meier(seed: int) -> None:
    log, stays = world(seed, 150)
    found = stage_dwell(log, **TOLD).set_index("stage")
    for stage, here in stays.groupby("stage"):
        fitter = KaplanMeierFitter().fit(here["days"], here["target"] != "")
        for share in (0.25, 0.5, 0.75, 0.9):
            ours, theirs = (
                found.loc[stage, f"dwell_p{share * 100:.0f}_days"],
                fitter.percentile(1 - share),
            )
            assert np.isnan(ours) if np.isinf(theirs) else abs(ours - theirs) < 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_transition_quantiles_are_aalen_johansen(seed: int) -> None:
    log, stays = world(seed, 150)
    found = transitions(log, **TOLD).set_index(["source", "target"])
    for stage, here in stays.groupby("stage"):
        doors = sorted(set(here["target"]) - {""})
        cause = here["target"].map({"": 0} | {door: turn + 1 for turn, door in enumerate(doors)})
        for turn, door in enumerate(doors):
            fitter = AalenJohansenFitter(calculate_variance=False)
            fitter.fit(here["days"], cause, event_of_interest=turn + 1)
            curve = fitter.cumulative_density_.iloc[:, 0]
            for share in (0.5, 0.9):
                reached = curve.index[curve >= share * curve.iloc[-1] - 1e-12][0]
                ours = found.loc[(stage, door), f"dwell_p{share * 100:.0f}_days"]
                assert abs(ours - reached) < 1e-9
            assert found.loc[(stage, door), "count"] == (here["target"] == door).sum()


@pytest.mark.parametrize("seed", range(2))
def test_a_log_without_outcomes_has_the_plain_distribution_of_each_exit(seed: int) -> None:
    log, _ = world(seed, 150)
    found = transitions(log).set_index(["source", "target"])
    log["target"] = log.groupby(CASE)[ACTIVITY].shift(-1)
    log["days"] = (log.groupby(CASE)[TIMESTAMP].shift(-1) - log[TIMESTAMP]) / timedelta(days=1)
    for pair, here in log.dropna().groupby([ACTIVITY, "target"]):
        fitter = KaplanMeierFitter().fit(here["days"])
        curve = fitter.survival_function_["KM_estimate"]
        for share in (0.5, 0.9):
            ours = found.loc[pair, f"dwell_p{share * 100:.0f}_days"]
            assert abs(ours - curve.index[curve <= 1 - share + 1e-12][0]) < 1e-9
