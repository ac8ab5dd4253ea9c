"""The run book keeps settings, metrics, data digests and files, and no password."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from salesops_ml import registry
from salesops_ml.errors import RegistryError
from salesops_ml.registry.tracking import TELEMETRY_OFF, flatten, shown
from salesops_ml.settings import Settings, parse


def test_a_run_holds_what_was_logged(settings: Settings, tmp_path: Path) -> None:
    figures = tmp_path / "run folder"
    figures.mkdir()
    (figures / "map.svg").write_text("<svg/>")
    with registry.run(settings, name="train", git_revision="abc123") as run:
        run.log_metrics({"test": {"log_loss": 0.5, "nan": float("nan"), "text": "x", "ok": True}})
        run.log_dataset("snapshots", digest="f" * 64, source="runs/1", rows=10, columns=3)
        run.log_folder(figures)
    kept = run.tracking.client.get_run(run.run_id)
    assert kept.info.status == "FINISHED"
    assert kept.data.params["models.horizon_days"] == "90"
    assert kept.data.metrics == {"test/log_loss": 0.5, "test/ok": 1.0}
    assert kept.data.tags["mlflow.source.git.commit"] == "abc123"
    assert kept.data.tags["seed"] == "7"
    assert kept.data.tags["dataset.snapshots.sha256"] == "f" * 64
    assert kept.inputs.dataset_inputs[0].dataset.digest == "f" * 36
    assert [file.path for file in run.tracking.client.list_artifacts(run.run_id)] == ["map.svg"]


def test_artifacts_lie_where_the_settings_say(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.txt").write_text("a")
    with registry.run(settings, name="train") as run:
        run.log_folder(tmp_path / "one")
    assert list(settings.registry.artifacts.rglob("a.txt"))
    assert not (tmp_path / "mlruns").exists()


def test_no_password_reaches_the_book(settings: Settings) -> None:
    with registry.run(settings, name="train") as run:
        run.log_params({"another": "postgresql://ada:s3cret@db/crm"})
    params = run.tracking.client.get_run(run.run_id).data.params
    assert params["write_back.password"] == "env:OUR_CRM"
    assert params["another"] == "postgresql://ada:***@db/crm"
    assert "s3cret" not in str(params)


def test_a_failed_run_is_marked_failed(settings: Settings) -> None:
    with pytest.raises(ZeroDivisionError), registry.run(settings, name="train") as run:
        _ = 1 / 0
    assert run.tracking.client.get_run(run.run_id).info.status == "FAILED"


def test_the_same_parameter_twice_is_not_an_error(settings: Settings) -> None:
    with registry.run(settings, name="train") as run:
        run.log_params({"trees": 3})
        run.log_params({"trees": 4})
    assert run.tracking.client.get_run(run.run_id).data.params["trees"] == "3"


def test_many_and_long_values_fit(settings: Settings) -> None:
    with registry.run(settings, name="train") as run:
        run.log_params({f"p{at}": "x" * 10_000 for at in range(250)})
        run.log_metrics({f"m{at}": at for at in range(1_500)})
    kept = run.tracking.client.get_run(run.run_id).data
    assert kept.params["p249"].endswith("...")
    assert kept.metrics["m1499"] == 1499


def test_telemetry_is_off_before_mlflow_is_imported() -> None:
    code = (
        "import sys, os, salesops_ml.registry as r\n"
        "assert 'mlflow' not in sys.modules\n"
        "from salesops_ml.registry.tracking import mlflow_module\n"
        "mlflow_module()\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled\n"
        "assert is_telemetry_disabled()\n"
        "sys.stdout.write(os.environ['DO_NOT_TRACK'])\n"
    )
    clean = {name: value for name, value in os.environ.items() if name not in TELEMETRY_OFF}
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True
    )
    assert done.stdout == "true"


def test_a_new_store_is_made_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "new place" / "mlflow.db"
    registry.tracking(parse({"registry": {"tracking_uri": f"sqlite:///{path}"}}))
    assert path.is_file()


@pytest.mark.parametrize("uri", ["sqlite:////proc/nowhere/mlflow.db", "mlruns", "file:///mlruns"])
def test_a_store_that_cannot_be_opened_is_named(uri: str) -> None:
    with pytest.raises(RegistryError, match="registry"):
        registry.tracking(parse({"registry": {"tracking_uri": uri}}))


def test_flatten_and_shown() -> None:
    assert flatten({"a": {"b": {"c": 1}}, "d": 2}, separator="/") == {"a/b/c": 1, "d": 2}
    assert shown("postgresql://u:p@ss@host/db?password=x&a=1") == (
        "postgresql://u:***@host/db?password=***&a=1"
    )
