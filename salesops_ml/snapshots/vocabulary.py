"""Which words get columns of their own: the usual stages, activity kinds, outcomes and statuses.

They are learned from what was recorded up to a day, so that the columns, too, know no future.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import ibis
import ibis.expr.types as ir

from salesops_ml.schema import Attribute
from salesops_ml.snapshots.closings import staged_events
from salesops_ml.warehouse import Warehouse

MAX_KINDS = 8
MAX_STAGES = 8
MAX_OUTCOMES = 4
MAX_RATED = 8
MANY = 10
"""An extra attribute with this many values is too fine for columns of its own, and gets a win rate."""


def slug(word: str) -> str:
    """`word` as a piece of a column name.

    Example:
        >>> slug("Follow-up call")
        'follow_up_call'
    """
    return "".join(c if c.isalnum() else "_" for c in word.lower()).strip("_")


def slugs(words: Sequence[str]) -> dict[str, str]:
    """Each word's piece of a column name; words that would share one are numbered.

    Example:
        >>> slugs(["Call", "call!", "E-mail"])
        {'Call': 'call', 'call!': 'call_2', 'E-mail': 'e_mail'}
    """
    done: dict[str, str] = {}
    for word in words:
        name = start = slug(word) or "other"
        number = 1
        while name in done.values():
            number += 1
            name = f"{start}_{number}"
        done[word] = name
    return done


def usual_kinds(warehouse: Warehouse, *, as_of: datetime) -> tuple[str, ...]:
    """The most frequent kinds of activity."""
    return _most_frequent(warehouse.table("activities"), "kind", MAX_KINDS, as_of)


def usual_outcomes(warehouse: Warehouse, *, as_of: datetime) -> tuple[str, ...]:
    """The most frequent outcomes of activities; none where there is only one, which says nothing."""
    found = _most_frequent(warehouse.table("activities"), "outcome", MAX_OUTCOMES, as_of)
    return found if len(found) > 1 else ()


def usual_statuses(warehouse: Warehouse, *, as_of: datetime) -> tuple[str, ...]:
    """The most frequent statuses of quotes."""
    return _most_frequent(warehouse.table("quotes"), "status", MAX_KINDS, as_of)


def usual_stages(warehouse: Warehouse, *, as_of: datetime) -> tuple[str, ...]:
    """The open stages that are entered most often."""
    events = staged_events(warehouse)
    return _most_frequent(events.filter(~events.is_closed), "stage", MAX_STAGES, as_of)


def rated_columns(
    warehouse: Warehouse,
    fixed: Sequence[str],
    attributes: Sequence[Attribute],
    *,
    as_of: datetime,
) -> tuple[str, ...]:
    """The columns whose values get a win rate of their own: product, source, type, fine attributes.

    Of the columns of `deals` only those known at creation; the product through its history, too.
    """
    deals = warehouse.table("deals")
    deals = deals.filter(deals.created_at <= as_of)
    plain = [name for name in ("product", "lead_source", "deal_type", "pipeline") if name in fixed]
    fine = [a.column for a in attributes if a.kind == "string" and a.known == "at_creation"]
    wanted = [*plain, *fine]
    counts = {name: deals[name].nunique() for name in wanted}
    held = deals.agg(**counts, _deals=deals.count()).execute().iloc[0]
    done = [name for name in plain if held[name] > 1]
    done += [name for name in fine if MANY <= held[name] <= held["_deals"] / 2]
    if "product" not in done and _products(warehouse, as_of) > 1:
        done.insert(0, "product")
    return tuple(done[:MAX_RATED])


def _products(warehouse: Warehouse, as_of: datetime) -> int:
    changes = warehouse.table("deal_changes")
    seen = changes.filter(changes.field == "product", changes.recorded_at <= as_of)
    return int(seen.new_value.nunique().execute())


def _most_frequent(rows: ir.Table, column: str, most: int, as_of: datetime) -> tuple[str, ...]:
    rows = rows.filter(rows.recorded_at <= as_of, rows[column].notnull())
    counts = rows.group_by(column).agg(n=rows.count())
    ordered = counts.order_by([ibis.desc("n"), column]).limit(most).execute()
    return tuple(str(word) for word in ordered[column])
