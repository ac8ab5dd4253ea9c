"""How sure a figure is: bootstrap intervals that draw whole deals, since a deal's rows are siblings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from salesops_ml.evaluation.censoring import Floats
from salesops_ml.evaluation.deal_intervals import DealDraws


def clustered_means(
    values: Floats, weight: Floats, cluster: npt.NDArray[np.object_], *, draws: int, seed: int
) -> Floats:
    """Weighted means of `values` over `draws` samples of clusters with replacement. Shape (draws,).

    Field & Welsh (2007), Journal of the Royal Statistical Society B 69.
    """
    return DealDraws(cluster, draws=draws, seed=seed).means(values, weight)


def interval(
    values: Floats,
    weight: Floats,
    cluster: npt.NDArray[np.object_],
    *,
    level: float = 0.95,
    draws: int = 200,
    seed: int = 7,
) -> tuple[float, float]:
    """Bootstrap interval of a weighted mean, clustered."""
    means = clustered_means(values, weight, cluster, draws=draws, seed=seed)
    tail = (1 - level) / 2
    low, high = np.nanquantile(means, [tail, 1 - tail])
    return float(low), float(high)
