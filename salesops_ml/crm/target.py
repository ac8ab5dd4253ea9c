"""The small interface behind which every CRM looks alike when scores are written into it.

A `Target` sends one chunk of changes at a time and says of each what became of it; it decides
nothing. What is sent when, again, or not at all is for `delivery`, which keeps the outbox.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from salesops_ml.crm.limits import Limits
from salesops_ml.errors import Ambiguous, NotSent, Refused, Throttled
from salesops_ml.scoring.fields import Score
from salesops_ml.scoring.plan import Change

__all__ = [
    "GONE",
    "Ambiguous",
    "Done",
    "Failed",
    "FieldProblem",
    "Gone",
    "NotSent",
    "Outcome",
    "Refused",
    "Standing",
    "Target",
    "Throttled",
    "fitting",
]


@dataclass(frozen=True)
class Done:
    """The vendor says that the change was made."""


@dataclass(frozen=True)
class Failed:
    """The vendor says that this change was not made.

    Attributes:
        reason: why, in a sentence with the cure where one is known.
        permanent: whether sending it again is useless (a deleted deal, a refused value); else it
            is sent again (a locked row).
    """

    reason: str
    permanent: bool = True


Outcome = Done | Failed


@dataclass(frozen=True)
class Gone:
    """The deal is not there any more: deleted, or merged into `merged_into`."""

    merged_into: str | None = None

    @property
    def reason(self) -> str:
        """The sentence for the outbox."""
        if self.merged_into:
            return f"the deal was merged into `{self.merged_into}`; the next run scores that one"
        return "the deal was deleted in the CRM; the next ingest leaves it out"


GONE = Gone()
Standing = Score | Gone
"""What stands in the CRM: the fields (all empty: `Score()`), or the deal is gone."""


@dataclass(frozen=True)
class FieldProblem:
    """What is wrong with a field of ours, before anything is written.

    Attributes:
        field: its name, one of `salesops_ml.scoring.FIELDS` or the vendor's spelling of it.
        problem: missing, not writable, or of another kind.
        cure: what a person does about it.
        creatable: whether `create_fields` can do it.
    """

    field: str
    problem: Literal["missing", "read_only", "wrong_type"]
    cure: str
    creatable: bool = False


def fitting(text: str | None, length: int) -> str | None:
    """A text as CRMs keep it: no spaces around it, LF only, cut to `length`; empty is nothing.

    Example:
        >>> fitting(" likely to close \\r\\n", 10), fitting(" ", 10)
        ('likely...', None)
    """
    if text is None:
        return None
    told = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    if len(told) > length:
        told = told[: length - 3].rstrip() + "..."
    return told or None


class Target(Protocol):
    """A CRM as the place where scores are written.

    `send` and `read` may be called from several threads at once. Values pass a CRM's own formats,
    so `read` must give back what was sent: `target.as_stored(score)` is a score as it reads after
    it was written (a CRM that keeps two decimals gives two decimals).
    """

    @property
    def place(self) -> str:
        """Where that is, for people; without secrets."""

    @property
    def limits(self) -> Limits:
        """What the vendor allows."""

    def as_stored(self, score: Score) -> Score:
        """The score as it reads after it was written."""

    def missing_fields(self) -> list[FieldProblem]:
        """What is wrong with the fields of ours; empty where they can be written."""

    def create_fields(self, problems: Sequence[FieldProblem]) -> None:
        """Create what can be created; asked for by a person."""

    def read(self, deal_ids: Sequence[str]) -> dict[str, Standing]:
        """What stands there now, for each of the deals; at most `limits.records_a_call` of them."""

    def send(self, changes: Sequence[Change]) -> list[Outcome]:
        """Write one chunk; one outcome a change, in order. `change.new` None empties the fields.

        Raises:
            NotSent: nothing took effect; `Throttled`: and a pause is asked for.
            Ambiguous: some or all of it may have taken effect.
            Refused: the vendor says no to the call as a whole.
        """
