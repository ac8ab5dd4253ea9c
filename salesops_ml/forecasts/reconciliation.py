"""Making the forecasts of parts and totals agree, each heard as far as it has proved right.

Every node is forecast for itself; the leaves are then moved as little as the errors of past forecasts
suggest, so that all sums hold. Where few errors are known their correlations are shrunk towards none.

Sources: Wickramasuriya, Athanasopoulos & Hyndman (2019), "Optimal forecast reconciliation for
hierarchical and grouped time series through trace minimization", JASA 114; Schaefer & Strimmer (2005)
for the shrinkage.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from salesops_ml.errors import UsageError
from salesops_ml.forecasts.batch import Floats

Method = Literal["bottom_up", "wls_struct", "mint_shrink", "pooled"]
METHODS: tuple[Method, ...] = ("bottom_up", "wls_struct", "mint_shrink", "pooled")


def leaf_weights(summing: Floats, errors: Floats, method: Method) -> Floats:
    """How each leaf is made of the forecasts of all nodes. Shape (leaves, nodes).

    Times the summing matrix it gives the identity, so that forecasts which already agree stay as they
    are. `pooled` is the mean of the three others, which no single one of them beats everywhere.

    Args:
        summing: 1 where a leaf is part of a node; the leaves' own rows stand last. (nodes, leaves).
        errors: of past forecasts one step ahead, for each node. Shape (times, nodes).
        method: bottom_up, wls_struct, mint_shrink or pooled.

    Raises:
        UsageError: no such method.

    Example:
        >>> all_and_two = np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
        >>> leaf_weights(all_and_two, np.empty((0, 3)), "wls_struct").round(2).tolist()
        [[0.25, 0.75, -0.25], [0.25, -0.25, 0.75]]
    """
    nodes, leaves = summing.shape
    if method == "bottom_up":
        return np.hstack([np.zeros((leaves, nodes - leaves)), np.eye(leaves)])
    if method == "wls_struct":
        return _projected(summing, np.diag(summing.sum(axis=1)))
    if method == "mint_shrink":
        return _projected(summing, shrunken_covariance(errors))
    if method == "pooled":
        kinds: tuple[Method, ...] = ("bottom_up", "wls_struct", "mint_shrink")
        return np.asarray(np.mean([leaf_weights(summing, errors, k) for k in kinds], axis=0))
    raise UsageError(f"no reconciliation `{method}`; it can be: {', '.join(METHODS)}")


def shrunken_covariance(errors: Floats) -> Floats:
    """Covariance of errors around nought, correlations shrunk towards none. Shape (nodes, nodes).

    A node whose errors are not known (NaN) varies like the middle one.
    """
    times, nodes = errors.shape
    known = ~np.isnan(errors)
    if times < 2 or not (errors[known] != 0).any():
        return np.eye(nodes)
    count = known.sum(axis=0)
    spread = np.sqrt((np.where(known, errors, 0.0) ** 2).sum(axis=0) / np.maximum(count, 1))
    spread = np.where(count > 0, spread, np.median(spread[count > 0]))
    spread = np.maximum(spread, spread[spread > 0].min() * 1e-3)
    scaled = np.where(known, errors, 0.0) / spread
    correlation = scaled.T @ scaled / times
    off = ~np.eye(nodes, dtype=bool)
    noise = ((scaled**2).T @ scaled**2 / times - correlation**2) / (times - 1)
    signal = float((correlation[off] ** 2).sum())
    share = min(max(float(noise[off].sum()) / signal, 0.0), 1.0) if signal > 0 else 1.0
    correlation = np.where(off, (1 - share) * correlation, 1.0)
    return np.asarray(correlation * np.outer(spread, spread))


def _projected(summing: Floats, covariance: Floats) -> Floats:
    """Generalised least squares: the leaves that explain all nodes best under the covariance."""
    weighed = np.linalg.solve(covariance, summing).T
    return np.asarray(np.linalg.solve(weighed @ summing, weighed))
