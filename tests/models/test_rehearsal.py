"""What the rehearsal decides: clocks, held-out customers, the rival, signal, and enough deals."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from salesops_ml.errors import ModelError
from salesops_ml.evaluation.curve_scores import curve_losses
from salesops_ml.evaluation.measure import Judged, measure_win
from salesops_ml.evaluation.reliability_parts import reliability_by
from salesops_ml.evaluation.splits import labels_at
from salesops_ml.models import DealScores, fit_deal_scores
from salesops_ml.models.baselines import baseline_scores
from salesops_ml.models.clock_guard import clocklike
from salesops_ml.models.encoding import Encoder
from salesops_ml.models.hazards import Looks
from salesops_ml.models.held_out import by_chance, hold_out
from salesops_ml.models.incidence_boosting import IncidenceModel
from salesops_ml.models.signal import BASE_RATE, MODEL, STAGE_AGE, Told, choose_answer
from salesops_ml.models.sufficiency import _saved
from salesops_ml.models.timing_calibration import TimingMap
from salesops_ml.models.voices import fit_flat_table, fit_voices


def test_counters_and_short_seasons_are_clocks_and_honest_features_are_not() -> None:
    random = np.random.default_rng(1)
    days = pd.date_range("2026-01-01", periods=100)
    looks = pd.DataFrame(
        {
            "deal_id": np.repeat([f"d{i}" for i in range(100)], 3),
            "as_of": np.repeat(days, 3) + pd.to_timedelta(np.tile([0, 7, 14], 100), "D"),
            "f_age_days": np.tile([0.0, 7.0, 14.0], 100),
            "f_rep_closed": np.repeat(np.arange(100.0), 3),
            "f_month": np.repeat(days.month.astype(float), 3),
            "f_amount": random.normal(size=300),
        }
    )
    assert clocklike(looks) == ["f_month", "f_rep_closed"]
    assert "f_rep_closed" not in Encoder.fit(looks).names
    assert clocklike(looks.drop(columns="as_of")) == []


def test_a_customer_is_held_back_with_all_its_deals(company: Any) -> None:
    learn = company.data[company.block.isin(["train", "calibration"])]
    labels = labels_at(learn, company.borders.test_from)
    held = hold_out(learn, labels, np.zeros(len(learn), dtype=bool), horizon=90)
    drawn = learn.assign(held=held.rows).dropna(subset="account_id")
    assert (drawn.groupby("account_id")["held"].nunique() == 1).all()
    assert 0.15 < by_chance(learn).mean() < 0.35
    assert held.supported
    assert len(held.early_labels) == (~held.rows).sum()
    assert not hold_out(learn, labels, held.rows, horizon=1_400).supported


def test_curve_losses_equal_a_loop_by_hand() -> None:
    random = np.random.default_rng(3)
    followed = random.uniform(5, 60, 40)
    ends = random.uniform(1, 60, 40)
    event = np.where(ends <= followed, random.integers(1, 3, 40), 0)
    duration = np.minimum(ends, followed)
    days = np.array([10.0, 30.0])
    won, lost = random.uniform(0.05, 0.4, (2, 40, 2))
    total = 0.0
    for i in range(40):
        for j, day in enumerate(days):
            if event[i] and duration[i] <= day:
                share = np.mean(followed >= duration[i])
                chance = won[i, j] if event[i] == 1 else lost[i, j]
            elif followed[i] >= day:
                share, chance = np.mean(followed >= day), 1 - won[i, j] - lost[i, j]
            else:
                continue
            total -= np.log(chance) / share / 2
    told = curve_losses(event, duration, followed, days, won, lost)
    assert told.sum() == pytest.approx(total)


def test_the_rival_draws_lawful_curves_and_survives_saving(company: Any, tmp_path: Path) -> None:
    learn = company.data[company.block == "train"]
    looks = Looks.of(learn, labels_at(learn, company.borders.test_from))
    encoder = company.model.encoder
    models = company.settings.models.model_copy(update={"trees": 100})
    rival = IncidenceModel.fit(looks, encoder=encoder, models=models, seed=1, threads=1)
    curves = rival.curves(company.test)
    for curve in (curves.cif_won, curves.cif_lost):
        assert (np.diff(curve, axis=1) >= 0).all()
        assert (curve[:, 0] == 0).all()
    assert (curves.cif_won[:, -1] + curves.cif_lost[:, -1] <= 1 + 1e-12).all()
    rival.save(tmp_path)
    again = IncidenceModel.load(tmp_path, encoder, 90, 1).curves(company.test)
    assert (again.cif_won == curves.cif_won).all()
    model = company.model
    voices = dataclasses.replace(model.voices, timing=rival)
    whole = dataclasses.replace(model, voices=voices, bend=TimingMap.straight())
    whole.save(tmp_path / "whole")
    loaded = DealScores.load(tmp_path / "whole", threads=1)
    assert loaded.predict(company.test).equals(whole.predict(company.test))


def test_the_rehearsal_is_told_and_names_both_runners(company: Any) -> None:
    told = company.model.facts["rehearsal"]
    assert set(told["timing"]["curve_log_loss"]) == {"hazards", "incidence_boosting"}
    assert told["signal"]
    assert told["calibration"] in ("none", "beta", "venn_abers")
    assert company.model.facts["answer"] == MODEL
    assert f"{told['sufficiency']['closed_deals']:,}" in told["sufficiency"]["sentence"]


def test_outcomes_drawn_by_lot_are_told_as_no_signal(company: Any) -> None:
    data = company.data.copy()
    random = np.random.default_rng(5)
    closed = data["outcome"] != "open"
    deals = data.loc[closed, "deal_id"].unique()
    lot = pd.Series(random.choice(["won", "lost"], len(deals)), index=deals)
    data.loc[closed, "outcome"] = data.loc[closed, "deal_id"].map(lot)
    blind = [name for name in data if "win_rate" in name or "_of_won" in name]
    data = data.drop(columns=blind)
    model = fit_deal_scores(
        data, company.block, company.borders, spec=company.spec, settings=company.settings
    )
    assert model.facts["answer"] in (BASE_RATE, STAGE_AGE)
    assert "no signal beyond the base rate" in model.facts["calibration"]
    said = model.predict(data[company.block == "test"])
    share = said["p_win"] / (said["p_win"] + said["p_lost"])
    assert share.std() < 0.1


def test_the_flat_table_gives_every_deal_that_ends_one_chance(company: Any) -> None:
    learn = company.data[company.block == "train"]
    table = fit_flat_table(learn, labels_at(learn, None), company.settings)
    curves = table.curves(company.test)
    share = curves.cif_won[:, -1] / (curves.cif_won[:, -1] + curves.cif_lost[:, -1])
    assert share == pytest.approx(table.share())


def test_a_gain_must_exceed_its_noise() -> None:
    random = np.random.default_rng(2)
    won = random.random(400) < 0.4
    told = {
        MODEL: np.where(won, 0.7, 0.2),
        STAGE_AGE: np.full(400, 0.41),
        BASE_RATE: np.full(400, 0.4),
    }
    rest: tuple[Any, ...] = (
        won,
        np.ones(400, dtype=bool),
        np.ones(400),
        np.arange(400).astype(object),
    )
    answers = {name: Told(p, p) for name, p in told.items()}
    assert choose_answer(answers, *rest, seed=1)[0] == MODEL
    noise = np.clip(0.4 + random.normal(0, 0.15, 400), 0.05, 0.95)
    answers[MODEL] = Told(noise, noise)
    assert choose_answer(answers, *rest, seed=1)[0] == BASE_RATE


def test_three_times_as_many_deals_by_a_known_power_law() -> None:
    curve = [[n, 0.4 + 2.0 / n**0.5] for n in (100.0, 200.0, 400.0)]
    assert _saved(curve, 400) == pytest.approx(2 / 400**0.5 - 2 / 1200**0.5)
    flat = [[n, 0.5] for n in (100.0, 200.0, 400.0)]
    assert _saved(flat, 400) == pytest.approx(0.0, abs=1e-12)


def test_only_the_voices_that_are_asked_are_fitted(company: Any) -> None:
    learn = company.data[company.block == "train"].head(600)
    labels = labels_at(learn, None)
    alone = fit_voices(learn, labels, company.settings, only=("hazards",))
    assert alone.classifier is None
    assert alone.logistic is None
    assert alone.table is None
    plain = fit_voices(learn, labels, company.settings, only=("attributes",), plain=True)
    assert plain.attributes is not None
    assert plain.classifier is None
    p = plain.attributes.predict(company.test)
    assert ((p > 0) & (p < 1)).all()


def test_naive_bayes_stands_among_the_baselines(company: Any) -> None:
    told = baseline_scores(company.data, company.block, company.borders, settings=company.settings)
    assert {"base_rate", "stage_age", "logistic", "naive_bayes"} <= set(told)
    assert told["naive_bayes"]["p_win"].between(0, 1).all()


def test_parts_hold_the_rows_and_shares_that_a_loop_finds(company: Any) -> None:
    rows = company.test.reset_index(drop=True)
    judged = Judged.of(rows, 90)
    p = company.model.predict(rows)["p_win"].to_numpy()
    told = reliability_by(judged, p)
    assert {"stage", "deal size", "age"} <= set(told)
    for value, part in told["stage"].items():
        mine = (rows["stage"] == value).to_numpy()
        weight = judged.weight[mine]
        assert part["rows"] == mine.sum()
        assert part["share_won"] == pytest.approx(np.average(judged.won[mine], weights=weight))
        low, high = part["share_won_interval"]
        assert low <= part["share_won"] <= high


def test_every_figure_of_a_score_carries_an_interval_by_deal(company: Any) -> None:
    rows = company.test.reset_index(drop=True)
    judged = Judged.of(rows, 90)
    said = company.model.predict(rows)
    told = measure_win(judged, said["p_win"].to_numpy(), said["p_lost"].to_numpy())
    for name in ("log_loss", "brier", "auc", "calibration_slope"):
        low, high = told[f"{name}_interval"]
        assert low < told[name] < high
    assert told["calibration_error_interval"][1] > told["calibration_error"]


def test_all_open_is_an_error_and_a_single_stage_is_not(company: Any) -> None:
    learn = company.data[company.block.isin(["train", "calibration"])]
    shared: dict[str, Any] = {"spec": company.spec, "settings": company.settings}
    still_open = learn.assign(outcome="open", days_to_outcome=np.nan)
    with pytest.raises(ModelError, match="no deal is known as won"):
        fit_deal_scores(still_open, company.block[learn.index], company.borders, **shared)
    one = learn.assign(stage="Only", f_stage="Only", f_amount_ratio=1.0)
    model = fit_deal_scores(one, company.block[learn.index], company.borders, **shared)
    assert "f_amount_ratio" not in model.encoder.names
    p = model.predict(company.test.assign(stage="Only", f_stage="Only"))["p_win"]
    assert p.between(0, 1).all()
    assert p.nunique() > 10
