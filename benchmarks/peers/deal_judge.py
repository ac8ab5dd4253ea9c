"""One judge for all models: the same rows, the same labels, the same figures, intervals by deal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.evaluation.censoring import OPEN, WON, follow_up_share, horizon_weights
from salesops_ml.evaluation.measure import Judged
from salesops_ml.evaluation.proper_scores import (
    auc,
    calibration_error,
    calibration_line,
    integrated_brier,
    log_losses,
)
from salesops_ml.evaluation.splits import labels_at
from salesops_ml.models.curves import Curves

DRAWS = 200
LEAST_DEALS = 200
KEYS = ["deal_id", "as_of"]


@dataclass(frozen=True)
class Said:
    """What a model says of the test rows; None where it has nothing to say."""

    keys: pd.DataFrame
    p_share: Any = None
    p_win: Any = None
    outcome_p50: Any = None
    curves: Curves | None = None

    @classmethod
    def of_curves(cls, keys: pd.DataFrame, curves: Curves, win_day: float) -> Said:
        """What follows from a pair of curves."""
        won, lost = curves.cif_won[:, -1], curves.cif_lost[:, -1]
        return cls(
            keys=keys,
            p_share=won / np.maximum(won + lost, 1e-12),
            p_win=curves.at([win_day]).cif_won[:, 0],
            outcome_p50=curves.quantiles(given="either")[:, 1],
            curves=curves,
        )

    @classmethod
    def of_frame(cls, frame: pd.DataFrame, horizon: int, win_day: float) -> Said:
        """What a peer wrote."""
        if "w1" in frame:
            sides = [
                frame[[f"{c}{d}" for d in range(1, horizon + 1)]].to_numpy(float) for c in "wl"
            ]
            start = np.zeros((len(frame), 1))
            won, lost = (np.column_stack([start, np.clip(side, 0, 1)]) for side in sides)
            return cls.of_curves(frame[KEYS], Curves(np.arange(horizon + 1.0), won, lost), win_day)
        columns = {name: frame[name].to_numpy(float) for name in frame if name not in KEYS}
        return cls(keys=frame[KEYS], **columns)


class Judge:
    """The test rows of a job, what became of them, and bootstrap draws that all models share."""

    def __init__(self, test: pd.DataFrame, *, horizon: int, curve_days: int) -> None:
        labels = labels_at(test, None)
        self.test, self.horizon = test, horizon
        self.event = labels["event"].to_numpy(int)
        self.duration = labels["duration"].to_numpy(float)
        self.followed = labels["followed"].to_numpy(float)
        self.judged = Judged.of(test, horizon)
        reach = np.arange(1.0, curve_days + 1)
        self.days = reach[follow_up_share(self.followed, reach) >= 0.05]
        closed, age = self.event != OPEN, test["f_age_days"].to_numpy(float)
        self.rows = {"all": closed, "k1": closed & (age >= 6.99), "k0": closed & (age < 1)}
        self.rows = {name: rows for name, rows in self.rows.items() if rows.any()}
        deals, self.deal = np.unique(test["deal_id"].to_numpy(object), return_inverse=True)
        random = np.random.default_rng(7)
        self.picks = random.multinomial(len(deals), np.full(len(deals), 1 / len(deals)), size=DRAWS)

    def check_rows(self, models: dict[str, Said]) -> None:
        """Every model was asked about these rows, no others, and their labels are these labels."""
        known = self.test[KEYS].assign(event=self.event, duration=self.duration)
        for name, said in models.items():
            theirs = said.keys.reset_index(drop=True).merge(known, on=KEYS, how="left")
            pd.testing.assert_frame_equal(theirs, known, obj=f"rows of {name}")
            for value in (said.p_share, said.p_win, said.outcome_p50):
                assert value is None or np.isfinite(value).all(), f"{name}: not a number"

    def compare(self, models: dict[str, Said]) -> dict[str, dict[str, Any]]:
        """Figures of each model with 95 % intervals, and its difference to `ours` on the same draws."""
        self.check_rows(models)
        drawn = {name: dict(self._figures(said)) for name, said in models.items()}
        return {
            name: {figure: self._told(drawn, name, figure) for figure in drawn[name]}
            for name in models
        }

    def _told(self, drawn: dict[str, Any], name: str, figure: str) -> dict[str, Any]:
        value, draws = drawn[name][figure]
        told = {"value": float(value), "interval": _span(draws)}
        if name != "ours" and figure in drawn["ours"]:
            ours, our_draws = drawn["ours"][figure]
            told |= {
                "minus_ours": float(value - ours),
                "minus_ours_interval": _span(draws - our_draws),
            }
        return told

    def _figures(self, said: Said) -> Iterator[tuple[str, tuple[float, Any]]]:
        won = self.event == WON
        for name, rows in self.rows.items():
            if said.p_share is not None:
                losses = log_losses(won, said.p_share)
                yield f"log_loss_{name}", self._mean(losses, rows.astype(float))
                yield f"auc_{name}", self._auc(won, said.p_share, rows.astype(float))
            if said.outcome_p50 is not None:
                gap = np.abs(said.outcome_p50 - self.duration)
                yield f"mae_days_{name}", self._mean(gap, rows.astype(float))
        if said.p_win is not None:
            losses = log_losses(self.judged.won, said.p_win)
            yield "ipcw_log_loss", self._mean(losses, self.judged.weight)
        if said.curves is not None:
            yield "integrated_brier", self._brier(said.curves)
            yield "auc_day_14", self._auc_at(said.curves, 14.0)

    def _mean(self, values: Any, weight: Any) -> tuple[float, Any]:
        sums = np.bincount(self.deal, weights=values * weight)
        total = np.bincount(self.deal, weights=weight)
        return sums.sum() / total.sum(), (self.picks @ sums) / (self.picks @ total)

    def _auc(self, won: Any, p: Any, weight: Any) -> tuple[float, Any]:
        kept = weight > 0
        won, p, weight, deal = won[kept], p[kept], weight[kept], self.deal[kept]
        draws = [auc(won, p, weight * pick[deal]) for pick in self.picks]
        return auc(won, p, weight), np.array(draws)

    def _auc_at(self, curves: Curves, day: float) -> tuple[float, Any]:
        won = (self.event == WON) & (self.duration <= day)
        weight = horizon_weights(self.event, self.duration, self.followed, day)
        return self._auc(won, curves.at([day]).cif_won[:, 0], weight)

    def _brier(self, curves: Curves) -> tuple[float, Any]:
        curve = curves.at(self.days).cif_won
        won_day = np.where(self.event == WON, self.duration, np.inf)
        closed_day = np.where(self.event != OPEN, self.duration, np.inf)
        per_row = np.zeros(len(curve))
        for j, day in enumerate(self.days):
            weight = horizon_weights(self.event, self.duration, self.followed, float(day))
            per_row += weight * ((won_day <= day) - curve[:, j]) ** 2 / len(self.days)
        value, draws = self._mean(per_row, np.ones(len(per_row)))
        whole = integrated_brier(won_day, self.followed, self.days, curve, closed_day)
        assert abs(value - whole) < 1e-6, (value, whole)
        return value, draws

    def calibration(self, said: Said) -> dict[str, float]:
        """Line and error of the chances at the day that is judged."""
        judged = self.judged
        intercept, slope = calibration_line(judged.won, said.p_win, judged.weight)
        error = calibration_error(judged.won, said.p_win, judged.weight)
        return {"intercept": intercept, "slope": slope, "calibration_error": error}

    def coverage(self, low: Any, high: Any) -> dict[str, dict[str, float]]:
        """Share of won rows within low..high days, overall and in each stage with 200 such deals."""
        inside = (self.duration >= low) & (self.duration <= high)
        won = self.judged.won & (self.judged.weight > 0)
        stage = self.test["stage"].astype(str).to_numpy(object)
        groups = {"overall": won, **{word: won & (stage == word) for word in sorted(set(stage))}}
        done = {}
        for word, rows in groups.items():
            deals = len(np.unique(self.deal[rows]))
            if deals < LEAST_DEALS:
                continue
            share, draws = self._mean(inside.astype(float), self.judged.weight * rows)
            width, _ = self._mean(high - low, self.judged.weight * rows)
            done[word] = {
                "deals": deals,
                "covered": float(share),
                "clustered_error": float(np.std(draws)),
                "width_days": float(width),
            }
        return done


def _span(draws: Any) -> list[float]:
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return [float(low), float(high)]
