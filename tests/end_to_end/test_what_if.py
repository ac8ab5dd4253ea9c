"""What if, as one types it: the champion's answer for one open deal, and plain words for a wrong one."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from salesops_ml.models.what_if import ASSOCIATION, USUAL
from tests.end_to_end.conftest import Workspace

pytestmark = pytest.mark.slow
SMALL = "configs/small.yaml"


@pytest.fixture
def deal(workspace: Workspace) -> pd.Series:
    """The likeliest open deal, as the run scored it."""
    scores = pd.read_parquet(workspace.latest / "scores.parquet")
    return scores.sort_values(["p_win", "deal_id"]).iloc[-1]


def test_the_usual_changes_are_told_as_association(workspace: Workspace, deal: pd.Series) -> None:
    told = workspace.salesops("what-if", deal["deal_id"], "--config", SMALL).stdout
    head, _, *rows = told.splitlines()
    assert head.startswith(f"deal {deal['deal_id']} as of ")
    assert ASSOCIATION in head
    assert "association" in ASSOCIATION
    assert len(rows) == 1 + len(USUAL)


def test_as_it_is_the_deal_has_the_score_of_the_run(workspace: Workspace, deal: pd.Series) -> None:
    words = ["--cut", "0.2", "--silence", "21", "--json", "-"]
    done = workspace.salesops("what-if", deal["deal_id"], "--config", SMALL, *words)
    told = json.loads(done.stdout)
    assert told["deal_id"] == deal["deal_id"]
    unchanged, *changed = told["changes"]
    assert unchanged["p_win_after"] == pytest.approx(deal["p_win"], abs=1e-6)
    assert len(changed) == 2
    assert {row["note"] for row in changed} == {ASSOCIATION}
    assert all(0 <= row["p_win_after"] <= 1 for row in changed)


def test_a_deal_that_nobody_knows_is_named(workspace: Workspace) -> None:
    done = workspace.salesops("what-if", "D-nobody", "--config", SMALL, code=2)
    assert "deal `D-nobody` is not known" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
