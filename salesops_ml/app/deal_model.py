"""The deal model's steps of a run: the data set, the model and its baselines, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.evaluation.censoring import CODES
from salesops_ml.evaluation.measure import (
    Judged,
    measure_dates,
    measure_segments,
    measure_win,
    reliability_rows,
)
from salesops_ml.evaluation.reliability_parts import reliability_by
from salesops_ml.evaluation.splits import (
    Borders,
    borders_of,
    labels_at,
    split_by_chance,
    split_by_column,
    split_by_time,
    with_calibration,
)
from salesops_ml.models import Curves, DealScores, fit_deal_scores, reporting_days, scores_from
from salesops_ml.models.baselines import baseline_scores
from salesops_ml.settings import Settings
from salesops_ml.snapshots import FeatureSpec, build_dataset
from salesops_ml.warehouse import Warehouse

OURS = "deal_scores"
CODE_WORDS = {code: word for word, code in CODES.items()}


@dataclass(frozen=True)
class Prepared:
    """The data set of a run with the block of each row and the borders between blocks."""

    data: pd.DataFrame
    borders: Borders | None

    @property
    def block(self) -> pd.Series:
        """train, calibration, test or unused, per row."""
        return self.data["split"]


def prepare_dataset(
    warehouse: Warehouse, spec: FeatureSpec, settings: Settings, *, as_of: datetime
) -> Prepared:
    """Every look with features, outcome, block, and the outcome as known at the test border."""
    data = build_dataset(warehouse, settings, spec, as_of=as_of)
    data, borders = _with_blocks(warehouse, data, settings)
    known = labels_at(data, borders.test_from if borders else None)
    told = known["event"].map(CODE_WORDS)
    data["known_outcome"] = np.where(data["split"] == "test", data["outcome"], told)
    return Prepared(data, borders)


def restore_prepared(data: pd.DataFrame, borders: dict[str, str] | None) -> Prepared:
    """What `prepare_dataset` made, from the run folder."""
    if borders is None:
        return Prepared(data, None)
    return Prepared(data, Borders(**{k: datetime.fromisoformat(v) for k, v in borders.items()}))


def _with_blocks(
    warehouse: Warehouse, data: pd.DataFrame, settings: Settings
) -> tuple[pd.DataFrame, Borders | None]:
    """Blocks by the column that the settings name, by time, or by chance where nothing is dated."""
    split = settings.split
    if split.column is None:
        if data["created_at"].isna().all():
            return data.assign(split=split_by_chance(data["deal_id"], split)), None
        block, borders = split_by_time(data, split)
        return data.assign(split=block), borders
    deals = warehouse.table("deals").select("deal_id", f"x_{split.column}").to_pyarrow().to_pandas()
    told = data["deal_id"].map(deals.set_index("deal_id")[f"x_{split.column}"])
    block = with_calibration(data, split_by_column(told), split)
    return data.assign(split=block), borders_of(data, block)


def train(prepared: Prepared, spec: FeatureSpec, settings: Settings) -> DealScores:
    """Fit `deal_scores` on the train and calibration blocks."""
    return fit_deal_scores(
        prepared.data, prepared.block, prepared.borders, spec=spec, settings=settings
    )


def predict_test(
    prepared: Prepared, model: DealScores, settings: Settings, *, curves: Curves | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """predictions.parquet (ours and every baseline, long) and hazards.parquet for the test rows.

    Args:
        model: trained on the other blocks of `prepared`.
        curves: what it says of the test rows, where that is at hand.
    """
    test = prepared.data[prepared.block == "test"]
    curves = model.curves(test) if curves is None else curves
    said = {OURS: scores_from(curves, test.index, model.interval)}
    said |= baseline_scores(
        prepared.data, prepared.block, prepared.borders, settings=settings,
        logistic=model.voices.logistic,
    )  # fmt: skip
    key = test[["deal_id", "as_of"]]
    long = [key.join(scores).assign(model=name) for name, scores in said.items()]
    predictions = pd.concat(long, ignore_index=True)
    first = ["model", "deal_id", "as_of"]
    return predictions[first + [c for c in predictions if c not in first]], _hazards(test, curves)


def _hazards(test: pd.DataFrame, curves: Curves) -> pd.DataFrame:
    """List columns day, cif_won, cif_lost, one row per look."""
    told = curves.at(reporting_days(round(curves.horizon)))
    days = told.days.astype(np.float32)
    frame = test[["deal_id", "as_of"]].reset_index(drop=True)
    return frame.assign(
        day=pd.Series([days] * len(frame), dtype=object),
        cif_won=pd.Series(list(told.cif_won.astype(np.float32)), dtype=object),
        cif_lost=pd.Series(list(told.cif_lost.astype(np.float32)), dtype=object),
    )


def judge(prepared: Prepared, predictions: pd.DataFrame, settings: Settings) -> dict[str, Any]:
    """The deal model's part of evaluation.json: every model's figures on the same test rows.

    Keys: `win` (ours, addressed by gates as `win.log_loss`), `baselines`, `dates`, `segments`,
    `reliability`, `reliability_by` (stage, segment, deal size, age),
    `gain_over_stage_age` (share of log-loss saved).
    """
    test = prepared.data[prepared.block == "test"].reset_index(drop=True)
    judged = Judged.of(test, settings.models.horizon_days)
    key = test[["deal_id", "as_of"]]
    figures, dates = {}, {}
    for name, said in predictions.groupby("model", sort=False):
        scores = key.merge(said, on=["deal_id", "as_of"], how="left", validate="1:1")
        p_win, p_lost = scores["p_win"].to_numpy(float), scores["p_lost"].to_numpy(float)
        figures[str(name)] = measure_win(judged, p_win, p_lost)
        dates[str(name)] = measure_dates(judged, scores)
        if name == OURS:
            segments = measure_segments(judged, p_win)
            plot = reliability_rows(judged, p_win)
            parts = reliability_by(judged, p_win)
    ours = figures.pop(OURS)
    return {
        "win": ours,
        "baselines": figures,
        "dates": dates.pop(OURS),
        "baseline_dates": dates,
        "segments": segments,
        "reliability": plot,
        "reliability_by": parts,
        "gain_over_stage_age": _gain(ours, figures.get("stage_age")),
    }


def _gain(ours: dict[str, Any], table: dict[str, Any] | None) -> float | None:
    if table is None or ours["log_loss"] is None or not table["log_loss"]:
        return None
    return 1 - float(ours["log_loss"]) / float(table["log_loss"])
