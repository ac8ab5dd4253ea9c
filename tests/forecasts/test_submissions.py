"""What people say: kept for good, named when it cannot be, and seen beside what the CRM holds."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from salesops_ml.errors import DataError, UsageError
from salesops_ml.forecasts import read_history
from salesops_ml.forecasts.submissions import (
    TABLE,
    Submission,
    book_path,
    checked,
    read_submissions,
    submit,
    with_submissions,
)
from salesops_ml.schema import CanonicalTables, no_rejects
from salesops_ml.warehouse import Warehouse, publish
from tests.forecasts.companies import END, SETTINGS, Book

AT = datetime(2026, 7, 1, 9, 30)
WORD = Submission(
    "company/EMEA", "2026-Q4", AT, "vp-sales", Decimal("1200000.00"), "commit", "two large deals"
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"duckdb:///{tmp_path}/store/demo.duckdb"


def asked(history: Any, **changed: Any) -> Submission:
    values: dict[str, Any] = {
        "node": "company/EMEA", "period": "2026-Q4", "amount": 1_200_000.0, "category": "commit",
        "reason": "two large deals", "author": "vp-sales",
    }  # fmt: skip
    return checked(history, SETTINGS.company, **(values | changed), submitted_at=AT)


def test_a_word_is_kept_as_it_was_said(url):
    assert read_submissions(url).num_rows == 0
    assert submit(url, WORD) == book_path(url)
    submit(url, replace(WORD, amount=Decimal("0.10"), submitted_at=AT + timedelta(microseconds=1)))
    rows = read_submissions(url).to_pylist()
    assert [row["amount"] for row in rows] == [Decimal("1200000.00"), Decimal("0.10")]
    first = rows[0]
    assert (first["author"], first["reason"], first["category"]) == (
        "vp-sales", "two large deals", "commit",
    )  # fmt: skip
    assert first["submitted_at"] == first["recorded_at"] == AT


def test_loading_the_crm_again_loses_no_word(url):
    submit(url, WORD)
    for day, deals in ((1, 20), (2, 30)):
        book = Book()
        for number in range(deals):
            book.deal(f"d{number}", "2026-01-05")
        publish(url, book.tables(), ingested_at=datetime(2026, 7, day))
        assert read_submissions(url).num_rows == 1
    with Warehouse.open(url) as warehouse:
        assert not warehouse.has(TABLE)
        seen = with_submissions(warehouse, url)
        assert seen.has(TABLE)
        assert seen.table(TABLE).to_pyarrow().to_pylist() == read_submissions(url).to_pylist()


def test_words_stand_beside_those_of_the_crm(world, url):
    submit(url, WORD)
    with Warehouse.in_memory(world) as warehouse:
        before = warehouse.rows(TABLE)
        with_submissions(warehouse, url)
        assert warehouse.rows(TABLE) == before + 1
        said = warehouse.table(TABLE)
        ours = said.filter(said.reason == WORD.reason).to_pyarrow().to_pylist()
        assert [row["node"] for row in ours] == ["company/EMEA"]


@pytest.mark.parametrize(
    "order", ["UPDATE submissions SET amount = '1'", "DELETE FROM submissions"]
)
def test_the_book_refuses_to_be_changed(url, order):
    submit(url, WORD)
    with sqlite3.connect(book_path(url)) as book, pytest.raises(sqlite3.IntegrityError):
        book.execute(order)
    assert read_submissions(url)["amount"].to_pylist() == [WORD.amount]


def test_many_writers_lose_nothing(url):
    words = [replace(WORD, amount=Decimal(number)) for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda word: submit(url, word), words))
    kept = sorted(read_submissions(url)["amount"].to_pylist())
    assert kept == [Decimal(number) for number in range(40)]


def test_what_is_no_book_is_named(url):
    book_path(url).parent.mkdir(parents=True)
    book_path(url).write_text("not a database, just words " * 100)
    with pytest.raises(DataError, match="move the file away"):
        read_submissions(url)
    with pytest.raises(DataError, match="was not stored"):
        submit(url, WORD)


def test_a_good_word_passes(company):
    history = read_history(company, as_of=END, settings=SETTINGS)
    assert asked(history) == WORD
    assert asked(history, period="2026-09", node="company", amount=0.0).amount == 0
    assert asked(history, author=" x ", reason=" y ").author == "x"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"node": "company/EMAE"}, "did you mean `company/EMEA`"),
        ({"node": "nowhere"}, "nodes are paths such as `company`"),
        ({"period": "2026-Q2"}, "no month or quarter that runs or begins"),
        ({"period": "next quarter"}, "write one such as 2026-Q3 or 2026-07"),
        ({"amount": -1.0}, "in EUR, 0 or more"),
        ({"amount": float("nan")}, "`amount` is nan"),
        ({"amount": float("inf")}, "`amount` is inf"),
        ({"category": "hope"}, "it can be: commit, best_case, pipeline"),
        ({"reason": "  "}, "`reason` is empty"),
        ({"author": ""}, "`author` is empty"),
    ],
)
def test_a_bad_word_is_named_with_its_cure(company, changed, words):
    history = read_history(company, as_of=END, settings=SETTINGS)
    with pytest.raises(UsageError, match="`") as caught:
        asked(history, **changed)
    assert words in str(caught.value)


def test_an_empty_company_has_no_words():
    with Warehouse.in_memory(CanonicalTables({}, no_rejects())) as warehouse:
        with_submissions(warehouse, "duckdb:///nowhere/at/all.duckdb")
        assert not warehouse.has(TABLE)
