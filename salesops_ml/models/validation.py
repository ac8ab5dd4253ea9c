"""How the model would have done on past days: ours beside every baseline, day by day and together.

At each rolling origin (see `evaluation.rolling_origins`) the model and its baselines learn what could
be known then and are judged on the deals that began afterwards, each deal with one voice. A figure of
one day may be luck; the pooled one says how the model does over the seasons, and each has an interval
by deal. The baselines give a chance of winning; the days between come from the tables of their kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.evaluation.censoring import Floats
from salesops_ml.evaluation.deal_intervals import DealDraws
from salesops_ml.evaluation.deal_weights import brier_parts, deal_weights, judged_by_deal
from salesops_ml.evaluation.measure import Judged, measure_dates, measure_win
from salesops_ml.evaluation.rolling_origins import Fold, RollingOrigins
from salesops_ml.evaluation.splits import labels_at
from salesops_ml.models.baselines import baseline_scores
from salesops_ml.models.curves import Curves
from salesops_ml.models.training import fit_deal_scores
from salesops_ml.models.voices import fit_table
from salesops_ml.settings import Settings
from salesops_ml.snapshots.features import FeatureSpec

OURS = "deal_scores"
DAYS = 20
"""Days, evenly spread to the horizon, at which curves are judged."""


@dataclass(frozen=True)
class Answer:
    """What one model said of some looks: its published scores, and its curves at 0 and `DAYS` days."""

    scores: pd.DataFrame
    curves: Curves

    @classmethod
    def of(cls, curves: Curves, scores: pd.DataFrame) -> Answer:
        """Keep of `curves` the days that are judged."""
        return cls(scores, curves.at(np.linspace(0, curves.horizon, DAYS + 1)))

    def by(self, day: float) -> tuple[Floats, Floats]:
        """Chances of having won, and lost, by `day`."""
        there = self.curves.at([day])
        return there.cif_won[:, 0], there.cif_lost[:, 0]


@dataclass(frozen=True)
class Examined:
    """Judged rows, with the answer of every model on them."""

    rows: pd.DataFrame
    answers: Mapping[str, Answer]


def validate(
    rolled: RollingOrigins,
    *,
    spec: FeatureSpec,
    settings: Settings,
    power: float = 1.0,
    draws: int = 200,
) -> dict[str, Any]:
    """Train and judge at every origin; plain values for `evaluation.json`.

    Args:
        rolled: the folds.
        spec: the features.
        settings: of the model; `horizon_days` is the day that P(won) is judged at.
        power: 1 lets each deal weigh the same, 0 each look.
        draws: bootstrap samples of deals.

    Returns:
        `folds`, a list with origin, counts of deals and rows, rows with a sibling, and `models`;
        and `pooled`, the same over all judged rows. `models` holds for each model, `deal_scores`
        first, the figures of `measure_win` and `measure_dates`, `integrated_brier`, and for each
        headline figure its 95 % interval as `NAME_interval`. In `pooled`, `saved` is the log-loss
        that ours saves over each baseline, paired by deal, with its interval.

    Raises:
        ModelError: at some origin nothing can be learned yet.
    """
    examined = [examine(rolled, fold, spec=spec, settings=settings) for fold in rolled.folds]
    horizon = settings.models.horizon_days
    told = [
        _fold_facts(rolled, fold) | _judge(one, horizon, power, draws)
        for fold, one in zip(rolled.folds, examined, strict=True)
    ]
    return {
        "until": rolled.until.isoformat(),
        "groups": rolled.groups,
        "deal_weight_power": power,
        "folds": told,
        "pooled": _judge(pool(examined), horizon, power, draws, paired=True),
    }


def examine(
    rolled: RollingOrigins, fold: Fold, *, spec: FeatureSpec, settings: Settings
) -> Examined:
    """Train ours and every baseline at one origin, and have them answer on the judged rows."""
    data, block, borders = rolled.data, fold.block, fold.borders
    test = data[block == "test"]
    model = fit_deal_scores(data, block, borders, spec=spec, settings=settings)
    answers = {OURS: Answer.of(model.curves(test), model.predict(test))}
    learn = data[block.isin(["train", "calibration"])].sort_values(["deal_id", "as_of"])
    labels = labels_at(learn, fold.origin)
    timing = {
        by_stage: fit_table(learn, labels, settings, by_stage=by_stage).curves(test)
        for by_stage in (False, True)
    }
    for name, scores in baseline_scores(data, block, borders, settings=settings).items():
        curves = timing[name != "base_rate"].with_mass(
            scores["p_win"].to_numpy(float), scores["p_lost"].to_numpy(float)
        )
        answers[name] = Answer.of(curves, scores)
    return Examined(test, answers)


def pool(examined: Sequence[Examined]) -> Examined:
    """The judged rows of all folds, and the models that answered in each of them."""
    names = [n for n in examined[0].answers if all(n in one.answers for one in examined)]
    answers = {name: _joined([one.answers[name] for one in examined]) for name in names}
    return Examined(pd.concat([one.rows for one in examined]), answers)


def _joined(parts: Sequence[Answer]) -> Answer:
    curves = Curves(
        parts[0].curves.days,
        np.vstack([part.curves.cif_won for part in parts]),
        np.vstack([part.curves.cif_lost for part in parts]),
    )
    return Answer(pd.concat([part.scores for part in parts]), curves)


def _fold_facts(rolled: RollingOrigins, fold: Fold) -> dict[str, Any]:
    learn = fold.block.isin(["train", "calibration"])
    return {
        "origin": fold.origin.isoformat(),
        "judged_until": fold.judged_until.isoformat(),
        "learned_deals": int(rolled.data.loc[learn, "deal_id"].nunique()),
        "learned_rows": int(learn.sum()),
        "rows_with_sibling": int(fold.sibling[fold.block == "test"].sum()),
    }


def _judge(
    examined: Examined, horizon: float, power: float, draws: int, *, paired: bool = False
) -> dict[str, Any]:
    """Every model's figures on the same rows, at the same day, with the same draws of deals."""
    judged = judged_by_deal(examined.rows, horizon, power=power)
    voice = deal_weights(examined.rows["deal_id"], power=power)
    deals = DealDraws(examined.rows["deal_id"].to_numpy(dtype=object), draws=draws)
    told: dict[str, Any] = {
        "judged_deals": int(examined.rows["deal_id"].nunique()),
        "judged_rows": len(examined.rows),
        "horizon_days": judged.horizon,
        "models": {
            name: _figures(judged, voice, answer, deals)
            for name, answer in examined.answers.items()
        },
    }
    if paired:
        told["saved"] = _saved(judged, examined, deals)
    return told


def _figures(judged: Judged, voice: Floats, answer: Answer, deals: DealDraws) -> dict[str, Any]:
    p_win, p_lost = answer.by(judged.horizon)
    win = measure_win(judged, p_win, p_lost, draws=len(deals.picks))
    if win["log_loss"] is None:
        return win
    inside = answer.curves.days[1:] <= judged.horizon
    days, curve = answer.curves.days[1:][inside], answer.curves.cif_won[:, 1:][:, inside]
    parts = brier_parts(judged, voice, days, curve)
    return win | {
        "integrated_brier": float(np.average(parts, weights=voice)),
        "integrated_brier_interval": deals.of_mean(parts, voice),
        "dates": measure_dates(judged, answer.scores),
    }


def _saved(judged: Judged, examined: Examined, deals: DealDraws) -> dict[str, Any]:
    """Log-loss that ours saves over each baseline, row by row on the same rows."""
    if judged.weight.sum() <= 0:
        return {}
    said = {name: answer.by(judged.horizon)[0] for name, answer in examined.answers.items()}
    return deals.of_savings(judged.won, said.pop(OURS), said, judged.weight)
