"""Reasons add up to the published chance, to the last digit, whatever the model is made of."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.evaluation.proper_scores import logit
from salesops_ml.evaluation.splits import labels_at
from salesops_ml.models import DealScores, fit_deal_scores
from salesops_ml.models.calibration import Calibration
from salesops_ml.models.hazards import Looks
from salesops_ml.models.incidence_boosting import IncidenceModel
from salesops_ml.models.known_deals import NO_SIGNAL, UNSEEN_STAGE
from salesops_ml.models.reasons import BASE, CALIBRATION, Parts, strongest
from salesops_ml.models.score_parts import curve_parts
from salesops_ml.models.shapley import filled, grouped_shapley, spread, thinned
from salesops_ml.models.voices import Voices, fit_table
from salesops_ml.models.win_mass import Stack
from salesops_ml.models.wording import in_words
from tests.models.conftest import Company


@pytest.fixture(scope="module")
def told(company: Company) -> DealScores:
    """The company's model with a memory, and a say for each of its voices."""
    learn = company.data[company.block.isin(["train", "calibration"])]
    won = (labels_at(learn, company.borders.test_from)["event"] == 1).to_numpy()
    heard = {"hazards": 0.4, "classifier": 0.35, "logistic": 0.3}
    there = [name for name in heard if name == "hazards" or _voice(company.model, name)]
    stack = Stack(tuple(there), tuple(heard[name] for name in there), 0.1)
    return replace(company.model, stack=stack).remembering(learn, won)


def _voice(model: DealScores, name: str) -> object:
    return getattr(model.voices, name)


def gap(parts: Parts, model: DealScores, rows: pd.DataFrame) -> float:
    """By how much, at most, the groups fail to add up to the log-odds of the published chance."""
    wanted = logit(model.predict(rows)["p_win"].to_numpy())
    return float(np.abs(parts.groups.sum(axis=1).to_numpy() - wanted).max())


def test_groups_base_and_calibration_sum_to_the_published_chance(
    company: Company, told: DealScores
) -> None:
    rows = company.test.head(40)
    parts = told.parts(rows)
    assert gap(parts, told, rows) < 1e-6
    assert parts.groups[CALIBRATION].to_numpy() == pytest.approx(0, abs=1e-6)
    assert parts.groups["stage"].std() > 0.05


def test_calibration_is_a_term_of_its_own(company: Company, told: DealScores) -> None:
    rows = company.test.head(20)
    mapped = replace(told, calibration=Calibration("beta", (0.8, 1.2, 0.3)))
    before, after = told.parts(rows), mapped.parts(rows)
    assert gap(after, mapped, rows) < 1e-6
    pd.testing.assert_frame_equal(
        before.groups.drop(columns=CALIBRATION), after.groups.drop(columns=CALIBRATION)
    )
    assert after.groups[CALIBRATION].abs().min() > 1e-3


def test_saved_and_loaded_the_reasons_are_the_same(
    company: Company, told: DealScores, tmp_path: Path
) -> None:
    told.save(tmp_path)
    again, rows = DealScores.load(tmp_path, threads=1), company.test.head(25)
    assert again.known == told.known
    parts = again.parts(rows)
    assert gap(parts, again, rows) < 1e-6
    pd.testing.assert_frame_equal(parts.groups, told.parts(rows).groups, check_exact=True)
    assert again.reasons(rows) == told.reasons(rows)
    assert again.caution(rows) == told.caution(rows)


def test_a_model_without_memory_still_adds_up(company: Company, told: DealScores) -> None:
    blank, rows = replace(told, known=type(told.known)()), company.test.head(10)
    assert gap(blank.parts(rows), blank, rows) < 1e-6


def test_the_rival_of_the_hazards_adds_up(company: Company, told: DealScores) -> None:
    learn = company.data[company.block == "train"].head(4_000)
    assert told.encoder is not None
    rival = IncidenceModel.fit(
        Looks.of(learn, labels_at(learn, company.borders.test_from)),
        encoder=told.encoder, models=company.settings.models, seed=1, threads=1, trees=8,
    )  # fmt: skip
    model = replace(told, voices=replace(told.voices, timing=rival))
    rows = company.test.head(15)
    assert gap(model.parts(rows), model, rows) < 1e-6


def test_no_rows_no_reasons(company: Company, told: DealScores) -> None:
    assert told.reasons(company.test.head(0)) == []
    assert told.caution(company.test.head(0)) == []


def test_the_order_and_company_of_rows_do_not_matter(company: Company, told: DealScores) -> None:
    rows = company.test.head(12)
    alone = pd.concat([told.parts(rows.iloc[[i]]).groups for i in range(11, -1, -1)])
    pd.testing.assert_frame_equal(told.parts(rows).groups.loc[alone.index], alone, rtol=1e-9)


def test_the_typical_deal_needs_no_explanation(company: Company, told: DealScores) -> None:
    encoder = told.encoder
    assert encoder is not None
    typical = pd.DataFrame({name: [told.known.typical[name]] for name in encoder.names})
    typical = typical.astype(dict.fromkeys(encoder.numeric, float))
    parts = curve_parts(told.timing, typical, told.known, pairs=1)
    assert (parts.drop(columns=BASE) == 0).all(axis=None)


def test_the_table_tells_stage_and_age_against_the_company(company: Company) -> None:
    learn = company.data[company.block == "train"]
    labels = labels_at(learn, company.borders.test_from)
    table = fit_table(learn, labels, company.settings, by_stage=True)
    stack, plain = Stack.average(("hazards",)), Calibration()
    model = replace(company.model, voices=Voices(table), stack=stack, calibration=plain)
    rows = company.test.head(60)
    parts = model.parts(rows)
    assert gap(parts, model, rows) < 1e-6
    assert set(parts.groups) == {"stage", "pace", BASE, CALIBRATION}
    assert parts.groups[BASE].nunique() == 1
    assert parts.groups.groupby(rows["stage"].to_numpy())["stage"].nunique().max() == 1
    texts = [reason["text"] for row in model.reasons(rows) for reason in row]
    assert texts
    assert all("not known" not in text for text in texts)


def test_the_base_rate_gives_no_reasons_and_says_so(company: Company) -> None:
    learn = company.data[company.block == "train"]
    labels = labels_at(learn, company.borders.test_from)
    table = fit_table(learn, labels, company.settings, by_stage=False)
    facts = {**company.model.facts, "answer": "base_rate"}
    stack = Stack.average(("hazards",))
    model = replace(
        company.model, voices=Voices(table), stack=stack, calibration=Calibration(), facts=facts
    )
    rows = company.test.head(5)
    assert gap(model.parts(rows), model, rows) < 1e-6
    assert model.reasons(rows) == [[]] * 5
    assert model.caution(rows) == [NO_SIGNAL] * 5


def test_undated_deals_add_up(company: Company) -> None:
    random = np.random.default_rng(5)
    n = 900
    segment = random.choice(["a", "b", "c"], n)
    size = random.lognormal(3, 1, n)
    z = (segment == "a") * 1.5 - 0.7 + 0.5 * np.log(size / 20)
    won = random.random(n) < 1 / (1 + np.exp(-z))
    data = pd.DataFrame(
        {
            "deal_id": [f"d{i:04}" for i in range(n)],
            "as_of": pd.Timestamp("2026-01-01"),
            "created_at": pd.NaT,
            "f_x_segment": pd.Series(segment, dtype=object),
            "f_x_size": size,
            "outcome": np.where(won, "won", "lost"),
            "days_to_outcome": 0.0,
            "days_observed": 0.0,
        }
    )
    block = pd.Series(np.array(["test", "calibration", "train", "train"])[np.arange(n) % 4])
    spec = replace(company.spec, blocks=())
    model = fit_deal_scores(data, block, None, spec=spec, settings=company.settings)
    rows = data[block == "test"]
    model = model.remembering(data[block != "test"], won[block != "test"])
    parts = model.parts(rows)
    assert gap(parts, model, rows) < 1e-6
    means = parts.groups["segment"].groupby(rows["f_x_segment"]).mean()
    assert means["a"] > means["b"] + 0.3


def test_strongest_three_a_side_signed_and_with_their_own_feature(
    company: Company, told: DealScores
) -> None:
    rows = company.test.head(40)
    parts = told.parts(rows)
    for i, reasons in enumerate(strongest(parts, rows, told.known)):
        sums = parts.groups.iloc[i].drop([BASE, CALIBRATION])
        assert sum(reason.contribution > 0 for reason in reasons) <= 3
        assert sum(reason.contribution < 0 for reason in reasons) <= 3
        for reason in reasons:
            assert reason.contribution == sums[reason.group]
        for sign in (1, -1):
            mine = [abs(r.contribution) for r in reasons if sign * r.contribution > 0]
            best = sorted((sign * sums)[sign * sums > 0.02], reverse=True)[:3]
            assert mine == pytest.approx(best)


def test_words_measure_a_deal_by_deals_that_won() -> None:
    deal = {"stage": "Negotiation", "f_days_in_stage": 27.0, "f_days_in_stage_of_won": 27 / 11}
    said = "27 days in Negotiation (deals that won took 11)"
    assert in_words("f_days_in_stage", 27.0, row=deal) == said
    assert in_words("f_days_in_stage_of_won", 27 / 11, row=deal) == said
    assert in_words("f_kind_demo_30d", 0.0, won={"f_kind_demo_30d": 2.0}).endswith("(won deals: 2)")
    assert "won deals" not in in_words("f_weekday", 0.0, won={"f_weekday": 2.0})
    assert (
        in_words("f_days_since_quote", float("nan"), won={"f_days_since_quote": 3})
        == "no quote yet"
    )


def test_caution_names_what_is_unlike_everything_learned(
    company: Company, told: DealScores
) -> None:
    rows = company.test.head(5).copy()
    rows["stage"] = rows["stage"].astype(object)
    rows.iloc[0, rows.columns.get_loc("stage")] = "Steering committee"
    rows.iloc[1, rows.columns.get_loc("f_age_days")] = 9_999.0
    rows.loc[rows.index[2], [n for n in rows.columns if n.startswith("f_")]] = None
    said = told.caution(rows)
    assert said[0] is not None
    assert said[0].startswith(f"{UNSEEN_STAGE}: Steering committee")
    assert said[1] is not None
    assert "older than 99.9%" in said[1]
    assert said[2] is not None
    assert "not known" in said[2]


def test_caution_is_rare_among_the_deals_learned_from(company: Company, told: DealScores) -> None:
    learn = company.data[company.block.isin(["train", "calibration"])]
    assert np.mean([said is not None for said in told.caution(learn)]) <= 0.003


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 8))
def test_shares_sum_to_the_difference(seed: int, groups: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(rows, groups))
    matrix[random.random(matrix.shape) < 0.2] = np.nan
    typical = random.normal(size=groups)
    matrix = np.where(random.random(matrix.shape) < 0.3, typical, matrix)

    def value(x: np.ndarray) -> np.ndarray:
        filled_in = np.nan_to_num(x, nan=0.5)
        return np.sin(filled_in).sum(axis=1) * np.prod(1 + filled_in**2, axis=1) ** 0.1

    shares = grouped_shapley(
        value, matrix, typical, [np.array([g]) for g in range(groups)], pairs=1
    )
    gap = value(matrix) - value(typical[None])[0]
    assert shares.sum(axis=1) == pytest.approx(gap)
    assert (shares[matrix == typical] == 0).all()
    assert spread(shares, gap + 1).sum(axis=1) == pytest.approx(gap + 1)


def test_with_many_orders_shares_approach_shapley_values_by_definition() -> None:
    deal, typical = np.array([[1.0, 2.0, 3.0]]), np.zeros(3)

    def value(x: np.ndarray) -> np.ndarray:
        return x[:, 0] * x[:, 1] + x[:, 2] * x[:, 0] * x[:, 1] - x[:, 2]

    exact = np.zeros(3)
    for order in permutations(range(3)):
        row = typical.copy()
        for g in order:
            before = value(row[None])[0]
            row[g] = deal[0, g]
            exact[g] += (value(row[None])[0] - before) / 6
    groups = [np.array([g]) for g in range(3)]
    found = grouped_shapley(value, deal, typical, groups, pairs=400)[0]
    assert found == pytest.approx(exact, abs=0.25)


@given(st.integers(2, 60), st.integers(2, 10))
def test_lines_are_filled_exactly(count: int, most: int) -> None:
    line = 3.0 - 2.0 * np.arange(count)[None]
    places = thinned(count, most)
    assert filled(line[:, places], places, count) == pytest.approx(line)


def test_one_is_told_as_one() -> None:
    assert in_words("f_moves", 1.0) == "1 stage move"
    assert in_words("f_days_in_stage", 21.0) == "21 days in this stage"
    assert in_words("f_pushes", 1.0) == "close date pushed once"
