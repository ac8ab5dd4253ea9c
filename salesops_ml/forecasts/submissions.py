"""What people say a period will bring, kept in a book of our own that is only ever added to.

A person's word stands beside the forecast, never in it: it is stored with author, moment and reason, and
scored once the period is over (`override_value`). The book is a small SQLite file beside the warehouse,
so that no load of the CRM can touch it; the file itself refuses to change or delete a line.
"""

from __future__ import annotations

import difflib
import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa

from salesops_ml.errors import DataError, UsageError
from salesops_ml.forecasts.hierarchy import ancestors
from salesops_ml.forecasts.history import History
from salesops_ml.forecasts.outlook import outlook
from salesops_ml.schema import TABLES, conform
from salesops_ml.settings import Company
from salesops_ml.warehouse import Warehouse, database_path

TABLE = "forecast_submissions"
CATEGORIES = ("commit", "best_case", "pipeline")
MONTHS_AHEAD = 36
_LARGEST = 1e15
_BOOK = """
CREATE TABLE IF NOT EXISTS submissions (
    node TEXT NOT NULL, period TEXT NOT NULL, submitted_at TEXT NOT NULL, author TEXT NOT NULL,
    amount TEXT NOT NULL, category TEXT NOT NULL, reason TEXT NOT NULL
);
CREATE TRIGGER IF NOT EXISTS submissions_stay BEFORE UPDATE ON submissions
BEGIN SELECT RAISE(ABORT, 'submissions are never changed; submit again'); END;
CREATE TRIGGER IF NOT EXISTS submissions_remain BEFORE DELETE ON submissions
BEGIN SELECT RAISE(ABORT, 'submissions are never deleted'); END;
"""


@dataclass(frozen=True)
class Submission:
    """One person's word on what a node will win in a period.

    Attributes:
        node: path in the hierarchy, such as company/EMEA.
        period: month or quarter, such as 2026-Q4.
        amount: company currency, at least 0.
        category: `commit` is a forecast of the result, and is scored; `best_case` and `pipeline` are
            kept and shown alone.
        reason: why it differs from, or agrees with, what stands there.
        author: who.
        submitted_at: when, naive UTC.
    """

    node: str
    period: str
    submitted_at: datetime
    author: str
    amount: Decimal
    category: str
    reason: str


def checked(
    history: History,
    company: Company,
    *,
    node: str,
    period: str,
    amount: float,
    category: str,
    reason: str,
    author: str,
    submitted_at: datetime,
) -> Submission:
    """The submission, if it is one that can be scored some day.

    Args:
        history: what is known; its deals say which nodes there are, its day which periods run.
        company: whose calendar.

    Raises:
        UsageError: the node or category is unknown, the period is unknown or over, the amount is
            negative or no number, or the author or reason is empty.
    """
    nodes = sorted({above for leaf in set(history.deals["node"]) for above in ancestors(leaf)})
    if node not in nodes:
        raise UsageError(f"`node` is `{node}`, which is none of ours; {_nearest(node, nodes)}")
    view = outlook(history.as_of, months=MONTHS_AHEAD, company=company)
    running = [one.label for one in (*view.quarters, *view.months)]
    if period not in running:
        raise UsageError(
            f"`period` is `{period}`, which is no month or quarter that runs or begins within"
            f" {MONTHS_AHEAD} months of {history.as_of:%Y-%m-%d}; write one such as {running[0]} or"
            f" {view.months[0].label}"
        )
    if not (math.isfinite(amount) and 0 <= amount < _LARGEST):
        raise UsageError(
            f"`amount` is {amount:g}; give what the period will bring in all, in"
            f" {company.base_currency}, 0 or more"
        )
    if category not in CATEGORIES:
        raise UsageError(f"`category` is `{category}`; it can be: {', '.join(CATEGORIES)}")
    for name, text in (("reason", reason), ("author", author)):
        if not text.strip():
            raise UsageError(
                f"`{name}` is empty; say it in a few words: it is kept with the amount"
            )
    money = Decimal(str(amount)).quantize(Decimal("0.01"))
    return Submission(node, period, submitted_at, author.strip(), money, category, reason.strip())


def book_path(url: str) -> Path:
    """Where the submissions of a warehouse are kept: beside its file.

    Example:
        >>> book_path("duckdb:///store/demo.duckdb").as_posix()
        'store/demo.submissions.sqlite'
    """
    return database_path(url).with_suffix(".submissions.sqlite")


def submit(url: str, submission: Submission) -> Path:
    """Add a line to the book; the book's path.

    Raises:
        DataError: the book cannot be written.
    """
    path = book_path(url)
    values = asdict(submission) | {
        "submitted_at": submission.submitted_at.isoformat(timespec="microseconds"),
        "amount": str(submission.amount),
    }
    names = [entry.name for entry in fields(Submission)]
    marks = ", ".join(f":{name}" for name in names)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _opened(path) as book:
            book.executescript(_BOOK)
            book.execute(f"INSERT INTO submissions ({', '.join(names)}) VALUES ({marks})", values)
    except (OSError, sqlite3.Error) as error:
        raise DataError(
            f"{path}: the submission was not stored: {error}; check the folder's rights, or move away"
            " what is no book of ours"
        ) from error
    return path


def read_submissions(url: str) -> pa.Table:
    """Every line of the book in the columns of `forecast_submissions`, by node, period and moment.

    Raises:
        DataError: what lies there is no book of ours.
    """
    path = book_path(url)
    rows: list[dict[str, object]] = []
    if path.exists():
        names = [entry.name for entry in fields(Submission)]
        try:
            with _opened(path) as book:
                found = book.execute(f"SELECT {', '.join(names)} FROM submissions ORDER BY rowid")
                rows = [dict(zip(names, row, strict=True)) for row in found]
        except sqlite3.Error as error:
            raise DataError(
                f"{path}: cannot be read as submissions: {error}; move the file away"
            ) from error
    for row in rows:
        said = datetime.fromisoformat(str(row["submitted_at"]))
        row |= {"submitted_at": said, "recorded_at": said, "amount": Decimal(str(row["amount"]))}
    return conform(TABLE, pa.Table.from_pylist(rows, schema=TABLES[TABLE].arrow()))


def with_submissions(warehouse: Warehouse, url: str) -> Warehouse:
    """The warehouse with the book's lines in its `forecast_submissions`, beside those of the CRM."""
    said = read_submissions(url)
    if said.num_rows:
        warehouse.add(TABLE, said)
    return warehouse


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection whose block is one transaction, closed afterwards; writers wait for each other."""
    book = sqlite3.connect(path, timeout=30.0)
    try:
        with book:
            yield book
    finally:
        book.close()


def _nearest(node: str, nodes: Sequence[str]) -> str:
    """What the caller may have meant."""
    like = difflib.get_close_matches(node, nodes, n=3, cutoff=0.5)
    if like:
        return f"did you mean {' or '.join(f'`{one}`' for one in like)}?"
    top = [one for one in nodes if one.count("/") <= 1][:8]
    return f"nodes are paths such as {', '.join(f'`{one}`' for one in top)}"
