"""Gates: bounds on figures, by dotted name."""

from __future__ import annotations

import math

import pytest

from salesops_ml.errors import ConfigError
from salesops_ml.evaluation.bootstrap import clustered_means, interval
from salesops_ml.evaluation.gates import check_gates
from salesops_ml.settings import Gate, parse


def test_a_gate_passes_within_its_bounds_and_says_why_not() -> None:
    gates = [Gate(metric="win.log_loss", at_most=0.5), Gate(metric="win.slope", at_least=0.9)]
    good, bad = check_gates(gates, {"win": {"log_loss": 0.5, "slope": 0.8}})
    assert good.passed
    assert not bad.passed
    assert bad.sentence() == "gate said no: win.slope is 0.8, must be at least 0.9"


@pytest.mark.parametrize("value", [None, math.nan])
def test_what_could_not_be_measured_does_not_pass(value: float | None) -> None:
    (verdict,) = check_gates([Gate(metric="a", at_most=1)], {"a": value})
    assert not verdict.passed
    assert "is not known" in verdict.sentence()


def test_an_unknown_metric_is_an_error_that_names_what_there_is() -> None:
    with pytest.raises(ConfigError, match="there is: auc, log_loss"):
        check_gates([Gate(metric="win.loss", at_most=1)], {"win": {"log_loss": 1, "auc": 1}})


def test_a_gate_without_a_bound_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="a gate needs `at_most` or `at_least`"):
        parse({"gates": [{"metric": "win.auc"}]})


def test_bootstrap_by_deal_is_wider_than_by_row_where_rows_are_siblings() -> None:
    import numpy as np

    rng = np.random.default_rng(1)
    value = np.repeat(rng.normal(size=80), 20)
    deal = np.repeat(np.arange(80), 20).astype(object)
    ones = np.ones(len(value))
    low, high = interval(value, ones, deal)
    rows_low, rows_high = interval(value, ones, np.arange(len(value)).astype(object))
    assert high - low > 3 * (rows_high - rows_low)
    spread = clustered_means(value, ones, deal, draws=500, seed=2).std()
    assert spread == pytest.approx(np.unique(value).std() / np.sqrt(80), rel=0.15)
