"""The same revenue cut another way: by product, segment, region and product, beside the tree of owners.

Deals that are closed or open stand where their own attributes place them. Deals to come are those of
the main tree: what each of its leaves will bring is shared out among products (or whatever crosses it)
as its won money of the past was, a leaf of few wins leaning on the nodes above it. So every cut adds up
to the same company, and a node that both trees know - a region, in a cut by region and product - to the
same region, in every simulated future.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from salesops_ml.forecasts.batch import Floats, Ints
from salesops_ml.forecasts.hierarchy import ROOT, Organisation, ancestors
from salesops_ml.forecasts.projection import Closed

CREDIBLE_WINS = 10.0
"""Wins at which a node's own shares count half beside those of the node above it."""
COLUMN = "tree: "
"""Prefix of the column in which deals carry their leaf of a further tree."""


@dataclass(frozen=True)
class FurtherTree:
    """Another tree over the same deals.

    Attributes:
        name: as configured.
        leaves: paths of its leaves, sorted.
        source, target: leaf of the main tree and leaf of this one, a pair where new deals can come.
        share: of the source's new money that goes to the target; adds up to 1 by source. (pairs,).
        wins: won deals that the shares of each source rest on. (pairs,).
        spread: squared coefficient of variation of a won amount.
        closed: amounts in the books, by leaf of this tree.
    """

    name: str
    leaves: tuple[str, ...]
    source: Ints
    target: Ints
    share: Floats
    wins: Floats
    spread: float
    closed: Closed

    def mean(self, new: Floats) -> Floats:
        """Expected new money of this tree's leaves, from that of the main leaves (leaves, months)."""
        done = np.zeros((len(self.leaves), new.shape[1]))
        np.add.at(done, self.target, self.share[:, None] * new[self.source])
        return done

    def samples(self, new: Floats, mean: Floats, size: float, rng: np.random.Generator) -> Floats:
        """Possible futures of the new money, (leaves, months, samples); they add up to `new`.

        Shares are drawn around the expected ones: wider where a leaf's wins were few, and where few
        wins are to come, since one deal is of one product.

        Args:
            new: futures of the main leaves, (main leaves, months, samples).
            mean: their means, (main leaves, months).
            size: mean amount of a won deal.
            rng: source of chance.
        """
        _, months, draws = new.shape
        done = np.zeros((len(self.leaves), months, draws))
        for leaf in np.unique(self.source):
            pairs = np.flatnonzero(self.source == leaf)
            share = self.share[pairs]
            if len(pairs) == 1:
                done[self.target[pairs[0]]] += new[leaf]
                continue
            known = self.wins[pairs[0]] + CREDIBLE_WINS
            usual = _drawn(np.broadcast_to(share[:, None], (len(pairs), draws)), known, rng)
            for month in range(months):
                coming = max(mean[leaf, month] / max(size, 1e-12), 1e-3) / (1.0 + self.spread)
                done[self.target[pairs], month] += _drawn(usual, coming, rng) * new[leaf, month]
        return done


def _drawn(share: Floats, strength: float, rng: np.random.Generator) -> Floats:
    """Shares drawn around `share` (parts, draws), Dirichlet of that strength; they add up to 1."""
    drawn = rng.standard_gamma(np.maximum(share, 1e-9) * strength)
    total = drawn.sum(axis=0)
    return np.where(total > 0, drawn / np.where(total > 0, total, 1.0), share)


def place_in_trees(
    deals: pd.DataFrame, organisation: Organisation, trees: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """`deals` with a column for each further tree: the path of its leaf, as known then."""
    placed = {
        COLUMN + name: organisation.place(deals, tuple(levels)) for name, levels in trees.items()
    }
    return deals.assign(**placed)


def learn_further_tree(
    name: str,
    levels: Sequence[str],
    main: Sequence[str],
    deals: pd.DataFrame,
    leaves: Sequence[str],
    won: pd.DataFrame,
    opened: tuple[pd.Timestamp, pd.Timestamp],
) -> FurtherTree:
    """Learn how the main tree's leaves divide among the nodes of another tree.

    Args:
        name: of the tree.
        levels: its levels, top down; those that the main tree has too are the same nodes there.
        main: levels of the main tree.
        deals: every deal that matters, with `node` and the tree's own column.
        leaves: leaves of the main tree.
        won: the won deals that shares are learned from (`node`, the tree's column, `amount`).
        opened: first moment of the running month, and of the running quarter.
    """
    column = COLUMN + name
    own = [place for place, level in enumerate(levels) if level not in main]
    seen = {_labels(path, own) for path in deals[column]}
    kinds = sorted(seen) or [()]
    shares, wins = _shares(won, column, own, kinds, leaves)
    source, kind = np.nonzero(shares > 0)
    paths = [
        _path(levels, main, leaves[leaf], own, kinds[code])
        for leaf, code in zip(source.tolist(), kind.tolist(), strict=True)
    ]
    every = sorted({*paths, *deals[column]})
    place = {path: row for row, path in enumerate(every)}
    target = np.array([place[path] for path in paths], dtype=np.int64)
    amounts = won["amount"].dropna().to_numpy(dtype=np.float64)
    spread = float((amounts.std() / amounts.mean()) ** 2) if amounts.sum() > 0 else 0.0
    month, quarter = (_booked(deals, column, place, since) for since in opened)
    return FurtherTree(
        name, tuple(every), source.astype(np.int64), target, shares[source, kind], wins[source],
        spread, Closed(month, quarter),
    )  # fmt: skip


def _labels(path: str, own: Sequence[int]) -> tuple[str, ...]:
    """What a path says on the levels that the main tree lacks."""
    parts = path.split("/")[1:]
    return tuple(parts[place] for place in own)


def _path(
    levels: Sequence[str], main: Sequence[str], leaf: str, own: Sequence[int], kind: Sequence[str]
) -> str:
    """The path of a further leaf: levels of the main tree from its leaf, the others from the kind."""
    of_leaf = dict(zip(main, leaf.split("/")[1:], strict=False))
    of_kind = dict(zip(own, kind, strict=True))
    parts = [of_kind.get(place) or of_leaf[level] for place, level in enumerate(levels)]
    return "/".join([ROOT, *parts])


def _shares(
    won: pd.DataFrame,
    column: str,
    own: Sequence[int],
    kinds: Sequence[tuple[str, ...]],
    leaves: Sequence[str],
) -> tuple[Floats, Floats]:
    """Shares of won money by main leaf and kind, leaning on the nodes above; and wins by leaf."""
    code = {kind: row for row, kind in enumerate(kinds)}
    money: dict[str, Floats] = {}
    count: dict[str, float] = {}
    for node, path, amount in zip(won["node"], won[column], won["amount"].fillna(0.0), strict=True):
        for above in ancestors(node):
            money.setdefault(above, np.zeros(len(kinds)))[code[_labels(path, own)]] += amount
            count[above] = count.get(above, 0.0) + 1.0
    shares = np.array([_leaning(money, count, ancestors(leaf), len(kinds)) for leaf in leaves])
    return shares, np.array([count.get(leaf, 0.0) for leaf in leaves])


def _leaning(
    money: Mapping[str, Floats], count: Mapping[str, float], way: Sequence[str], kinds: int
) -> Floats:
    """Shares at the end of the way from the root to a leaf."""
    share = np.full(kinds, 1.0 / kinds)
    for node in way:
        told = money.get(node)
        if told is None or told.sum() <= 0:
            continue
        trust = count[node] / (count[node] + (0.0 if node == ROOT else CREDIBLE_WINS))
        share = trust * told / told.sum() + (1.0 - trust) * share
    return share


def _booked(
    deals: pd.DataFrame, column: str, place: Mapping[str, int], since: pd.Timestamp
) -> Floats:
    inside = deals[(deals["status"] == "won") & (deals["closed_at"] >= since)]
    rows = inside[column].map(place).to_numpy(dtype=np.int64)
    worth = inside["amount"].fillna(0.0).to_numpy(dtype=np.float64)
    return np.asarray(np.bincount(rows, weights=worth, minlength=len(place)), dtype=np.float64)
