"""Scores on their way into the CRM: write, resume, status, roll back.

A SQL target is written in one transaction, and its journal is the outbox. A CRM is written through
the outbox: the plan goes into it chunk by chunk, and from there into the CRM. Scores are read from their
file chunk by chunk, too, so that memory does not grow with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.app.told import Told
from salesops_ml.crm.delivery import Delivered, Delivery
from salesops_ml.crm.outbox import Outbox
from salesops_ml.crm.rollback import LEFT, RESTORED, SUFFIX, RolledBack, roll_back
from salesops_ml.crm.secrets import with_password
from salesops_ml.crm.sql_rollback import journal_runs, roll_back_sql
from salesops_ml.crm.sql_target import SqlTarget, Standing
from salesops_ml.crm.target import Target
from salesops_ml.crm.targets import check_fields, open_target, options_of
from salesops_ml.errors import UsageError, WriteBackError
from salesops_ml.scoring.fields import Score
from salesops_ml.scoring.plan import Change, PlanSummary, plan_in_chunks
from salesops_ml.scoring.score_chunks import Scores, score_chunks, scored_deals
from salesops_ml.settings import Settings
from salesops_ml.warehouse import Warehouse
from salesops_ml.write_back_settings import WriteBack

Say = Callable[[str], None]
_CHUNK = 2_000


@dataclass(frozen=True)
class Written:
    """What a write-back did, or would do.

    Attributes:
        place: the CRM.
        counts: deals by action of the plan.
        written: deals that stand as planned now; None for a dry run.
        text: for people.
    """

    place: str
    counts: dict[str, int]
    written: int | None
    text: str


def write_scores(
    warehouse: Warehouse,
    scores: Scores,
    settings: Settings,
    *,
    run_id: str,
    at: datetime,
    dry_run: bool = False,
    create_fields: bool = False,
    say: Say | None = None,
) -> Written:
    """Hold new scores against what stands in the CRM, and write what moved.

    Args:
        warehouse: says which deals are closed.
        scores: what `score_open_deals` gave, or the Parquet file that holds it.
        settings: the run's settings.
        run_id: the run, for outbox and journal.
        at: when, naive UTC.
        dry_run: only say what would be written.
        create_fields: create fields of ours that are missing, where the CRM's API allows it.
        say: told how far it has come.

    Raises:
        WriteBackError: fields are not ready, the CRM refused deals or stopped us; the outbox says
            how far it came.
    """
    if options_of(settings).target == "sql":
        return _write_sql(warehouse, scores, settings, run_id=run_id, at=at, dry_run=dry_run)
    target = open_target(settings)
    with _outbox(settings) as outbox:
        return write_to_crm(
            target, outbox, warehouse, scores, settings, run_id=run_id, at=at, dry_run=dry_run,
            create_fields=create_fields, say=say,
        )  # fmt: skip


def write_to_crm(
    target: Target,
    outbox: Outbox,
    warehouse: Warehouse,
    scores: Scores,
    settings: Settings,
    *,
    run_id: str,
    at: datetime,
    dry_run: bool = False,
    create_fields: bool = False,
    say: Say | None = None,
) -> Written:
    """`write_scores` with the target and the outbox in hand."""
    options = options_of(settings)
    created = check_fields(target, create=create_fields and not dry_run)
    if created and say:
        say("created: " + ", ".join(problem.field for problem in created))
    summary = PlanSummary()
    changes = summary.watch(
        _planned(
            lambda deals: _standing(target, deals),
            outbox.written_deals(target.place, limit=_CHUNK),
            warehouse,
            scores,
            options,
        )
    )
    if dry_run:
        for _ in changes:
            pass
        return Written(target.place, _counts(summary), None, summary.render())
    outbox.supersede(target.place)
    outbox.plan(run_id, target.place, changes, at=at, canary_share=options.canary_share)
    done = Delivery(outbox, target, say=say).run(run_id)
    check_delivered(done, target.place)
    return Written(target.place, _counts(summary), done.confirmed, summary.render())


def check_delivered(done: Delivered, place: str) -> None:
    """An error that names the deals which the CRM refused, where it refused any."""
    if not done.failed:
        return
    told = "\n".join(
        f"  {many:,} such as `{deal}`: {reason}" for reason, many, deal in done.reasons
    )
    raise WriteBackError(
        f"{place}: refused {done.failed:,} deals, the other {done.confirmed:,} stand as planned.\n"
        f"{told}\nWhen the cause is mended: salesops write-back resume {done.run_id} --failed"
    )


def resume(settings: Settings, run_id: str | None = None, *, failed: bool = False) -> Told:
    """Go on with a run that stopped: the one named, else the last that is not finished.

    Args:
        settings: the configuration that it was planned with.
        run_id: the run.
        failed: try again what the CRM refused, too.

    Raises:
        UsageError: there is nothing to resume.
        WriteBackError: it had to stop again, or deals were refused.
    """
    if options_of(settings).target == "sql":
        raise UsageError(
            "a SQL target is written in one transaction, so nothing of it is ever half done; "
            "score again: salesops score --write-back"
        )
    with _outbox(settings) as outbox:
        return resume_in(open_target(settings), outbox, run_id, failed=failed)


def resume_in(target: Target, outbox: Outbox, run_id: str | None, *, failed: bool = False) -> Told:
    """`resume` with the target and the outbox in hand."""
    name = run_id or _last_open(outbox, target.place)
    if failed:
        _check_last(outbox, name)
        outbox.retry_failed(name)
    done = Delivery(outbox, target).run(name)
    check_delivered(done, target.place)
    text = f"{name}: {done.confirmed:,} deals stand as planned in {target.place}"
    return Told(text, asdict(done))


def status(settings: Settings, run_id: str | None = None) -> Told:
    """How far the runs have come, or one run with its reasons."""
    if options_of(settings).target == "sql":
        return _sql_status(settings, run_id)
    with _outbox(settings) as outbox:
        return status_of(outbox, run_id)


def status_of(outbox: Outbox, run_id: str | None) -> Told:
    """`status` with the outbox in hand."""
    runs = outbox.runs() if run_id is None else [outbox.run(run_id)]
    lines, values = [], []
    for run in runs:
        counts = outbox.counts(run.run_id)
        told = ", ".join(f"{count:,} {state}" for state, count in counts.items() if count)
        lines.append(
            f"{run.planned_at}  {run.run_id}  {run.state}  {run.place}: {told or 'nothing'}"
        )
        if run.reason:
            lines.append(f"  stopped: {run.reason}")
        reasons = outbox.reasons(run.run_id)
        lines += [f"  {many:,} such as `{deal}`: {why}" for why, many, deal in reasons]
        values.append({**asdict(run), "counts": counts, "reasons": reasons})
    return Told("\n".join(lines) or "nothing was written back yet", values)


def undo(settings: Settings, run_id: str) -> Told:
    """Roll a run back: the old values return, unless a person changed them since."""
    at = datetime.now(UTC).replace(tzinfo=None)
    if options_of(settings).target == "sql":
        with _sql_target(settings) as target:
            found, left = roll_back_sql(target, run_id, at=at)
        return _told_back(run_id, target.place, found, left)
    with _outbox(settings) as outbox:
        return undo_in(open_target(settings), outbox, run_id, at=at, settings=settings)


def undo_in(
    target: Target, outbox: Outbox, run_id: str, *, at: datetime, settings: Settings
) -> Told:
    """`undo` with the target and the outbox in hand."""
    share = options_of(settings).canary_share
    delivery = Delivery(outbox, target)
    done: RolledBack = roll_back(outbox, delivery, run_id, at=at, canary_share=share)
    check_delivered(done.delivered, target.place)
    found = {**done.found, RESTORED: done.delivered.confirmed}
    if done.before:
        text = f"{run_id} was rolled back before; nothing was sent to {target.place} now"
        return Told(text, _back_values(run_id, found, done.left))
    return _told_back(run_id, target.place, found, done.left)


def check(settings: Settings, *, create_fields: bool = False) -> Told:
    """Whether the CRM is ready for scores; with `create_fields`, make it so where its API allows."""
    if options_of(settings).target == "sql":
        with _sql_target(settings) as sql:
            sql.prepare()
        return Told(f"{sql.place}: ready", {"place": sql.place, "created": []})
    target = open_target(settings)
    created = [problem.field for problem in check_fields(target, create=create_fields)]
    made = f"; created {', '.join(created)}" if created else ""
    return Told(f"{target.place}: ready{made}", {"place": target.place, "created": created})


def _planned(
    standing: Callable[[Sequence[str]], Mapping[str, Score]],
    known: Iterable[Sequence[str]],
    warehouse: Warehouse,
    scores: Scores,
    options: WriteBack,
) -> Iterator[Change]:
    """The plan, chunk by chunk; `known` are the deals that we ever wrote."""
    return plan_in_chunks(
        score_chunks(scores, size=_CHUNK),
        standing,
        min_change=options.min_change,
        min_close_days=options.min_close_days,
        closed=_closed(known, warehouse, scores),
    )


def _standing(target: Target, deals: Sequence[str]) -> dict[str, Score]:
    """What stands in the CRM, for deals that have anything."""
    size = max(1, target.limits.records_a_call)
    found: dict[str, Score] = {}
    for at in range(0, len(deals), size):
        read = target.read(deals[at : at + size])
        found |= {d: s for d, s in read.items() if isinstance(s, Score) and not s.empty}
    return found


def _closed(
    known: Iterable[Sequence[str]], warehouse: Warehouse, scores: Scores
) -> Iterator[list[str]]:
    """Of the deals that we ever wrote, those that are closed now."""
    deals = warehouse.table("deals")
    closed = deals.filter(deals.status != "open").select("deal_id").to_pyarrow()["deal_id"]
    closed = closed.cast(pa.string()).combine_chunks()
    gone = closed.filter(pc.invert(pc.is_in(closed, value_set=scored_deals(scores))))
    for chunk in known:
        # the short list is hashed, the long one only looked through
        found = gone.filter(pc.is_in(gone, value_set=pa.array(chunk, pa.string())))
        if len(found):
            yield found.to_pylist()


def _write_sql(
    warehouse: Warehouse,
    scores: Scores,
    settings: Settings,
    *,
    run_id: str,
    at: datetime,
    dry_run: bool,
) -> Written:
    summary, options = PlanSummary(), options_of(settings)

    def plan(standing: Standing) -> Iterator[Change]:
        known = standing.deals(limit=_CHUNK)
        return summary.watch(_planned(standing.of, known, warehouse, scores, options))

    with _sql_target(settings) as target:
        if dry_run:
            with target.reading() as standing:
                for _ in plan(standing):
                    pass
            return Written(target.place, _counts(summary), None, summary.render())
        done = target.apply_planned(plan, run_id=run_id, at=at)
    return Written(target.place, _counts(summary), done.written, summary.render())


def _sql_status(settings: Settings, run_id: str | None) -> Told:
    with _sql_target(settings) as target:
        runs = journal_runs(target)
    if run_id is not None:
        runs = [run for run in runs if run.run_id == run_id]
        if not runs:
            raise UsageError(f"{target.place}: no run `{run_id}` wrote here")
    lines = [f"{run.at}  {run.run_id}  {target.place}: {run.entries:,} written" for run in runs]
    return Told("\n".join(lines) or "nothing was written back yet", [asdict(run) for run in runs])


def _told_back(run_id: str, place: str, found: dict[str, int], left: tuple[str, ...]) -> Told:
    lines = [f"rollback of {run_id} in {place}"]
    lines += [f"{count:>10,} {what}" for what, count in found.items()]
    if left:
        lines.append(f"  {LEFT}: " + ", ".join(left))
    return Told("\n".join(lines), _back_values(run_id, found, left))


def _back_values(run_id: str, found: dict[str, int], left: tuple[str, ...]) -> dict[str, Any]:
    return {"run_id": run_id + SUFFIX, "found": found, "left": list(left)}


def _last_open(outbox: Outbox, place: str) -> str:
    for run in outbox.runs():
        if run.place == place and run.state in ("open", "stopped"):
            return run.run_id
    raise UsageError(f"{place}: nothing to resume; `salesops write-back status` lists all runs")


def _check_last(outbox: Outbox, run_id: str) -> None:
    """A refused score is not sent again where a later plan was made: it would undo a newer one.

    Raises:
        UsageError: there is a later run at the same place.
    """
    run = outbox.run(run_id)
    last = next(one for one in outbox.runs() if one.place == run.place)
    if last.planned_at > run.planned_at:
        raise UsageError(
            f"run `{run_id}` was followed by `{last.run_id}`, so what it was refused is out of date; "
            "score and plan again: salesops score --write-back"
        )


def _counts(summary: PlanSummary) -> dict[str, int]:
    return {str(action): count for action, count in summary.counts.items()}


@contextmanager
def _outbox(settings: Settings) -> Iterator[Outbox]:
    options = options_of(settings)
    url = with_password(
        options.outbox, options.outbox_password, setting="write_back.outbox_password"
    )
    outbox = Outbox(url)
    try:
        yield outbox
    finally:
        outbox.dispose()


@contextmanager
def _sql_target(settings: Settings) -> Iterator[SqlTarget]:
    options = settings.write_back
    url = with_password(options.url, options.password, setting="write_back.password")
    target = SqlTarget(url, options.table)
    try:
        yield target
    finally:
        target.dispose()
