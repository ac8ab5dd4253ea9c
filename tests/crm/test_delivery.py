"""What is planned arrives once; what goes wrong is named, and the outbox says how far it came."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.crm.delivery import Delivered, Delivery
from salesops_ml.crm.limits import Backoff, Clock, Limits
from salesops_ml.crm.outbox import Outbox
from salesops_ml.crm.outbox_tables import COLUMNS
from salesops_ml.crm.target import GONE, Done, Failed, FieldProblem, Gone, Outcome, Standing
from salesops_ml.crm.twin_faults import FAULTS, Fault, FaultPlan
from salesops_ml.crm.twin_server import TwinServer
from salesops_ml.crm.twin_vendor import Response
from salesops_ml.errors import (
    Ambiguous,
    DataError,
    NotSent,
    Throttled,
    UsageError,
    WriteBackError,
)
from salesops_ml.scoring.fields import FIELDS, Score
from salesops_ml.scoring.plan import Change
from tests.crm.killed_delivery import AT, problems, scores
from tests.crm.postgres import private_cluster
from tests.crm.sample_vendor import TOKEN, SampleTarget, SampleTwin

FAST = Clock(factor=200)
PATIENT = Backoff(first=0.2, longest=5, attempts=20)


class Desk:
    """A twin with deals, an outbox, and the way from one to the other."""

    def __init__(self, folder: Path, twin: TwinServer, url: str) -> None:
        self.twin, self.vendor = twin, twin.vendor
        self.outbox = Outbox(url)
        self.target = self.target_with()
        self.folder = folder

    def target_with(self, **other: Any) -> SampleTarget:
        return SampleTarget(self.twin.url, clock=FAST, **other)

    def plan(self, run_id: str, count: int, **asked: Any) -> int:
        return self.outbox.plan(run_id, self.target.place, scores(count), at=AT, **asked)

    def delivery(self, target: Any = None) -> Delivery:
        return Delivery(self.outbox, target or self.target, clock=FAST, backoff=PATIENT)

    def deliver(self, run_id: str, target: Any = None) -> Delivered:
        return self.delivery(target).run(run_id)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with private_cluster() as url:
        yield url


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with TwinServer(SampleTwin(deals=500), clock=FAST) as twin:
        yield Desk(tmp_path, twin, f"sqlite:///{tmp_path}/a place/outbox.db")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_run_arrives_and_is_not_sent_twice(
    desk: Desk, kind: str, request: pytest.FixtureRequest
) -> None:
    if kind == "postgresql":
        desk.outbox = Outbox(request.getfixturevalue("postgres"))
    assert desk.plan("run", 300) == 300
    assert desk.deliver("run") == Delivered("run", 300, 0, ())
    assert problems(desk.target, desk.outbox, "run", desk.twin.report()) == []
    calls = desk.twin.report()["calls"]
    assert desk.deliver("run").confirmed == 300
    assert desk.twin.report()["calls"] == calls
    table = sa.inspect(desk.outbox.database.engine).get_columns("salesops_outbox")
    assert [column["name"] for column in table] == list(COLUMNS)
    desk.outbox.dispose()


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_is_survived(desk: Desk, kind: Fault) -> None:
    desk.twin.faults = FaultPlan({kind: 0.4}, seed=5)
    desk.plan("run", 300)
    assert desk.deliver("run").confirmed == 300
    report = desk.twin.report()
    assert report["faults"][kind] >= 1
    desk.twin.faults = FaultPlan()
    assert problems(desk.target, desk.outbox, "run", report) == []


def test_an_answer_that_was_lost_is_read_back_and_not_sent_again(desk: Desk) -> None:
    desk.twin.faults = FaultPlan({"drop_after": 1.0}, paths=".*update")
    desk.plan("run", 10)
    desk.deliver("run")
    assert [len(written) for written in desk.vendor.ledger.values()] == [1] * 10


def test_a_run_that_stops_says_why_and_is_resumed(desk: Desk) -> None:
    desk.plan("run", 300)
    desk.twin.faults = FaultPlan({"503": 1.0}, first=6)
    with pytest.raises(WriteBackError, match=r"HTTP 503.*wait in the outbox.*resume run"):
        Delivery(desk.outbox, desk.target, clock=FAST, backoff=Backoff(attempts=3)).run("run")
    stopped = desk.outbox.run("run")
    counts = desk.outbox.counts("run")
    assert stopped.state == "stopped"
    assert stopped.reason is not None
    assert "503" in stopped.reason
    assert counts["failed"] == 0
    assert 0 < counts["confirmed"] < 300
    desk.twin.faults = FaultPlan()
    assert desk.deliver("run").confirmed == 300
    assert problems(desk.target, desk.outbox, "run", desk.twin.report()) == []


def test_a_pause_of_hours_is_not_waited_for(desk: Desk) -> None:
    desk.vendor.refuse_batch = Response(429, {"policy": "DAILY"}, {"Retry-After": "20000"})
    desk.plan("run", 20)
    with pytest.raises(WriteBackError, match="DAILY"):
        desk.deliver("run")
    assert desk.outbox.counts("run")["planned"] == 20
    desk.vendor.refuse_batch = None
    assert desk.deliver("run").confirmed == 20


def spoil_chance(_deal: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, FIELDS[0]: 12.0}


def test_a_canary_that_reads_back_otherwise_stops_the_rest(desk: Desk) -> None:
    desk.vendor.spoil = spoil_chance
    desk.plan("run", 400, canary_share=0.05)
    with pytest.raises(WriteBackError, match=r"reads back otherwise.*is 0\.12 instead of"):
        desk.deliver("run")
    assert 10 <= len(desk.vendor.ledger) <= 50
    assert desk.outbox.run("run").state == "stopped"
    desk.vendor.spoil = None
    assert desk.deliver("run").confirmed == 400
    desk.vendor.ledger.clear()
    assert problems(desk.target, desk.outbox, "run", desk.twin.report()) == []


def test_a_field_that_is_silently_ignored_is_found_by_the_canary(desk: Desk) -> None:
    del desk.vendor.fields["salesops_reasons"]
    desk.plan("run", 100)
    with pytest.raises(WriteBackError, match="`salesops_reasons` is None instead of"):
        desk.deliver("run")
    assert 10 <= len(desk.vendor.ledger) <= 20


def test_a_canary_that_is_refused_stops_the_rest(desk: Desk) -> None:
    desk.vendor.deals = {}
    desk.plan("run", 100)
    with pytest.raises(WriteBackError, match=r"refused (\d+) of the \1 .* deleted in the CRM"):
        desk.deliver("run")
    assert desk.outbox.counts("run")["planned"] == 100


def test_gone_deals_are_named_and_the_others_arrive(desk: Desk) -> None:
    del desk.vendor.deals["d000100"]
    del desk.vendor.deals["d000200"]
    desk.vendor.merged["d000200"] = "d000201"
    desk.vendor.locked["d000300"] = 2
    desk.vendor.locked["d000301"] = 99
    desk.plan("run", 400)
    done = desk.deliver("run")
    assert (done.confirmed, done.failed) == (397, 3)
    told = {deal: reason for reason, _, deal in done.reasons}
    assert "was deleted" in told["d000100"]
    assert "merged into `d000201`" in told["d000200"]
    assert "locked" in told["d000301"]
    desk.vendor.locked.clear()
    desk.outbox.retry_failed("run")
    assert desk.deliver("run").confirmed == 398


@pytest.mark.parametrize("faults", [0.0, 0.3])
def test_a_deal_that_spoils_its_whole_chunk_is_found_by_halving(desk: Desk, faults: float) -> None:
    desk.vendor.poison = {"d000100", "d000222", "d000223"}
    desk.twin.faults = FaultPlan.of_every_kind(faults, seed=4)
    desk.plan("run", 300)
    done = desk.deliver("run")
    assert (done.confirmed, done.failed) == (297, 3)
    assert [(many, deal) for _, many, deal in done.reasons] == [(3, "d000100")]
    assert "cannot be used" in done.reasons[0][0]
    assert len(desk.vendor.ledger) == 297
    assert desk.vendor.written_unlike() == []


def test_what_spoils_every_chunk_is_found_by_the_canary(desk: Desk) -> None:
    desk.vendor.poison = set(desk.vendor.deals)
    desk.plan("run", 400)
    with pytest.raises(WriteBackError, match=r"the rest was not sent.*cannot be used"):
        desk.deliver("run")
    assert desk.outbox.counts("run")["planned"] == 400
    assert desk.twin.report()["calls"] < 60


@pytest.mark.parametrize("fault", ["timeout_before", "timeout_after"])
def test_a_deal_that_is_gone_when_it_is_read_back_is_named(desk: Desk, fault: Fault) -> None:
    desk.plan("run", 30)
    desk.twin.faults = FaultPlan({fault: 1.0}, paths=".*update", at_most=1)
    with pytest.raises(WriteBackError):
        Delivery(desk.outbox, desk.target, clock=FAST, backoff=Backoff(attempts=1)).run("run")
    first = desk.outbox.entries("run", ["ambiguous"], limit=1)[0].deal_id
    del desk.vendor.deals[first]
    done = desk.deliver("run")
    assert (done.confirmed, done.failed) == (29, 1)


REFUSALS = [
    ("credentials", {"token": "a-wrong-t0ken"}, None, "credentials"),
    ("scope", {}, "deals.write", "scopes"),
    ("version", {"version": "v1"}, None, "newer `api_version`"),
]


@pytest.mark.parametrize(("what", "other", "scope", "cure"), REFUSALS, ids=[r[0] for r in REFUSALS])
def test_a_refusal_of_the_whole_call_leaves_the_outbox_intact(
    desk: Desk, what: str, other: dict[str, str], scope: str | None, cure: str
) -> None:
    desk.plan("run", 120)
    if scope:
        desk.vendor.scopes.remove(scope)
    with pytest.raises(WriteBackError, match=cure) as caught:
        desk.deliver("run", desk.target_with(**other))
    assert caught.value.exit_code == 1
    assert TOKEN not in str(caught.value)
    assert "a-wrong-t0ken" not in str(caught.value)
    assert desk.outbox.counts("run")["planned"] == 120
    assert desk.vendor.ledger == {}
    desk.vendor.scopes.add("deals.write")
    assert desk.deliver("run").confirmed == 120


def test_a_clock_that_is_wrong_changes_nothing(desk: Desk) -> None:
    desk.vendor.skew = -90 * 86_400.0
    desk.twin.faults = FaultPlan({"429": 0.3}, seed=2)
    desk.plan("run", 200)
    assert desk.deliver("run").confirmed == 200
    assert desk.twin.report()["above_limit"] == 0


def test_another_place_another_run_and_half_a_plan_are_refused(desk: Desk) -> None:
    desk.plan("run", 20)
    with pytest.raises(UsageError, match="planned for sample CRM, not for elsewhere"):
        desk.deliver("run", desk.target_with(place="elsewhere"))
    with pytest.raises(UsageError, match="no run `none`"):
        desk.deliver("none")
    with pytest.raises(UsageError, match="in the outbox already"):
        desk.plan("run", 20)

    def broken() -> Iterator[Change]:
        yield from scores(5_000)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        desk.outbox.plan("half", desk.target.place, broken(), at=AT)
    with pytest.raises(UsageError, match="interrupted while it was planned"):
        desk.deliver("half")
    with pytest.raises(DataError, match="stands twice"):
        desk.outbox.plan("twice", desk.target.place, [*scores(5), *scores(3)], at=AT)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_two_processes_do_not_deliver_at_once(
    desk: Desk, kind: str, request: pytest.FixtureRequest
) -> None:
    url = desk.outbox.database.url.render_as_string(hide_password=False)
    if kind == "postgresql":
        url = request.getfixturevalue("postgres")
    desk.outbox, other = Outbox(url), Outbox(url)
    desk.plan("alone", 20)
    with other.exclusive(), pytest.raises(WriteBackError, match="another process"):
        desk.deliver("alone")
    assert desk.deliver("alone").confirmed == 20
    desk.outbox.dispose()
    other.dispose()


def test_an_outbox_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_text("no database\n" * 500)
    with pytest.raises(WriteBackError, match=r"not a database.*write_back\.outbox"):
        Outbox(f"sqlite:///{tmp_path}/outbox.db").prepare()
    assert Outbox(f"sqlite:///{tmp_path}/none.db").runs() == []
    assert not (tmp_path / "none.db").exists()


class Memory:
    """A target without a network, whose every call meets the fate that a test draws for it."""

    place = "memory"
    limits = Limits(records_a_call=3)

    def __init__(self, fates: Sequence[str]) -> None:
        self.fields: dict[str, Score] = {}
        self.written: dict[str, set[Score]] = {}
        self._fates = iter(fates)

    def as_stored(self, score: Score) -> Score:
        return score

    def missing_fields(self) -> list[FieldProblem]:
        return []

    def create_fields(self, problems: Sequence[FieldProblem]) -> None:
        raise NotImplementedError

    def read(self, deal_ids: Sequence[str]) -> dict[str, Standing]:
        return {d: GONE if d == "d000004" else self.fields.get(d, Score()) for d in deal_ids}

    def send(self, changes: Sequence[Change]) -> list[Outcome]:
        fate = next(self._fates, "done")
        if fate == "not sent":
            raise NotSent("no connection")
        if fate == "throttled":
            raise Throttled("too many", 1.0)
        if fate == "lost before":
            raise Ambiguous("lost")
        outcomes: list[Outcome] = []
        for at, change in enumerate(changes):
            if change.deal_id == "d000004":
                outcomes.append(Failed(GONE.reason))
            elif fate == "partly" and at == 1:
                outcomes.append(Failed("busy", permanent=False))
            else:
                self.fields[change.deal_id] = change.new or Score()
                self.written.setdefault(change.deal_id, set()).add(change.new or Score())
                outcomes.append(Done())
        if fate == "lost after":
            raise Ambiguous("lost")
        return outcomes


def tried(delivery: Delivery) -> Delivered | str:
    try:
        return delivery.run("run")
    except WriteBackError as error:
        return str(error)


FATES = st.lists(
    st.sampled_from(["done", "not sent", "throttled", "lost before", "lost after", "partly"]),
    max_size=40,
)


@given(fates=FATES, attempts=st.integers(1, 4), count=st.integers(1, 25))
@settings(max_examples=40)
def test_whatever_happens_to_the_calls_the_end_is_the_plan(
    tmp_path_factory: pytest.TempPathFactory, fates: list[str], attempts: int, count: int
) -> None:
    folder = tmp_path_factory.mktemp("outbox")
    outbox, target = Outbox(f"sqlite:///{folder}/o.db"), Memory(fates)
    outbox.plan("run", "memory", scores(count), at=AT)
    quick = Clock(factor=1e6)
    delivery = Delivery(outbox, target, clock=quick, backoff=Backoff(attempts=attempts))
    told = [tried(delivery) for _ in range(len(fates) + 1)]
    assert told[-1] == delivery.run("run")
    assert all("resume run" in words for words in told if isinstance(words, str))
    done = told[-1]
    assert isinstance(done, Delivered)
    wanted = {c.deal_id: c.new for c in scores(count) if c.deal_id != "d000004"}
    assert target.fields == wanted
    assert done.confirmed == len(wanted)
    assert done.failed == count - len(wanted)
    assert all(len(values) == 1 for values in target.written.values())
    outbox.dispose()


def test_what_gone_says() -> None:
    assert "deleted" in Gone().reason
    assert "`d9`" in replace(GONE, merged_into="d9").reason
