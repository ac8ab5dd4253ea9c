"""A small synthetic company with its true curves as the scorer, and companies written by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from salesops_ml.forecasts import ScoredPipeline, read_history
from salesops_ml.schema import TABLES, CanonicalTables, no_rejects
from salesops_ml.settings import Settings
from salesops_ml.synthetic import WorldParameters
from salesops_ml.synthetic.truth import true_curves
from salesops_ml.warehouse import Warehouse

WORLD = WorldParameters(deals=2_500, years=2.0, seed=11)
END = datetime(2026, 7, 1)
TODAY = datetime(2026, 2, 10, 15, 30)
HORIZON = 60
SETTINGS = Settings.model_validate(
    {
        "forecast": {"months": 3, "samples": 400, "backtest_origins": 4},
        "models": {"horizon_days": 60},
    }
)

Scorer = Callable[[datetime], ScoredPipeline]


def truth_scorer(world: CanonicalTables, warehouse: Warehouse) -> Scorer:
    """The best that any deal model could do: the exact curves of every open deal."""

    def score(as_of: datetime) -> ScoredPipeline:
        deals = read_history(warehouse, as_of=as_of, settings=SETTINGS).open
        looks = pd.DataFrame({"deal_id": deals["deal_id"], "as_of": as_of})
        curves = true_curves(world.truth, looks, horizon_days=HORIZON)
        return ScoredPipeline(
            as_of,
            deals[["deal_id", "amount"]],
            curves.days.astype(np.float64),
            curves.cif_won,
            curves.cif_lost,
        )

    return score


def day(text: str) -> datetime:
    return datetime.fromisoformat(text)


class Book:
    """Writes a company's history by hand, deal by deal."""

    def __init__(self) -> None:
        self.deals: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.changes: list[dict[str, Any]] = []
        self.reps: list[dict[str, Any]] = []

    def rep(self, rep_id: str, since: str | None, **values: Any) -> Book:
        valid_from = day(since) if since else None
        self.reps.append({"rep_id": rep_id, "valid_from": valid_from, **values})
        return self

    def deal(self, deal_id: str, created: str, *, rep: str = "r1", amount: float = 100.0) -> Book:
        row = {"deal_id": deal_id, "created_at": day(created), "pipeline": "p", "status": "open"}
        self.deals.append(row)
        self.change(deal_id, "amount_base", created, str(amount))
        self.change(deal_id, "rep_id", created, rep)
        return self.move(deal_id, "Open", created)

    def move(self, deal_id: str, stage: str, at: str, recorded: str | None = None) -> Book:
        count = len(self.events)
        self.events.append(
            {
                "deal_id": deal_id, "stage": stage, "entered_at": day(at), "seq": count,
                "recorded_at": day(recorded or at),
            }
        )  # fmt: skip
        return self

    def change(
        self, deal_id: str, field: str, at: str, value: str | None, recorded: str | None = None
    ) -> Book:
        self.changes.append(
            {
                "deal_id": deal_id, "field": field, "changed_at": day(at), "new_value": value,
                "seq": len(self.changes), "recorded_at": day(recorded or at),
            }
        )  # fmt: skip
        return self

    def tables(self) -> CanonicalTables:
        stages = [
            {"pipeline": "p", "stage": name, "position": place, "probability": chance,
             "is_won": name == "Won", "is_closed": name != "Open"}
            for place, (name, chance) in enumerate((("Open", 0.4), ("Won", 1.0), ("Lost", 0.0)))
        ]  # fmt: skip
        rows = {
            "deals": self.deals, "stages": stages, "stage_events": self.events,
            "deal_changes": self.changes, "reps": self.reps,
        }  # fmt: skip
        tables = {name: pa.Table.from_pylist(found) for name, found in rows.items() if found}
        return CanonicalTables(tables, no_rejects())


def flat_pipeline(
    as_of: datetime, chances: dict[str, float], amounts: dict[str, float], *, days: float = 90.0
) -> ScoredPipeline:
    """Deals that win at a steady pace with given chances within `days`, and are never lost."""
    names = sorted(chances)
    deals = pd.DataFrame({"deal_id": names, "amount": [amounts[name] for name in names]})
    won = np.array([[0.0, chances[name]] for name in names]).reshape(len(names), 2)
    return ScoredPipeline(as_of, deals, np.array([0.0, days]), won, np.zeros_like(won))


def corrupted(world: CanonicalTables, as_of: datetime, seed: int) -> CanonicalTables:
    """The world with all that was recorded after `as_of` altered, and today's values too."""
    rng = np.random.default_rng(seed)
    tables = {}
    for name, table in world.tables.items():
        frame = table.to_pandas()
        event_time = TABLES[name].event_time
        if event_time is not None:
            later = frame["recorded_at"] > as_of
            kept = ~later | (rng.random(len(frame)) < 0.5)
            frame = frame[kept]
            later = later[kept]
            for column in ("new_value", "stage", "team", "region"):
                if column in frame:
                    frame.loc[later, column] = rng.permutation(frame.loc[later, column].to_numpy())
        if name == "deals":
            for column in ("amount", "amount_base", "status", "rep_id", "product", "closed_at"):
                frame[column] = frame[column].sample(frac=1.0, random_state=seed).to_numpy()
        tables[name] = pa.Table.from_pandas(frame, schema=table.schema, preserve_index=False)
    return replace(world, tables=tables)
