"""Names and numbers that were given when the outcome was known: ids, file order, the clock of a batch.

When a file is sorted by status before its deals are numbered, or lost deals are loaded in a batch at
midnight, the id or the time of day tells how a deal ended. An id is no feature, so it cannot fool the
model, but whoever numbers deals that late may have filled other fields as late: that is a warning.
What the model can see, the time of day in dates or an attribute that is an id, is a failure when it
ranks nearly without fault. The order of rows in the source is gone after the load: tables are kept in
the order of their ids, so file order can only come back through ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from salesops_ml.quality.finding import Finding
from salesops_ml.quality.looks import (
    LEAST_DEALS,
    SECONDS_A_DAY,
    Bools,
    Floats,
    Integers,
    Looks,
    plain,
)
from salesops_ml.quality.power import ALARM_AUC
from salesops_ml.quality.ranking import power_within

CHECK = "outcome in a name"
BLOCK_DEALS = 100
SUSPECT = 0.8
BEYOND_TIME = 0.1
SIDE_BY_SIDE = 0.8
UNIQUE = 0.9
CLOSE = 10
DAY_LIKE_PARTS = (86_400, 3_600, 60, 1)


@dataclass(frozen=True)
class Order:
    """One way to put deals in order.

    Attributes:
        column, how: of which column, and by what of it, in words.
        values: to order by.
        seen: whether a model can see them.
        suspect: whether a strong order is odd; an attribute may honestly be strong, an id not.
    """

    column: str
    how: str
    values: pd.Series
    seen: bool
    suspect: bool = True


def name_findings(looks: Looks) -> list[Finding]:
    """Orders of deals that rank won above lost among deals of one time, or put like beside like.

    Deals are compared in blocks that began together (about a hundred deals each), and against the order
    in which they began: what only drifts with time raises no alarm.
    """
    rows = looks.closed
    won = (rows["outcome"] == "won").to_numpy()
    if min(won.sum(), (~won).sum()) < LEAST_DEALS:
        return []
    block, begun = _blocks(rows, dated=looks.dated)
    by_time = power_within(begun, won, block) if looks.dated else 0.5
    alike_in_time = likeness(begun, won) if looks.dated else 0.0
    worst: dict[str, tuple[float, Finding]] = {}
    for order in _orders(looks, rows):
        power = power_within(order.values, won, block)
        alike = likeness(order.values, won)
        told = _told(order, power if power - by_time > BEYOND_TIME else 0.5,
                     alike if alike - alike_in_time > BEYOND_TIME else 0.0)  # fmt: skip
        strength = max(power, alike)
        if told and strength > worst.get(order.column, (0.0, told))[0]:
            worst[order.column] = (strength, told)
    return [finding for _, finding in worst.values()]


def _told(order: Order, power: float, alike: float) -> Finding | None:
    fails = order.seen and max(power, alike) > ALARM_AUC
    if max(power, alike) <= (SUSPECT if order.suspect else ALARM_AUC):
        return None
    evidence = f"{order.how} ranks won above lost among deals of one time, AUC {power:.3f}"
    if alike > power:
        evidence = f"{order.how} puts deals of one outcome side by side ({alike:.0%} beyond chance)"
    if not order.seen:
        evidence += "; no feature, but was it given when the outcome was known?"
    return Finding(CHECK, order.column, evidence, "fail" if fails else "warn")


def likeness(values: pd.Series, won: Bools) -> float:
    """How much more often than by chance neighbours in this order end alike; 1 is always.

    Values that many deals share put nobody side by side and are 0. (Cohen's kappa of neighbours.)

    Example:
        >>> won = np.repeat([True, False, True, False], 25)
        >>> round(likeness(pd.Series(np.arange(100.0)), won), 2)
        0.94
    """
    if not pd.api.types.is_float_dtype(values) or values.nunique() < UNIQUE * len(values):
        return 0.0
    ended = won[np.argsort(values.to_numpy(), kind="stable")]
    agree = float((ended[1:] == ended[:-1]).mean())
    chance = float(won.mean() ** 2 + (1 - won.mean()) ** 2)
    return (agree - chance) / (1 - chance)


def _blocks(rows: pd.DataFrame, *, dated: bool) -> tuple[Integers, pd.Series]:
    """Deals that began together get one number; and when each began, as days."""
    if not dated:
        return np.zeros(len(rows), np.int64), pd.Series(np.zeros(len(rows)))
    begun = plain(rows["created_at"])
    place = rankdata(begun.to_numpy(), method="ordinal") - 1
    count = max(len(rows) // BLOCK_DEALS, 1)
    return np.asarray(place * count // len(rows), np.int64), begun


def _orders(looks: Looks, rows: pd.DataFrame) -> Iterator[Order]:
    for column in ("deal_id", "account_id"):
        if column in rows and rows[column].notna().any():
            for how, values in id_orders(rows[column]):
                yield Order(column, how, values, seen=False)
    if looks.dated:
        for how, values in _clock(rows["created_at"]):
            yield Order("created_at", how, values, seen=True)
    for column in sorted(looks.declared & set(looks.features)):
        if is_id(rows[column]):
            seen = pd.api.types.is_numeric_dtype(rows[column])
            for how, values in id_orders(rows[column]):
                yield Order(column, how, values, seen=seen, suspect=not seen)


def is_id(values: pd.Series) -> bool:
    """Whether nearly every deal has a value of its own: words, or whole numbers close together.

    Example:
        >>> is_id(pd.Series(["q-1", "q-2"])), is_id(pd.Series([7.0, 8.0])), is_id(pd.Series([0.2, 0.9]))
        (True, True, False)
    """
    known = values.dropna()
    if known.nunique() < UNIQUE * max(len(values), 1):
        return False
    if not pd.api.types.is_numeric_dtype(known):
        return plain(known).dtype == object
    numbers = known.to_numpy(np.float64)
    return bool((numbers == np.round(numbers)).all() and np.ptp(numbers) < CLOSE * len(numbers))


def id_orders(ids: pd.Series) -> Iterator[tuple[str, pd.Series]]:
    """Ways to read an id: its order as text, its last number, and its form (W-999, L-999).

    Example:
        >>> {how: list(values) for how, values in id_orders(pd.Series(["W-2", "L-10"]))}
        {'its order as text': [2.0, 1.0], 'its number': [2.0, 10.0], 'its form': ['W-9', 'L-9']}
    """
    if pd.api.types.is_numeric_dtype(ids):
        yield "its number", ids.astype(np.float64)
        return
    text = ids.astype("string").fillna("").astype(str)
    yield "its order as text", pd.Series(rankdata(text, method="min").astype(np.float64))
    number = text.str.extract(r"(\d{1,15})\D*$")[0].astype(np.float64)
    if number.notna().mean() > UNIQUE:
        yield "its number", number
    yield "its form", text.str.replace(r"\d+", "9", regex=True)


def _clock(created: pd.Series) -> Iterator[tuple[str, pd.Series]]:
    """The time of day at which a deal was created, and how finely it is told."""
    seconds = plain(created) * SECONDS_A_DAY
    within: Floats = np.round(seconds.to_numpy() % SECONDS_A_DAY, 3)
    yield "the time of day", pd.Series(within)
    fine = np.select([within % part == 0 for part in DAY_LIKE_PARTS], range(4), default=4)
    yield "the precision of the time", pd.Series(fine.astype(np.float64))
