"""Phase 4, modelling: one distribution per deal, and the revenue that follows from all of them.

The deal model learns from what was known at the border; the forecast is replayed from past days with
models of those days, learns its weights from that record, and speaks of the months ahead.
"""

from __future__ import annotations

from dataclasses import replace

from pipelines import data_preparation
from pipelines.job import Job
from salesops_ml.app.changes import WEEK
from salesops_ml.app.deal_model import Prepared, predict_test, train
from salesops_ml.app.deployment import model_folder
from salesops_ml.app.leaders import leader_answers
from salesops_ml.app.overrides import known_words
from salesops_ml.app.revenue import (
    held_out_money,
    past_scorer,
    quota_outlook,
    recurring_outlook,
    scored_pipeline,
    usable_origins,
)
from salesops_ml.models import Curves, DealScores
from salesops_ml.models.hazard_table import HazardTable
from salesops_ml.settings import Settings
from salesops_ml.snapshots import FeatureSpec, is_dated

STEPS = (
    ("deal model", 30.0),
    ("test predictions", 8.0),
    ("forecast backtest", 25.0),
    ("forecast", 4.0),
)


def run(job: Job) -> None:
    """Write the models, predictions, hazards, forecast and forecast_backtest."""
    prepared, spec = data_preparation.load(job)
    with job.progress.step("deal model"):
        model = train(prepared, spec, job.settings)
        model.save(model_folder(job.folder))
        job.progress.say(f"deal model: {model.facts['calibration']}")
    with job.progress.step("test predictions"):
        curves = model.curves(prepared.data[prepared.block == "test"])
        predictions, hazards = predict_test(prepared, model, job.settings, curves=curves)
        job.folder.write_frame("predictions", predictions)
        job.folder.write_frame("hazards", hazards)
    _forecast(job, prepared, model, spec, curves)


def _forecast(
    job: Job, prepared: Prepared, model: DealScores, spec: FeatureSpec, curves: Curves
) -> None:
    from salesops_ml.forecasts.backtest import default_origins, replay_revenue
    from salesops_ml.forecasts.combine import learn_weights
    from salesops_ml.forecasts.history import read_history
    from salesops_ml.forecasts.revenue import fit_revenue_model, forecast_trees

    settings: Settings = job.settings
    with job.warehouse() as warehouse:
        if not is_dated(warehouse):
            job.progress.say("no deal is dated: a win model on attributes only, and no forecast")
            return
        as_of = job.as_of(warehouse)
        with job.progress.step("forecast backtest"):
            origins = default_origins(as_of=as_of, settings=settings)
            origins = usable_origins(warehouse, origins)
            plain = isinstance(model.timing, HazardTable)
            # The days of all that follows at once: many cost hardly more than one.
            job.looks.on(warehouse, spec, [*origins, as_of - WEEK, as_of])
            scorer = past_scorer(
                warehouse, prepared.data, spec, settings, origins=origins, plain=plain,
                looks=job.looks,
            )  # fmt: skip
            record = replay_revenue(
                warehouse, scorer, origins=origins, settings=settings, as_of=as_of
            )
            job.folder.write_frame("forecast_backtest", record.main)
        with job.progress.step("forecast"):
            (deals,) = job.looks.on(warehouse, spec, [as_of])
            money = held_out_money(model, prepared.data, prepared.block, as_of=as_of, curves=curves)
            pipeline = scored_pipeline(deals, model.curves(deals), as_of=as_of, money=money)
            learned = learn_weights(record.main, shock=settings.forecast.shock, trees=record.trees)
            weights = replace(learned, money=money)
            revenue, forecast = fit_revenue_model(
                warehouse, pipeline, as_of=as_of, settings=settings, weights=weights
            )
            revenue.save(job.folder.folder("models/revenue_forecast"))
            job.folder.write_frame("forecast", forecast)
            if revenue.trees:
                history = read_history(warehouse, as_of=as_of, settings=settings)
                cuts = forecast_trees(revenue, pipeline, history)
                job.folder.write_frame("forecast_trees", cuts)
                job.folder.write_frame("forecast_trees_backtest", record.trees)
            outlook = quota_outlook(warehouse, forecast, as_of=as_of, settings=settings)
            job.folder.write_frame("quota_chance", outlook)
            if settings.forecast.renewals:
                recurring = recurring_outlook(warehouse, as_of=as_of, settings=settings)
                job.folder.write_frame("renewals", recurring)
            answers = leader_answers(warehouse, revenue, pipeline, forecast, outlook, settings)
            for name, frame in answers.items():
                job.folder.write_frame(name, frame)
            job.folder.write_frame("submissions", known_words(warehouse, as_of=as_of))
