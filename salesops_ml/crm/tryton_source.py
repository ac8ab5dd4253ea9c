"""Tryton as a source: sale opportunities with all their history, by JSON-RPC.

Tables that grow are read from the last change on; small ones, and the ids of opportunities that still
stand, are read whole, so that what was deleted is noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from salesops_ml.crm import tryton_mapping
from salesops_ml.crm.landing_run import Feed
from salesops_ml.crm.tryton_history import history_rows
from salesops_ml.crm.tryton_rpc import OPPORTUNITY, Tryton
from salesops_ml.crm.vendors import Vendor
from salesops_ml.crm_settings import TrytonSource, is_own_field
from salesops_ml.errors import SourceError

PAGE = 1_000
IDS = 5_000
"""Ids a call; so many records share the moments at which their history is asked for."""
MODIFIED = "modified"
"""Our name of when a record was last saved; the cursor."""
OVERLAP = timedelta(minutes=10)
"""A save is stamped when its transaction begins, so one that took long may appear after later ones."""

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
}
"""Landed table -> model and fields; read whole."""
_EMPLOYEE = ("party.rec_name", "company", "supervisor", "start_date", "end_date", "create_date")


def feeds(source: TrytonSource) -> Sequence[Feed]:
    """The tables of a Tryton database; nothing is called before a feed is read."""
    named = _Reader(source)
    whole = [
        Feed(name, ("id",), named.whole(model, fields), whole=True)
        for name, (model, fields) in _SMALL.items()
    ]
    of_reps = tuple(dict.fromkeys((*_EMPLOYEE, *source.rep_fields.values())))
    return [
        Feed("opportunities", ("id",), named.opportunities, cursor=MODIFIED),
        Feed("opportunity_history", ("id", MODIFIED), named.history, cursor=MODIFIED),
        Feed("opportunity_ids", ("id",), named.ids, whole=True),
        Feed("states", ("state",), named.states, whole=True),
        Feed("parties", ("id",), named.parties, cursor=MODIFIED),
        Feed("employees", ("id",), named.whole("company.employee", of_reps), whole=True),
        *whole,
    ]


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

    def opportunities(self, since: str | None) -> Iterator[list[dict[str, Any]]]:
        self._refuse_unknown(self.tryton)
        for rows in _pages(self.tryton, OPPORTUNITY, self.fields, _changed(since)):
            yield [_stamped(row) for row in rows]

    def history(self, since: str | None) -> Iterator[list[dict[str, Any]]]:
        for part in _ids(self.tryton, OPPORTUNITY, _changed(since)):
            for rows in history_rows(self.tryton, part, self.history_fields, since=_from(since)):
                yield [_stamped(row) for row in rows]

    def ids(self, _: Any) -> Iterator[list[dict[str, Any]]]:
        for page in _ids(self.tryton, OPPORTUNITY, []):
            yield [{"id": one} for one in page]

    def states(self, _: Any) -> Iterator[list[dict[str, Any]]]:
        told = self.tryton.read(f"model.{OPPORTUNITY}.fields_get", ["state"])["state"]["selection"]
        yield [
            {"state": state, "label": label, "position": at}
            for at, (state, label) in enumerate(told) if state
        ]  # fmt: skip

    def parties(self, since: str | None) -> Iterator[list[dict[str, Any]]]:
        fields = ("name", "create_date", "write_date")
        for rows in _pages(self.tryton, "party.party", fields, _changed(since)):
            yield [_stamped(row) for row in rows]

    def whole(
        self, model: str, fields: Sequence[str]
    ) -> Callable[[Any], Iterator[list[dict[str, Any]]]]:
        def read(_: Any) -> Iterator[list[dict[str, Any]]]:
            for rows in _pages(self.tryton, model, fields, []):
                yield [_flat(row) for row in rows]

        return read

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


def _once(*names: Any) -> tuple[str, ...]:
    """Field names, each once, none of ours among them."""
    return tuple(dict.fromkeys(n for part in names for n in part if not is_own_field(n)))


def _pages(
    tryton: Tryton, model: str, fields: Sequence[str], domain: list[Any]
) -> Iterator[list[dict[str, Any]]]:
    """All records of a domain, by id; archived ones too."""
    after = 0
    while True:
        wanted = [["id", ">", after], *domain]
        rows = tryton.read(
            f"model.{model}.search_read", wanted, 0, PAGE, [["id", "ASC"]], list(fields),
            context={"active_test": False},
        )  # fmt: skip
        if rows:
            yield rows
        if len(rows) < PAGE:
            return
        last = max(row["id"] for row in rows)
        if last <= after:
            raise SourceError(f"{tryton.place}: page after id {after} of `{model}` repeats itself")
        after = last


def _ids(tryton: Tryton, model: str, domain: list[Any]) -> Iterator[list[int]]:
    """Pages of the ids of a domain."""
    after = 0
    while True:
        wanted = [["id", ">", after], *domain]
        ids = tryton.read(f"model.{model}.search", wanted, 0, IDS, [["id", "ASC"]])
        if ids:
            yield ids
        if len(ids) < IDS:
            return
        after = ids[-1]


def _from(since: str | None) -> datetime | None:
    return None if since is None else datetime.fromisoformat(since) - OVERLAP


def _changed(since: str | None) -> list[Any]:
    """The domain of records saved since."""
    at = _from(since)
    if at is None:
        return []
    return [
        ["OR", ["write_date", ">=", at], [["write_date", "=", None], ["create_date", ">=", at]]]
    ]


def _stamped(row: dict[str, Any]) -> dict[str, Any]:
    """A row with the moment of its last save; our own cursor, in a form that sorts."""
    at = row.get("write_date") or row["create_date"]
    kept = {name: value for name, value in row.items() if name != "write_date"}
    return {**kept, MODIFIED: at.isoformat(timespec="microseconds")}


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Values of linked records beside the row's own: `party.rec_name` as `party_rec_name`."""
    flat = {name: value for name, value in row.items() if not name.endswith(".")}
    for name, value in row.items():
        if name.endswith(".") and isinstance(value, dict):
            flat |= {f"{name[:-1]}_{part}": told for part, told in value.items() if part != "id"}
    return flat


VENDOR = Vendor(feeds, tryton_mapping.map_tryton, tryton_mapping.shape, tryton_mapping.tracked)
