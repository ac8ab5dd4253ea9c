"""The six phases in order, and one run through some or all of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

from pipelines import (
    business_understanding,
    data_preparation,
    data_understanding,
    deployment,
    evaluation,
    modeling,
)
from pipelines.job import Job
from salesops_ml.app.progress import Progress
from salesops_ml.app.run_folder import KeepRun, latest_run, new_run
from salesops_ml.errors import UsageError
from salesops_ml.settings import Settings

PHASES: dict[str, ModuleType] = {
    "business_understanding": business_understanding,
    "data_understanding": data_understanding,
    "data_preparation": data_preparation,
    "modeling": modeling,
    "evaluation": evaluation,
    "deployment": deployment,
}


def run_phases(
    settings: Settings, *, phases: Sequence[str] = tuple(PHASES), fresh: bool = True
) -> Path:
    """Run `phases` in order; the folder of the finished run.

    Args:
        phases: names of phases.
        fresh: start from nothing; else from the files of the latest run.

    Raises:
        UsageError: a phase is unknown.
        GateError: a gate said no.
    """
    unknown = [phase for phase in phases if phase not in PHASES]
    if unknown:
        raise UsageError(f"`--phase`: `{unknown[0]}` is unknown; it is one of {', '.join(PHASES)}")
    now = datetime.now(UTC).replace(tzinfo=None)
    run_id = now.strftime("%Y%m%d-%H%M%S-%f")[:-3]
    steps = [step for phase in phases for step in PHASES[phase].STEPS]
    based_on = None if fresh else latest_run(settings.runs).path
    progress = Progress(steps)
    try:
        with new_run(settings.runs, run_id, based_on=based_on) as folder, progress.shown():
            job = Job(settings, folder, progress, started_at=now)
            for phase in phases:
                PHASES[phase].run(job)
    except KeepRun as kept:
        raise kept.reason from kept
    return settings.runs / run_id
