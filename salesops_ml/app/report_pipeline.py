"""The open pipeline: how it stands, which deals carry it, and which are at risk."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.app.report_files import RunFiles
from salesops_ml.app.report_parts import Picture, counted, picture
from salesops_ml.figures.numbers import UNKNOWN, day, days, money, percent
from salesops_ml.figures.score_bands import draw_score_bands

MOST = 10
_CODE = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")
_POWER = re.compile(r"\b\d(?:\.\d+)?e\+\d+\b")
LARGE = 0.75
"""A deal is large from this quantile of the open amounts on."""
LATE_DAYS = 30
"""Days by which our date may lie after the expected one before it counts as a risk."""


@dataclass(frozen=True)
class DealLine:
    """One deal in a list.

    Attributes:
        deal: its id; stage, owner: as known.
        amount, chance: in words; chance_range: how sure it is.
        close: when it is likely won, if it is.
        bar: the chance in percent, for a bar.
        pros, cons: what speaks for it and against it.
        risks: what puts it at risk.
    """

    deal: str
    stage: str
    owner: str
    amount: str
    expected: str
    chance: str
    chance_range: str
    close: str
    bar: float
    pros: str
    cons: str
    risks: str


@dataclass(frozen=True)
class PipelineSection:
    """The lists and the picture, or in words why there are none."""

    summary: str
    bands: Picture | None
    order: str
    best: list[DealLine]
    risky: list[DealLine]
    risk_words: str


def build_pipeline(files: RunFiles) -> PipelineSection:
    """The section from scores.parquet."""
    scores = files.scores
    if scores.empty:
        words = (
            "No open deal has been scored in this run: either none is open, or the run stopped"
            " before its scores."
        )
        return PipelineSection(words, None, "", [], [], "")
    deals = _with_money(scores)
    risky = risks(deals, files)
    best = "expected" if _has_money(deals) else "p_win"
    return PipelineSection(
        _summary(deals, files),
        _bands(deals, files.currency),
        _order_words(deals),
        [_line(row, files.currency) for _, row in _largest(deals, best).iterrows()],
        [_line(row, files.currency) for _, row in _largest(risky, "exposed").iterrows()],
        _risk_words(risky, deals, files),
    )


def risks(deals: pd.DataFrame, files: RunFiles) -> pd.DataFrame:
    """The large deals that are late, unlikely, or likely to slip; `risks` says which, in words.

    Args:
        deals: scores with `amount` as a float and `expected`, amount x chance.
    """
    large = deals[deals["amount"] >= deals["amount"].quantile(LARGE)].copy()
    large = large[large["amount"] > 0]
    floor = files.settings.write_back.bands[0]
    today = pd.Timestamp(files.today or deals["as_of"].max())
    large["risks"] = [_risks(row, today, floor) for _, row in large.iterrows()]
    large["exposed"] = large["amount"] - large["expected"]
    return large[large["risks"] != ""]


def _with_money(scores: pd.DataFrame) -> pd.DataFrame:
    deals = scores.copy()
    for column in ("stage", "rep_id", "expected_close_date", "amount"):
        if column not in deals.columns:
            deals[column] = None
    deals["amount"] = pd.to_numeric(deals["amount"]).astype("float64")
    deals["expected"] = deals["amount"] * deals["p_win"]
    deals["risks"] = ""
    return deals


def _risks(row: pd.Series, today: pd.Timestamp, floor: float) -> str:
    found = []
    due = pd.to_datetime(row["expected_close_date"])
    if pd.notna(due) and due < today:
        found.append(f"was due {days((today - due).days)} ago")
    elif pd.notna(due) and pd.notna(row["close_p50_date"]):
        slip = (pd.Timestamp(row["close_p50_date"]) - due).days
        if slip > LATE_DAYS:
            found.append(f"due {day(due)}, but if won, likely {days(slip)} later")
    if row["p_win"] < floor:
        found.append(f"only {percent(row['p_win'])} likely")
    return "; ".join(found)


def _has_money(deals: pd.DataFrame) -> bool:
    return bool((deals["amount"] > 0).any())


def _order_words(deals: pd.DataFrame) -> str:
    """By what the list is ordered, and whether it can tell why."""
    how = "By amount times chance." if _has_money(deals) else "By chance, as amounts are not known."
    told = "reasons" in deals.columns and deals["reasons"].fillna("").ne("").any()
    return how if told else f"{how} This model gives no reasons deal by deal."


def _largest(deals: pd.DataFrame, column: str) -> pd.DataFrame:
    order = deals.sort_values([column, "deal_id"], ascending=[False, True])
    return order[order[column] > 0].head(MOST)


def _summary(deals: pd.DataFrame, files: RunFiles) -> str:
    horizon = files.settings.models.horizon_days
    wins = deals["p_win"].sum()
    text = f"{counted(len(deals), 'deal is', 'deals are')} open"
    if not _has_money(deals):
        return (
            f"{text}. Their amounts are not known. Within {horizon} days about {wins:,.0f} of them"
            " should be won."
        )
    total, expected = deals["amount"].sum(), deals["expected"].sum()
    return (
        f"{text}, worth {money(total, files.currency)}. Within {horizon} days about {wins:,.0f} of"
        f" them should be won, for {money(expected, files.currency)}."
    )


def _bands(deals: pd.DataFrame, currency: str) -> Picture:
    return picture(
        "bands",
        "Open deals and their money by band of chance",
        lambda width: draw_score_bands(deals, currency=currency, width=width),
    )


def _risk_words(risky: pd.DataFrame, deals: pd.DataFrame, files: RunFiles) -> str:
    if not _has_money(deals):
        return "Amounts are not known, so that no deal can be called large."
    if risky.empty:
        return (
            "None of the largest quarter of the open deals is overdue, unlikely, or about to slip by"
            f" more than {LATE_DAYS} days."
        )
    today = pd.Timestamp(files.today or deals["as_of"].max())
    overdue = pd.to_datetime(deals["expected_close_date"]) < today
    parts = [
        f"{counted(len(risky), 'large deal')} worth {money(risky['amount'].sum(), files.currency)}"
        f" {'needs' if len(risky) == 1 else 'need'} a look"
    ]
    if overdue.any():
        parts.append(
            f"in all, {counted(int(overdue.sum()), 'open deal is', 'open deals are')} overdue"
        )
    return "; ".join(parts) + "."


def _line(row: pd.Series, currency: str) -> DealLine:
    pros, cons = split_reasons(readable(str(row.get("reasons") or "")))
    chance_range = ""
    if pd.notna(row["p_win_low"]) and pd.notna(row["p_win_high"]):
        chance_range = f"{percent(row['p_win_low'])} to {percent(row['p_win_high'])}"
    return DealLine(
        deal=str(row["deal_id"]),
        stage=_told(row["stage"]),
        owner=_told(row["rep_id"]),
        amount="no amount" if pd.isna(row["amount"]) else money(row["amount"], currency),
        expected="" if pd.isna(row["expected"]) else f"{money(row['expected'], currency)} expected",
        chance=percent(row["p_win"]),
        chance_range=chance_range,
        close=day(row["close_p50_date"]),
        bar=float(np.clip(100 * row["p_win"], 0, 100)),
        pros=pros,
        cons=cons,
        risks=str(row["risks"]),
    )


def readable(text: str) -> str:
    """Reasons with the CRM's codes as words, and long numbers written out.

    Example:
        >>> readable("last outcome: no_answer; account revenue: 4.99e+06")
        'last outcome: no answer; account revenue: 4,990,000'
    """
    text = _CODE.sub(lambda found: found.group().replace("_", " "), text)
    return _POWER.sub(lambda found: f"{float(found.group()):,.0f}", text)


def split_reasons(text: str) -> tuple[str, str]:
    """What speaks for a deal and what against it.

    Example:
        >>> split_reasons("For: met twice. Against: no quote; 40 days old.")
        ('met twice', 'no quote; 40 days old')
    """
    pros, _, cons = text.partition("Against: ")
    return pros.removeprefix("For: ").strip().rstrip("."), cons.strip().rstrip(".")


def _told(value: Any) -> str:
    return UNKNOWN if value is None or pd.isna(value) else str(value)
