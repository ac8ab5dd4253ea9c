"""What people say of the periods ahead, beside the forecast; and what their words were worth before."""

from __future__ import annotations

from typing import Any

import pandas as pd

from salesops_ml.app.overrides import standing_words
from salesops_ml.app.report_files import RunFiles
from salesops_ml.app.report_parts import Table, counted
from salesops_ml.figures.numbers import day, money, percent
from salesops_ml.figures.words import node_name, sentence_case
from salesops_ml.forecasts.override_value import value_added

MOST_WORDS = 12
MOST_AUTHORS = 12


def submitted_table(files: RunFiles) -> Table | None:
    """The last word of each person on the periods that run, nearest the top of the company first."""
    rows = standing_words(files)
    if rows.empty:
        return None
    rows = rows.assign(depth=rows["node"].str.count("/"))
    rows = rows.sort_values(["depth", "node", "period"], kind="stable").head(MOST_WORDS)
    cells = [_word(row, files.currency) for row in rows.to_dict(orient="records")]
    heads = ["", "Period", "Model", "80% range", "Says", "Beside the model", "Who", "Why"]
    return Table(heads, cells, numeric=range(2, 6))


def override_words(values: pd.DataFrame, currency: str) -> str:
    """In a sentence, whether people were nearer than the model; empty where nobody said a word."""
    if values.empty:
        return ""
    total = value_added(values).iloc[0]
    nearer = percent(total["nearer"] / total["submissions"])
    periods = counted(int(total["periods"]), "period")
    words = (
        f"{counted(int(total['submissions']), 'submission')} of {periods}"
        f" can be held against what the model said at that moment: {nearer} were nearer."
    )
    verb = "saved" if total["value"] >= 0 else "lost"
    words += f" In all, people {verb} {money(abs(total['value']), currency)} of miss"
    error = total["value_share_se"]
    span = "" if pd.isna(error) else f" ± {percent(error)}"
    return f"{words}, {percent(abs(total['value_share']))}{span} of the model's."


def value_table(added: pd.DataFrame, column: str, head: str, currency: str) -> Table | None:
    """What overriding was worth, by `column` of `override_value.value_added`; most words first."""
    if added.empty:
        return None
    rows = added.sort_values(["submissions", column], ascending=[False, True], kind="stable")
    cells = [
        [_named(row[column]), f"{row['submissions']:,}", *_worth(row, currency)]
        for row in rows.head(MOST_AUTHORS).to_dict(orient="records")
    ]
    heads = [head, "Words", "Nearer than the model", "Their miss", "The model's", "Saved", "Share"]
    return Table(heads, cells, numeric=range(1, len(heads)))


def _word(row: dict[Any, Any], currency: str) -> list[str]:
    gap = row["amount"] - row["mean"]
    share = f" ({percent(abs(gap) / row['mean'])})" if row["mean"] > 0 else ""
    word = "more" if gap > 0 else "less"
    said = money(row["amount"], currency)
    if row["category"] not in (None, "commit") and not pd.isna(row["category"]):
        said += f", {sentence_case(str(row['category'])).lower()}"
    return [
        "Company" if row["node"] == "company" else node_name(row["node"]),
        str(row["period"]).replace("-", "\u2011"),
        money(row["mean"], currency),
        f"{money(row['p10'], currency)} – {money(row['p90'], currency)}",
        said,
        f"{money(abs(gap), currency)} {word}{share}",
        f"{row['author']}, {day(pd.Timestamp(row['submitted_at']).date(), short=True)}",
        "" if pd.isna(row["reason"]) else str(row["reason"]),
    ]


def _worth(row: dict[Any, Any], currency: str) -> list[str]:
    error = row["value_share_se"]
    share = "–" if pd.isna(row["value_share"]) else percent(row["value_share"])
    if not pd.isna(error):
        share += f" ± {percent(error)}"
    value = row["value"]
    return [
        f"{row['nearer']:,}",
        percent(row["person_wape"]),
        percent(row["model_wape"]),
        f"{'−' if value < 0 else ''}{money(abs(value), currency)}",
        share,
    ]


def _named(name: object) -> str:
    text = str(name)
    return "Company" if text == "company" else node_name(text)
