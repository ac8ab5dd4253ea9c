"""What stands in a cell, read as what the canonical tables want: dates, money, numbers, yes and no.

Nothing is guessed: a value reads in full or it is bad, and the caller rejects its row. Empty text is
no value; a value map can name others (`{"n/a": ""}`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.periods import from_local, moments_from_iso, to_local, utc_naive
from salesops_ml.schema import ARROW, Kind

_MOMENT = pa.timestamp("us")
_CENT = Decimal("0.01")
_MOST_MONEY = Decimal(10) ** 16
_TRUE = ("true", "yes", "y", "1", "t")
_FALSE = ("false", "no", "n", "0", "f")


@dataclass(frozen=True)
class Format:
    """How a source writes its values: date pattern (strptime; None: ISO), zone, decimal sign."""

    date: str | None = None
    time_zone: str = "UTC"
    decimal: str = "."


@dataclass(frozen=True)
class Parsed:
    """A column read as its kind: nulls where nothing stood or where `bad` is true."""

    values: pa.ChunkedArray
    bad: pa.ChunkedArray


def parse(cells: pa.ChunkedArray, kind: Kind, form: Format) -> Parsed:
    """`cells` (text, or already typed) as canonical kind `kind`.

    Example:
        >>> cells = pa.chunked_array([["1.054,50", "x", None]])
        >>> parsed = parse(cells, "money", Format(decimal=","))
        >>> [str(value) for value in parsed.values], parsed.bad.to_pylist()
        (['1054.50', 'None', 'None'], [False, True, False])
    """
    if _is_text(cells.type):
        cells = as_text(cells)
    values = _READERS[kind](cells, form).cast(ARROW[kind])
    return Parsed(values, pc.and_(pc.is_valid(cells), pc.is_null(values)))


def cure(kind: Kind, form: Format) -> str:
    """What to do about a value that does not read as `kind`."""
    if kind in ("timestamp", "date"):
        wanted = form.date or "ISO (2026-03-31 or 2026-03-31T12:00)"
        return f"write dates as {wanted}, or name their format under `dates`"
    if kind == "boolean":
        return "write true or false, or map the value under `values`"
    return f"write a plain number with `{form.decimal}` for decimals, or map it under `values`"


def expected(kind: Kind) -> str:
    """The kind in words, for a message."""
    return {"timestamp": "a time", "date": "a date", "money": "an amount of money",
            "float": "a number", "integer": "a whole number", "boolean": "yes or no",
            "string": "text"}[kind]  # fmt: skip


def as_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Any column as trimmed text; null where nothing stands."""
    texts = values.cast(pa.string())
    trimmed = pc.utf8_trim_whitespace(texts)
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)


def scaled(values: pa.ChunkedArray, scale: float) -> pa.ChunkedArray:
    """Numbers or money times `scale`; money to the cent."""
    if scale == 1.0:
        return values
    product = pc.multiply(values.cast(pa.float64()), scale)
    if pa.types.is_decimal(values.type):
        product = pc.round(product, 2)
    return product.cast(values.type, safe=False)


def plain_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Typed values as `deal_changes` writes them: ISO dates and times, plain decimals."""
    if pa.types.is_timestamp(values.type):
        return pc.strftime(values, format="%Y-%m-%dT%H:%M:%S")
    return values.cast(pa.string())


def _each_unique(
    texts: pa.ChunkedArray, read: Callable[[str], Any], kind: pa.DataType
) -> pa.ChunkedArray:
    """`read` on each distinct text once; None where it cannot be read."""
    unique = pc.unique(texts)
    done = [None if text is None else read(text) for text in unique.to_pylist()]
    known = pa.array(done, kind)
    chunks = [known.take(pc.index_in(chunk, unique)) for chunk in texts.chunks]
    return pa.chunked_array(chunks, kind)


def _moments(cells: pa.ChunkedArray, form: Format) -> pa.ChunkedArray:
    """Naive UTC moments; what has no offset of its own is local time in the source's zone."""
    if pa.types.is_timestamp(cells.type):
        if cells.type.tz is not None:
            return cells.cast(pa.timestamp("us", "UTC"), safe=False).cast(_MOMENT)
        return from_local(cells.cast(_MOMENT, safe=False), form.time_zone)
    if pa.types.is_date(cells.type):
        return from_local(cells.cast(_MOMENT), form.time_zone)
    texts = as_text(cells)
    if form.date is None:
        return moments_from_iso(texts, form.time_zone)
    return _patterned(texts, form.date, form.time_zone)


def _patterned(texts: pa.ChunkedArray, pattern: str, zone: str) -> pa.ChunkedArray:
    """Moments by a strptime pattern. Arrow's own strptime would read 31 February as 3 March."""

    def read(text: str) -> datetime | None:
        try:
            return utc_naive(datetime.strptime(text, pattern), zone)
        except ValueError:
            return None

    return _each_unique(texts, read, _MOMENT)


def _dates(cells: pa.ChunkedArray, form: Format) -> pa.ChunkedArray:
    """Calendar days; a time with an offset is the day that it is in the source's zone."""
    if pa.types.is_date(cells.type):
        return cells
    local = to_local(_moments(cells, form), form.time_zone)
    return local.cast(pa.date32(), safe=False)


def _plain_numbers(cells: pa.ChunkedArray, form: Format) -> pa.ChunkedArray:
    """Number texts with `.` for decimals and no thousands signs; null where it is no number.

    Thousands signs are taken only where they stand at every third digit: `1,5` is no 15.
    """
    texts = as_text(cells)
    sign, group = (r"\.", ",") if form.decimal == "." else (",", r"[. ]")
    grouped = pc.match_substring_regex(texts, rf"^[+-]?\d{{1,3}}({group}\d{{3}})+({sign}\d+)?$")
    plain = pc.match_substring_regex(texts, rf"^[+-]?(\d+({sign}\d*)?|{sign}\d+)([eE][+-]?\d+)?$")
    bare = pc.replace_substring_regex(texts, group, "")
    good = pc.if_else(grouped, bare, pc.if_else(plain, texts, pa.scalar(None, pa.string())))
    return good if form.decimal == "." else pc.replace_substring(good, ",", ".")


def _floats(cells: pa.ChunkedArray, form: Format) -> pa.ChunkedArray:
    if _is_number(cells.type):
        numbers = cells.cast(pa.float64(), safe=False)
    else:
        numbers = _plain_numbers(cells, form).cast(pa.float64())
    return pc.if_else(pc.is_finite(numbers), numbers, pa.scalar(None, pa.float64()))


def _integers(cells: pa.ChunkedArray, form: Format) -> pa.ChunkedArray:
    if pa.types.is_integer(cells.type):
        return cells.cast(pa.int64())
    numbers = _floats(cells, form)
    whole = pc.and_(pc.equal(pc.floor(numbers), numbers), pc.less(pc.abs(numbers), 2.0**53))
    return pc.if_else(whole, numbers, pa.scalar(None, pa.float64())).cast(pa.int64())


def _money(cells: pa.ChunkedArray, form: Format) -> pa.ChunkedArray:
    if pa.types.is_floating(cells.type):
        cells = pc.if_else(pc.is_finite(cells), cells, pa.scalar(None, cells.type))
    texts = cells.cast(pa.string()) if _is_number(cells.type) else _plain_numbers(cells, form)
    try:
        return texts.cast(ARROW["money"])
    except pa.ArrowInvalid:
        return _each_unique(texts, _cents, ARROW["money"])


def _cents(text: str) -> Decimal | None:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    if not amount.is_finite() or abs(amount) >= _MOST_MONEY:
        return None
    return amount.quantize(_CENT, ROUND_HALF_EVEN)


def _booleans(cells: pa.ChunkedArray, form: Format) -> pa.ChunkedArray:
    if pa.types.is_boolean(cells.type):
        return cells
    texts = pc.utf8_lower(as_text(cells))
    true = pc.is_in(texts, value_set=pa.array(_TRUE))
    false = pc.is_in(texts, value_set=pa.array(_FALSE))
    return pc.if_else(true, True, pc.if_else(false, False, pa.scalar(None, pa.bool_())))


def _strings(cells: pa.ChunkedArray, form: Format) -> pa.ChunkedArray:
    return as_text(cells)


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    tests = (types.is_string, types.is_large_string, types.is_string_view, types.is_dictionary)
    return any(test(kind) for test in tests)


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


_READERS: dict[Kind, Callable[[pa.ChunkedArray, Format], pa.ChunkedArray]] = {
    "string": _strings, "timestamp": _moments, "date": _dates, "money": _money,
    "float": _floats, "integer": _integers, "boolean": _booleans,
}  # fmt: skip
