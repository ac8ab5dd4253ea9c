"""Tryton's history, what each record was after each save: told by our module, else found out.

The module `salesops_scores` tells the history table page by page. Where it is not installed,
`history_revisions` tells when records were saved, and a search with `_datetime` in its context how they
stood then. One search serves many records: a moment between two saves of a record shows it as the first
of them left it, so a few well chosen moments show every record after each of its saves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from salesops_ml.crm.tryton_rpc import OPPORTUNITY, Tryton
from salesops_ml.errors import Refused

MODULE = "salesops_scores"
LINE = "sale.opportunity.line"
FORBIDDEN = 403
"""Tryton's answer for a method that is not there."""
TOLD = 2_000
"""Rows of the history table a call."""
IDS_TOLD = 20_000
"""Ids a call."""
CHUNK = 500
"""Records asked for at once, where the module is not there."""
Save = tuple[int, datetime]
_TICK = timedelta(microseconds=1)


def told_rows(
    tryton: Tryton,
    model: str,
    fields: Sequence[str],
    *,
    since: datetime | None = None,
    ids: Sequence[int] | None = None,
) -> Iterator[list[dict[str, Any]]]:
    """Pages of the history table, as the module tells it; a deletion is a row without `create_date`.

    Args:
        tryton: the session.
        model: opportunities or their lines.
        fields: stored fields to read of each, beside when and by whom it was created and saved.
        since: only saves at or after; None: all.
        ids: only these records; None: all.

    Raises:
        Refused: the module is not there, the user may not read, or a field is not stored.
    """
    last = 0
    while True:
        chosen = None if ids is None else list(ids)
        rows = _told(tryton, f"{model}.salesops_history", last, TOLD, list(fields), since, chosen)
        if rows:
            yield rows
        if len(rows) < TOLD:
            return
        last = rows[-1]["_row"]


def resource_rows(
    tryton: Tryton, model: str, *, since: datetime | None = None, only_ids: bool = False
) -> Iterator[list[dict[str, Any]]]:
    """Pages of the notes, emails or attachments of all opportunities, as the module tells them.

    Raises:
        Refused: the module is not there, or the user may not read.
    """
    last, most = 0, IDS_TOLD if only_ids else TOLD
    while True:
        method = f"{OPPORTUNITY}.salesops_resources"
        rows = _told(tryton, method, model, last, most, since, only_ids)
        if rows:
            yield rows
        if len(rows) < most:
            return
        last = rows[-1]["id"]


def resource_count(tryton: Tryton, model: str) -> int | None:
    """How many ids `resource_rows` gives; None where the module cannot tell."""
    try:
        return int(tryton.read(f"model.{OPPORTUNITY}.salesops_resources_count", model))
    except Refused:
        return None


def _told(tryton: Tryton, method: str, *arguments: Any) -> list[dict[str, Any]]:
    """What a method of our module gives."""
    try:
        rows: list[dict[str, Any]] = tryton.read(f"model.{method}", *arguments)
    except Refused as error:
        if error.status != FORBIDDEN:
            raise
        raise Refused(
            f"{tryton.place}: the server does not run `{MODULE}` as it is in this version; "
            "docs/crm_tryton.md says how it is installed",
            error.status,
        ) from None
    return rows


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
