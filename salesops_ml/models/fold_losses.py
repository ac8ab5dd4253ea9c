"""What a choice of settings is judged by: its losses on the deals of each past day, row by row.

The rows, their outcomes and weights are the same for every choice, so that two choices can be compared
deal by deal. The weighted mean of the losses of all folds is the pooled log-loss of `models.validation`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from salesops_ml.errors import DataError
from salesops_ml.evaluation.censoring import Floats
from salesops_ml.evaluation.deal_weights import judged_by_deal
from salesops_ml.evaluation.measure import Judged
from salesops_ml.evaluation.proper_scores import log_losses
from salesops_ml.evaluation.rolling_origins import RollingOrigins
from salesops_ml.models.training import fit_deal_scores
from salesops_ml.settings import Models, Settings
from salesops_ml.snapshots.features import VERSION, FeatureSpec


class Contest(Protocol):
    """Folds on which settings of the deal model compete.

    Attributes:
        weights: of the judged rows, an array a fold.
        deals: the deal of each judged row, an array a fold.
        digest: the same for the same folds of the same data.
    """

    @property
    def weights(self) -> Sequence[Floats]: ...
    @property
    def deals(self) -> Sequence[npt.NDArray[np.object_]]: ...
    @property
    def digest(self) -> str: ...
    def losses(self, models: Models, fold: int) -> Floats:
        """Loss of each judged row of a fold, by a model that learned with `models`."""
        ...


@dataclass(frozen=True)
class FoldLosses:
    """The contest of `deal_scores` over rolling origins; make one with `of`."""

    rolled: RollingOrigins
    spec: FeatureSpec
    settings: Settings
    judged: Judged
    weights: Sequence[Floats]
    deals: Sequence[npt.NDArray[np.object_]]
    digest: str

    @classmethod
    def of(
        cls, rolled: RollingOrigins, *, spec: FeatureSpec, settings: Settings, power: float = 1.0
    ) -> FoldLosses:
        """Weigh the judged rows of all folds together, at the day that the record supports.

        Raises:
            DataError: of no judged row of a fold it is known what became of it.
        """
        tests = [rolled.data[fold.block == "test"] for fold in rolled.folds]
        judged = judged_by_deal(pd.concat(tests), settings.models.horizon_days, power=power)
        borders = np.cumsum([len(test) for test in tests])[:-1]
        weights = np.split(judged.weight, borders)
        for fold, weight in zip(rolled.folds, weights, strict=True):
            if weight.sum() <= 0:
                raise DataError(
                    f"rolling origins: of no deal that began after {fold.origin:%Y-%m-%d} is it known"
                    f" by {rolled.until:%Y-%m-%d} what became of it; ask for fewer origins"
                )
        deals = [test["deal_id"].to_numpy(dtype=object) for test in tests]
        told = {"power": power, "settings": _learned_from(settings), "features": VERSION}
        digest = _digest(rolled, told)
        return cls(rolled, spec, settings, judged, weights, deals, digest)

    def losses(self, models: Models, fold: int) -> Floats:
        """Train at the fold's origin with `models`; the log-loss of each row that it is judged on."""
        at = self.rolled.folds[fold]
        settings = self.settings.model_copy(update={"models": models})
        data = self.rolled.data
        model = fit_deal_scores(data, at.block, at.borders, spec=self.spec, settings=settings)
        curves = model.curves(data[at.block == "test"]).at([self.judged.horizon])
        start = sum(len(weight) for weight in self.weights[:fold])
        won = self.judged.won[start : start + len(self.weights[fold])]
        return log_losses(won, curves.cif_won[:, 0])


def _learned_from(settings: Settings) -> dict[str, Any]:
    """The settings that decide what is learned; threads and places do not."""
    told = settings.model_dump(mode="json")
    return {name: told[name] for name in ("models", "seed")} | {"space": told["tuning"]["space"]}


def _digest(rolled: RollingOrigins, told: dict[str, Any]) -> str:
    """Names the data, the folds and the settings: trials of another contest are none of ours."""
    data = rolled.data.sort_values(["deal_id", "as_of"], kind="stable")
    found = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    found.update(pd.util.hash_pandas_object(data, index=False).to_numpy().tobytes())
    for fold in rolled.folds:
        block = fold.block.reindex(data.index)
        found.update(f"{fold.origin} {fold.borders}".encode())
        found.update(pd.util.hash_pandas_object(block, index=False).to_numpy().tobytes())
    return found.hexdigest()
