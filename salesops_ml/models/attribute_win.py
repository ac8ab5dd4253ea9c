"""The chance of winning from what is known of a deal on its first day, where there is no history.

Four voices speak: boosted trees, trees that also see pairs of words (this rep with this product),
trees of random splits, and a logistic regression. Each is weighed by how right it was on deals that
it had not seen; a prior holds the weights at the plain average until the deals say otherwise, and
where attributes tell nothing the weights vanish and the company's own rate remains.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit

from salesops_ml.errors import ModelError
from salesops_ml.evaluation.censoring import Floats
from salesops_ml.evaluation.proper_scores import Flags, logit
from salesops_ml.models.attribute_table import AttributeTable, Sheet
from salesops_ml.models.attribute_trees import TEMPERS, Design, Grown, grow, has_pairs, raw
from salesops_ml.models.boosting import load_text
from salesops_ml.models.inner_folds import Places, both_sides, inner_folds
from salesops_ml.models.side_by_side import threads_now
from salesops_ml.models.spline_logistic import SplineLogistic
from salesops_ml.models.target_statistics import TargetStatistic
from salesops_ml.settings import Models

FORMAT = 1
FOLDS = 5
FOLDS_OF_FEW = 10
FEW_ROWS = 5_000
"""Few rows are folded finer: each set of trees then sees nearly all of them."""
INNER_FOLDS = 10
LEAST_PER_SIDE = 5
"""Won and lost deals, each, below which the score is the company's rate."""
PRIOR_SHIFT, PRIOR_SPREAD = 0.1, 0.3
"""Prior standard deviations of the intercept, and of each weight around the plain average."""
SILENT = 0.02
"""A weight up to this is none: the voice is left out."""
LINEAR = "logistic"
FILE = "attribute_win.json"

Keys = npt.NDArray[np.generic]


@dataclass(frozen=True)
class AttributeWin:
    """p = sigmoid(intercept + sum of weight x log-odds of each voice).

    Attributes:
        table: the frame's columns and vocabularies.
        weights: of the voices that are heard.
        intercept: shift of the log-odds; the whole score where no voice is heard.
        designs: from words to numbers, one per inner fold.
        trees: boosters of each tree voice, one per inner fold.
        logistic: the linear voice; None where silent.

    Example:
        >>> frame = pd.DataFrame({"f_rep": ["ann", "bob"] * 30, "f_amount": np.arange(60.0)})
        >>> won = frame["f_rep"].eq("ann").to_numpy()
        >>> model = AttributeWin.fit(
        ...     frame, won, np.ones(60), models=Models(), seed=1, threads=1
        ... )
        >>> (model.predict(frame) > 0.5).tolist() == won.tolist()
        True
    """

    table: AttributeTable
    weights: dict[str, float]
    intercept: float
    designs: tuple[Design, ...] = ()
    trees: dict[str, tuple[Any, ...]] | None = None
    logistic: SplineLogistic | None = None
    threads: int = 1

    @classmethod
    def fit(
        cls,
        frame: pd.DataFrame,
        target: Flags,
        weight: Floats,
        *,
        models: Models,
        seed: int,
        threads: int,
        groups: Keys | None = None,
        order: Keys | None = None,
    ) -> AttributeWin:
        """Learn from the rows of positive weight; the same model for any order of the rows.

        Args:
            frame: features `f_*`: numbers, or words (object, string or category), or nothing.
            target: won, shape (n,).
            weight: at least 0, for instance censoring weights. Shape (n,).
            models: gives the most rows that are learned from (`max_classifier_rows`).
            groups: given where scored deals will be of other groups (accounts) than these.
            order: rank in time, given where scored deals will be later than these.

        Raises:
            ModelError: no row has positive weight, or lengths differ.
        """
        rows = _counted(frame, target, weight)
        table = AttributeTable.fit(frame.iloc[rows])
        sheet, keys = _sheet(
            table, frame.iloc[rows], target[rows], weight[rows], _taken(groups, order, rows)
        )
        if len(sheet.target) > models.max_classifier_rows:
            rng = np.random.default_rng(seed)
            some = np.sort(rng.choice(len(sheet.target), models.max_classifier_rows, replace=False))
            sheet, keys = sheet.part(some), _taken(*keys, some)
        sides = min(int(sheet.target.sum()), int((~sheet.target).sum()))
        if sides < LEAST_PER_SIDE or not table.names:
            return cls(table, {}, _rate(sheet), threads=threads)
        return _learn(table, sheet, keys, seed=seed, threads=threads)

    def predict(self, frame: pd.DataFrame) -> Floats:
        """Probability of winning, shape (n,)."""
        return np.asarray(expit(self.log_odds(frame)))

    def log_odds(self, frame: pd.DataFrame) -> Floats:
        """Log-odds of winning, shape (n,)."""
        score = np.full(len(frame), self.intercept)
        if len(frame) == 0 or not self.weights:
            return score
        numbers, codes = self.table.numbers(frame), self.table.codes(frame)
        if self.logistic is not None:
            score += self.weights[LINEAR] * self.logistic.log_odds(numbers, codes)
        for k, design in enumerate(self.designs):
            matrix = design.matrix(numbers, codes)
            for name, boosters in (self.trees or {}).items():
                score += self.weights[name] / len(boosters) * raw(boosters[k], matrix, self.threads)
        return score

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Each feature's part of the log-odds, and `base`; rows sum to the log-odds of `predict`.

        Trees give their exact Shapley values (Lundberg et al. 2020), with half of a pair's value
        for each of its words; linear terms count from the mean of a number, and from no word.
        """
        names = self.table.names
        parts = np.zeros((len(frame), len(names) + 1))
        parts[:, -1] = self.intercept
        if len(frame) and self.weights:
            numbers, codes = self.table.numbers(frame), self.table.codes(frame)
            if self.logistic is not None:
                parts[:, :-1] += self.weights[LINEAR] * self.logistic.parts(numbers, codes)
                parts[:, -1] += self.weights[LINEAR] * self.logistic.intercept
            for k, design in enumerate(self.designs):
                matrix, spread = design.matrix(numbers, codes), _spread(design, self.table)
                for name, boosters in (self.trees or {}).items():
                    share = self.weights[name] / len(boosters)
                    parts += share * _shapley(boosters[k], matrix, spread, self.threads)
        return pd.DataFrame(parts, columns=[*names, "base"], index=frame.index)

    def save(self, folder: Path) -> None:
        """LightGBM text and JSON; nothing that runs on loading."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, boosters in (self.trees or {}).items():
            for k, booster in enumerate(boosters):
                _tree_file(folder, name, k).write_text(booster.model_to_string())
        content = {
            "format": FORMAT,
            "table": self.table.to_dict(),
            "weights": self.weights,
            "intercept": self.intercept,
            "designs": [
                {"worded": list(d.worded), "statistics": [s.to_dict() for s in d.statistics]}
                for d in self.designs
            ],
            "trees": {name: len(boosters) for name, boosters in (self.trees or {}).items()},
            "logistic": self.logistic.to_dict() if self.logistic else None,
        }
        (folder / FILE).write_text(json.dumps(content, sort_keys=True, allow_nan=False))

    @classmethod
    def load(cls, folder: Path, *, threads: int = 1) -> AttributeWin:
        """The model that `save` wrote.

        Raises:
            ModelError: the folder holds no model of this format.
        """
        path = Path(folder) / FILE
        try:
            content = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise ModelError(f"{path}: no attribute model can be read here: {error}") from error
        if content.get("format") != FORMAT:
            raise ModelError(f"{path}: format {content.get('format')}, this version reads {FORMAT}")
        trees = {
            name: tuple(load_text(_tree_file(path.parent, name, k).read_text()) for k in range(n))
            for name, n in content["trees"].items()
        }
        return cls(
            table=AttributeTable.from_dict(content["table"]),
            weights=content["weights"],
            intercept=content["intercept"],
            designs=tuple(_design(values) for values in content["designs"]),
            trees=trees,
            logistic=SplineLogistic.from_dict(content["logistic"]) if content["logistic"] else None,
            threads=threads,
        )


def _learn(
    table: AttributeTable,
    sheet: Sheet,
    keys: tuple[Keys | None, Keys | None],
    *,
    seed: int,
    threads: int,
) -> AttributeWin:
    """Fit every voice on the inner folds, weigh them, and keep those that are heard."""
    groups, order = keys
    fold = _outer_folds(sheet.target, groups, order, seed)
    designs, matrices = _designs(sheet, fold, groups, seed)
    tempers = {n: t for n, t in TEMPERS.items() if not t.pairs or has_pairs(designs)}
    grown: dict[str, Grown] = {
        name: grow(temper, sheet, fold, designs, matrices, seed=seed, threads=threads)
        for name, temper in tempers.items()
    }
    logistic, held_out = SplineLogistic.fit(sheet, fold, seed=seed)
    said = {name: one.held_out for name, one in grown.items()} | {LINEAR: held_out}
    siblings = 1.0 if groups is None else len(np.unique(groups)) / len(groups)
    evidence = siblings * sheet.weight.sum() ** 2 / (sheet.weight @ sheet.weight)
    intercept, weights = _weigh(said, sheet.target, sheet.weight, evidence)
    trees = {name: one.boosters for name, one in grown.items() if name in weights}
    return AttributeWin(
        table=table,
        weights=weights,
        intercept=intercept,
        designs=tuple(designs) if trees else (),
        trees=trees,
        logistic=logistic if LINEAR in weights else None,
        threads=threads,
    )


def _outer_folds(target: Flags, groups: Keys | None, order: Keys | None, seed: int) -> Places:
    """Folds that mirror use; at random where blocks of time or a few groups hold one side."""
    folds = FOLDS_OF_FEW if len(target) <= FEW_ROWS else FOLDS
    folds = min(folds, int(target.sum()), int((~target).sum()))
    for chosen in ((groups, order), (groups, None), (None, None)):
        fold = inner_folds(target, folds=folds, seed=seed, groups=chosen[0], order=chosen[1])
        if len(np.unique(fold)) == folds and both_sides(target, fold):
            break
    return fold


def _designs(
    sheet: Sheet, fold: Places, groups: Keys | None, seed: int
) -> tuple[list[Design], list[tuple[Floats, Floats]]]:
    """For each fold: the design learned without it, and the matrices of both sides."""
    designs, matrices = [], []
    for k in range(int(fold.max()) + 1):
        near, far = sheet.part(fold != k), sheet.part(fold == k)
        inner = inner_folds(
            near.target,
            folds=INNER_FOLDS,
            seed=seed + 101 + k,
            groups=None if groups is None else groups[fold != k],
        )
        design, learned = Design.learn(near, inner)
        designs.append(design)
        matrices.append((learned, design.matrix(far.numbers, far.codes)))
    return designs, matrices


def _weigh(
    said: dict[str, Floats], target: Flags, weight: Floats, evidence: float
) -> tuple[float, dict[str, float]]:
    """Intercept, and weights of at least 0, by penalised likelihood on held-out log-odds.

    The silent are left out and the others weighed once more.
    """
    scores = np.column_stack([*said.values()])
    center = np.array([0.0, *([1 / len(said)] * len(said))])
    spread = np.array([PRIOR_SHIFT, *([PRIOR_SPREAD] * len(said))])
    share = weight / weight.sum()

    def loss(beta: Floats) -> tuple[float, Floats]:
        z = beta[0] + scores @ beta[1:]
        gap = share * (expit(z) - target)
        away = (beta - center) / spread**2
        value = evidence * float(share @ (np.logaddexp(0, z) - target * z))
        value += float((beta - center) @ away) / 2
        return value, evidence * np.concatenate([[gap.sum()], gap @ scores]) + away

    bounds = [(None, None), *([(0.0, None)] * len(said))]
    found = minimize(loss, center, jac=True, method="L-BFGS-B", bounds=bounds).x
    heard = {name: float(b) for name, b in zip(said, found[1:], strict=True) if b > SILENT}
    if heard and len(heard) < len(said):
        return _weigh({name: said[name] for name in heard}, target, weight, evidence)
    return float(found[0]), heard


def _counted(frame: pd.DataFrame, target: Flags, weight: Floats) -> Places:
    if not len(frame) == len(target) == len(weight):
        raise ModelError(
            f"`frame` has {len(frame)} rows, `target` {len(target)}, `weight` {len(weight)};"
            " give one of each per deal"
        )
    rows = np.flatnonzero(weight > 0)
    if len(rows) == 0:
        raise ModelError("no deal has a positive `weight`: none is closed yet; give more history")
    return rows


def _taken(
    groups: Keys | None, order: Keys | None, rows: Places
) -> tuple[Keys | None, Keys | None]:
    return (
        None if groups is None else groups[rows],
        None if order is None else order[rows],
    )


def _sheet(
    table: AttributeTable,
    frame: pd.DataFrame,
    target: Flags,
    weight: Floats,
    keys: tuple[Keys | None, Keys | None],
) -> tuple[Sheet, tuple[Keys | None, Keys | None]]:
    """Rows in an order that depends on their content alone, so that files may come shuffled."""
    numbers, codes = table.numbers(frame), table.codes(frame)
    coded = tuple(None if k is None else np.unique(k, return_inverse=True)[1] for k in keys)
    columns = [*numbers.T, *codes.T, target, weight, *(k for k in coded if k is not None)]
    line = np.lexsort(columns)
    sheet = Sheet(numbers, codes, table.sizes, target, weight / weight.mean()).part(line)
    return sheet, _taken(coded[0], coded[1], line)


def _rate(sheet: Sheet) -> float:
    """Log-odds of the company's rate, half a deal won and half a deal lost added."""
    won = float(sheet.weight @ sheet.target)
    rate = (won + 0.5) / (float(sheet.weight.sum()) + 1)
    return float(logit(np.array([rate]))[0])


def _spread(design: Design, table: AttributeTable) -> Floats:
    """How matrix columns fall to features. Shape (columns, features)."""
    owners = design.owners(len(table.numeric))
    spread = np.zeros((len(owners), len(table.names)))
    for j, owner in enumerate(owners):
        spread[j, list(owner)] = 1 / len(owner)
    return spread


def _shapley(booster: Any, matrix: Floats, spread: Floats, threads: int) -> Floats:
    width = booster.num_feature()
    held = np.ascontiguousarray(matrix[:, :width])
    values = booster.predict(held, pred_contrib=True, num_threads=threads_now(threads))
    return np.column_stack([values[:, :-1] @ spread[:width], values[:, -1]])


def _design(values: dict[str, Any]) -> Design:
    statistics = tuple(TargetStatistic.from_dict(one) for one in values["statistics"])
    return Design(tuple(values["worded"]), statistics)


def _tree_file(folder: Path, name: str, fold: int) -> Path:
    return folder / f"attribute_win_{name.replace(' ', '_')}_{fold}.txt"
