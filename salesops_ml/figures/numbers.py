"""Numbers as people say them: €1.23M, 34%, 12 days. What is not known is said to be so."""

from __future__ import annotations

import math
from datetime import date, datetime
from typing import Any

import pandas as pd

UNKNOWN = "not known"
MINUS = "−"
SYMBOLS = {
    "EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥", "CNY": "CN¥", "INR": "₹", "KRW": "₩",
    "UAH": "₴", "RUB": "₽", "KZT": "₸", "TRY": "₺", "ILS": "₪", "VND": "₫", "NGN": "₦",
    "PHP": "₱", "BRL": "R$", "PLN": "zł ", "CHF": "CHF ",
}  # fmt: skip
SCALES = ((1e12, "T"), (1e9, "B"), (1e6, "M"))
FIGURES = 3


def money(value: Any, currency: str = "EUR", *, trim: bool = False) -> str:
    """An amount in thousands, or in three figures of millions.

    Args:
        value: the amount; `not known` where it is none.
        currency: ISO code.
        trim: drop the noughts at the end, as on an axis.

    Example:
        >>> money(1_234_567), money(-9_450, "USD"), money(12_300, "CHF"), money(2e6, trim=True)
        ('€1.23M', '−$9,450', 'CHF 12k', '€2M')
    """
    number = known(value)
    if number is None:
        return UNKNOWN
    sign = MINUS if number < 0 else ""
    return f"{sign}{SYMBOLS.get(currency, currency + ' ')}{_short(abs(number), trim)}"


def _short(number: float, trim: bool) -> str:
    """A positive number; whole up to 10,000."""
    if number < 10:
        return f"{number:.0f}" if number == round(number) else f"{number:.2f}"
    if number < 9_999.5:
        return f"{number:,.0f}"
    if number < 999_500:
        return f"{number / 1e3:.0f}k"
    rounded = float(f"{number:.{FIGURES - 1}e}")
    size, letter = next((size, letter) for size, letter in SCALES if rounded >= size)
    share = rounded / size
    whole = len(str(int(share)))
    text = f"{share:.{max(FIGURES - whole, 0)}f}"
    if trim and "." in text:
        text = text.rstrip("0").rstrip(".")
    return text + letter


def percent(share: Any, digits: int = 0) -> str:
    """A share of one as a percentage; what is above nothing is never said to be nothing.

    Example:
        >>> percent(0.336), percent(0.004), percent(0.0), percent(None)
        ('34%', '<1%', '0%', 'not known')
    """
    number = known(share)
    if number is None:
        return UNKNOWN
    if 0 < number < 0.5 * 10 ** -(digits + 2):
        return f"<{10**-digits:g}%"
    sign = MINUS if round(number * 100, digits) < 0 else ""
    return f"{sign}{abs(number) * 100:.{digits}f}%"


def count(value: Any) -> str:
    """A whole number with thousands apart.

    Example:
        >>> count(12345.0)
        '12,345'
    """
    number = known(value)
    return UNKNOWN if number is None else f"{number:,.0f}"


def plain(value: Any, digits: int = 3) -> str:
    """A number to so many places, with a true minus sign.

    Example:
        >>> plain(0.43211), plain(-1.5, 1)
        ('0.432', '−1.5')
    """
    number = known(value)
    if number is None:
        return UNKNOWN
    return f"{number:,.{digits}f}".replace("-", MINUS)


def days(value: Any) -> str:
    """A duration in days; tenths only where there are few; hours, minutes or seconds below one.

    Example:
        >>> days(1), days(3.42), days(47.6), days(0.3)
        ('1 day', '3.4 days', '48 days', '7 hours')
    """
    number = known(value)
    if number is None:
        return UNKNOWN
    if 0 < number < 0.95:
        return _below_a_day(number)
    text = f"{number:,.0f}" if abs(number) >= 9.95 or number == round(number) else f"{number:.1f}"
    return f"{text} {'day' if text == '1' else 'days'}"


def _below_a_day(number: float) -> str:
    sizes = ((24, "hour"), (24 * 60, "minute"), (24 * 3600, "second"))
    size, unit = next((one for one in sizes if number * one[0] >= 0.95), sizes[-1])
    whole = round(number * size)
    return f"{whole} {unit}{'' if whole == 1 else 's'}"


def day(value: Any, *, short: bool = True) -> str:
    """A calendar day.

    Example:
        >>> day(date(2026, 11, 3)), day(date(2026, 11, 3), short=False)
        ('3 Nov 2026', '3 November 2026')
    """
    if value is None or pd.isna(value):
        return UNKNOWN
    moment: date = pd.Timestamp(value).to_pydatetime()
    month = f"{moment:%b}" if short else f"{moment:%B}"
    return f"{moment.day} {month} {moment.year}"


def measure(value: Any, unit: str, *, trim: bool = False) -> str:
    """A KPI's value in its unit: %, days, hours, count, ratio, or a currency (by day or hour).

    Args:
        value: the number; percentages as 23.4, not 0.234.
        unit: as in `kpis.parquet`.
        trim: drop the noughts at the end, as in a target.

    Example:
        >>> measure(23.41, "%"), measure(1250.0, "EUR/day"), measure(2.875, "ratio")
        ('23.4%', '€1,250 a day', '2.9 to 1')
    """
    number = known(value)
    if number is None:
        return UNKNOWN
    if unit == "%":
        return percent(number / 100, 0 if trim and number == round(number) else 1)
    if unit == "days":
        return days(number)
    if unit == "hours":
        return f"{plain(number, 1)} hours"
    if unit == "ratio":
        return f"{plain(number, 1)} to 1"
    if unit == "count":
        return count(number) if number == round(number) or number >= 100 else plain(number, 1)
    currency, _, per = unit.partition("/")
    rate = {"": "", "day": " a day", "h": " an hour"}.get(per, f" per {per}")
    return money(number, currency, trim=trim) + rate


def known(value: Any) -> float | None:
    """The value as a finite number, or None."""
    if value is None or value is pd.NA or isinstance(value, datetime):
        return None
    number = float(value)
    return number if math.isfinite(number) else None
