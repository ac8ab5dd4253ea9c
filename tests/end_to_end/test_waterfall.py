"""Waterfalls as one types them: they close at every node, and wrong asks are answered in plain words."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from salesops_ml.forecasts.forecast_change import CAUSES
from salesops_ml.forecasts.waterfall import STEPS
from tests.end_to_end.conftest import Workspace

pytestmark = pytest.mark.slow
SMALL = ("--config", "configs/small.yaml")


@pytest.fixture
def today(workspace: Workspace) -> pd.Timestamp:
    """The day of the run."""
    day = pd.read_parquet(workspace.latest / "scores.parquet")["as_of"].max()
    return pd.Timestamp(day)


def closes(frame: pd.DataFrame, steps: tuple[str, ...]) -> bool:
    gap = frame[[*steps[:-1]]].sum(axis=1) - frame["end"]
    return len(frame) > 1 and bool(gap.abs().max() < 1e-3)


def test_the_open_pipeline_of_a_month(workspace: Workspace, today: pd.Timestamp) -> None:
    start = f"{today - pd.Timedelta(days=30):%Y-%m-%d}"
    told = json.loads(
        workspace.salesops("waterfall", "--from", start, *SMALL, "--json", "-").stdout
    )
    frame = pd.DataFrame(told["rows"])
    assert closes(frame, STEPS)
    scores = pd.read_parquet(workspace.latest / "scores.parquet")
    end = frame.set_index("node").loc["company", "end"]
    assert end == pytest.approx(scores["amount"].sum(), rel=1e-6)
    words = workspace.salesops("waterfall", "--from", start, "--node", "company/EMEA", *SMALL)
    assert "company/EMEA" in words.stdout
    assert "created" in words.stdout


def test_the_change_of_the_run_ends_with_its_forecast(workspace: Workspace) -> None:
    change = pd.read_parquet(workspace.latest / "forecast_change.parquet")
    assert closes(change, CAUSES)
    forecast = pd.read_parquet(workspace.latest / "forecast.parquet")
    pairs = change.merge(forecast, on=["node", "period"])
    assert len(pairs) == len(change)
    assert pairs["end"].to_numpy() == pytest.approx(pairs["mean"].to_numpy(), rel=1e-6, abs=1e-3)


def test_the_forecast_since_a_day(workspace: Workspace, today: pd.Timestamp) -> None:
    start = f"{today - pd.Timedelta(days=40):%Y-%m-%d}"
    asked = ("waterfall", "--from", start, "--forecast", *SMALL, "--json", "-")
    told = pd.DataFrame(json.loads(workspace.salesops(*asked).stdout)["rows"])
    assert closes(told, CAUSES)
    assert told["period"].nunique() == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--from", "soon"), "`--from`: `soon` is no date"),
        (("--from", "2090-01-01"), "is not after"),
        (("--from", "2090-01-01", "--forecast"), "is not after"),
        (("--from", "1990-01-01", "--forecast"), "nothing had been won and lost by"),
        (("--period", "2026-Q9"), "is no month or quarter within two years"),
        (("--node", "company/Nowhere"), "`company/Nowhere` has nothing to tell"),
    ],
)
def test_wrong_asks(
    workspace: Workspace, today: pd.Timestamp, words: tuple[str, ...], said: str
) -> None:
    start = () if "--from" in words else ("--from", f"{today - pd.Timedelta(days=9):%Y-%m-%d}")
    assert said in workspace.salesops("waterfall", *start, *words, *SMALL, code=2).stderr
