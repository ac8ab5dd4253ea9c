"""Our own fields on amoCRM's leads: their codes, kinds, and how scores look in them.

Sources: amoCRM developer documentation, page "Custom fields" (kinds; `is_api_only`: people see it, only
the API fills it in); the vendor's PHP client, which writes days as YYYY-MM-DD. How long a text may be is
not documented: ours are cut at `LONGEST_TEXT` and `LONGEST_REASONS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from salesops_ml.crm.amocrm_api import Record
from salesops_ml.crm.amocrm_rows import day_of
from salesops_ml.crm.target import FieldProblem, fitting
from salesops_ml.scoring.fields import FIELDS, Score, score_of

PERCENT_DIGITS = 2
LONGEST_TEXT, LONGEST_REASONS = 250, 2_000


@dataclass(frozen=True)
class OwnField:
    """One field of ours.

    Attributes:
        code: its code, by which it is found; where it has none, by its name.
        label: what people read.
        kinds: the kinds of field that will do; the first is created.
    """

    code: str
    label: str
    kinds: tuple[str, ...]

    def definition(self) -> Record:
        """How it is created: seen by people, filled in by the API alone."""
        return {"name": self.label, "code": self.code, "type": self.kinds[0], "is_api_only": True,
                "request_id": self.code}  # fmt: skip


CHANCE, CLOSE, BAND, REASONS, SCORED_AT, VERSION = (name.upper() for name in FIELDS)

OWN_FIELDS = {
    field.code: field
    for field in (
        OwnField(CHANCE, "Win probability, % (forecast)", ("numeric",)),
        OwnField(CLOSE, "Expected close (forecast)", ("date",)),
        OwnField(BAND, "Score band", ("text",)),
        OwnField(REASONS, "Score reasons", ("textarea", "text")),
        OwnField(SCORED_AT, "Scored at", ("date_time",)),
        OwnField(VERSION, "Score model", ("text", "textarea")),
    )
}


def own_fields(there: Iterable[Record]) -> dict[str, Record]:
    """The account's fields that are ours, by code.

    Example:
        >>> found = own_fields([{"id": 7, "code": None, "name": "salesops_reasons", "type": "textarea"}])
        >>> found["SALESOPS_REASONS"]["id"]
        7
    """
    found: dict[str, Record] = {}
    for field in there:
        code, name = str(field.get("code") or "").upper(), str(field.get("name", "")).upper()
        if code in OWN_FIELDS:
            found[code] = field
        elif not code and name in OWN_FIELDS:
            found.setdefault(name, field)
    return found


def problem_of_field(own: OwnField, there: Record | None) -> FieldProblem | None:
    """What is wrong with a field of ours; None where it can be written."""
    if there is None:
        cure = f"create a field of kind {own.kinds[0]} with the code {own.code} in leads"
        return FieldProblem(own.code, "missing", cure, creatable=True)
    if there["type"] not in own.kinds:
        cure = f"it is a {there['type']} field; delete it, and make it a {own.kinds[0]} one"
        return FieldProblem(own.code, "wrong_type", cure)
    if there.get("is_computed"):
        return FieldProblem(
            own.code, "read_only", "it is computed; delete it, and make a plain one"
        )
    return None


def to_amocrm(score: Score) -> dict[str, Any]:
    """A score as amoCRM's fields take it, by code.

    Example:
        >>> told = to_amocrm(Score(0.1234, date(2026, 3, 1), scored_at=datetime(2026, 3, 1, 12)))
        >>> told["SALESOPS_WIN_PROBABILITY"], told["SALESOPS_CLOSE_P50"], told["SALESOPS_SCORED_AT"]
        ('12.34', '2026-03-01', 1772366400)
    """
    percent, at = score.win_probability, score.scored_at
    return {
        CHANCE: None if percent is None else f"{100 * percent:.{PERCENT_DIGITS}f}",
        CLOSE: None if score.close_p50 is None else score.close_p50.isoformat(),
        BAND: _line(score.band),
        REASONS: fitting(score.reasons, LONGEST_REASONS),
        SCORED_AT: None if at is None else int(at.replace(tzinfo=UTC).timestamp()),
        VERSION: _line(score.model_version),
    }


def from_amocrm(told: Mapping[str, Any], zone: ZoneInfo) -> Score:
    """A score as it stands in amoCRM; `told` holds values by code.

    Example:
        >>> from_amocrm({"SALESOPS_WIN_PROBABILITY": "12.34"}, ZoneInfo("UTC")).win_probability
        0.1234
    """
    percent, day, at = told.get(CHANCE), told.get(CLOSE), told.get(SCORED_AT)
    given = dict(zip(FIELDS, (told.get(code) for code in OWN_FIELDS), strict=True))
    moment = None if at is None else datetime.fromtimestamp(int(at), UTC).replace(tzinfo=None)
    chance = None if percent is None else float(percent) / 100
    close = date.fromisoformat(day) if isinstance(day, str) and "-" in day else None
    if day is not None and close is None:
        close = day_of(int(day), zone)
    return score_of({**given, FIELDS[0]: chance, FIELDS[1]: close, FIELDS[4]: moment})


def _line(text: str | None) -> str | None:
    """A text of one line, as a text field keeps it."""
    return None if text is None else fitting(" ".join(text.split()), LONGEST_TEXT)
