"""Our own fields on Bitrix24's deals: their names, kinds, and how scores look in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from salesops_ml.crm.target import fitting
from salesops_ml.scoring.fields import FIELDS, Score, score_of

PERCENT_DIGITS = 2
LONGEST_REASONS = 2_000
LONGEST_TEXT = 255
_HALF_A_DAY = timedelta(hours=12)


@dataclass(frozen=True)
class OwnField:
    """One field of ours.

    Attributes:
        name: its name in the database.
        label: what people read.
        kind: its kind.
        settings: how it is created, as `userfieldconfig.add` has it.
    """

    name: str
    label: str
    kind: str
    settings: dict[str, Any] = field(default_factory=dict)


def database_name(name: str) -> str:
    """A field of ours by Bitrix24's name of it.

    Example:
        >>> database_name("salesops_win_probability")
        'UF_CRM_SALESOPS_WIN_PROBABILITY'
    """
    return f"UF_CRM_{name.upper()}"


CHANCE, CLOSE, BAND, REASONS, SCORED_AT, VERSION = map(database_name, FIELDS)

OWN_FIELDS = {
    field.name: field
    for field in (
        OwnField(CHANCE, "Win probability, % (forecast)", "double", {"PRECISION": PERCENT_DIGITS}),
        OwnField(CLOSE, "Expected close (forecast)", "date"),
        OwnField(BAND, "Score band", "string"),
        OwnField(REASONS, "Score reasons", "string", {"ROWS": 4}),
        OwnField(SCORED_AT, "Scored at", "datetime"),
        OwnField(VERSION, "Score model", "string"),
    )
}  # fmt: skip
"""The fields by their name in the database, in the order of `FIELDS`."""


def to_bitrix24(score: Score) -> dict[str, str]:
    """A score as Bitrix24 takes it in a batch, where all is text and empty text empties.

    Example:
        >>> to_bitrix24(Score(win_probability=0.123456))["UF_CRM_SALESOPS_WIN_PROBABILITY"]
        '12.35'
    """
    chance, at = score.win_probability, score.scored_at
    return {
        CHANCE: "" if chance is None else repr(round(100 * chance, PERCENT_DIGITS)),
        CLOSE: "" if score.close_p50 is None else score.close_p50.isoformat(),
        BAND: _fitting(score.band, LONGEST_TEXT),
        REASONS: _fitting(score.reasons, LONGEST_REASONS),
        SCORED_AT: "" if at is None else f"{at.isoformat(timespec='seconds')}+00:00",
        VERSION: _fitting(score.model_version, LONGEST_TEXT),
    }


def from_bitrix24(shown: Mapping[str, Any]) -> Score:
    """A score as it stands in Bitrix24.

    Example:
        >>> from_bitrix24({"UF_CRM_SALESOPS_SCORED_AT": "2026-03-01T15:00:00+03:00"}).scored_at
        datetime.datetime(2026, 3, 1, 12, 0)
    """
    told = {name: None if shown.get(name) == "" else shown.get(name) for name in OWN_FIELDS}
    percent, day, at = told[CHANCE], told[CLOSE], told[SCORED_AT]
    known = {
        CHANCE: None if percent is None else float(percent) / 100,
        CLOSE: None if day is None else day_of(str(day)),
        SCORED_AT: None if at is None else _utc(str(at)),
    }
    return score_of(dict(zip(FIELDS, ({**told, **known}).values(), strict=True)))


def day_of(text: str) -> date:
    """The day that is meant by a moment: a day is kept as midnight of the portal's server.

    It is shown on the clock of whoever asks, so neither the text's own day nor UTC's will do. The
    midnight nearest to it does wherever the server's clock is less than half a day from UTC.

    Example:
        >>> day_of("2026-03-01T03:00:00+03:00"), day_of("2026-02-28T19:00:00-05:00")
        (datetime.date(2026, 3, 1), datetime.date(2026, 3, 1))
        >>> day_of("2026-03-01T00:00:00+03:00"), day_of("2026-03-01")
        (datetime.date(2026, 3, 1), datetime.date(2026, 3, 1))
    """
    return (_utc(text) + _HALF_A_DAY).date()


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _fitting(text: str | None, length: int) -> str:
    """A text as it survives a batch: it refers to no other command's result."""
    told = None if text is None else text.replace("$result", "$ result")
    return fitting(told, length) or ""
