"""Phase 6, deployment: into the book, into use, into the CRM, and onto the leaders' table.

The models are registered and, since the gates said yes, promoted; the champion scores the open deals;
the scores are written to the CRM database; the report is laid out; the book keeps it all. Where the CRM
refuses scores, all else is done first, and the run ends with what was refused.
"""

from __future__ import annotations

import pandas as pd

from pipelines import data_preparation, evaluation
from pipelines.job import Job
from salesops_ml import registry
from salesops_ml.app import deployment as steps
from salesops_ml.app.changes import last_week
from salesops_ml.app.environment import git_revision
from salesops_ml.app.report import write_report
from salesops_ml.app.run_folder import KeepRun
from salesops_ml.app.write_back import write_scores
from salesops_ml.errors import SalesOpsError
from salesops_ml.forecasts.model import RevenueModel
from salesops_ml.models import DealScores
from salesops_ml.registry import Run
from salesops_ml.warehouse import Warehouse

STEPS = (
    ("registry", 8.0),
    ("scores", 5.0),
    ("write-back", 1.0),
    ("report", 6.0),
    ("run book", 3.0),
)


def run(job: Job) -> None:
    """Promote the models, write scores.parquet, scores into the CRM, and report.html.

    Raises:
        KeepRun: the scores did not all reach the CRM; carries the error that says why. Everything
            else is done.
    """
    evaluation.check(job)
    name, settings = job.folder.run_id, job.settings
    with registry.run(settings, name=name, git_revision=git_revision()) as entry:
        _promote(job, entry)
        refused = _write_back(job, scored=_score(job))
        entry.log_tags({"write_back": "failed" if refused else "written"})
        with job.progress.step("report"):
            write_report(job.folder)
        with job.progress.step("run book"):
            entry.log_metrics(job.folder.read_json("evaluation"))
            entry.log_folder(job.folder.path, artifact_path="run")
    if refused:
        job.progress.say(f"report: {settings.runs / name / 'report.html'}")
        raise KeepRun(refused, complete=True)


def _promote(job: Job, entry: Run) -> None:
    settings = job.settings
    with job.progress.step("registry"):
        model = DealScores.load(steps.model_folder(job.folder), threads=settings.threads)
        prepared, _ = data_preparation.load(job)
        example = steps.example_looks(prepared.data[prepared.block == "test"])
        versions = steps.register_models(
            entry,
            job.folder,
            settings,
            model=model,
            example=example,
            data_source=settings.warehouse,
        )
        steps.promote_versions(settings, versions, failed_gates=[])
        for model_name, version in versions.items():
            job.progress.say(f"champion: {model_name} version {version}")


def _score(job: Job) -> int:
    """Score the open deals; how many there are."""
    settings = job.settings
    with job.warehouse() as warehouse, job.progress.step("scores"):
        scores, _ = steps.score_with_champion(
            warehouse, settings, as_of=job.as_of(warehouse), looks=job.looks
        )
        job.folder.write_frame("scores", scores)
        if job.folder.has("forecast.parquet"):
            job.folder.write_frame("forecast_change", _changed(job, warehouse))
        kpis = job.folder.read_frame("kpis")
        told = steps.kpis_by_model(warehouse, scores, settings, as_of=job.as_of(warehouse))
        if len(told):
            job.folder.write_frame("kpis", pd.concat([kpis, told], ignore_index=True))
    return len(scores)


def _write_back(job: Job, *, scored: int) -> SalesOpsError | None:
    """Scores into the CRM; the error where not all arrived, to be told when all else is done."""
    with job.warehouse() as warehouse, job.progress.step("write-back"):
        try:
            done = write_scores(
                warehouse, job.folder.path / "scores.parquet", job.settings,
                run_id=job.folder.run_id, at=job.started_at, say=job.progress.say,
            )  # fmt: skip
        except SalesOpsError as error:
            return error
        job.progress.say(f"write-back: {done.written:,} of {scored:,} scores to {done.place}")
    return None


def _changed(job: Job, warehouse: Warehouse) -> pd.DataFrame:
    """Why the forecast is not what it was a week before."""
    settings = job.settings
    model = DealScores.load(steps.model_folder(job.folder), threads=settings.threads)
    weights = RevenueModel.load(job.folder.folder("models/revenue_forecast")).weights
    return last_week(
        warehouse, model, weights, settings, as_of=job.as_of(warehouse), looks=job.looks
    )
