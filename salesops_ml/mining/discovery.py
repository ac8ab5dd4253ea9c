"""A process model drawn from the log by pm4py: what the process seems to be, and how well that fits.

This is the only module that imports pm4py, whose licence is AGPL-3.0-or-later; it does so when a
function is called. `directly_follows` and `variant_counts` are pm4py's own answers, kept as an
independent check of ours.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from salesops_ml.errors import DataError
from salesops_ml.mining.event_log import ACTIVITY, CASE, TIMESTAMP
from salesops_ml.mining.steps import Steps, as_steps

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Discovery:
    """A discovered model, its quality, and its text in two exchange formats.

    Attributes:
        cases, events: how much of the log it was drawn from.
        sampled: whether that is a sample of the cases.
        noise_threshold: how rare behaviour must be, against its neighbours, to be left out, 0..1.
        fitness: share of the log's behaviour that the model can replay, 0..1 (token replay).
        precision: how little it allows beyond the log, 0..1 (escaping edges).
        simplicity: 1 for a chain, less with more branching, 0..1 (inverse arc degree).
        places, transitions, arcs: size of the Petri net.
        bpmn: the model as BPMN 2.0 XML, without a layout.
        petri_net: the model as PNML.
    """

    cases: int
    events: int
    sampled: bool
    noise_threshold: float
    fitness: float
    precision: float
    simplicity: float
    places: int
    transitions: int
    arcs: int
    bpmn: str
    petri_net: str

    def summary(self) -> dict[str, Any]:
        """The numbers, without the models' text."""
        return {name: value for name, value in vars(self).items()
                if name not in ("bpmn", "petri_net")}  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values, fit for JSON."""
        return dict(vars(self))

    def write(self, folder: Path | str) -> tuple[Path, Path]:
        """Write `process.bpmn` and `process.pnml` into `folder`; their paths."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        bpmn, net = folder / "process.bpmn", folder / "process.pnml"
        bpmn.write_text(self.bpmn, encoding="utf-8")
        net.write_text(self.petri_net, encoding="utf-8")
        return bpmn, net


def discover(
    log: Any,
    *,
    as_of: datetime | None = None,
    won: Sequence[str] = (),
    lost: Sequence[str] = (),
    max_cases: int = 2_000,
    noise_threshold: float = 0.2,
    seed: int = 7,
) -> Discovery:
    """The inductive miner's model of the log: block-structured, sound, and readable.

    Leemans, Fahland and van der Aalst (2014), Discovering block-structured process models from
    event logs containing infrequent behaviour.

    Args:
        log: an `event_log`, or a pandas, Arrow or Ibis table with pm4py's columns.
        as_of, won, lost: for a log with pm4py's columns, see `as_steps`.
        max_cases: a larger log is sampled by case; the same seed draws the same cases.
        noise_threshold: see `Discovery`.
        seed: of the sample.

    Raises:
        DataError: the log is empty.
    """
    steps = as_steps(log, as_of=as_of, won=won, lost=lost)
    if not len(steps.case):
        raise DataError("no process can be discovered: the log has no events")
    frame = _sample(steps, max_cases, seed)
    pm4py = load_pm4py()
    tree = pm4py.discover_process_tree_inductive(
        log=frame, noise_threshold=noise_threshold, multi_processing=False
    )
    net, start, end = pm4py.convert_to_petri_net(tree)
    replay = {"log": frame, "petri_net": net, "initial_marking": start, "final_marking": end}
    with tempfile.TemporaryDirectory() as folder:
        bpmn, pnml = Path(folder) / "process.bpmn", Path(folder) / "process.pnml"
        pm4py.write_bpmn(model=pm4py.convert_to_bpmn(tree), file_path=str(bpmn), auto_layout=False)
        pm4py.write_pnml(
            petri_net=net, initial_marking=start, final_marking=end, file_path=str(pnml)
        )
        texts = bpmn.read_text(encoding="utf-8"), pnml.read_text(encoding="utf-8")
    return Discovery(
        cases=int(frame[CASE].nunique()),
        events=len(frame),
        sampled=len(steps.case_ids) > max_cases,
        noise_threshold=noise_threshold,
        fitness=float(pm4py.fitness_token_based_replay(**replay)["log_fitness"]),
        precision=float(pm4py.precision_token_based_replay(**replay)),
        simplicity=float(
            pm4py.simplicity_petri_net(net=net, im=start, fm=end, variant="arc_degree")
        ),
        places=len(net.places),
        transitions=len(net.transitions),
        arcs=len(net.arcs),
        bpmn=texts[0],
        petri_net=texts[1],
    )


def directly_follows(
    log: pd.DataFrame,
) -> tuple[dict[tuple[str, str], int], dict[str, int], dict[str, int]]:
    """pm4py's directly-follows graph of a frame with its columns: pairs, starts and ends."""
    pairs, starts, ends = load_pm4py().discover_dfg(log=log)
    return dict(pairs), dict(starts), dict(ends)


def variant_counts(log: pd.DataFrame) -> dict[tuple[str, ...], int]:
    """pm4py's variants of a frame with its columns, with the number of cases of each."""
    return {tuple(path): int(n) for path, n in load_pm4py().get_variants(log=log).items()}


def load_pm4py() -> ModuleType:
    """pm4py, without its progress bars; its banner it shows only to scripts that import it."""
    os.environ["PM4PY_SHOW_PROGRESS_BAR"] = "False"
    import pm4py

    return cast(ModuleType, pm4py)


def _sample(steps: Steps, max_cases: int, seed: int) -> pd.DataFrame:
    """A frame with pm4py's columns, of all cases or of a sample of them."""
    import pandas as pd

    count = len(steps.case_ids)
    chosen = np.arange(count)
    if count > max_cases:
        chosen = np.sort(np.random.default_rng(seed).choice(count, max_cases, replace=False))
    rows = np.flatnonzero(np.isin(steps.case, chosen))
    names = np.array(steps.activities, dtype=object)
    return pd.DataFrame({
        CASE: steps.case_ids[steps.case[rows]].astype(str),
        ACTIVITY: names[steps.activity[rows]],
        TIMESTAMP: pd.to_datetime(steps.at[rows], unit="us", utc=True),
    })  # fmt: skip
