"""Carry a run out of the outbox into a CRM: nothing lost, nothing written twice with two values.

First what an earlier attempt left in doubt is read back. Then a canary share is sent and read back;
only if it stands there as planned the rest follows. Chunks are sent as many at once as the vendor
allows. Each chunk is committed as `sent` before the call and settled after its answer, so that a
process may be killed at any moment and `Delivery.run` goes on where it was.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from salesops_ml.crm.http_door import LONGEST_PAUSE
from salesops_ml.crm.limits import Backoff, Clock
from salesops_ml.crm.outbox import Outbox
from salesops_ml.crm.outbox_tables import CANARY, REST, UNKNOWN, Entry, OutboxRun, Settled, State
from salesops_ml.crm.target import GONE, Done, Failed, Gone, Outcome, Standing, Target
from salesops_ml.errors import (
    Ambiguous,
    NotSent,
    Refused,
    RemoteError,
    Throttled,
    UsageError,
    WriteBackError,
)
from salesops_ml.scoring.fields import Score
from salesops_ml.scoring.plan import Change

MOST_REFUSALS = 8
"""A deal that the CRM refuses for a passing reason is given up after so many."""
WORST_CANARY = 0.5
"""The rest is not sent where more of the canary share is refused."""
SPOILED = (400, 413, 422)
"""HTTP statuses that refuse a whole chunk for what is in it."""
TOLD_EVERY = 1_000
_AT_ONCE = 16
_Flight = Future[list["Outcome | _Lost"]]


@dataclass(frozen=True)
class Delivered:
    """What became of a run.

    Attributes:
        run_id: the run.
        confirmed: deals that stand as planned.
        failed: deals that the CRM refused.
        reasons: why: reason, how many, one such deal.
    """

    run_id: str
    confirmed: int
    failed: int
    reasons: tuple[tuple[str, int, str], ...]


class Delivery:
    """Sends what an outbox holds.

    Args:
        outbox: where the plan stands.
        target: the CRM.
        clock: the clock of pauses.
        backoff: pauses after failures of a whole call, and how many in a row are borne.
        say: told now and then how far it has come.
        now: the moment, naive UTC, for the outbox.
        seed: of the jitter.
    """

    def __init__(
        self,
        outbox: Outbox,
        target: Target,
        *,
        clock: Clock | None = None,
        backoff: Backoff | None = None,
        say: Callable[[str], None] | None = None,
        now: Callable[[], datetime] | None = None,
        seed: int = 7,
    ) -> None:
        self.outbox, self.target = outbox, target
        self._clock, self._backoff = clock or Clock(), backoff or Backoff()
        self._say = say or _nothing
        self._now = now or _utc_now
        self._draws = random.Random(seed)
        self._failures = self._put_off = self._sent = 0
        self._chunk = max(1, target.limits.records_a_call)
        self._at_once = max(1, min(_AT_ONCE, target.limits.calls_at_once))

    def run(self, run_id: str) -> Delivered:
        """Deliver a run to its end, from wherever it is.

        Raises:
            UsageError: the run is not to be sent.
            WriteBackError: it had to stop; the outbox says how far it came, and it can be resumed.
        """
        with self.outbox.exclusive():
            run = self._checked(run_id)
            if run.state != "finished":
                with self._stopping(run_id):
                    self._deliver(run)
                self.outbox.set_state(run_id, "finished")
        counts = self.outbox.counts(run_id)
        reasons = tuple(self.outbox.reasons(run_id))
        return Delivered(run_id, counts["confirmed"], counts["failed"], reasons)

    def _deliver(self, run: OutboxRun) -> None:
        if run.state == "stopped":
            self.outbox.set_state(run.run_id, "open")
        self._send_lane(run.run_id, CANARY)
        if not run.canary:
            self._check_canary(run.run_id)
            self.outbox.set_canary(run.run_id)
        self._send_lane(run.run_id, REST)

    def _checked(self, run_id: str) -> OutboxRun:
        run = self.outbox.run(run_id)
        if run.place != self.target.place:
            raise UsageError(
                f"run `{run_id}` was planned for {run.place}, not for {self.target.place}; "
                "use the configuration that it was planned with"
            )
        if run.state == "planning":
            raise UsageError(
                f"run `{run_id}` was interrupted while it was planned; nothing of it was sent. "
                "Score and plan again"
            )
        if run.state in ("rolled_back", "superseded"):
            why = (
                "was rolled back" if run.state == "rolled_back" else "was followed by a later plan"
            )
            raise UsageError(f"run `{run_id}` {why}; score and plan again")
        return run

    @contextmanager
    def _stopping(self, run_id: str) -> Iterator[None]:
        """Note why a run stops, and say how it goes on."""
        try:
            yield
        except WriteBackError as error:
            self.outbox.set_state(run_id, "stopped", reason=str(error))
            counts = self.outbox.counts(run_id)
            due = counts["planned"] + counts["sent"] + counts["ambiguous"]
            raise WriteBackError(
                f"{error}. {counts['confirmed']:,} deals stand as planned, {due:,} wait in the outbox; "
                f"then: salesops write-back resume {run_id}"
            ) from None

    def _send_lane(self, run_id: str, lane: int) -> None:
        """Settle and send until nothing of the lane is left."""
        for sweep in itertools.count(1):
            self._settle_unknown(run_id, lane)
            self._put_off = 0
            if not self._send_due(run_id, lane):
                return
            if self._put_off:
                self._clock.sleep(self._backoff.seconds(sweep, draws=self._draws))

    def _settle_unknown(self, run_id: str, lane: int) -> None:
        """Read back what was sent and not answered: it stands, or it is planned again."""
        for chunk in self.outbox.all_entries(run_id, UNKNOWN, lane=lane, limit=self._chunk):
            standing = self.target.read([entry.deal_id for entry in chunk])
            found = [self._found(entry, standing.get(entry.deal_id, GONE)) for entry in chunk]
            self.outbox.settle(run_id, found, at=self._now())

    def _found(self, entry: Entry, stands: Standing) -> Settled:
        if isinstance(stands, Gone):
            return Settled(entry.deal_id, "failed", stands.reason)
        if stands == self._wanted(entry):
            return Settled(entry.deal_id, "confirmed")
        return Settled(entry.deal_id, "planned")

    def _wanted(self, entry: Entry) -> Score:
        return self.target.as_stored(entry.change.new or Score())

    def _send_due(self, run_id: str, lane: int) -> bool:
        """Send all that is planned, several chunks at once; whether there was anything."""
        due = self.outbox.all_entries(run_id, ("planned",), lane=lane, limit=self._chunk)
        flying: dict[_Flight, list[Entry]] = {}
        any_sent = False
        with ThreadPoolExecutor(self._at_once) as pool:
            try:
                for chunk in due:
                    any_sent = True
                    self._launch(run_id, chunk, pool, flying)
                    if len(flying) >= self._at_once:
                        self._land(run_id, flying)
                while flying:
                    self._land(run_id, flying)
            finally:
                self._land_all(run_id, flying)
        return any_sent

    def _launch(
        self,
        run_id: str,
        chunk: list[Entry],
        pool: ThreadPoolExecutor,
        flying: dict[_Flight, list[Entry]],
    ) -> None:
        self.outbox.mark_sent(run_id, [entry.deal_id for entry in chunk], at=self._now())
        flying[pool.submit(_send, self.target, [entry.change for entry in chunk])] = chunk

    def _land(self, run_id: str, flying: dict[_Flight, list[Entry]]) -> None:
        """Settle what has come back; pause after a failed call, stop after too many in a row."""
        done, _ = wait(flying, return_when=FIRST_COMPLETED)
        failure: RemoteError | None = None
        for future in done:
            error = self._settle(run_id, flying.pop(future), future)
            failure = error or failure
            self._failures = self._failures + 1 if error else 0
        if failure is None:
            return
        too_long = isinstance(failure, Throttled) and failure.seconds > LONGEST_PAUSE
        passing = isinstance(failure, NotSent | Ambiguous) and not too_long
        if not passing or self._failures >= self._backoff.attempts:
            raise failure
        pause = self._backoff.seconds(max(1, self._failures), draws=self._draws)
        asked = failure.seconds if isinstance(failure, Throttled) else 0.0
        self._clock.sleep(max(pause, asked))

    def _land_all(self, run_id: str, flying: dict[_Flight, list[Entry]]) -> None:
        """Whatever happens, the answers of calls in flight are not thrown away."""
        while flying:
            done, _ = wait(flying, return_when=FIRST_COMPLETED)
            for future in done:
                self._settle(run_id, flying.pop(future), future)

    def _settle(self, run_id: str, chunk: list[Entry], future: _Flight) -> RemoteError | None:
        """Commit what a call did; the error that it ended in."""
        error = future.exception()
        if error is None:
            outcomes = future.result()
            found = [_settled(entry, one) for entry, one in zip(chunk, outcomes, strict=True)]
            self.outbox.settle(run_id, found, at=self._now())
            self._put_off += sum(one.state == "planned" for one in found)
            self._tell(len(chunk))
            return None
        if not isinstance(error, RemoteError):
            raise error
        state: State = "ambiguous" if isinstance(error, Ambiguous) else "planned"
        found = [Settled(entry.deal_id, state, str(error)) for entry in chunk]
        self.outbox.settle(run_id, found, at=self._now())
        return error

    def _tell(self, count: int) -> None:
        """Say now and then how many deals were sent."""
        before, self._sent = self._sent, self._sent + count
        if before // TOLD_EVERY != self._sent // TOLD_EVERY:
            self._say(f"{self._sent:,} deals sent")

    def _check_canary(self, run_id: str) -> None:
        """Read back what went ahead; stop where it does not stand there as it was sent."""
        counts = {"confirmed": 0, "failed": 0}
        for chunk in self.outbox.all_entries(
            run_id, ("confirmed", "failed"), lane=CANARY, limit=self._chunk
        ):
            sent = [entry for entry in chunk if entry.state == "confirmed"]
            self._read_back(run_id, sent)
            counts["confirmed"] += len(sent)
            counts["failed"] += len(chunk) - len(sent)
        total = sum(counts.values())
        if total and counts["failed"] > WORST_CANARY * total:
            reason, many, deal = self.outbox.reasons(run_id)[0]
            self.outbox.retry_failed(run_id)
            raise WriteBackError(
                f"{self.target.place}: refused {counts['failed']:,} of the {total:,} deals that went "
                f"ahead; the rest was not sent. {many:,} such as `{deal}`: {reason}"
            )
        self._say(f"canary: {counts['confirmed']:,} deals read back right")

    def _read_back(self, run_id: str, sent: Sequence[Entry]) -> None:
        if not sent:
            return
        standing = self.target.read([entry.deal_id for entry in sent])
        wrong = [
            entry
            for entry in sent
            if isinstance(stands := standing.get(entry.deal_id, GONE), Score)
            and stands != self._wanted(entry)
        ]
        if not wrong:
            return
        again = [Settled(entry.deal_id, "planned", "read back otherwise") for entry in wrong]
        self.outbox.settle(run_id, again, at=self._now())
        first = wrong[0]
        raise WriteBackError(
            f"{self.target.place}: deal `{first.deal_id}` was written and reads back otherwise: "
            f"{_difference(self._wanted(first), standing[first.deal_id])}; the rest was not sent. Check "
            "that nobody else writes the fields (a workflow, another integration) and their kinds"
        )


@dataclass(frozen=True)
class _Lost:
    """What is known of a deal whose part of a halved chunk failed: the state that it is in now."""

    state: State
    reason: str


def _send(target: Target, changes: Sequence[Change]) -> list[Outcome | _Lost]:
    """Send a chunk; where one of its deals spoils it all, find out which by halving."""
    try:
        return [*target.send(changes)]
    except Refused as error:
        if error.status not in SPOILED:
            raise
        if len(changes) == 1:
            return [Failed(str(error))]
    middle = len(changes) // 2
    return _send_half(target, changes[:middle]) + _send_half(target, changes[middle:])


def _send_half(target: Target, changes: Sequence[Change]) -> list[Outcome | _Lost]:
    try:
        return _send(target, changes)
    except RemoteError as error:
        state: State = "ambiguous" if isinstance(error, Ambiguous) else "planned"
        return [_Lost(state, str(error))] * len(changes)


def _settled(entry: Entry, outcome: Outcome | _Lost) -> Settled:
    if isinstance(outcome, _Lost):
        return Settled(entry.deal_id, outcome.state, outcome.reason)
    if isinstance(outcome, Done):
        return Settled(entry.deal_id, "confirmed")
    if outcome.permanent or entry.refusals + 1 >= MOST_REFUSALS:
        return Settled(entry.deal_id, "failed", outcome.reason)
    return Settled(entry.deal_id, "planned", outcome.reason, refused=True)


def _difference(wanted: Score, stands: Standing) -> str:
    if isinstance(stands, Gone):
        return stands.reason
    return ", ".join(
        f"`{name}` is {stands.values()[name]!r} instead of {value!r}"
        for name, value in wanted.values().items()
        if stands.values()[name] != value
    )


def _nothing(_text: str) -> None:
    """Nobody listens."""


def _utc_now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)
