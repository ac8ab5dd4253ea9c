"""What a deal would be worth if it were won: amounts shrink, or grow, on the way to the close.

A deal that was lost early still carries the amount it began with; had it been saved, it would have
been haggled down like the others. So what is not won counts with its amount at the entry of the
stage, times how much of that amount the won deals kept.
"""

from __future__ import annotations

import numpy as np

from salesops_ml.mining.steps import WON, Floats, Mask, Steps
from salesops_ml.mining.visits import Stays

FEWEST_WON = 20


def worth_if_won(steps: Steps, stays: Stays, rows: Mask, at_entry: Floats | None) -> Floats:
    """(cases,) amount of each deal if it is won; the mean where no amount is known; 1 where none is.

    Args:
        steps: the log. stays: its stays, n rows.
        rows: (n,) the stays of one stage that are looked at; others keep the amount of the log.
        at_entry: (n,) amount as known when the deal entered the stage, NaN where not known; without
            it every deal keeps the amount of the log.
    """
    amount = np.asarray(steps.amount, dtype=np.float64)
    if np.isnan(amount).all():
        return np.ones(len(amount))
    amount = np.where(np.isnan(amount), np.nanmean(amount), amount)
    if at_entry is None:
        return amount
    case, won = stays.visits.case, steps.outcome[stays.visits.case] == WON
    known = np.isfinite(at_entry) & (at_entry > 0) & ~np.isnan(steps.amount[case])
    there = np.flatnonzero(rows & won & known)
    if len(there) < FEWEST_WON:
        return amount
    kept = amount[case[there]].sum() / at_entry[there].sum()
    rest = np.flatnonzero(rows & ~won & known)[::-1]  # the first visit is written last
    amount[case[rest]] = at_entry[rest] * kept
    return amount
