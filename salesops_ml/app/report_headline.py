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
ALIKE = 0.005
"""Misses that differ by less than this are called alike."""
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
    over = len(rows) > 0 and rows["period"].iloc[0] == files.ending(grain)
    names = (f"The {grain} that ends" if over else f"This {grain}", f"Next {grain}")
    bookings = [
        _booking(row, when, files.currency)
        for (_, row), when in zip(rows.iterrows(), names, strict=False)
    ]
    record = build_record(files.evaluation.get("forecast") or {})
    return Headline(_sentence(bookings, grain, over), bookings, record)


def _periods_ahead(forecast: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The company's first two quarters, or months where no quarter is told."""
    if forecast.empty:
        return forecast, "quarter"
    company = forecast[forecast["node"] == "company"]
    grain = "quarter" if (company["grain"] == "quarter").any() else "month"
    return company[company["grain"] == grain].head(2), grain


def _sentence(bookings: list[Booking], grain: str, over: bool) -> str:
    if not bookings:
        return "This run holds no forecast, so there is no figure to plan with."
    amounts = [booking.amount for booking in bookings]
    if over:
        text = f"We booked {amounts[0]} in the {grain} that ends"
        return text + (f" and expect {amounts[1]} in the next." if len(amounts) > 1 else ".")
    text = f"We expect to book {amounts[0]} this {grain}"
    return text + (f" and {amounts[1]} the next." if len(amounts) > 1 else ".")


def _booking(row: pd.Series, when: str, currency: str) -> Booking:
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
        span_words(row, currency),
        shares,
        _note(float(row["adjustment"]), total, currency),
    )


def span_words(row: pd.Series, currency: str) -> str:
    """The 80 % range of a forecast, or that hardly anything is open any more."""
    low, high = money(row["p10"], currency), money(row["p90"], currency)
    return "as good as settled" if low == high else f"80% range {low} to {high}"


def _note(adjustment: float, total: float, currency: str) -> str:
    if abs(adjustment) <= 0.005 * max(total, 1e-9):
        return ""
    word = "more" if adjustment > 0 else "less"
    return f"{money(abs(adjustment), currency)} {word}, as the trend of past totals suggests"


def build_record(judged: dict[str, Any]) -> Record:
    """How the replayed forecasts of the company did, quarters if they are enough, else months."""
    grain, methods = _record_of(judged)
    if not methods:
        return Record("No record", "", [NO_RECORD])
    ours = methods["ours"]
    words = [_missed(ours, grain), _against(ours, methods), _held(ours)]
    return Record(
        percent(ours["wape"]), "average miss so far", [sentence for sentence in words if sentence]
    )


def worse_than_a_rule(judged: dict[str, Any]) -> bool:
    """Whether the best simple rule missed the company's total by less than the forecast did."""
    methods = _record_of(judged)[1]
    rules = _rules(methods)
    return bool(rules) and methods["ours"]["wape"] > min(rules.values()) + ALIKE


def _record_of(judged: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The grain that tells most, and its methods; none where nothing was replayed."""
    found = [(grain, _company(judged, grain)) for grain in ("quarter", "month")]
    told = [(grain, methods) for grain, methods in found if "ours" in methods]
    enough = [one for one in told if one[1]["ours"]["pairs"] >= FEW]
    return (enough or told[::-1] or [("month", {})])[0]


def _rules(methods: dict[str, Any]) -> dict[str, float]:
    """The misses of the methods that need no model."""
    told = {name: known(methods[name].get("wape")) for name in SIMPLE if name in methods}
    return {name: wape for name, wape in told.items() if wape is not None}


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
    told = _rules(methods)
    if not told:
        return ""
    best = min(told, key=lambda name: told[name])
    rule = f"the best simple rule ({method_name(best)}) missed by {percent(told[best])}"
    if ours["wape"] < told[best] - ALIKE:
        return f"On the same days {rule}."
    if ours["wape"] <= told[best] + ALIKE:
        return f"For the total that is hardly better than a rule of thumb: {rule}."
    return f"That is worse than a rule of thumb: {rule}."


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
