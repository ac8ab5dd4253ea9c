"""Which rows train, calibrate and test, and what was known at the border between them.

Deals are ordered by when they began. The test block starts at the border T0, the start of its first
deal; looks of training deals from T0 on are unused, and their labels are as known at T0: who closed
later is still open there. Nothing after T0 can reach the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zlib import crc32

import numpy as np
import pandas as pd

from salesops_ml.errors import DataError
from salesops_ml.evaluation.censoring import CODES, OPEN
from salesops_ml.settings import Split

BLOCKS = ("train", "calibration", "test", "unused")


@dataclass(frozen=True)
class Borders:
    """Where the calibration block and the test block begin; what is known is known at these moments."""

    calibration_from: datetime
    test_from: datetime


def split_by_time(data: pd.DataFrame, split: Split) -> tuple[pd.Series, Borders]:
    """The block of each row, and the borders.

    Args:
        data: rows with deal_id, as_of and created_at.
        split: shares of deals by start, or a fixed day.

    Raises:
        DataError: a block would be empty.
    """
    starts = data.groupby("deal_id", sort=True)["created_at"].first().sort_values(kind="stable")
    if split.test_from is not None:
        day = pd.Timestamp(split.test_from)
        first_test = int((starts < day).sum())
        last_test = len(starts)
    else:
        first_test = round(len(starts) * split.train)
        last_test = min(len(starts), first_test + round(len(starts) * split.test))
    first_calibration = round(first_test * (1 - split.calibration))
    if not 0 < first_calibration <= first_test < last_test:
        raise DataError(
            f"`split`: {len(starts)} dated deals leave a block empty (train {first_calibration},"
            f" calibration {first_test - first_calibration}, test {last_test - first_test});"
            " change `split` or give more deals"
        )
    place = pd.Series(np.arange(len(starts)), index=starts.index)
    borders = Borders(_moment(starts, first_calibration), _moment(starts, first_test))
    return _blocks(data, place, first_calibration, first_test, last_test, borders), borders


def _moment(starts: pd.Series, place: int) -> datetime:
    return pd.Timestamp(starts.iloc[min(place, len(starts) - 1)]).to_pydatetime()


def _blocks(
    data: pd.DataFrame, place: pd.Series, calibration: int, test: int, end: int, borders: Borders
) -> pd.Series:
    deal = data["deal_id"].map(place).to_numpy()
    late = (data["as_of"] >= borders.test_from).to_numpy()
    block = np.full(len(data), "unused", dtype=object)
    block[(deal < calibration) & ~late] = "train"
    block[(deal >= calibration) & (deal < test) & ~late] = "calibration"
    block[(deal >= test) & (deal < end)] = "test"
    return pd.Series(block, index=data.index, name="split")


def split_by_column(values: pd.Series) -> pd.Series:
    """Blocks as a column of the source names them; other words are an error."""
    told = values.astype("string").str.strip().str.lower()
    unknown = told[~told.isin(BLOCKS)]
    if len(unknown):
        raise DataError(
            f"`split.column`: row {int(unknown.index[0]) + 1} says `{unknown.iloc[0]}`; write"
            f" {', '.join(BLOCKS)}"
        )
    return told.astype(object).rename("split")


def with_calibration(data: pd.DataFrame, block: pd.Series, split: Split) -> pd.Series:
    """`block` with the end of its train block as calibration, where the source named none.

    The end is the deals that began last; where nothing is dated, a share of deals by chance.
    """
    if (block == "calibration").any():
        return block
    train = block == "train"
    if data["created_at"].isna().all():
        late = chance(data["deal_id"]) < split.calibration
    else:
        starts = data[train].groupby("deal_id")["created_at"].first()
        late = data["created_at"] >= starts.quantile(1 - split.calibration)
    return block.mask(train & late, "calibration")


def borders_of(data: pd.DataFrame, block: pd.Series) -> Borders | None:
    """Borders where the blocks follow each other in time; None where they overlap or lack dates."""
    test = data.loc[block == "test", "as_of"]
    learn = data.loc[block.isin(["train", "calibration"]), "created_at"].dropna()
    if test.empty or learn.empty or learn.max() > test.min():
        return None
    late = data.loc[block == "calibration", "created_at"]
    calibration = late.min() if len(late) else test.min()
    return Borders(*(pd.Timestamp(day).to_pydatetime() for day in (calibration, test.min())))


def split_by_chance(deal_id: pd.Series, split: Split) -> pd.Series:
    """Blocks for deals without dates, by a digest of the deal's name: the same in every run."""
    place = chance(deal_id)
    train = split.train * (1 - split.calibration)
    block = np.full(len(place), "unused", dtype=object)
    block[place < split.train + split.test] = "test"
    block[place < split.train] = "calibration"
    block[place < train] = "train"
    return pd.Series(block, index=deal_id.index, name="split")


def chance(deal_id: pd.Series, *, salt: str = "") -> pd.Series:
    """A number in 0..1 for each deal, from a digest of its name: the same in every run.

    Args:
        deal_id: names; the rows of one deal get one number.
        salt: draws of one purpose must not follow those of another.

    Example:
        >>> chance(pd.Series(["A", "B", "A"])).round(3).tolist()
        [0.828, 0.292, 0.828]
    """
    names, place = np.unique(deal_id.astype(str).to_numpy(dtype=object), return_inverse=True)
    digests = np.array([crc32(f"{salt}{name}".encode()) for name in names], dtype=float)
    return pd.Series(digests[place] / 2**32, index=deal_id.index)


def labels_at(data: pd.DataFrame, border: datetime | None) -> pd.DataFrame:
    """event (0 open, 1 won, 2 lost), duration and followed, as known at `border`.

    `followed` is the time from the look to the border; an outcome after the border is censored
    there. Without a border the whole record is known.
    """
    followed = data["days_observed"].to_numpy(float)
    if border is not None:
        reach = (pd.Timestamp(border) - data["as_of"]).dt.total_seconds().to_numpy() / 86_400.0
        followed = np.minimum(followed, reach)
    days = data["days_to_outcome"].to_numpy(float)
    event = data["outcome"].map(CODES).to_numpy(np.int64)
    known = (event != OPEN) & (days <= followed)
    return pd.DataFrame(
        {
            "event": np.where(known, event, OPEN),
            "duration": np.where(known, days, np.maximum(followed, 0.0)),
            "followed": np.maximum(followed, 0.0),
        },
        index=data.index,
    )
