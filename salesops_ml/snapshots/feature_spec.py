"""Which features are built, so that training, calibration and tonight's scoring see the same ones.

A `FeatureSpec` is learned from what was recorded up to a day, and is stored with the model.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from salesops_ml.fiscal_calendar import FiscalCalendar
from salesops_ml.schema import Attribute
from salesops_ml.settings import Settings
from salesops_ml.snapshots.undated import is_dated
from salesops_ml.snapshots.vocabulary import (
    rated_columns,
    usual_kinds,
    usual_outcomes,
    usual_stages,
    usual_statuses,
)
from salesops_ml.warehouse import Warehouse

VERSION = 2
"""Raised whenever a feature's name or meaning changes; a model refuses any other version."""


@dataclass(frozen=True)
class FeatureSpec:
    """Which features are built: the vocabulary and the columns that the history can carry.

    Attributes:
        blocks: feature blocks whose tables hold rows.
        kinds: activity kinds that get columns of their own, most frequent first.
        fixed: columns of `deals` declared as known at creation.
        attributes: extra attributes that may be features.
        fiscal: the fiscal calendar, which says where quarters end.
        stages: open stages that get columns of their own, most often entered first.
        outcomes: outcomes of activities that get columns of their own.
        statuses: statuses of quotes that get columns of their own.
        rated: columns whose values get a win rate of their own; the first one is the segment.
        dated: whether deals have a beginning; without it nobody has a track record.
        working_week, holidays, time_zone: when the company works.
    """

    blocks: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    fiscal: FiscalCalendar = field(default_factory=FiscalCalendar)
    stages: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    rated: tuple[str, ...] = ()
    dated: bool = True
    working_week: tuple[str, ...] = ("mon", "tue", "wed", "thu", "fri")
    holidays: tuple[str, ...] = ()
    time_zone: str = "UTC"
    version: int = VERSION

    def to_json(self) -> str:
        """The specification as JSON, for storage beside a model."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> FeatureSpec:
        """The specification that `to_json` wrote."""
        values: dict[str, Any] = json.loads(text)
        values["attributes"] = tuple(Attribute(**row) for row in values["attributes"])
        for name, value in values.items():
            values[name] = tuple(value) if isinstance(value, list) else value
        months_alone = {"starts": values.pop("fiscal_start_month", 1)}
        values["fiscal"] = FiscalCalendar(**values.pop("fiscal", months_alone))
        return cls(**values)


def learn_spec(warehouse: Warehouse, settings: Settings, *, as_of: datetime) -> FeatureSpec:
    """The specification that the history up to `as_of` can carry."""
    needs = {
        "stages": "stage_events", "changes": "deal_changes", "activities": "activities",
        "quotes": "quotes", "reps": "reps", "accounts": "accounts",
    }  # fmt: skip
    blocks = tuple(block for block, table in needs.items() if warehouse.has(table))
    deals, company = warehouse.table("deals"), settings.company
    wanted = settings.snapshots.known_at_creation
    held = deals.agg(**{name: deals[name].count() for name in wanted}).execute().iloc[0]
    fixed = tuple(name for name in wanted if held[name] > 0)
    attributes = tuple(a for a in warehouse.attributes() if a.known != "at_close")
    dated = is_dated(warehouse)
    return FeatureSpec(
        blocks=blocks,
        kinds=usual_kinds(warehouse, as_of=as_of) if "activities" in blocks else (),
        fixed=fixed,
        attributes=attributes,
        fiscal=company.calendar,
        stages=usual_stages(warehouse, as_of=as_of) if "stages" in blocks else (),
        outcomes=usual_outcomes(warehouse, as_of=as_of) if "activities" in blocks else (),
        statuses=usual_statuses(warehouse, as_of=as_of) if "quotes" in blocks else (),
        rated=rated_columns(warehouse, fixed, attributes, as_of=as_of) if dated else (),
        dated=dated,
        working_week=company.working_week,
        holidays=company.holidays,
        time_zone=company.time_zone,
    )
