"""Scores into Salesforce: collections, Bulk jobs, what the org refuses, kills, and a bad network."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from salesops_ml.crm.delivery import Delivery
from salesops_ml.crm.limits import Backoff, Clock
from salesops_ml.crm.outbox import Outbox
from salesops_ml.crm.salesforce_fields import OWN_FIELDS, from_salesforce, to_salesforce
from salesops_ml.crm.salesforce_target import SalesforceTarget
from salesops_ml.crm.salesforce_twin import CLIENT_SECRET, SalesforceTwin
from salesops_ml.crm.salesforce_twin_fields import OWN_KINDS, Field, stored
from salesops_ml.crm.target import GONE, Done, Failed
from salesops_ml.crm.targets import check_fields
from salesops_ml.crm.twin_faults import FaultPlan
from salesops_ml.crm.twin_server import TwinServer
from salesops_ml.errors import Refused, Throttled, WriteBackError
from salesops_ml.scoring.fields import Score
from salesops_ml.scoring.plan import Change
from tests.crm import killed_delivery
from tests.crm.any_scores import any_scores
from tests.crm.killed_delivery import AT
from tests.crm.killed_target import refuse_unplanned
from tests.crm.salesforce_desk import ApiDesk
from tests.crm.salesforce_plug import open_target
from tests.crm.test_crm_incremental import small

FAST = Clock(50.0)


@pytest.fixture
def org() -> SalesforceTwin:
    return SalesforceTwin.bare(1_000)


@pytest.fixture
def twin(org: SalesforceTwin) -> Iterator[TwinServer]:
    with TwinServer(org, clock=FAST) as server:
        yield server


def plan(count: int) -> list[Change]:
    return list(killed_delivery.scores(count))


def target_of(twin: TwinServer, **more: Any) -> SalesforceTarget:
    return open_target(twin.url, clock=FAST, **more)


@settings(max_examples=200, deadline=None)
@given(score=any_scores)
def test_what_is_sent_is_kept_as_it_reads(score: Score) -> None:
    sent = to_salesforce(score)
    kept = {field.name: stored(field, sent[field.name]) for field in OWN_KINDS}
    as_stored = from_salesforce(sent)
    assert from_salesforce(kept) == as_stored
    assert from_salesforce(to_salesforce(as_stored)) == as_stored
    chances = score.win_probability, as_stored.win_probability
    assert (chances[0] is None) == (chances[1] is None)
    if chances[0] is not None and chances[1] is not None:
        assert abs(chances[0] - chances[1]) <= 5.1e-5


@pytest.mark.parametrize("bulk_from", [2_000, 10])
def test_a_chunk_stands_as_planned(twin: TwinServer, bulk_from: int) -> None:
    target = target_of(twin, bulk_from=bulk_from)
    changes = plan(450)
    assert target.send(changes) == [Done()] * 450
    assert target.read([c.deal_id for c in changes]) == {
        c.deal_id: target.as_stored(c.new or Score()) for c in changes
    }
    emptied = [Change(c.deal_id, "withdraw", c.new, None, "closed") for c in changes[:50]]
    assert target.send(emptied) == [Done()] * 50
    assert set(target.read([c.deal_id for c in emptied]).values()) == {Score()}


@pytest.mark.parametrize("bulk_from", [2_000, 10])
def test_each_deal_has_its_own_outcome_in_order(
    twin: TwinServer, org: SalesforceTwin, bulk_from: int
) -> None:
    changes = plan(300)
    shuffled = random.Random(3).sample(changes, len(changes))
    org.delete("Opportunity", "d000007")
    org.locked["d000009"] = 1
    org.rules = lambda values: (
        "Not on Fridays" if values.get("Salesops_Reasons__c") == "no" else None
    )
    at = next(n for n, c in enumerate(shuffled) if c.deal_id == "d000011")
    shuffled[at] = Change("d000011", "insert", None, Score(reasons="no"), "")
    shuffled.append(Change("d999999", "insert", None, Score(band="low"), ""))
    outcomes = dict(
        zip([c.deal_id for c in shuffled], target_of(twin, bulk_from=bulk_from).send(shuffled),
            strict=True)
    )  # fmt: skip
    assert outcomes.pop("d000007") == outcomes.pop("d999999") == Failed(GONE.reason)
    locked, ruled = outcomes.pop("d000009"), outcomes.pop("d000011")
    assert isinstance(locked, Failed)
    assert not locked.permanent
    assert isinstance(ruled, Failed)
    assert ruled.permanent
    assert "Not on Fridays" in ruled.reason
    assert "validation rule" in ruled.reason
    assert set(outcomes.values()) == {Done()}


def test_a_trigger_that_does_not_bear_200_gets_smaller_collections(
    twin: TwinServer, org: SalesforceTwin
) -> None:
    org.trigger_bears = 30
    target = target_of(twin)
    assert target.send(plan(200)) == [Done()] * 200
    assert not org.written_unlike()
    before = twin.report()["calls"]
    assert target.send(plan(200)) == [Done()] * 200
    assert twin.report()["calls"] - before == 8
    org.trigger_bears = 0
    outcome = target.send(plan(1))[0]
    assert isinstance(outcome, Failed)
    assert outcome.permanent
    assert "Too many SOQL" in outcome.reason


def test_a_job_that_fails_half_way_tells_which_deals_it_did(
    twin: TwinServer, org: SalesforceTwin
) -> None:
    org.bulk.fail_after = 100
    outcomes = target_of(twin, bulk_from=10).send(plan(150))
    assert outcomes[:100] == [Done()] * 100
    assert all(isinstance(one, Failed) and not one.permanent for one in outcomes[100:])


def test_what_an_earlier_job_may_still_write_is_waited_for(
    twin: TwinServer, org: SalesforceTwin
) -> None:
    old = target_of(twin, bulk_from=1)
    from salesops_ml.crm.salesforce_bulk import _begin, upload

    org.bulk.seconds = 30.0
    job = upload(old._org, [{"Id": "d000001", **to_salesforce(Score(band="low"))}])
    _begin(old._org, job)
    fresh = target_of(twin)
    change = Change("d000001", "update", Score(band="low"), Score(band="high"), "band")
    assert fresh.send([change]) == [Done()]
    assert org.bulk.jobs[job].state == "JobComplete"
    assert fresh.read(["d000001"]) == {"d000001": Score(band="high")}


def test_fields_are_checked_before_the_first_write_and_made_on_request() -> None:
    org = SalesforceTwin({"Opportunity": [{"Id": "d000000", "IsDeleted": False,
                                           "SystemModstamp": None}]})  # fmt: skip
    with TwinServer(org, clock=FAST) as twin:
        target = target_of(twin)
        with pytest.raises(WriteBackError, match=r"Salesops_Reasons__c` is missing: create"):
            check_fields(target)
        org.may_customize = False
        with pytest.raises(Refused, match="give it the scopes"):
            check_fields(target, create=True)
        org.may_customize = True
        assert len(check_fields(target, create=True)) == len(OWN_FIELDS)
        assert check_fields(target) == []
        assert target.send(plan(1)) == [Done()]
        org.hidden.add("Salesops_Score_Band__c")
        assert [p.problem for p in target.missing_fields()] == ["missing"]
        check_fields(target, create=True)
        assert target.missing_fields() == []


def test_a_field_that_cannot_be_written_or_is_of_another_kind_is_told(
    twin: TwinServer, org: SalesforceTwin
) -> None:
    org.read_only.add("Salesops_Score_Band__c")
    fields = org.fields["Opportunity"]
    fields["Salesops_Close_P50__c"] = Field("Salesops_Close_P50__c", "string", 80)
    fields["Salesops_Reasons__c"] = Field("Salesops_Reasons__c", "textarea", 300)
    fields["Salesops_Win_Probability__c"] = Field("Salesops_Win_Probability__c", "percent", scale=0)
    target = target_of(twin)
    told = {p.field: (p.problem, p.cure) for p in target.missing_fields()}
    assert {name: problem for name, (problem, _) in told.items()} == {
        "Salesops_Score_Band__c": "read_only", "Salesops_Close_P50__c": "wrong_type",
        "Salesops_Reasons__c": "wrong_type", "Salesops_Win_Probability__c": "wrong_type",
    }  # fmt: skip
    assert "2,000" in told["Salesops_Reasons__c"][1]
    outcome = target.send(plan(1))[0]
    assert isinstance(outcome, Failed)
    assert "Edit on the field" in outcome.reason


def test_the_last_calls_of_the_day_are_left_to_others(org: SalesforceTwin) -> None:
    small = SalesforceTwin.bare(10)
    small._meter().window = type(small._meter().window)(50, 86_400)
    with TwinServer(small) as twin:
        target = open_target(twin.url)
        for _ in range(47):
            target.read(["d000001"])
        with pytest.raises(Throttled, match="left to others"):
            target.read(["d000001"])
        assert twin.report()["calls"] <= 50
        assert twin.report()["above_limit"] == 0


def test_an_outbox_stays_whole_when_a_call_is_refused(
    twin: TwinServer, org: Any, tmp_path: Path
) -> None:
    outbox, target = Outbox(f"sqlite:///{tmp_path}/o.db"), target_of(twin)
    outbox.plan("run", target.place, plan(100), at=AT)
    org.hidden.add("Salesops_Reasons__c")
    with pytest.raises(WriteBackError, match=r"No such column.*resume run"):
        Delivery(outbox, target, clock=FAST).run("run")
    org.hidden.clear()
    org.scopes.clear()
    with pytest.raises(WriteBackError, match=r"scopes.*resume run"):
        Delivery(outbox, target, clock=FAST).run("run")
    org.scopes.add("api")
    assert Delivery(outbox, target, clock=FAST).run("run").confirmed == 100
    assert not org.written_unlike()


@pytest.mark.parametrize(("bulk_from", "seed"), [(2_000, 1), (20, 1), (20, 2), (20, 3)])
def test_on_a_bad_network_every_deal_stands_as_planned(
    twin: TwinServer, org: SalesforceTwin, tmp_path: Path, bulk_from: int, seed: int
) -> None:
    twin.faults = FaultPlan.of_every_kind(0.3, seed=seed)
    outbox = Outbox(f"sqlite:///{tmp_path}/o.db")
    target = target_of(twin, bulk_from=bulk_from, records_a_call=40, records_a_job=200)
    outbox.plan("run", target.place, plan(1_000), at=AT)
    backoff = Backoff(first=0.2, longest=5, attempts=50)
    Delivery(outbox, target, clock=FAST, backoff=backoff).run("run")
    report = twin.report()
    twin.faults = FaultPlan()
    assert killed_delivery.problems(target, outbox, "run", report) == []
    assert report["faults"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["open_target", "open_bulk_target"])
def test_killed_again_and_again_every_deal_stands_as_planned(tmp_path: Path, how: str) -> None:
    refuse_unplanned(
        SalesforceTwin.bare(2_000), f"salesforce_plug:{how}", open_target, tmp_path, scores=2_000
    )


def test_no_secret_is_written_anywhere(
    twin: TwinServer, org: SalesforceTwin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    desk = ApiDesk(tmp_path, TwinServer(SalesforceTwin(small("salesforce"))))
    with desk.twin:
        desk.ingest()
    twin.faults = FaultPlan({"503": 0.2, "expired_token": 0.2}, seed=3)
    outbox = Outbox(f"sqlite:///{tmp_path}/o.db")
    target = target_of(twin, bulk_from=20)
    outbox.plan("run", target.place, plan(100), at=AT)
    Delivery(outbox, target, clock=FAST, backoff=Backoff(attempts=50)).run("run")
    found = "".join(p.read_bytes().decode("latin-1") for p in tmp_path.rglob("*") if p.is_file())
    for secret in (CLIENT_SECRET, *org.sessions):
        assert secret not in found + caplog.text + repr(target.__dict__)


def test_the_clock_of_the_org_does_not_matter(twin: TwinServer, org: SalesforceTwin) -> None:
    org.skew = 9 * 3_600.0
    target = target_of(twin)
    moment = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    change = Change("d000001", "insert", None, Score(scored_at=moment), "first score")
    assert target.send([change]) == [Done()]
    assert target.read(["d000001"]) == {"d000001": Score(scored_at=moment)}
