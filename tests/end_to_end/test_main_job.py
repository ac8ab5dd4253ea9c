"""The main job from source to scores, on a small company, through the command line alone."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.end_to_end.conftest import CONFIG, Workspace
from tests.needs import ROOT, missing

pytestmark = pytest.mark.slow
SMALL = "configs/small.yaml"


def frame(workspace: Workspace, name: str) -> pd.DataFrame:
    return pd.read_parquet(workspace.latest / f"{name}.parquet")


def test_the_run_folder_keeps_its_contract(workspace: Workspace) -> None:
    checker = ROOT.parent / "shared" / "tools" / "check_run.py"
    if not checker.exists():
        missing(f"{checker} is not here")
    done = subprocess.run(
        [sys.executable, checker, workspace.latest], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "the run folder keeps its contract"
    assert done.returncode == 0


def test_the_deal_model_obeys_its_laws_in_the_files(workspace: Workspace) -> None:
    predictions, hazards = frame(workspace, "predictions"), frame(workspace, "hazards")
    ours = predictions[predictions["model"] == "deal_scores"].reset_index(drop=True)
    both = ours.merge(hazards, on=["deal_id", "as_of"], validate="1:1")
    ends = np.array([curve[-1] for curve in both["cif_won"]])
    assert np.allclose(ends, both["p_win"], atol=1e-5)
    assert {"base_rate", "stage_age", "logistic"} < set(predictions["model"])
    data = frame(workspace, "dataset")
    border = pd.Timestamp(json.loads((workspace.latest / "borders.json").read_text())["test_from"])
    learn = data[data["split"].isin(["train", "calibration"])]
    assert (learn["as_of"] < border).all()
    ended = learn["as_of"] + pd.to_timedelta(learn["days_to_outcome"], unit="D")
    assert (learn.loc[ended > border, "known_outcome"] == "open").all()


def test_the_forecast_adds_up(workspace: Workspace) -> None:
    forecast = frame(workspace, "forecast")
    parts = forecast[["closed", "from_open", "from_new", "adjustment"]].sum(axis=1)
    assert np.allclose(parts, forecast["mean"])
    depth = forecast["node"].str.count("/")
    for _, rows in forecast.assign(depth=depth).groupby(["grain", "period"]):
        top = rows.loc[rows["depth"] == 0, "mean"].sum()
        regions = rows.loc[rows["depth"] == 1, "mean"].sum()
        assert regions == pytest.approx(top, rel=1e-6, abs=1e-3)


def test_the_chance_of_a_quota_follows_the_forecast(workspace: Workspace) -> None:
    outlook = frame(workspace, "quota_chance")
    told = outlook.merge(frame(workspace, "forecast"), on=["node", "period"], validate="1:1")
    assert "company" in set(told["node"])
    assert np.allclose(told["gap"], told["quota"] - told["mean_y"])
    assert outlook["p_reach"].between(0, 1).all()
    assert (told.loc[told["quota"] < told["p025"], "p_reach"] >= 0.974).all()
    assert (told.loc[told["quota"] > told["p975"], "p_reach"] <= 0.026).all()


def test_the_mean_of_the_open_deals_is_the_sum_of_their_curves(workspace: Workspace) -> None:
    scores, forecast = frame(workspace, "scores"), frame(workspace, "forecast")
    company = forecast[(forecast["node"] == "company") & (forecast["grain"] == "month")]
    expected = (scores["p_win"] * scores["amount"].fillna(0)).sum()
    assert company["from_open"].sum() == pytest.approx(expected, rel=0.35)


def test_scores_stand_in_the_crm_and_are_not_written_twice(workspace: Workspace) -> None:
    scores = frame(workspace, "scores")
    with sqlite3.connect(workspace.path / "store" / "crm.db") as crm:
        rows = dict(crm.execute("SELECT deal_id, salesops_win_probability FROM salesops_scores"))
        journal = crm.execute("SELECT count(*) FROM salesops_write_journal").fetchone()[0]
    assert set(rows) == set(scores["deal_id"])
    told = scores.set_index("deal_id")["p_win"]
    assert all(abs(told[deal] - p) < 1e-6 for deal, p in rows.items())
    assert journal == len(scores)
    plan = workspace.salesops("score", "--config", SMALL, "--dry-run").stdout
    assert "0 to insert, 0 to update, 0 to withdraw" in plan
    again = workspace.salesops("score", "--config", SMALL, "--write-back").stdout
    assert "written: 0" in again
    with sqlite3.connect(workspace.path / "store" / "crm.db") as crm:
        assert crm.execute("SELECT count(*) FROM salesops_write_journal").fetchone()[0] == journal


def test_every_command_answers_in_words_and_in_json(workspace: Workspace) -> None:
    for words in (
        ["ingest"],
        ["kpis"],
        ["forecast"],
        ["forecast", "--what-if", "win-rate:node=company=+5"],
        ["backtest", "--latest"],
        ["backtest", "--quarters", "1", "--out", "record"],
        ["mine", "--out", "map"],
        ["score"],
    ):
        done = workspace.salesops(*words, "--config", SMALL, "--json", "-")
        assert json.loads(done.stdout)
    refused = workspace.salesops("forecast", "--config", SMALL, "--what-if", "lost:none", code=2)
    assert "deal `none` is not open" in refused.stderr
    assert "nothing new" in workspace.salesops("ingest", "--config", SMALL).stdout
    assert (workspace.path / "map" / "process_map.html").exists()
    page = (workspace.path / "record" / "record.html").read_text()
    assert "1 quarter, forecast again from every week" in page
    assert "Pipeline conversion" in page
    weeks = pd.read_parquet(workspace.path / "record" / "forecast_record.parquet")
    assert set(range(1, 13)) <= set(weeks["week"])
    profile = workspace.salesops("profile", "--config", SMALL, "--json", "profile.json")
    assert "time travel" in profile.stdout
    assert json.loads((workspace.path / "profile.json").read_text())["leakage_audit"]


def test_one_phase_runs_on_the_last_runs_files(workspace: Workspace) -> None:
    before = workspace.latest
    workspace.salesops("evaluate", "--config", SMALL)
    after = workspace.latest
    assert after != before
    old, new = (json.loads((p / "evaluation.json").read_text()) for p in (before, after))
    assert old["win"] == new["win"]


def test_a_gate_stops_the_run_before_anything_is_promoted(workspace: Workspace) -> None:
    before = workspace.latest
    gates = [{"metric": "win.log_loss", "at_most": 0.01}]
    strict = workspace.config("strict", gates=gates)
    done = workspace.salesops("run", "--config", strict, "--phase", "evaluation", code=3)
    assert "gate said no: win.log_loss is 0." in done.stderr
    assert "nothing was promoted" in done.stderr
    assert workspace.latest == before
    kept = sorted(p for p in (workspace.path / "runs").iterdir() if not p.is_symlink())[-1]
    assert json.loads((kept / "evaluation.json").read_text())["gates"][0]["passed"] is False
    assert (
        "win.log_loss" in (kept / "report.html").read_text()
        or "log-loss" in (kept / "report.html").read_text()
    )


def test_promote_and_roll_back(workspace: Workspace) -> None:
    workspace.salesops("run", "--config", SMALL, "--phase", "deployment")
    told = workspace.salesops("rollback", "--config", SMALL).stdout
    assert told.strip() == "champion: deal_scores version 1"
    told = workspace.salesops("promote", "2", "--config", SMALL).stdout
    assert "version 2 (before: 1)" in told
    failed = workspace.salesops("promote", "99", "--config", SMALL, code=1)
    assert "99" in failed.stderr


def test_the_report_is_laid_out_again(workspace: Workspace) -> None:
    (workspace.latest / "report.html").unlink()
    told = workspace.salesops("report", "--config", SMALL).stdout
    assert "report.html" in told
    page = (workspace.latest / "report.html").read_text()
    assert "Small Co" in page
    assert 'src="http' not in page


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["run", "--config", "configs/none.yaml"], 2, "no such file"),
        (["run", "--config", SMALL, "--phase", "dreaming"], 2, "`dreaming` is unknown"),
        (["score", "--config", SMALL, "--as-of", "yesterday"], 2, "`yesterday` is no date"),
        (["score", "--config", SMALL, "--sideways"], 2, "No such option"),
        (["fly"], 2, "No such command"),
        (["init", "."], 2, "is there already"),
        (["report", "--config", "configs/elsewhere.yaml"], 1, "no finished run yet"),
        (["kpis", "--config", "configs/elsewhere.yaml"], 1, "no warehouse yet"),
        (["score", "--config", "configs/elsewhere.yaml"], 1, "no warehouse yet"),
        (["kpis", "--config", SMALL, "--json", "store/small.duckdb/x"], 1, "cannot be written"),
    ],
)
def test_wrong_use_is_told_in_a_sentence(
    workspace: Workspace, words: list[str], code: int, said: str
) -> None:
    workspace.config("elsewhere", warehouse="duckdb:///none/none.duckdb", runs="no-runs")
    done = workspace.salesops(*words, code=code)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_outside_a_workspace_the_cure_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("{}")
    done = Workspace(tmp_path).salesops("run", "--config", "a.yaml", code=2)
    assert "salesops init" in done.stderr


def test_a_failed_run_leaves_nothing_half_written(workspace: Workspace) -> None:
    before = {p.name for p in (workspace.path / "runs").iterdir()}
    source = CONFIG["source"] | {"overrides": {"no_such_knob": 1}}  # type: ignore[operator]
    broken = workspace.config("broken", source=source)
    done = workspace.salesops("run", "--config", broken, code=2)
    assert "no_such_knob" in done.stderr
    assert {p.name for p in (workspace.path / "runs").iterdir()} == before


def test_a_crm_that_refuses_costs_the_run_nothing_but_its_exit_code(workspace: Workspace) -> None:
    before = workspace.latest
    away = {"write_back": {"url": "sqlite:////dev/null/crm.db"}}
    refused = workspace.config("refused", **away)
    done = workspace.salesops("run", "--config", refused, "--phase", "deployment", code=1)
    assert "sqlite:////dev/null/crm.db: " in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    after = workspace.latest
    assert after != before
    assert f"report: runs/{after.name}/report.html" in done.stderr
    for name in ("scores.parquet", "report.html", "kpis.parquet", "forecast_change.parquet"):
        assert (after / name).stat().st_mtime > (before / "report.html").stat().st_mtime
    with sqlite3.connect(workspace.path / "store" / "mlflow.db") as book:
        asked = "SELECT value FROM tags WHERE key = 'write_back' ORDER BY rowid DESC LIMIT 1"
        assert book.execute(asked).fetchone() == ("failed",)
        asked = "SELECT status FROM runs ORDER BY start_time DESC LIMIT 1"
        assert book.execute(asked).fetchone() == ("FINISHED",)
