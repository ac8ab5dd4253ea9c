"""A tiny model of our own, kept as JSON like the real ones."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd


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
