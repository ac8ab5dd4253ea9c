"""The twin understands HubSpot's own Python client, and answers as its documentation says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from salesops_ml.crm.hubspot_twin import TOKEN, HubSpotTwin
from salesops_ml.crm.hubspot_twin_scopes import READ, WRITE
from salesops_ml.crm.hubspot_twin_search import MalformedSearch, search
from salesops_ml.crm.twin_server import TwinServer, make_twin, serve
from salesops_ml.errors import UsageError
from tests.crm.test_crm_incremental import small
from tests.needs import missing

try:
    import hubspot
    from hubspot.crm import deals, properties
    from hubspot.crm.associations import v4
except ImportError:
    hubspot = None

OWN = "salesops_win_probability"


@pytest.fixture
def account() -> HubSpotTwin:
    return HubSpotTwin(small("hubspot"), calls=1_000).with_own_fields()


@pytest.fixture
def twin(account: HubSpotTwin) -> Iterator[TwinServer]:
    with TwinServer(account) as server:
        yield server


def client_of(twin: TwinServer, token: str = TOKEN) -> Any:
    """The client, which finds HubSpot's address in a part that each API has of its own."""
    if hubspot is None:
        missing("hubspot-api-client is not installed")

    def make(package: Any, name: str, config: Any) -> Any:
        configuration = package.Configuration(host=twin.url)
        configuration.access_token = config["access_token"]
        return getattr(package, name)(package.ApiClient(configuration=configuration))

    return hubspot.HubSpot(access_token=token, api_factory=make)


@pytest.fixture
def client(twin: TwinServer) -> Any:
    return client_of(twin)


def told(error: Any) -> Any:
    return json.loads(error.value.body)


def test_the_client_pages_through_deals(client: Any, account: HubSpotTwin) -> None:
    found = client.crm.deals.get_all(properties=["dealstage", "no_such_property"])
    assert [deal.id for deal in found] == sorted(account.objects["deals"])
    assert set(found[0].properties) == {
        "dealstage", "createdate", "hs_lastmodifieddate", "hs_object_id"
    }  # fmt: skip
    page = client.crm.deals.basic_api.get_page(limit=7)
    assert (len(page.results), page.paging.next.after) == (7, page.results[-1].id)
    with pytest.raises(deals.ApiException) as error:
        client.crm.deals.basic_api.get_page(limit=101)
    assert (error.value.status, told(error)["category"]) == (400, "VALIDATION_ERROR")


def test_the_client_reads_history_fifty_at_a_time(client: Any, account: HubSpotTwin) -> None:
    found = client.crm.deals.get_all(properties_with_history=["dealstage", "amount"])
    assert len(found) == len(account.objects["deals"])
    for deal in found:
        values = deal.properties_with_history["dealstage"]
        kept = account.history[deal.id]["dealstage"]
        assert [one.value for one in values] == [one["value"] for one in kept][::-1]
        assert values == sorted(values, key=lambda one: one.timestamp, reverse=True)
    with pytest.raises(deals.ApiException) as error:
        client.crm.deals.basic_api.get_page(limit=51, properties_with_history=["amount"])
    assert error.value.status == 400
    many = [{"id": deal.id} for deal in found[:51]]
    with pytest.raises(deals.ApiException) as error:
        client.crm.deals.batch_api.read(
            deals.BatchReadInputSimplePublicObjectId(
                properties=[], properties_with_history=["amount"], inputs=many
            )
        )
    assert "property histories is 50" in told(error)["message"]


def search_for(**more: Any) -> Any:
    return deals.PublicObjectSearchRequest(**{"limit": 200, "properties": ["amount"], **more})


def test_the_client_searches(client: Any, account: HubSpotTwin) -> None:
    ids = sorted(account.objects["deals"])
    above = {"propertyName": "hs_object_id", "operator": "GT", "value": ids[39]}
    asked = search_for(
        filter_groups=[{"filters": [above]}],
        sorts=[{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
    )
    found = client.crm.deals.search_api.do_search(asked)
    assert (found.total, [deal.id for deal in found.results]) == (60, ids[40:])
    for wrong in ({"limit": 201}, {"after": "9900", "limit": 101}):
        with pytest.raises(deals.ApiException) as error:
            client.crm.deals.search_api.do_search(search_for(**wrong))
        assert error.value.status == 400
    account.delete("deals", ids[50])
    account.unindexed.add(("deals", ids[51]))
    assert client.crm.deals.search_api.do_search(asked).total == 58


def test_the_client_meets_the_recycle_bin_and_mergers(client: Any, account: HubSpotTwin) -> None:
    gone, first, second, *_ = sorted(account.objects["deals"])
    saved = account.objects["deals"][gone]["hs_lastmodifieddate"]
    account.delete("deals", gone)
    (archived,) = client.crm.deals.get_all(archived=True)
    assert (archived.id, archived.archived) == (gone, True)
    assert archived.archived_at is not None
    assert account.objects["deals"][gone]["hs_lastmodifieddate"] == saved
    with pytest.raises(deals.ApiException) as error:
        client.crm.deals.basic_api.get_by_id(gone)
    assert error.value.status == 404
    merged = client.crm.deals.basic_api.merge(
        deals.PublicMergeInput(primary_object_id=first, object_id_to_merge=second)
    )
    found = client.crm.deals.basic_api.get_by_id(first, properties=["hs_merged_object_ids"])
    assert found.id == merged.id
    assert found.properties["hs_merged_object_ids"] == f"{first};{second}"
    live = {deal.id for deal in client.crm.deals.get_all()}
    assert not live & {gone, first, second}
    assert merged.id in live


def test_the_client_updates_a_batch_each_deal_with_its_fate(
    client: Any, account: HubSpotTwin
) -> None:
    one, two, gone, *_ = sorted(account.objects["deals"])
    account.delete("deals", gone)
    inputs = [
        {"id": one, "properties": {OWN: "0.25"}, "objectWriteTraceId": "a"},
        {"id": two, "properties": {OWN: "often"}, "objectWriteTraceId": "b"},
        {"id": gone, "properties": {OWN: "0.5"}, "objectWriteTraceId": "c"},
    ]
    done = client.crm.deals.batch_api.update({"inputs": inputs})
    assert [(deal.id, deal.object_write_trace_id) for deal in done.results] == [(one, "a")]
    assert done.num_errors == 2
    assert {error.category: error.context for error in done.errors} == {
        "VALIDATION_ERROR": {"objectWriteTraceId": ["b"]}, "OBJECT_NOT_FOUND": {"ids": [gone]},
    }  # fmt: skip
    assert "INVALID_NUMBER" in done.errors[0].message
    assert account.objects["deals"][one][OWN] == "0.25"
    assert account.history[one][OWN][-1]["sourceType"] == "INTEGRATION"
    bare = [{"id": one, "properties": {"no_such_property": "1"}}]
    with pytest.raises(deals.ApiException) as error:
        client.crm.deals.batch_api.update({"inputs": bare})
    assert "PROPERTY_DOESNT_EXIST" in told(error)["message"]
    with pytest.raises(deals.ApiException) as error:
        client.crm.deals.batch_api.update({"inputs": inputs[:1] * 101})
    assert error.value.status == 400


def test_the_client_reads_associations(client: Any, account: HubSpotTwin) -> None:
    tied, loose, *_ = sorted(account.objects["deals"])
    company = account.objects["deals"][tied]
    account.links["deals", "companies"].pop(loose, None)
    done = client.crm.associations.v4.batch_api.get_page(
        "deals", "companies",
        v4.BatchInputPublicFetchAssociationsBatchRequest(inputs=[{"id": tied}, {"id": loose}]),
    )  # fmt: skip
    ((link,),) = [result.to for result in done.results]
    assert account.links["deals", "companies"][company["id"]] == {link.to_object_id: {5}}
    assert [one.type_id for one in link.association_types] == [5]
    assert done.errors[0].sub_category == "crm.associations.NO_ASSOCIATIONS_FOUND"


def test_the_client_reads_pipelines_owners_and_properties(
    client: Any, account: HubSpotTwin
) -> None:
    lines = client.crm.pipelines.pipelines_api.get_all("deals").results
    stages = {stage.id: stage for line in lines for stage in line.stages}
    assert stages.keys() == account.tables["pipeline_stages"].keys()
    assert {stage.metadata["isClosed"] for stage in stages.values()} == {"true", "false"}
    here, left = (
        client.crm.owners.owners_api.get_page(archived=gone).results for gone in (False, True)
    )
    assert {owner.id for owner in here + left} == account.tables["owners"].keys()
    assert all(owner.user_id is None and owner.user_id_including_inactive for owner in left)
    known = {one.name: one for one in client.crm.properties.core_api.get_all("deals").results}
    assert known["hs_is_closed"].modification_metadata.read_only_value
    made = properties.PropertyCreate(
        name="salesops_note", label="Note", type="enumeration", field_type="select",
        group_name="dealinformation", options=[{"label": "A", "value": "a", "hidden": False}],
    )  # fmt: skip
    assert client.crm.properties.core_api.create("deals", made).options[0].value == "a"
    with pytest.raises(properties.ApiException) as error:
        client.crm.properties.core_api.create("deals", made)
    assert error.value.status == 409


def test_the_client_meets_limits_scopes_and_refusals(
    twin: TwinServer, client: Any, account: HubSpotTwin
) -> None:
    with pytest.raises(deals.ApiException) as error:
        client_of(twin, "someone").crm.deals.basic_api.get_page()
    assert (error.value.status, told(error)["category"]) == (401, "INVALID_AUTHENTICATION")
    account.scopes -= {WRITE, READ["deals"]}
    with pytest.raises(deals.ApiException) as error:
        client.crm.deals.batch_api.update({"inputs": []})
    assert (error.value.status, told(error)["category"]) == (403, "MISSING_SCOPES")
    assert told(error)["errors"][0]["context"] == {"requiredGranularScopes": [WRITE]}
    account.scopes.add(READ["deals"])
    told_headers = client.crm.deals.basic_api.get_page_with_http_info(limit=1)[2]
    assert told_headers["X-HubSpot-RateLimit-Max"] == "1000"
    account.searches.window = type(account.searches.window)(5, 1)
    for _ in range(5):
        client.crm.deals.search_api.do_search(search_for(limit=1))
    with pytest.raises(deals.ApiException) as error:
        client.crm.deals.search_api.do_search(search_for(limit=1))
    assert (error.value.status, told(error)["policyName"]) == (429, "SECONDLY")
    account.burst.window = type(account.burst.window)(1, 10)
    with pytest.raises(deals.ApiException) as error:
        client.crm.deals.basic_api.get_page()
    assert told(error)["policyName"] == "TEN_SECONDLY_ROLLING"
    account.daily.window = type(account.daily.window)(1, 86_400)
    with pytest.raises(deals.ApiException) as error:
        client.crm.deals.basic_api.get_page()
    assert told(error)["policyName"] == "DAILY"
    assert twin.report()["above_limit"] == 3


def test_conditions_meet_what_a_slow_loop_meets() -> None:
    rows = [{"id": str(n), "a": "xyz"[n % 3] if n % 5 else None, "b": str(n % 4),
             "hs_lastmodifieddate": f"2026-03-01T00:00:{n:02d}Z"} for n in range(60)]  # fmt: skip
    after = {"propertyName": "hs_lastmodifieddate", "operator": "GTE", "value": "1772323210000"}
    asked = {
        "filterGroups": [
            {"filters": [{"propertyName": "a", "operator": "EQ", "value": "x"}, after]},
            {"filters": [{"propertyName": "b", "operator": "IN", "values": ["3"]},
                         {"propertyName": "a", "operator": "HAS_PROPERTY"}]},
        ],
        "sorts": [{"propertyName": "hs_object_id", "direction": "DESCENDING"}], "limit": 9,
    }  # fmt: skip
    slow = [row["id"] for row in rows
            if (row["a"] == "x" and int(row["id"]) >= 10) or (row["b"] == "3" and row["a"])]  # fmt: skip
    page, total, following = search(rows, asked)
    assert [row["id"] for row in page] == sorted(slow, key=int, reverse=True)[:9]
    assert (total, following) == (len(slow), "9")
    with pytest.raises(MalformedSearch):
        search(rows, {"filterGroups": [{"filters": [{**after, "operator": "NEAR"}]}]})


def test_a_port_that_is_taken_is_said_in_a_sentence(twin: TwinServer) -> None:
    taken = int(twin.url.rsplit(":", 1)[-1])
    with pytest.raises(UsageError, match=rf"port {taken}: cannot be listened on"):
        serve("hubspot", port=taken, say=str)


def test_the_demo_has_deals_and_properties_for_scores() -> None:
    made = make_twin("hubspot")
    assert isinstance(made, HubSpotTwin)
    assert len(made.objects["deals"]) == 300
    assert OWN in made.properties
