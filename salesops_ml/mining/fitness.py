"""How well the deals fit a process model: by alignments, and by token replay as their check.

Each path is aligned once, however many deals took it. A deal that has not closed, or whose closing is
not its last event, is held against the model's beginnings only, so that what is still to come is not
missed. Token replay is pm4py's; it cannot follow a deal that goes on, and so replays the ended ones
alone. It passes over activities that the model does not have, which are deviations to alignments: the
two are each other's check where the model knows every activity of the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from salesops_ml.mining.alignments import (
    DEVIATION,
    MAX_WORK,
    UNALIGNED,
    Alignments,
    align_paths,
)
from salesops_ml.mining.discovery import load_pm4py, log_frame
from salesops_ml.mining.model_files import to_pm4py
from salesops_ml.mining.petri_net import Net, state_graph
from salesops_ml.mining.state_reduction import reduced
from salesops_ml.mining.steps import ENDED, OPEN, Ints, Mask, Steps
from salesops_ml.mining.variants import group_paths


@dataclass(frozen=True)
class AlignedCases:
    """A log's paths with their alignments.

    Attributes:
        path: (m,) number of each case's path among those aligned.
        cases: (p,) how many cases took each path.
        found: the alignments of the paths.
        ended: (m,) whether the case is over, and so had to reach the model's end.
    """

    path: Ints
    cases: Ints
    found: Alignments
    ended: Mask


@dataclass(frozen=True)
class Fitness:
    """How well the deals fit, 0..1; 1 where none deviates.

    Attributes:
        deals, aligned: deals of the log, and how many were aligned; the others took rare, long paths.
        fitting: share of the aligned deals without a deviation.
        fitness: one minus all deviations over the worst possible number (log fitness).
        mean_fitness: the same of each deal, averaged.
        deviations: how many a deal, on average.
        ended: deals that are over; the next four speak of them alone.
        ended_fitting, ended_fitness: as above, of those that were aligned.
        replay_fitting, replay_fitness: the same by token replay; None where no deal has ended.
    """

    deals: int
    aligned: int
    fitting: float
    fitness: float
    mean_fitness: float
    deviations: float
    ended: int
    ended_fitting: float | None
    ended_fitness: float | None
    replay_fitting: float | None
    replay_fitness: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return dict(vars(self))


def align_cases(steps: Steps, net: Net, *, max_work: int = MAX_WORK) -> AlignedCases:
    """The alignment of each case of a log with a model, the most frequent paths first.

    Raises:
        DataError: the model has too many states, or its end cannot be reached.
    """
    ended = _ended(steps)
    variant = group_paths(steps)[0]
    kinds, first, path = np.unique(variant * 2 + ended, return_index=True, return_inverse=True)
    cases = np.bincount(path, minlength=len(kinds))
    starts = np.append(np.flatnonzero(steps.first), len(steps.case))
    paths = [
        tuple(steps.activities[code] for code in steps.activity[starts[one] : starts[one + 1]])
        for one in first.tolist()
    ]
    turn = sorted(range(len(kinds)), key=lambda one: (-int(cases[one]), paths[one], one))
    place = np.empty(len(kinds), dtype=np.int64)
    place[turn] = np.arange(len(turn))
    found = align_paths(
        [paths[one] for one in turn],
        reduced(state_graph(net)),
        complete=[bool(kinds[one] % 2) for one in turn],
        max_work=max_work,
    )
    return AlignedCases(place[path.reshape(-1)], cases[turn], found, ended)


def fitness_of(steps: Steps, net: Net, aligned: AlignedCases) -> Fitness:
    """Fitness of a log, by alignments and by token replay."""
    known = aligned.found.cost != UNALIGNED
    by_all = _by_alignments(aligned, np.bincount(aligned.path, minlength=len(known)))
    of_ended = np.bincount(aligned.path[aligned.ended], minlength=len(known))
    by_ended = _by_alignments(aligned, of_ended)
    replay = _token_replay(steps, net, aligned.ended)
    return Fitness(
        deals=len(aligned.path),
        aligned=int(aligned.cases[known].sum()),
        fitting=by_all[0],
        fitness=by_all[1],
        mean_fitness=by_all[2],
        deviations=by_all[3],
        ended=int(aligned.ended.sum()),
        ended_fitting=by_ended[0] if of_ended[known].sum() else None,
        ended_fitness=by_ended[1] if of_ended[known].sum() else None,
        replay_fitting=replay[0],
        replay_fitness=replay[1],
    )


def _ended(steps: Steps) -> Mask:
    """(m,) whether the case is over by its last event, or belongs to a log without outcomes."""
    closes = np.zeros(len(steps.case_ids), dtype=bool)
    closes[steps.case] = steps.closing[steps.activity]  # the last event is written last
    return np.asarray((steps.outcome == ENDED) | ((steps.outcome != OPEN) & closes))


def _by_alignments(aligned: AlignedCases, cases: Ints) -> tuple[float, float, float, float]:
    """Share that fits, log fitness, mean fitness and deviations a deal, paths weighed by `cases`."""
    found = aligned.found
    times = np.where(found.cost != UNALIGNED, cases, 0)
    count = max(int(times.sum()), 1)
    worst = int((found.worst // DEVIATION * times).sum())
    deviations = int((found.deviations * times).sum())
    mean = float((np.nan_to_num(found.fitness) * times).sum()) / count
    fitting = int(times[found.deviations == 0].sum())
    return fitting / count, 1 - deviations / max(worst, 1), mean, deviations / count


def _token_replay(steps: Steps, net: Net, ended: Mask) -> tuple[float | None, float | None]:
    """Share that fits and log fitness of the ended cases, by pm4py."""
    if not ended.any():
        return None, None
    drawn, initial, final = to_pm4py(net)
    told = load_pm4py().fitness_token_based_replay(
        log=log_frame(steps, np.flatnonzero(ended)),
        petri_net=drawn,
        initial_marking=initial,
        final_marking=final,
    )
    return float(told["perc_fit_traces"]) / 100, float(told["log_fitness"])
