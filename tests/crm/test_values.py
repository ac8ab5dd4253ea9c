"""Cells read as dates, money, numbers and yes or no: in full, or not at all."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.crm.values import Format, cure, expected, parse, plain_text
from salesops_ml.schema import ARROW, Kind


def read(cells: list[Any], kind: Kind, **form: Any) -> tuple[list[Any], list[bool]]:
    parsed = parse(pa.chunked_array([pa.array(cells)]), kind, Format(**form))
    assert parsed.values.type == ARROW[kind]
    return parsed.values.to_pylist(), parsed.bad.to_pylist()


def test_iso_times_with_and_without_offset_and_bare_days() -> None:
    cells = ["2026-07-01", "2026-07-01T12:00", "2026-07-01 12:00:00.5", "2026-07-01T12:00:00Z"]
    values, bad = read(cells, "timestamp", time_zone="Europe/Amsterdam")
    assert values == [
        datetime(2026, 6, 30, 22),
        datetime(2026, 7, 1, 10),
        datetime(2026, 7, 1, 10, 0, 0, 500_000),
        datetime(2026, 7, 1, 12),
    ]
    assert bad == [False] * 4


@pytest.mark.parametrize("cell", ["2026-02-30", "soon", "2026-13-01", "20260", "12:00", "0"])
def test_what_is_no_iso_time_is_bad(cell: str) -> None:
    assert read([cell, None, "", " "], "timestamp") == ([None] * 4, [True, False, False, False])


def test_text_in_any_of_arrows_forms_reads_the_same() -> None:
    plain = pa.chunked_array([["1.50", "", None]])
    for other in (pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())):
        parsed = parse(plain.cast(other), "money", Format())
        assert parsed.values.to_pylist() == [Decimal("1.50"), None, None]
        assert parsed.bad.to_pylist() == [False] * 3


def test_a_pattern_reads_its_own_kind_of_date_only() -> None:
    cells = ["01-03-2017", "31-02-2017", "2017-03-01", "01-03-2017 10:00", "1-3-2017"]
    values, bad = read(cells, "timestamp", date="%d-%m-%Y")
    assert values == [datetime(2017, 3, 1), None, None, None, datetime(2017, 3, 1)]
    assert bad == [False, True, True, True, False]


def test_an_hour_that_comes_twice_is_the_earlier_and_one_that_never_comes_the_later() -> None:
    cells = ["2026-10-25T02:30", "2026-03-29T02:30"]
    values, _ = read(cells, "timestamp", time_zone="Europe/Amsterdam")
    assert values == [datetime(2026, 10, 25, 0, 30), datetime(2026, 3, 29, 1, 0)]


@settings(max_examples=60, deadline=None)
@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2037, 1, 1)),
    st.sampled_from(["UTC", "Europe/Amsterdam", "America/New_York", "Asia/Kolkata"]),
)
def test_local_times_by_pattern_and_by_iso_agree_with_the_zone_database(
    moment: datetime, zone: str
) -> None:
    moment = moment.replace(microsecond=0)
    local = moment.replace(tzinfo=UTC).astimezone(ZoneInfo(zone))
    if local.fold or (local + timedelta(hours=3)).utcoffset() != local.utcoffset():
        return
    text, pattern = local.strftime("%d/%m/%Y %H:%M:%S"), "%d/%m/%Y %H:%M:%S"
    by_pattern, _ = read([text], "timestamp", date=pattern, time_zone=zone)
    by_iso, _ = read([local.replace(tzinfo=None).isoformat()], "timestamp", time_zone=zone)
    assert by_pattern == by_iso == [moment]


def test_typed_columns_are_taken_as_they_are() -> None:
    moments = pa.chunked_array([pa.array([datetime(2026, 7, 1, 12)], pa.timestamp("ns"))])
    zoned = moments.cast(pa.timestamp("ns", "Europe/Amsterdam"))
    form = Format(time_zone="Europe/Amsterdam")
    assert parse(moments, "timestamp", form).values.to_pylist() == [datetime(2026, 7, 1, 10)]
    assert parse(zoned, "timestamp", form).values.to_pylist() == [datetime(2026, 7, 1, 12)]
    assert read([date(2026, 7, 1)], "timestamp") == ([datetime(2026, 7, 1)], [False])
    assert read([1.005, 2.5], "money")[0] == [Decimal("1.00"), Decimal("2.50")]
    assert read([7], "money")[0] == [Decimal("7.00")]
    assert read([7, 8], "string")[0] == ["7", "8"]
    assert read([True], "boolean") == ([True], [False])


def test_a_day_is_the_local_day_and_keeps_no_time() -> None:
    cells = ["2026-07-01", "2026-07-01T23:30", "2026-06-30T22:30:00Z", "2026-07-01T00:30"]
    values, _ = read(cells, "date", time_zone="Europe/Amsterdam")
    assert values == [date(2026, 7, 1)] * 4


@pytest.mark.parametrize(
    ("cell", "decimal", "amount"),
    [
        ("1054", ".", "1054.00"),
        ("1,054.50", ".", "1054.50"),
        ("1.054,50", ",", "1054.50"),
        ("1 054,5", ",", "1054.50"),
        ("-3.10", ".", "-3.10"),
        ("+3", ".", "3.00"),
        (".5", ".", "0.50"),
        ("1e3", ".", "1000.00"),
        ("2.345", ".", "2.34"),
        ("2.355", ".", "2.36"),
        ("9999999999999999.99", ".", "9999999999999999.99"),
    ],
)
def test_money_is_exact_to_the_cent(cell: str, decimal: str, amount: str) -> None:
    assert read([cell], "money", decimal=decimal) == ([Decimal(amount)], [False])


@pytest.mark.parametrize("cell", ["1,5", "1,05,4", "12 EUR", "€12", "nan", "inf", "1.2.3", "--1"])
def test_what_could_be_two_amounts_is_none(cell: str) -> None:
    assert read([cell], "money") == ([None], [True])


def test_an_amount_that_does_not_fit_is_bad_and_leaves_the_others_alone() -> None:
    assert read(["1" * 17, "2"], "money") == ([None, Decimal("2.00")], [True, False])


@settings(max_examples=60, deadline=None)
@given(st.decimals(min_value=-(10**12), max_value=10**12, places=2), st.sampled_from(".,"))
def test_money_survives_being_written_with_thousands_signs(amount: Decimal, sign: str) -> None:
    text = f"{amount:,.2f}"
    if sign == ",":
        text = text.translate(str.maketrans(",.", ".,"))
    assert read([text], "money", decimal=sign) == ([amount], [False])


def test_whole_numbers_and_yes_and_no() -> None:
    assert read(["12", "12.0", "12.5", "x", ""], "integer") == (
        [12, 12, None, None, None],
        [False, False, True, True, False],
    )
    assert read(["Yes", "0", "FALSE", "maybe"], "boolean") == (
        [True, False, False, None],
        [False, False, False, True],
    )
    assert read([float("nan"), 1.5], "float") == ([None, 1.5], [True, False])


def test_text_is_trimmed_and_empty_text_is_nothing() -> None:
    assert read(["  a b ", "   ", ""], "string")[0] == ["a b", None, None]


@pytest.mark.parametrize("kind", list(ARROW))
def test_every_kind_reads_back_what_it_writes(kind: Kind) -> None:
    samples = {
        "string": "x", "timestamp": datetime(2026, 3, 1, 12, 30), "date": date(2026, 3, 1),
        "money": Decimal("12.30"), "float": 0.1, "integer": 7, "boolean": True,
    }  # fmt: skip
    written = pa.chunked_array([pa.array([samples[kind], None], ARROW[kind])])
    again = parse(plain_text(written), kind, Format()).values
    assert again.equals(written)


@pytest.mark.parametrize("kind", list(ARROW))
def test_every_kind_can_say_what_it_wants_and_how_to_mend_it(kind: Kind) -> None:
    assert expected(kind)
    assert cure(kind, Format(date="%d-%m-%Y"))


def test_the_cure_of_a_date_names_the_pattern_it_should_have() -> None:
    assert "%d-%m-%Y" in cure("date", Format(date="%d-%m-%Y"))
    assert "ISO" in cure("date", Format())
