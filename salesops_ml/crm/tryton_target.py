"""Tryton as the place where scores are written: the fields that the module `salesops_scores` adds.

A chunk is one transaction at Tryton: all of it stands, or none. A deal that Tryton refuses is found by
`delivery`, which halves the chunk. `conversion_probability`, which people edit, is written only where
`probability_field` names it; it cannot be empty, so withdrawing a score leaves it as it is. A rollback
finds what stood there before in Tryton's own history, and leaves what a person has changed since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from salesops_ml.crm.limits import Backoff, Clock, Limits
from salesops_ml.crm.rollback import goes_back
from salesops_ml.crm.target import GONE, Done, FieldProblem, Outcome, Standing
from salesops_ml.crm.targets import connection_of
from salesops_ml.crm.tryton_history import MODULE, told_rows
from salesops_ml.crm.tryton_rpc import LIMITS, OPPORTUNITY, Tryton
from salesops_ml.crm_settings import TrytonSource
from salesops_ml.errors import Refused, UsageError
from salesops_ml.scoring.fields import FIELDS, Score, score_of
from salesops_ml.scoring.plan import Change
from salesops_ml.settings import Settings

KINDS = dict(zip(FIELDS, ("float", "date", "char", "text", "datetime", "char"), strict=True))
"""Tryton's kind of each field."""
EDITABLE = ("lead", "opportunity", "converted")
"""The states in which Tryton lets `conversion_probability` be written."""
PROBABILITY_DIGITS = 4
"""What Tryton keeps of `conversion_probability`."""


def open_target(settings: Settings) -> TrytonTarget:
    """The Tryton database that the settings name."""
    return TrytonTarget(connection_of(settings))


class TrytonTarget:
    """Scores in the fields of ours on sale opportunities.

    Args:
        source: how the database is reached, and whether `conversion_probability` is written too.
        clock, backoff: as `HttpDoor` takes them.
    """

    def __init__(
        self, source: TrytonSource, *, clock: Clock | None = None, backoff: Backoff | None = None
    ) -> None:
        self._source = source
        self._tryton = Tryton(source, clock=clock, backoff=backoff)

    @property
    def place(self) -> str:
        """Server and database."""
        return self._tryton.place

    @property
    def limits(self) -> Limits:
        """Small transactions, one at a time; Tryton names no limit."""
        return LIMITS

    def as_stored(self, score: Score) -> Score:
        """Tryton takes white space off both ends of short texts."""
        told = {name: getattr(score, name) for name in ("band", "model_version")}
        return replace(score, **{n: v if v is None else v.strip() for n, v in told.items()})

    def missing_fields(self) -> list[FieldProblem]:
        """Fields that are not there, of another kind, or that this user may not write."""
        named = [*FIELDS, *self._named()]
        known = self._tryton.read(f"model.{OPPORTUNITY}.fields_get", named)
        return [
            *[_missing(name, self._source.database) for name in FIELDS if name not in known],
            *[
                FieldProblem(name, "wrong_type", _other_kind(name, known[name]["type"]))
                for name, kind in KINDS.items() if name in known and known[name]["type"] != kind
            ],
            *self._not_writable([name for name in named if name in known]),
        ]  # fmt: skip

    def create_fields(self, problems: Sequence[FieldProblem]) -> None:
        """Tryton's API adds no fields.

        Raises:
            UsageError: always; a module adds them.
        """
        raise UsageError(f"{self.place}: Tryton's API adds no fields; {_ACTIVATE}")

    def read(self, deal_ids: Sequence[str]) -> dict[str, Standing]:
        """The fields of each deal as they stand; deals that this user does not find are gone."""
        numbers = [int(deal) for deal in deal_ids if _is_number(deal)]
        rows = self._tryton.read(
            f"model.{OPPORTUNITY}.search_read", [["id", "in", numbers]], 0, None, None, list(FIELDS)
        )
        standing = {str(row["id"]): score_of(row) for row in rows}
        return {deal: standing.get(deal, GONE) for deal in deal_ids}

    def send(self, changes: Sequence[Change]) -> list[Outcome]:
        """Write one chunk, in one transaction."""
        taken_back = self._taken_back([change for change in changes if goes_back(change)])
        pairs: list[Any] = []
        for change in changes:
            values = (change.new or Score()).values()
            if goes_back(change):
                values |= taken_back.get(change.deal_id, {})
            else:
                values |= self._probability(change.new)
            pairs += [[int(change.deal_id)], values]
        self._tryton.write(f"model.{OPPORTUNITY}.write", *pairs)
        return [Done() for _ in changes]

    def close(self) -> None:
        """Close the connections."""
        self._tryton.close()

    def _probability(self, score: Score | None) -> dict[str, float]:
        """Tryton's own probability as a score has it."""
        chance = None if score is None else score.win_probability
        return (
            {} if chance is None else {n: round(chance, PROBABILITY_DIGITS) for n in self._named()}
        )

    def _taken_back(self, changes: Sequence[Change]) -> dict[str, dict[str, float]]:
        """What Tryton's own probability was before the scores that are taken back, by deal."""
        if not (changes and self._named()):
            return {}
        (field,) = self._named()
        past: dict[str, list[dict[str, Any]]] = {}
        try:
            for rows in told_rows(self._tryton, OPPORTUNITY, [*FIELDS, field, "state"],
                                  ids=[int(change.deal_id) for change in changes]):  # fmt: skip
                for row in rows:
                    past.setdefault(str(row["id"]), []).append(row)
        except Refused as error:
            raise Refused(
                f"{error}; to take `{field}` back its history is needed: mend that, or leave out "
                "`probability_field`",
                error.status,
            ) from None
        found = {change.deal_id: self._before(change, past.get(change.deal_id, []), field)
                 for change in changes}  # fmt: skip
        return {deal: {field: value} for deal, value in found.items() if value is not None}

    def _before(self, change: Change, saves: list[dict[str, Any]], field: str) -> float | None:
        """The field as it was before the score came; None where it is to be left as it stands."""
        wrote = self._probability(change.old).get(field)
        if wrote is None or not saves:
            return None
        if saves[-1][field] != wrote or saves[-1]["state"] not in EDITABLE:
            return None
        before = self.as_stored(change.new or Score())
        found = [save[field] for save in saves if score_of(save) == before]
        return float(found[-1]) if found else None

    def _named(self) -> list[str]:
        field = self._source.probability_field
        return [] if field is None else [field]

    def _not_writable(self, names: Sequence[str]) -> list[FieldProblem]:
        """Fields that Tryton refuses to be written in no record at all: a write without effect."""
        refused = [name for name in names if not self._may_write([name])] if names else []
        return [FieldProblem(name, "read_only", _no_right(self._source.user)) for name in refused]

    def _may_write(self, names: Sequence[str]) -> bool:
        try:
            self._tryton.read(f"model.{OPPORTUNITY}.write", [], dict.fromkeys(names))
        except Refused:
            return False
        return True


_ACTIVATE = (
    f"install the module `{MODULE}` beside Tryton (docs/crm_tryton.md) and activate it: "
    f"trytond-admin -c trytond.conf -d DATABASE -u {MODULE} --activate-dependencies"
)


def _missing(name: str, database: str) -> FieldProblem:
    return FieldProblem(name, "missing", _ACTIVATE.replace("DATABASE", database))


def _other_kind(name: str, kind: str) -> str:
    return f"it is `{kind}` and should be `{KINDS[name]}`; another module took its name, rename it there"


def _no_right(user: str) -> str:
    return (
        f"give user `{user}` the right to write sale opportunities (the group `Sale Opportunity`), "
        "and no field access rule that forbids this field"
    )


def _is_number(deal: str) -> bool:
    return deal.isascii() and deal.isdigit()
