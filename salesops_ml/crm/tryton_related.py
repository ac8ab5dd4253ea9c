"""What belongs to Tryton's opportunities: products of their lines, sales as quotes, what hangs on them.

The product of an opportunity is that of its first line, in the order that the form shows (by sequence,
lines without one first, then by id), at each moment of its history. A sale counts as sent on the day of
its quotation and, once it is confirmed or cancelled, as answered when it was last saved; drafts are no
quotes. Notes, emails sent from the client, and attachments are activities; Tryton keeps no calls,
meetings or tasks.

Sources: trytond 8, `model/order.py`; modules sale_opportunity, sale; ir.note, ir.email, ir.attachment.
"""

from __future__ import annotations

from collections.abc import Mapping

import ibis
import ibis.expr.types as ir

from salesops_ml.crm.vendor_quotes import ANSWER
from salesops_ml.crm.vendor_rows import Rows, landed_rows
from salesops_ml.crm.vendor_tables import with_reason

Tables = Mapping[str, ir.Table]

KINDS = {"notes": "note", "emails": "email", "documents": "attachment"}
"""Landed table -> kind of activity."""
ANSWERS = {"confirmed": "accepted", "processing": "accepted", "done": "accepted",
           "cancelled": "declined"}  # fmt: skip
"""A sale's state -> what became of the quote."""


def products_over_time(tables: Tables, lines: Rows) -> ir.Table:
    """The product of each opportunity after each save of its lines.

    Args:
        tables: landed tables, `products` for names.
        lines: the history of lines, with `_author`, who saved.

    Returns:
        deal_id, at, product (null where no line names one), author.
    """
    spans = _spans(lines)
    begun = spans.select(deal_id="deal_id", at="start", author="author")
    ended = spans.filter(spans.end.notnull()).select(deal_id="deal_id", at="end", author="ended_by")
    moments = begun.union(ended).group_by("deal_id", "at").agg(author=lambda t: t.author.max())
    shown = spans.filter(spans["product"].notnull()).rename(_deal="deal_id", _by="author")
    both = moments.left_join(
        shown,
        [moments.deal_id == shown["_deal"], shown.start <= moments["at"],
         shown.end.isnull() | (moments["at"] < shown.end)],
    )  # fmt: skip
    order = ibis.window(
        group_by=["deal_id", "at"], order_by=[both.numbered, both.sequence, both.line]
    )
    first = both.mutate(_nth=ibis.row_number().over(order)).filter(lambda t: t["_nth"] == 0)
    names = landed_rows(tables, "products")
    known = names.table.select(_product=names.text("id"), _name=names.text("rec_name"))
    told = first.left_join(known, first["product"] == known["_product"])
    product = ibis.coalesce(told["_name"], told["product"])
    return told.select("deal_id", "at", product=product, author="author")


def _spans(lines: Rows) -> ir.Table:
    """Each line after each save, from then until its next save or its deletion."""
    rows = lines.table.select(
        line=lines.integer("id"), deal_id=lines.text("opportunity"), product=lines.text("product"),
        sequence=lines.integer("sequence"), start=lines.moment("modified"),
        there=lines.text("create_date").notnull(), author=lines.table["_author"],
    )  # fmt: skip
    later = ibis.window(group_by="line", order_by="start")
    rows = rows.mutate(
        end=rows.start.lead().over(later), ended_by=rows.author.lead().over(later),
        numbered=rows.sequence.notnull().cast("int8"),
    )  # fmt: skip
    return rows.filter(rows.there).drop("there")


def products_today(over_time: ir.Table) -> ir.Table:
    """`_deal` and `_product`: what each opportunity is about today."""
    last = ibis.window(group_by="deal_id", order_by=ibis.desc("at"))
    rows = over_time.mutate(_nth=ibis.row_number().over(last))
    return rows.filter(rows["_nth"] == 0).select(_deal="deal_id", _product="product")


def quotes_of(tables: Tables, deals: Rows) -> dict[str, ir.Table]:
    """Sales that were made from opportunities, as quotes: one row when sent, one when answered.

    Args:
        tables: landed tables, `sales` and `sales_ids`.
        deals: the opportunities that stand; an amount in other money than the deal's is left out.
    """
    rows, ids = landed_rows(tables, "sales"), landed_rows(tables, "sales_ids").live
    if not (rows.here and ids.here):
        return {}
    there = ids.table.select(_there=ids.text("id"))
    live = deals.table.select(_live=deals.text("id"), _paid_in=deals.text("currency"))
    table = rows.table.semi_join(there, rows.text("id") == there["_there"])
    table = table.inner_join(live, rows.only(table).text("opportunity") == live["_live"])
    rows = rows.only(table.filter(rows.only(table).text("state") != "draft"))
    sent = _sent(rows)
    return {"quotes": sent.union(_saved_again(rows, sent))}


def _sent(rows: Rows) -> ir.Table:
    """Known when its day was over, or at its last save where that came before; later saves may have
    changed the amount, which `_saved_again` tells then."""
    created, saved = rows.moment("create_date"), rows.moment("modified")
    day = rows.day("quotation_date").cast("timestamp").fill_null(created)
    over = ibis.ifelse(rows.text("quotation_date").isnull(), created, day + ibis.interval(days=1))
    known = ibis.greatest(created, ibis.least(over, saved))
    sent = ibis.least(ibis.greatest(created, day), known)
    return _quote(rows, rows.text("id"), ibis.literal("sent"), sent, known, stands=saved <= known)


def _saved_again(rows: Rows, sent: ir.Table) -> ir.Table:
    """The answer, and what the quote says today, known from its last save on."""
    told = sent.select(_quote_id="quote_id", _known="recorded_at")
    table = rows.table.inner_join(told, rows.text("id") == told["_quote_id"])
    answered = rows.only(table).text("state").isin(list(ANSWERS))
    later = rows.only(table).moment("modified") > table["_known"]
    kept = rows.only(table.filter(answered | later))
    at, state = kept.moment("modified"), kept.text("state")
    status = ibis.ifelse(state.isin(list(ANSWERS)), state.substitute(ANSWERS), "sent")
    return _quote(kept, kept.text("id") + ANSWER, status, at, at, stands=ibis.literal(True))


def _quote(
    rows: Rows, quote_id: ir.Value, status: ir.Value, sent_at: ir.Value, recorded_at: ir.Value,
    *, stands: ir.BooleanValue,
) -> ir.Table:  # fmt: skip
    """`stands`: whether the amount of today was that of then."""
    same_money = rows.text("currency") == rows.table["_paid_in"]
    chosen = {
        "quote_id": quote_id,
        "deal_id": rows.table["_live"],
        "amount": ibis.ifelse(
            same_money & stands, rows.money("untaxed_amount"), ibis.null("decimal(18, 2)")
        ),
        "sent_at": sent_at,
        "status": status,
        "recorded_at": recorded_at,
    }
    return rows.table.select(**with_reason(chosen, rows))


def activities_of(tables: Tables, deals: Rows, users: ir.Table) -> dict[str, ir.Table]:
    """Notes, emails and attachments of the opportunities that stand, by people.

    Args:
        tables: landed tables named in `KINDS`, each with the ids that still stand.
        deals: the opportunities that stand.
        users: `_user`, `_person` (who that is) and `_software`.
    """
    live = deals.table.select(_live=deals.text("id"))
    found = [
        _of_kind(rows, landed_rows(tables, f"{name}_ids").live, kind, live, users)
        for name, kind in KINDS.items()
        if (rows := landed_rows(tables, name)).here
    ]
    if not found:
        return {}
    return {"activities": ibis.union(*found) if len(found) > 1 else found[0]}


def _of_kind(rows: Rows, ids: Rows, kind: str, live: ir.Table, users: ir.Table) -> ir.Table:
    there = ids.table.select(_there=ids.text("id"))
    table = rows.table.semi_join(there, rows.text("id") == there["_there"])
    table = table.semi_join(live, rows.only(table).text("opportunity") == live["_live"])
    table = table.left_join(users, rows.only(table).text("create_uid") == users["_user"])
    rows = rows.only(table.filter(~table["_software"].fill_null(False)))
    chosen = {
        "activity_id": ibis.literal(f"{kind} ") + rows.text("id"),
        "deal_id": rows.text("opportunity"),
        "rep_id": rows.table["_person"],
        "kind": ibis.literal(kind),
        "at": rows.moment("create_date"),
    }
    return rows.table.select(**with_reason(chosen, rows))
