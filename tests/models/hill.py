"""A contest whose best settings are known: losses rise with the distance from them, deal by deal."""

from __future__ import annotations

import math
import os
import sys
import time
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from salesops_ml.evaluation.censoring import Floats
from salesops_ml.models.tuning import tune
from salesops_ml.settings import Models, Settings, parse

FOLDS, DEALS = 3, 40
BEST = {"learning_rate": 0.05, "leaves": 20}


@dataclass
class Hill:
    """Three folds of forty deals; `pause` seconds a fold, and a count of what was asked."""

    digest: str = "hill"
    pause: float = 0.0
    asked: list[int] = field(default_factory=list)

    @cached_property
    def weights(self) -> list[Floats]:
        rng = np.random.default_rng(1)
        return [rng.uniform(0.5, 1.5, DEALS) for _ in range(FOLDS)]

    @cached_property
    def deals(self) -> list[npt.NDArray[np.object_]]:
        names = [[f"{fold}-{deal}" for deal in range(DEALS)] for fold in range(FOLDS)]
        return [np.array(row, dtype=object) for row in names]

    def losses(self, models: Models, fold: int) -> Floats:
        self.asked.append(fold)
        time.sleep(self.pause)
        rng = np.random.default_rng(fold)
        far = math.log(models.learning_rate / BEST["learning_rate"]) ** 2
        far += math.log(models.leaves / BEST["leaves"]) ** 2
        return 0.5 + rng.normal(0, 0.05, DEALS) + far * rng.uniform(0.05, 0.15, DEALS)


def hill_settings(url: str, *, seed: int = 7, heartbeat: int = 30) -> Settings:
    space = {
        "learning_rate": {"low": 0.01, "high": 0.5, "log": True},
        "leaves": {"low": 4, "high": 100, "log": True},
    }
    tuning = {"storage": url, "space": space, "heartbeat_seconds": heartbeat}
    return parse({"seed": seed, "models": {"learning_rate": 0.3, "leaves": 80}, "tuning": tuning})


if __name__ == "__main__":
    trials, pause, heartbeat = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    found = hill_settings(os.environ["HILL_STORAGE"], heartbeat=heartbeat)
    tune(Hill(pause=pause), found, trials=trials)
