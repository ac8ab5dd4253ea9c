"""What the model remembers of its deals: the typical deal, won deals, and how far it saw.

The typical deal is where reasons start from; what won deals looked like gives them their measure; and a
deal unlike all of them deserves a word of caution beside its score.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from salesops_ml.evaluation.censoring import Floats
from salesops_ml.models.encoding import Encoder

UNSEEN_STAGE = "stage never seen in training"
NO_SIGNAL = "no signal beyond the base rate: every deal gets the same chance"
FAR = 0.999
"""Share of the training looks that a deal must exceed to count as unlike all of them."""
MOSTLY = 0.5
LEAST_WON = 20
"""Won deals of a stage, below which the won deals of all stages are its measure."""
EVERYWHERE = ""


@dataclass(frozen=True)
class KnownDeals:
    """A memory of the training looks, small enough for JSON.

    Attributes:
        typical: feature -> median number or most frequent word; None where usually not known.
        won: stage (or "" for all) -> feature -> median of the looks of won deals there.
        stages: every stage among the training looks; empty where there are none.
        oldest: age in days that one look in a thousand exceeded; None where ages are not known.
        emptiest: share of features not known that one look in a thousand exceeded.
    """

    typical: dict[str, Any] = field(default_factory=dict)
    won: dict[str, dict[str, float]] = field(default_factory=dict)
    stages: tuple[str, ...] = ()
    oldest: float | None = None
    emptiest: float | None = None

    @classmethod
    def fit(
        cls, learn: pd.DataFrame, won: npt.NDArray[np.bool_], encoder: Encoder | None
    ) -> KnownDeals:
        """Look over the training looks.

        Args:
            learn: the looks.
            won: which of them are of deals known as won.
            encoder: the features that the model reads; None where a table is the model.
        """
        numeric = encoder.numeric if encoder else ()
        names = encoder.names if encoder else ()
        typical = {name: _usual(learn[name], name in numeric) for name in names}
        ages = learn["f_age_days"] if "f_age_days" in learn.columns else pd.Series(dtype=float)
        staged = "stage" in learn.columns
        stages = set(learn["stage"].dropna().astype(str)) if staged else set()
        empty = learn[list(names)].isna().mean(axis=1) if names else pd.Series(dtype=float)
        return cls(
            typical,
            _of_won(learn[won], list(numeric)),
            tuple(sorted(stages)),
            float(ages.quantile(FAR)) if ages.notna().any() else None,
            float(empty.quantile(FAR)) if len(empty) else None,
        )

    def typical_row(self, encoder: Encoder) -> Floats:
        """The typical deal as `encoder` sees it, shape (features,); all unknown where not stored."""
        row = pd.DataFrame({name: [self.typical.get(name)] for name in encoder.names})
        row = row.astype(dict.fromkeys(encoder.numeric, float))
        return np.asarray(encoder.transform(row)[0])

    def of_won(self, stage: Any) -> dict[str, float]:
        """What won deals looked like in `stage`; overall where too few came by."""
        return self.won.get(str(stage)) or self.won.get(EVERYWHERE, {})

    def cautions(self, frame: pd.DataFrame, encoder: Encoder | None) -> list[list[str]]:
        """For each row why its score should not be acted on; mostly nothing."""
        told: list[list[str]] = [[] for _ in range(len(frame))]
        if self.stages and "stage" in frame.columns:
            for i, stage in enumerate(frame["stage"]):
                if pd.notna(stage) and str(stage) not in self.stages:
                    told[i].append(f"{UNSEEN_STAGE}: {stage}")
        if self.oldest is not None and "f_age_days" in frame.columns:
            for old in np.flatnonzero(frame["f_age_days"].to_numpy(float) > self.oldest):
                told[old].append(f"older than {FAR:.1%} of the looks that the model learned from")
        if encoder is not None and self.emptiest is not None:
            empty = frame[list(encoder.names)].isna().mean(axis=1).to_numpy(float)
            for bare in np.flatnonzero(empty > max(MOSTLY, self.emptiest)):
                told[bare].append(f"{empty[bare]:.0%} of what the model reads is not known")
        return told

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**vars(self), "stages": list(self.stages)}

    @classmethod
    def from_dict(cls, values: dict[str, Any] | None) -> KnownDeals:
        """What `to_dict` described; a model without memory where there is nothing."""
        return cls(**{**values, "stages": tuple(values["stages"])}) if values else cls()


def _usual(values: pd.Series, numeric: bool) -> Any:
    if numeric:
        middle = pd.to_numeric(values).astype(float).median()
        return None if values.isna().mean() > MOSTLY else float(middle)
    counts = values.dropna().astype(str).value_counts()
    if counts.empty or values.isna().sum() > counts.max():
        return None
    return min(str(word) for word in counts.index[counts == counts.max()])


def _of_won(rows: pd.DataFrame, names: list[str]) -> dict[str, dict[str, float]]:
    """Medians over won deals, one vote a deal in each stage."""
    if rows.empty or not names:
        return {}
    stage = (
        rows["stage"].astype(object).where(rows["stage"].notna(), "?").astype(str)
        if "stage" in rows.columns
        else pd.Series("?", index=rows.index)
    )
    numbers = rows[names].astype(float)
    votes = numbers.groupby([stage.to_numpy(), rows["deal_id"].to_numpy()]).mean()
    told = {EVERYWHERE: votes.median()}
    for name, mine in votes.groupby(level=0):
        if len(mine) >= LEAST_WON:
            told[str(name)] = mine.median()
    return {
        name: {str(key): float(value) for key, value in medians.items() if value == value}
        for name, medians in told.items()
    }
