"""All of mining in one call: what a run writes into its folder."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from salesops_ml.mining.bottlenecks import bottlenecks
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.discovery import Discovery, discover
from salesops_ml.mining.event_log import event_log
from salesops_ml.mining.segments import segments
from salesops_ml.mining.stages import stage_dwell
from salesops_ml.mining.steps import as_steps
from salesops_ml.mining.transitions import transitions
from salesops_ml.mining.variants import variants
from salesops_ml.settings import Settings
from salesops_ml.warehouse import Warehouse

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class MiningResult:
    """What mining found; each frame documents its columns in `COLUMNS` of its module.

    Attributes:
        transitions: see `mining.transitions`.
        stages: see `mining.stages`.
        bottlenecks: see `mining.bottlenecks`.
        variants: see `mining.variants`.
        discovery: the discovered model; None where the log is empty.
        cases, events: size of the log.
    """

    transitions: pd.DataFrame
    stages: pd.DataFrame
    bottlenecks: pd.DataFrame
    variants: pd.DataFrame
    discovery: Discovery | None
    cases: int
    events: int

    def write(self, folder: Path | str) -> list[Path]:
        """Write the frames as Parquet, and the model as BPMN and PNML; the paths written."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for name in ("transitions", "stages", "bottlenecks", "variants"):
            written.append(folder / f"{name}.parquet")
            getattr(self, name).to_parquet(written[-1], index=False)
        if self.discovery is not None:
            written += self.discovery.write(folder)
        return written


def mine(
    warehouse: Warehouse, *, as_of: datetime, settings: Settings, pipeline: str | None = None
) -> MiningResult:
    """Mine the sales process as it was known at `as_of`.

    Args:
        warehouse: the canonical tables.
        as_of: naive UTC; nothing recorded later is read.
        settings: of the company, its agreed process, and of mining.
        pipeline: mine only deals of this pipeline.
    """
    clock = Clock.of(settings.company, settings.process)
    with warehouse.scratch() as keep:
        log = keep(event_log(warehouse, as_of=as_of, pipeline=pipeline))
        steps = as_steps(log, as_of=as_of)
        kinds = segments(
            warehouse, log, as_of=as_of, known_at_creation=settings.snapshots.known_at_creation
        )
    target: dict[str, Any] = {
        "expected_days": _expected_days(warehouse, settings),
        "target_quantile": settings.mining.target_quantile,
        "order": settings.process.stages,
    }
    return MiningResult(
        transitions=transitions(steps, clock=clock),
        stages=stage_dwell(steps, clock=clock, **target),
        bottlenecks=bottlenecks(
            steps, kinds, clock=clock, bootstrap=settings.mining.bootstrap, seed=settings.seed,
            **target,
        ),
        variants=variants(steps, clock=clock, limit=settings.mining.max_variants),
        discovery=discover(steps, max_cases=settings.mining.discovery_cases, seed=settings.seed)
        if len(steps.case)
        else None,
        cases=len(steps.case_ids),
        events=len(steps.case),
    )  # fmt: skip


def _expected_days(warehouse: Warehouse, settings: Settings) -> dict[str, float]:
    """Agreed days by stage: those of the configuration, else those that the CRM holds."""
    stages = warehouse.table("stages")
    known = stages.filter(stages.expected_days.notnull())
    agreed = known.group_by("stage").aggregate(days=known.expected_days.median()).execute()
    told = {str(name): float(days) for name, days in zip(agreed.stage, agreed.days, strict=True)}
    return told | dict(settings.process.expected_days)
