"""Fields that are there for deals to be won and missing for deals to be lost, given like age.

Work on a deal fills fields, and worked deals win; that is honest where the field's values are dated.
Where a field only *claims* to stand since creation, its gaps may tell how the deal ended.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from salesops_ml.quality.finding import Finding
from salesops_ml.quality.late_fills import EMPTY_GAP
from salesops_ml.quality.looks import LEAST_DEALS, Bools, Floats, Looks

CHECK = "there for one outcome"
LOOKS = (0, 1, 2, 4, 8)
DECLARED_GAP = 0.25
DATED_GAP = 0.6
CHANCE = 1e-4


def availability_findings(looks: Looks) -> list[Finding]:
    """Columns whose share filled at the first, second, third, fifth or ninth look differs.

    A deal counts once at each look, and only a day or more ahead of its end. The difference must be
    large, and more than chance explains (two shares of independent deals, Bonferroni over columns and
    looks). Declared columns, whose values never change, are judged at the first look, dated ones
    later. What is wider than `late_fills.EMPTY_GAP` at the first look is told by that check.
    """
    told: dict[str, Finding] = {}
    known: set[str] = set()
    names = looks.columns
    declared = np.isin(names, sorted(looks.declared))
    here = looks.data[names].notna().to_numpy(bool)
    border = norm.isf(CHANCE / (2 * max(len(names), 1) * len(LOOKS)))
    for number in LOOKS:
        rows = _rows_at(looks, number)
        won = (looks.data["outcome"] == "won").to_numpy()[rows]
        if min(won.sum(), (~won).sum()) < LEAST_DEALS:
            continue
        shares = here[rows][won].mean(axis=0), here[rows][~won].mean(axis=0)
        wide = np.abs(shares[0] - shares[1]) > np.where(declared, DECLARED_GAP, DATED_GAP)
        sure = _distance(*shares, int(won.sum()), int((~won).sum())) > border
        if number == 0:
            known = {names[i] for i in np.flatnonzero(np.abs(shares[0] - shares[1]) > EMPTY_GAP)}
        for place in np.flatnonzero(wide & sure & (declared == (number == 0))):
            name = names[int(place)]
            if name not in known | set(told):
                told[name] = _finding(name, number, *(float(s[place]) for s in shares))
    return list(told.values())


def _rows_at(looks: Looks, number: int) -> Bools:
    """Rows that are look `number` of a closed deal, a day ahead of the end where that is dated."""
    rows = (looks.number == number) & (looks.data["outcome"] != "open").to_numpy()
    ahead = (looks.data["days_to_outcome"] >= 1).to_numpy()
    return np.asarray(rows & ahead if looks.dated else rows)


def _distance(won: Floats, lost: Floats, winners: int, losers: int) -> Floats:
    """Standard errors between the two shares, column by column."""
    pooled = (won * winners + lost * losers) / (winners + losers)
    error = np.sqrt(np.maximum(pooled * (1 - pooled), 1e-12) * (1 / winners + 1 / losers))
    return np.abs(won - lost) / error


def _finding(name: str, number: int, won: float, lost: float) -> Finding:
    evidence = f"at look {number + 1} filled for {won:.0%} of deals later won, {lost:.0%} of lost"
    return Finding(CHECK, name, evidence, "warn")
