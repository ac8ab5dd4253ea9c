"""Our own properties on HubSpot's deals: their names, kinds, and how scores look in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from salesops_ml.crm.hubspot_api import moment_of
from salesops_ml.crm.target import fitting
from salesops_ml.scoring.fields import FIELDS, Score, score_of

CHANCE, CLOSE, BAND, REASONS, SCORED_AT, VERSION = FIELDS
LONGEST_TEXT = 65_536
"""Most characters of a text."""
GROUP = "dealinformation"


@dataclass(frozen=True)
class OwnProperty:
    """One property of ours.

    Attributes:
        name: its internal name.
        label: what people read.
        kinds: the types that will do, as the properties API names them; the first is created.
        field: how it is shown, the API's `fieldType`.
    """

    name: str
    label: str
    kinds: tuple[str, ...]
    field: str

    def as_created(self) -> dict[str, Any]:
        """What the properties API is told to make."""
        return {"name": self.name, "label": self.label, "type": self.kinds[0],
                "fieldType": self.field, "groupName": GROUP,
                "description": "Written by salesops-ml; changes made here are overwritten."}  # fmt: skip


OWN_PROPERTIES = {
    own.name: own
    for own in (
        OwnProperty(CHANCE, "Win probability (forecast)", ("number",), "number"),
        OwnProperty(CLOSE, "Expected close (forecast)", ("date",), "date"),
        OwnProperty(BAND, "Score band", ("string", "enumeration"), "text"),
        OwnProperty(REASONS, "Score reasons", ("string",), "textarea"),
        OwnProperty(SCORED_AT, "Scored at", ("datetime",), "date"),
        OwnProperty(VERSION, "Score model", ("string",), "text"),
    )
}
"""The properties by name, in the order of `FIELDS`."""


def to_hubspot(score: Score) -> dict[str, str]:
    """A score as HubSpot takes it: all text, moments with their zone; the empty text empties.

    Example:
        >>> to_hubspot(Score(win_probability=0.1, band="low"))["salesops_win_probability"]
        '0.1'
    """
    chance, at = score.win_probability, score.scored_at
    return {
        CHANCE: "" if chance is None else f"{chance:.6f}".rstrip("0").rstrip("."),
        CLOSE: "" if score.close_p50 is None else score.close_p50.isoformat(),
        BAND: fitting(score.band, LONGEST_TEXT) or "",
        REASONS: fitting(score.reasons, LONGEST_TEXT) or "",
        SCORED_AT: "" if at is None else f"{at.isoformat(timespec='seconds')}Z",
        VERSION: fitting(score.model_version, LONGEST_TEXT) or "",
    }


def from_hubspot(properties: dict[str, Any]) -> Score:
    """A score as it stands in HubSpot.

    Example:
        >>> told = {"salesops_scored_at": "2026-03-01T12:00:00Z", "salesops_close_p50": "1772323200000"}
        >>> from_hubspot(told).scored_at, from_hubspot(told).close_p50
        (datetime.datetime(2026, 3, 1, 12, 0), datetime.date(2026, 3, 1))
    """
    given = {name: properties.get(name) or None for name in FIELDS}
    moments = {name: moment_of(told) for name in (CLOSE, SCORED_AT) if (told := given[name])}
    return score_of(given | moments)
