"""A tiny model of our own, kept as JSON like the real ones."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from salesops_ml import registry
from salesops_ml.settings import Settings


@dataclass(frozen=True)
class TinyModel:
    """Adds a constant to the age of a deal."""

    shift: float

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"p_win": frame["f_age"].astype(float) + self.shift})

    @classmethod
    def load(cls, folder: Path) -> TinyModel:
        return cls(json.loads((folder / "model.json").read_text())["shift"])


LOADERS = {"deal_scores": TinyModel.load, "revenue_forecast": TinyModel.load}
EXAMPLE = pd.DataFrame(
    {
        "f_age": [1, 2],
        "f_size": pd.Categorical(["small", None]),
        "as_of": pd.to_datetime(["2026-01-01"] * 2),
    }
)


def registered(settings: Settings, folder: Path, shift: float) -> int:
    """Train, log and register one more version; returns its number."""
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps({"shift": shift}))
    predicted = TinyModel(shift).predict(EXAMPLE)
    with registry.run(settings, name="train") as run:
        logged = registry.log_deal_model(run, folder, example=EXAMPLE, predicted=predicted)
    return registry.register(settings, logged)
