"""Forecast accuracy: how near the submitted forecasts came, how they lean, by horizon and by author."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import pandas as pd

from salesops_ml.kpis.facts import Facts
from salesops_ml.kpis.quota import with_won
from salesops_ml.kpis.rows import to_frame, told

DAYS_A_MONTH = 30.4375
CATEGORY = "commit"


def forecast_accuracy(facts: Facts) -> pd.DataFrame:
    """1 - WAPE of what was submitted against what was won, %, and the bias, %.

    WAPE = sum of |forecast - actual| / sum of actuals; bias = sum of (forecast - actual) / the same,
    above 0 where forecasts were too high. `forecast_accuracy` and `forecast_bias` over all
    submissions for a node and a period that is over; `...:N months ahead` by months left to the end
    of the period; `...:by AUTHOR` by author. Of each author and month only the last word counts; other
    categories than `commit` are no forecast of the result. n: forecasts.
    """
    words = to_frame(_last_words(facts))
    rows = []
    for _, part in words.groupby(["period", "node"]):
        rows += _rows(part, "")
        for ahead, some in part.groupby("ahead"):
            rows += _rows(some, f":{ahead} month{'s' if ahead != 1 else ''} ahead")
        for author, some in part.dropna(subset=["author"]).groupby("author"):
            rows += _rows(some, f":by {author}")
    return told(rows)


def _last_words(facts: Facts) -> ir.Table:
    """period, node, author, ahead (months), forecast and actual, one a node, author and month."""
    said = facts.warehouse.table("forecast_submissions")
    said = said.filter(
        said.recorded_at <= facts.as_of,
        said.submitted_at <= facts.as_of,
        said.category.isnull() | (said.category == CATEGORY),
    )
    over = facts.spans.filter(facts.spans.ends_at <= facts.as_of)
    over = over.select(_period="period", ends_at="ends_at")
    said = said.inner_join(over, said.period == over["_period"])
    said = said.filter(said.submitted_at < said.ends_at)
    days = (said.ends_at.epoch_seconds() - said.submitted_at.epoch_seconds()) / 86_400.0
    said = said.mutate(ahead=(days / DAYS_A_MONTH).ceil().cast("int64"))
    latest = ibis.window(
        group_by=["period", "node", "author", "ahead"], order_by=said.submitted_at.desc()
    )
    said = said.mutate(place=ibis.row_number().over(latest))
    last = said.filter(said.place == 0).select("period", "node", "author", "ahead", "amount")
    joined = with_won(last, facts)
    return joined.select(
        "period", "node", "author", "ahead",
        forecast=joined.amount.cast("float64"), actual=joined.won_amount.cast("float64"),
    ).order_by("period", "node", "author", "ahead")  # fmt: skip


def _rows(part: pd.DataFrame, what: str) -> list[tuple[str, str, str, float, int]]:
    actual = float(part["actual"].sum())
    if actual <= 0:
        return []
    miss = part["forecast"] - part["actual"]
    period, node, n = str(part["period"].iloc[0]), str(part["node"].iloc[0]), len(part)
    accuracy = 100 * (1 - float(miss.abs().sum()) / actual)
    bias = 100 * float(miss.sum()) / actual
    return [
        (f"forecast_accuracy{what}", period, node, accuracy, n),
        (f"forecast_bias{what}", period, node, bias, n),
    ]
