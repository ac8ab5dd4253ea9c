"""What was done for the deal, how lately, and whether it is going quiet."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from salesops_ml.snapshots.visible import KEY, days_between, numbered, visible
from salesops_ml.snapshots.vocabulary import slugs
from salesops_ml.warehouse import Warehouse

WINDOWS_DAYS = (7, 30, 90)
CLOSELY_WATCHED = 4
"""So many of the most usual kinds are counted over a week and a quarter, too."""
_LEAST_GAP = 1 / 24
TAKEN = (
    "activity", "outcome", "quote", "amount_change", "push", "back", "anything", "account_win",
)  # fmt: skip
"""What other features are called after `f_days_since_`."""


def activity_features(
    warehouse: Warehouse, spine: ir.Table, *, kinds: tuple[str, ...], outcomes: tuple[str, ...]
) -> ir.Table:
    """Counts over 7, 30 and 90 days, recency, rhythm, and the last activity's kind and outcome.

    f_activities_<n>d: attention paid lately. f_activities: attention ever paid. f_activity_trend:
    the last fortnight against the fortnight before. f_days_since_activity: silence kills deals.
    f_activity_gap: the deal's own rhythm, days between two activities. f_silence_of_rhythm: a
    silence is long only against that rhythm. f_minutes_30d: time given. f_last_kind,
    f_last_outcome: what happened last. For each of the usual `kinds`: f_kind_<kind>_30d,
    f_kind_<kind> and f_days_since_<kind>, since a meeting is not an e-mail; for the four most usual
    f_last_7_days_<kind> and f_last_90_days_<kind>. For each of the usual `outcomes`:
    f_outcome_<outcome>, how often it came so far.
    """
    acts = numbered(warehouse.table("activities"), "at", "activity_id")
    seen = visible(spine, acts, at="at")
    seen = seen.mutate(ago=days_between(seen["at"], seen.as_of))
    done = seen.group_by(*KEY).agg(
        **{f"f_activities_{n}d": _count(seen.ago < n) for n in WINDOWS_DAYS},
        **_by_kind(seen, kinds),
        **{f"f_outcome_{n}": _count(seen.outcome == o) for o, n in slugs(outcomes).items()},
        **_lately(seen),
        first_activity_ago=seen.ago.max(),
    )
    gaps = (done.f_activities - 1).nullif(0)
    gap = (done.first_activity_ago - done.f_days_since_activity) / gaps
    rhythm = ibis.ifelse(gap > _LEAST_GAP, gap, ibis.ifelse(gap.notnull(), _LEAST_GAP, None))
    return done.mutate(f_activity_gap=gap, f_silence_of_rhythm=done.f_days_since_activity / rhythm)


def kind_names(kinds: tuple[str, ...]) -> dict[str, str]:
    """Each kind's piece of a column name; a kind called as another feature is says that it is one.

    Example:
        >>> kind_names(("Call", "Quote"))
        {'Call': 'call', 'Quote': 'quote_activity'}
    """
    return {
        kind: f"{name}_activity" if name in TAKEN or name.startswith("quote_") else name
        for kind, name in slugs(kinds).items()
    }


def _by_kind(seen: ir.Table, kinds: tuple[str, ...]) -> dict[str, ir.Value]:
    sums: dict[str, ir.Value] = {}
    for number, (kind, name) in enumerate(kind_names(kinds).items()):
        mine = seen.kind == kind
        sums[f"f_kind_{name}"] = _count(mine)
        sums[f"f_kind_{name}_30d"] = _count(mine & (seen.ago < 30))
        sums[f"f_days_since_{name}"] = seen.ago.min(where=mine)
        if number < CLOSELY_WATCHED:
            sums[f"f_last_7_days_{name}"] = _count(mine & (seen.ago < 7))
            sums[f"f_last_90_days_{name}"] = _count(mine & (seen.ago < 90))
    return sums


def _lately(seen: ir.Table) -> dict[str, ir.Value]:
    told = seen.outcome.notnull()
    trend = (seen.ago < 14).sum() - ((seen.ago >= 14) & (seen.ago < 28)).sum()
    milli = (seen.duration_minutes * 1000).round().cast("int64")
    return {
        "f_activities": seen.count().cast("float64"),
        "f_activity_trend": trend.cast("float64"),
        "f_days_since_activity": seen.ago.min(),
        "f_minutes_30d": milli.sum(where=seen.ago < 30).cast("float64") / 1000,
        "f_last_kind": seen.kind.argmax(seen.place),
        "f_last_outcome": seen.outcome.argmax(seen.place, where=told),
        "f_days_since_outcome": seen.ago.min(where=told),
    }


def _count(condition: ir.Value) -> ir.Value:
    return condition.sum().cast("float64")
