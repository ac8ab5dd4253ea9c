"""The pipeline as a model of the day scores it: blind to later days, and honest about money."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from salesops_ml.app.past_pipeline import fit_past_pipeline, interval_borders
from salesops_ml.app.revenue import (
    held_out_money,
    past_scorer,
    scored_pipeline,
    usable_origins,
)
from salesops_ml.app.time_machine import replay_weeks
from salesops_ml.app.win_corrections import SPANS, corrected, money_factors
from salesops_ml.errors import DataError
from salesops_ml.evaluation.splits import labels_at
from salesops_ml.models.curves import Curves
from salesops_ml.models.hazard_table import COMPANY, HazardTable
from salesops_ml.schema import CanonicalTables, no_rejects
from salesops_ml.settings import Settings
from salesops_ml.snapshots import build_dataset, learn_spec
from salesops_ml.synthetic import WorldParameters, generate
from salesops_ml.warehouse import Warehouse
from tests.forecasts.companies import Book, corrupted

WORLD = WorldParameters(deals=1_500, years=2.0, seed=3)
END = datetime(2026, 7, 1)
BORDER = datetime(2026, 1, 1)
ORIGINS = [datetime(2025, 12, 4), datetime(2025, 12, 11), BORDER]
SETTINGS = Settings.model_validate({"forecast": {"samples": 100, "months": 3}, "threads": 1})


@pytest.fixture(scope="module")
def world() -> CanonicalTables:
    return generate(WORLD)


def scores(tables: CanonicalTables, origins: list[datetime]) -> list[pd.DataFrame]:
    with Warehouse.in_memory(tables) as warehouse:
        spec = learn_spec(warehouse, SETTINGS, as_of=origins[0])
        data = build_dataset(warehouse, SETTINGS, spec, as_of=END)
        score = past_scorer(warehouse, data, spec, SETTINGS, origins=origins)
        told = [score(origin) for origin in origins]
    return [one.deals.assign(won=list(one.cif_won), lost=list(one.cif_lost)) for one in told]


@pytest.mark.slow
def test_scores_know_nothing_of_later_days(world):
    """With everything after the last origin altered, every deal has the same curves as before."""
    honest, altered = scores(world, ORIGINS), scores(corrupted(world, BORDER, seed=5), ORIGINS)
    for before, after in zip(honest, altered, strict=True):
        assert len(before) > 20
        assert before["deal_id"].tolist() == after["deal_id"].tolist()
        for curve in ("won", "lost"):
            np.testing.assert_array_equal(np.stack(before[curve]), np.stack(after[curve]))


@pytest.mark.slow
def test_the_money_promised_is_the_money_won(world):
    """On the looks of all later weeks, promises are near what came, in money and in deals."""
    with Warehouse.in_memory(world) as warehouse:
        spec = learn_spec(warehouse, SETTINGS, as_of=BORDER)
        data = build_dataset(warehouse, SETTINGS, spec, as_of=END)
    before = data[data["as_of"] < BORDER]
    model = fit_past_pipeline(before, labels_at(before, BORDER), SETTINGS)
    later = data[(data["as_of"] >= BORDER) & (data["as_of"] < datetime(2026, 4, 1))]
    won = (later["outcome"] == "won") & (later["days_to_outcome"] <= 90)
    promised = model.curves(later).cif_won[:, -1]
    assert promised.sum() == pytest.approx(won.sum(), rel=0.25)
    money = later["amount"].fillna(0.0).to_numpy(dtype=float)
    assert promised @ money == pytest.approx(float(money @ won), rel=0.35)


def test_factors_by_hand():
    """Two deals of 100 watched to the end, each promised one half in the first week: one was won."""
    days = np.array([0.0, 7.0, 14.0, 42.0, 90.0])
    won = np.array([[0.0, 0.5, 0.5, 0.5, 0.5]] * 400)
    curves = Curves(days, won, np.zeros_like(won))
    labels = pd.DataFrame({"event": [1] * 100 + [0] * 300, "duration": [3.0] * 100 + [90.0] * 300})
    near, middle, far = money_factors(curves, pd.Series(np.full(400, 100.0)), labels)
    assert near == pytest.approx((100 + 60) / (200 + 60))
    assert (middle, far) == (1.0, 1.0)


def test_a_factor_of_one_changes_nothing_and_chances_stay_chances():
    rng = np.random.default_rng(1)
    steps = rng.dirichlet(np.ones(11), 50)[:, :10]
    zero = np.zeros((50, 1))
    won = np.hstack([zero, np.cumsum(steps[:, :5], axis=1)])
    lost = np.hstack([zero, np.cumsum(steps[:, 5:], axis=1)])
    curves = Curves(np.array([0.0, 7.0, SPANS[0], 30.0, SPANS[1], 90.0]), won, lost)
    same = corrected(curves, np.ones(3))
    np.testing.assert_allclose(same.cif_won, won, atol=1e-9)
    np.testing.assert_allclose(same.cif_lost, lost, atol=1e-9)
    more = corrected(curves, np.full(3, 1.5))
    assert (more.cif_won[:, -1] >= won[:, -1] - 1e-12).all()
    assert (more.cif_won + more.cif_lost <= 1 + 1e-9).all()
    assert (np.diff(more.cif_won, axis=1) >= 0).all()


def test_tonights_pipeline_is_corrected_by_what_was_held_out():
    """On held-out looks half the money promised in the near came; the open deals promise half."""
    days = np.array([0.0, 14.0, 42.0, 90.0])
    model = HazardTable(days, {COMPANY: np.array([[0.5, 0, 0], [0, 0, 0]])}, by_stage=False)
    won, still = 2_000, 6_000
    held = pd.DataFrame(
        {"as_of": datetime(2026, 1, 1), "amount": 10.0, "days_observed": 100.0,
         "outcome": ["won"] * won + ["open"] * still,
         "days_to_outcome": [5.0] * won + [np.nan] * still}
    )  # fmt: skip
    test = pd.Series("test", index=held.index)
    money = held_out_money(model, held, test, as_of=END)
    assert money[:3] == (pytest.approx(0.6, abs=0.1), 1.0, 1.0)
    assert set(money[3:]) == {1.0}  # nothing is known of the quarter
    assert held_out_money(model, held, test, as_of=END, curves=model.curves(held)) == money
    assert held_out_money(model, held, pd.Series("train", index=held.index), as_of=END) == ()
    deals = pd.DataFrame({"deal_id": ["a"], "amount": [10.0]})
    plain = scored_pipeline(deals, model.curves(deals), as_of=END)
    less = scored_pipeline(deals, model.curves(deals), as_of=END, money=money)
    assert plain.cif_won[0].tolist() == [0.0, 0.5, 0.5, 0.5]
    assert less.cif_won[0, -1] == pytest.approx(money[0] * 0.5)


@pytest.mark.parametrize("horizon", [2, 8, 30, 60, 90, 400])
def test_intervals_rise_to_the_horizon(horizon):
    edges = interval_borders(horizon)
    assert edges[0] == 0
    assert edges[-1] == horizon
    assert (np.diff(edges) > 0).all()


def test_days_before_anything_was_won_and_lost_cannot_be_replayed():
    book = Book().deal("a", "2026-01-01").move("a", "Won", "2026-01-09")
    book.deal("b", "2026-01-01").move("b", "Lost", "2026-02-03", recorded="2026-02-10")
    days = [datetime(2026, 2, 1), datetime(2026, 2, 5), datetime(2026, 2, 11)]
    with Warehouse.in_memory(book.tables()) as warehouse:
        assert usable_origins(warehouse, days) == days[2:]
    with Warehouse.in_memory(CanonicalTables({}, no_rejects())) as warehouse:
        assert usable_origins(warehouse, days) == []
        with pytest.raises(DataError, match="ask for fewer quarters"):
            replay_weeks(warehouse, SETTINGS, as_of=END, quarters=2)
