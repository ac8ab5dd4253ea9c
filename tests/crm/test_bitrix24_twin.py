"""The twin understands Bitrix24's own Python client, and answers as its documentation says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.crm.bitrix24_api import _query
from salesops_ml.crm.bitrix24_twin import CODE, USER_ID, Bitrix24Twin
from salesops_ml.crm.bitrix24_twin_query import Table, parse_php, read_page
from salesops_ml.crm.twin_server import TwinServer, make_twin
from salesops_ml.crm.twin_world_bitrix24 import bitrix24_rows
from tests.crm.bitrix24_tls import with_tls
from tests.crm.stepped_clock import Stepped
from tests.needs import missing

try:
    import b24pysdk
    from b24pysdk.errors import BitrixAPIError
except ImportError:
    b24pysdk = None

OWN = "ufCrmSalesopsWinProbability"


@pytest.fixture
def portal() -> Bitrix24Twin:
    return Bitrix24Twin.bare(5_300)


@pytest.fixture
def twin(
    portal: Bitrix24Twin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TwinServer]:
    server = TwinServer(portal)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(with_tls(server, tmp_path)))
    with server:
        yield server


def client_of(twin: TwinServer, code: str = CODE) -> Any:
    if b24pysdk is None:
        missing("b24pysdk is not installed")
    token = b24pysdk.BitrixWebhook(
        domain=twin.url.removeprefix("http://"), webhook_token=f"{USER_ID}/{code}"
    )
    return token.get_client()


@pytest.fixture
def client(twin: TwinServer) -> Any:
    return client_of(twin)


def test_the_client_reads_the_long_list_by_the_last_id(client: Any, portal: Bitrix24Twin) -> None:
    """Its fast list is a chain of commands, each with the last id of the one before."""
    asked = client.crm.item.list(entity_type_id=2, select=["id", "stageId"])
    rows = list(asked.as_list_fast().response.result)
    assert [row["id"] for row in rows] == list(portal.tables["deals"].rows)
    assert set(rows[0]) == {"id", "stageId"}


def test_the_client_counts_pages_where_it_asks_for_a_count(client: Any) -> None:
    first = client.crm.item.list(entity_type_id=2, order={"id": "ASC"}).response
    assert (len(first.result["items"]), first.next, first.total) == (50, 50, 5_300)
    uncounted = client.crm.item.list(entity_type_id=2, start=-1).response
    assert (len(uncounted.result["items"]), uncounted.next, uncounted.total) == (50, None, None)
    last = client.crm.item.list(entity_type_id=2, start=5_250).response
    assert (len(last.result["items"]), last.next) == (50, None)
    found = client.crm.item.list(
        entity_type_id=2, filter={"@id": [7, 5], ">=id": 6}, select=["id"]
    ).response.result
    assert found == {"items": [{"id": 7}]}


def test_the_client_updates_in_a_batch_and_hears_of_each(client: Any, portal: Bitrix24Twin) -> None:
    portal.delete("deals", 3)
    told = client.call_batch({
        f"d{deal}": client.crm.item.update(bitrix_id=deal, entity_type_id=2, fields={OWN: 12.345})
        for deal in (1, 2, 3)
    }).response  # fmt: skip
    assert portal.tables["deals"].rows[2][OWN] == 12.35
    assert told.result.result["d1"]["item"][OWN] == 12.35
    assert told.result.result_error["d3"]["error"] == "NOT_FOUND"
    assert set(told.result.result) == {"d1", "d2"}


def test_what_a_deal_does_not_have_is_ignored_without_a_word(client: Any, portal: Any) -> None:
    told = client.crm.item.update(
        bitrix_id=1, entity_type_id=2, fields={"ufCrmNobody": "x", OWN: "1.5"}
    ).response.result["item"]
    assert "ufCrmNobody" not in told
    assert told[OWN] == 1.5
    portal.read_only.add(OWN)
    told = client.crm.item.update(bitrix_id=1, entity_type_id=2, fields={OWN: "2.5"}).response
    assert told.result["item"][OWN] == 1.5


def test_the_client_makes_a_field_and_reads_how_it_is_described(client: Any) -> None:
    field = {"entityId": "CRM_DEAL", "fieldName": "UF_CRM_TRY_P50", "userTypeId": "date"}
    made = client.userfieldconfig.add(module_id="crm", field=field).response.result["field"]
    assert made["fieldName"] == "UF_CRM_TRY_P50"
    fields = client.crm.item.fields(entity_type_id=2).response.result["fields"]
    assert fields["ufCrm_TRY_P50"]["upperName"] == "UF_CRM_TRY_P50"
    assert (fields[OWN]["type"], fields[OWN]["settings"]["PRECISION"]) == ("double", 2)
    with pytest.raises(BitrixAPIError, match="already exists"):
        client.userfieldconfig.add(module_id="crm", field=field).response  # noqa: B018


def test_the_client_meets_the_errors_that_it_knows(
    client: Any, twin: TwinServer, portal: Bitrix24Twin
) -> None:
    from b24pysdk import errors

    with pytest.raises(errors.BitrixAPIInvalidCredentials):
        client_of(twin, "another").crm.item.fields(entity_type_id=2).response  # noqa: B018
    with pytest.raises(errors.BitrixAPIInvalidArgValue, match="not allowed in filter"):
        client.crm.item.list(entity_type_id=2, filter={"nobody": 1}).response  # noqa: B018
    with pytest.raises(errors.BitrixAPINotFound, match="Smart process not found"):
        client.crm.item.list(entity_type_id=999).response  # noqa: B018
    assert set(client.scope().response.result) == portal.scopes
    portal.scopes.clear()
    with pytest.raises(errors.BitrixAPIInsufficientScope):
        client.crm.item.fields(entity_type_id=2).response  # noqa: B018
    told = client.call_batch({"a": client.crm.item.fields(entity_type_id=2)}).response.result
    assert told.result_error["a"]["error"] == "insufficient_scope"


def test_the_client_reads_history_and_dictionaries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.crm.crm_desk import company

    rows = bitrix24_rows(company("bitrix24", 100))
    server = TwinServer(Bitrix24Twin(rows))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(with_tls(server, tmp_path)))
    with server:
        client = client_of(server)
        history = client.crm.stagehistory.list(entity_type_id=2).as_list_fast().response.result
        assert list(history) == rows["stage_history"]
        stages = client.crm.status.list(filter={"ENTITY_ID": "DEAL_STAGE"}).response.result
        assert [row["SEMANTICS"] for row in stages] == [None] * 6 + ["S", "F"]
        assert (
            client.crm.category.list(entity_type_id=2).response.result["categories"][0]["id"] == 0
        )
        users = client.user.get().as_list_fast().response.result
        assert [row["ID"] for row in users] == sorted((row["ID"] for row in rows["users"]), key=int)
        assert "EMAIL" not in client.user.get().response.result[0]
        assert client.department.get().response.result == rows["departments"]
        calls = client.crm.activity.list(
            select=["ID"], filter={"OWNER_TYPE_ID": 2, "COMPLETED": "Y"}
        ).as_list_fast().response.result  # fmt: skip
        wanted = [row["ID"] for row in rows["activities"] if row["OWNER_TYPE_ID"] == "2"]
        assert [row["ID"] for row in calls] == sorted(wanted, key=int)
        assert client.crm.currency.list().response.result == rows["currencies"]


def test_the_bucket_holds_so_many_calls(twin: TwinServer, client: Any, portal: Any) -> None:
    from b24pysdk import errors

    portal.meters[0].burst = 3
    for _ in range(3):
        client.scope().response  # noqa: B018
    with pytest.raises(errors.BitrixAPIQueryLimitExceeded):
        client._bitrix_token.call_method("scope", max_retries=1)
    assert twin.report()["above_limit"] == 1


def test_a_method_that_took_too_long_is_closed_for_ten_minutes(portal: Bitrix24Twin) -> None:
    from b24pysdk import errors

    portal.seconds = {"crm.item.fields": 200.0}
    with TwinServer(portal, clock=Stepped()) as server:
        assert server.url
        told = [portal._called(call("crm.item.fields"), "1", CODE, "crm.item.fields").status
                for _ in range(4)]  # fmt: skip
        assert told == [200, 200, 200, 429]
        refused = portal._called(call("crm.item.fields"), "1", CODE, "crm.item.fields")
        time = refused.body["time"]
        assert time["operating"] == 600.0
        portal.clock.sleep(time["operating_reset_at"] - time["finish"])
        assert portal._called(call("crm.item.fields"), "1", CODE, "crm.item.fields").status == 200
        others = portal._called(call("scope"), "1", CODE, "scope")
        assert others.status == 200
    assert refused.body["error"] == errors.BitrixAPIOperationTimeLimit.ERROR


def call(method: str) -> Any:
    from salesops_ml.crm.twin_vendor import Request

    body = json.dumps({"entityTypeId": 2}).encode()
    return Request(
        "POST", f"/rest/1/{CODE}/{method}", {}, {"content-type": "application/json"}, body
    )


values = st.recursive(
    st.text(max_size=8),
    lambda inner: st.lists(inner, min_size=1, max_size=3)
    | st.dictionaries(st.text(st.characters(categories=["L"]), min_size=1, max_size=5), inner,
                      min_size=1, max_size=3),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(told=st.dictionaries(st.text(st.characters(categories=["L"]), min_size=1, max_size=5), values,
                            min_size=1, max_size=4))  # fmt: skip
def test_parameters_survive_the_way_into_a_batch(told: dict[str, Any]) -> None:
    method, _, query = _query("m", told).partition("?")
    assert (method, parse_php(query)) == ("m", told)


def test_parameters_are_written_as_the_client_writes_them() -> None:
    if b24pysdk is None:
        missing("b24pysdk is not installed")
    from b24pysdk.utils.encoding import encode_params

    asked = {"entityTypeId": 2, "filter": {">id": "$result[p1][items][49][id]", "@stageId": ["NEW"]},
             "select": ["id", "title"], "fields": {"ufCrmX": "a&b=ü\n%"}}  # fmt: skip
    assert _query("crm.item.list", asked) == f"crm.item.list?{encode_params(asked)}"


def test_conditions_meet_what_a_slow_loop_meets() -> None:
    rows = {n: {"ID": n, "a": n % 7, "at": f"2026-03-{n % 28 + 1:02}T01:00:00+03:00"}
            for n in range(1, 400)}  # fmt: skip
    asked = {"filter": {">=a": "3", "!a": 5, "<at": "2026-03-20T00:00:00+00:00", ">ID": 30}}
    page = read_page(Table("ID", rows), {**asked, "start": -1}, known=None)
    slow = [n for n, row in rows.items()
            if n > 30 and row["a"] in (3, 4, 6) and (n % 28 + 1) <= 20]  # fmt: skip
    assert [row["ID"] for row in page.rows] == slow[:50]


def test_the_demo_has_deals_and_fields_for_scores() -> None:
    made = make_twin("bitrix24")
    assert isinstance(made, Bitrix24Twin)
    assert len(made.tables["deals"].rows) == 300
    assert OWN in made.fields["deals"]
