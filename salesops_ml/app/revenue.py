"""The revenue forecast's steps of a run: scored pipelines, the replayed past, today's forecast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.app.open_looks import OpenLooks
from salesops_ml.app.past_pipeline import PastPipeline, fit_past_pipeline
from salesops_ml.app.win_corrections import corrected, days_to_quarter_end, learn_corrections
from salesops_ml.evaluation.splits import labels_at
from salesops_ml.forecasts.backtest_scores import backtest_summary
from salesops_ml.forecasts.history import read_history
from salesops_ml.forecasts.outlook import local_day
from salesops_ml.forecasts.pipeline_roll_up import ScoredPipeline
from salesops_ml.forecasts.quota_chance import quota_chance
from salesops_ml.forecasts.recurring import recurring_revenue
from salesops_ml.forecasts.time_machine import fitting_days
from salesops_ml.kpis.facts import Facts
from salesops_ml.kpis.quota import node_quotas
from salesops_ml.models import Curves, DealScores
from salesops_ml.models.hazard_table import HazardTable
from salesops_ml.models.rehearsal import LEAST_OUTCOMES, fewest_outcomes
from salesops_ml.models.side_by_side import AT_ONCE, side_by_side
from salesops_ml.models.voices import fit_table
from salesops_ml.periods import Grain
from salesops_ml.settings import Settings
from salesops_ml.snapshots import FeatureSpec
from salesops_ml.snapshots.closings import closings
from salesops_ml.warehouse import Warehouse


def scored_pipeline(
    deals: pd.DataFrame, curves: Curves, *, as_of: datetime, money: Sequence[float] = ()
) -> ScoredPipeline:
    """The open deals of a day with their curves, as the forecast takes them.

    Args:
        money: factors on what is won (`held_out_money`); the curves stay as they are where empty.
    """
    if len(money):
        factors = np.asarray(money, dtype=np.float64)
        curves = corrected(curves, factors, days_to_quarter_end(deals))
    return ScoredPipeline(
        as_of=as_of,
        deals=deals[["deal_id", "amount"]].reset_index(drop=True),
        days=curves.days,
        cif_won=curves.cif_won,
        cif_lost=curves.cif_lost,
    )


def held_out_money(
    model: DealScores,
    data: pd.DataFrame,
    block: pd.Series[str],
    *,
    as_of: datetime,
    curves: Curves | None = None,
) -> tuple[float, ...]:
    """Money won over money promised, on the looks that the deal model has not learned from.

    A model that is right deal by deal may promise too much in all, if large deals are slower than it has
    learned. Replayed models are corrected likewise, so that lessons from them hold for this one.

    Args:
        data: every look with its outcome; `block`: which part each belongs to.
        curves: what the model says of the test rows, where that is at hand.

    Returns:
        Factors as `learn_corrections` gives them; none where no look was held out.
    """
    test = data[(block == "test").to_numpy()]
    before = (test["as_of"] < pd.Timestamp(as_of)).to_numpy()
    held = test[before]
    if held.empty:
        return ()
    told = model.curves(held) if curves is None else curves.take(before)
    factors = learn_corrections(told, held, labels_at(held, as_of))
    return tuple(float(factor) for factor in factors)


def past_scorer(
    warehouse: Warehouse,
    data: pd.DataFrame,
    spec: FeatureSpec,
    settings: Settings,
    *,
    origins: Sequence[datetime],
    plain: bool = False,
    looks: OpenLooks | None = None,
) -> Callable[[datetime], ScoredPipeline]:
    """Scores the deals open on each of `origins` with hazards learned from what was known then.

    Days within four weeks share one fit, that of the first of them. Asked in the order of the days, as
    a replay does, the fits of two days are made side by side, and no more are kept.

    Args:
        data: every look with its outcome (`snapshots.build_dataset`).
        spec: which features the looks have.
        plain: whether the table of stage and age is asked instead, as where no model beats it.
        looks: where the looks at open deals are remembered.
    """
    seen = dict(zip(origins, (looks or OpenLooks()).on(warehouse, spec, origins), strict=True))
    fitted = fitting_days(origins)
    days = sorted(set(fitted.values()))
    models: dict[datetime, PastPipeline | HazardTable] = {}

    def fit(day: datetime) -> PastPipeline | HazardTable:
        if day not in models:
            place = days.index(day)
            models.clear()
            with side_by_side(settings.threads) as start:
                ahead = days[place : place + AT_ONCE]
                made = [start(_fit_then, data, settings, one, plain) for one in ahead]
                models.update(zip(ahead, (one.result() for one in made), strict=True))
        return models[day]

    def score(origin: datetime) -> ScoredPipeline:
        curves = fit(fitted[origin]).curves(seen[origin])
        return scored_pipeline(seen[origin], curves, as_of=origin)

    return score


def _fit_then(
    data: pd.DataFrame, settings: Settings, origin: datetime, plain: bool
) -> PastPipeline | HazardTable:
    """A model of the day: looks before it, outcomes as known on it."""
    before = data[data["as_of"] < pd.Timestamp(origin)]
    labels = labels_at(before, origin)
    if plain or fewest_outcomes(before, labels) < LEAST_OUTCOMES:
        return fit_table(before, labels, settings, by_stage=True)
    return fit_past_pipeline(before, labels, settings)


def usable_origins(warehouse: Warehouse, origins: Sequence[datetime]) -> list[datetime]:
    """The origins before which at least one deal was known to be won, and one to be lost."""
    ends = closings(warehouse)
    found = ends.agg(
        won=ends.recorded_at.min(where=ends.won), lost=ends.recorded_at.min(where=ends.lost)
    )
    firsts = found.to_pyarrow().to_pandas().iloc[0]
    if firsts.isna().any():
        return []
    return [origin for origin in origins if pd.Timestamp(origin) > firsts.max()]


def quota_outlook(
    warehouse: Warehouse, forecast: pd.DataFrame, *, as_of: datetime, settings: Settings
) -> pd.DataFrame:
    """The chance of every quota of the month and the quarter that `as_of` lies in (`quota_chance`)."""
    company = settings.company
    day = local_day(as_of, company.time_zone)
    grains: tuple[Grain, ...] = ("month", "quarter")
    periods = [company.calendar.period_of(day, grain) for grain in grains]
    with Facts.known(warehouse, as_of=as_of, settings=settings, periods=periods) as facts:
        quotas = node_quotas(facts).to_pyarrow().to_pandas()
    quotas = quotas.assign(quota=quotas["quota"].astype("float64"))
    return quota_chance(forecast, quotas[quotas["quota"] > 0])


def recurring_outlook(warehouse: Warehouse, *, as_of: datetime, settings: Settings) -> pd.DataFrame:
    """Recurring revenue past and ahead; empty where no contract has a term."""
    history = read_history(warehouse, as_of=as_of, settings=settings)
    return recurring_revenue(history, settings)


def judge_forecast(backtest: pd.DataFrame) -> dict[str, Any]:
    """The forecast's part of evaluation.json: grain -> level -> method -> figures on the record."""
    done: dict[str, Any] = {}
    if backtest.empty:
        return done
    for row in backtest_summary(backtest).to_dict(orient="records"):
        place = done.setdefault(str(row.pop("grain")), {}).setdefault(str(row.pop("level")), {})
        place[str(row.pop("method"))] = row
    return done
