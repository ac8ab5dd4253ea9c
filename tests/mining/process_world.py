"""A small sales process whose laws are known, for tests of what differs and of what has changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

START = datetime(2025, 1, 1)
STAGES = ("Lead", "Offer", "Contract")
WAYS = {
    "Lead": {"Offer": 0.6, "Contract": 0.1, "Lost": 0.3},
    "Offer": {"Contract": 0.6, "Lead": 0.1, "Lost": 0.3},
    "Contract": {"Won": 0.7, "Offer": 0.1, "Lost": 0.2},
}
DAYS = {"Lead": 6.0, "Offer": 10.0, "Contract": 4.0}


@dataclass(frozen=True)
class Laws:
    """Mean days in each stage, and the shares of the ways out of it."""

    days: dict[str, float] = field(default_factory=lambda: dict(DAYS))
    ways: dict[str, dict[str, float]] = field(default_factory=lambda: dict(WAYS))


PLAIN = Laws()


def with_days(**days: float) -> Laws:
    """The plain laws with other mean days in some stages."""
    return Laws(days=DAYS | days)


def with_ways(stage: str, ways: dict[str, float]) -> Laws:
    """The plain laws with other ways out of one stage."""
    return Laws(ways=WAYS | {stage: ways})


def process_log(
    deals: int,
    seed: int,
    *,
    laws: Laws | list[Laws] = PLAIN,
    days: float = 365.0,
    changes: tuple[tuple[float, Laws], ...] = (),
) -> pd.DataFrame:
    """A log of deals that begin evenly over `days`, as it stands when these are over.

    Columns: those of pm4py, and `begun` (days after `START`).

    Args:
        laws: of all the deals, or of each in turn.
        changes: from each of these days on, whatever deals do follows those laws.
    """
    rng = np.random.default_rng(seed)
    rows = []
    begun = np.sort(rng.uniform(0, days, deals))
    each = laws if isinstance(laws, list) else [laws] * deals
    for case in range(deals):
        for stage, at in _life(rng, begun[case], each[case], changes):
            if at > days:
                break
            rows.append((f"d{case:05d}", stage, START + timedelta(days=at), begun[case]))
    names = ["case:concept:name", "concept:name", "time:timestamp", "begun"]
    frame = pd.DataFrame(rows, columns=names)
    return frame.assign(**{"time:timestamp": pd.to_datetime(frame["time:timestamp"])})


def options(days: float = 365.0) -> dict[str, object]:
    """How to read such a log."""
    end = START + timedelta(days=days)
    return {"as_of": end, "won": ["Won"], "lost": ["Lost"], "order": STAGES}


def _life(
    rng: np.random.Generator, begun: float, laws: Laws, changes: tuple[tuple[float, Laws], ...]
) -> list[tuple[str, float]]:
    stage, at = "Lead", float(begun)
    life = [(stage, at)]
    while stage in STAGES:
        at = _left(rng, at, stage, laws, changes)
        now = [laws, *(after for day, after in changes if day <= at)][-1]
        stage = _way(rng.random(), now.ways[stage])
        life.append((stage, at))
    return life


def _way(chance: float, ways: dict[str, float]) -> str:
    """The way whose share of 0..1 holds the chance."""
    upto = np.cumsum(list(ways.values()))
    return list(ways)[min(int(np.searchsorted(upto, chance, side="right")), len(ways) - 1)]


def _left(
    rng: np.random.Generator,
    at: float,
    stage: str,
    laws: Laws,
    changes: tuple[tuple[float, Laws], ...],
) -> float:
    """When the stage is left: waiting takes its new pace on the day of a change."""
    need = rng.exponential(1.0)
    for day, after in changes:
        if at < day:
            could = (day - at) / laws.days[stage]
            if need <= could:
                break
            need, at = need - could, day
        laws = after
    return float(at + need * laws.days[stage])
