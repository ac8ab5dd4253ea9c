"""Scores into amoCRM: fields of ours, what the account refuses, kills, and a bad network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.crm.amocrm_fields import OWN_FIELDS, from_amocrm, to_amocrm
from salesops_ml.crm.amocrm_target import AmoCrmTarget
from salesops_ml.crm.amocrm_twin import TOKEN, AmoCrmTwin
from salesops_ml.crm.amocrm_twin_fields import OWN_KINDS, kept
from salesops_ml.crm.delivery import Delivery
from salesops_ml.crm.limits import Backoff, Clock
from salesops_ml.crm.outbox import Outbox
from salesops_ml.crm.target import GONE, Done, Failed
from salesops_ml.crm.targets import check_fields
from salesops_ml.crm.twin_faults import FaultPlan
from salesops_ml.crm.twin_server import TwinServer
from salesops_ml.errors import Refused, WriteBackError
from salesops_ml.scoring.fields import Score
from salesops_ml.scoring.plan import Change
from tests.crm import killed_delivery
from tests.crm.amocrm_desk import AmoDesk, small
from tests.crm.amocrm_plug import FIRST, numbered, open_numbered_target, open_target
from tests.crm.any_scores import any_scores
from tests.crm.killed_delivery import AT
from tests.crm.killed_target import refuse_unplanned

FAST = Clock(50.0)


@pytest.fixture
def org() -> AmoCrmTwin:
    return AmoCrmTwin.bare(1_000)


@pytest.fixture
def twin(org: AmoCrmTwin) -> Iterator[TwinServer]:
    with TwinServer(org, clock=FAST) as server:
        yield server


def plan(count: int) -> list[Change]:
    return [replace(c, deal_id=numbered(c.deal_id)) for c in killed_delivery.scores(count)]


def target_of(twin: TwinServer, **more: Any) -> AmoCrmTarget:
    return open_target(twin.url, clock=FAST, **more)


def own(org: AmoCrmTwin, code: str) -> dict[str, Any]:
    field: dict[str, Any] = org.fields()[code]
    return field


@settings(max_examples=200, deadline=None)
@given(score=any_scores, zone=st.sampled_from(["Europe/Moscow", "UTC"]))
def test_what_is_sent_is_kept_as_it_reads(score: Score, zone: str) -> None:
    """Days are kept as midnight in Moscow, which is no midnight of UTC; then read on either clock."""
    sent = to_amocrm(score)
    stored = {code: kept(kind, sent[code]) for code, kind in OWN_KINDS if sent[code] is not None}
    as_stored = from_amocrm(sent, ZoneInfo(zone))
    assert from_amocrm(stored, ZoneInfo("Europe/Moscow")) == as_stored
    assert from_amocrm(to_amocrm(as_stored), ZoneInfo(zone)) == as_stored
    chances = score.win_probability, as_stored.win_probability
    assert (chances[0] is None) == (chances[1] is None)
    if chances[0] is not None and chances[1] is not None:
        assert abs(chances[0] - chances[1]) <= 5.1e-5


@pytest.mark.parametrize("filters", [True, False])
def test_a_chunk_stands_as_planned(twin: TwinServer, org: AmoCrmTwin, filters: bool) -> None:
    org.filters_on = filters
    target = target_of(twin)
    changes = plan(250)
    assert target.send(changes) == [Done()] * 250
    some = changes[:60]
    assert target.read([c.deal_id for c in some]) == {
        c.deal_id: target.as_stored(c.new or Score()) for c in some
    }
    emptied = [Change(c.deal_id, "withdraw", c.new, None, "closed") for c in some]
    assert target.send(emptied) == [Done()] * 60
    assert set(target.read([c.deal_id for c in emptied]).values()) == {Score()}
    assert twin.report()["above_limit"] == 0


def test_nothing_but_fields_of_ours_is_written(twin: TwinServer, org: AmoCrmTwin) -> None:
    theirs = org.make_field({"name": "Mood", "code": "MOOD", "type": "text"})
    lead = org.tables["leads"][FIRST]
    mood = {"field_id": theirs["id"], "field_code": "MOOD", "values": [{"value": "glad"}]}
    lead["custom_fields_values"] = [mood]
    before = {name: value for name, value in lead.items() if not name.startswith("updated")}
    target_of(twin).send(plan(1))
    after = dict(lead)
    assert mood in after["custom_fields_values"]
    assert len(after["custom_fields_values"]) == 1 + len(OWN_FIELDS)
    for name, value in before.items():
        assert name == "custom_fields_values" or after[name] == value


@pytest.mark.parametrize("leaves_out", [False, True])
def test_each_deal_has_its_own_outcome_in_order(
    twin: TwinServer, org: AmoCrmTwin, leaves_out: bool
) -> None:
    org.leaves_out = leaves_out
    changes = plan(200)
    org.people.delete(FIRST + 7, by=1)
    org.people.merge(FIRST + 300, FIRST + 9, by=1)
    field = own(org, "SALESOPS_REASONS")["id"]

    def on_fridays(given: Any) -> str | None:
        values = {f["field_id"]: f["values"] for f in given["custom_fields_values"]}
        return "Not on Fridays" if values.get(field) == [{"value": "no"}] else None

    org.rules = on_fridays
    changes[11] = replace(changes[11], new=Score(reasons="no"))
    changes += [Change("99999999", "insert", None, Score(band="low"), ""),
                Change("no-number", "insert", None, Score(band="low"), "")]  # fmt: skip
    told = dict(zip([c.deal_id for c in changes], target_of(twin).send(changes), strict=True))
    for gone in (str(FIRST + 7), str(FIRST + 9), "99999999", "no-number"):
        assert told.pop(gone) == Failed(GONE.reason)
    ruled = told.pop(str(FIRST + 11))
    assert isinstance(ruled, Failed)
    assert ruled.permanent
    assert "Not on Fridays" in ruled.reason
    assert set(told.values()) == {Done()}
    assert not org.written_unlike()


def test_fields_are_checked_before_the_first_write_and_made_on_request() -> None:
    org = AmoCrmTwin.bare(10)
    org.tables["lead_fields"].clear()
    with TwinServer(org, clock=FAST) as twin:
        target = target_of(twin)
        with pytest.raises(WriteBackError, match=r"SALESOPS_REASONS` is missing: create"):
            check_fields(target)
        with pytest.raises(Refused, match="create-fields"):
            target.send(plan(1))
        org.administrator = False
        with pytest.raises(Refused, match="administrator"):
            check_fields(target, create=True)
        org.administrator = True
        twin.faults = FaultPlan({"drop_after": 1.0}, seed=1, paths=".*custom_fields", at_most=3)
        assert len(check_fields(target, create=True)) == len(OWN_FIELDS)
        assert len(org.tables["lead_fields"]) == len(OWN_FIELDS)
        assert all(field["is_api_only"] for field in org.tables["lead_fields"].values())
        assert check_fields(target) == []
        assert target.send(plan(1)) == [Done()]


def test_fields_that_people_made_by_name_will_do(twin: TwinServer, org: AmoCrmTwin) -> None:
    org.tables["lead_fields"].clear()
    for number in range(120):
        org.make_field({"name": f"Other {number}", "type": "text"})
    for field in org.with_own_fields().tables["lead_fields"].values():
        if field["code"]:
            field["name"], field["code"] = field["code"].lower(), None
    target = target_of(twin)
    assert target.missing_fields() == []
    assert target.send(plan(3)) == [Done()] * 3


def test_a_field_that_cannot_be_written_or_is_of_another_kind_is_told(
    twin: TwinServer, org: AmoCrmTwin
) -> None:
    own(org, "SALESOPS_SCORE_BAND")["is_computed"] = True
    own(org, "SALESOPS_CLOSE_P50")["type"] = "text"
    del org.tables["lead_fields"][own(org, "SALESOPS_MODEL_VERSION")["id"]]
    org.lists.forget()
    told = {p.field: p.problem for p in target_of(twin).missing_fields()}
    assert told == {"SALESOPS_SCORE_BAND": "read_only", "SALESOPS_CLOSE_P50": "wrong_type",
                    "SALESOPS_MODEL_VERSION": "missing"}  # fmt: skip


def test_an_outbox_stays_whole_when_a_call_is_refused(
    twin: TwinServer, org: AmoCrmTwin, tmp_path: Path
) -> None:
    outbox, target = Outbox(f"sqlite:///{tmp_path}/o.db"), target_of(twin)
    outbox.plan("run", target.place, plan(600), at=AT)
    assert target.missing_fields() == []
    field = own(org, "SALESOPS_REASONS")
    del org.tables["lead_fields"][field["id"]]
    with pytest.raises(WriteBackError, match=r"a field for scores is gone.*resume run"):
        Delivery(outbox, target, clock=FAST).run("run")
    org.tables["lead_fields"][field["id"]] = field
    org.has_data = False
    with pytest.raises(WriteBackError, match=r"administrator.*resume run"):
        Delivery(outbox, target, clock=FAST).run("run")
    org.has_data = True
    org.tokens.clear()
    with pytest.raises(WriteBackError, match=r"does not know the credentials.*resume run"):
        Delivery(outbox, target, clock=FAST).run("run")
    org.tokens.add(TOKEN)
    assert Delivery(outbox, target, clock=FAST).run("run").confirmed == 600
    assert not org.written_unlike()


@pytest.mark.parametrize(("seed", "filters"), [(1, True), (2, False)])
def test_on_a_bad_network_every_deal_stands_as_planned(
    twin: TwinServer, org: AmoCrmTwin, tmp_path: Path, seed: int, filters: bool
) -> None:
    org.filters_on = filters
    twin.faults = FaultPlan.of_every_kind(0.3 if filters else 0.1, seed=seed)
    outbox = Outbox(f"sqlite:///{tmp_path}/o.db")
    target = target_of(twin, records_a_call=40)
    outbox.plan("run", target.place, plan(600), at=AT)
    backoff = Backoff(first=0.2, longest=5, attempts=50)
    Delivery(outbox, target, clock=FAST, backoff=backoff).run("run")
    report = twin.report()
    twin.faults, org.filters_on = FaultPlan(), True
    found = killed_delivery.problems(target_of(twin), outbox, "run", report)
    assert found == []
    assert report["faults"]


@pytest.mark.slow
def test_killed_again_and_again_every_deal_stands_as_planned(tmp_path: Path) -> None:
    refuse_unplanned(
        AmoCrmTwin.bare(3_000),
        "amocrm_plug:open_numbered_target",
        open_numbered_target,
        tmp_path,
        scores=3_000,
    )


def test_no_secret_is_written_anywhere(
    twin: TwinServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    desk = AmoDesk(tmp_path, TwinServer(small()))
    with desk.twin:
        desk.ingest()
    twin.faults = FaultPlan({"503": 0.2, "expired_token": 0.2}, seed=3)
    outbox = Outbox(f"sqlite:///{tmp_path}/o.db")
    target = target_of(twin)
    outbox.plan("run", target.place, plan(100), at=AT)
    Delivery(outbox, target, clock=FAST, backoff=Backoff(attempts=50)).run("run")
    found = "".join(p.read_bytes().decode("latin-1") for p in tmp_path.rglob("*") if p.is_file())
    assert TOKEN not in found + caplog.text + repr(target.__dict__)


def test_the_clock_of_the_account_does_not_matter(twin: TwinServer, org: AmoCrmTwin) -> None:
    org.skew = 9 * 3_600.0
    target = target_of(twin)
    moment = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    change = Change(str(FIRST), "insert", None, Score(scored_at=moment), "first score")
    assert target.send([change]) == [Done()]
    assert target.read([str(FIRST)]) == {str(FIRST): Score(scored_at=moment)}
