"""A made log of any size, written to Parquet piece by piece, with the counts that are true of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

Ints = npt.NDArray[np.int64]

STAGES = [f"Stage {turn:02d}" for turn in range(24)]
PATHS = 3_000
CASES_A_PIECE = 100_000
MICROSECONDS_A_DAY = 86_400_000_000
FIRST_DAY = 1_600_000_000_000_000


@dataclass(frozen=True)
class Truth:
    """What was written.

    Attributes:
        events: how many.
        steps: how often each pair of stages follows the other.
        variants: how many cases took each path.
    """

    events: int
    steps: dict[tuple[str, str], int]
    variants: dict[tuple[str, ...], int]


def written_log(path: Path, *, events: int, seed: int = 7) -> Truth:
    """Write at least so many events: cases of 3,000 paths, some frequent and most of them rare."""
    rng = np.random.default_rng(seed)
    paths = [rng.integers(0, len(STAGES), rng.integers(8, 33)) for _ in range(PATHS)]
    chance = 1 / np.arange(1, PATHS + 1)
    taken = np.zeros(PATHS, dtype=np.int64)
    cases, done, writer = 0, 0, None
    while done < events:
        drawn = rng.choice(PATHS, CASES_A_PIECE, p=chance / chance.sum())
        piece = _piece(paths, drawn, cases, rng)
        writer = writer or pq.ParquetWriter(path, piece.schema)
        writer.write_table(piece)
        taken += np.bincount(drawn, minlength=PATHS)
        cases, done = cases + CASES_A_PIECE, done + piece.num_rows
    if writer is not None:
        writer.close()
    return _truth(paths, taken, done)


def _piece(paths: list[Ints], drawn: Ints, first: int, rng: np.random.Generator) -> pa.Table:
    length = np.array([len(path) for path in paths])
    begin = np.cumsum(length) - length
    sizes = length[drawn]
    case = np.repeat(np.arange(len(drawn), dtype=np.int32), sizes)
    starts = np.cumsum(sizes) - sizes
    turn = np.arange(len(case)) - starts[case]
    stage = np.concatenate(paths)[begin[drawn][case] + turn].astype(np.int32)
    waits = rng.exponential(3 * MICROSECONDS_A_DAY, len(case)).astype(np.int64)
    run = np.cumsum(waits)
    born = FIRST_DAY + rng.integers(0, 365 * MICROSECONDS_A_DAY, len(drawn))
    ids = pa.array([f"case-{first + one:09d}" for one in range(len(drawn))])
    return pa.table({
        "case:concept:name": _texts(case, ids),
        "concept:name": _texts(stage, pa.array(STAGES)),
        "time:timestamp": pa.array((born - run[starts])[case] + run, pa.timestamp("us", "UTC")),
    })  # fmt: skip


def _texts(codes: npt.NDArray[np.int32], texts: pa.Array) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes), texts).cast(pa.string())


def _truth(paths: list[Ints], taken: Ints, events: int) -> Truth:
    steps: Counter[tuple[str, str]] = Counter()
    variants: Counter[tuple[str, ...]] = Counter()
    for path, cases in zip(paths, taken.tolist(), strict=True):
        names = [STAGES[code] for code in path]
        if cases:
            variants[tuple(names)] += cases
            for pair in pairwise(names):
                steps[pair] += cases
    return Truth(events, dict(steps), dict(variants))
