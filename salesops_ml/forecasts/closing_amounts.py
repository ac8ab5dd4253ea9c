"""What deals close for, compared with what stood in the CRM before: discounts, late changes, blanks.

For each won deal, every value that its amount ever had is divided into the closing amount and weighs
as long as it stood there: a forecaster who looks in on a random day sees just these ratios. They also
weigh by money (with the largest deals capped), so that their mean brings sums to sums.

A deal that closes in parts stands in the record as several: when a part is signed, a deal of that amount
is won, and the amount of the one that it came from falls by it. What is signed is booked, what remains
stays open, and the ratios of the deal that went on tell how much of what was asked is left for its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from salesops_ml.forecasts.batch import Floats

ATOMS = 201
"""Ratios that stand for the whole distribution, each equally likely."""
_CREDIBLE = 20.0
"""Won deals with an amount history at which the learned ratio counts half."""
_UNPRICED_CREDIBLE = 10.0
_RATIO_RANGE = (0.05, 5.0)
_CAP = 0.95


@dataclass(frozen=True)
class ClosingAmounts:
    """The law of amounts at close.

    Attributes:
        ratios: equally likely values of (amount at close) / (amount now), sorted.
        unpriced: expected amount at close of a won deal whose amount is missing or 0 now.
    """

    ratios: Floats
    unpriced: float

    @property
    def mean_ratio(self) -> float:
        """Expected amount at close for one unit of money now."""
        return float(self.ratios.mean())

    @property
    def mean_square_ratio(self) -> float:
        """Expected square of the ratio."""
        return float((self.ratios**2).mean())

    def base(self, amounts: Floats) -> Floats:
        """Amounts that the ratio applies to: unpriced deals take what such deals closed for."""
        priced = np.nan_to_num(amounts, nan=0.0) != 0.0
        return np.where(priced, amounts, self.unpriced / self.mean_ratio)


def learn_closing_amounts(
    won: pd.DataFrame, amounts: pd.DataFrame, *, since: datetime
) -> ClosingAmounts:
    """Learn from the deals won since `since`, as known.

    With few won deals the ratios are drawn towards 1, where amounts do not change at all.

    Args:
        won: won deals: deal_id, created_at, closed_at, amount.
        amounts: amount history: deal_id, changed_at, value, sorted by time within a deal.

    Example:
        >>> won = pd.DataFrame({"deal_id": ["a"], "created_at": [pd.Timestamp("2026-01-01")],
        ...     "closed_at": [pd.Timestamp("2026-02-01")], "amount": [50.0]})
        >>> past = pd.DataFrame({"deal_id": ["a"], "changed_at": won.created_at, "value": [50.0]})
        >>> learn_closing_amounts(won, past, since=datetime(2025, 1, 1)).mean_ratio
        1.0
    """
    recent = won[(won["closed_at"] >= since) & won["amount"].notna()]
    stood = _standing(recent, amounts)
    mean_amount = float(recent["amount"].mean()) if len(recent) else 0.0
    priced = stood["value"].to_numpy() > 0
    unpriced = _unpriced(stood[~priced], mean_amount)
    ratios = _ratios(stood[priced])
    return ClosingAmounts(ratios, unpriced)


def _standing(won: pd.DataFrame, amounts: pd.DataFrame) -> pd.DataFrame:
    """Each value that stood before the close: value, closing amount, days it stood, deal_id."""
    rows = amounts.merge(won[["deal_id", "closed_at", "amount"]], on="deal_id")
    rows = rows[rows["changed_at"] < rows["closed_at"]]
    until = rows.groupby("deal_id")["changed_at"].shift(-1)
    until = until.fillna(rows["closed_at"])
    days = (until - rows["changed_at"]).dt.total_seconds() / 86_400.0
    rows = rows.assign(value=rows["value"].fillna(0.0), days=days)
    return rows[rows["days"] > 0]


def _unpriced(stood: pd.DataFrame, mean_amount: float) -> float:
    """Mean closing amount of deals without a price, drawn to the mean of all won deals."""
    deals = stood["deal_id"].nunique()
    if deals == 0:
        return mean_amount
    own = float(np.average(stood["amount"], weights=stood["days"]))
    return (deals * own + _UNPRICED_CREDIBLE * mean_amount) / (deals + _UNPRICED_CREDIBLE)


def _ratios(stood: pd.DataFrame) -> Floats:
    if stood.empty:
        return np.ones(ATOMS)
    value = stood["value"].to_numpy(dtype=np.float64)
    ratio = np.clip(stood["amount"].to_numpy(dtype=np.float64) / value, *_RATIO_RANGE)
    weight = stood["days"].to_numpy() * np.minimum(value, np.quantile(value, _CAP))
    order = np.argsort(ratio, kind="stable")
    share = np.cumsum(weight[order]) / weight.sum()
    middle = (np.arange(ATOMS) + 0.5) / ATOMS
    atoms = ratio[order][np.searchsorted(share, middle).clip(max=len(ratio) - 1)]
    atoms = atoms * (np.average(ratio, weights=weight) / atoms.mean())
    credible = stood["deal_id"].nunique()
    kept = credible / (credible + _CREDIBLE)
    return np.sort(1.0 + kept * (atoms - 1.0))
