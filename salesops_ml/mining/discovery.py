"""A process model drawn from the log by pm4py: what the process seems to be, and how well that fits.

Two miners draw it. The inductive miner's model is made of blocks and can always be finished; the
heuristics miner draws what mostly follows what, closer to the eye, with no such promise. Either is held
against the log: fitness by token replay and, as its check, by alignments of our own.

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
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from salesops_ml.errors import DataError, UsageError
from salesops_ml.mining.alignments import DEVIATION, UNALIGNED, align_paths
from salesops_ml.mining.event_log import ACTIVITY, CASE, TIMESTAMP
from salesops_ml.mining.petri_net import from_pm4py, state_graph
from salesops_ml.mining.steps import Ints, Steps, as_steps

if TYPE_CHECKING:
    import pandas as pd

Miner = Literal["inductive", "heuristics"]
MINERS: tuple[Miner, ...] = ("inductive", "heuristics")
_ALIGNED_STATES = 5_000

QUALITY_COLUMNS = {
    "miner": "who drew the model: inductive or heuristics",
    "fitness": "share of the log's behaviour that the model can replay, 0..1 (token replay)",
    "alignment_fitness": "the same by alignments; null where the model cannot be walked through to its "
    "end, or is too large to be",
    "precision": "how little the model allows beyond the log, 0..1 (escaping edges)",
    "simplicity": "1 for a chain, less with more branching, 0..1 (inverse arc degree)",
    "places": "circles of the Petri net",
    "transitions": "its boxes, silent ones included",
    "arcs": "its arrows",
    "cases": "deals that it was drawn from",
    "sampled": "whether these are a sample of the log's deals",
    "finding": "the same in plain words",
}


@dataclass(frozen=True)
class Discovery:
    """A discovered model, its quality, and its text in two exchange formats.

    Attributes:
        miner: who drew it.
        cases, events: how much of the log it was drawn from.
        sampled: whether that is a sample of the cases.
        noise_threshold: how rare behaviour must be, against its neighbours, to be left out by the
            inductive miner, 0..1.
        dependency_threshold: how clearly one activity must follow another to be drawn by the
            heuristics miner, -1..1.
        fitness: share of the log's behaviour that the model can replay, 0..1 (token replay).
        alignment_fitness: one minus deviations over the worst possible, 0..1, by alignments; None
            where the model cannot be walked through to its end, or is too large.
        precision: how little it allows beyond the log, 0..1 (escaping edges).
        simplicity: 1 for a chain, less with more branching, 0..1 (inverse arc degree).
        places, transitions, arcs: size of the Petri net.
        bpmn: the model as BPMN 2.0 XML, without a layout.
        petri_net: the model as PNML.
    """

    miner: Miner
    cases: int
    events: int
    sampled: bool
    noise_threshold: float
    dependency_threshold: float
    fitness: float
    alignment_fitness: float | None
    precision: float
    simplicity: float
    places: int
    transitions: int
    arcs: int
    bpmn: str
    petri_net: str

    @property
    def file_name(self) -> str:
        """Of the model's files: `process`, or `process_heuristics`."""
        return "process" if self.miner == "inductive" else f"process_{self.miner}"

    def summary(self) -> dict[str, Any]:
        """The numbers, without the models' text."""
        return {name: value for name, value in vars(self).items()
                if name not in ("bpmn", "petri_net")}  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values, fit for JSON."""
        return dict(vars(self))

    def write(self, folder: Path | str, name: str | None = None) -> tuple[Path, Path]:
        """Write the model as BPMN and PNML into `folder`, by its `file_name` or `name`; their paths."""
        name = name or self.file_name
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        bpmn, net = folder / f"{name}.bpmn", folder / f"{name}.pnml"
        bpmn.write_text(self.bpmn, encoding="utf-8")
        net.write_text(self.petri_net, encoding="utf-8")
        return bpmn, net


def discover(
    log: Any,
    *,
    as_of: datetime | None = None,
    won: Sequence[str] = (),
    lost: Sequence[str] = (),
    miner: Miner = "inductive",
    max_cases: int = 2_000,
    noise_threshold: float = 0.2,
    dependency_threshold: float = 0.5,
    seed: int = 7,
) -> Discovery:
    """A model of the log: by the inductive miner block-structured, sound, and readable.

    Leemans, Fahland and van der Aalst (2014), Discovering block-structured process models from
    event logs containing infrequent behaviour; Weijters and Ribeiro (2011), Flexible heuristics
    miner.

    Args:
        log: an `event_log`, or a pandas, Arrow or Ibis table with pm4py's columns.
        as_of, won, lost: for a log with pm4py's columns, see `as_steps`.
        miner: who draws it.
        max_cases: a larger log is sampled by case; the same seed draws the same cases.
        noise_threshold, dependency_threshold: see `Discovery`.
        seed: of the sample.

    Raises:
        DataError: the log is empty.
        UsageError: there is no such miner.
    """
    if miner not in MINERS:
        raise UsageError(f"`miner` is `{miner}`; give one of {', '.join(MINERS)}")
    steps = as_steps(log, as_of=as_of, won=won, lost=lost)
    if not len(steps.case):
        raise DataError("no process can be discovered: the log has no events")
    frame = _sample(steps, max_cases, seed)
    drawn, net = _drawn(frame, miner, noise_threshold, dependency_threshold)
    return Discovery(
        miner=miner,
        cases=int(frame[CASE].nunique()),
        events=len(frame),
        sampled=len(steps.case_ids) > max_cases,
        noise_threshold=noise_threshold,
        dependency_threshold=dependency_threshold,
        alignment_fitness=_alignment_fitness(frame, net),
        **_quality(frame, net),
        **_texts(drawn, net),
    )


def discover_all(log: Any, **options: Any) -> tuple[Discovery, ...]:
    """The model of each miner, from the same cases; `options` as for `discover`."""
    told = {name: options.pop(name) for name in ("as_of", "won", "lost") if name in options}
    steps = as_steps(log, **told)
    return tuple(discover(steps, miner=miner, **options) for miner in MINERS)


def quality_table(found: Sequence[Discovery]) -> pd.DataFrame:
    """The quality of discovered models side by side, a row each; see `QUALITY_COLUMNS`."""
    import pandas as pd

    rows = [one.summary() | {"finding": _in_words(one)} for one in found]
    return pd.DataFrame(rows, columns=list(QUALITY_COLUMNS))


def _in_words(found: Discovery) -> str:
    return (
        f"The {found.miner} miner's model replays {found.fitness:.0%} of what deals did, "
        f"with a precision of {found.precision:.0%} and a simplicity of {found.simplicity:.0%}"
    )


def _drawn(
    frame: pd.DataFrame, miner: Miner, noise_threshold: float, dependency_threshold: float
) -> tuple[Any, tuple[Any, Any, Any]]:
    """pm4py's BPMN drawing, and its Petri net with both markings."""
    pm4py = load_pm4py()
    if miner == "inductive":
        tree = pm4py.discover_process_tree_inductive(
            log=frame, noise_threshold=noise_threshold, multi_processing=False
        )
        return pm4py.convert_to_bpmn(tree), pm4py.convert_to_petri_net(tree)
    net = pm4py.discover_petri_net_heuristics(log=frame, dependency_threshold=dependency_threshold)
    return pm4py.convert_to_bpmn(*net), net


def _quality(frame: pd.DataFrame, net: tuple[Any, Any, Any]) -> dict[str, Any]:
    """What pm4py measures of a net."""
    pm4py, (drawn, start, end) = load_pm4py(), net
    replay = {"log": frame, "petri_net": drawn, "initial_marking": start, "final_marking": end}
    simplicity = pm4py.simplicity_petri_net(net=drawn, im=start, fm=end, variant="arc_degree")
    return {
        "fitness": float(pm4py.fitness_token_based_replay(**replay)["log_fitness"]),
        "precision": float(pm4py.precision_token_based_replay(**replay)),
        "simplicity": float(simplicity),
        "places": len(drawn.places),
        "transitions": len(drawn.transitions),
        "arcs": len(drawn.arcs),
    }


def _texts(drawn: Any, net: tuple[Any, Any, Any]) -> dict[str, Any]:
    """The model in both exchange formats."""
    pm4py = load_pm4py()
    with tempfile.TemporaryDirectory() as folder:
        bpmn, pnml = Path(folder) / "process.bpmn", Path(folder) / "process.pnml"
        pm4py.write_bpmn(model=drawn, file_path=str(bpmn), auto_layout=False)
        pm4py.write_pnml(
            petri_net=net[0], initial_marking=net[1], final_marking=net[2], file_path=str(pnml)
        )
        return {
            "bpmn": bpmn.read_text(encoding="utf-8"),
            "petri_net": pnml.read_text(encoding="utf-8"),
        }


def _alignment_fitness(frame: pd.DataFrame, net: tuple[Any, Any, Any]) -> float | None:
    """One minus all deviations over the worst possible, cases weighing alike."""
    counts = variant_counts(frame)
    try:
        graph = state_graph(from_pm4py(*net), max_states=_ALIGNED_STATES)
    except DataError:  # a heuristics net may have no way to its end
        return None
    often = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    found = align_paths([path for path, _ in often], graph)
    if (found.cost == UNALIGNED).any():
        return None
    times = np.array([count for _, count in often])
    worst = (found.worst // DEVIATION * times).sum()
    return float(1 - (found.deviations * times).sum() / max(worst, 1))


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


def log_frame(steps: Steps, cases: Ints) -> pd.DataFrame:
    """A frame with pm4py's columns, of the cases with these codes (rising)."""
    import pandas as pd

    rows = np.flatnonzero(np.isin(steps.case, cases))
    names = np.array(steps.activities, dtype=object)
    return pd.DataFrame({
        CASE: steps.case_ids[steps.case[rows]].astype(str),
        ACTIVITY: names[steps.activity[rows]],
        TIMESTAMP: pd.to_datetime(steps.at[rows], unit="us", utc=True),
    })  # fmt: skip


def _sample(steps: Steps, max_cases: int, seed: int) -> pd.DataFrame:
    """All cases, or a sample of them."""
    count = len(steps.case_ids)
    chosen = np.arange(count)
    if count > max_cases:
        chosen = np.sort(np.random.default_rng(seed).choice(count, max_cases, replace=False))
    return log_frame(steps, chosen)
