"""The headline: what we will book this quarter and next, and how far to believe it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from salesops_ml.app.report_files import RunFiles
from salesops_ml.app.report_parts import listed
from salesops_ml.figures.numbers import known, money, percent
from salesops_ml.figures.words import method_name

SIMPLE = ("crm_weighted_pipeline", "run_rate", "run_rate_3")
"""Methods that anyone could use without a model."""
PARTS = {
    "closed": "already won",
    "from_open": "from open deals",
    "from_new": "from deals to come",
}
NO_RECORD = "No past forecast could be replayed: the record is too short. Take the range with care."
FEW = 12
"""Forecasts held against what came, below which the record is called short."""


@dataclass(frozen=True)
class Share:
    """A part of a forecast: its kind, its words and its share of the bar in percent."""

    kind: str
    words: str
    width: float


@dataclass(frozen=True)
class Booking:
    """What one period should bring."""

    when: str
    period: str
    amount: str
    span: str
    shares: list[Share]
    note: str


@dataclass(frozen=True)
class Record:
    """How forecasts of the past did: a short figure for the eye, what it is, and sentences."""

    figure: str
    meaning: str
    words: list[str]


@dataclass(frozen=True)
class Headline:
    """The first thing on the page."""

    sentence: str
    bookings: list[Booking]
    record: Record


def build_headline(files: RunFiles) -> Headline:
    """The headline from forecast.parquet and evaluation.json."""
    rows, grain = _periods_ahead(files.forecast)
    bookings = [
        _booking(row, when, files.currency)
        for (_, row), when in zip(rows.iterrows(), (f"This {grain}", f"Next {grain}"), strict=False)
    ]
    return Headline(
        _sentence(bookings), bookings, build_record(files.evaluation.get("forecast") or {})
    )


def _periods_ahead(forecast: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The company's first two quarters, or months where no quarter is told."""
    if forecast.empty:
        return forecast, "quarter"
    company = forecast[forecast["node"] == "company"]
    grain = "quarter" if (company["grain"] == "quarter").any() else "month"
    return company[company["grain"] == grain].head(2), grain


def _sentence(bookings: list[Booking]) -> str:
    if not bookings:
        return "This run holds no forecast, so there is no figure to plan with."
    first = bookings[0]
    text = f"We expect to book {first.amount} {first.when.lower()}"
    if len(bookings) > 1:
        text += f" and {bookings[1].amount} the next"
    return text + "."


def _booking(row: pd.Series, when: str, currency: str) -> Booking:
    low, high = money(row["p10"], currency), money(row["p90"], currency)
    parts = {name: max(float(row[name]), 0.0) for name in PARTS}
    total = sum(parts.values())
    shares = [
        Share(name, f"{money(value, currency)} {PARTS[name]}", 100 * value / total)
        for name, value in parts.items()
        if total > 0 and value > 0
    ]
    return Booking(
        when,
        str(row["period"]),
        money(row["mean"], currency),
        f"80% range {low} to {high}",
        shares,
        _note(float(row["adjustment"]), total, currency),
    )


def _note(adjustment: float, total: float, currency: str) -> str:
    if abs(adjustment) <= 0.005 * max(total, 1e-9):
        return ""
    word = "more" if adjustment > 0 else "less"
    return f"{money(abs(adjustment), currency)} {word}, as the trend of past totals suggests"


def build_record(judged: dict[str, Any]) -> Record:
    """How the replayed forecasts of the company did, quarters if they are enough, else months."""
    found = [(grain, _company(judged, grain)) for grain in ("quarter", "month")]
    told = [(grain, methods) for grain, methods in found if "ours" in methods]
    if not told:
        return Record("No record", "", [NO_RECORD])
    enough = [one for one in told if one[1]["ours"]["pairs"] >= FEW]
    grain, methods = (enough or told[::-1])[0]
    ours = methods["ours"]
    words = [_missed(ours, grain), _against(ours, methods), _held(ours)]
    return Record(
        percent(ours["wape"]), "average miss so far", [sentence for sentence in words if sentence]
    )


def _company(judged: dict[str, Any], grain: str) -> dict[str, Any]:
    levels = judged.get(grain) or {}
    found: dict[str, Any] = levels.get("company") or {}
    return found


def _missed(ours: dict[str, Any], grain: str) -> str:
    text = (
        f"Replayed from {ours['origins']:.0f} past days, the forecast missed what a {grain} brought"
        f" by {percent(ours['wape'])} on average"
    )
    bias = known(ours.get("bias"))
    if bias is None or abs(bias) < 0.02:
        return text + ", with no lean to either side."
    return text + f", and promised {percent(abs(bias))} too {'much' if bias > 0 else 'little'}."


def _against(ours: dict[str, Any], methods: dict[str, Any]) -> str:
    """Beside the best rule that needs no model."""
    rules = {name: known(methods[name].get("wape")) for name in SIMPLE if name in methods}
    told = {name: wape for name, wape in rules.items() if wape is not None}
    if not told:
        return ""
    best = min(told, key=lambda name: told[name])
    rule = f"the best simple rule ({method_name(best)}) missed by {percent(told[best])}"
    if ours["wape"] < told[best]:
        return f"On the same days {rule}."
    return f"That is no better than a rule of thumb: {rule}."


def _held(ours: dict[str, Any]) -> str:
    share, error = known(ours.get("coverage_80")), known(ours.get("coverage_80_se"))
    if share is None:
        return ""
    text = f"The 80% range held in {percent(share)} of {ours['pairs']:.0f} forecasts"
    if error is not None and error > 0:
        text += f" (give or take {percent(2 * error)})"
    notes = []
    if ours["pairs"] < FEW:
        notes.append("the record is short")
    if abs(share - 0.8) > max(2 * (error or 0.0), 0.1):
        notes.append("the range has been too " + ("narrow" if share < 0.8 else "wide"))
    return text + (f"; {listed(notes)}." if notes else ".")
