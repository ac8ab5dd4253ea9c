"""The company as a tree: region over team over rep, or whatever the configuration names.

A leaf is the path of a deal's owner, such as `company/EMEA/Team 3/rep-0012`; every node is the sum of
the leaves below it. What is not known of a deal or rep stands as `unknown`, so that no money falls
out of the tree. A `/` in a name is written `%2F`.

A level is an attribute of the rep (region, team, manager, rep), of the account (account, industry,
account_region), of the deal (product, pipeline, lead_source, deal_type), or an extra attribute of
deals that is declared `at_creation`. Versions of reps and accounts count from their `valid_from`;
one that does not say since when it holds speaks only where no dated one does: it is the chart of the
organisation as it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import ibis
import numpy as np
import pandas as pd
from scipy import sparse

from salesops_ml.errors import ConfigError, DataError
from salesops_ml.forecasts.batch import Floats, Ints
from salesops_ml.warehouse import Warehouse

ROOT = "company"
UNKNOWN = "unknown"
_OWN = {"rep": "rep_id", "account": "account_id", "product": "product", "pipeline": "pipeline"}
_REP = {"region": "region", "team": "team", "manager": "manager_id"}
_ACCOUNT = {"industry": "industry", "account_region": "region"}
_DEAL_FIXED = ("lead_source", "deal_type")


@dataclass(frozen=True)
class Tree:
    """Nodes and how they add up.

    Attributes:
        leaves: paths of the leaves, sorted.
        nodes: every path, the root first, then level by level, sorted within a level.
    """

    leaves: tuple[str, ...]
    nodes: tuple[str, ...]

    @classmethod
    def over(cls, leaves: Sequence[str]) -> Tree:
        """The tree whose leaves are the given paths (duplicates allowed).

        Raises:
            DataError: a leaf is also above another one, or does not start at the root.

        Example:
            >>> Tree.over(["company/B/x", "company/A/y"]).nodes
            ('company', 'company/A', 'company/B', 'company/A/y', 'company/B/x')
        """
        unique = sorted(set(leaves)) or [ROOT]
        above = {path for leaf in unique for path in ancestors(leaf)[:-1]}
        for leaf in unique:
            if leaf in above:
                raise DataError(f"node `{leaf}` is a leaf and has children; give it one child more")
            if ancestors(leaf)[0] != ROOT:
                raise DataError(f"node `{leaf}` does not start at `{ROOT}`; write {ROOT}/{leaf}")
        nodes = sorted(above | set(unique), key=lambda path: (depth(path), path))
        return cls(tuple(unique), tuple(nodes))

    @property
    def summing(self) -> sparse.csr_matrix:
        """Matrix (nodes, leaves) with a 1 where the leaf lies at or below the node."""
        place = {node: row for row, node in enumerate(self.nodes)}
        pairs = [
            (place[n], column) for column, leaf in enumerate(self.leaves) for n in ancestors(leaf)
        ]
        rows, columns = zip(*pairs, strict=True)
        shape = (len(self.nodes), len(self.leaves))
        return sparse.csr_matrix((np.ones(len(pairs)), (rows, columns)), shape=shape)

    def aggregate(self, leaf_values: Floats) -> Floats:
        """Sums at every node of values at the leaves; (leaves, ...) -> (nodes, ...)."""
        flat = leaf_values.reshape(len(self.leaves), -1)
        sums = np.asarray(self.summing @ flat)
        return sums.reshape(len(self.nodes), *leaf_values.shape[1:])

    def places(self, paths: pd.Series[str]) -> Ints:
        """Leaf numbers of paths; `DataError` where one is no leaf of this tree."""
        found = pd.Index(self.leaves).get_indexer(pd.Index(paths))
        if (found < 0).any():
            strange = paths.iloc[int(np.argmax(found < 0))]
            raise DataError(
                f"node `{strange}` is no leaf of the tree; leaves: {self.leaves[:5]} ..."
            )
        return np.asarray(found, dtype=np.int64)


def sums_at_nodes(leaves: pd.DataFrame) -> pd.DataFrame:
    """Sums at every node of numbers at the leaves: `node`, and the columns of `leaves`.

    Args:
        leaves: one row per leaf, by its path.

    Example:
        >>> leaves = pd.DataFrame({"won": [1.0, 2.0]}, index=["company/A", "company/B"])
        >>> sums_at_nodes(leaves).values.tolist()
        [['company', 3.0], ['company/A', 1.0], ['company/B', 2.0]]
    """
    tree = Tree.over(list(leaves.index))
    values = leaves.reindex(list(tree.leaves)).to_numpy(dtype=np.float64)
    frame = pd.DataFrame(tree.aggregate(values), columns=list(leaves.columns))
    frame.insert(0, "node", tree.nodes)
    return frame


def ancestors(path: str) -> list[str]:
    """The path's nodes from the root down to itself.

    Example:
        >>> ancestors("company/EMEA/Team 3")
        ['company', 'company/EMEA', 'company/EMEA/Team 3']
    """
    parts = path.split("/")
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def depth(path: str) -> int:
    """Steps below the root, which is at 0."""
    return path.count("/")


@dataclass(frozen=True)
class Organisation:
    """Who belonged where, as known on one day; it places deals in the tree.

    Attributes:
        levels: names of the main tree's levels, top down.
        values: for each level of any tree, the value by the id that it hangs on.
        left: reps known to have left.
    """

    levels: tuple[str, ...]
    values: dict[str, tuple[str, pd.Series[str]]]
    left: frozenset[str]

    def place(self, deals: pd.DataFrame, levels: Sequence[str] | None = None) -> pd.Series[str]:
        """The leaf of each deal (rows with deal_id, rep_id, account_id, product, pipeline).

        Args:
            levels: of another tree, which `read_organisation` was told of; the main one's by default.
        """
        path = pd.Series(ROOT, index=deals.index, dtype=object)
        for level in self.levels if levels is None else levels:
            key, by_id = self.values[level]
            held = deals[key] if level in _OWN else deals[key].map(by_id)
            codes, values = pd.factorize(held)
            labels = np.array([*map(_label, values), UNKNOWN], dtype=object)
            path = path + "/" + labels[codes]
        return path

    def inactive(self, deals: pd.DataFrame) -> frozenset[str]:
        """Leaves whose rep has left: nothing new will start there."""
        if "rep" not in self.levels:
            return frozenset()
        return frozenset(deals.loc[deals["rep_id"].isin(self.left), "node"])


def read_organisation(
    warehouse: Warehouse, levels: Sequence[str], *, as_of: datetime, others: Sequence[str] = ()
) -> Organisation:
    """The organisation as known at `as_of`.

    Args:
        levels: of the main tree, top down.
        others: levels of further trees.

    Raises:
        ConfigError: a level is no attribute that a tree can be built from.
    """
    reps = _versions(warehouse, "reps", "rep_id", as_of)
    accounts = _versions(warehouse, "accounts", "account_id", as_of)
    values: dict[str, tuple[str, pd.Series[str]]] = {}
    for level in dict.fromkeys([*levels, *others]):
        if level in _OWN:
            values[level] = (_OWN[level], pd.Series(dtype=object))
        elif level in _REP:
            values[level] = ("rep_id", reps[_REP[level]])
        elif level in _ACCOUNT:
            values[level] = ("account_id", accounts[_ACCOUNT[level]])
        else:
            values[level] = ("deal_id", _fixed(warehouse, level))
    left = [rep for rep, active in reps["active"].items() if not pd.isna(active) and not active]
    return Organisation(tuple(levels), values, frozenset(map(str, left)))


def _fixed(warehouse: Warehouse, level: str) -> pd.Series[str]:
    """A column of `deals` that never changes after creation, by deal."""
    extra = {a.name: a.column for a in warehouse.attributes() if a.known == "at_creation"}
    column = level if level in _DEAL_FIXED else extra.get(level)
    if column is None:
        known = [*_OWN, *_REP, *_ACCOUNT, *_DEAL_FIXED, *extra]
        raise ConfigError(
            f"`forecast.hierarchy` or `forecast.trees` names `{level}`, which is no level; it can be: "
            f"{', '.join(known)}"
        )
    deals = warehouse.table("deals")
    frame = deals.select("deal_id", value=deals[column].cast("string")).to_pyarrow().to_pandas()
    values: pd.Series[str] = frame.set_index("deal_id")["value"]
    return values


def _versions(warehouse: Warehouse, table: str, key: str, as_of: datetime) -> pd.DataFrame:
    """The version of each rep or account in force at `as_of`, by its id."""
    rows = warehouse.table(table)
    valid = rows.valid_from.isnull() | (rows.valid_from <= as_of)
    recorded = rows.recorded_at.isnull() | (rows.recorded_at <= as_of)
    seen = rows.filter(valid, recorded)
    latest = ibis.window(
        group_by=key,
        order_by=[seen.valid_from.isnull(), ibis.desc("valid_from"), ibis.desc("recorded_at")],
    )
    ranked = seen.mutate(place=ibis.row_number().over(latest))
    frame: pd.DataFrame = ranked.filter(ranked.place == 0).drop("place").to_pyarrow().to_pandas()
    return frame.set_index(key)


def _label(value: object) -> str:
    """A node's own name."""
    text = "" if value is None or value is pd.NA or value != value else str(value).strip()
    return text.replace("/", "%2F") if text else UNKNOWN
