"""The revenue forecast's steps of a run: scored pipelines, the replayed past, today's forecast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import pandas as pd

from salesops_ml.app.deal_model import Prepared
from salesops_ml.evaluation.splits import labels_at
from salesops_ml.forecasts.backtest_scores import backtest_summary
from salesops_ml.forecasts.outlook import local_day
from salesops_ml.forecasts.pipeline_roll_up import ScoredPipeline
from salesops_ml.forecasts.quota_chance import quota_chance
from salesops_ml.forecasts.time_machine import fitting_days
from salesops_ml.kpis.facts import Facts
from salesops_ml.kpis.quota import node_quotas
from salesops_ml.models import Curves, DealScores
from salesops_ml.models.hazard_table import HazardTable
from salesops_ml.models.hazards import HazardModel, Looks
from salesops_ml.models.rehearsal import LEAST_OUTCOMES, fewest_outcomes
from salesops_ml.models.voices import fit_table
from salesops_ml.periods import Grain, fiscal_month, period_of
from salesops_ml.settings import Settings
from salesops_ml.snapshots import FeatureSpec, open_deals_on
from salesops_ml.warehouse import Warehouse

REPLAY_ROWS = 30_000
"""Rows at risk that a replayed model learns from, in half as many trees that learn twice as fast: enough
for the pipeline's total."""


def scored_pipeline(deals: pd.DataFrame, curves: Curves, *, as_of: datetime) -> ScoredPipeline:
    """The open deals of a day with their curves, as the forecast takes them."""
    return ScoredPipeline(
        as_of=as_of,
        deals=deals[["deal_id", "amount"]].reset_index(drop=True),
        days=curves.days,
        cif_won=curves.cif_won,
        cif_lost=curves.cif_lost,
    )


def past_scorer(
    warehouse: Warehouse,
    prepared: Prepared,
    model: DealScores,
    spec: FeatureSpec,
    settings: Settings,
    *,
    origins: Sequence[datetime],
) -> Callable[[datetime], ScoredPipeline]:
    """Scores the deals open on each of `origins` with hazards learned from what was known then.

    Days within four weeks share one fit, that of the first of them.
    """
    seen = open_deals_on(warehouse, spec, origins)
    trees = model.timing.trees if isinstance(model.timing, HazardModel) else None
    fitted = fitting_days(origins)

    @lru_cache(maxsize=1)
    def fit(day: datetime) -> HazardModel | HazardTable:
        return _fit_then(prepared.data, settings, day, model, trees)

    def score(origin: datetime) -> ScoredPipeline:
        deals = seen[seen["as_of"] == pd.Timestamp(origin)].reset_index(drop=True)
        curves = fit(fitted[origin]).curves(deals)
        return scored_pipeline(deals, curves, as_of=origin)

    return score


def _fit_then(
    data: pd.DataFrame,
    settings: Settings,
    origin: datetime,
    model: DealScores,
    trees: tuple[int, int] | None,
) -> HazardModel | HazardTable:
    """A model of the day: looks before it, outcomes as known on it."""
    before = data[data["as_of"] < pd.Timestamp(origin)]
    labels = labels_at(before, origin)
    few = fewest_outcomes(before, labels) < LEAST_OUTCOMES
    if trees is None or model.encoder is None or few:
        return fit_table(before, labels, settings, by_stage=True)
    quick = {
        "max_period_rows": REPLAY_ROWS,
        "learning_rate": min(2 * settings.models.learning_rate, 1.0),
    }
    models = settings.models.model_copy(update=quick)
    return HazardModel.fit(
        Looks.of(before, labels),
        encoder=model.encoder.fit(before),
        models=models,
        seed=settings.seed,
        threads=settings.threads,
        trees=(trees[0] // 2 + 1, trees[1] // 2 + 1),
    )


def usable_origins(origins: Sequence[datetime], data: pd.DataFrame) -> list[datetime]:
    """The origins before which at least one deal was won and one lost, and looks exist."""
    ended = data["as_of"] + pd.to_timedelta(data["days_to_outcome"], unit="D")
    firsts = [ended[data["outcome"] == word].min() for word in ("won", "lost")]
    if any(pd.isna(first) for first in firsts):
        return []
    return [origin for origin in origins if pd.Timestamp(origin) > max(firsts)]


def quota_outlook(
    warehouse: Warehouse, forecast: pd.DataFrame, *, as_of: datetime, settings: Settings
) -> pd.DataFrame:
    """The chance of every quota of the month and the quarter that `as_of` lies in (`quota_chance`)."""
    company = settings.company
    day, first = local_day(as_of, company.time_zone), fiscal_month(company.fiscal_year_starts)
    grains: tuple[Grain, ...] = ("month", "quarter")
    periods = [period_of(day, grain, fiscal_start_month=first) for grain in grains]
    with Facts.known(warehouse, as_of=as_of, settings=settings, periods=periods) as facts:
        quotas = node_quotas(facts).to_pyarrow().to_pandas()
    quotas = quotas.assign(quota=quotas["quota"].astype("float64"))
    return quota_chance(forecast, quotas[quotas["quota"] > 0])


def judge_forecast(backtest: pd.DataFrame) -> dict[str, Any]:
    """The forecast's part of evaluation.json: grain -> level -> method -> figures on the record."""
    done: dict[str, Any] = {}
    if backtest.empty:
        return done
    for row in backtest_summary(backtest).to_dict(orient="records"):
        place = done.setdefault(str(row.pop("grain")), {}).setdefault(str(row.pop("level")), {})
        place[str(row.pop("method"))] = row
    return done
