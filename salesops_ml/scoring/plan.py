"""What to write back, decided before anything is written.

The plan compares the scores that stand in the CRM with the new ones. Only what a seller would notice
is written: the win probability moved by `min_change`, the band changed, or the expected close moved
by `min_close_days`. Everything else is kept as it is, so a second run writes nothing. A deal in a stage
that the model has never seen gets no probability, and loses the one that stands there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

import pandas as pd

from salesops_ml.errors import DataError
from salesops_ml.models.known_deals import UNSEEN_STAGE
from salesops_ml.scoring.fields import FIELDS, SCORED, Score, current_by_deal, scores_by_deal

Action = Literal["insert", "update", "withdraw", "keep"]
WORDS: dict[Action, str] = {
    "insert": "to insert",
    "update": "to update",
    "withdraw": "to withdraw",
    "keep": "to keep",
}
WITHHELD = "withheld"
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Change:
    """What happens to the fields of one deal: the action, old and new value, and why."""

    deal_id: str
    action: Action
    old: Score | None
    new: Score | None
    why: str


@dataclass(frozen=True)
class WriteBackPlan:
    """All deals with a score, old or new, sorted by deal, and what happens to each."""

    changes: tuple[Change, ...]

    @property
    def to_write(self) -> tuple[Change, ...]:
        """The changes that write something."""
        return tuple(change for change in self.changes if change.action != "keep")

    @property
    def withheld(self) -> tuple[Change, ...]:
        """The deals whose new score is not written, because it should not be acted on."""
        return tuple(change for change in self.changes if change.why.startswith(WITHHELD))

    def counts(self) -> dict[Action, int]:
        """How many deals each action takes."""
        found = Counter(change.action for change in self.changes)
        return {action: found[action] for action in WORDS}

    def to_frame(self) -> pd.DataFrame:
        """deal_id, action, old_/new_ win probability, close_p50 and band, and why."""
        rows = [
            {
                "deal_id": change.deal_id,
                "action": change.action,
                **_told("old", change.old or Score()),
                **_told("new", change.new or Score()),
                "why": change.why,
            }
            for change in self.changes
        ]
        names = [f"{when}_{name}" for when in ("old", "new") for name in _TOLD]
        return pd.DataFrame(rows, columns=["deal_id", "action", *names, "why"])


_TOLD = ("win_probability", "close_p50", "band")


def plan_write_back(
    current: pd.DataFrame,
    scores: pd.DataFrame,
    *,
    min_change: float,
    min_close_days: int = 7,
    closed: Collection[str] = (),
) -> WriteBackPlan:
    """Decide what to write; pure, nothing is read or written.

    Args:
        current: deal_id and `FIELDS` as they stand in the CRM; may be empty.
        scores: what `score_open_deals` gave; a `caution` that the stage was never seen in training
            withholds the score.
        min_change: smallest move of the win probability worth writing, 0..1.
        min_close_days: smallest move of the expected close worth writing, in days.
        closed: deals that are known to be closed; their scores are withdrawn (fields emptied).

    Raises:
        DataError: a deal stands twice in `scores` or in `current`, or is both scored and closed.

    Example:
        >>> nothing = pd.DataFrame(columns=["deal_id"])
        >>> row = {"deal_id": "d1", "p_win": 0.4, "close_p50_date": "2026-03-01", "band": "low",
        ...        "reasons": "", "scored_at": "2026-01-01", "model_version": "deal_scores/1"}
        >>> plan_write_back(nothing, pd.DataFrame([row]), min_change=0.01).counts()["insert"]
        1
    """
    _check_once(current, "the CRM's table")
    _check_once(scores, "the scores")
    old, new = current_by_deal(current), scores_by_deal(scores)
    both = sorted(set(new) & set(closed))
    if both:
        raise DataError(f"deal `{both[0]}` is scored as open, and said to be closed")
    doubted = _doubted(scores)
    changes = []
    for deal_id in sorted(set(old) | set(new)):
        before, after = old.get(deal_id), new.get(deal_id)
        if deal_id in doubted:
            changes.append(_withheld(deal_id, before, doubted[deal_id]))
            continue
        action, why = _decide(before, after, min_change, min_close_days, deal_id in closed)
        if action in ("withdraw", "keep") and after is None:
            after = before if action == "keep" else None
        changes.append(Change(deal_id, action, before, after, why))
    return WriteBackPlan(tuple(changes))


def plan_in_chunks(
    scores: Iterable[pd.DataFrame],
    standing: Callable[[Sequence[str]], Mapping[str, Score]],
    *,
    min_change: float,
    min_close_days: int = 7,
    closed: Iterable[Sequence[str]] = (),
) -> Iterator[Change]:
    """`plan_write_back` for any number of deals: no more than one chunk is held in memory.

    Args:
        scores: chunks of what `score_open_deals` gave, each deal in one of them.
        standing: the fields of these deals as they stand in the CRM; deals without are left out.
        min_change: smallest move of the win probability worth writing, 0..1.
        min_close_days: smallest move of the expected close worth writing, in days.
        closed: chunks of deals that are known to be closed; their scores are withdrawn.

    Yields:
        What happens to each deal, chunk by chunk; deals that are kept as they are included.

    Raises:
        DataError: a deal stands twice in a chunk.
    """
    least = {"min_change": min_change, "min_close_days": min_close_days}
    for chunk in scores:
        yield from _planned(chunk, standing(chunk["deal_id"].astype(str).tolist()), (), **least)
    for deals in closed:
        nothing = pd.DataFrame(columns=["deal_id", *SCORED])
        yield from _planned(nothing, standing(deals), deals, **least)


def _planned(
    chunk: pd.DataFrame, before: Mapping[str, Score], closed: Collection[str], **least: Any
) -> tuple[Change, ...]:
    rows = [{"deal_id": deal_id, **score.values()} for deal_id, score in before.items()]
    current = pd.DataFrame(rows, columns=["deal_id", *FIELDS], dtype=object)
    return plan_write_back(current, chunk, closed=closed, **least).changes


@dataclass
class PlanSummary:
    """What a plan does, told while it passes by: counts, and the first of its changes.

    Attributes:
        limit: how many changes are kept to be shown.
        counts: how many deals each action takes.
        withheld: why scores are withheld, and how many.
        shown: the first changes that write something.
    """

    limit: int = 20
    counts: Counter[Action] = field(default_factory=Counter)
    withheld: Counter[str] = field(default_factory=Counter)
    shown: list[Change] = field(default_factory=list)

    def watch(self, changes: Iterable[Change]) -> Iterator[Change]:
        """The same changes, noted as they pass."""
        for change in changes:
            self.counts[change.action] += 1
            if change.why.startswith(WITHHELD):
                self.withheld[change.why] += 1
            if change.action != "keep" and len(self.shown) < self.limit:
                self.shown.append(change)
            yield change

    @property
    def to_write(self) -> int:
        """How many deals are written."""
        return sum(count for action, count in self.counts.items() if action != "keep")

    def render(self) -> str:
        """As text: the counts, then the first changes, old -> new."""
        counts = ", ".join(f"{self.counts[action]} {words}" for action, words in WORDS.items())
        lines = [f"write-back plan: {counts}"]
        lines += [f"  {count} {why}" for why, count in sorted(self.withheld.items())]
        lines += [
            f"  {change.action:<8} {change.deal_id}: "
            f"{_short(change.old)} -> {_short(change.new)} ({change.why})"
            for change in self.shown
        ]
        if self.to_write > len(self.shown):
            lines.append(f"  ... and {self.to_write - len(self.shown)} more")
        return "\n".join(lines)


def render_plan(plan: WriteBackPlan, *, limit: int = 20) -> str:
    """The plan as text for `--dry-run`: the counts, then at most `limit` changes, old -> new.

    Example:
        >>> render_plan(WriteBackPlan(()))
        'write-back plan: 0 to insert, 0 to update, 0 to withdraw, 0 to keep'
    """
    summary = PlanSummary(limit)
    for _ in summary.watch(plan.changes):
        pass
    return summary.render()


def _doubted(scores: pd.DataFrame) -> dict[str, str]:
    """Why a deal's score is withheld, by deal."""
    if "caution" not in scores.columns:
        return {}
    told = scores["caution"].fillna("").astype(str)
    found = scores[told.str.contains(UNSEEN_STAGE, regex=False)]
    return dict(zip(found["deal_id"].astype(str), told[found.index], strict=True))


def _withheld(deal_id: str, old: Score | None, caution: str) -> Change:
    """Nothing is written; what stands there from another stage is taken back."""
    action: Action = "keep" if old is None else "withdraw"
    return Change(deal_id, action, old, None, f"{WITHHELD}: {caution}")


def _decide(
    old: Score | None, new: Score | None, min_change: float, min_close_days: int, closed: bool
) -> tuple[Action, str]:
    if new is None:
        return ("withdraw", "the deal is closed") if closed else ("keep", "not scored this time")
    if old is None:
        return "insert", "first score"
    reasons = _what_moved(old, new, min_change, min_close_days)
    return ("update", "; ".join(reasons)) if reasons else ("keep", "moved too little")


def _what_moved(old: Score, new: Score, min_change: float, min_close_days: int) -> list[str]:
    """Each move that is worth writing, in words."""
    found = []
    if _moved_by(old.win_probability, new.win_probability, min_change):
        found.append(
            f"win probability {_percent(old.win_probability)} -> {_percent(new.win_probability)}"
        )
    if old.band != new.band:
        found.append(f"band {old.band or 'none'} -> {new.band or 'none'}")
    if _days_moved(old.close_p50, new.close_p50, min_close_days):
        found.append(f"expected close {old.close_p50 or 'none'} -> {new.close_p50 or 'none'}")
    return found


def _moved_by(old: float | None, new: float | None, least: float) -> bool:
    if old is None or new is None:
        return old is not new
    move = abs(new - old)
    return move > _ROUNDING and move >= least - _ROUNDING


def _days_moved(old: date | None, new: date | None, least: int) -> bool:
    if old is None or new is None:
        return old is not new
    return old != new and abs((new - old).days) >= least


def _check_once(frame: pd.DataFrame, place: str) -> None:
    twice = frame["deal_id"][frame["deal_id"].duplicated()]
    if len(twice):
        raise DataError(f"deal `{twice.iloc[0]}` stands twice in {place}")


def _told(when: str, score: Score) -> dict[str, object]:
    return {f"{when}_{name}": getattr(score, name) for name in _TOLD}


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{value:.1%}"


def _short(score: Score | None) -> str:
    if score is None:
        return "nothing"
    return f"{_percent(score.win_probability)} {score.band or ''}".strip()
