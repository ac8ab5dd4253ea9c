"""A revenue model as plain values that JSON can hold, and back: numbers, names and dates, no code."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

import numpy as np

from salesops_ml.forecasts.closing_amounts import ClosingAmounts
from salesops_ml.forecasts.combine import Weights
from salesops_ml.forecasts.lag_to_win import LateRates
from salesops_ml.forecasts.new_deals import NewDealRates
from salesops_ml.forecasts.projection import Closed
from salesops_ml.forecasts.renewals import DueRenewals
from salesops_ml.forecasts.trees import FurtherTree
from salesops_ml.settings import Company


def plain(value: Any) -> Any:
    """Dataclasses, arrays, settings and dates as what JSON knows.

    Example:
        >>> plain(Closed(np.array([1.0]), np.array([2.0])))
        {'month': [1.0], 'quarter': [2.0]}
    """
    if isinstance(value, Company):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    return value.isoformat() if isinstance(value, datetime) else value


def parts_of(values: dict[str, Any]) -> dict[str, Any]:
    """What a `RevenueModel` is made of, from what `plain` made of one."""
    return values | {
        "as_of": datetime.fromisoformat(values["as_of"]),
        "company": Company.model_validate(values["company"]),
        "leaves": tuple(values["leaves"]),
        "closed": _closed(values["closed"]),
        "amounts": ClosingAmounts(
            np.array(values["amounts"]["ratios"]), values["amounts"]["unpriced"]
        ),
        "new_deals": NewDealRates(**_with_arrays(values["new_deals"])),
        "late": LateRates(**values["late"]),
        "series_mean": np.array(values["series_mean"]),
        "series_deviation": np.array(values["series_deviation"]),
        "trailing": np.array(values["trailing"]),
        "weights": Weights.from_json(json.dumps(values["weights"])),
        "renewals": _renewals(values.get("renewals")),
        "trees": tuple(_tree(one) for one in values.get("trees", ())),
        "table": tuple(values["table"]),
    }


def _closed(values: dict[str, Any]) -> Closed:
    return Closed(**{name: np.array(part) for name, part in values.items()})


def _with_arrays(values: dict[str, Any]) -> dict[str, Any]:
    return {name: np.array(one) if isinstance(one, list) else one for name, one in values.items()}


def _renewals(values: dict[str, Any] | None) -> DueRenewals | None:
    if values is None:
        return None
    return DueRenewals(
        np.array(values["leaf"], dtype=np.int64),
        np.array(values["month"], dtype=np.int64),
        *(np.array(values[name]) for name in ("chance", "amount", "ratios")),
    )


def _tree(values: dict[str, Any]) -> FurtherTree:
    return FurtherTree(
        name=values["name"],
        leaves=tuple(values["leaves"]),
        source=np.array(values["source"], dtype=np.int64),
        target=np.array(values["target"], dtype=np.int64),
        share=np.array(values["share"], dtype=np.float64),
        wins=np.array(values["wins"], dtype=np.float64),
        spread=values["spread"],
        closed=_closed(values["closed"]),
    )
