"""Phase 6, deployment: into the book, into use, into the CRM, and onto the leaders' table.

The models are registered and, since the gates said yes, promoted; the champion scores the open deals;
the scores are written to the CRM database; the report is laid out; the book keeps it all.
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
from salesops_ml.app.write_back import write_scores
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
    """Promote the models, write scores.parquet, scores into the CRM, and report.html."""
    evaluation.check(job)
    name, settings = job.folder.run_id, job.settings
    with registry.run(settings, name=name, git_revision=git_revision()) as entry:
        _promote(job, entry)
        _score(job)
        with job.progress.step("report"):
            write_report(job.folder)
        with job.progress.step("run book"):
            entry.log_metrics(job.folder.read_json("evaluation"))
            entry.log_folder(job.folder.path, artifact_path="run")


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


def _score(job: Job) -> None:
    settings = job.settings
    with job.warehouse() as warehouse:
        with job.progress.step("scores"):
            scores, _ = steps.score_with_champion(warehouse, settings, as_of=job.as_of(warehouse))
            job.folder.write_frame("scores", scores)
            if job.folder.has("forecast.parquet"):
                job.folder.write_frame("forecast_change", _changed(job, warehouse))
            kpis = job.folder.read_frame("kpis")
            told = steps.kpis_by_model(warehouse, scores, settings, as_of=job.as_of(warehouse))
            job.folder.write_frame("kpis", pd.concat([kpis, told], ignore_index=True))
        with job.progress.step("write-back"):
            done = write_scores(
                warehouse, scores, settings, run_id=job.folder.run_id, at=job.started_at,
                say=job.progress.say,
            )  # fmt: skip
            job.progress.say(
                f"write-back: {done.written:,} of {len(scores):,} scores to {done.place}"
            )


def _changed(job: Job, warehouse: Warehouse) -> pd.DataFrame:
    """Why the forecast is not what it was a week before."""
    settings = job.settings
    model = DealScores.load(steps.model_folder(job.folder), threads=settings.threads)
    weights = RevenueModel.load(job.folder.folder("models/revenue_forecast")).weights
    return last_week(warehouse, model, weights, settings, as_of=job.as_of(warehouse))
