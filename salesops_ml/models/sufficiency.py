"""Are there enough deals? What the score costs in log-loss with fewer, and what more would bring.

The regression learns from a quarter, a half and all of the deals (at most 3,000), always judged on the
same held-out ones. The gaps between these tell how fast it still improves; a curve a + b / n^c through
them says what three times as many deals would give. Told of a simple model, it is a lower bound of
what a rich one gains from more.

Source: Viering & Loog (2023), "The shape of learning curves: a review", on power laws.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.evaluation.censoring import OPEN, Floats
from salesops_ml.evaluation.proper_scores import Flags, log_loss
from salesops_ml.evaluation.splits import chance
from salesops_ml.models.encoding import Encoder
from salesops_ml.models.logistic import LogisticWin
from salesops_ml.models.voices import horizon_target, two_sided

SHARES = (0.25, 0.5, 1.0)
MOST_DEALS = 3_000
"""Deals that the curve is learned from; beyond them it is extrapolated."""
POWERS = (0.5, 0.75, 1.0)
MORE = 3
WORTHWHILE = 0.005
"""Log-loss that three times as many deals must save for "more would help"."""


def sufficiency(
    early: pd.DataFrame, labels: pd.DataFrame, curve: list[list[float]], *, reached: float
) -> dict[str, Any]:
    """The verdict for a training block.

    Args:
        early: looks to learn from, with their `labels`.
        curve: `learning_curve` of them.
        reached: log-loss of the model itself on the held-out looks.

    Returns:
        `closed_deals`, `log_loss`, `log_loss_with_more` (None where it cannot be told), `more_deals`,
        `verdict` (enough, more would help, or unknown), `curve` (deals, log-loss) and `sentence`.
    """
    closed = int(early.loc[(labels["event"] != OPEN).to_numpy(), "deal_id"].nunique())
    told: dict[str, Any] = {
        "closed_deals": closed, "more_deals": MORE * closed, "log_loss": reached, "curve": curve,
        "log_loss_with_more": None, "verdict": "unknown",
        "sentence": f"With your {closed:,} closed deals, expect log-loss {reached:.3f}.",
    }  # fmt: skip
    if len(curve) < len(SHARES):
        return told
    saved = _saved(curve, closed)
    better = saved > WORTHWHILE
    told["log_loss_with_more"] = reached - saved
    told["verdict"] = "more would help" if better else "enough"
    told["sentence"] = told["sentence"].removesuffix(".") + (
        f"; {MORE * closed:,} would give about {reached - saved:.3f}"
        + ("." if better else ": more of the same deals would bring little.")
    )
    return told


def too_few(fewest: int, needed: int) -> dict[str, Any]:
    """The verdict where there are too few closed deals to learn a model at all."""
    return {
        "verdict": "too few",
        "sentence": f"{fewest} deals of the rarer outcome are too few to learn from: {needed} won and"
        f" {needed} lost are needed; until then every deal gets what its stage and age usually give.",
    }


def learning_curve(
    early: pd.DataFrame,
    labels: pd.DataFrame,
    late: pd.DataFrame,
    target: tuple[Flags, Floats],
    *,
    horizon: int,
    seed: int,
) -> list[list[float]]:
    """(closed deals, log-loss) for growing, nested shares of the deals.

    Args:
        early: looks to learn from, with their `labels`.
        late: held-out looks.
        target: of the held-out looks, won by the horizon and censoring weights.
    """
    drawn = chance(early["deal_id"]).to_numpy()
    drawn *= max(early["deal_id"].nunique() / MOST_DEALS, 1.0)
    curve = []
    for share in SHARES:
        rows = drawn < share
        won, weight = horizon_target(labels[rows], horizon)
        if not two_sided(won, weight):
            continue
        some = early[rows]
        model = LogisticWin.fit(some, won, weight, encoder=Encoder.fit(some), seed=seed)
        ended = (labels["event"] != OPEN).to_numpy()[rows]
        loss = log_loss(target[0], model.predict(late), target[1])
        curve.append([float(some.loc[ended, "deal_id"].nunique()), loss])
    return curve


def _saved(curve: list[list[float]], closed: int) -> float:
    """Log-loss that `MORE` times `closed` deals save, by the best fitting power law; never below 0."""
    deals, losses = np.array(curve).T
    best = (np.inf, 0.0)
    for power in POWERS:
        falling = deals**-power
        slope, level = np.polyfit(falling, losses, 1)
        error = float(((level + slope * falling - losses) ** 2).sum())
        saved = max(slope, 0.0) * (closed**-power - (MORE * closed) ** -power)
        best = min(best, (error, float(saved)))
    return best[1]
