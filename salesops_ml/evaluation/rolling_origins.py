"""Would it have worked before? Past days on which the model could have been trained, and what came then.

At each origin the model learns from the deals that had begun by then, as they stood on that day, and
is judged on the deals that began between this origin and the next. What became of those is as known at
`until`, the border of the test block: nothing that the final test holds is touched.

A deal stands on one side only. Its account may stand on both, as it does in use, where a customer's
earlier deals are known; the rows it concerns are marked, and with `groups="account"` they are not
judged, which asks how well the same model speaks of customers that it has never met.

Tashman (2000), International Journal of Forecasting 16, on rolling origins.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from salesops_ml.errors import DataError
from salesops_ml.evaluation.censoring import CODES
from salesops_ml.evaluation.splits import Borders, labels_at

Groups = Literal["deal", "account"]
WORDS = {code: word for word, code in CODES.items()}


@dataclass(frozen=True)
class Fold:
    """One past day and its two sides.

    Attributes:
        number: 0 for the earliest origin.
        origin: learning knows what was known at this moment.
        judged_until: deals that began before this moment are judged.
        block: train, calibration, test (the judged rows) or unused, per row of the data.
        borders: what `fit_deal_scores` and `baseline_scores` take; `test_from` is the origin.
        sibling: rows of `test` whose account also has a deal among those learned from.
    """

    number: int
    origin: datetime
    judged_until: datetime
    block: pd.Series
    borders: Borders
    sibling: pd.Series


@dataclass(frozen=True)
class RollingOrigins:
    """The looks before `until`, with outcomes as known then, and the folds over them."""

    data: pd.DataFrame
    folds: tuple[Fold, ...]
    until: datetime
    groups: Groups


def rolling_origins(
    data: pd.DataFrame,
    *,
    until: datetime,
    folds: int,
    ripen_days: float,
    first: float = 0.5,
    calibration: float = 0.25,
    groups: Groups = "deal",
) -> RollingOrigins:
    """`folds` origins before `until`, each judged on about as many deals as the others.

    Args:
        data: looks (`snapshots.build_dataset`): deal_id, as_of, created_at, outcome,
            days_to_outcome, days_observed, features; account_id where siblings are to be found.
        until: the border of the test block.
        folds: how many origins.
        ripen_days: judged deals began at least so many days before `until`, so that there is time
            to see what becomes of them; the horizon is a good choice.
        first: share of the deals that the first origin learns from.
        calibration: share of the learning deals, the last to begin, that make the calibration block.
        groups: `account` leaves rows with a sibling out of judging; deals without an account stay.

    Raises:
        DataError: no deal is dated, or the record is too short for so many folds.
    """
    known = known_at(data, until)
    starts = _starts(known)
    ripe = until - pd.Timedelta(days=ripen_days)
    edges = _edges(starts, ripe, folds, first, until)
    begun = known["deal_id"].map(starts)
    made = tuple(
        _fold(known, begun, starts, number, (edges[number], edges[number + 1]), calibration, groups)
        for number in range(folds)
    )
    return RollingOrigins(known, made, until, groups)


def known_at(data: pd.DataFrame, moment: datetime) -> pd.DataFrame:
    """The looks before `moment`, with outcome, days_to_outcome and days_observed as known then."""
    rows = data[data["as_of"] < moment]
    labels = labels_at(rows, moment)
    return rows.assign(
        outcome=labels["event"].map(WORDS).to_numpy(dtype=object),
        days_to_outcome=labels["duration"].where(labels["event"] != CODES["open"]),
        days_observed=labels["followed"],
    )


def siblings(
    data: pd.DataFrame, learn: npt.NDArray[np.bool_], judged: npt.NDArray[np.bool_]
) -> pd.Series:
    """Judged rows whose account has a deal among the learning rows; a missing account is nobody's."""
    if "account_id" not in data.columns:
        return pd.Series(False, index=data.index)
    account = data["account_id"]
    met = set(account[learn].dropna())
    return account.isin(met) & account.notna() & judged


def _starts(data: pd.DataFrame) -> pd.Series:
    """When each deal began, in order."""
    starts = data.groupby("deal_id", sort=True)["created_at"].first().dropna()
    if starts.empty:
        raise DataError(
            "rolling origins: no deal that began before the test border is dated; give `created_at`"
        )
    return starts.sort_values(kind="stable")


def _edges(
    starts: pd.Series, ripe: datetime, folds: int, first: float, until: datetime
) -> list[datetime]:
    """The origins, and the moment before which the last judged deals began."""
    usable = starts[starts < ripe]
    places = np.round(len(usable) * (first + (1 - first) * np.arange(folds) / folds)).astype(int)
    days = [pd.Timestamp(usable.iloc[place]) for place in places if place < len(usable)]
    edges = [*days, pd.Timestamp(ripe)]
    rising = all(early < late for early, late in pairwise(edges))
    if folds < 1 or len(days) < folds or not rising or not (starts < days[0]).any():
        raise DataError(
            f"rolling origins: {len(usable):,} of the {len(starts):,} deals before the test border"
            f" {until:%Y-%m-%d} began early enough to be seen out by it (before {ripe:%Y-%m-%d});"
            f" that does not give {folds} origins. Ask for fewer, shorten `models.horizon_days`, or"
            " give more history"
        )
    return [day.to_pydatetime() for day in edges]


def _fold(
    data: pd.DataFrame,
    begun: pd.Series,
    starts: pd.Series,
    number: int,
    span: tuple[datetime, datetime],
    calibration: float,
    groups: Groups,
) -> Fold:
    origin, end = span
    early = starts[starts < origin]
    last = min(round(len(early) * (1 - calibration)), len(early) - 1)
    border = pd.Timestamp(early.iloc[last])
    learn = ((begun < origin) & (data["as_of"] < origin)).to_numpy()
    judged = ((begun >= origin) & (begun < end)).to_numpy()
    sibling = siblings(data, learn, judged)
    if groups == "account":
        judged = judged & ~sibling.to_numpy()
        if not judged.any():
            raise DataError(
                f"rolling origins: every account judged after {origin:%Y-%m-%d} has an earlier deal;"
                " none is left to judge. Use `groups: deal`"
            )
    late = (begun >= border).to_numpy() & (calibration > 0)
    block = np.select(
        [learn & ~late, learn & late, judged], ["train", "calibration", "test"], "unused"
    )
    return Fold(
        number=number,
        origin=origin,
        judged_until=end,
        block=pd.Series(block.astype(object), index=data.index, name="split"),
        borders=Borders(border.to_pydatetime(), origin),
        sibling=sibling,
    )
