"""One forecast, taken apart: what is closed, open and still to come, at each leaf and month, sampled.

Sums are made here and only here: leaves add up to nodes and months to quarters, for means and for
samples alike, so no table that is published can contradict another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from salesops_ml.forecasts.batch import Floats
from salesops_ml.forecasts.combine import (
    LEVELS,
    MONTH_DAYS,
    PARTS,
    QUANTILES,
    Weights,
    future_factors,
    widened,
)
from salesops_ml.forecasts.hierarchy import Tree, depth
from salesops_ml.forecasts.outlook import Outlook
from salesops_ml.periods import Period

COLUMNS = ("node", "grain", "period", "period_start", "mean", *QUANTILES, *PARTS, "method")


@dataclass(frozen=True)
class Closed:
    """Won amounts that are already in the books, by leaf: this month's and this quarter's."""

    month: Floats
    quarter: Floats


@dataclass(frozen=True)
class Projection:
    """The bottom-up forecast of one day.

    Attributes:
        tree: the nodes.
        view: the periods.
        closed: what is in the books.
        open_mean, new_mean: what open and new deals will bring, (leaves, months).
        samples: both together in each possible future, (leaves, months, samples).
        variance: of the company's months if deals were independent, (months,).
        loading: change of the company's months for one unit of the shared factor, (months,).
        series_future: what the series model leaves for each month, company, (months,).
        name: of the further tree (`trees`); empty for the main one.
    """

    tree: Tree
    view: Outlook
    closed: Closed
    open_mean: Floats
    new_mean: Floats
    samples: Floats
    variance: Floats
    loading: Floats
    series_future: Floats
    name: str = ""

    def factors(self, weights: Weights) -> Floats:
        """What combining with the series scales each month's future by, (months,)."""
        bottom_up = (self.open_mean + self.new_mean).sum(axis=0)
        months_to_end = self.view.ends / MONTH_DAYS
        return future_factors(bottom_up, self.series_future, weights, months_to_end)

    def frame(
        self, weights: Weights | None = None, *, factors: Floats | None = None
    ) -> pd.DataFrame:
        """The forecast in the columns of forecast.parquet; bottom-up alone without `weights`.

        One row per node and period: months first, then quarters, nodes from the root down.

        Args:
            weights: lessons of the past.
            factors: what to scale each month by; those of `weights` by default.
        """
        months = len(self.view.months)
        if factors is None:
            factors = np.ones(months) if weights is None else self.factors(weights)
        lookback = np.zeros((len(self.tree.leaves), months))
        lookback[:, 0] = self.closed.month
        monthly = self._rows("month", np.eye(months), lookback, factors, weights)
        whole = np.zeros((len(self.tree.leaves), len(self.view.quarters)))
        whole[:, 0] = self.closed.quarter
        quarterly = self._rows("quarter", self.view.months_of_quarters, whole, factors, weights)
        shown = monthly[monthly["place"] < self.view.published]
        frame = pd.concat([shown, quarterly], ignore_index=True)
        frame["method"] = "bottom_up" if np.allclose(factors, 1.0) else "combined"
        return frame[[*COLUMNS]]

    def samples_at_nodes(self, weights: Weights | None = None) -> Floats:
        """Futures of every node's months, closed so far included; (nodes, months, samples)."""
        factors = np.ones(len(self.view.months)) if weights is None else self.factors(weights)
        futures = self.samples * factors[None, :, None]
        futures[:, 0] += self.closed.month[:, None]
        return self.tree.aggregate(futures)

    def _rows(
        self,
        grain: str,
        gather: Floats,
        closed: Floats,
        factors: Floats,
        weights: Weights | None,
    ) -> pd.DataFrame:
        """Rows of one grain; `gather` (periods, months) says which months make a period."""
        booked = self.tree.aggregate(closed)
        opened = self.tree.aggregate(self.open_mean) @ gather.T
        new = self.tree.aggregate(self.new_mean) @ gather.T
        added = self.tree.aggregate((self.open_mean + self.new_mean) * (factors - 1.0)) @ gather.T
        quantiles = self._quantiles(grain, gather, booked, factors, weights)
        frame = period_rows(self.tree, self.periods(grain), grain)
        for name, part in zip(PARTS, (booked, opened, new, added), strict=True):
            frame[name] = part.ravel()
        frame["mean"] = frame[[*PARTS]].sum(axis=1)
        frame[[*QUANTILES]] = quantiles.reshape(-1, len(QUANTILES))
        return frame

    def periods(self, grain: str) -> tuple[Period, ...]:
        """The periods of a grain, the unpublished months included."""
        return self.view.months if grain == "month" else self.view.quarters

    def _quantiles(
        self,
        grain: str,
        gather: Floats,
        booked: Floats,
        factors: Floats,
        weights: Weights | None,
    ) -> Floats:
        """(nodes, periods, 7), never below what is booked where nothing negative is simulated."""
        leaves, _, samples = self.samples.shape
        futures = np.einsum("lms,pm->lps", self.samples, gather * factors[None, :], optimize=True)
        nodes = self.tree.aggregate(futures.reshape(leaves, len(gather), samples))
        quantiles = np.moveaxis(np.quantile(nodes, LEVELS, axis=-1), 0, -1)
        done = booked[..., None] + quantiles
        if weights is not None:
            for row, node in enumerate(self.tree.nodes):
                done[row] = widened(done[row], weights.width(grain, depth(node), self.name))
        floor = np.where(nodes.min(axis=-1) >= 0, booked, -np.inf)
        return np.asarray(np.maximum(done, floor[..., None]))


def period_rows(tree: Tree, periods: tuple[Period, ...], grain: str) -> pd.DataFrame:
    """One row per node and period, in the order of (nodes, periods) arrays laid flat."""
    count = len(periods)
    return pd.DataFrame(
        {
            "node": np.repeat(np.array(tree.nodes, dtype=object), count),
            "grain": grain,
            "place": np.tile(np.arange(count), len(tree.nodes)),
            "period": np.tile([period.label for period in periods], len(tree.nodes)),
            "period_start": np.tile(
                np.array([period.start for period in periods], dtype="datetime64[us]"),
                len(tree.nodes),
            ),
        }
    )
