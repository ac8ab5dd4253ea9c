"""Scores into HubSpot: batches, what the account refuses, kills, and a bad network."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from salesops_ml.crm.delivery import Delivery
from salesops_ml.crm.hubspot_fields import OWN_PROPERTIES, from_hubspot, to_hubspot
from salesops_ml.crm.hubspot_target import HubSpotTarget
from salesops_ml.crm.hubspot_twin import TOKEN, HubSpotTwin
from salesops_ml.crm.hubspot_twin_fields import OWN_PROPERTIES as KEPT
from salesops_ml.crm.hubspot_twin_fields import Property, stored
from salesops_ml.crm.hubspot_twin_scopes import SCHEMA, WRITE
from salesops_ml.crm.limits import Backoff, Clock
from salesops_ml.crm.outbox import Outbox
from salesops_ml.crm.target import GONE, Done, Failed, Gone
from salesops_ml.crm.targets import check_fields
from salesops_ml.crm.twin_faults import FaultPlan
from salesops_ml.crm.twin_server import TwinServer
from salesops_ml.errors import Refused, Throttled, WriteBackError
from salesops_ml.scoring.fields import Score
from salesops_ml.scoring.plan import Change
from tests.crm import killed_delivery
from tests.crm.any_scores import any_scores
from tests.crm.hubspot_desk import HubSpotDesk
from tests.crm.hubspot_plug import QUICK, open_target
from tests.crm.killed_delivery import AT
from tests.crm.killed_target import refuse_unplanned
from tests.crm.test_crm_incremental import small

FAST = Clock(50.0)


@pytest.fixture
def account() -> HubSpotTwin:
    return HubSpotTwin.bare(1_000)


@pytest.fixture
def twin(account: HubSpotTwin) -> Iterator[TwinServer]:
    with TwinServer(account, clock=FAST) as server:
        yield server


def plan(count: int) -> list[Change]:
    return list(killed_delivery.scores(count))


def target_of(twin: TwinServer, **more: Any) -> HubSpotTarget:
    return open_target(twin.url, clock=FAST, **more)


@settings(max_examples=200, deadline=None)
@given(score=any_scores)
def test_what_is_sent_is_kept_as_it_reads(score: Score) -> None:
    sent = to_hubspot(score)
    kept = {one.name: stored(one, one.name, sent[one.name]) for one in KEPT}
    as_stored = from_hubspot(sent)
    assert from_hubspot(kept) == as_stored
    assert from_hubspot(to_hubspot(as_stored)) == as_stored
    assert replace(as_stored, reasons=None, model_version=None) == replace(
        score, reasons=None, model_version=None
    )


def test_a_chunk_stands_as_planned(twin: TwinServer) -> None:
    target = target_of(twin)
    changes = plan(100)
    assert target.send(changes) == [Done()] * 100
    assert target.read([c.deal_id for c in changes]) == {
        c.deal_id: target.as_stored(c.new or Score()) for c in changes
    }
    emptied = [Change(c.deal_id, "withdraw", c.new, None, "closed") for c in changes[:50]]
    assert target.send(emptied) == [Done()] * 50
    assert set(target.read([c.deal_id for c in emptied]).values()) == {Score()}


def test_each_deal_has_its_own_outcome_in_order(twin: TwinServer, account: HubSpotTwin) -> None:
    changes = random.Random(3).sample(plan(60), 60)
    account.delete("deals", "d000007")
    merged = account.merge("d000008", "d000500")
    account.properties["salesops_score_band"] = Property(
        "salesops_score_band", "enumeration", "select", ("very low", "low", "medium")
    )
    changes = [
        Change(c.deal_id, "insert", None, replace(c.new or Score(), band="low"), "")
        for c in changes
    ]
    at = next(n for n, c in enumerate(changes) if c.deal_id == "d000011")
    changes[at] = Change("d000011", "insert", None, Score(band="high"), "")
    changes.append(Change("d999999", "insert", None, Score(band="low"), ""))
    target = target_of(twin)
    outcomes = dict(zip([c.deal_id for c in changes], target.send(changes), strict=True))
    assert outcomes.pop("d000007") == outcomes.pop("d999999") == Failed(GONE.reason)
    assert outcomes.pop("d000008") == Failed(Gone(merged).reason)
    odd = outcomes.pop("d000011")
    assert isinstance(odd, Failed)
    assert odd.permanent
    assert "INVALID_OPTION" in odd.reason
    assert "add the option" in odd.reason
    assert set(outcomes.values()) == {Done()}
    assert target.read(["d000007", "d000008", "d000500", merged])["d000500"] == Gone(merged)


def test_a_batch_that_one_deal_spoils_is_halved(
    twin: TwinServer, account: HubSpotTwin, tmp_path: Path
) -> None:
    account.multi_status = False
    account.properties["salesops_score_band"] = Property(
        "salesops_score_band", "enumeration", "select", ("low", "medium")
    )
    changes = [Change(c.deal_id, "insert", None, Score(band="low"), "") for c in plan(40)]
    changes[17] = Change("d000017", "insert", None, Score(band="high"), "")
    outbox, target = Outbox(f"sqlite:///{tmp_path}/o.db"), target_of(twin)
    outbox.plan("run", target.place, changes, at=AT)
    done = Delivery(outbox, target, clock=FAST).run("run")
    assert (done.confirmed, done.failed) == (39, 1)
    ((reason, _, deal),) = done.reasons
    assert deal == "d000017"
    assert "INVALID_OPTION" in reason


def test_properties_are_checked_before_the_first_write_and_made_on_request() -> None:
    account = HubSpotTwin({"deals": [{"id": "d000000"}]})
    with TwinServer(account, clock=FAST) as twin:
        target = target_of(twin)
        with pytest.raises(WriteBackError, match=r"salesops_reasons` is missing: create"):
            check_fields(target)
        account.scopes.remove(SCHEMA)
        with pytest.raises(Refused, match=r"`crm\.schemas\.deals\.write`"):
            check_fields(target, create=True)
        account.scopes.add(SCHEMA)
        twin.faults = FaultPlan(
            {"drop_after": 1.0}, paths=".*/properties/deals", first=3, at_most=1
        )
        assert len(check_fields(target, create=True)) == len(OWN_PROPERTIES)
        assert check_fields(target) == []
        assert target.send(plan(1)) == [Done()]


def test_a_property_that_cannot_be_written_or_is_of_another_kind_is_told(
    twin: TwinServer, account: HubSpotTwin
) -> None:
    account.properties |= {
        "salesops_close_p50": Property("salesops_close_p50"),
        "salesops_score_band": Property("salesops_score_band", "enumeration", "select", ("low",)),
        "salesops_reasons": Property("salesops_reasons", "string", "textarea", read_only=True),
        "salesops_scored_at": Property("salesops_scored_at", "date", "date"),
    }
    told = {p.field: (p.problem, p.cure) for p in target_of(twin).missing_fields()}
    assert {name: problem for name, (problem, _) in told.items()} == {
        "salesops_close_p50": "wrong_type", "salesops_score_band": "wrong_type",
        "salesops_reasons": "read_only", "salesops_scored_at": "wrong_type",
    }  # fmt: skip
    assert "very low, medium, high" in told["salesops_score_band"][1]
    account.multi_status = False
    with pytest.raises(Refused, match="READ_ONLY_VALUE"):
        target_of(twin).send(plan(1))


def test_the_last_calls_of_the_day_are_left_to_others() -> None:
    limited = HubSpotTwin.bare(10)
    limited.daily.window = type(limited.daily.window)(60, 86_400)
    with TwinServer(limited, clock=FAST) as twin:
        target = target_of(twin)
        for _ in range(59):
            target.read(["d000001"])
        with pytest.raises(Throttled, match="left to others"):
            target.read(["d000001"])
        assert twin.report()["above_limit"] == 0


def test_an_outbox_stays_whole_when_a_call_is_refused(
    twin: TwinServer, account: HubSpotTwin, tmp_path: Path
) -> None:
    outbox, target = Outbox(f"sqlite:///{tmp_path}/o.db"), target_of(twin)
    outbox.plan("run", target.place, plan(250), at=AT)
    account.scopes.remove(WRITE)
    with pytest.raises(WriteBackError, match=r"`crm.objects.deals.write`.*resume run"):
        Delivery(outbox, target, clock=FAST).run("run")
    account.scopes.add(WRITE)
    account.tokens.clear()
    with pytest.raises(WriteBackError, match=r"does not know the credentials.*resume run"):
        Delivery(outbox, target, clock=FAST).run("run")
    account.tokens.add(TOKEN)
    assert Delivery(outbox, target, clock=FAST).run("run").confirmed == 250
    assert not account.written_unlike()


def test_a_token_that_was_rotated_is_read_anew(
    twin: TwinServer, account: HubSpotTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = target_of(twin)
    assert target.send(plan(2)) == [Done()] * 2
    account.tokens = {"a-new-t0ken"}
    monkeypatch.setenv("HUBSPOT_TOKEN", "a-new-t0ken")
    assert target.send(plan(2)) == [Done()] * 2


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_on_a_bad_network_every_deal_stands_as_planned(
    twin: TwinServer, tmp_path: Path, seed: int
) -> None:
    twin.faults = FaultPlan.of_every_kind(0.3, seed=seed)
    outbox = Outbox(f"sqlite:///{tmp_path}/o.db")
    target = target_of(twin)
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
        HubSpotTwin.bare(2_000), "hubspot_plug:open_target", open_target, tmp_path, scores=2_000
    )


def test_no_secret_is_written_anywhere(
    twin: TwinServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    desk = HubSpotDesk(tmp_path, TwinServer(HubSpotTwin(small("hubspot"), calls=QUICK)))
    with desk.twin:
        desk.ingest()
    twin.faults = FaultPlan({"503": 0.2, "expired_token": 0.2}, seed=3)
    outbox = Outbox(f"sqlite:///{tmp_path}/o.db")
    target = target_of(twin)
    outbox.plan("run", target.place, plan(300), at=AT)
    Delivery(outbox, target, clock=FAST, backoff=Backoff(attempts=50)).run("run")
    found = "".join(p.read_bytes().decode("latin-1") for p in tmp_path.rglob("*") if p.is_file())
    assert TOKEN not in found + caplog.text + repr(target.__dict__)


def test_the_clock_of_the_account_does_not_matter(twin: TwinServer, account: HubSpotTwin) -> None:
    account.skew = 9 * 3_600.0
    target = target_of(twin)
    moment = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    change = Change("d000001", "insert", None, Score(scored_at=moment), "first score")
    assert target.send([change]) == [Done()]
    assert target.read(["d000001"]) == {"d000001": Score(scored_at=moment)}
