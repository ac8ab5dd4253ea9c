"""What a map leaves out: the least frequent first, and never so much that it falls to pieces.

Stages are hidden one by one, the least visited first; a stage without which another one could no
longer be reached from the start, or could no longer reach an end, stays. Transitions are hidden in
the order of their counts; those of the widest paths stay: for every stage the way from the start, and
the way to an end, whose rarest move is as frequent as can be (a maximum-capacity path, found as by
Pollack, The maximum capacity through a network, Operations Research 8, 1960).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from heapq import heappop, heappush

Move = tuple[int, int, int]
"""From which stage, to which, how often."""


def widest_parents(moves: Iterable[Move], roots: Collection[int]) -> dict[int, int]:
    """For each stage that the roots lead to, the stage before it on its widest path.

    Example:
        >>> widest_parents([(0, 1, 9), (1, 2, 5), (0, 2, 3)], [0])
        {1: 0, 2: 1}
    """
    ways: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for source, target, count in moves:
        ways[source].append((target, count))
    most = max((count for out in ways.values() for _, count in out), default=0)
    heap = [(-most, root, root) for root in sorted(roots)]
    parents: dict[int, int] = {}
    while heap:
        room, stage, before = heappop(heap)
        if stage in parents:
            continue
        parents[stage] = before
        for target, count in ways[stage]:
            if target not in parents:
                heappush(heap, (max(room, -count), target, stage))
    return {stage: before for stage, before in parents.items() if stage not in roots}


def backbone(moves: Sequence[Move], begin: int, ends: Collection[int]) -> set[tuple[int, int]]:
    """The transitions of the widest paths from `begin` to every stage, and from it to an end."""
    forward = widest_parents(moves, [begin])
    back = widest_parents(_reversed(moves), ends)
    return {(before, stage) for stage, before in forward.items()} | {
        (stage, after) for stage, after in back.items() if stage != begin
    }


def shown_stages(
    moves: Sequence[Move], rarest_first: Sequence[int], fixed: Collection[int], begin: int,
    ends: Collection[int],
) -> set[int]:  # fmt: skip
    """The stages that stay when those of `rarest_first` are hidden in turn.

    Args:
        moves: every transition that could be shown.
        rarest_first: stages that may be hidden, the least visited first.
        fixed: stages that are shown in any case.
        begin: where deals come from. ends: where they end.

    Example:
        >>> sorted(shown_stages([(-1, 0, 9), (0, 1, 9), (1, 2, 9)], [1, 0], [2], -1, [2]))
        [0, 1, 2]
        >>> moves = [(-1, 0, 9), (0, 1, 9), (1, 2, 9), (0, 2, 3)]
        >>> sorted(shown_stages(moves, [1, 0], [2], -1, [2]))
        [0, 2]
    """
    shown = {*rarest_first, *fixed}
    starved, stuck = _cut_off(moves, shown, begin, ends)
    for stage in rarest_first:
        left = shown - {stage}
        now_starved, now_stuck = _cut_off(moves, left, begin, ends)
        if now_starved <= starved and now_stuck <= stuck:
            shown = left
    return shown


def most_visited(
    moves: Sequence[Move], busiest_first: Sequence[int], most: int, begin: int,
    ends: Collection[int],
) -> set[int]:  # fmt: skip
    """The `most` busiest stages, and those that lie on their widest paths."""
    kept = set(busiest_first[:most])
    for parents in (widest_parents(moves, [begin]), widest_parents(_reversed(moves), ends)):
        for stage in busiest_first[:most]:
            at = stage
            while at in parents and parents[at] not in kept and parents[at] != begin:
                at = parents[at]
                kept.add(at)
    return kept & set(busiest_first)


def _cut_off(
    moves: Sequence[Move], shown: set[int], begin: int, ends: Collection[int]
) -> tuple[set[int], set[int]]:
    """The stages that nothing shown leads to from the start, and those that lead to no end."""
    inside = shown | {begin} | set(ends)
    here = [move for move in moves if move[0] in inside and move[1] in inside]
    reached = _reached(here, [begin])
    ending = _reached(_reversed(here), ends)
    return shown - reached, shown - ending


def _reached(moves: Iterable[Move], roots: Iterable[int]) -> set[int]:
    ways: dict[int, list[int]] = defaultdict(list)
    for source, target, _ in moves:
        ways[source].append(target)
    seen: set[int] = set()
    waiting = list(roots)
    while waiting:
        stage = waiting.pop()
        if stage not in seen:
            seen.add(stage)
            waiting += ways[stage]
    return seen


def _reversed(moves: Iterable[Move]) -> list[Move]:
    return [(target, source, count) for source, target, count in moves]
