"""Take a run of writing back: the old values return, unless somebody changed them since.

Each deal that the run may have written is read. Where the run's value still stands, a change back to
the old one is planned, as a run of its own (`RUN-rollback`) in the same outbox, and delivered like any
other: it can be killed and resumed too. Between that reading and the writing a person may still step
in; CRMs offer no lock against that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from salesops_ml.crm.delivery import Delivered, Delivery
from salesops_ml.crm.outbox import Outbox
from salesops_ml.crm.outbox_tables import Entry, OutboxRun, State
from salesops_ml.crm.target import GONE, Gone, Standing, Target
from salesops_ml.errors import UsageError
from salesops_ml.scoring.fields import Score
from salesops_ml.scoring.plan import Action, Change

SUFFIX = "-rollback"
_WHY = "rollback of "
_MAY_STAND: tuple[State, ...] = ("sent", "ambiguous", "confirmed")
RESTORED = "restored"
LEFT = "changed since, left as they are"
OLD_ALREADY = "at their old value already"
GONE_SINCE = "gone from the CRM"


@dataclass(frozen=True)
class RolledBack:
    """What a rollback did.

    Attributes:
        delivered: what became of the changes back.
        found: how many deals had to be restored, were changed since, at their old value, or gone.
        left: some of the deals that somebody changed since.
        before: it had been done to its end before, and nothing was sent now.
    """

    delivered: Delivered
    found: dict[str, int]
    left: tuple[str, ...]
    before: bool = False


def roll_back(
    outbox: Outbox, delivery: Delivery, run_id: str, *, at: datetime, canary_share: float = 0.01
) -> RolledBack:
    """Roll a run back, or go on with a rollback that was interrupted.

    Args:
        outbox: where the run stands.
        delivery: the way to its CRM.
        run_id: the run.
        at: when, naive UTC.
        canary_share: share of the deals that goes ahead.

    Raises:
        UsageError: there is no such run, or it is a rollback itself.
        WriteBackError: it had to stop; it can be resumed like any run.
    """
    run = outbox.run(run_id)
    _check(run, delivery.target)
    name = run_id + SUFFIX
    known = {made.run_id: made for made in outbox.runs()}
    if name in known and known[name].state != "planning":
        before = known[name].state == "finished"
        return RolledBack(delivery.run(name), {}, (), before)
    seen: Counter[str] = Counter()
    left: list[str] = []
    with outbox.exclusive():
        outbox.drop_plan(name)
        outbox.set_state(run_id, "rolled_back")
        changes = _changes_back(outbox, delivery.target, run_id, seen, left)
        outbox.plan(
            name, delivery.target.place, changes, at=at, canary_share=canary_share, of_run=run_id
        )
    return RolledBack(delivery.run(name), dict(seen), tuple(left))


def _check(run: OutboxRun, target: Target) -> None:
    if run.kind == "rollback":
        raise UsageError(
            f"run `{run.run_id}` is a rollback; score and write back to go forward again"
        )
    if run.place != target.place:
        raise UsageError(
            f"run `{run.run_id}` wrote to {run.place}, not to {target.place}; use the configuration "
            "that it was planned with"
        )


def _changes_back(
    outbox: Outbox, target: Target, run_id: str, seen: Counter[str], left: list[str]
) -> Iterator[Change]:
    size = max(1, target.limits.records_a_call)
    for chunk in outbox.all_entries(run_id, _MAY_STAND, limit=size):
        standing = target.read([entry.deal_id for entry in chunk])
        for entry in chunk:
            found = _compared(entry, standing.get(entry.deal_id, GONE), target)
            seen[found] += 1
            if found == LEFT and len(left) < 20:
                left.append(entry.deal_id)
            if found == RESTORED:
                yield _back(entry, run_id)


def _compared(entry: Entry, stands: Standing, target: Target) -> str:
    if isinstance(stands, Gone):
        return GONE_SINCE
    old, new = (target.as_stored(s or Score()) for s in (entry.change.old, entry.change.new))
    if stands == new:
        return RESTORED if new != old else OLD_ALREADY
    return OLD_ALREADY if stands == old else LEFT


def _back(entry: Entry, run_id: str) -> Change:
    action: Action = "withdraw" if entry.change.old is None else "update"
    return Change(entry.deal_id, action, entry.change.new, entry.change.old, f"{_WHY}{run_id}")


def goes_back(change: Change) -> bool:
    """Whether a change takes back what a run wrote, for targets that write more than our fields."""
    return change.why.startswith(_WHY)
