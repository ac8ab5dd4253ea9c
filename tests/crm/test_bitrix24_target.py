"""Scores into Bitrix24: batches, what the portal refuses or ignores, kills, and a bad network."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from salesops_ml.crm.bitrix24_fields import OWN_FIELDS, from_bitrix24, to_bitrix24
from salesops_ml.crm.bitrix24_operating import WINDOW
from salesops_ml.crm.bitrix24_target import Bitrix24Target
from salesops_ml.crm.bitrix24_twin import CODE, Bitrix24Twin
from salesops_ml.crm.bitrix24_twin_fields import Field, stored
from salesops_ml.crm.delivery import Delivery
from salesops_ml.crm.limits import Backoff, Clock
from salesops_ml.crm.outbox import Outbox
from salesops_ml.crm.target import GONE, Done, Failed
from salesops_ml.crm.targets import check_fields
from salesops_ml.crm.twin_faults import FaultPlan
from salesops_ml.crm.twin_server import TwinServer
from salesops_ml.errors import Ambiguous, Refused, WriteBackError
from salesops_ml.scoring.fields import Score
from salesops_ml.scoring.plan import Change
from tests.crm import killed_delivery
from tests.crm.any_scores import any_scores
from tests.crm.bitrix24_desk import PortalDesk, small
from tests.crm.bitrix24_plug import QUICK, number_of, open_numbered_target, open_target
from tests.crm.killed_delivery import AT
from tests.crm.killed_target import refuse_unplanned

FAST = Clock(50.0)
BAND, CLOSE, REASONS = "ufCrmSalesopsScoreBand", "ufCrm_SALESOPS_CLOSE_P50", "ufCrmSalesopsReasons"


@pytest.fixture
def portal() -> Bitrix24Twin:
    return Bitrix24Twin.bare(1_000)


@pytest.fixture
def twin(portal: Bitrix24Twin) -> Iterator[TwinServer]:
    with TwinServer(portal, clock=FAST) as server:
        yield server


def plan(count: int) -> list[Change]:
    """First scores of the deals 1, 2, ..."""
    named = killed_delivery.scores(count)
    return [replace(one, deal_id=number_of(one.deal_id)) for one in named]


def target_of(twin: TwinServer, **more: Any) -> Bitrix24Target:
    return open_target(twin.url, clock=FAST, **more)


scores = any_scores | any_scores.map(
    lambda score: replace(score, reasons="$result[d1][item] says $result")
)


def own_fields() -> dict[str, Field]:
    """Our fields as the twin keeps them, by their name in the database."""
    return {
        field.upper: field for field in Bitrix24Twin.bare(1).fields["deals"].values() if field.upper
    }


KINDS = own_fields()


@settings(max_examples=200, deadline=None)
@given(score=scores)
def test_what_is_sent_is_kept_as_it_reads(score: Score) -> None:
    sent = to_bitrix24(score)
    kept = {name: stored(KINDS[name], value) for name, value in sent.items()}
    as_stored = from_bitrix24(sent)
    assert from_bitrix24(kept) == as_stored
    assert from_bitrix24(to_bitrix24(as_stored)) == as_stored
    chances = score.win_probability, as_stored.win_probability
    assert (chances[0] is None) == (chances[1] is None)
    if chances[0] is not None and chances[1] is not None:
        assert abs(chances[0] - chances[1]) <= 5.1e-5
    assert "$result" not in (as_stored.reasons or "")


def test_a_chunk_stands_as_planned_and_is_emptied_again(twin: TwinServer) -> None:
    target, changes = target_of(twin), plan(50)
    assert target.send(changes) == [Done()] * 50
    assert target.read([c.deal_id for c in changes]) == {
        c.deal_id: target.as_stored(c.new or Score()) for c in changes
    }
    emptied = [Change(c.deal_id, "withdraw", c.new, None, "closed") for c in changes[:20]]
    assert target.send(emptied) == [Done()] * 20
    assert set(target.read([c.deal_id for c in emptied]).values()) == {Score()}
    assert twin.report()["calls"] == 5


def test_every_text_survives_the_batch(twin: TwinServer) -> None:
    words = "50 % & more = [a] + “ü”\nFor: $result[d0][item][id]; 'x' \\ \" ?#"
    change = Change("7", "insert", None, Score(reasons=words), "first score")
    target = target_of(twin)
    assert target.send([change]) == [Done()]
    told = target.read(["7"])["7"]
    assert isinstance(told, Score)
    assert told.reasons == words.replace("$result", "$ result")


def test_each_deal_has_its_own_outcome_in_order(twin: TwinServer, portal: Bitrix24Twin) -> None:
    changes = random.Random(3).sample(plan(45), 45)
    portal.delete("deals", 8)

    def rules(values: dict[str, Any]) -> tuple[str, str] | None:
        told = {10: ("INTERNAL_SERVER_ERROR", "Try again"), 12: ("ACCESS_DENIED", "Access denied")}
        return told.get(values["id"])

    portal.rules = rules
    changes += [Change("999999", "insert", None, Score(band="low"), ""),
                Change("006A", "insert", None, Score(band="low"), "")]  # fmt: skip
    told = target_of(twin).send(changes)
    outcomes = dict(zip([c.deal_id for c in changes], told, strict=True))
    for gone in ("8", "999999", "006A"):
        assert outcomes.pop(gone) == Failed(GONE.reason)
    passing, denied = outcomes.pop("10"), outcomes.pop("12")
    assert isinstance(passing, Failed)
    assert not passing.permanent
    assert isinstance(denied, Failed)
    assert denied.permanent
    assert "right to change this deal" in denied.reason
    assert set(outcomes.values()) == {Done()}
    standing = target_of(twin).read(["8", "006A", "1"])
    assert standing["8"] == standing["006A"] == GONE
    assert isinstance(standing["1"], Score)


def test_fields_are_checked_before_the_first_write_and_made_on_request() -> None:
    portal = Bitrix24Twin({"deals": [{"id": 1, "updatedTime": "2026-01-01T03:00:00+03:00"}]})
    with TwinServer(portal, clock=FAST) as twin:
        target = target_of(twin)
        with pytest.raises(WriteBackError, match=r"UF_CRM_SALESOPS_REASONS` is missing: create"):
            check_fields(target)
        with pytest.raises(Refused, match="no field `UF_CRM_SALESOPS_WIN_PROBABILITY`"):
            target.send(plan(1))
        portal.scopes.remove("userfieldconfig")
        with pytest.raises(Refused, match="creating fields needs `userfieldconfig`"):
            check_fields(target, create=True)
        portal.scopes.add("userfieldconfig")
        portal.may_customize = False
        with pytest.raises(Refused, match=r"Access denied.*give the webhook's user the right"):
            check_fields(target, create=True)
        portal.may_customize = True
        assert len(check_fields(target, create=True)) == len(OWN_FIELDS)
        assert check_fields(target) == []
        assert target.send(plan(1)) == [Done()]


def test_a_lost_answer_of_making_a_field_is_harmless() -> None:
    portal = Bitrix24Twin({"deals": [{"id": 1, "updatedTime": "2026-01-01T03:00:00+03:00"}]})
    with TwinServer(portal, clock=FAST, patience=1.0) as twin:
        twin.faults = FaultPlan({"drop_after": 0.4, "503": 0.2}, seed=2)
        target = target_of(twin)
        check_fields(target, create=True)
        twin.faults = FaultPlan()
        assert target.missing_fields() == []


def test_a_field_that_cannot_be_written_or_is_of_another_kind_is_told(
    twin: TwinServer, portal: Bitrix24Twin
) -> None:
    portal.read_only.add(BAND)
    fields = portal.fields["deals"]
    fields[CLOSE] = Field(CLOSE, "string", upper="UF_CRM_SALESOPS_CLOSE_P50")
    fields[REASONS] = Field(REASONS, "string", upper="UF_CRM_SALESOPS_REASONS", multiple=True)
    chance = "ufCrmSalesopsWinProbability"
    fields[chance] = Field(chance, "double", upper="UF_CRM_SALESOPS_WIN_PROBABILITY", precision=0)
    told = {p.field.removeprefix("UF_CRM_SALESOPS_"): (p.problem, p.cure)
            for p in target_of(twin).missing_fields()}  # fmt: skip
    assert {name: problem for name, (problem, _) in told.items()} == {
        "SCORE_BAND": "read_only", "CLOSE_P50": "wrong_type", "REASONS": "wrong_type",
        "WIN_PROBABILITY": "wrong_type",
    }  # fmt: skip
    assert "multiple string" in told["REASONS"][1]
    assert "precision of 2" in told["WIN_PROBABILITY"][1]


def test_a_field_that_goes_while_we_write_is_not_taken_for_written(
    twin: TwinServer, portal: Bitrix24Twin
) -> None:
    """Bitrix24 ignores what it does not know, so its word that all is well is not enough."""
    target = target_of(twin)
    assert target.send(plan(1)) == [Done()]
    gone = portal.fields["deals"].pop(BAND)
    (outcome,) = target.send(plan(1))
    assert isinstance(outcome, Failed)
    assert not outcome.permanent
    assert "ignored the field `UF_CRM_SALESOPS_SCORE_BAND`" in outcome.reason
    with pytest.raises(Refused, match="SCORE_BAND` any more"):
        target.send(plan(1))
    portal.fields["deals"][BAND] = gone
    assert target.send(plan(1)) == [Done()]


def test_a_value_that_a_field_does_not_take_is_told(twin: TwinServer, portal: Any) -> None:
    fields = portal.fields["deals"]
    fields[REASONS] = Field(REASONS, "string", upper="UF_CRM_SALESOPS_REASONS", longest=10)
    change = Change("1", "insert", None, Score(reasons="x" * 11), "")
    (outcome,) = target_of(twin).send([change])
    assert isinstance(outcome, Failed)
    assert outcome.permanent
    assert "docs/crm_bitrix24.md" in outcome.reason


def test_writing_waits_before_updates_are_closed_to_the_whole_company(tmp_path: Path) -> None:
    """An update may take seconds where automation hangs on it: ten minutes have 480 of them."""
    portal, clock = Bitrix24Twin.bare(400), Clock(1_000.0)
    portal.seconds = {"crm.item.update": 3.0}
    with TwinServer(portal, clock=clock) as twin:
        outbox = Outbox(f"sqlite:///{tmp_path}/o.db")
        target = open_target(twin.url, clock=clock, timeout=60 * clock.factor)
        outbox.plan("run", target.place, plan(400), at=AT)
        assert Delivery(outbox, target, clock=clock).run("run").confirmed == 400
        assert twin.report()["seconds"] >= 600
    assert portal.closed_calls == 0


def test_a_method_that_others_have_closed_is_waited_for(tmp_path: Path) -> None:
    portal, clock = Bitrix24Twin.bare(100), Clock(2_000.0)
    with TwinServer(portal, clock=clock) as twin:
        portal.seconds = {"crm.item.update": 500.0}
        closed_at = clock.now()
        portal._run("crm.item.update", {"entityTypeId": 2, "id": 1, "fields": {}})
        portal.seconds = {}
        outbox = Outbox(f"sqlite:///{tmp_path}/o.db")
        target = open_target(twin.url, clock=clock, timeout=60 * clock.factor)
        outbox.plan("run", target.place, plan(100), at=AT)
        done = Delivery(outbox, target, clock=clock).run("run")
        assert clock.now() - closed_at >= WINDOW
    assert (done.confirmed, done.failed) == (100, 0)


def test_an_outbox_stays_whole_when_a_call_is_refused(
    twin: TwinServer, portal: Any, tmp_path: Path
) -> None:
    outbox, target = Outbox(f"sqlite:///{tmp_path}/o.db"), target_of(twin)
    outbox.plan("run", target.place, plan(100), at=AT)
    portal.codes.clear()
    with pytest.raises(WriteBackError, match=r"make a new one.*resume run"):
        Delivery(outbox, target, clock=FAST).run("run")
    portal.codes.add(CODE)
    kept = portal.fields["deals"].pop(BAND)
    with pytest.raises(WriteBackError, match=r"no field `UF_CRM_SALESOPS_SCORE_BAND`.*resume run"):
        Delivery(outbox, target, clock=FAST).run("run")
    portal.fields["deals"][BAND] = kept
    assert Delivery(outbox, target, clock=FAST).run("run").confirmed == 100
    assert not portal.written_unlike()


def test_an_answer_that_leaves_deals_out_is_not_believed(twin: TwinServer, portal: Any) -> None:
    run = portal._batch
    portal._batch = lambda asked: {"result": {**run(asked)["result"], "result": []}}
    with pytest.raises(Ambiguous, match="does not tell of each deal"):
        target_of(twin).send(plan(3))
    portal._batch = lambda asked: {"result": run(asked) and None}
    with pytest.raises(Ambiguous, match="holds no results"):
        target_of(twin).send(plan(3))
    portal._batch = run
    assert len(portal.ledger) == 3


@pytest.mark.parametrize("seed", [1, 2])
def test_on_a_bad_network_every_deal_stands_as_planned(
    twin: TwinServer, tmp_path: Path, seed: int
) -> None:
    twin.faults = FaultPlan.of_every_kind(0.3, seed=seed)
    outbox, target = (
        Outbox(f"sqlite:///{tmp_path}/o.db"),
        target_of(twin, timeout=20.0, calls_at_once=4),
    )
    outbox.plan("run", target.place, plan(1_000), at=AT)
    backoff = Backoff(first=0.2, longest=5, attempts=50)
    Delivery(outbox, target, clock=FAST, backoff=backoff).run("run")
    report = twin.report()
    twin.faults = FaultPlan()
    assert killed_delivery.problems(target, outbox, "run", report) == []
    assert report["faults"]


@pytest.mark.slow
def test_killed_again_and_again_every_deal_stands_as_planned(tmp_path: Path) -> None:
    refuse_unplanned(
        Bitrix24Twin.bare(2_000),
        "bitrix24_plug:open_numbered_target",
        open_numbered_target,
        tmp_path,
        scores=2_000,
    )


def test_no_secret_is_written_anywhere(
    twin: TwinServer, portal: Bitrix24Twin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The webhook's code stands in the address of every call."""
    caplog.set_level("DEBUG")
    desk = PortalDesk(tmp_path, TwinServer(Bitrix24Twin(small(), burst=10_000)))
    with desk.twin:
        desk.ingest()
    twin.faults = FaultPlan({"503": 0.2, "expired_token": 0.2, "drop_after": 0.1}, seed=3)
    outbox, target = Outbox(f"sqlite:///{tmp_path}/o.db"), target_of(twin, **QUICK)
    outbox.plan("run", target.place, plan(100), at=AT)
    Delivery(outbox, target, clock=FAST, backoff=Backoff(attempts=50)).run("run")
    portal.codes = {"another"}
    with pytest.raises(Refused) as told:
        target.missing_fields()
    found = "".join(p.read_bytes().decode("latin-1") for p in tmp_path.rglob("*") if p.is_file())
    shown = str(told.value) + repr(told.value) + repr(target.__dict__) + repr(vars(target._portal))
    assert caplog.text
    assert CODE not in found + caplog.text + shown


def test_the_clock_of_the_portal_does_not_matter(twin: TwinServer, portal: Bitrix24Twin) -> None:
    portal.skew = 9 * 3_600.0
    target = target_of(twin)
    moment = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    change = Change("1", "insert", None, Score(scored_at=moment), "first score")
    assert target.send([change]) == [Done()]
    assert target.read(["1"]) == {"1": Score(scored_at=moment)}
