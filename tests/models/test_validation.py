"""Validation on past days: ours beside every baseline, pooled as a slow loop pools, paired by deal."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from salesops_ml.errors import DataError, ModelError
from salesops_ml.evaluation.rolling_origins import RollingOrigins, rolling_origins
from salesops_ml.evaluation.splits import split_by_time
from salesops_ml.models import fit_deal_scores
from salesops_ml.models.baselines import baseline_scores
from salesops_ml.models.fold_losses import FoldLosses
from salesops_ml.models.tuning import tune
from salesops_ml.models.validation import OURS, examine, pool, validate
from salesops_ml.settings import Settings, parse
from salesops_ml.snapshots import FeatureSpec, build_dataset, learn_spec, record_end
from salesops_ml.synthetic import WorldParameters, generate
from salesops_ml.warehouse import Warehouse

HORIZON = 60


@dataclass(frozen=True)
class Past:
    """A small company's looks, two origins in its past, and what validation said of them."""

    data: pd.DataFrame
    until: datetime
    rolled: RollingOrigins
    spec: FeatureSpec
    settings: Settings
    told: dict[str, Any]


@pytest.fixture(scope="module")
def past() -> Past:
    models = {
        "horizon_days": HORIZON, "trees": 12, "max_period_rows": 8_000, "max_classifier_rows": 3_000,
    }  # fmt: skip
    settings = parse({"threads": 1, "models": models})
    with Warehouse.in_memory(generate(WorldParameters(deals=900, seed=4))) as warehouse:
        as_of = record_end(warehouse)
        spec = learn_spec(warehouse, settings, as_of=as_of)
        data = build_dataset(warehouse, settings, spec, as_of=as_of)
    _, borders = split_by_time(data, settings.split)
    until = borders.test_from
    rolled = rolling_origins(data, until=until, folds=2, ripen_days=HORIZON)
    told = validate(rolled, spec=spec, settings=settings, draws=40)
    return Past(data, until, rolled, spec, settings, told)


def slow_log_loss(rows: pd.DataFrame, p_win: pd.Series) -> float:
    """IPCW log-loss at the horizon with a voice a deal, row by row, as one would by hand."""
    looks = rows["deal_id"].value_counts()
    voice = {place: 1 / looks[row.deal_id] for place, row in rows.iterrows()}
    followed = rows["days_observed"].to_dict()
    everything = sum(voice.values())
    total = mass = 0.0
    for place, row in rows.iterrows():
        closed = row.outcome != "open" and row.days_to_outcome <= HORIZON
        if not closed and row.days_observed < HORIZON:
            continue
        day = row.days_to_outcome if closed else HORIZON
        share = sum(voice[other] for other in voice if followed[other] >= day) / everything
        won = closed and row.outcome == "won"
        p = min(max(p_win[place], 1e-6), 1 - 1e-6)
        weight = voice[place] / share
        total += weight * -math.log(p if won else 1 - p)
        mass += weight
    return total / mass


def test_pooled_and_single_figures_equal_a_slow_loop(past: Past) -> None:
    rows, said = [], {OURS: [], "stage_age": [], "crm_probability": []}
    for fold, facts in zip(past.rolled.folds, past.told["folds"], strict=True):
        data = past.rolled.data
        test = data[fold.block == "test"]
        words = {"spec": past.spec, "settings": past.settings}
        model = fit_deal_scores(data, fold.block, fold.borders, **words)
        answers = baseline_scores(data, fold.block, fold.borders, settings=past.settings)
        answers[OURS] = model.predict(test)
        rows.append(test)
        for name, kept in said.items():
            kept.append(answers[name]["p_win"])
            by_hand = slow_log_loss(test, answers[name]["p_win"])
            assert facts["models"][name]["log_loss"] == pytest.approx(by_hand)
        assert facts["judged_deals"] == test["deal_id"].nunique()
    together = pd.concat(rows)
    pooled = past.told["pooled"]
    by_hand = {name: slow_log_loss(together, pd.concat(kept)) for name, kept in said.items()}
    for name, value in by_hand.items():
        assert pooled["models"][name]["log_loss"] == pytest.approx(value)
    saved = pooled["saved"]["stage_age"]
    assert saved["saved"] == pytest.approx(by_hand["stage_age"] - by_hand[OURS])
    assert saved["saved_interval"][0] <= saved["saved"] <= saved["saved_interval"][1]


def test_every_model_has_every_figure_with_an_interval(past: Past) -> None:
    places = [*past.told["folds"], past.told["pooled"]]
    baselines = {"base_rate", "stage_age", "logistic", "crm_probability"}
    for place in places:
        assert baselines | {OURS} <= set(place["models"])
        assert next(iter(place["models"])) == OURS
        assert place["horizon_days"] == HORIZON
        for name, figures in place["models"].items():
            for word in ("log_loss", "brier", "integrated_brier"):
                low, high = figures[f"{word}_interval"]
                assert low <= figures[word] <= high
            low, high = figures["dates"]["coverage_80_interval"]
            assert low <= figures["dates"]["coverage_80"] <= high
            assert figures["calibration_error_interval"] is not None
            if name == OURS:
                assert figures["auc_interval"][0] <= figures["auc"] <= figures["auc_interval"][1]
                assert figures["calibration_slope_interval"] is not None
    assert past.told["pooled"]["judged_deals"] == sum(f["judged_deals"] for f in past.told["folds"])
    assert json.loads(json.dumps(past.told)) == past.told


def test_the_pooled_interval_is_narrower_than_that_of_one_day(past: Past) -> None:
    def width(place: dict[str, Any]) -> float:
        low, high = place["models"][OURS]["log_loss_interval"]
        return float(high - low)

    assert width(past.told["pooled"]) < max(width(fold) for fold in past.told["folds"])


def test_what_came_after_the_test_border_changes_nothing(past: Past) -> None:
    twisted = past.data.copy()
    rng = np.random.default_rng(1)
    ended = twisted["as_of"] + pd.to_timedelta(twisted["days_to_outcome"], unit="D")
    after = (ended >= past.until) | ended.isna()
    reach = (pd.Timestamp(past.until) - twisted["as_of"]).dt.total_seconds() / 86_400
    twisted.loc[after, "outcome"] = "won"
    twisted.loc[after, "days_to_outcome"] = (reach.clip(lower=0) + rng.exponential(9) + 1)[after]
    twisted["days_observed"] = reach.clip(lower=0) + 500
    twisted = twisted[twisted["as_of"] < past.until]
    again = rolling_origins(twisted, until=past.until, folds=2, ripen_days=HORIZON)
    pd.testing.assert_frame_equal(again.data, past.rolled.data)


def test_the_contest_of_tuning_is_the_pooled_log_loss(past: Past) -> None:
    contest = FoldLosses.of(past.rolled, spec=past.spec, settings=past.settings)
    losses = [contest.losses(past.settings.models, fold) for fold in (0, 1)]
    mean = np.average(np.concatenate(losses), weights=np.concatenate(contest.weights))
    assert mean == pytest.approx(past.told["pooled"]["models"][OURS]["log_loss"])
    assert [len(deals) for deals in contest.deals] == [len(loss) for loss in losses]


def test_the_digest_names_data_folds_and_settings_but_not_row_order_or_threads(past: Past) -> None:
    def digest(rolled: RollingOrigins, settings: Settings = past.settings) -> str:
        return FoldLosses.of(rolled, spec=past.spec, settings=settings).digest

    same = digest(past.rolled)
    shuffled = past.data.sample(frac=1, random_state=1)
    words: dict[str, Any] = {"until": past.until, "ripen_days": HORIZON}
    assert digest(rolling_origins(shuffled, folds=2, **words)) == same
    assert digest(past.rolled, past.settings.model_copy(update={"threads": 2})) == same
    assert digest(past.rolled, past.settings.model_copy(update={"seed": 8})) != same
    assert digest(rolling_origins(past.data, folds=3, **words)) != same
    changed = past.data.assign(f_age_days=past.data["f_age_days"] + 1)
    assert digest(rolling_origins(changed, folds=2, **words)) != same


@pytest.mark.slow
def test_tuning_the_deal_model_is_repeatable_and_no_worse(past: Past, tmp_path: Any) -> None:
    space = {"leaves": {"low": 3, "high": 40}, "trees": {"low": 4, "high": 20}}
    settings = past.settings.model_copy(
        update={"tuning": parse({"tuning": {"space": space}}).tuning}
    )
    contest = FoldLosses.of(past.rolled, spec=past.spec, settings=settings)
    found = [
        tune(contest, settings, trials=2, storage=f"sqlite:///{tmp_path}/{n}.db") for n in range(2)
    ]
    assert found[0].best == found[1].best
    assert [t.log_loss for t in found[0].trials] == [t.log_loss for t in found[1].trials]
    assert found[0].best_log_loss <= found[0].in_use_log_loss
    now = past.told["pooled"]["models"][OURS]["log_loss"]
    assert found[0].in_use_log_loss == pytest.approx(now)


def test_models_missing_at_one_origin_are_left_out_of_the_pool(past: Past) -> None:
    parts = [
        examine(past.rolled, fold, spec=past.spec, settings=past.settings)
        for fold in past.rolled.folds[:1]
    ]
    whole = parts[0]
    less = type(whole)(whole.rows, {n: a for n, a in whole.answers.items() if n != "logistic"})
    assert "logistic" not in pool([whole, less]).answers
    assert len(pool([whole, less]).rows) == 2 * len(whole.rows)


def test_an_origin_before_anything_was_won_is_told(past: Past) -> None:
    lost = past.data.assign(outcome=past.data["outcome"].replace("won", "lost"))
    rolled = rolling_origins(lost, until=past.until, folds=2, ripen_days=HORIZON)
    with pytest.raises(ModelError, match="no deal is known as won"):
        validate(rolled, spec=past.spec, settings=past.settings)


def test_a_fold_of_which_nothing_is_known_is_told(past: Past) -> None:
    fold = past.rolled.folds[1]
    blind = past.rolled.data.copy()
    test = fold.block == "test"
    blind.loc[test, "outcome"] = "open"
    blind.loc[test, "days_observed"] = 1.0
    rolled = RollingOrigins(blind, past.rolled.folds, past.until, "deal")
    with pytest.raises(DataError, match="ask for fewer origins"):
        FoldLosses.of(rolled, spec=past.spec, settings=past.settings)
