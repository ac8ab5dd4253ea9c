"""From feeds into the landing's file, through dlt: pages turned to text, merged by key."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.crm.landed_text import text_rows
from salesops_ml.crm.landing_book import DATASET, DELETED, LOAD, ROW, Earlier, squashed
from salesops_ml.crm.landing_merge import SMALL, few_rows
from salesops_ml.errors import SalesOpsError, SourceError

Page: TypeAlias = list[dict[str, Any]] | pa.Table
Read: TypeAlias = Callable[[Any], Iterable[Page]]
Progress: TypeAlias = Callable[[int], None] | None
SURE = 20
"""Each load whose number it divides reads whole what others spare: a count does not see that one row
went and another, which is no news, came back."""


@dataclass(frozen=True)
class Feed:
    """How one table of a CRM is read.

    Attributes:
        name: the table's name in the landing.
        key: the columns that name a row.
        read: called with the highest cursor landed so far (None at first), gives pages of rows: lists
            of dicts, or Arrow tables. A row again is a newer version of it; the last one stands.
            It should give rows at that cursor once more: others may have come at the same moment.
        cursor: the column that grows with each change; None where there is none.
        whole: each read brings every row there is, so what no longer comes is deleted.
        deleted: the column that is true (or holds a time) in rows that were deleted.
        beyond: as `read`, but rows above the cursor alone; with `tally` it spares reading all rows at
            the cursor once more where none has come.
        tally: how many rows there are above a cursor and how many at it.
        count: how many rows a whole read would bring; None where that cannot be told.
        news: the feed, read before this one, that brings every new row by the same key. Where as many
            rows stand as have landed and are new, a whole read would bring just these, and is spared,
            but for one load in `SURE`.
        close: called when all feeds have been read; feeds may share it.
    """

    name: str
    key: tuple[str, ...]
    read: Read
    cursor: str | None = None
    whole: bool = False
    deleted: str | None = None
    beyond: Read | None = None
    tally: Callable[[Any], tuple[int, int]] | None = None
    count: Callable[[], int | None] | None = None
    news: str | None = None
    close: Callable[[], None] | None = None


class Counter:
    """One feed's pages on their way: counted, turned to text, each row with its load, place and fate.

    Attributes:
        rows: rows read so far.
        cursor: the highest cursor so far, earlier loads among them.
        ended: whether everything was read.
        spared: whether a whole read was spared, since it would have brought nothing else.
    """

    def __init__(
        self, feed: Feed, number: int, cursor: Any, progress: Progress, *, is_news: bool = False
    ) -> None:
        self.feed, self.number, self.progress = feed, number, progress
        self.rows = 0
        self.ended = self.spared = False
        self._keeps_keys = feed.whole or (is_news and cursor is not None)
        self._keys: list[pa.Table] = []
        self.since = self.cursor = cursor

    def prepared(self, page: Page) -> pa.Table:
        """A page as it lands."""
        feed = self.feed
        if feed.cursor is not None:
            self._advance(page, feed.cursor)
        table = text_rows(page, feed.name, feed.key)
        if self._keeps_keys:
            self._keys.append(table.select(list(feed.key)))
        deleted = pa.chunked_array([pa.repeat(False, table.num_rows)])
        if feed.deleted is not None and feed.deleted in table.column_names:
            told = pc.fill_null(table[feed.deleted], "false")
            deleted = pc.invert(pc.is_in(pc.utf8_lower(told), pa.array(["false", "0", ""])))
        rows = pa.array(range(self.rows, self.rows + table.num_rows), pa.int64())
        self.rows += table.num_rows
        if self.progress is not None:
            self.progress(self.rows)
        table = table.append_column(LOAD, pa.repeat(pa.scalar(self.number, pa.int64()), len(rows)))
        return table.append_column(ROW, rows).append_column(DELETED, deleted)

    @property
    def no_keys(self) -> pa.Table:
        """No rows, with the columns of a key."""
        return pa.schema([(name, pa.string()) for name in self.feed.key]).empty_table()

    def keys(self) -> pa.Table:
        """The keys of all rows read, of a whole read or of news."""
        return pa.concat_tables([self.no_keys, *self._keys])

    def _advance(self, page: Page, cursor: str) -> None:
        if isinstance(page, pa.Table):
            found = pc.max(page[cursor]).as_py() if cursor in page.column_names else None
        else:
            found = max((row[cursor] for row in page if row.get(cursor) is not None), default=None)
        if found is not None and (self.cursor is None or found > self.cursor):
            self.cursor = found


def bring(
    feeds: Sequence[Feed],
    cursors: Mapping[str, Any],
    fresh: Path,
    earlier: Earlier | None,
    number: int,
    *,
    place: str,
    progress: Progress = None,
) -> tuple[dict[str, Counter], dict[Feed, pa.Table] | None]:
    """Read every feed from its cursor on, and merge what is not there yet into the file `fresh`.

    Args:
        feeds: what to read.
        cursors: feed -> the highest cursor landed so far.
        fresh: the file to work on, a copy of the landing where there is one.
        earlier: the landing as it stands.
        number: the number of this load.
        place: the CRM in words, for messages.
        progress: called with the rows read so far.

    Returns:
        What was read, by feed; and the rows by feed where they are few and of known columns, and so
        are not in the file yet: the caller merges them.

    Raises:
        SourceError: a feed cannot be read.
    """
    news = {feed.news for feed in feeds}
    counters = {
        feed.name: Counter(
            feed, number, cursors.get(feed.name), progress, is_news=feed.name in news
        )
        for feed in feeds
    }
    try:
        seen = _Seen(earlier)
        pages = {counter.feed: _unseen(counter, seen, counters) for counter in counters.values()}
        first, rest = _first_rows(pages)
        few = few_rows(first, earlier.columns) if earlier is not None and not rest else None
        if first and few is None:
            _run({feed: chain(held, rest.get(feed, ())) for feed, held in first.items()}, fresh)
    except Exception as error:
        raise _ours(error, place) from error
    finally:
        for close in {feed.close for feed in feeds if feed.close is not None}:
            close()
    return counters, few


def _first_rows(
    pages: Mapping[Feed, Iterator[pa.Table]],
) -> tuple[dict[Feed, list[pa.Table]], dict[Feed, Iterator[pa.Table]]]:
    """Pages of each feed that brings any, as many as a small load has; and those that have more."""
    held: dict[Feed, list[pa.Table]] = {}
    rest, rows = {}, 0
    for feed, coming in pages.items():
        for page in coming:
            held.setdefault(feed, []).append(page)
            rows += page.num_rows
            if rows > SMALL:
                rest[feed] = coming
                break
    return held, rest


def _unseen(counter: Counter, seen: _Seen, counters: Mapping[str, Counter]) -> Iterator[pa.Table]:
    """The rows that did not land word for word."""
    if not counter.feed.whole:
        yield from _beyond_or_again(counter, seen)
    elif (fresh := _all_news(counter, seen, counters)) is not None:
        counter.spared = True
        yield from _some(seen.without_known(counter, counter.prepared(fresh)))
    else:
        yield from _read(counter, seen)
    counter.ended = True


def _beyond_or_again(counter: Counter, seen: _Seen) -> Iterator[pa.Table]:
    """Rows from the cursor on; those at the cursor only where one of them is new."""
    feed, since = counter.feed, counter.since
    if since is not None and feed.beyond is not None and feed.tally is not None:
        above, at = feed.tally(since)
        moved = []
        for page in feed.beyond(since) if above else ():
            if len(page):
                moved.append(counter.prepared(page))
                yield from _some(seen.without_known(counter, moved[-1]))
        if at == seen.standing(counter, moved):
            return
    yield from _read(counter, seen)


def _read(counter: Counter, seen: _Seen) -> Iterator[pa.Table]:
    for page in counter.feed.read(counter.since):
        if len(page):
            yield from _some(seen.without_known(counter, counter.prepared(page)))


def _all_news(counter: Counter, seen: _Seen, counters: Mapping[str, Counter]) -> pa.Table | None:
    """The keys that a whole read would bring beside those that stand; None where it must tell."""
    feed = counter.feed
    news = counters.get(feed.news or "")
    if feed.count is None or news is None or news.since is None or not news.ended:
        return None
    if counter.number % SURE == 0:
        return None
    found = seen.with_news(counter, news)
    return None if found is None or feed.count() != found[0] else found[1]


def _some(rows: pa.Table) -> Iterator[pa.Table]:
    if rows.num_rows:
        yield rows


class _Seen:
    """What landed before: rows of a whole read, or at the last cursor, come again with each load."""

    def __init__(self, earlier: Earlier | None) -> None:
        self._raw = None if earlier is None else earlier.raw
        self._columns = {} if earlier is None else earlier.columns
        self._names = {squashed(name): name for name in self._columns}

    def _landed(self, feed: Feed) -> tuple[str, dict[str, str]]:
        """The feed's table and its columns by their squashed names; none where nothing landed."""
        table = self._names.get(squashed(feed.name), "")
        return table, {squashed(name): name for name in self._columns.get(table, ())}

    def without_known(self, counter: Counter, page: pa.Table) -> pa.Table:
        """The rows of a page that did not land word for word."""
        feed = counter.feed
        table, landed = self._landed(feed)
        if self._raw is None or not landed:
            return page
        names = [name for name in page.column_names if name not in (LOAD, ROW)]
        if any(squashed(name) not in landed for name in names):
            return page
        told = {squashed(name) for name in names} | {squashed(LOAD), squashed(ROW)}
        same = [f'p."{name}" IS NOT DISTINCT FROM o."{landed[squashed(name)]}"' for name in names]
        same += [f'o."{name}" IS NULL' for short, name in landed.items() if short not in told]
        self._raw.register("page", page)
        near = " AND ".join(f'o."{landed[squashed(key)]}" = p."{key}"' for key in feed.key)
        rows = self._raw.execute(
            f'WITH near AS (SELECT o.* FROM {DATASET}."{table}" o SEMI JOIN page p ON {near}) '
            f"SELECT p.* FROM page p ANTI JOIN near o ON {' AND '.join(same)} ORDER BY p.{ROW}"
        ).to_arrow_table()
        self._raw.unregister("page")
        return rows

    def with_news(self, counter: Counter, news: Counter) -> tuple[int, pa.Table] | None:
        """How many rows a feed has if none is gone, and the keys that are news; None at first."""
        feed = counter.feed
        table, names = self._landed(feed)
        if self._raw is None or not table:
            return None
        self._raw.register("news", news.keys())
        keys = ", ".join(f'n."{key}"' for key in feed.key)
        same = " AND ".join(f'o."{names[squashed(key)]}" = n."{key}"' for key in feed.key)
        live = f'SELECT * FROM {DATASET}."{table}" WHERE NOT {DELETED}'
        fresh = self._raw.execute(
            f"SELECT DISTINCT {keys} FROM news n ANTI JOIN ({live}) o ON {same} ORDER BY ALL"
        ).to_arrow_table()
        row = self._raw.execute(f"SELECT count(*) FROM ({live})").fetchone()
        self._raw.unregister("news")
        return int(row[0] if row else 0) + fresh.num_rows, fresh

    def standing(self, counter: Counter, moved: Sequence[pa.Table]) -> int | None:
        """How many rows that landed at the last cursor stand there still, given those that moved on."""
        feed = counter.feed
        table, names = self._landed(feed)
        wanted = [squashed(str(feed.cursor)), *map(squashed, feed.key)]
        if self._raw is None or any(name not in names for name in wanted):
            return None
        at = text_rows(pa.table({"at": [counter.since]}), feed.name, ())["at"][0].as_py()
        keys = pa.concat_tables([counter.no_keys, *(page.select(list(feed.key)) for page in moved)])
        self._raw.register("moved", keys)
        same = " AND ".join(f'm."{key}" = o."{names[squashed(key)]}"' for key in feed.key)
        row = self._raw.execute(
            f'SELECT count(*) FROM {DATASET}."{table}" o '
            f'ANTI JOIN moved m ON {same} WHERE o."{names[wanted[0]]}" = ?',
            [at],
        ).fetchone()
        self._raw.unregister("moved")
        return int(row[0]) if row else None


def _run(pages: Mapping[Feed, Iterator[pa.Table]], fresh: Path) -> None:
    """One run of dlt over what is new; nothing is written outside the folder of `fresh`."""
    dlt = _dlt()
    pipeline = dlt.pipeline(
        "landing", pipelines_dir=str(fresh.parent / "dlt"), dataset_name=DATASET,
        destination=dlt.destinations.duckdb(str(fresh)),
    )  # fmt: skip
    try:
        pipeline.run([_resource(dlt, feed, rows) for feed, rows in pages.items()])
    finally:
        pipeline.deactivate()


def _dlt() -> Any:
    """dlt, which reports nothing to anyone and says nothing that is not an error."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["LOAD__TRUNCATE_STAGING_DATASET"] = "true"
    os.environ.setdefault("RUNTIME__LOG_LEVEL", "ERROR")
    import dlt

    logging.getLogger("dlt").setLevel(logging.ERROR)
    return dlt


def _resource(dlt: Any, feed: Feed, pages: Iterator[pa.Table]) -> Any:
    ours = {
        LOAD: {"data_type": "bigint"},
        ROW: {"data_type": "bigint", "dedup_sort": "desc"},
        DELETED: {"data_type": "bool"},
    }

    def rows() -> Iterator[pa.Table]:
        yield from pages

    return dlt.resource(
        rows, name=feed.name, primary_key=list(feed.key), write_disposition="merge", columns=ours
    )


def _ours(error: BaseException, place: str) -> SalesOpsError:
    """Our own error where one lies beneath dlt's, else one that says where it happened."""
    beneath: BaseException | None = error
    last = error
    while beneath is not None:
        if isinstance(beneath, SalesOpsError):
            return beneath
        last = beneath
        beneath = beneath.__cause__ or beneath.__context__
    return SourceError(f"{place}: could not be read: {type(last).__name__}: {last}")
