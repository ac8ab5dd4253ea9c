"""Every figure of the deal model, beside its baselines, by segment, with intervals by deal.

The gate is the IPCW log-loss at the horizon over all test rows, open deals included. Figures named
`closed_rows` score p_win / (p_win + p_lost) on rows whose deal closed, for comparison with tools that
look at nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.evaluation.bootstrap import interval
from salesops_ml.evaluation.censoring import (
    LOST,
    OPEN,
    WON,
    Floats,
    horizon_weights,
    last_supported_day,
)
from salesops_ml.evaluation.deal_intervals import DealDraws
from salesops_ml.evaluation.proper_scores import (
    Flags,
    auc,
    brier,
    calibration_error,
    calibration_line,
    log_loss,
    log_losses,
    reliability,
)
from salesops_ml.evaluation.splits import labels_at

LEAST_DEALS = 200
SEGMENTS = ("stage", "product", "lead_source", "f_rep_region", "f_deal_type")


@dataclass(frozen=True)
class Judged:
    """Test rows with what became of them and the weight that censoring gives each."""

    rows: pd.DataFrame
    event: Any
    duration: Floats
    followed: Floats
    won: Flags
    weight: Floats
    horizon: float

    @classmethod
    def of(cls, rows: pd.DataFrame, horizon: float) -> Judged:
        """Judge `rows` (a dataset's test rows) at `horizon` days over the whole record.

        Where fewer than 5 % of rows are followed to the horizon, the last day that 5 % are
        followed to takes its place, and `horizon` says so.
        """
        labels = labels_at(rows, None)
        event = labels["event"].to_numpy(np.int64)
        duration = labels["duration"].to_numpy(float)
        followed = labels["followed"].to_numpy(float)
        reach = last_supported_day(followed, horizon) or float(np.max(followed, initial=0.0))
        won = (event == WON) & (duration <= reach)
        weight = horizon_weights(event, duration, followed, reach)
        if reach == 0:  # nothing is dated: open deals were not watched at all
            weight = weight * (event != OPEN)
        return cls(rows, event, duration, followed, won, weight, reach)


def measure_win(
    judged: Judged, p_win: Floats, p_lost: Floats, *, draws: int = 100
) -> dict[str, Any]:
    """Scores of one model on the judged rows.

    Returns:
        log_loss, brier, auc, calibration_slope and calibration_error (each with its `_interval`, 95 % by
        deal, and None where it cannot be told), calibration_intercept, mean_promised, share_won,
        rows, deals, horizon_days, and `closed_rows` with its own log_loss, auc and rows.
    """
    won, weight = judged.won, judged.weight
    deals = judged.rows["deal_id"].to_numpy(dtype=object)
    if weight.sum() <= 0:
        return {"rows": len(won), "deals": len(np.unique(deals)), "log_loss": None}
    intercept, slope = calibration_line(won, p_win, weight)
    sample = DealDraws(deals, draws=draws)
    return {
        "log_loss": log_loss(won, p_win, weight),
        "log_loss_interval": sample.of_mean(log_losses(won, p_win), weight),
        "brier_interval": sample.of_mean((p_win - won) ** 2, weight),
        "auc_interval": sample.of_auc(won, p_win, weight),
        "calibration_slope_interval": sample.of_slope(won, p_win, weight),
        "calibration_error_interval": sample.of_calibration_error(won, p_win, weight),
        "brier": brier(won, p_win, weight),
        "auc": _known(auc(won, p_win, weight)),
        "calibration_intercept": _known(intercept),
        "calibration_slope": _known(slope),
        "calibration_error": calibration_error(won, p_win, weight),
        "mean_promised": float(np.average(p_win, weights=weight)),
        "share_won": float(np.average(won, weights=weight)),
        "rows": len(won),
        "deals": len(np.unique(deals)),
        "horizon_days": judged.horizon,
        "closed_rows": _closed_rows(judged, p_win, p_lost),
    }


def _closed_rows(judged: Judged, p_win: Floats, p_lost: Floats) -> dict[str, Any]:
    closed = judged.event != OPEN
    if not closed.any():
        return {"rows": 0, "log_loss": None, "auc": None}
    share = p_win[closed] / np.maximum(p_win[closed] + p_lost[closed], 1e-12)
    won = judged.event[closed] == WON
    return {
        "rows": int(closed.sum()),
        "log_loss": log_loss(won, share),
        "auc": _known(auc(won, share)),
    }


def measure_dates(judged: Judged, scores: pd.DataFrame) -> dict[str, Any]:
    """How right the dates are, on rows whose deal was won, or closed, within the horizon.

    Rows are weighted for censoring. `coverage_80` is the share of won rows whose day of winning lies
    within close_p10..close_p90; `mae_days` the mean distance of outcome_p50 to the day of outcome.
    """
    deals = judged.rows["deal_id"].to_numpy(dtype=object)
    won = judged.won & (judged.weight > 0)
    ended = np.isin(judged.event, (WON, LOST)) & (judged.duration <= judged.horizon)
    done: dict[str, Any] = {"won_rows": int(won.sum()), "closed_rows": int(ended.sum())}
    if won.any():
        day = judged.duration[won]
        inside = (day >= scores["close_p10"].to_numpy()[won]) & (
            day <= scores["close_p90"].to_numpy()[won]
        )
        low, high = interval(inside.astype(float), judged.weight[won], deals[won])
        done |= {
            "coverage_80": float(np.average(inside, weights=judged.weight[won])),
            "coverage_80_interval": [low, high],
            "mean_width_days": float(
                (scores["close_p90"] - scores["close_p10"]).to_numpy()[won].mean()
            ),
        }
    if ended.any():
        gap = np.abs(scores["outcome_p50"].to_numpy() - judged.duration)[ended]
        done["mae_days"] = float(np.average(gap, weights=judged.weight[ended]))
    return done


def measure_segments(judged: Judged, p_win: Floats) -> dict[str, dict[str, Any]]:
    """Log-loss, promised and happened, by the values of each segment with enough deals."""
    done: dict[str, dict[str, Any]] = {}
    for column in SEGMENTS:
        if column not in judged.rows.columns:
            continue
        named = judged.rows[column].notna().to_numpy()
        values = judged.rows[column].astype(str).to_numpy(dtype=object)
        found = {}
        for value in sorted(set(values[named])):
            inside = values == value
            weight = judged.weight * inside
            deals = judged.rows["deal_id"].to_numpy()[inside]
            if len(np.unique(deals)) < LEAST_DEALS or weight.sum() <= 0:
                continue
            found[value] = {
                "deals": len(np.unique(deals)),
                "log_loss": log_loss(judged.won, p_win, weight),
                "mean_promised": float(np.average(p_win, weights=weight)),
                "share_won": float(np.average(judged.won, weights=weight)),
            }
        if found:
            done[column.removeprefix("f_")] = found
    return done


def reliability_rows(judged: Judged, p_win: Floats) -> list[list[float]]:
    """Mean promised, share won and weight over 15 groups of equal mass."""
    return [list(row) for row in reliability(judged.won, p_win, judged.weight).tolist()]


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
