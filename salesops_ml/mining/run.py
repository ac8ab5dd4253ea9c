"""All of mining in one call: what a run writes into its folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from salesops_ml.errors import ConfigError
from salesops_ml.mining.bottlenecks import bottlenecks
from salesops_ml.mining.causes import causes
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.comparison import compare
from salesops_ml.mining.conformance import Conformance, conformance
from salesops_ml.mining.discovery import Discovery, discover_all
from salesops_ml.mining.dotted_chart import dotted_chart
from salesops_ml.mining.drift import drift
from salesops_ml.mining.dwell_intervals import dwell_intervals
from salesops_ml.mining.event_log import event_log
from salesops_ml.mining.first_pass import first_pass_yield
from salesops_ml.mining.handovers import handovers
from salesops_ml.mining.performance_spectrum import performance_spectrum
from salesops_ml.mining.ping_pong import ping_pong
from salesops_ml.mining.recommendations import recommendations
from salesops_ml.mining.rep_load import rep_load
from salesops_ml.mining.resources import step_reps
from salesops_ml.mining.rework import rework
from salesops_ml.mining.rules import rule_list
from salesops_ml.mining.segments import segments
from salesops_ml.mining.skipped_stages import skipped_stages
from salesops_ml.mining.stages import stage_dwell
from salesops_ml.mining.steps import Mask, Steps, as_steps
from salesops_ml.mining.transitions import transitions
from salesops_ml.mining.usual_comparisons import recent_against_before, won_against_lost
from salesops_ml.mining.variants import variants
from salesops_ml.mining.waiting_kinds import waiting_kinds
from salesops_ml.settings import Settings
from salesops_ml.warehouse import Warehouse

if TYPE_CHECKING:
    import pandas as pd

MOST_DOTTED = 1_000
"""Deals in the dotted chart; of more, some stand for the others."""
PLACES = 8
"""Ways from stage to stage that the performance spectrum tells of."""


@dataclass(frozen=True)
class MiningResult:
    """What mining found; each frame documents its columns in `COLUMNS` of its module.

    Attributes:
        transitions, stages, bottlenecks, variants: the process, and where it costs.
        more: the other frames by the name of their file: causes, cause_rules, waiting, rework,
            ping_pong, skipped_stages, first_pass, dwell_intervals, comparison, recent, drift, handovers,
            rep_load, performance_spectrum, dotted_chart, recommendations.
        compared: what the two sides of `comparison` are called.
        conformance: the deals held against the agreed process; None where no process is agreed.
        models: the discovered models, the inductive miner's first; none where the log is empty.
        cases, events: size of the log.
    """

    transitions: pd.DataFrame
    stages: pd.DataFrame
    bottlenecks: pd.DataFrame
    variants: pd.DataFrame
    models: tuple[Discovery, ...]
    cases: int
    events: int
    more: dict[str, pd.DataFrame] = field(default_factory=dict)
    compared: tuple[str, str] = ("won", "lost")
    conformance: Conformance | None = None

    def write(self, folder: Path | str) -> list[Path]:
        """Write the frames as Parquet, and the model as BPMN and PNML; the paths written."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        named = {name: getattr(self, name) for name in ("transitions", "stages", "bottlenecks")}
        written = []
        for name, frame in (named | {"variants": self.variants} | self.more).items():
            written.append(folder / f"{name}.parquet")
            frame.to_parquet(written[-1], index=False)
        for part in (self.conformance, *self.models):
            written += part.write(folder) if part is not None else []
        return written


@dataclass(frozen=True)
class _Asked:
    """The log of one day, what was known of its deals, and how to look at it."""

    steps: Steps
    kinds: pd.DataFrame
    settings: Settings
    clock: Clock

    @property
    def order(self) -> tuple[str, ...]:
        """The agreed order of stages."""
        return self.settings.process.stages


def mine(
    warehouse: Warehouse, *, as_of: datetime, settings: Settings, pipeline: str | None = None
) -> MiningResult:
    """Mine the sales process as it was known at `as_of`.

    Args:
        warehouse: the canonical tables.
        as_of: naive UTC; nothing recorded later is read.
        settings: of the company, its agreed process, and of mining.
        pipeline: mine only deals of this pipeline.

    Raises:
        ConfigError: the agreed process, or `mining.compare`, names what there is not.
    """
    clock = Clock.of(settings.company, settings.process)
    with warehouse.scratch() as keep:
        log = keep(event_log(warehouse, as_of=as_of, pipeline=pipeline))
        steps = as_steps(log, as_of=as_of)
        kinds = segments(
            warehouse, log, as_of=as_of, known_at_creation=settings.snapshots.known_at_creation
        )
    asked = _Asked(steps, kinds, settings, clock)
    target: dict[str, Any] = {
        "expected_days": _expected_days(warehouse, settings),
        "target_quantile": settings.mining.target_quantile,
        "order": asked.order,
    }
    stuck = bottlenecks(
        steps, kinds, clock=clock, bootstrap=settings.mining.bootstrap, seed=settings.seed, **target
    )
    held = _held(asked, warehouse)
    names, compared = _compared(asked)
    more = _people(asked) | _ways(asked) | compared
    more["recommendations"] = recommendations(
        stuck,
        causes=more["causes"],
        rework=more["rework"],
        ping_pong=more["ping_pong"],
        skipped=more["skipped_stages"],
        violations=held.broken() if held is not None else None,
    )
    return MiningResult(
        transitions=transitions(steps, clock=clock),
        stages=stage_dwell(steps, clock=clock, **target),
        bottlenecks=stuck,
        variants=variants(steps, clock=clock, limit=settings.mining.max_variants),
        models=discover_all(steps, max_cases=settings.mining.discovery_cases, seed=settings.seed)
        if len(steps.case)
        else (),
        cases=len(steps.case_ids),
        events=len(steps.case),
        more=more,
        compared=names,
        conformance=held,
    )


def _people(asked: _Asked) -> dict[str, pd.DataFrame]:
    """Why deals are slow or lost, and who had them."""
    steps, kinds, clock, order = asked.steps, asked.kinds, asked.clock, asked.order
    return {
        "causes": causes(steps, kinds, clock=clock, order=order),
        "cause_rules": rule_list(steps, kinds, clock=clock, order=order, seed=asked.settings.seed),
        "waiting": waiting_kinds(steps, kinds, clock=clock),
        "handovers": handovers(steps, kinds, clock=clock),
        "rep_load": rep_load(steps, kinds),
    }


def _ways(asked: _Asked) -> dict[str, pd.DataFrame]:
    """How deals move: back, around, at once, and when that changed."""
    steps, clock, order, seed = asked.steps, asked.clock, asked.order, asked.settings.seed
    return {
        "rework": rework(steps, clock=clock, order=order, seed=seed),
        "ping_pong": ping_pong(steps, asked.kinds["rep"].tolist(), clock=clock, seed=seed),
        "skipped_stages": skipped_stages(steps, order=order),
        "first_pass": first_pass_yield(steps, order=order),
        "dwell_intervals": dwell_intervals(steps, working=_working(asked)),
        "drift": drift(steps, seed=seed),
        "performance_spectrum": performance_spectrum(steps, clock=clock, limit=PLACES),
        "dotted_chart": dotted_chart(steps, clock=clock, most_cases=MOST_DOTTED),
    }


def _working(asked: _Asked) -> Clock:
    company = asked.settings.company
    return Clock(True, company.time_zone, company.working_week, company.holidays)


def _compared(asked: _Asked) -> tuple[tuple[str, str], dict[str, pd.DataFrame]]:
    """Two populations side by side, won and lost unless others are named; late deals and earlier."""
    steps, wanted = asked.steps, asked.settings.mining.compare
    how: dict[str, Any] = {
        "clock": asked.clock, "order": asked.order, "seed": asked.settings.seed,
    }  # fmt: skip
    recent = {"recent": recent_against_before(steps, **how)}
    if wanted is None:
        return ("won", "lost"), recent | {"comparison": won_against_lost(steps, **how)}
    names = (wanted[1], wanted[2])
    return names, recent | {
        "comparison": compare(steps, *_chosen(asked, *wanted), names=names, **how)
    }


def _chosen(asked: _Asked, column: str, first: str, second: str) -> tuple[Mask, Mask]:
    """Deals whose `column` was one or the other value when they began."""
    kinds = asked.kinds[asked.steps.first]
    if column not in kinds.columns:
        known = [name for name in kinds.columns if name not in ("case_id", "position")]
        raise ConfigError(
            f"`mining.compare` names `{column}`, which is not known of deals; "
            f"it can be: {', '.join(known)}"
        )
    told = kinds[column].astype(str)
    for value in (first, second):
        if not (told == value).any():
            seen = ", ".join(sorted(told.dropna().unique())[:8])
            raise ConfigError(
                f"`mining.compare`: no deal has `{value}` as `{column}`; it has: {seen}"
            )
    return (told == first).to_numpy(bool), (told == second).to_numpy(bool)


def _held(asked: _Asked, warehouse: Warehouse) -> Conformance | None:
    """The deals beside the agreed process; None where nothing is agreed."""
    process = asked.settings.process
    if not (process.conformance.any_rule or process.model) or not len(asked.steps.case):
        return None
    stages = warehouse.table("stages").select("stage").distinct().to_pyarrow()["stage"].to_pylist()
    people, _ = step_reps(asked.steps, asked.steps, asked.kinds)
    return conformance(
        asked.steps, process, clock=asked.clock, people=people, stages=sorted(map(str, stages))
    )


def _expected_days(warehouse: Warehouse, settings: Settings) -> dict[str, float]:
    """Agreed days by stage: those of the configuration, else those that the CRM holds."""
    stages = warehouse.table("stages")
    known = stages.filter(stages.expected_days.notnull())
    agreed = known.group_by("stage").aggregate(days=known.expected_days.median()).execute()
    told = {str(name): float(days) for name, days in zip(agreed.stage, agreed.days, strict=True)}
    return told | dict(settings.process.expected_days)
