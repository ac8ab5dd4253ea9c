"""Fitness: alignments and token replay, each the other's check."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.mining.alignments import UNALIGNED
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.discovery import load_pm4py
from salesops_ml.mining.fitness import align_cases, fitness_of
from salesops_ml.mining.model_checks import net_of_rules
from salesops_ml.mining.model_files import to_pm4py
from salesops_ml.mining.petri_net import from_pm4py, net_of_moves, state_graph
from salesops_ml.mining.rule_checks import check_rules
from salesops_ml.mining.steps import as_steps
from salesops_ml.process_settings import ConformanceRules
from tests.mining.conftest import made_log

DAY = datetime(2026, 1, 1)
MOVES = {"S0": ["S1", "S3"], "S1": ["S2", "S0"], "S2": ["S3"]}


@pytest.mark.parametrize("seed", range(3))
def test_log_and_mean_fitness_are_those_of_pm4py(seed: int) -> None:
    log = made_log(60, seed)
    net = net_of_moves(MOVES, starts=["S0"], ends=["S3"])
    steps = as_steps(log)
    found = fitness_of(steps, net, align_cases(steps, net))
    theirs = load_pm4py().conformance_diagnostics_alignments(
        log, *to_pm4py(net), multi_processing=False
    )
    deviations = [one["cost"] // 10_000 for one in theirs]
    assert found.fitness == pytest.approx(
        1 - sum(deviations) / sum(one["bwc"] // 10_000 for one in theirs)
    )
    assert found.mean_fitness == pytest.approx(np.mean([one["fitness"] for one in theirs]))
    assert found.fitting == pytest.approx(np.mean([number == 0 for number in deviations]))
    assert found.deviations == pytest.approx(np.mean(deviations))
    assert (found.deals, found.aligned, found.ended) == (60, 60, 60)


@pytest.mark.parametrize("seed", range(3))
def test_token_replay_and_alignments_agree_on_which_deals_fit(seed: int) -> None:
    pm4py = load_pm4py()
    log = made_log(40, seed, length=5)
    tree = pm4py.discover_process_tree_inductive(
        log=made_log(40, seed, length=5).head(60), noise_threshold=0.0, multi_processing=False
    )
    net = from_pm4py(*pm4py.convert_to_petri_net(tree))
    steps = as_steps(log)
    found = fitness_of(steps, net, align_cases(steps, net))
    assert found.replay_fitting == pytest.approx(found.ended_fitting)
    assert found.replay_fitness is not None
    assert (found.replay_fitness == pytest.approx(1)) == (found.fitness == pytest.approx(1))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_a_deal_fits_the_agreed_moves_where_it_breaks_no_rule_of_moving(seed: int) -> None:
    log = made_log(25, seed)
    rules = ConformanceRules.model_validate(
        {"starts": ["S0", "S1"], "allowed": {"S0": ["S1", "S2"], "S1": ["S2"], "*": ["S3"]}}
    )
    steps = as_steps(log, as_of=DAY + timedelta(days=60), won=["S3"])
    net = net_of_rules(rules, ["S0", "S1", "S2", "S3"], ["S3"])
    aligned = align_cases(steps, net)
    fits = aligned.found.deviations[aligned.path] == 0
    broke = np.zeros(len(fits), dtype=bool)
    for one in check_rules(steps, rules, people=None, clock=Clock(), order=[]):
        broke[one.case[one.broken]] = True
    np.testing.assert_array_equal(fits, ~broke)


def test_open_deals_need_not_have_come_to_the_end() -> None:
    names = ["case:concept:name", "concept:name", "time:timestamp"]
    log = pd.DataFrame([("a", "S0", DAY), ("b", "S0", DAY), ("b", "S3", DAY)], columns=names)
    net = net_of_moves(MOVES, starts=["S0"], ends=["S3"])
    steps = as_steps(log, as_of=DAY + timedelta(days=1), won=["S3"])
    found = fitness_of(steps, net, align_cases(steps, net))
    assert (found.fitting, found.fitness, found.ended, found.ended_fitness) == (1, 1, 1, 1)
    assert found.replay_fitness == pytest.approx(1)
    over = as_steps(log.head(1))
    assert fitness_of(over, net, align_cases(over, net)).fitting == 0
    nothing = as_steps(log.head(1), as_of=DAY + timedelta(days=1), won=["S3"])
    alone = fitness_of(nothing, net, align_cases(nothing, net))
    assert (alone.ended_fitness, alone.replay_fitness) == (None, None)


def test_what_the_bound_leaves_out_is_counted() -> None:
    steps = as_steps(made_log(60, 2))
    net = net_of_moves(MOVES, starts=["S0"], ends=["S3"])
    aligned = align_cases(steps, net, max_work=400)
    found = fitness_of(steps, net, aligned)
    left_out = aligned.found.cost[aligned.path] == UNALIGNED
    assert 0 < found.aligned < 60
    assert found.aligned == (~left_out).sum()
    assert (np.diff(aligned.cases[aligned.found.cost != UNALIGNED]) <= 0).all()


def test_ten_thousand_stages_that_no_rule_speaks_of_stay_small() -> None:
    stages = [f"S{number}" for number in range(10_000)]
    rules = ConformanceRules.model_validate({"allowed": {"S0": ["S1"]}})
    graph = state_graph(net_of_rules(rules, stages, []))
    assert graph.states <= 5
    assert len(graph.source) <= 40_000
