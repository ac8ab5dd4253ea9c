"""LightGBM as this package uses it: reproducible bit for bit, saved as text."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from salesops_ml.errors import ModelError
from salesops_ml.evaluation.censoring import Floats
from salesops_ml.models.side_by_side import threads_now
from salesops_ml.settings import Models

PATIENCE = 30
"""Trees without gain on the watched rows before growing stops."""


@dataclass(frozen=True)
class Rows:
    """A design matrix with its targets (0 or 1) and weights."""

    matrix: Floats
    target: Floats
    weight: Floats


@dataclass(frozen=True)
class Columns:
    """Names of the matrix's columns, and the places of those that hold codes."""

    names: tuple[str, ...]
    worded: tuple[int, ...]


def fit_booster(
    rows: Rows,
    columns: Columns,
    *,
    models: Models,
    seed: int,
    threads: int,
    trees: int | None = None,
    watch: Rows | None = None,
    classes: int = 2,
    objective: str = "binary",
) -> Any:
    """A boosted classifier on logistic loss; a LightGBM `Booster`.

    Row-wise histograms and `deterministic` make one thread and two agree.

    Args:
        trees: how many; `models.trees` where None.
        watch: later rows on which growing stops when they no longer gain.
        classes: more than two ask for a softmax over them.
        objective: LightGBM's name of the loss.
    """
    lightgbm = import_lightgbm()
    params = parameters(models, seed=seed, threads=threads)
    params["objective"] = objective
    if classes > 2:
        params |= {"objective": "multiclass", "num_class": classes}
    data = _dataset(rows, columns, params)
    watched: dict[str, Any] = {}
    if watch is not None:
        watched["valid_sets"] = [data.create_valid(watch.matrix, watch.target, watch.weight)]
        watched["callbacks"] = [lightgbm.early_stopping(PATIENCE, verbose=False)]
    return lightgbm.train(params, data, num_boost_round=trees or models.trees, **watched)


def trees_of(booster: Any) -> int:
    """How many trees the booster predicts with."""
    return int(booster.best_iteration if booster.best_iteration > 0 else booster.num_trees())


def parameters(models: Models, *, seed: int, threads: int) -> dict[str, Any]:
    """LightGBM's parameters for every booster of this package."""
    return {
        "objective": "binary",
        "learning_rate": models.learning_rate,
        "num_leaves": models.leaves,
        "min_data_in_leaf": models.min_rows_per_leaf,
        "lambda_l2": 5.0,
        "cat_smooth": 20.0,
        "cat_l2": 20.0,
        "max_cat_threshold": 16,
        "feature_fraction": 0.5,
        "feature_fraction_bynode": 0.5,
        "path_smooth": 10.0,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "max_bin": 63,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads_now(threads),
        "seed": seed,
        "verbosity": -1,
    }


def _dataset(rows: Rows, columns: Columns, params: dict[str, Any]) -> Any:
    return import_lightgbm().Dataset(
        rows.matrix,
        rows.target,
        weight=rows.weight,
        feature_name=list(columns.names),
        categorical_feature=list(columns.worded),
        params=params,
        free_raw_data=True,
    )


def load_text(text: str) -> Any:
    """A booster from the text that `model_to_string` gave."""
    return import_lightgbm().Booster(model_str=text)


def predict(booster: Any, matrix: Floats, *, threads: int) -> Floats:
    """Probabilities, shape (n,)."""
    if len(matrix) == 0:
        return np.empty(0)
    told = booster.predict(matrix, num_threads=threads_now(threads))
    return np.asarray(told, dtype=np.float64)


def import_lightgbm() -> Any:
    """LightGBM, or a sentence about the system library that it needs.

    Raises:
        ModelError: `libgomp1` is absent.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads starve a busy machine
    try:
        import lightgbm
    except OSError as error:
        raise ModelError(
            f"LightGBM cannot start ({error}); install the OpenMP runtime: apt-get install libgomp1"
        ) from error
    return lightgbm
