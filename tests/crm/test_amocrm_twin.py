"""The twin understands an independent Python client of amoCRM, and answers as the documentation says.

The vendor has no Python client; `amocrm-api-wrapper` is somebody else's reading of the same pages. Its
version 1.0.1 hands `json` to httpx's `get`, which takes none, so that no list could be read with it; its
session here drops that.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from salesops_ml.crm.amocrm_twin import TOKEN, AmoCrmTwin
from salesops_ml.crm.twin_server import TwinServer, make_twin
from tests.crm.amocrm_desk import world_rows
from tests.crm.amocrm_plug import PACE
from tests.needs import missing

try:
    import amocrm_api
    import amocrm_api.errors
    import httpx
except ImportError:
    amocrm_api = None

OWN = "SALESOPS_WIN_PROBABILITY"
ANN = 300_005


@pytest.fixture(scope="module")
def rows() -> Any:
    return world_rows(300, activities=600)


@pytest.fixture
def org(rows: Any) -> AmoCrmTwin:
    told = {name: [dict(row) for row in table] for name, table in rows.items()}
    return AmoCrmTwin(told, calls_a_second=PACE).with_own_fields()


@pytest.fixture
def twin(org: AmoCrmTwin) -> Iterator[TwinServer]:
    with TwinServer(org) as server:
        yield server


def client_of(twin: TwinServer, token: str = TOKEN) -> Any:
    if amocrm_api is None:
        missing("amocrm-api-wrapper is not installed")
    made = amocrm_api.AmoOAuthClient(token, "none", twin.url, "id", "secret", "https://example.com")
    made.retry_sleep_base = made.retry_sleep_429 = 0.05

    class Session(httpx.Client):  # type: ignore[name-defined,misc,unused-ignore]
        def get(self, url: str, *, json: Any = None, **asked: Any) -> Any:
            return super().get(url, **asked)

    made._session = Session(headers=made._auth_headers(), trust_env=False)
    return made


@pytest.fixture
def client(twin: TwinServer) -> Any:
    return client_of(twin)


def call(twin: TwinServer, method: str, path: str, body: Any = None) -> tuple[int, str, Any]:
    """One plain call: status, kind of content, and body."""
    request = urllib.request.Request(
        twin.url + path, method=method, data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )  # fmt: skip
    try:
        with urllib.request.urlopen(request) as answer:
            kind, told = answer.headers.get("Content-Type"), answer.read()
            return answer.status, kind, json.loads(told) if told else None
    except urllib.error.HTTPError as error:
        told = error.read()
        kind = error.headers["Content-Type"]
        return error.code, kind, json.loads(told) if "json" in kind else told


def test_the_client_pages_through_leads(client: Any, org: AmoCrmTwin) -> None:
    found = list(client._iter_entities("leads", limit=100, order={"id": "asc"}))
    assert [lead["id"] for lead in found] == sorted(org.tables["leads"])
    first = client.get_leads(limit=250)
    assert len(first["_embedded"]["leads"]) == 250
    assert "next" in first["_links"]
    last = client.get_leads(limit=250, page=2)
    assert "next" not in last["_links"]
    assert client.get_leads(limit=250, page=3) == {}
    lead = client.get_lead(min(org.tables["leads"]))
    for name in (
        "price",
        "status_id",
        "pipeline_id",
        "responsible_user_id",
        "loss_reason_id",
        "created_at",
        "updated_at",
        "closed_at",
        "is_deleted",
        "custom_fields_values",
    ):
        assert name in lead
    assert lead["_embedded"]["companies"][0]["id"] in org.tables["companies"]


def test_the_client_filters_and_orders(client: Any, org: AmoCrmTwin) -> None:
    stamps = sorted(row["updated_at"] for row in org.tables["leads"].values())
    filters = {"updated_at__from": stamps[100], "updated_at__to": stamps[200]}
    found = client.get_leads(filters=filters, order={"updated_at": "asc"})["_embedded"]["leads"]
    assert [lead["updated_at"] for lead in found] == stamps[100:201]
    some = sorted(org.tables["leads"])[3:9]
    chosen = client.get_leads(filter_ids=some)["_embedded"]["leads"]
    assert [lead["id"] for lead in chosen] == some
    org.filters_on = False
    ignored = client.get_leads(filter_ids=some)["_embedded"]["leads"]
    assert len(ignored) == 250
    org.people.delete(some[0], by=ANN)
    (gone,) = client.get_leads(with_params=["only_deleted"])["_embedded"]["leads"]
    assert (gone["id"], gone["is_deleted"]) == (some[0], True)
    assert client.get_lead(some[0]) == {}


def test_the_client_reads_the_history(client: Any, org: AmoCrmTwin) -> None:
    lead = next(row for row in org.tables["leads"].values() if row["status_id"] == 142)
    org.people.move(lead["id"], 30_000_001, by=ANN)
    org.people.price(lead["id"], 777, by=ANN)
    org.people.owner(lead["id"], 300_006, by=ANN)
    told = client.get_events(filter_by_type=["lead_status_changed", "sale_field_changed",
                                             "entity_responsible_changed"], limit=3)  # fmt: skip
    owner, price, move = told["_embedded"]["events"]
    assert move["value_before"] == [{"lead_status": {"id": 142, "pipeline_id": 7_000_000}}]
    assert move["value_after"][0]["lead_status"]["id"] == 30_000_001
    assert price["value_after"] == [{"sale_field_value": {"sale": 777}}]
    assert owner["value_after"] == [{"responsible_user": {"id": 300_006}}]
    assert (move["entity_id"], move["entity_type"], move["created_by"]) == (lead["id"], "lead", ANN)
    seen: list[Any] = []
    page = 1
    while found := client.get_events(page=page, limit=100, filter_by_type="lead_status_changed"):
        seen += found["_embedded"]["events"]
        page += 1
    moves = [e["id"] for e in org.events if e["type"] == "lead_status_changed"]
    assert [event["id"] for event in seen] == moves[::-1]


def test_the_client_reads_what_hangs_on_leads(client: Any, org: AmoCrmTwin) -> None:
    (pipeline,) = client.get_pipelines()["_embedded"]["pipelines"]
    assert {142, 143} <= {status["id"] for status in pipeline["_embedded"]["statuses"]}
    reasons = client.get_loss_reasons()["_embedded"]["loss_reasons"]
    assert {row["id"] for row in reasons} == set(org.tables["loss_reasons"])
    users = client.get_users(with_group=True)["_embedded"]["users"]
    assert {user["id"] for user in users} == set(org.tables["users"])
    assert users[0]["_embedded"]["groups"][0]["name"].startswith("Team")
    companies = client.get_companies(limit=250)["_embedded"]["companies"]
    assert {row["id"] for row in companies} == set(org.tables["companies"])
    tasks = client.get_tasks(limit=250)["_embedded"]["tasks"]
    assert {"entity_id", "entity_type", "is_completed", "task_type_id", "duration"} <= tasks[
        0
    ].keys()
    account = client.get_account_info(with_task_types=True, with_is_api_filter_enabled=True)
    assert account["is_api_filter_enabled"] is True
    assert account["_embedded"]["task_types"]
    assert "is_api_filter_enabled" not in client.get_account_info()


def test_the_client_makes_fields_and_writes_leads(client: Any, org: AmoCrmTwin) -> None:
    made = client.create_leads_custom_fields([{"name": "Mood", "type": "text", "code": "MOOD"}])
    field = made["_embedded"]["custom_fields"][0]["id"]
    known = client.get_leads_custom_fields(limit=50)["_embedded"]["custom_fields"]
    assert field in {row["id"] for row in known}
    some = sorted(org.tables["leads"])[:3]
    body = [{"id": lead, "custom_fields_values": [{"field_id": field, "values": [{"value": " glad "}]}]}
            for lead in some]  # fmt: skip
    done = client.update_leads(body)["_embedded"]["leads"]
    assert [(row["id"], row["request_id"]) for row in done] == [
        (lead, str(n)) for n, lead in enumerate(some)
    ]
    shown = {f["field_code"]: f["values"][0]["value"]
             for f in client.get_lead(some[0])["custom_fields_values"]}  # fmt: skip
    assert shown["MOOD"] == "glad"
    changes = client.get_events(filter_by_type=f"custom_field_{field}_value_changed")
    assert len(changes["_embedded"]["events"]) == 3
    client.update_leads(
        [{"id": some[0], "custom_fields_values": [{"field_id": field, "values": None}]}]
    )
    assert "MOOD" not in {f["field_code"] for f in client.get_lead(some[0])["custom_fields_values"]}


def test_one_wrong_lead_makes_the_whole_write_a_400_that_names_it(client: Any, org: Any) -> None:
    some = sorted(org.tables["leads"])[:2]
    field = org.fields()[OWN]["id"]
    good = {
        "id": some[0],
        "custom_fields_values": [{"field_id": field, "values": [{"value": "7"}]}],
    }
    cases = [
        ({"id": 5, "request_id": "x"}, "id"),
        ({"id": some[1], "request_id": "x", "custom_fields_values": [
            {"field_id": 1, "values": [{"value": "a"}]}]}, "custom_fields_values.0.field_id"),
        ({"id": some[1], "request_id": "x", "custom_fields_values": [
            {"field_id": field, "values": [{"value": "much"}]}]},
         "custom_fields_values.0.values.0.value"),
    ]  # fmt: skip
    for bad, path in cases:
        with pytest.raises(amocrm_api.errors.AmoException) as told:
            client.update_leads([good, bad])
        assert told.value.code == 400
        (wrong,) = told.value.error_data["validation-errors"]
        assert (wrong["request_id"], wrong["errors"][0]["path"]) == ("x", path)
        assert not org.ledger


def test_the_client_meets_the_errors_that_it_knows(twin: TwinServer, org: AmoCrmTwin) -> None:
    status, kind, told = call(twin, "GET", "/api/v4/leads?limit=251")
    assert (status, kind, told["status"]) == (400, "application/problem+json", 400)
    assert call(twin, "GET", "/api/v4/leads?filter[mood]=1")[0] == 400
    assert call(twin, "GET", "/api/v4/leads?order[price]=asc")[0] == 400
    assert call(twin, "GET", "/api/v4/events?limit=101")[0] == 400
    assert call(twin, "GET", "/api/v9/leads")[0] == 404
    assert call(twin, "PATCH", "/api/v4/leads", [{"id": 1}] * 251)[0] == 400
    assert call(twin, "POST", "/api/v4/leads/custom_fields", [{"type": "text"}] * 51)[0] == 400
    org.administrator = False
    assert call(twin, "GET", "/api/v4/users")[:2] == (403, "application/problem+json")
    org.paid = False
    assert call(twin, "GET", "/api/v4/leads")[0] == 402
    request = urllib.request.Request(
        twin.url + "/api/v4/leads", headers={"Authorization": "Bearer x"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 401
    assert json.loads(refused.value.read())["title"] == "Unauthorized"


def test_above_seven_calls_a_second_comes_a_429_and_then_a_403() -> None:
    org = AmoCrmTwin.bare(1)
    org.meters[0].window = type(org.meters[0].window)(7, 3_600.0)  # type: ignore[union-attr]
    with TwinServer(org) as twin:
        statuses = [call(twin, "GET", "/api/v4/account")[0] for _ in range(40)]
        assert statuses == [200] * 7 + [429] * 14 + [403] * 19
        assert twin.report()["above_limit"] == 33


def test_the_client_is_not_let_in_with_a_wrong_token(twin: TwinServer) -> None:
    with pytest.raises(amocrm_api.errors.AmoException) as told:
        client_of(twin, "wrong").get_leads()
    assert told.value.code == 401


def test_the_client_waits_where_it_is_told_to(twin: TwinServer, client: Any) -> None:
    from salesops_ml.crm.twin_faults import FaultPlan

    twin.faults = FaultPlan({"429": 0.3, "503": 0.3}, seed=3, at_most=6)
    client.max_retries = 9
    for _ in range(6):
        assert client.get_leads(limit=10)["_embedded"]["leads"]
    assert sum(twin.report()["faults"].values()) >= 3


def test_the_demo_has_leads_and_fields_for_scores() -> None:
    made = make_twin("amocrm")
    assert isinstance(made, AmoCrmTwin)
    assert len(made.tables["leads"]) == 300
    assert OWN in made.fields()
    assert made.limit == 7
