"""A process model as a Petri net, and as the graph of the states that it can be in.

A net is what BPMN files, discovered models and the agreed moves of a configuration are all turned
into, so that deals are held against each of them in one way. Its states are the ways in which tokens
can lie on its places; what is not bounded, or too large to be walked through, is refused by name.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from salesops_ml.errors import DataError

Ints = npt.NDArray[np.int64]

SILENT = -1
"""The label of a step that leaves no event."""
MAX_STATES = 20_000


@dataclass(frozen=True)
class Transition:
    """A step of the model; `label` is the activity, None where it leaves no event.

    `inputs` and `outputs` are numbers of places, one entry a token.
    """

    label: str | None
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Net:
    """A Petri net with a beginning and an end.

    Attributes:
        places: names of the places.
        transitions: the steps.
        initial, final: numbers of the places that hold a token at the start and at the end.
    """

    places: tuple[str, ...]
    transitions: tuple[Transition, ...]
    initial: tuple[int, ...]
    final: tuple[int, ...]

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The activities that the model speaks of, sorted."""
        return tuple(sorted({step.label for step in self.transitions if step.label is not None}))


@dataclass(frozen=True)
class StateGraph:
    """Every state that a net can reach, and the steps between them.

    Attributes:
        states: how many there are; the first, 0, is the beginning.
        final: number of the state that is the end.
        source, target: (e,) states before and after each step.
        label: (e,) place of the step's activity in `labels`; `SILENT` where it has none.
        labels: the activities, sorted.
    """

    states: int
    final: int
    source: Ints
    target: Ints
    label: Ints
    labels: tuple[str, ...]


def net_of_moves(
    moves: Mapping[str, Sequence[str]],
    *,
    starts: Sequence[str],
    ends: Sequence[str],
    free: Sequence[str] = (),
) -> Net:
    """A net in which a deal is in one stage at a time, and moves as agreed.

    Args:
        moves: for each stage, those that may come next.
        starts: stages in which a deal may begin; any of those named where this is empty.
        ends: stages in which it may be over; any where this is empty.
        free: stages that may be followed by any of those named.

    Example:
        >>> net = net_of_moves({"Lead": ["Offer"], "Offer": ["Won", "Lead"]},
        ...     starts=["Lead"], ends=["Won"])
        >>> graph = state_graph(net)
        >>> graph.labels, graph.states, len(graph.source)
        (('Lead', 'Offer', 'Won'), 5, 5)
    """
    named = (*starts, *moves, *(to for targets in moves.values() for to in targets), *ends, *free)
    stages = list(dict.fromkeys(named))
    begin, end, anywhere = 0, 1, 2
    loose, last_stages = set(free), set(ends)
    own = [stage for stage in stages if stage not in loose or stage in last_stages]
    place = dict.fromkeys(stages, anywhere) | {one: turn for turn, one in enumerate(own, start=3)}

    def goes(source: int, targets: Sequence[str]) -> list[Transition]:
        return [Transition(to, (source,), (place[to],)) for to in dict.fromkeys(targets)]

    steps = goes(begin, starts or stages)
    for stage, targets in moves.items():
        steps += goes(place[stage], targets)
    if free:
        steps += goes(anywhere, stages)
        steps += [Transition(None, (place[one],), (anywhere,)) for one in own if one in loose]
    last = sorted({place[stage] for stage in ends or stages})
    steps += [Transition(None, (source,), (end,)) for source in last]
    return Net(("start", "end", "anywhere", *own), tuple(steps), (begin,), (end,))


def from_pm4py(net: Any, initial: Any, final: Any) -> Net:
    """A net of ours from pm4py's net and its two markings; the order of names decides all numbers."""
    places = sorted(net.places, key=lambda place: str(place.name))
    number = {place: turn for turn, place in enumerate(places)}

    def tokens(arcs: Any, side: str) -> tuple[int, ...]:
        return tuple(sorted(number[getattr(arc, side)] for arc in arcs for _ in range(arc.weight)))

    def marked(marking: Any) -> tuple[int, ...]:
        return tuple(sorted(number[place] for place in marking for _ in range(marking[place])))

    steps = [
        Transition(step.label, tokens(step.in_arcs, "source"), tokens(step.out_arcs, "target"))
        for step in net.transitions
    ]
    steps.sort(key=lambda step: (step.label or "", step.inputs, step.outputs))
    return Net(tuple(str(place.name) for place in places), tuple(steps), marked(initial),
               marked(final))  # fmt: skip


def state_graph(net: Net, *, max_states: int = MAX_STATES) -> StateGraph:
    """The states of `net`, walked through breadth first.

    Raises:
        DataError: there are more than `max_states`, or the end cannot be reached.
    """
    names = {label: number for number, label in enumerate(net.labels)}
    needs = [tuple(Counter(step.inputs).items()) for step in net.transitions]
    first = _marking(net.initial, len(net.places))
    number = {first: 0}
    waiting = deque([first])
    edges: list[tuple[int, int, int]] = []
    while waiting:
        marking = waiting.popleft()
        for step, need in zip(net.transitions, needs, strict=True):
            if any(marking[place] < tokens for place, tokens in need):
                continue
            after = _fired(marking, step)
            if after not in number:
                _refuse_many(len(number), max_states)
                number[after] = len(number)
                waiting.append(after)
            label = SILENT if step.label is None else names[step.label]
            edges.append((number[marking], number[after], label))
    final = number.get(_marking(net.final, len(net.places)))
    if final is None:
        raise DataError(
            "the process model has no way from its start to its end; check that each gateway that "
            "splits in parallel is joined in parallel, and that every path leads to an end event"
        )
    columns = np.array(sorted(set(edges)), dtype=np.int64).reshape(-1, 3).T
    return StateGraph(len(number), final, columns[0], columns[1], columns[2], net.labels)


def _marking(places: Sequence[int], count: int) -> tuple[int, ...]:
    tokens = [0] * count
    for place in places:
        tokens[place] += 1
    return tuple(tokens)


def _fired(marking: tuple[int, ...], step: Transition) -> tuple[int, ...]:
    tokens = list(marking)
    for place in step.inputs:
        tokens[place] -= 1
    for place in step.outputs:
        tokens[place] += 1
    return tuple(tokens)


def _refuse_many(found: int, limit: int) -> None:
    if found >= limit:
        raise DataError(
            f"the process model can be in more than {limit:,} states; a loop may add tokens without "
            "end, or too many branches run side by side: draw fewer of them in parallel"
        )
