"""Deviations from a process model as rules that deals keep or break, read off their alignments.

A step of the model that a deal skipped, and an event that came where the model has no place for it,
become verdicts like those of the configured rules, so that one table tells of both.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from salesops_ml.mining.alignments import UNALIGNED, Move
from salesops_ml.mining.fitness import AlignedCases
from salesops_ml.mining.petri_net import Net, net_of_moves
from salesops_ml.mining.process_rules import Rule, allowed_moves
from salesops_ml.mining.rule_checks import NOT_YET, Followed, Verdicts
from salesops_ml.mining.steps import NEVER, Ints, Mask, Steps
from salesops_ml.process_settings import ConformanceRules

_SKIPPED, _MISPLACED, _DONE = "skipped", "out of place", "done"


def net_of_rules(rules: ConformanceRules, stages: list[str], closing: list[str]) -> Net:
    """The agreed moves as a net; a stage that no rule speaks of may be followed by any.

    Args:
        rules: with some `starts` or `allowed`.
        stages: every stage known.
        closing: those that end a deal; where there are none, a deal may be over anywhere.
    """
    moves = allowed_moves(rules)
    free = [stage for stage in stages if stage not in moves]
    return net_of_moves(moves, starts=rules.starts, ends=closing, free=free)


@dataclass
class _Walk:
    """Of one activity in each path: how often it was met in one of three ways, and first where."""

    times: Ints
    offset: Ints

    @classmethod
    def empty(cls, paths: int) -> _Walk:
        return cls(np.zeros(paths, dtype=np.int64), np.full(paths, NOT_YET))


@dataclass
class _Walks:
    """Each activity's walks, by way."""

    paths: int
    found: dict[tuple[str, str], _Walk] = field(default_factory=dict)

    def note(self, way: str, name: str, path: int, offset: int) -> None:
        walk = self.found.setdefault((way, name), _Walk.empty(self.paths))
        if not walk.times[path]:
            walk.offset[path] = offset
        walk.times[path] += 1

    def get(self, way: str, name: str) -> _Walk:
        return self.found.get((way, name)) or _Walk.empty(self.paths)


def check_model(steps: Steps, net: Net, aligned: AlignedCases) -> list[Verdicts]:
    """One rule for each activity that was skipped, and for each that came out of place.

    Skipped steps are compared from the event after their place on, whether they were done there or
    not; events out of place from the event on, with those of the same activity in their place.
    """
    walks = _Walks(len(aligned.found.moves))
    for path, moves in enumerate(aligned.found.moves):
        _note_moves(walks, path, moves)
    known = aligned.found.cost != UNALIGNED
    verdicts = []
    for way, name in sorted(walks.found):
        if way != _DONE:
            told = _Told(steps, aligned.path, walks.get(way, name), walks.get(_DONE, name), known)
            verdicts.append(told.verdicts(_rule(way, name, net), int(way == _SKIPPED)))
    return verdicts


def _note_moves(walks: _Walks, path: int, moves: tuple[Move, ...]) -> None:
    offset = 0
    for did, model in moves:
        if did is None:
            walks.note(_SKIPPED, str(model), path, offset)
            continue
        walks.note(_MISPLACED if model is None else _DONE, did, path, offset)
        offset += 1


def _rule(way: str, name: str, net: Net) -> Rule:
    if way == _SKIPPED:
        return Rule("model", f"{name} {way}", f"{name} was skipped, though the process asks for it")
    if name in net.labels:
        return Rule("model", f"{name} {way}", f"{name} came where the process has no place for it")
    return Rule("model", f"{name} {way}", f"{name} is no part of the process")


@dataclass(frozen=True)
class _Told:
    """One activity's deviations, told by case."""

    steps: Steps
    path: Ints
    strayed: _Walk
    done: _Walk
    known: Mask

    def verdicts(self, rule: Rule, further: int) -> Verdicts:
        """Where the activity was done, deals are followed from `further` events after it on."""
        times = self.strayed.times[self.path]
        met = self.known[self.path] & ((times > 0) | (self.done.times[self.path] > 0))
        case = np.flatnonzero(met)
        broken = times[case] > 0
        done_at = self.done.offset[self.path[case]] + further
        offset = np.where(broken, self.strayed.offset[self.path[case]], done_at)
        starts = np.append(np.flatnonzero(self.steps.first), len(self.steps.case))
        row = starts[case] + offset
        inside = row < starts[case + 1]
        row = np.minimum(row, starts[case + 1] - 1)
        lives = inside & ~self.steps.closing[self.steps.activity[row]]
        since = self.steps.at[row]
        at = np.where(broken, since, NEVER)
        followed = Followed(case[lives], since[lives], broken[lives])
        return Verdicts(rule, case, broken, times[case], at, followed)
