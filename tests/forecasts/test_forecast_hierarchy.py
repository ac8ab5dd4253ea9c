"""The tree: sums, unknown places, versions of the organisation."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesops_ml.errors import ConfigError, DataError
from salesops_ml.forecasts.hierarchy import Tree, read_organisation
from salesops_ml.warehouse import Warehouse
from tests.forecasts.companies import Book

DEALS = pd.DataFrame(
    {"deal_id": ["d1", "d2", "d3"], "rep_id": ["r1", "r9", None], "account_id": None,
     "product": ["A/B", None, "C"], "pipeline": "p"}
)  # fmt: skip

names = st.sampled_from(["a", "b", "c"])
leaves = st.lists(st.tuples(names, names, names), min_size=1, max_size=12)


@given(leaves=leaves, seed=st.integers(0, 99))
def test_every_node_is_the_sum_of_its_children(leaves, seed):
    tree = Tree.over(["company/" + "/".join(leaf) for leaf in leaves])
    values = np.random.default_rng(seed).normal(size=(len(tree.leaves), 2, 3))
    sums = dict(zip(tree.nodes, tree.aggregate(values), strict=True))
    for node, total in sums.items():
        children = [child for child in tree.nodes if child.rpartition("/")[0] == node]
        if children:
            assert total == pytest.approx(sum(sums[child] for child in children))
    assert sums["company"] == pytest.approx(values.sum(axis=0))


def test_a_tree_of_nothing_is_the_company():
    assert Tree.over([]).nodes == ("company",)


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["company/a", "company/a/b"], "`company/a` is a leaf and has children"),
        (["a/b"], "does not start at `company`"),
    ],
)
def test_impossible_trees_are_named(paths, words):
    with pytest.raises(DataError, match=words):
        Tree.over(paths)


def test_a_path_that_is_no_leaf_is_named():
    with pytest.raises(DataError, match="`company/x` is no leaf"):
        Tree.over(["company/a"]).places(pd.Series(["company/x"]))


def placed(book: Book, levels: tuple[str, ...], as_of: str) -> list[str]:
    with Warehouse.in_memory(book.tables()) as warehouse:
        found = read_organisation(warehouse, levels, as_of=datetime.fromisoformat(as_of))
        return found.place(DEALS).tolist()


def chart() -> Book:
    book = Book().rep("r1", "2025-01-01", region="EMEA", team="T1")
    return book.rep("r1", "2025-06-01", region="EMEA", team="T/2")


def test_reps_stand_where_they_stood_and_the_unknown_is_said():
    levels = ("region", "team", "rep")
    assert placed(chart(), levels, "2025-03-01") == [
        "company/EMEA/T1/r1",
        "company/unknown/unknown/r9",
        "company/unknown/unknown/unknown",
    ]
    assert placed(chart(), levels, "2025-07-01")[0] == "company/EMEA/T%2F2/r1"
    assert placed(chart(), levels, "2024-07-01")[0] == "company/unknown/unknown/r1"


def test_an_undated_chart_speaks_only_where_no_dated_version_does():
    book = chart().rep("r1", None, region="APAC").rep("r9", None, region="UKI")
    assert placed(book, ("region",), "2025-03-01")[:2] == ["company/EMEA", "company/UKI"]
    assert placed(book, ("region",), "2024-03-01")[:2] == ["company/APAC", "company/UKI"]


def test_deals_can_be_placed_by_what_they_are():
    found = placed(chart(), ("product",), "2025-03-01")
    assert found == ["company/A%2FB", "company/unknown", "company/C"]
    assert placed(chart(), (), "2025-03-01") == ["company"] * 3


def test_a_level_that_is_none_is_named():
    with pytest.raises(ConfigError, match="names `colour`, which is no level"):
        placed(chart(), ("colour",), "2025-03-01")


def test_reps_who_left_are_known_from_the_day_they_left():
    book = Book().rep("r1", "2025-01-01", active=True).rep("r1", "2025-06-01", active=False)
    with Warehouse.in_memory(book.tables()) as warehouse:
        before, after = (
            read_organisation(warehouse, ("rep",), as_of=datetime(2025, month, 1)).left
            for month in (5, 7)
        )
    assert before == frozenset()
    assert after == frozenset({"r1"})
