"""How the rep's and the account's earlier deals ended, as it was known on the day."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from salesops_ml.snapshots.closings import closings
from salesops_ml.snapshots.visible import KEY
from salesops_ml.warehouse import Warehouse

PRIOR_DEALS = 20.0
"""Weight of the company's win rate in an owner's, in deals (empirical-Bayes shrinkage)."""


def track_record(
    warehouse: Warehouse, states: ir.Table, owners: ir.Table, *, owner: str, prefix: str
) -> ir.Table:
    """Won and lost deals of each look's `owner` up to then, and its shrunken win rate.

    f_<prefix>_closed: experience. f_<prefix>_win_rate: success, shrunk towards the company's with
    the weight of 20 deals (Robbins 1956; Efron & Morris 1975 for the shrinkage). f_<prefix>_open:
    how many deals compete for attention.

    Args:
        states: looks with deal_id, as_of and the column `owner`.
        owners: deal_id and `owner`, by whom the deal's opening and closing are counted.
        owner: `rep_id` or `account_id`.
        prefix: the word for it in feature names.
    """
    company = _running(_union(states, _happenings(warehouse, owners, owner), owner), None)
    running = _running(company, owner)
    looks = running.filter(running.probe)
    prior = ibis.coalesce(looks.won_all / (looks.won_all + looks.lost_all).nullif(0), 0.5)
    closed = looks.won_owner + looks.lost_owner
    known = looks.owner.notnull()
    return looks.select(
        *KEY,
        **{
            f"f_{prefix}_closed": ibis.ifelse(known, closed, None).cast("float64"),
            f"f_{prefix}_open": ibis.ifelse(known, looks.opened_owner - closed, None).cast(
                "float64"
            ),
            f"f_{prefix}_win_rate": ibis.ifelse(
                known, (looks.won_owner + PRIOR_DEALS * prior) / (closed + PRIOR_DEALS), None
            ),
        },
    )


def _happenings(warehouse: Warehouse, owners: ir.Table, owner: str) -> ir.Table:
    """Openings and closings as rows: owner, at, opened, won, lost."""
    deals = warehouse.table("deals").select("deal_id", "created_at")
    begun = deals.filter(deals.created_at.notnull()).join(owners, "deal_id")
    ends = closings(warehouse).join(owners, "deal_id")
    opened = begun.select(
        owner=begun[owner], at=begun.created_at, opened=ibis.literal(1, "int64"),
        won=ibis.literal(0, "int64"), lost=ibis.literal(0, "int64"),
    )  # fmt: skip
    ended = ends.select(
        owner=ends[owner], at=ends.recorded_at, opened=ibis.literal(0, "int64"),
        won=ends.won.cast("int64"), lost=ends.lost.cast("int64"),
    )  # fmt: skip
    return opened.union(ended)


def _union(states: ir.Table, happenings: ir.Table, owner: str) -> ir.Table:
    """Happenings and looks in one table, so that a window can count the first at the second."""
    nothing = ibis.literal(0, "int64")
    probes = states.select(
        owner=states[owner], at=states.as_of, opened=nothing, won=nothing, lost=nothing,
        probe=True, deal_id=states.deal_id, as_of=states.as_of,
    )  # fmt: skip
    events = happenings.mutate(
        probe=False, deal_id=ibis.null("string"), as_of=ibis.null(probes.as_of.type())
    )
    return probes.select(events.columns).union(events)


def _running(rows: ir.Table, group: str | None) -> ir.Table:
    """Sums so far over all rows, or within the owner; at one moment, happenings come first."""
    name = "all" if group is None else "owner"
    window = ibis.window(
        group_by=None if group is None else "owner",
        order_by=["at", "probe"],
        preceding=None,
        following=0,
    )
    return rows.mutate(
        **{
            f"{column}_{name}": rows[column].sum().over(window)
            for column in ("won", "lost", "opened")
        }
    )
