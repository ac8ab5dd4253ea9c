"""Tuning and validation as one types them."""

from __future__ import annotations

import json

import pytest

from tests.end_to_end.conftest import Workspace

TUNING = {"origins": 1, "space": {"leaves": {"low": 3, "high": 40}}}
QUICK = {"trees": 6, "max_period_rows": 5_000, "max_classifier_rows": 2_000, "horizon_days": 45}


@pytest.mark.slow
def test_tune_writes_a_configuration_that_the_other_commands_take(workspace: Workspace) -> None:
    config = workspace.config("tunable", tuning=TUNING, models=QUICK)
    words = ["tune", "--config", config, "--trials", "2", "--json", "-"]
    told = json.loads(workspace.salesops(*words).stdout)
    assert [trial["state"] for trial in told["trials"]] == ["complete", "complete"]
    assert (workspace.path / "store" / "tuning.db").exists()
    assert told["config"] == "configs/tuned.yaml"
    again = workspace.salesops("tune", "--config", config, "--trials", "1").stdout
    assert "3 trials (3 complete)" in again
    done = workspace.salesops("kpis", "--config", "configs/tuned.yaml")
    assert done.stdout


@pytest.mark.slow
def test_evaluate_validates_on_past_days_where_asked_and_only_there(workspace: Workspace) -> None:
    plain = json.loads((workspace.latest / "evaluation.json").read_text())
    assert "validation" not in plain
    models = QUICK | {"validation_origins": 1}
    link = workspace.path / "runs" / "latest"
    usual = link.readlink()
    config = workspace.config("validated", models=models)
    said = workspace.salesops("evaluate", "--config", config).stderr
    assert "validation on 1 past days: log-loss 0." in said
    found = json.loads((workspace.latest / "evaluation.json").read_text())["validation"]
    assert {"deal_scores", "stage_age", "base_rate"} <= set(found["pooled"]["models"])
    short = workspace.config("too_short", models=models | {"validation_origins": 900})
    said = workspace.salesops("evaluate", "--config", short).stderr
    assert "no validation: rolling origins:" in said
    found = json.loads((workspace.latest / "evaluation.json").read_text())["validation"]
    assert "Ask for fewer" in found["not_possible"]
    link.unlink()
    link.symlink_to(usual)


@pytest.mark.parametrize(("words", "code", "told"), [
    (["--trials", "0"], 2, "`--trials 0`: give 1 or more"),
    (["--trials", "many"], 2, "Invalid value for '--trials'"),
    (["--workers-storage", "x"], 2, "no database URL"),
    (["--workers-storage", "postgresql+psycopg://ada@127.0.0.1:1/db"], 1, "cannot be used"),
])  # fmt: skip
def test_bad_usage_of_tune_is_told(
    workspace: Workspace, words: list[str], code: int, told: str
) -> None:
    done = workspace.salesops("tune", "--config", "configs/small.yaml", *words, code=code)
    assert told in done.stderr
    assert "Traceback" not in done.stderr
