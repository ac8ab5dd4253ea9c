"""Trees that add up: structures, weights against their definition, joiners and leavers, real panels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.errors import DataError, UsageError
from salesops_ml.forecasts import forecast_hierarchy, sample_hierarchy
from salesops_ml.forecasts.hierarchical import _steadied
from salesops_ml.forecasts.hierarchy import Tree
from salesops_ml.forecasts.reconciliation import METHODS, leaf_weights, shrunken_covariance
from salesops_ml.forecasts.summing import Structure
from tests.needs import shared_data

CROSSED = {
    "all": ["north", "south"],
    "north": ["n-core", "n-plus"],
    "south": ["s-core", "s-plus"],
    "core": ["n-core", "s-core"],
    "plus": ["n-plus", "s-plus"],
}
ASKED: dict[str, Any] = {"horizon": 3, "season_length": 4, "freq": "QS", "mode": "fast"}


def panel_of(values: dict[str, Any], start: str = "2018-01-01") -> pd.DataFrame:
    """Quarterly values, all ending together."""
    longest = max(map(len, values.values()))
    quarters = pd.date_range(start, periods=longest, freq="QS")
    return pd.concat(
        pd.DataFrame({"unique_id": name, "ds": quarters[longest - len(y) :], "y": y})
        for name, y in values.items()
    )


@pytest.fixture
def crossed() -> pd.DataFrame:
    random = np.random.default_rng(3)
    season = np.tile([1.0, 1.3, 0.8, 1.1], 8)
    levels = {"n-core": 100, "n-plus": 40, "s-core": 60, "s-plus": 5}
    return panel_of({leaf: y * season * random.lognormal(0, 0.1, 32) for leaf, y in levels.items()})


def gap(told: pd.DataFrame, parts: dict[str, list[str]]) -> float:
    """The largest distance between a total and the sum of its parts."""
    mean = told.pivot(index="ds", columns="unique_id", values="mean")
    return max(
        float((mean[total] - mean[below].sum(axis=1)).abs().max()) for total, below in parts.items()
    )


def test_a_mapping_that_crosses_itself_sums_by_every_way(crossed: pd.DataFrame) -> None:
    structure = Structure.of(CROSSED)
    assert structure.nodes[-4:] == structure.leaves == ("n-core", "n-plus", "s-core", "s-plus")
    rows = dict(zip(structure.nodes, structure.matrix.tolist(), strict=True))
    assert rows["all"] == [1, 1, 1, 1]
    assert rows["core"] == [1, 0, 1, 0]
    assert rows["south"] == [0, 0, 1, 1]
    level = dict(zip(structure.nodes, structure.level.tolist(), strict=True))
    assert (level["all"], level["core"], level["north"], level["s-plus"]) == (0, 1, 1, 2)


def test_levels_do_not_depend_on_how_the_totals_are_told() -> None:
    nested, flat = (
        Structure.of(CROSSED),
        Structure.of({**CROSSED, "all": [*CROSSED["core"], *CROSSED["plus"]]}),
    )
    assert flat.nodes == nested.nodes
    assert flat.level.tolist() == nested.level.tolist()


def test_a_tree_of_paths_and_its_mapping_are_one_structure() -> None:
    tree = Tree.over(["company/A/x", "company/A/y", "company/B/z"])
    parts = {
        "company": ["company/A", "company/B"],
        "company/A": ["company/A/x", "company/A/y"],
        "company/B": ["company/B/z"],
    }
    of_tree, of_parts = Structure.of(tree), Structure.of(parts)
    assert of_tree.nodes == of_parts.nodes
    assert of_tree.matrix.tolist() == of_parts.matrix.tolist()
    assert of_tree.level.tolist() == of_parts.level.tolist()


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"all": ["a", "b"], "b": []}, "`b` has no children"),
        ({"all": ["a"], "a": ["b"], "b": ["a"]}, "has a cycle: "),
        ({"all": ["a", "x"], "a": ["x", "y"]}, "`all` holds `x` twice"),
    ],
)
def test_what_is_no_tree_is_named(parts: dict[str, list[str]], words: str) -> None:
    with pytest.raises(DataError, match=words):
        Structure.of(parts)


@given(seed=st.integers(0, 999), times=st.integers(0, 12), method=st.sampled_from(METHODS))
def test_forecasts_that_agree_stay_as_they_are(seed: int, times: int, method: Any) -> None:
    summing = Structure.of(CROSSED).matrix
    errors = np.random.default_rng(seed).normal(size=(times, len(summing)))
    weights = leaf_weights(summing, errors, method)
    assert weights @ summing == pytest.approx(np.eye(summing.shape[1]), abs=1e-8)


def test_mint_equals_its_formula_and_no_linear_rule_does_better() -> None:
    summing = Structure.of(CROSSED).matrix
    errors = np.random.default_rng(5).normal(size=(30, len(summing))) * np.arange(1, 10)
    known = shrunken_covariance(errors)
    inverse = np.linalg.inv(known)
    formula = np.linalg.inv(summing.T @ inverse @ summing) @ summing.T @ inverse
    ours = leaf_weights(summing, errors, "mint_shrink")
    assert ours == pytest.approx(formula, abs=1e-8)
    trace = {
        method: np.trace(summing @ g @ known @ g.T @ summing.T)
        for method in METHODS
        for g in [leaf_weights(summing, errors, method)]
    }
    assert min(trace, key=lambda method: trace[method]) == "mint_shrink"


def test_shrinking_keeps_the_variances_and_weakens_the_correlations() -> None:
    errors = np.random.default_rng(1).normal(size=(12, 5))
    errors[:, 1] += errors[:, 0]
    plain = errors.T @ errors / 12
    shrunk = shrunken_covariance(errors)
    assert np.diag(shrunk) == pytest.approx(np.diag(plain))
    off = ~np.eye(5, dtype=bool)
    assert (np.abs(shrunk[off]) < np.abs(plain[off])).all()
    assert (np.linalg.eigvalsh(shrunk) > 0).all()


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 999), method=st.sampled_from(METHODS))
def test_parents_are_the_sum_of_their_children(seed: int, method: Any) -> None:
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 30, size=3)
    values = {
        leaf: random.gamma(2, 50, size=n)
        for leaf, n in zip(("n-core", "n-plus", "s-core"), lengths, strict=True)
    }
    values["s-plus"] = random.gamma(2, 50, size=30)
    told = forecast_hierarchy(panel_of(values), CROSSED, method=method, **ASKED)
    assert len(told) == 9 * 3
    assert gap(told, CROSSED) < 1e-6
    assert (told["mean"] >= 0).all()
    known = told.dropna()
    assert (known["lo_95"] <= known["lo_80"]).all()
    assert (known["hi_80"] <= known["hi_95"]).all()


def test_samples_add_up_keep_the_mean_and_go_wrong_together(crossed: pd.DataFrame) -> None:
    told = forecast_hierarchy(crossed, CROSSED, **ASKED)
    nodes, draws = sample_hierarchy(crossed, CROSSED, draws=4_000, **ASKED)
    place = {node: number for number, node in enumerate(nodes)}
    for total, below in CROSSED.items():
        parts = draws[:, [place[part] for part in below]].sum(axis=1)
        assert draws[:, place[total]] == pytest.approx(parts)
    mean = told["mean"].to_numpy().reshape(len(nodes), 3)
    assert draws.mean(axis=0) == pytest.approx(mean, rel=0.05)
    again = sample_hierarchy(crossed, CROSSED, draws=4_000, **ASKED)[1]
    assert (again == draws).all()


def test_a_leaver_gets_nothing_and_a_joiner_counts_from_the_start(crossed: pd.DataFrame) -> None:
    last = crossed["ds"].max()
    left = crossed[(crossed["unique_id"] != "n-plus") | (crossed["ds"] < last)]
    told = forecast_hierarchy(left, CROSSED, **ASKED).set_index("unique_id")
    assert (told.loc["n-plus", "mean"] == 0).all()
    assert told.loc["north", "mean"].tolist() == pytest.approx(told.loc["n-core", "mean"].tolist())
    joined = crossed[
        (crossed["unique_id"] != "n-plus") | (crossed["ds"] > last - pd.DateOffset(years=1))
    ]
    told = forecast_hierarchy(joined, CROSSED, **ASKED).set_index("unique_id")
    assert told.loc["n-plus", "mean"].mean() == pytest.approx(42, rel=0.3)
    assert gap(told.reset_index(), CROSSED) < 1e-6


def test_bad_panels_and_words_are_named(crossed: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="leaf `s-plus` has no rows"):
        forecast_hierarchy(crossed[crossed["unique_id"] != "s-plus"], CROSSED, **ASKED)
    with pytest.raises(DataError, match="stands twice"):
        forecast_hierarchy(pd.concat([crossed, crossed.head(1)]), CROSSED, **ASKED)
    with pytest.raises(UsageError, match="no reconciliation `best`"):
        forecast_hierarchy(crossed, CROSSED, method="best", **ASKED)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="`horizon` is 0"):
        forecast_hierarchy(crossed, CROSSED, **{**ASKED, "horizon": 0})
    short = crossed[crossed["ds"] > crossed["ds"].max() - pd.DateOffset(years=1)]
    with pytest.raises(DataError, match="no past day can be replayed"):
        sample_hierarchy(short, CROSSED, **ASKED)


@pytest.mark.slow
def test_tourism_adds_up_and_its_intervals_hold_what_they_promise() -> None:
    folder = shared_data("tourism_small")
    data = pd.read_csv(folder / "data.csv", index_col=0, parse_dates=True)
    sums = pd.read_csv(folder / "agg_mat.csv", index_col=0)
    leaves = list(sums.columns)
    parts = {
        node: [leaf for leaf in leaves if row[leaf] == 1]
        for node, row in sums.iterrows()
        if node not in leaves
    }
    inside = []
    for back in (4, 8, 12, 16):
        seen = data.iloc[:-back]
        panel = (
            seen[leaves]
            .rename_axis("ds")
            .reset_index()
            .melt("ds", var_name="unique_id", value_name="y")
        )
        mode: Any = "best" if back == 4 else "fast"
        told = forecast_hierarchy(panel, parts, horizon=4, season_length=4, freq="QE", mode=mode)
        assert gap(told, parts) < 1e-6
        later = data.iloc[len(data) - back :].head(4)
        happened = later.rename_axis("ds").reset_index().melt("ds", var_name="unique_id")
        told = told.merge(happened, on=["ds", "unique_id"])
        assert len(told) == 89 * 4
        inside.append(told["value"].between(told["lo_80"], told["hi_80"]))
    assert 0.74 < np.mean(inside) < 0.88


def test_spreads_lean_half_way_on_what_nodes_of_their_size_have() -> None:
    size = np.geomspace(1, 1_000, 9)
    usual = 0.2 * size**0.8
    assert _steadied(usual, size) == pytest.approx(usual)
    wild = usual.copy()
    wild[4] *= 9
    steadied = _steadied(wild, size)
    assert usual[4] * 3 < steadied[4] < wild[4]
    assert _steadied(np.append(usual, 0.0), np.append(size, 5.0))[-1] == 0.0
    assert (_steadied(wild[:7], size[:7]) == wild[:7]).all()
