"""The past of each deal as stretches of time: which stage, which amount, whose, closing when.

Everything recorded up to `as_of` counts, at the moment when it happened: KPIs of a past quarter are
told as they are known on the day of telling, not as they were known then. Where a deal has no history
of its amount or expected close, the value that `deals` holds today is taken for a closed deal from its
closing on, and for an open one at `as_of`; what it was before is not known. An owner or product
without history is taken to have been today's all along.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import ibis
import ibis.expr.types as ir

from salesops_ml.warehouse import Warehouse

BEGINNING = datetime(1, 1, 1)
FOREVER = datetime(9999, 12, 31)
Field = Literal["amount", "own_amount", "expected_close_date", "rep_id", "product"]
MONEY = "decimal(18, 2)"
_STAY = (
    "deal_id",
    "at",
    "seq",
    "line",
    "stage",
    "position",
    "probability",
    "outcome",
)


def stays(warehouse: Warehouse, *, as_of: datetime) -> ir.Table:
    """Stretches of one deal in one stage, or closed.

    Columns: deal_id, line (the pipeline), stage, position, probability, outcome (open, won, lost),
    valid_from, valid_until (exclusive), and next_stage, next_outcome (null where it still lasts).
    A deal is in no stage between its creation and its first stage event, and always where the stage
    history is missing. Where the stage history tells closings it alone is believed for the deals that
    are in it; otherwise `status` and `closed_at` are.
    """
    entries = _entries(warehouse, as_of)
    tells_closings = bool(entries.filter(entries.outcome != "open").count().execute())
    births = _births(warehouse, entries, as_of)
    endings = _endings(warehouse, as_of)
    if tells_closings:
        endings = endings.anti_join(entries, "deal_id")
    events = ibis.union(ibis.union(entries, births), endings)
    return _lasting(_moves(events))


def values(
    warehouse: Warehouse, field: Field, settled: ir.Table, *, as_of: datetime, base_currency: str
) -> ir.Table:
    """Stretches of one value of a field: deal_id, value, valid_from, valid_until (exclusive).

    `settled` says from when on today's value may be taken for a deal: deal_id and settled_at.
    `amount` is in company currency: the history of `amount_base`, else that of `amount` for deals in
    company currency; `own_amount` is in the deal's own, and has no value without history. An owner
    without history is whoever the stage events name.
    """
    changes = warehouse.table("deal_changes")
    if field == "amount":
        rows = _amount_changes(warehouse, changes, base_currency)
    else:
        rows = changes.filter(changes.field == field.removeprefix("own_"))
    rows = rows.select("deal_id", "changed_at", "seq", "recorded_at", value=rows.new_value)
    if field == "rep_id":
        rows = _with_stage_owners(warehouse, rows)
    known = rows.filter(rows.recorded_at <= as_of, rows.changed_at <= as_of)
    order = ibis.window(group_by="deal_id", order_by=[known.changed_at, known.seq])
    lasting = known.select(
        "deal_id",
        value=known.value,
        valid_from=known.changed_at,
        valid_until=ibis.coalesce(known.changed_at.lead().over(order), _moment(FOREVER)),
    )
    if field != "own_amount":
        lasting = ibis.union(lasting, _todays(warehouse, field, rows, settled))
    return _typed(lasting, field)


def settled_deals(warehouse: Warehouse, lasting: ir.Table, *, as_of: datetime) -> ir.Table:
    """deal_id and settled_at: the closing of a closed deal; just before `as_of` for an open one.

    A deal that was open then and is closed today has no value of today that was one of then.
    """
    last = lasting.filter(lasting.valid_until == _moment(FOREVER))
    still_open = warehouse.table("deals").filter(ibis._.status == "open")
    closed = last.filter(last.outcome != "open").select("deal_id", settled_at="valid_from")
    is_open = last.filter(last.outcome == "open").semi_join(still_open, "deal_id")
    now = _moment(as_of - timedelta(microseconds=1))
    return ibis.union(closed, is_open.select("deal_id", settled_at=now))


def value_at(table: ir.Table, moment: str, lasting: ir.Table, name: str) -> ir.Table:
    """`table` (with deal_id and a column `moment`) with the value in force then, as `name`."""
    right = lasting.rename(
        _deal="deal_id", _value="value", _from="valid_from", _until="valid_until"
    )
    in_force = [
        table.deal_id == right["_deal"],
        table[moment] >= right["_from"],
        table[moment] < right["_until"],
    ]
    joined = table.left_join(right, in_force)
    return joined.mutate(**{name: joined["_value"]}).drop("_deal", "_value", "_from", "_until")


def _entries(warehouse: Warehouse, as_of: datetime) -> ir.Table:
    """Stage events with what `stages` says of the stage; an unknown stage is open, unplaced."""
    events = warehouse.table("stage_events")
    events = events.filter(events.recorded_at <= as_of, events.entered_at <= as_of)
    deals = warehouse.table("deals").select(_id="deal_id", line="pipeline")
    stages = warehouse.table("stages")
    places = stages.select(
        "position", "probability", "is_won", "is_closed",
        _line=stages.pipeline.fill_null(""), _stage="stage",
    )  # fmt: skip
    events = events.left_join(deals, events.deal_id == deals["_id"])
    joined = events.left_join(
        places,
        [events.line.fill_null("") == places["_line"], events.stage == places["_stage"]],
    )
    closed = joined.is_closed.fill_null(False)
    outcome = ibis.cases((closed & joined.is_won, "won"), (closed, "lost"), else_="open")
    return joined.select(
        "deal_id", "line", "stage", "position", "probability",
        at=joined.entered_at, seq=joined.seq, outcome=outcome,
    ).select(*_STAY)  # fmt: skip


def _births(warehouse: Warehouse, entries: ir.Table, as_of: datetime) -> ir.Table:
    """Each deal's creation, as an entry into no stage; never after its first stage event."""
    first = entries.group_by("deal_id").agg(first=entries["at"].min())
    deals = warehouse.table("deals")
    deals = deals.filter(deals.created_at <= as_of).left_join(first, "deal_id")
    return _bare(deals.mutate(at=ibis.least(deals.created_at, deals["first"])), seq=-1)


def _endings(warehouse: Warehouse, as_of: datetime) -> ir.Table:
    """Each closing that `deals` tells, as an entry after all others of its moment."""
    deals = warehouse.table("deals")
    closed = deals.filter(deals.status != "open", deals.closed_at <= as_of)
    return _bare(closed.mutate(at=closed.closed_at), seq=2**40, outcome=closed.status)


def _bare(deals: ir.Table, *, seq: int, outcome: ir.Value | str = "open") -> ir.Table:
    return deals.select(
        deal_id=deals.deal_id,
        at=deals["at"],
        seq=ibis.literal(seq, "int64"),
        line=ibis.null("string"),
        stage=ibis.null("string"),
        position=ibis.null("int64"),
        probability=ibis.null("float64"),
        outcome=outcome if isinstance(outcome, ir.Value) else ibis.literal(outcome),
    )


def _moves(events: ir.Table) -> ir.Table:
    """The events that change something: another outcome, or another stage of an open deal."""
    order = ibis.window(group_by="deal_id", order_by=[events["at"], events.seq])
    told = events.mutate(
        before=events.outcome.lag().over(order),
        stage_before=events.stage.lag().over(order).fill_null(""),
    )
    moved = (told.outcome == "open") & (told.stage.fill_null("") != told.stage_before)
    return told.filter(told.before.isnull() | (told.outcome != told.before) | moved)


def _lasting(moves: ir.Table) -> ir.Table:
    order = ibis.window(group_by="deal_id", order_by=[moves["at"], moves.seq])
    lasting = moves.select(
        "deal_id", "line", "stage", "position", "probability", "outcome",
        valid_from=moves["at"],
        valid_until=ibis.coalesce(moves["at"].lead().over(order), _moment(FOREVER)),
        next_stage=moves.stage.lead().over(order),
        next_outcome=moves.outcome.lead().over(order),
    )  # fmt: skip
    return lasting.filter(lasting.valid_until > lasting.valid_from)


def _amount_changes(warehouse: Warehouse, changes: ir.Table, base_currency: str) -> ir.Table:
    """Changes of `amount_base`; of `amount` for deals in company currency that have no others."""
    in_base = changes.filter(changes.field == "amount_base")
    deals = warehouse.table("deals")
    domestic = deals.filter(deals.currency.isnull() | (deals.currency == base_currency))
    own = changes.filter(changes.field == "amount").semi_join(domestic, "deal_id")
    return ibis.union(in_base, own.anti_join(in_base, "deal_id"))


def _with_stage_owners(warehouse: Warehouse, rows: ir.Table) -> ir.Table:
    events = warehouse.table("stage_events")
    named = events.filter(events.rep_id.notnull()).select(
        "deal_id", changed_at="entered_at", seq="seq", recorded_at="recorded_at", value="rep_id"
    )
    return ibis.union(rows, named.anti_join(rows, "deal_id"))


def _todays(warehouse: Warehouse, field: Field, rows: ir.Table, settled: ir.Table) -> ir.Table:
    """Today's value of the deals that have no history of this field, from when on it may be taken."""
    deals = warehouse.table("deals").anti_join(rows, "deal_id")
    since = _moment(BEGINNING)
    if field in ("amount", "expected_close_date"):
        settled = settled.rename(_settled="deal_id")
        deals = deals.inner_join(settled, deals.deal_id == settled["_settled"])
        since = deals.settled_at
    today = ibis.coalesce(deals.amount_base, deals.amount) if field == "amount" else deals[field]
    return deals.select(
        "deal_id",
        value=today.cast("string"),
        valid_from=since,
        valid_until=_moment(FOREVER),
    )


def _typed(lasting: ir.Table, field: Field) -> ir.Table:
    kinds = {"amount": MONEY, "own_amount": MONEY, "expected_close_date": "date"}
    if field not in kinds:
        return lasting
    return lasting.mutate(value=lasting.value.try_cast(kinds[field]))


def _moment(at: datetime) -> ir.Value:
    return ibis.literal(at).cast("timestamp(6)")
