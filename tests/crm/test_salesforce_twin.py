"""The twin understands Salesforce's own Python client, and answers as its documentation says."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import pytest

from salesops_ml.crm.salesforce_twin import CLIENT_ID, CLIENT_SECRET, TOKEN, SalesforceTwin
from salesops_ml.crm.salesforce_twin_query import MalformedQuery, read_query
from salesops_ml.crm.twin_server import TwinServer, make_twin
from tests.needs import missing

try:
    import requests
    import simple_salesforce
except ImportError:
    simple_salesforce = None

OWN = "Salesops_Win_Probability__c"


@pytest.fixture
def org() -> SalesforceTwin:
    return SalesforceTwin.bare(4_500)


@pytest.fixture
def twin(org: SalesforceTwin) -> Iterator[TwinServer]:
    with TwinServer(org) as server:
        yield server


def session_to(twin: TwinServer) -> Any:
    """A session that calls the twin where the client, which knows https only, calls Salesforce."""

    class Twinned(requests.adapters.HTTPAdapter):  # type: ignore[name-defined,misc,unused-ignore]
        def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            request.url = twin.url + "/" + request.url.split("/", 3)[3]
            return super().send(request, *args, **{**kwargs, "verify": False})

    session = requests.Session()
    session.mount("https://", Twinned())
    return session


@pytest.fixture
def client(twin: TwinServer) -> Any:
    if simple_salesforce is None:
        missing("simple-salesforce is not installed")
    return simple_salesforce.Salesforce(
        instance_url="https://twin.example", session_id=TOKEN, version="64.0",
        session=session_to(twin),
    )  # fmt: skip


def test_the_client_logs_in(twin: TwinServer) -> None:
    if simple_salesforce is None:
        missing("simple-salesforce is not installed")
    there = simple_salesforce.Salesforce(
        consumer_key=CLIENT_ID, consumer_secret=CLIENT_SECRET, domain="twin.my", version="64.0",
        session=session_to(twin),
    )  # fmt: skip
    assert there.query("SELECT COUNT() FROM Opportunity")["totalSize"] == 4_500
    with pytest.raises(simple_salesforce.exceptions.SalesforceAuthenticationFailed):
        simple_salesforce.Salesforce(
            consumer_key=CLIENT_ID, consumer_secret="wrong", domain="twin.my",
            session=session_to(twin),
        )  # fmt: skip


def test_the_client_pages_through_a_query(client: Any, org: SalesforceTwin) -> None:
    first = client.query("SELECT Id FROM Opportunity ORDER BY Id")
    assert (len(first["records"]), first["done"], first["totalSize"]) == (2_000, False, 4_500)
    whole = client.query_all("SELECT Id, StageName FROM Opportunity ORDER BY Id")["records"]
    assert [row["Id"] for row in whole] == sorted(org.tables["Opportunity"])
    org.delete("Opportunity", "d000001")
    told = client.query_all("SELECT Id FROM Opportunity WHERE Id = 'd000001'", include_deleted=True)
    assert told["totalSize"] == 1
    assert client.query("SELECT Id FROM Opportunity WHERE Id = 'd000001'")["totalSize"] == 0
    assert client.api_usage["api-usage"].total == 100_000


def test_the_client_meets_the_errors_that_it_knows(client: Any, org: SalesforceTwin) -> None:
    errors = simple_salesforce.exceptions
    for soql, code in [("SELECT Nothing FROM Opportunity", "INVALID_FIELD"),
                       ("SELECT Id FROM Nothing", "INVALID_TYPE"),
                       ("SELECT FROM Nothing", "MALFORMED_QUERY")]:  # fmt: skip
        with pytest.raises(errors.SalesforceMalformedRequest) as told:
            client.query(soql)
        assert told.value.content[0]["errorCode"] == code
    org.sessions.clear()
    with pytest.raises(errors.SalesforceExpiredSession):
        client.query("SELECT Id FROM Opportunity")


def test_the_client_describes_and_updates_a_collection(client: Any, org: SalesforceTwin) -> None:
    fields = {field["name"]: field for field in client.Opportunity.describe()["fields"]}
    assert (fields[OWN]["type"], fields[OWN]["scale"]) == ("percent", 2)
    records = [
        {"attributes": {"type": "Opportunity"}, "id": deal, OWN: 12.345}
        for deal in ("d000003", "d000002", "nobody")
    ]
    told = client.restful(
        "composite/sobjects", method="PATCH", json={"allOrNone": False, "records": records}
    )
    assert [(one["id"], one["success"]) for one in told] == [
        ("d000003", True), ("d000002", True), ("nobody", False)
    ]  # fmt: skip
    assert told[2]["errors"][0]["statusCode"] == "INVALID_CROSS_REFERENCE_KEY"
    assert org.tables["Opportunity"]["d000003"][OWN] == 12.35
    many = [{"attributes": {"type": "Opportunity"}, "id": "d000001"}] * 201
    with pytest.raises(simple_salesforce.exceptions.SalesforceMalformedRequest):
        client.restful("composite/sobjects", method="PATCH", json={"records": many})


def test_the_client_updates_in_bulk(client: Any, org: SalesforceTwin) -> None:
    org.bulk.seconds = 0.0
    org.delete("Opportunity", "d000009")
    records = [{"Id": f"d{n:06}", OWN: "50.5"} for n in range(20)]
    told = client.bulk2.Opportunity.update(records=records)
    assert [(job["numberRecordsProcessed"], job["numberRecordsFailed"]) for job in told] == [
        (20, 1)
    ]
    bad = list(
        csv.DictReader(io.StringIO(client.bulk2.Opportunity.get_failed_records(told[0]["job_id"])))
    )
    assert [(row["sf__Id"], row["sf__Error"].split(":")[0]) for row in bad] == [
        ("d000009", "ENTITY_IS_DELETED")
    ]
    good = csv.DictReader(
        io.StringIO(client.bulk2.Opportunity.get_successful_records(told[0]["job_id"]))
    )
    ids = [row["sf__Id"] for row in good]
    assert len(ids) == 19
    assert ids != sorted(ids)
    assert org.tables["Opportunity"]["d000000"][OWN] == 50.5


def test_an_empty_value_in_bulk_keeps_and_a_mark_empties(client: Any, org: SalesforceTwin) -> None:
    org.bulk.seconds = 0.0
    org.save("d000001", {OWN: 10.0})
    org.save("d000002", {OWN: 10.0})
    client.bulk2.Opportunity.update(
        records=[{"Id": "d000001", OWN: ""}, {"Id": "d000002", OWN: "#N/A"}]
    )
    assert org.tables["Opportunity"]["d000001"][OWN] == 10.0
    assert org.tables["Opportunity"]["d000002"][OWN] is None


def test_the_day_has_so_many_calls(client: Any, org: SalesforceTwin) -> None:
    limited = SalesforceTwin.bare(5)
    limited._meter().window = type(limited._meter().window)(3, 86_400)
    with TwinServer(limited) as server:
        there = simple_salesforce.Salesforce(
            instance_url="https://twin.example", session_id=TOKEN, session=session_to(server),
            version="64.0",
        )  # fmt: skip
        for _ in range(3):
            there.query("SELECT Id FROM Opportunity")
        with pytest.raises(simple_salesforce.exceptions.SalesforceRefusedRequest) as told:
            there.query("SELECT Id FROM Opportunity")
        assert told.value.content[0]["errorCode"] == "REQUEST_LIMIT_EXCEEDED"
        assert server.report()["above_limit"] == 1


def test_ten_locators_are_kept(client: Any) -> None:
    pages = [client.query("SELECT Id FROM Opportunity") for _ in range(11)]
    with pytest.raises(simple_salesforce.exceptions.SalesforceMalformedRequest) as told:
        client.query_more(pages[0]["nextRecordsUrl"], identifier_is_url=True)
    assert told.value.content[0]["errorCode"] == "INVALID_QUERY_LOCATOR"
    assert (
        len(client.query_more(pages[1]["nextRecordsUrl"], identifier_is_url=True)["records"])
        == 2_000
    )


@pytest.mark.parametrize("soql", [
    "SELECT Id", "SELECT Id FROM A WHERE", "SELECT Id FROM A WHERE B ~ 1", "SELECT Id FROM A WHERE B =",
    "SELECT Id FROM A WHERE (B = 1", "SELECT Id FROM A ORDER BY B DESC", "SELECT Id FROM A WHERE B = x",
])  # fmt: skip
def test_what_is_no_query_is_refused(soql: str) -> None:
    with pytest.raises(MalformedQuery):
        read_query(soql)


def test_conditions_meet_what_a_slow_loop_meets() -> None:
    rows = [{"Id": f"{n}", "a": n % 3 if n % 5 else None, "b": f"{n % 4}"} for n in range(60)]
    query = read_query(
        "SELECT Id FROM T WHERE (a > 0 OR b = '3') AND b IN ('1', '3') AND a != null "
        "ORDER BY a, Id LIMIT 7"
    )
    slow = []
    for row in rows:
        a, b = row["a"], row["b"]
        if a is not None and (a > 0 or b == "3") and b in ("1", "3"):
            slow.append(row)
    assert query.rows(rows) == sorted(slow, key=lambda row: (row["a"], row["Id"]))[:7]


def test_the_demo_has_deals_and_fields_for_scores() -> None:
    made = make_twin("salesforce")
    assert isinstance(made, SalesforceTwin)
    assert len(made.tables["Opportunity"]) == 300
    assert OWN in made.visible("Opportunity")
