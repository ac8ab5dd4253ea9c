"""`salesops tune`: a configuration that runs, a gain in words, a book of trials, and clear refusals."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from salesops_ml.app import commands
from salesops_ml.app.deal_model import Prepared
from salesops_ml.app.tuning import roll, write_config
from salesops_ml.crm.ingest import ingest
from salesops_ml.errors import ConfigError, DataError, ModelError, SalesOpsError, UsageError
from salesops_ml.evaluation.splits import Borders
from salesops_ml.registry.trials import trial_book
from salesops_ml.settings import Settings, load


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, empty_book: Path) -> Path:
    """A small company, loaded; its configuration names every place absolutely."""
    place = tmp_path_factory.mktemp("tune")
    shutil.copyfile(empty_book, place / "mlflow.db")
    models = {
        "trees": 8, "max_period_rows": 5_000, "max_classifier_rows": 2_000, "horizon_days": 45,
    }  # fmt: skip
    values = {
        "source": {"type": "synthetic", "deals": 500, "seed": 6},
        "warehouse": f"duckdb:///{place}/w.duckdb",
        "models": models,
        "tuning": {
            "origins": 2,
            "storage": f"sqlite:///{place}/store/tuning.db",
            "space": {"leaves": {"low": 3, "high": 30}, "trees": {"low": 4, "high": 12}},
        },
        "registry": {
            "tracking_uri": f"sqlite:///{place}/mlflow.db", "artifacts": str(place / "artifacts"),
        },
        "threads": 1,
    }  # fmt: skip
    path = place / "small.yaml"
    path.write_text(yaml.safe_dump(values))
    ingest(load(path), ingested_at=datetime(2026, 1, 1))
    return path


def tune(config: Path, *, settings: Settings | None = None, **given: Any) -> commands.Told:
    words: dict[str, Any] = {"trials": None, "minutes": None, "storage": None, "out": None}
    return commands.tune(settings or load(config), config, **(words | given))


@pytest.mark.slow
def test_a_call_and_the_next_one_leave_a_configuration_that_runs(config: Path) -> None:
    first = tune(config, trials=2)
    told = tune(config, trials=1, out=config.parent / "found" / "best.yaml")
    assert told.values["study"] == first.values["study"]
    assert [trial["number"] for trial in told.values["trials"]] == [0, 1, 2]
    assert told.values["trials"][:2] == first.values["trials"]
    in_use = {"leaves": load(config).models.leaves, "trees": 8}
    assert told.values["trials"][0]["choice"] == told.values["in_use"] == in_use
    assert told.values["best_log_loss"] <= told.values["in_use_log_loss"]
    assert len(told.values["origins"]) == 2
    assert json.loads(json.dumps(told.values, default=str))["best"] == told.values["best"]

    settings, best = load(config), told.values["best"]
    tuned = load(config.parent / "found" / "best.yaml")
    assert tuned.models.model_dump() == settings.models.model_dump() | best
    assert tuned.model_copy(update={"models": settings.models}) == settings
    assert load(config.parent / "tuned.yaml").models.leaves == first.values["best"]["leaves"]

    assert "3 trials (3 complete), judged on the deals that began after" in told.text
    assert f"salesops train --config {config.parent / 'found' / 'best.yaml'}" in told.text
    better = told.values["better"]
    assert ("95 % interval" in told.text) == better
    assert ("nothing better was found" in told.text) != better

    with trial_book(settings, study=told.values["study"]) as book:
        assert book.written() == {0, 1, 2}
    assert book.run.run_id == told.values["mlflow_run"]
    kept = book.run.tracking.client.get_run(book.run.run_id).data
    assert kept.metrics["best_log_loss"] == pytest.approx(told.values["best_log_loss"])
    assert kept.tags["best.leaves"] == str(best["leaves"])


@pytest.mark.parametrize(("given", "kind", "words"), [
    ({"trials": 0}, UsageError, "`--trials 0`: give 1 or more"),
    ({"minutes": -1.0}, UsageError, "`--minutes -1`: give more than 0"),
    ({"storage": "trials"}, ConfigError, "`trials` is no database URL"),
    ({"storage": "sqlite:////proc/no/t.db"}, ModelError, "cannot be used"),
])  # fmt: skip
def test_bad_usage_is_told_before_anything_is_read(
    config: Path, given: dict[str, Any], kind: type[SalesOpsError], words: str
) -> None:
    nowhere = load(config).model_copy(update={"warehouse": "duckdb:////nowhere/w.duckdb"})
    with pytest.raises(kind, match=words):
        tune(config, settings=nowhere, **given)


def test_a_record_too_short_for_the_origins_is_told(config: Path) -> None:
    settings = load(config, overrides={"models": {"validation_origins": 400}})
    with pytest.raises(DataError, match=r"does not give 400 origins. Ask for fewer"):
        tune(config, settings=settings, trials=1)
    long = load(config, overrides={"models": {"horizon_days": 1_400}})
    with pytest.raises(DataError, match=r"shorten `models.horizon_days`"):
        tune(config, settings=long, trials=1)


def test_blocks_that_do_not_follow_in_time_have_no_past_days() -> None:
    prepared = Prepared(pd.DataFrame({"split": ["train", "test"]}), None)
    with pytest.raises(DataError, match="no past days to judge on"):
        roll(prepared, Settings(), folds=2)


def test_deals_of_the_test_block_take_no_part() -> None:
    begun = pd.date_range("2025-01-01", periods=200, freq="D")
    data = pd.DataFrame({
        "deal_id": [f"d{n}" for n in range(200)], "created_at": begun, "as_of": begun,
        "outcome": "won", "days_to_outcome": 3.0, "days_observed": 400.0,
        "split": ["test" if n % 5 == 0 else "train" for n in range(200)],
    })  # fmt: skip
    borders = Borders(datetime(2025, 6, 1), datetime(2025, 7, 1))
    found = roll(Prepared(data, borders), Settings(), folds=2)
    assert (found.data["split"] == "train").all()
    assert found.until == borders.test_from


def test_the_configuration_itself_may_be_amended(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("seed: 9\nmodels: {horizon_days: 30, leaves: 9}\n")
    write_config(path, path, {"leaves": 12})
    settings = load(path)
    assert (settings.seed, settings.models.horizon_days, settings.models.leaves) == (9, 30, 12)


def test_from_another_folder_the_configuration_is_still_found(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "c.yaml").write_text("seed: 9\n")
    write_config(tmp_path / "b" / "tuned.yaml", tmp_path / "a" / "c.yaml", {"leaves": 12})
    settings = load(tmp_path / "b" / "tuned.yaml")
    assert (settings.seed, settings.models.leaves) == (9, 12)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(SalesOpsError, match=r"--out /proc/no/t.yaml: cannot be written"):
        write_config(Path("/proc/no/t.yaml"), tmp_path / "c.yaml", {"leaves": 3})
