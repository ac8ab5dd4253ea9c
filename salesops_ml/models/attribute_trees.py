"""Boosted trees on attributes: one set per inner fold, each stopped by the deals it did not see.

A single set of trees, grown on all rows to a guessed number, is the weak point of boosting on small
tables. Here every fold's trees are kept and their log-odds averaged (bagging, Breiman 1996); their
common number is where the held-out loss of all folds together is least.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from salesops_ml.evaluation.censoring import Floats
from salesops_ml.evaluation.proper_scores import Flags
from salesops_ml.models.attribute_table import RARE, Codes, Sheet
from salesops_ml.models.boosting import import_lightgbm, load_text
from salesops_ml.models.inner_folds import Places
from salesops_ml.models.side_by_side import threads_now
from salesops_ml.models.target_statistics import TargetStatistic, learn_all

MOST_TREES = 1_000
PATIENCE = 30
FEW_WORDS = 250
"""Worded features of up to this many codes are split as sets of words too."""


@dataclass(frozen=True)
class Temper:
    """How one kind of trees grows; `pairs` lets it see pairs of words."""

    pairs: bool = False
    extra: bool = False
    columns: float = 0.6


TEMPERS = {
    "trees": Temper(),
    "pairs": Temper(pairs=True, columns=0.5),
    "random splits": Temper(extra=True),
}


@dataclass(frozen=True)
class Design:
    """From numbers and codes to the matrix of one fold; pairs stand last.

    Attributes:
        worded: places of the few-worded features, whose codes are columns.
        statistics: of single words, then of pairs.
    """

    worded: tuple[int, ...]
    statistics: tuple[TargetStatistic, ...]

    @classmethod
    def learn(cls, rows: Sheet, inner: Places) -> tuple[Design, Floats]:
        """The design, and the matrix of the training rows themselves, told by other inner folds."""
        worded = tuple(j for j, size in enumerate(rows.sizes) if size <= FEW_WORDS)
        found, columns = learn_all(rows.sizes, rows.codes, rows.target, rows.weight, inner)
        design = cls(worded, tuple(found))
        return design, design._joined(rows.numbers, rows.codes, columns)

    def matrix(self, numbers: Floats, codes: Codes) -> Floats:
        """The matrix of rows not learned from."""
        columns = [statistic.columns(codes) for statistic in self.statistics]
        return self._joined(numbers, codes, columns)

    def owners(self, numeric: int) -> list[tuple[int, ...]]:
        """For each column of the matrix, the places of the features that it speaks of."""
        found: list[tuple[int, ...]] = [(j,) for j in range(numeric)]
        found += [(numeric + j,) for j in self.worded]
        for statistic in self.statistics:
            owner = tuple(numeric + j for j in statistic.key)
            found += [owner] * statistic.width_in_columns
        return found

    def _joined(self, numbers: Floats, codes: Codes, columns: list[Floats]) -> Floats:
        words = codes[:, list(self.worded)].astype(float)
        words[words == RARE] = np.nan
        return np.concatenate([numbers, words, *columns], axis=1)


@dataclass(frozen=True)
class Grown:
    """The trees of one temper, one booster per fold, and what they said of held-out rows.

    Attributes:
        boosters: cut at the common number of trees.
        held_out: log-odds of each training row by the booster that did not see it.
    """

    boosters: tuple[Any, ...]
    held_out: Floats


def grow(
    temper: Temper,
    sheet: Sheet,
    fold: Places,
    designs: list[Design],
    matrices: list[tuple[Floats, Floats]],
    *,
    seed: int,
    threads: int,
) -> Grown:
    """Grow one booster per fold and cut all at their common best number of trees.

    Args:
        designs: of each fold.
        matrices: of each fold, for the rows learned from and for those held out.
    """
    grown, curves = [], []
    for k, (design, (near, far)) in enumerate(zip(designs, matrices, strict=True)):
        seen, unseen = fold != k, fold == k
        width = columns_for(temper, design, near.shape[1])
        booster, curve = _grow_one(
            temper,
            (near[:, :width], sheet.target[seen], sheet.weight[seen]),
            (far[:, :width], sheet.target[unseen], sheet.weight[unseen]),
            _worded_columns(sheet, design),
            seed=seed + k,
            threads=threads,
        )
        grown.append(booster)
        curves.append(curve * sheet.weight[unseen].sum())
    longest = max(len(curve) for curve in curves)
    total = np.sum([np.pad(c, (0, longest - len(c)), mode="edge") for c in curves], axis=0)
    trees = int(np.argmin(total)) + 1
    boosters = tuple(
        load_text(booster.model_to_string(num_iteration=min(trees, len(curve))))
        for booster, curve in zip(grown, curves, strict=True)
    )
    held_out = np.empty(len(sheet.target))
    for k, booster in enumerate(boosters):
        far = matrices[k][1]
        held_out[fold == k] = raw(booster, far, threads)
    return Grown(boosters, held_out)


def raw(booster: Any, matrix: Floats, threads: int) -> Floats:
    """Log-odds by one booster; it reads the first columns of the matrix, as many as it knows."""
    if len(matrix) == 0:
        return np.empty(0)
    held = np.ascontiguousarray(matrix[:, : booster.num_feature()])
    told = booster.predict(held, raw_score=True, num_threads=threads_now(threads))
    return np.asarray(told, dtype=float)


def columns_for(temper: Temper, design: Design, width: int) -> int:
    """How many of the matrix's first columns the temper reads: all, or those before the pairs."""
    pairs = [s for s in design.statistics if len(s.key) > 1]
    return width if temper.pairs else width - sum(s.width_in_columns for s in pairs)


def has_pairs(designs: list[Design]) -> bool:
    """True where some fold found pairs of words."""
    return any(len(s.key) > 1 for design in designs for s in design.statistics)


def _grow_one(
    temper: Temper,
    near: tuple[Floats, Flags, Floats],
    far: tuple[Floats, Flags, Floats],
    worded: list[int],
    *,
    seed: int,
    threads: int,
) -> tuple[Any, Floats]:
    lightgbm = import_lightgbm()
    params = _parameters(temper, len(near[1]), seed=seed, threads=threads)
    data = lightgbm.Dataset(
        np.ascontiguousarray(near[0]),
        near[1].astype(float),
        weight=near[2],
        categorical_feature=worded,
        params=params,
    )
    watched = data.create_valid(np.ascontiguousarray(far[0]), far[1].astype(float), weight=far[2])
    record: dict[str, Any] = {}
    booster = lightgbm.train(
        params,
        data,
        num_boost_round=MOST_TREES,
        valid_sets=[watched],
        callbacks=[
            lightgbm.record_evaluation(record),
            lightgbm.early_stopping(PATIENCE, verbose=False),
        ],
    )
    return booster, np.array(record["valid_0"]["binary_logloss"])


def _parameters(temper: Temper, rows: int, *, seed: int, threads: int) -> dict[str, Any]:
    """Small slow trees for few rows, larger and faster ones for many."""
    many = rows > 6_000
    rate = float(np.clip(0.04 * (rows / 4_000) ** 0.5, 0.04, 0.12))
    return {
        "objective": "binary",
        "learning_rate": 1.5 * rate if temper.extra else rate,
        "num_leaves": 16 if many else 8,
        "min_data_in_leaf": 5 if many or temper.extra else 3,
        "min_data_in_bin": 3,
        "extra_trees": temper.extra,
        "lambda_l2": 5.0,
        "cat_smooth": 20.0,
        "cat_l2": 20.0,
        "max_cat_threshold": 16,
        "feature_fraction": temper.columns,
        "bagging_fraction": 0.9,
        "bagging_freq": 1,
        "max_bin": 255,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads_now(threads),
        "seed": seed,
        "verbosity": -1,
    }


def _worded_columns(sheet: Sheet, design: Design) -> list[int]:
    start = sheet.numbers.shape[1]
    return list(range(start, start + len(design.worded)))
