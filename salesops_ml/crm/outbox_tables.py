"""The rows of the outbox: their tables, and what they say of a change."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from salesops_ml.scoring.fields import Score, score_from_json
from salesops_ml.scoring.plan import Change

State = Literal["planned", "sent", "ambiguous", "confirmed", "failed"]
RunState = Literal["planning", "open", "stopped", "finished", "superseded", "rolled_back"]
STATES: tuple[State, ...] = ("planned", "sent", "ambiguous", "confirmed", "failed")
UNKNOWN: tuple[State, ...] = ("sent", "ambiguous")
CANARY, REST = 0, 1
_KEY = 255

COLUMNS = {
    "run_id": "the run that planned the change",
    "deal_id": "the deal in the CRM",
    "lane": "0: sent first and read back (canary); 1: the rest",
    "action": "insert, update or withdraw",
    "state": "planned, sent, ambiguous, confirmed or failed",
    "old_value": "the fields as they stood, JSON; null: none",
    "new_value": "the fields to write, JSON; null: emptied",
    "why": "why the change is worth writing",
    "reason": "why it failed, or is not known",
    "attempts": "how often it was sent",
    "refusals": "how often the CRM refused it for a passing reason",
    "planned_at": "naive UTC",
    "sent_at": "when it was last sent, naive UTC",
    "settled_at": "when its last answer was noted, naive UTC",
}
"""Columns of `salesops_outbox`."""


@dataclass(frozen=True)
class OutboxRun:
    """One run of writing back.

    Attributes:
        run_id: its name.
        place: the CRM.
        kind: write, or rollback of `of_run`.
        state: planning, open, stopped, finished, superseded (by a later plan) or rolled_back.
        canary: whether the canary share has been read back right.
        reason: why it stopped.
        planned_at: when it was planned, naive UTC.
    """

    run_id: str
    place: str
    kind: str
    of_run: str | None
    state: RunState
    canary: bool
    reason: str | None
    planned_at: datetime


@dataclass(frozen=True)
class Entry:
    """One row of the outbox."""

    change: Change
    state: State
    lane: int
    refusals: int
    reason: str | None

    @property
    def deal_id(self) -> str:
        """The deal."""
        return self.change.deal_id


class Settled(NamedTuple):
    """What became of a deal that was sent; `refused` where the CRM said no for a passing reason."""

    deal_id: str
    state: State
    reason: str | None = None
    refused: bool = False


def in_canary(run_id: str, deal_id: str, share: float) -> bool:
    """Whether a deal goes ahead: by a hash, so that the share is mixed, and the same each time.

    Example:
        >>> 40 < sum(in_canary("run", f"deal {n}", 0.05) for n in range(1_000)) < 60
        True
    """
    digest = hashlib.blake2b(f"{run_id}\0{deal_id}".encode(), digest_size=4).digest()
    return int.from_bytes(digest) < share * 2**32


def row_of(run_id: str, change: Change, at: datetime, share: float) -> dict[str, Any]:
    """The row of a change that is planned."""
    return {
        "run_id": run_id,
        "deal_id": change.deal_id,
        "lane": CANARY if in_canary(run_id, change.deal_id, share) else REST,
        "action": change.action,
        "state": "planned",
        "old_value": change.old.to_json() if change.old else None,
        "new_value": change.new.to_json() if change.new else None,
        "why": change.why,
        "attempts": 0,
        "refusals": 0,
        "planned_at": at,
    }


def entry_of(row: Any) -> Entry:
    """What a row of `salesops_outbox` says."""
    old, new = (_score(row[name]) for name in ("old_value", "new_value"))
    change = Change(row["deal_id"], row["action"], old, new, row["why"])
    return Entry(change, row["state"], row["lane"], row["refusals"], row["reason"])


def _score(text: str | None) -> Score | None:
    return None if text is None else score_from_json(text)


def run_of(row: Any) -> OutboxRun:
    """What a row of `salesops_outbox_runs` says."""
    return OutboxRun(**{**row, "canary": bool(row["canary"])})


def runs_table(metadata: sa.MetaData) -> sa.Table:
    """A row a run."""
    return sa.Table(
        "salesops_outbox_runs",
        metadata,
        sa.Column("run_id", sa.String(_KEY), primary_key=True),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("of_run", sa.String(_KEY)),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("canary", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("planned_at", sa.DateTime(), nullable=False),
    )


def rows_table(metadata: sa.MetaData) -> sa.Table:
    """By run, state and deal, so that what is due is found without reading what is done.

    By deal, too, so that the deals that were ever written are read in order.
    """
    return sa.Table(
        "salesops_outbox",
        metadata,
        sa.Column("run_id", sa.String(_KEY), primary_key=True),
        sa.Column("deal_id", sa.String(_KEY), primary_key=True),
        sa.Column("lane", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("old_value", sa.Text()),
        sa.Column("new_value", sa.Text()),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("refusals", sa.Integer(), nullable=False),
        sa.Column("planned_at", sa.DateTime(), nullable=False),
        sa.Column("sent_at", sa.DateTime()),
        sa.Column("settled_at", sa.DateTime()),
        sa.Index("salesops_outbox_due", "run_id", "state", "lane", "deal_id"),
        sa.Index("salesops_outbox_deals", "deal_id"),
    )
