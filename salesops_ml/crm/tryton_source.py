"""Tryton as a source: sale opportunities with all their history, by JSON-RPC.

Tables that grow are read from the last change on; small ones, and the ids of what still stands, are
read whole, so that what was deleted is noticed; ids only where their number says that some are gone.
Lines, and what hangs on opportunities, are told by our
module; where it is not installed, or the user may not read sales, these are left out with a warning.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from salesops_ml.crm import tryton_mapping
from salesops_ml.crm.landing_run import Feed
from salesops_ml.crm.tryton_history import (
    LINE,
    history_rows,
    resource_count,
    resource_rows,
    told_rows,
)
from salesops_ml.crm.tryton_pages import (
    MODIFIED,
    changed,
    count_of,
    flat,
    ids_of,
    moment_from,
    pages,
    stamped,
)
from salesops_ml.crm.tryton_rpc import OPPORTUNITY, Tryton
from salesops_ml.crm.vendors import Vendor
from salesops_ml.crm_settings import TrytonSource, is_own_field
from salesops_ml.errors import Refused, SourceError

_LOG = logging.getLogger(__name__)
Rows = Iterator[list[dict[str, Any]]]
Read = Callable[[Any], Rows]
Count = Callable[[], int | None]

OPPORTUNITY_FIELDS = (
    "number", "party", "employee", "company", "currency", "amount", "start_date", "end_date", "state",
    "lost_reason", "create_date", "create_uid", "write_date", "write_uid",
)  # fmt: skip
HISTORY_FIELDS = (
    "employee", "company", "currency", "amount", "end_date", "state", "create_date", "create_uid",
    "write_date", "write_uid",
)  # fmt: skip
_SMALL: dict[str, tuple[str, tuple[str, ...]]] = {
    "companies": ("company.company", ("party.rec_name", "currency.code")),
    "currencies": ("currency.currency", ("code",)),
    "currency_rates": ("currency.currency.rate", ("currency", "date", "rate")),
    "users": ("res.user", ("login", "employee")),
    "products": ("product.product", ("rec_name",)),
}
"""Landed table -> model and fields; read whole."""
LINE_FIELDS = ("opportunity", "product", "sequence")
SALE_FIELDS = (
    "origin", "state", "quotation_date", "currency", "untaxed_amount", "create_date", "write_date",
)  # fmt: skip
_OF_OPPORTUNITIES = [["origin", "like", f"{OPPORTUNITY},%"]]
RESOURCES = {"notes": "ir.note", "emails": "ir.email", "documents": "ir.attachment"}
"""Landed table -> model whose records people hang on opportunities."""
_EMPLOYEE = ("party.rec_name", "company", "supervisor", "start_date", "end_date", "create_date")


def feeds(source: TrytonSource, *, pace_book: Path | None = None) -> Sequence[Feed]:
    """The tables of a Tryton database; nothing is called before a feed is read.

    Tryton names no limit of calls, so that `pace_book` is left alone.
    """
    named = _Reader(source)
    whole = [
        Feed(name, ("id",), named.whole(model, fields), whole=True)
        for name, (model, fields) in _SMALL.items()
    ]
    of_reps = tuple(dict.fromkeys((*_EMPLOYEE, *source.rep_fields.values())))
    return [
        Feed("opportunities", ("id",), named.opportunities, cursor=MODIFIED),
        Feed("opportunity_history", ("id", MODIFIED), named.history, cursor=MODIFIED),
        Feed("opportunity_ids", ("id",), named.ids, whole=True, count=named.standing,
             news="opportunities"),
        Feed("states", ("state",), named.states, whole=True),
        Feed("parties", ("id",), named.parties, cursor=MODIFIED),
        Feed("employees", ("id",), named.whole("company.employee", of_reps), whole=True),
        Feed("lines", ("id", MODIFIED), _optional("lines", named.lines), cursor=MODIFIED),
        *_with_ids("sales", named.sales, named.sale_ids, named.standing_sales),
        *whole,
        *[
            feed for name, model in RESOURCES.items()
            for feed in _with_ids(
                name, named.hung(model), named.hung_ids(model), named.standing_hung(model)
            )
        ],
    ]  # fmt: skip


def _with_ids(name: str, read: Read, ids: Read, count: Count) -> list[Feed]:
    """A table that grows, and the ids of its rows that still stand."""
    return [
        Feed(name, ("id",), _optional(name, read), cursor=MODIFIED),
        Feed(f"{name}_ids", ("id",), _optional(f"{name}_ids", ids), whole=True,
             count=count, news=name),
    ]  # fmt: skip


def _optional(name: str, read: Read) -> Read:
    """The table where it can be read; one that could be read before must not vanish."""

    def tried(since: Any) -> Rows:
        try:
            yield from read(since)
        except Refused as error:
            if since is not None:
                raise SourceError(
                    f"`{name}` could be read before, and now not: {error}; mend that, or remove the "
                    "landing beside the warehouse, so that everything is read anew"
                ) from None
            _LOG.warning("`%s` are left out: %s", name, error)

    return tried


class _Reader:
    """Reads the tables, all in one session that the first of them opens."""

    def __init__(self, source: TrytonSource) -> None:
        self.source = source
        over_time = [
            field.column or name for name, field in source.custom_fields.items()
            if field.known == "over_time"
        ]  # fmt: skip
        custom = [field.column or name for name, field in source.custom_fields.items()]
        canonical = dict(source.canonical_fields)
        product = [canonical["product"]] if "product" in canonical else []
        tracked = [canonical[n] for n in tryton_mapping.TRACKED if n in canonical]
        self.fields = _once(OPPORTUNITY_FIELDS, custom, canonical.values())
        self.history_fields = _once(HISTORY_FIELDS, over_time, product, tracked)

    @cached_property
    def tryton(self) -> Tryton:
        """The session."""
        return Tryton(self.source)

    def opportunities(self, since: str | None) -> Rows:
        self._refuse_unknown(self.tryton)
        for rows in pages(self.tryton, OPPORTUNITY, self.fields, changed(since)):
            yield [stamped(row) for row in rows]

    def history(self, since: str | None) -> Rows:
        try:
            yield from self._told(OPPORTUNITY, self.history_fields, since)
        except Refused as error:
            _LOG.warning("history is read from moment to moment, which is slow: %s", error)
            yield from self._history_by_moments(since)

    def _history_by_moments(self, since: str | None) -> Rows:
        for part in ids_of(self.tryton, OPPORTUNITY, changed(since)):
            found = history_rows(self.tryton, part, self.history_fields, since=moment_from(since))
            for rows in found:
                yield [stamped(row) for row in rows]

    def lines(self, since: str | None) -> Rows:
        yield from self._told(LINE, LINE_FIELDS, since)

    def _told(self, model: str, fields: Sequence[str], since: str | None) -> Rows:
        for rows in told_rows(self.tryton, model, fields, since=moment_from(since)):
            yield [stamped(row) for row in rows]

    def ids(self, _: Any) -> Rows:
        for page in ids_of(self.tryton, OPPORTUNITY, []):
            yield [{"id": one} for one in page]

    def standing(self) -> int | None:
        return count_of(self.tryton, OPPORTUNITY, [])

    def standing_sales(self) -> int | None:
        return count_of(self.tryton, "sale.sale", _OF_OPPORTUNITIES)

    def sales(self, since: str | None) -> Rows:
        domain = [*_OF_OPPORTUNITIES, *changed(since)]
        for rows in pages(self.tryton, "sale.sale", SALE_FIELDS, domain):
            yield [stamped(_with_deal(row, "origin")) for row in rows]

    def sale_ids(self, _: Any) -> Rows:
        for page in ids_of(self.tryton, "sale.sale", _OF_OPPORTUNITIES):
            yield [{"id": one} for one in page]

    def states(self, _: Any) -> Rows:
        told = self.tryton.read(f"model.{OPPORTUNITY}.fields_get", ["state"])["state"]["selection"]
        yield [
            {"state": state, "label": label, "position": at}
            for at, (state, label) in enumerate(told) if state
        ]  # fmt: skip

    def parties(self, since: str | None) -> Rows:
        fields = ("name", "create_date", "write_date")
        for rows in pages(self.tryton, "party.party", fields, changed(since)):
            yield [stamped(row) for row in rows]

    def whole(self, model: str, fields: Sequence[str]) -> Read:
        def read(_: Any) -> Rows:
            for rows in pages(self.tryton, model, fields, []):
                yield [flat(row) for row in rows]

        return read

    def hung(self, model: str) -> Read:
        """What people hung on opportunities."""

        def read(since: str | None) -> Rows:
            for rows in resource_rows(self.tryton, model, since=moment_from(since)):
                yield [stamped(_with_deal(row, "resource")) for row in rows]

        return read

    def hung_ids(self, model: str) -> Read:
        def read(_: Any) -> Rows:
            yield from resource_rows(self.tryton, model, only_ids=True)

        return read

    def standing_hung(self, model: str) -> Count:
        return lambda: resource_count(self.tryton, model)

    def _refuse_unknown(self, tryton: Tryton) -> None:
        """A sentence for a field that settings name and Tryton lacks."""
        known = tryton.read(f"model.{OPPORTUNITY}.fields_get", list(self.fields))
        for name in self.fields:
            if name not in known:
                raise SourceError(
                    f"{tryton.place}: sale opportunities have no field `{name}`; correct "
                    "`source.custom_fields` or `source.canonical_fields`, activate the module that "
                    "adds it, or give the user the right to see it"
                )


def _with_deal(row: dict[str, Any], column: str) -> dict[str, Any]:
    """A row with the opportunity that it points to: `sale.opportunity,7` is 7."""
    return {**row, "opportunity": str(row[column]).partition(",")[2]}


def _once(*names: Any) -> tuple[str, ...]:
    """Field names, each once, none of ours among them."""
    return tuple(dict.fromkeys(n for part in names for n in part if not is_own_field(n)))


VENDOR = Vendor(feeds, tryton_mapping.map_tryton, tryton_mapping.shape, tryton_mapping.tracked)
