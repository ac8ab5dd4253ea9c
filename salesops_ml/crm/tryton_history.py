"""Tryton's history of opportunities, read by its own API: what each record was after each save.

`history_revisions` tells when records were saved; a search with `_datetime` in its context tells how
they stood then. One search serves many records: a moment between two saves of a record shows it as the
first of them left it, so a few well chosen moments show every record after each of its saves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from salesops_ml.crm.tryton_rpc import OPPORTUNITY, Tryton

CHUNK = 500
"""Records asked for at once."""
Save = tuple[int, datetime]
_TICK = timedelta(microseconds=1)


def history_rows(
    tryton: Tryton, ids: Sequence[int], fields: Sequence[str], *, since: datetime | None
) -> Iterator[list[dict[str, Any]]]:
    """Pages of rows: each record as each save left it, with `write_date` and `create_date` of then.

    Args:
        tryton: the session.
        ids: the records; those that are gone bring nothing.
        fields: what is read of each.
        since: only saves at or after; None: all.
    """
    saves = set[Save]()
    for start in range(0, len(ids), CHUNK):
        part = list(ids[start : start + CHUNK])
        for at, record, _ in tryton.read(f"model.{OPPORTUNITY}.history_revisions", part):
            saves.add((record, at))
    for moment, records in moments_of(saves, since=since):
        for start in range(0, len(records), CHUNK):
            domain = [["id", "in", records[start : start + CHUNK]]]
            rows = tryton.read(
                f"model.{OPPORTUNITY}.search_read", domain, 0, None, None, list(fields),
                context={"_datetime": moment},
            )  # fmt: skip
            if rows:
                yield rows


def moments_of(
    saves: Iterable[Save], *, since: datetime | None = None
) -> Iterator[tuple[datetime, list[int]]]:
    """The fewest moments that show each record after each of its saves, and the records to ask for.

    Each save is to be seen until the next save of its record: an interval. The earliest end that no
    moment serves yet gives the next moment, the last one within it (the fewest points that stab all
    intervals; Cormen et al., "Introduction to Algorithms", exercise on greedy choice).

    Example:
        >>> day = [datetime(2026, 1, n) for n in range(1, 5)]
        >>> saves = [(7, day[0]), (7, day[2]), (8, day[1]), (8, day[3])]
        >>> [records for _, records in moments_of(saves)]
        [[7, 8], [7, 8]]
    """
    by_record = defaultdict(list)
    for record, at in sorted(set(saves)):
        by_record[record].append(at)
    last = max((times[-1] for times in by_record.values()), default=datetime.min)
    spans = []
    for record, times in by_record.items():
        ends = [at - _TICK for at in times[1:]] + [last + _TICK]
        spans += [(end, at, record) for at, end in zip(times, ends, strict=True)]
    spans = [span for span in spans if since is None or span[1] >= since]
    spans.sort()
    moment: datetime | None = None
    records: list[int] = []
    for end, start, record in spans:
        if moment is not None and start <= moment:
            records.append(record)
            continue
        if moment is not None:
            yield moment, records
        moment, records = end, [record]
    if moment is not None:
        yield moment, records
