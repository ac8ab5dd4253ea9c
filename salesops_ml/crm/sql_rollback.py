"""What runs wrote into a SQL target, and taking one back: the journal is the outbox there.

A rollback is one transaction like the write: the old values return wherever the run's own still
stand; what anybody changed since is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from salesops_ml.crm.rollback import LEFT, OLD_ALREADY, RESTORED, SUFFIX
from salesops_ml.crm.sql_target import SqlTarget, Standing
from salesops_ml.errors import UsageError
from salesops_ml.scoring.fields import Score, score_from_json
from salesops_ml.scoring.plan import Action, Change

_CHUNK, _NAMED = 500, 20


@dataclass(frozen=True)
class JournalRun:
    """One run in the journal: its name, how many entries it made, and when."""

    run_id: str
    entries: int
    at: datetime


def journal_runs(target: SqlTarget) -> list[JournalRun]:
    """The runs that wrote into the target, the last first."""
    if not target.has_table(target.journal):
        return []
    columns = target.journal.c
    asked = (
        sa.select(columns.run_id, sa.func.count(), sa.func.min(columns.at))
        .group_by(columns.run_id)
        .order_by(sa.func.max(columns.entry).desc())
    )
    with target.errors(), target.database.engine.connect() as connection:
        return [JournalRun(str(r), int(n), at) for r, n, at in connection.execute(asked)]


def roll_back_sql(
    target: SqlTarget, run_id: str, *, at: datetime
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Take a run back, all or nothing.

    Args:
        target: where it was written.
        run_id: the run.
        at: when, naive UTC.

    Returns:
        How many deals were restored, left, or at their old value already; and some of those left.

    Raises:
        UsageError: no such run wrote there.
        WriteBackError: the database refused; nothing was written.
    """
    if run_id not in {run.run_id for run in journal_runs(target)}:
        raise UsageError(
            f"{target.place}: no run `{run_id}` wrote here; `salesops write-back status` lists them"
        )
    seen: Counter[str] = Counter()
    left: list[str] = []

    def back(standing: Standing) -> Iterator[Change]:
        for chunk in _written(target, standing.connection, run_id):
            stands = standing.of(list(chunk))
            for deal_id, (old, new) in chunk.items():
                here = stands.get(deal_id)
                found = RESTORED if here == new != old else OLD_ALREADY if here == old else LEFT
                seen[found] += 1
                if found == LEFT and len(left) < _NAMED:
                    left.append(deal_id)
                if found == RESTORED:
                    action: Action = "withdraw" if old is None else "update"
                    yield Change(deal_id, action, new, old, f"rollback of {run_id}")

    target.apply_planned(back, run_id=run_id + SUFFIX, at=at)
    return dict(seen), tuple(left)


def _written(
    target: SqlTarget, connection: sa.Connection, run_id: str
) -> Iterator[dict[str, tuple[Score | None, Score | None]]]:
    """By deal, in chunks: the value before the run's first entry, and after its last."""
    columns, after = target.journal.c, ""
    ours = columns.run_id == run_id
    while True:
        deals = (
            sa.select(columns.deal_id)
            .where(ours, columns.deal_id > after)
            .distinct()
            .order_by(columns.deal_id)
            .limit(_CHUNK)
        )
        names = [str(deal) for deal in connection.scalars(deals)]
        if not names:
            return
        asked = (
            sa.select(columns.deal_id, columns.old_value, columns.new_value)
            .where(ours, columns.deal_id.in_(names))
            .order_by(columns.entry)
        )
        found: dict[str, tuple[Score | None, Score | None]] = {}
        for deal_id, old, new in connection.execute(asked):
            first = found[deal_id][0] if deal_id in found else _score(old)
            found[deal_id] = first, _score(new)
        yield found
        after = names[-1]


def _score(text: str | None) -> Score | None:
    """A score with nothing in it stands for none, as after a withdrawal."""
    score = None if text is None else score_from_json(text)
    return None if score is None or score.empty else score
