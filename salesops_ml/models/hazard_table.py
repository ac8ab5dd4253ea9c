"""What usually becomes of a deal in this stage at this age: a table of shrunken hazards.

The baseline that a good sales manager has in mind, and the model of last resort where there are too
few closed deals to learn more. Each cell's hazards are drawn towards its stage's, and a stage's
towards the company's, with the weight of `PRIOR_ROWS` looks (empirical Bayes), so that an empty cell
says what its stage says. With one cell it is the base rate; unshrunken it would be the
Aalen-Johansen estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from salesops_ml.evaluation.censoring import LOST, WON, Floats
from salesops_ml.models.curves import Curves
from salesops_ml.models.hazards import incidence
from salesops_ml.models.periods_at_risk import interval_edges, rows_at_risk

PRIOR_ROWS = 20.0
COMPANY = ""
AGE_BORDERS = (1.0, 7.5, 14.5, 28.5, 56.5, 112.5, 224.5)


@dataclass(frozen=True)
class HazardTable:
    """Hazards of winning and losing by interval, for the company, each stage, and stage x age.

    Attributes:
        edges: interval borders, days. Shape (k + 1,).
        cells: cell name -> array (2, k) of hazards of winning and of losing.
        by: columns that make the cells: none, or stage and age.
    """

    edges: Floats
    cells: dict[str, Floats]
    by_stage: bool

    @classmethod
    def fit(
        cls,
        frame: pd.DataFrame,
        event: npt.NDArray[np.int64],
        duration: Floats,
        *,
        horizon: int,
        by_stage: bool,
    ) -> HazardTable:
        """Count events and looks at risk in every interval, cell by cell, and shrink."""
        edges = interval_edges(horizon)
        counts = _Counts(event, duration, edges)
        company = counts.hazards(np.zeros(len(frame), dtype=np.int64), 1, None)[0]
        cells = {COMPANY: company}
        if by_stage:
            stages, stage_of = np.unique(stages_of(frame), return_inverse=True)
            parents = np.repeat(company[None], len(stages), axis=0)
            of_stage = counts.hazards(stage_of, len(stages), parents)
            cells |= dict(zip(stages, of_stage, strict=True))
            names, cell_of = np.unique(_cells(frame), return_inverse=True)
            above = np.array([cells[name.rpartition("|")[0]] for name in names])
            cells |= dict(zip(names, counts.hazards(cell_of, len(names), above), strict=True))
        return cls(edges, cells, by_stage)

    def curves(self, frame: pd.DataFrame) -> Curves:
        """Each look gets the curve of its cell, or of its stage, or of the company."""
        if self.by_stage:
            names = [
                cell if cell in self.cells else stage if stage in self.cells else COMPANY
                for cell, stage in zip(_cells(frame), stages_of(frame), strict=True)
            ]
        else:
            names = [COMPANY] * len(frame)
        kinds, place = np.unique(np.array(names, dtype=object), return_inverse=True)
        hazards = np.array([self.cells[kind] for kind in kinds]).reshape(-1, 2, len(self.edges) - 1)
        won, lost = incidence(hazards[:, 0], hazards[:, 1])
        return Curves(self.edges, won[place], lost[place])

    def share(self) -> float:
        """The company's chance that a deal which ends by the horizon is won."""
        won, lost = incidence(*(hazards[None] for hazards in self.cells[COMPANY]))
        return float(won[0, -1] / max(won[0, -1] + lost[0, -1], 1e-12))

    def with_share(self, share: float) -> HazardTable:
        """The table in which every deal that ends is won with chance `share`, whenever it ends."""
        split = np.array([[share], [1 - share]])
        cells = {name: cell.sum(axis=0) * split for name, cell in self.cells.items()}
        return HazardTable(self.edges, cells, self.by_stage)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        cells = {name: values.tolist() for name, values in self.cells.items()}
        return {"edges": self.edges.tolist(), "cells": cells, "by_stage": self.by_stage}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> HazardTable:
        """The table that `to_dict` described."""
        cells = {name: np.array(cell) for name, cell in values["cells"].items()}
        return cls(np.array(values["edges"]), cells, bool(values["by_stage"]))


class _Counts:
    """Events and looks at risk by interval, to be summed over any grouping of looks."""

    def __init__(self, event: npt.NDArray[np.int64], duration: Floats, edges: Floats) -> None:
        self.rows = rows_at_risk(event, duration, edges, most=2**62, seed=0)
        self.intervals = len(edges) - 1

    def hazards(self, group: npt.NDArray[np.int64], groups: int, parents: Floats | None) -> Floats:
        """Shape (groups, 2, intervals)."""
        place = group[self.rows.row] * self.intervals + self.rows.interval
        size = groups * self.intervals
        risk = np.bincount(place, minlength=size).reshape(groups, self.intervals)
        done = np.empty((groups, 2, self.intervals))
        for j, cause in enumerate((WON, LOST)):
            seen = np.bincount(place[self.rows.event == cause], minlength=size)
            seen = seen.reshape(groups, self.intervals)
            if parents is None:
                done[:, j] = seen / np.maximum(risk, 1)
            else:
                done[:, j] = (seen + PRIOR_ROWS * parents[:, j]) / (risk + PRIOR_ROWS)
        return done


def stages_of(frame: pd.DataFrame) -> npt.NDArray[np.object_]:
    """The stage of each look as text; "?" where it is not known."""
    if "stage" not in frame.columns:
        return np.full(len(frame), "?", dtype=object)
    return frame["stage"].astype(object).where(frame["stage"].notna(), "?").to_numpy(dtype=object)


def _cells(frame: pd.DataFrame) -> npt.NDArray[np.object_]:
    known = "f_age_days" in frame.columns
    age = frame["f_age_days"].to_numpy(float) if known else np.zeros(len(frame))
    bucket = np.searchsorted(AGE_BORDERS, age)
    return np.array(
        [
            f"{stage}|{age_bucket}"
            for stage, age_bucket in zip(stages_of(frame), bucket, strict=True)
        ],
        dtype=object,
    )
