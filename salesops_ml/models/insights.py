"""What moves the scores of this company: which facts the model cannot do without, and how they bend it.

Importance is what the log-loss on deals never seen rises by when a fact is dealt out at random among
them, group by group and feature by feature (permutation: Breiman 2001; Fisher, Rudin & Dominici 2019).
Deals censored before the horizon are weighted for (IPCW), intervals are drawn by deal. Numbers go with
accumulated local effects (Apley & Zhu 2020) and not partial dependence, since the features of a deal
go together and its age must not be asked of deals that were never that old. Words have no order to add
up along; for them it is the mean chance if all deals had the word. All of it is association, not effect.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit

from salesops_ml.evaluation.bootstrap import clustered_means
from salesops_ml.evaluation.censoring import Floats
from salesops_ml.evaluation.proper_scores import log_losses
from salesops_ml.models.curves import Curves
from salesops_ml.models.deal_scores import DealScores
from salesops_ml.models.hazard_table import HazardTable
from salesops_ml.models.reasons import group_of
from salesops_ml.models.score_parts import end_of_curve
from salesops_ml.models.voices import horizon_target

ROWS = 600
FEATURES = 15
EFFECT_ROWS = 300
NUMBERS, WORDED = 4, 3
BINS, WORDS = 8, 8
DRAWS = 200


def attribute_insights(
    model: DealScores, test: pd.DataFrame, labels: pd.DataFrame, *, seed: int
) -> dict[str, Any]:
    """Importance and effects, on a sample of held-out looks.

    Args:
        test: looks that the model has not seen.
        labels: what became of them (`evaluation.splits.labels_at`), same rows.

    Returns:
        rows, deals, log_loss (of the sample); groups and features (name, increase of the log-loss
        and its 95 % interval, strongest first; features also tell their group); effects (feature,
        kind, points of value, rows and effect). `not_possible` with the reason instead, where no
        look was followed to the horizon or a table is the model.
    """
    if model.encoder is None:
        return {"not_possible": "a table is the model: stage and age at most, and nothing else"}
    won, weight = horizon_target(labels, model.horizon_days)
    seen = np.flatnonzero(weight > 0)
    if not len(seen):
        return {"not_possible": "no look of the test block was followed to the horizon"}
    random = np.random.default_rng(seed)
    rows = np.sort(random.choice(seen, min(ROWS, len(seen)), replace=False))
    frame = test.iloc[rows].reset_index(drop=True)
    sample = _Sample(model, frame, won[rows], weight[rows], seed)
    groups: dict[str, list[str]] = {}
    for name in model.encoder.names:
        groups.setdefault(group_of(name), []).append(name)
    leading = _leading(model, frame)
    told = sorted((sample.importance(n, c) for n, c in groups.items()), key=_size)
    features = sorted((sample.importance(name, [name]) for name in leading), key=_size)
    return {
        "rows": len(frame),
        "deals": int(frame["deal_id"].nunique()),
        "horizon_days": model.horizon_days,
        "log_loss": float(np.average(sample.loss, weights=sample.weight)),
        "groups": told,
        "features": [{**one, "group": group_of(one["name"])} for one in features],
        "effects": _effects(model, frame.head(EFFECT_ROWS), [one["name"] for one in features]),
    }


def chance(model: DealScores, frame: pd.DataFrame) -> Floats:
    """p_win read quickly: the curve's end at a few moments only, the rest as published. Shape (n,)."""
    timing, horizon = model.timing, float(model.horizon_days)
    if isinstance(timing, HazardTable):
        ends = timing.curves(frame).cif_won[:, -1]
    elif "hazards" in model.stack.voices:
        ends = expit(end_of_curve(timing)(timing.encoder.transform(frame)))
    else:
        ends = np.zeros(len(frame))
    won = np.column_stack([np.zeros(len(frame)), ends])
    curves = Curves(np.array([0.0, horizon]), won, np.zeros_like(won))
    return model.calibration.apply(model.stack.combine(model.voices.said(frame, curves)))


class _Sample:
    """Held-out looks with their losses, ready to be shuffled."""

    def __init__(
        self,
        model: DealScores,
        frame: pd.DataFrame,
        won: npt.NDArray[np.bool_],
        weight: Floats,
        seed: int,
    ) -> None:
        self.model, self.frame, self.won, self.weight, self.seed = model, frame, won, weight, seed
        self.deals = frame["deal_id"].to_numpy(dtype=object)
        self.loss = log_losses(won, chance(model, frame))

    def importance(self, name: str, columns: list[str]) -> dict[str, Any]:
        """How much the log-loss rises when `columns` are dealt out at random, all together."""
        order = np.random.default_rng(self.seed).permutation(len(self.frame))
        moved = [*columns, *(["stage"] if "f_stage" in columns else [])]
        moved = [column for column in moved if column in self.frame.columns]
        dealt = self.frame[moved].take(order).reset_index(drop=True)
        shuffled = self.frame.assign(**{c: dealt[c] for c in moved})
        more = log_losses(self.won, chance(self.model, shuffled)) - self.loss
        means = clustered_means(more, self.weight, self.deals, draws=DRAWS, seed=self.seed)
        low, high = np.nanquantile(means, [0.025, 0.975])
        rise = float(np.average(more, weights=self.weight))
        return {"name": name, "increase": rise, "interval": [float(low), float(high)]}


def _size(one: dict[str, Any]) -> tuple[float, str]:
    return -one["increase"], one["name"]


def _leading(model: DealScores, frame: pd.DataFrame) -> list[str]:
    """The features with the largest contributions, on a few looks."""
    parts = model.parts(frame.iloc[:: max(len(frame) // 150, 1)]).features
    size = parts.abs().mean().sort_values(ascending=False, kind="stable")
    return [str(name) for name in size.index[:FEATURES]]


def _effects(model: DealScores, frame: pd.DataFrame, ranked: list[str]) -> list[dict[str, Any]]:
    """Of the strongest numbers and the strongest words how the chance goes with their values."""
    assert model.encoder is not None
    numbers = [name for name in ranked if name in model.encoder.numeric][:NUMBERS]
    worded = [name for name in ranked if name in model.encoder.words][:WORDED]
    told = [_of_number(model, frame, name) for name in numbers]
    told += [_of_word(model, frame, name) for name in worded]
    return [one for one in told if one["points"]]


def _of_number(model: DealScores, frame: pd.DataFrame, name: str) -> dict[str, Any]:
    """Accumulated local effects on p_win, centred on the mean deal."""
    known = frame[frame[name].notna()]
    values = known[name].to_numpy(float)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1))) if len(values) else values
    points: list[dict[str, Any]] = []
    if len(edges) > 1:
        place = np.clip(np.searchsorted(edges, values, side="left") - 1, 0, len(edges) - 2)
        low = chance(model, known.assign(**{name: edges[place]}))
        high = chance(model, known.assign(**{name: edges[place + 1]}))
        count = np.bincount(place, minlength=len(edges) - 1)
        step = np.bincount(place, high - low, minlength=len(edges) - 1) / np.maximum(count, 1)
        height = np.concatenate([[0.0], np.cumsum(step)])
        height -= np.average((height[1:] + height[:-1]) / 2, weights=count)
        rows = [int(count[0]), *(int(n) for n in count)]
        told = zip(edges, rows, height, strict=True)
        points = [{"value": float(v), "rows": n, "effect": float(h)} for v, n, h in told]
    return {"feature": name, "kind": "accumulated local effect", "points": points}


def _of_word(model: DealScores, frame: pd.DataFrame, name: str) -> dict[str, Any]:
    """The mean p_win if every look had the word, against the mean as it is; usual words only."""
    words = frame[name].dropna().astype(str).value_counts()
    usual = chance(model, frame).mean()
    points = []
    for word in sorted(words.index, key=lambda w: (-words[w], w))[:WORDS]:
        column = pd.Series([word] * len(frame), index=frame.index, dtype=object)
        moved = {name: column} | ({"stage": column} if name == "f_stage" else {})
        effect = chance(model, frame.assign(**moved)).mean() - usual
        points.append({"value": word, "rows": int(words[word]), "effect": float(effect)})
    return {"feature": name, "kind": "partial dependence", "points": points}
