"""Scores chunk by chunk, from the file that a run left: a million need no more room than a few."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from salesops_ml.errors import DataError
from salesops_ml.scoring.fields import SCORED

Scores: TypeAlias = pd.DataFrame | Path
"""What `score_open_deals` gave, or the Parquet file that holds it, sorted by deal."""

_READ = ("deal_id", *SCORED, "caution")


def score_chunks(scores: Scores, *, size: int) -> Iterator[pd.DataFrame]:
    """The scores, by deal, at most `size` at once; of a file only what is written into a CRM is read.

    Raises:
        DataError: the file cannot be read, lacks a column, or does not hold each deal once, in order.

    Example:
        >>> frame = pd.DataFrame({"deal_id": ["b", "a", "c"]})
        >>> [chunk["deal_id"].tolist() for chunk in score_chunks(frame, size=2)]
        [['a', 'b'], ['c']]
    """
    if isinstance(scores, pd.DataFrame):
        ordered = scores.sort_values("deal_id", ignore_index=True)
        for at in range(0, len(ordered), size):
            yield ordered.iloc[at : at + size]
        return
    last = ""
    for chunk in _batches(scores, size):
        frame = chunk.to_pandas()
        deals = frame["deal_id"].tolist()
        for before, deal in zip([last, *deals], deals, strict=False):
            if before >= deal:
                raise DataError(
                    f"{scores}: deal `{deal}` stands behind deal `{before}`; scores are kept by deal, "
                    "each once: score again with `salesops run`"
                )
        last = deals[-1]
        yield frame


def scored_deals(scores: Scores) -> pa.Array:
    """The deals that have a score.

    Raises:
        DataError: the file cannot be read.
    """
    if isinstance(scores, pd.DataFrame):
        return pa.array(scores["deal_id"].astype(str), pa.string())
    with _reading(scores):
        column = pq.read_table(scores, columns=["deal_id"])["deal_id"]
    return column.cast(pa.string()).combine_chunks()


def _batches(path: Path, size: int) -> Iterator[pa.RecordBatch]:
    with _reading(path):
        file = pq.ParquetFile(path)
        there = set(file.schema_arrow.names)
        missing = [name for name in ("deal_id", *SCORED) if name not in there]
        if missing:
            raise DataError(f"{path}: holds no column `{missing[0]}`; is it the scores of a run?")
        wanted = [name for name in _READ if name in there]
        yield from file.iter_batches(batch_size=size, columns=wanted)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{path}: cannot be read as Parquet: {error}; score again with `salesops run`"
        ) from None
