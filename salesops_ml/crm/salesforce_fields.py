"""Our own fields on Salesforce's opportunities: their names, kinds, and how scores look in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from salesops_ml.crm.target import fitting
from salesops_ml.scoring.fields import FIELDS, Score, score_of

PERCENT_DIGITS = 2
LONGEST_REASONS = 2_000
LONGEST_TEXT = 255


@dataclass(frozen=True)
class OwnField:
    """One field of ours.

    Attributes:
        name: its API name.
        label: what people read.
        kinds: the kinds of field that will do, as a description names them; the first is created.
        length: most characters of a text.
        metadata: how it is created, as the Tooling API has it.
    """

    name: str
    label: str
    kinds: tuple[str, ...]
    length: int | None
    metadata: dict[str, Any]


def api_name(field: str) -> str:
    """A field of ours by Salesforce's name of it.

    Example:
        >>> api_name("salesops_win_probability")
        'Salesops_Win_Probability__c'
    """
    return f"{field.title()}__c"


CHANCE, CLOSE, BAND, REASONS, SCORED_AT, VERSION = map(api_name, FIELDS)

OWN_FIELDS = {
    field.name: field
    for field in (
        OwnField(CHANCE, "Win Probability (forecast)", ("percent", "double"), None,
                 {"type": "Percent", "precision": 5, "scale": PERCENT_DIGITS}),
        OwnField(CLOSE, "Expected Close (forecast)", ("date",), None, {"type": "Date"}),
        OwnField(BAND, "Score Band", ("string",), 20, {"type": "Text", "length": 20}),
        OwnField(REASONS, "Score Reasons", ("textarea", "string"), LONGEST_REASONS,
                 {"type": "LongTextArea", "length": LONGEST_REASONS, "visibleLines": 4}),
        OwnField(SCORED_AT, "Scored At", ("datetime",), None, {"type": "DateTime"}),
        OwnField(VERSION, "Score Model", ("string",), LONGEST_TEXT,
                 {"type": "Text", "length": LONGEST_TEXT}),
    )
}  # fmt: skip
"""The fields by API name, in the order of `FIELDS`."""


def to_salesforce(score: Score) -> dict[str, Any]:
    """A score as Salesforce takes it: percentages, moments with their zone, texts that fit.

    Example:
        >>> to_salesforce(Score(win_probability=0.123456))["Salesops_Win_Probability__c"]
        12.35
    """
    chance, at = score.win_probability, score.scored_at
    return {
        CHANCE: None if chance is None else round(100 * chance, PERCENT_DIGITS),
        CLOSE: None if score.close_p50 is None else score.close_p50.isoformat(),
        BAND: fitting(score.band, 20),
        REASONS: fitting(score.reasons, LONGEST_REASONS),
        SCORED_AT: None if at is None else f"{at.isoformat(timespec='seconds')}Z",
        VERSION: fitting(score.model_version, LONGEST_TEXT),
    }


def from_salesforce(record: dict[str, Any]) -> Score:
    """A score as it stands in Salesforce.

    Example:
        >>> from_salesforce({"Salesops_Scored_At__c": "2026-03-01T12:00:00.000+0000"}).scored_at
        datetime.datetime(2026, 3, 1, 12, 0)
    """
    percent, at = record.get(CHANCE), record.get(SCORED_AT)
    moment = None if at is None else datetime.fromisoformat(at).replace(tzinfo=None)
    given = dict(zip(FIELDS, (record.get(name) for name in OWN_FIELDS), strict=True))
    return score_of(
        {**given, FIELDS[0]: None if percent is None else percent / 100, FIELDS[4]: moment}
    )
