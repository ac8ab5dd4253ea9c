"""Single fields that know too much: they tell won from lost, or the day it ends, better than work can.

`close_value` is the classic: the sum for deals won, nought for deals lost. The other is a date or a
count of days that was overwritten when the deal closed.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from salesops_ml.quality.finding import VERDICTS, Finding
from salesops_ml.quality.looks import LEAST_DEALS, Bools, Floats, Looks, plain
from salesops_ml.quality.ranking import ranking_power

CHECK = "knows too much"
CLOCK = "knows the day"
ALARM_AUC = 0.97
SUSPECT_AUC = 0.9
SURE = 2.58
"""Standard errors that an alarm must keep from what a strong honest field can do."""
HONEST = 0.02
ALARM_CLOCK = 0.95
SUSPECT_CLOCK = 0.85


def power_findings(looks: Looks) -> list[Finding]:
    """Features that rank won above lost nearly without fault, at the first look or ahead of the end.

    A deal counts once, so that long deals do not vote many times. The standard error is Hanley &
    McNeil's (1982); few deals make a high figure by chance.
    """
    found: dict[str, Finding] = {}
    for rows, when in ((looks.closed, "at the first look"), (looks.later, "ahead of the end")):
        won = (rows["outcome"] == "won").to_numpy()
        if min(won.sum(), (~won).sum()) < LEAST_DEALS:
            continue
        for name in looks.features:
            power = ranking_power(rows[name], won)
            verdict = _verdict(power, won)
            known = found[name].verdict if name in found else "ok"
            if VERDICTS.index(verdict) > VERDICTS.index(known):
                evidence = f"{when} ranks won above lost with AUC {power:.3f}, {len(won):,} deals"
                found[name] = Finding(CHECK, name, evidence, verdict)
    return list(found.values())


def _verdict(power: float, won: Bools) -> str:
    lower = power - SURE * auc_error(power, int(won.sum()), int((~won).sum()))
    if power > ALARM_AUC and lower > ALARM_AUC - HONEST:
        return "fail"
    return "warn" if power > SUSPECT_AUC and lower > SUSPECT_AUC - HONEST else "ok"


def auc_error(auc: float, wins: int, losses: int) -> float:
    """Standard error of an AUC.

    Hanley & McNeil (1982), Radiology 143.

    Example:
        >>> auc_error(1.0, 50, 50)
        0.0
        >>> round(auc_error(0.8, 50, 50), 3)
        0.045
    """
    one, two = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = auc * (1 - auc) + (wins - 1) * (one - auc**2) + (losses - 1) * (two - auc**2)
    return float(np.sqrt(max(spread, 0.0) / (wins * losses)))


def clock_findings(looks: Looks) -> list[Finding]:
    """Features that, at the first look, order deals by the day on which they will end.

    A date is also read as days since the deal's creation, for an overwritten close date is one.
    """
    if not looks.dated:
        return []
    rows = looks.closed
    days = rows["days_to_outcome"].to_numpy(np.float64)
    if len(days) < LEAST_DEALS or len(np.unique(days)) < LEAST_DEALS:
        return []
    findings = []
    for name in looks.features:
        values = plain(rows[name])
        if not pd.api.types.is_float_dtype(values):
            continue
        numbers = values.to_numpy(np.float64)
        power = _order(numbers, days)
        if name in looks.declared:
            power = max(power, _order(numbers - _begun(rows), days))
        if power > SUSPECT_CLOCK:
            verdict = "fail" if power > ALARM_CLOCK else "warn"
            evidence = f"at the first look orders deals by days to the end: correlation {power:.3f}"
            findings.append(Finding(CLOCK, name, evidence, verdict))
    return findings


def _begun(rows: pd.DataFrame) -> Floats:
    return plain(rows["created_at"]).to_numpy(np.float64)


def _order(numbers: Floats, days: Floats) -> float:
    """Absolute Spearman correlation where both are known; nought where that is seldom or constant."""
    known = ~np.isnan(numbers)
    if known.sum() < max(LEAST_DEALS, 0.1 * len(days)):
        return 0.0
    numbers, days = numbers[known], days[known]
    if np.ptp(numbers) == 0 or np.ptp(days) == 0:
        return 0.0
    return float(abs(spearmanr(numbers, days).statistic))
