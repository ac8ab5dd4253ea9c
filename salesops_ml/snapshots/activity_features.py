"""What was done for the deal, how lately, and whether it is going quiet."""

from __future__ import annotations

import ibis.expr.types as ir

from salesops_ml.snapshots.visible import KEY, days_between, numbered, visible
from salesops_ml.warehouse import Warehouse

WINDOWS_DAYS = (7, 30, 90)


def activity_features(warehouse: Warehouse, spine: ir.Table, *, kinds: tuple[str, ...]) -> ir.Table:
    """Counts over 7, 30 and 90 days, recency, and the last activity's kind and outcome.

    f_activities_<n>d: attention paid lately. f_activities: attention ever paid. f_activity_trend:
    the last fortnight against the fortnight before. f_days_since_activity: silence kills deals.
    f_minutes_30d: time given. f_last_kind, f_last_outcome: what happened last. For each of the
    usual `kinds`: f_kind_<kind>_30d, f_kind_<kind> and f_days_since_<kind>, since a meeting is not
    an e-mail.
    """
    acts = numbered(warehouse.table("activities"), "at", "activity_id")
    seen = visible(spine, acts, at="at")
    ago = days_between(seen["at"], seen.as_of)
    sums = {f"f_activities_{n}d": (ago < n).sum().cast("float64") for n in WINDOWS_DAYS}
    for kind in kinds:
        mine = seen.kind == kind
        name = slug(kind)
        sums[f"f_kind_{name}"] = mine.sum().cast("float64")
        sums[f"f_kind_{name}_30d"] = (mine & (ago < 30)).sum().cast("float64")
        sums[f"f_days_since_{name}"] = ago.min(where=mine)
    return seen.group_by(*KEY).agg(
        **sums,
        f_activities=seen.count().cast("float64"),
        f_activity_trend=((ago < 14).sum() - ((ago >= 14) & (ago < 28)).sum()).cast("float64"),
        f_days_since_activity=ago.min(),
        f_minutes_30d=seen.duration_minutes.sum(where=ago < 30),
        f_last_kind=seen.kind.argmax(seen.place),
        f_last_outcome=seen.outcome.argmax(seen.place, where=seen.outcome.notnull()),
        f_days_since_outcome=ago.min(where=seen.outcome.notnull()),
    )


def slug(kind: str) -> str:
    """`kind` as a piece of a column name.

    Example:
        >>> slug("Follow-up call")
        'follow_up_call'
    """
    return "".join(c if c.isalnum() else "_" for c in kind.lower()).strip("_")
