"""Phase 1, business understanding: what is wanted, on which process, and when is it good enough.

The answers stand in the configuration: company and calendar, the agreed stages with their expected
days, KPI targets, and the gates that a model must pass. The phase writes them down resolved, so that
the run can be judged by what was asked.
"""

from __future__ import annotations

from pipelines.job import Job
from salesops_ml.models.boosting import import_lightgbm
from salesops_ml.registry import check_store

STEPS = (("questions and gates", 1.0),)


def run(job: Job) -> None:
    """Write config.yaml; find out now, not in ten minutes, whether models can be trained and kept."""
    import_lightgbm()
    check_store(job.settings)
    with job.progress.step(STEPS[0][0]):
        job.folder.write_text("config.yaml", job.settings.to_yaml())
        if not job.settings.gates:
            job.progress.say("no gates are configured: every model that trains may be promoted")
