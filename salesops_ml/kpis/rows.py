"""The shape of every KPI's answer: metric, period, node, value, n; and the arithmetic they share."""

from __future__ import annotations

from collections.abc import Iterable

import ibis
import ibis.expr.types as ir
import pandas as pd

COLUMNS = ["metric", "period", "node", "value", "n"]
SECONDS_A_DAY = 86_400.0
SECONDS_AN_HOUR = 3_600.0
Row = tuple[str, str, str, float, int]


def tell(table: ir.Table, **metrics: ir.Value) -> pd.DataFrame:
    """Rows of `COLUMNS` from a table by period and node.

    Args:
        table: columns period, node, n, and what the metrics are made of.
        metrics: name of the metric -> its value; a row without a value is left out.
    """
    keys = ["period", "node", "n"]
    values = {name: value.cast("float64") for name, value in metrics.items()}
    frame = to_frame(table.select(*keys, **values))
    return _sorted(frame.melt(keys, var_name="metric", value_name="value"))


def told(rows: Iterable[Row]) -> pd.DataFrame:
    """Rows of `COLUMNS` from values worked out one by one; NaN is left out."""
    return _sorted(pd.DataFrame(list(rows), columns=COLUMNS))


def to_frame(table: ir.Table, *, categories: bool = False) -> pd.DataFrame:
    """The rows of a table expression, by way of Arrow; long ones take texts as `categories`."""
    frame: pd.DataFrame = table.to_pyarrow().to_pandas(strings_to_categorical=categories)
    return frame


def percent(part: ir.Value, whole: ir.Value) -> ir.Value:
    """100 x part / whole; null where the whole is nothing."""
    return 100.0 * ratio(part, whole)


def ratio(part: ir.Value, whole: ir.Value) -> ir.Value:
    """part / whole as a float; null where the whole is nothing."""
    return part.cast("float64") / whole.cast("float64").nullif(0.0)


def if_mostly_known(amount: ir.Column, total: ir.Value) -> ir.Value:
    """`total`, or null where fewer than half of the `amount`s that it sums are known."""
    return ibis.ifelse(amount.count() * 2 >= amount.isnull().count(), total, None)


def seconds_between(start: ir.Value, end: ir.Value) -> ir.Value:
    """Whole seconds from `start` to `end`."""
    return end.epoch_seconds() - start.epoch_seconds()


def _sorted(frame: pd.DataFrame) -> pd.DataFrame:
    kept = frame[COLUMNS].dropna(subset=["value"]).astype({"value": "float64", "n": "int64"})
    return kept.sort_values(["metric", "period", "node"], ignore_index=True)
