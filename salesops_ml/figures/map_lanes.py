"""Lanes: which run goes in which lane of its channel, and how high the channels must be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from salesops_ml.figures.map_routes import BACK, CROSS, DRAIN, HARVEST, SKIP, Route, Run

LANE_HEIGHT = 19.0
_MARGIN = 12.0
_PADDING = 16.0
_EMPTY = 26.0
_OUTER = 8.0


@dataclass(frozen=True)
class Channels:
    """Heights of the channels 0 .. rows, and the depth of each run below its channel's top."""

    heights: tuple[float, ...]
    depth: dict[int, float]

    def of(self, run: Run) -> float:
        """How far the run lies below the top of its channel."""
        return self.depth[id(run)]


def pack_lanes(routes: list[Route], rows: int, thickness: Callable[[int], float]) -> Channels:
    """Give each run the nearest free lane of its section; short runs first, so that they nest."""
    sections: dict[tuple[int, int], list[Run]] = defaultdict(list)
    for route in routes:
        for run in route.runs:
            run.thickness = thickness(route.count)
            sections[run.channel, run.section].append(run)
    for runs in sections.values():
        _pack(runs)
    heights: list[float] = []
    depth: dict[int, float] = {}
    for channel in range(rows + 1):
        y = _PADDING if any((channel, part) in sections for part in range(5)) else 0.0
        for section in (BACK, CROSS, DRAIN, HARVEST, SKIP):
            runs = sections.get((channel, section), [])
            y = _stack(runs, section, y, depth)
        empty = _OUTER if channel in (0, rows) else _EMPTY
        heights.append(y + _PADDING if y else empty)
    return Channels(tuple(heights), depth)


def _pack(runs: list[Run]) -> None:
    lanes: list[list[Run]] = []
    for run in sorted(runs, key=lambda run: (run.high - run.low, run.low)):
        for number, lane in enumerate(lanes):
            if all(run.low > other.high + _MARGIN or run.high + _MARGIN < other.low
                   for other in lane):  # fmt: skip
                lane.append(run)
                run.lane = number
                break
        else:
            run.lane = len(lanes)
            lanes.append([run])


def _stack(runs: list[Run], section: int, y: float, depth: dict[int, float]) -> float:
    """Put a section's lanes one below the other from `y` on; where the next section begins.

    Lanes of skips and of the rail to won ends count upwards from the row below them.
    """
    count = max((run.lane for run in runs), default=-1) + 1
    order = range(count) if section in (BACK, CROSS, DRAIN) else range(count - 1, -1, -1)
    for lane in order:
        inside = [run for run in runs if run.lane == lane]
        height = max(LANE_HEIGHT, max(run.thickness for run in inside) + 9)
        for run in inside:
            depth[id(run)] = y + height / 2
        y += height
    return y
