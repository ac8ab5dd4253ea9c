"""What if: how a deal's chance and date would look had one more thing happened to it today.

The event is written into a copy of that one deal's history, and its features are built anew, exactly as
they would be tomorrow; the rest of the company stays as it is. Deals that had meetings differ from
deals that had none in more than meetings, so what comes out is an association, not an effect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa

from salesops_ml.errors import UsageError
from salesops_ml.models.deal_scores import DealScores
from salesops_ml.schema import TABLES
from salesops_ml.snapshots import is_dated, open_spine, snapshot
from salesops_ml.warehouse import Warehouse

ASSOCIATION = "association, not effect"
SELLING = ("meeting", "call", "demo")
UNCHANGED = "as it is"


@dataclass(frozen=True)
class Change:
    """One thing that might happen to a deal.

    Attributes:
        kind: advance, meeting, push, cut or silence.
        size: push: days; cut: share of the amount; silence: days. Not read by the others.
    """

    kind: str
    size: float = 0.0

    @property
    def words(self) -> str:
        """The change as a row's name."""
        return {
            "advance": "moves to the next stage",
            "meeting": "gets an activity",
            "push": f"close date pushed by {self.size:.0f} days",
            "cut": f"amount cut by {self.size:.0%}",
            "silence": f"nothing happens for {self.size:.0f} days",
        }[self.kind]


USUAL = (
    Change("advance"),
    Change("meeting"),
    Change("push", 30.0),
    Change("cut", 0.1),
    Change("silence", 14.0),
)


class Supposed(Warehouse):
    """A warehouse in which some more rows of history stand; nothing is written."""

    def __init__(self, warehouse: Warehouse, rows: dict[str, pa.Table]) -> None:
        super().__init__(warehouse.connection)
        for name, more in rows.items():
            here = warehouse.table(name)
            self._tables[name] = here.union(ibis.memtable(more).select(*here.columns))


@dataclass(frozen=True)
class _Deal:
    """The deal as it stands; `look` is its one row of features."""

    warehouse: Warehouse
    look: pd.DataFrame
    as_of: datetime
    kinds: Sequence[str]

    @property
    def row(self) -> pd.Series:
        return self.look.iloc[0]

    @property
    def deal_id(self) -> str:
        return str(self.row["deal_id"])


@dataclass(frozen=True)
class _Supposition:
    """Rows to add, words for what they say, and days that pass."""

    words: str
    rows: dict[str, pa.Table] = field(default_factory=dict)
    later: float = 0.0
    impossible: str | None = None


def what_if(
    warehouse: Warehouse,
    model: DealScores,
    deal_id: str,
    changes: Sequence[Change] = USUAL,
    *,
    as_of: datetime,
    selling: Sequence[str] = SELLING,
) -> pd.DataFrame:
    """How the score of an open deal would move, a row a change, the deal as it is first.

    Args:
        selling: kinds of activity that count as selling, any of which is "a meeting"; the deal gets
            the most usual one.

    Returns:
        change; p_win_before, p_win_after; days_before, days_after (median days from `as_of` to
        winning, given that it is won); note: that it is an association, or why it is not possible,
        in which case the figures after are missing.

    Raises:
        UsageError: the deal is not known or not open at `as_of`, or the record has no dates.
    """
    deal = _find(warehouse, model, deal_id, as_of, selling)
    supposed = [_Supposition(UNCHANGED), *(_MAKERS[c.kind](deal, c) for c in changes)]
    before = _score(deal, model, supposed[0])
    rows = []
    for told in supposed:
        after = (None, None) if told.impossible else _score(deal, model, told)
        rows.append(
            {
                "change": told.words,
                "p_win_before": before[0],
                "p_win_after": after[0],
                "days_before": before[1],
                "days_after": after[1],
                "note": told.impossible or ASSOCIATION,
            }
        )
    rows[0]["note"] = ""
    figures = ["p_win_before", "p_win_after", "days_before", "days_after"]
    return pd.DataFrame(rows).astype(dict.fromkeys(figures, float))


def _find(
    warehouse: Warehouse,
    model: DealScores,
    deal_id: str,
    as_of: datetime,
    selling: Sequence[str],
) -> _Deal:
    if not is_dated(warehouse):
        raise UsageError("`what-if` needs a dated history; this record has no dates")
    deals = warehouse.table("deals")
    found = deals.filter(deals.deal_id == deal_id).to_pyarrow().to_pylist()
    if not found:
        raise UsageError(f"deal `{deal_id}` is not known; give a deal_id of the warehouse")
    spine = open_spine(warehouse, as_of=as_of)
    if not int(spine.filter(spine.deal_id == deal_id).count().execute()):
        status = found[0]["status"]
        how = (
            f"it is {status} since {found[0]['closed_at']}" if status != "open" else "not begun yet"
        )
        raise UsageError(f"deal `{deal_id}` is not open at {as_of}: {how}; choose an open deal")
    looks = pd.DataFrame({"deal_id": [deal_id], "as_of": [as_of]})
    look = snapshot(warehouse, model.spec, looks)
    return _Deal(warehouse, look, as_of, [k for k in model.spec.kinds if k in selling])


def _score(deal: _Deal, model: DealScores, told: _Supposition) -> tuple[float, float]:
    """P(won) and the median days to winning, counted from today."""
    look = deal.look
    if told.rows or told.later:
        at = deal.as_of + timedelta(days=told.later)
        world = Supposed(deal.warehouse, told.rows)
        looks = pd.DataFrame({"deal_id": [deal.deal_id], "as_of": [at]})
        look = snapshot(world, model.spec, looks)
    score = model.predict(look).iloc[0]
    return float(score["p_win"]), float(score["close_p50"]) + told.later


def _advance(deal: _Deal, change: Change) -> _Supposition:
    stage = deal.row["stage"]
    table = deal.warehouse.table("stages").to_pyarrow().to_pylist()
    own = [s for s in table if s["pipeline"] == deal.row["pipeline"]] or table
    here = [s["position"] for s in own if s["stage"] == stage]
    ahead = [s for s in own if here and s["position"] > here[0] and not s["is_closed"]]
    if not ahead:
        why = f"no open stage is known after `{stage}`"
        return _Supposition(change.words, impossible=why)
    then = min(ahead, key=lambda s: s["position"])["stage"]
    row = {"entered_at": deal.as_of, "stage": then, "rep_id": _text(deal.row["rep_id"])}
    return _Supposition(
        f"moves to {then}", {"stage_events": _rows(deal, "stage_events", [{**row, "seq": 1_000}])}
    )


def _meeting(deal: _Deal, change: Change) -> _Supposition:
    if not deal.kinds:
        why = "no selling activity is known to the model"
        return _Supposition(change.words, impossible=why)
    kind = deal.kinds[0]
    row = {
        "activity_id": f"{deal.deal_id} supposed", "kind": kind, "at": deal.as_of,
        "rep_id": _text(deal.row["rep_id"]),
    }  # fmt: skip
    return _Supposition(f"gets one more {kind}", {"activities": _rows(deal, "activities", [row])})


def _push(deal: _Deal, change: Change) -> _Supposition:
    promised = deal.row["expected_close_date"]
    if pd.isna(promised):
        return _Supposition(change.words, impossible="the deal has no expected close date")
    then = pd.Timestamp(promised) + pd.Timedelta(days=change.size)
    told = [("expected_close_date", _iso(promised), _iso(then))]
    return _Supposition(change.words, _edits(deal, told))


def _cut(deal: _Deal, change: Change) -> _Supposition:
    now = _latest(deal, ("amount", "amount_base"))
    if not now:
        return _Supposition(change.words, impossible="the deal has no amount on record")
    told = [(name, old, f"{float(old) * (1 - change.size):.2f}") for name, old in now.items()]
    return _Supposition(change.words, _edits(deal, told))


def _silence(deal: _Deal, change: Change) -> _Supposition:
    del deal
    return _Supposition(change.words, later=change.size)


_MAKERS: dict[str, Callable[[_Deal, Change], _Supposition]] = {
    "advance": _advance, "meeting": _meeting, "push": _push, "cut": _cut, "silence": _silence,
}  # fmt: skip


def _edits(deal: _Deal, told: list[tuple[str, str, str]]) -> dict[str, pa.Table]:
    rows = [
        {
            "field": name, "old_value": old, "new_value": new, "changed_at": deal.as_of,
            "seq": 1_000, "changed_by": _text(deal.row["rep_id"]),
        }
        for name, old, new in told
    ]  # fmt: skip
    return {"deal_changes": _rows(deal, "deal_changes", rows)}


def _latest(deal: _Deal, names: tuple[str, ...]) -> dict[str, str]:
    """The value of each field as last recorded by the day."""
    table: ir.Table = deal.warehouse.table("deal_changes")
    seen = table.filter(
        table.deal_id == deal.deal_id, table["field"].isin(names), table.recorded_at <= deal.as_of
    )
    frame = seen.to_pyarrow().to_pandas().sort_values(["changed_at", "seq"])
    last = frame.groupby("field")["new_value"].last().dropna()
    return {str(name): str(value) for name, value in last.items()}


def _rows(deal: _Deal, name: str, rows: list[dict[str, Any]]) -> pa.Table:
    full = [{**row, "deal_id": deal.deal_id, "recorded_at": deal.as_of} for row in rows]
    return pa.Table.from_pylist(full, schema=TABLES[name].arrow())


def _text(value: Any) -> str | None:
    return None if pd.isna(value) else str(value)


def _iso(value: Any) -> str:
    moment: date = pd.Timestamp(value).date()
    return moment.isoformat()
