"""What each rep, account or product has won so far, as a number that trees can split on.

The share won by a word, or by a pair of words, is drawn towards the company's share as if some more
deals of average luck had been seen (Micci-Barreca 2001). A training deal is never told its own
outcome: its share comes from the other inner folds (as in CatBoost's ordered statistics,
Prokhorenkova et al. 2018, but without their noisy first rows).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from salesops_ml.evaluation.censoring import Floats
from salesops_ml.evaluation.proper_scores import Flags, log_loss
from salesops_ml.models.attribute_table import RARE, Codes
from salesops_ml.models.inner_folds import Places

WORD_PRIORS = (1.0, 10.0)
PAIR_PRIORS = (10.0,)
"""Deals of average luck that a share is drawn towards the company's by; one column each."""
LEAST_ROWS = 2
"""Rows below which a word or pair counts as never seen."""
MOST_PAIRS = 12
MOST_PAIRED_WORDS = 14
"""Worded features that may form pairs, and pairs that are kept."""


@dataclass(frozen=True)
class TargetStatistic:
    """Won and all weight by code of one worded feature, or of a pair of them.

    Attributes:
        key: place of the feature, or of both.
        width: number of codes of the second feature of a pair; 0 where there is one feature.
        seen: codes, ascending. Shape (k,).
        won, weight: sums over the training rows of each code. Shape (k,).
        mean: share won over all.
    """

    key: tuple[int, ...]
    width: int
    seen: Codes
    won: Floats
    weight: Floats
    mean: float

    @classmethod
    def learn(
        cls,
        key: tuple[int, ...],
        sizes: tuple[int, ...],
        codes: Codes,
        target: Flags,
        weight: Floats,
        inner: Places,
    ) -> tuple[TargetStatistic, Floats]:
        """The statistic, and its columns for the training rows from the other inner folds."""
        width = sizes[key[1]] if len(key) > 1 else 0
        joint = _joint(key, width, codes)
        seen, place = np.unique(joint, return_inverse=True)
        folds, k = int(inner.max()) + 1, len(seen)
        cell = inner * k + place
        sums = [
            np.bincount(cell, values, minlength=folds * k).reshape(folds, k)
            for values in (weight * target, weight, np.ones(len(place)))
        ]
        won, total, rows = (part.sum(axis=0) for part in sums)
        other_won, other_total, other_rows = (
            (part.sum(axis=0) - part)[inner, place] for part in sums
        )
        mean_won, mean_total = (part.sum() - part.sum(axis=1) for part in sums[:2])
        mean = (mean_won / np.maximum(mean_total, 1e-12))[inner]
        told = _told(key, codes)
        known = (other_rows >= LEAST_ROWS) & told
        columns = _columns(other_won * known, other_total * known, mean, key)
        kept = (rows >= LEAST_ROWS) & np.isin(seen, np.unique(joint[told]))
        share = float(won.sum() / total.sum())
        return cls(key, width, seen[kept], won[kept], total[kept], share), columns

    def columns(self, codes: Codes) -> Floats:
        """Shares won, one column per prior."""
        joint = _joint(self.key, self.width, codes)
        won, weight = np.zeros(len(joint)), np.zeros(len(joint))
        if len(self.seen):
            place = np.minimum(np.searchsorted(self.seen, joint), len(self.seen) - 1)
            known = self.seen[place] == joint
            won, weight = self.won[place] * known, self.weight[place] * known
        return _columns(won, weight, np.full(len(joint), self.mean), self.key)

    @property
    def width_in_columns(self) -> int:
        """How many columns it gives."""
        return len(WORD_PRIORS if len(self.key) == 1 else PAIR_PRIORS)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        lists = {name: getattr(self, name).tolist() for name in ("seen", "won", "weight")}
        return {"key": list(self.key), "width": self.width, "mean": self.mean, **lists}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TargetStatistic:
        """The statistic that `to_dict` described."""
        return cls(
            tuple(values["key"]),
            values["width"],
            np.array(values["seen"], dtype=np.int64),
            np.array(values["won"], dtype=float),
            np.array(values["weight"], dtype=float),
            values["mean"],
        )


def learn_all(
    sizes: tuple[int, ...], codes: Codes, target: Flags, weight: Floats, inner: Places
) -> tuple[list[TargetStatistic], list[Floats]]:
    """Statistics of every worded feature of more than two codes, then of the pairs that tell most.

    Returns the statistics and, for each, its columns for the training rows.
    """
    found: dict[tuple[int, ...], tuple[TargetStatistic, Floats]] = {}
    singles: list[tuple[int, ...]] = [
        (j,) for j in range(len(sizes)) if len(np.unique(codes[:, j])) > 2
    ]
    for key in singles:
        found[key] = TargetStatistic.learn(key, sizes, codes, target, weight, inner)
    loss = {key[0]: log_loss(target, found[key][1][:, -1], weight) for key in singles}
    paired = sorted(loss, key=lambda j: (loss[j], j))[:MOST_PAIRED_WORDS]
    gains: dict[tuple[int, ...], float] = {}
    for i, j in combinations(sorted(paired), 2):
        learned = TargetStatistic.learn((i, j), sizes, codes, target, weight, inner)
        gains[i, j] = min(loss[i], loss[j]) - log_loss(target, learned[1][:, 0], weight)
        found[i, j] = learned
    pairs = sorted(gains, key=lambda key: (-gains[key], key))[:MOST_PAIRS]
    kept = [*singles, *pairs]
    return [found[key][0] for key in kept], [found[key][1] for key in kept]


def _joint(key: tuple[int, ...], width: int, codes: Codes) -> Codes:
    first = codes[:, key[0]]
    return first if len(key) == 1 else first * width + codes[:, key[1]]


def _told(key: tuple[int, ...], codes: Codes) -> Flags:
    """Rows whose words are known: what came once before says nothing of what is new tonight."""
    return np.asarray((codes[:, list(key)] != RARE).all(axis=1))


def _columns(won: Floats, weight: Floats, mean: Floats, key: tuple[int, ...]) -> Floats:
    priors = WORD_PRIORS if len(key) == 1 else PAIR_PRIORS
    shares = [(won + prior * mean) / (weight + prior) for prior in priors]
    return np.column_stack(shares)
