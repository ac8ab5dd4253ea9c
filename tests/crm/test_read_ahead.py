"""Several readings at once give what one after the other gives, in its order, or the first error."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from salesops_ml.crm.bitrix24_twin import Bitrix24Twin
from salesops_ml.crm.hubspot_twin import HubSpotTwin
from salesops_ml.crm.landing import landing_path
from salesops_ml.crm.read_ahead import Step, Together, Walk, in_order
from salesops_ml.crm.salesforce_twin import SalesforceTwin
from salesops_ml.crm.twin_faults import FaultPlan
from salesops_ml.crm.twin_server import TwinServer
from salesops_ml.crm.twin_vendor import TwinVendor
from salesops_ml.errors import SourceError
from tests.crm.amocrm_desk import AmoDesk
from tests.crm.amocrm_desk import small as amocrm
from tests.crm.bitrix24_desk import PortalDesk
from tests.crm.bitrix24_desk import small as bitrix24
from tests.crm.crm_desk import CrmDesk
from tests.crm.hubspot_desk import HubSpotDesk
from tests.crm.hubspot_plug import QUICK
from tests.crm.salesforce_desk import ApiDesk
from tests.crm.test_crm_incremental import small
from tests.crm.test_hubspot_source import rows_of


def counted(name: str, pages: int) -> Callable[[Any], Iterator[Step]]:
    """Steps of two tables that tell from where they were read."""

    def steps(since: Any) -> Iterator[Step]:
        for number in range(pages):
            yield {name: [{"n": number, "since": since}], f"{name}_beside": [{"n": -number}]}

    return steps


def read(walk: Walk, since: Any) -> tuple[list[Any], list[Any]]:
    return [*walk.read(since)], [*walk.beside(walk.tables[1])]


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("since", [None, 7])
def test_rows_come_in_the_walks_own_order(at_once: int, since: Any) -> None:
    together = Together(at_once)
    walks = [together.walk([name, f"{name}_beside"], counted(name, 50)) for name in "abcde"]
    for walk in walks:
        own, beside = read(walk, since)
        assert own == [[{"n": number, "since": since}] for number in range(50)]
        assert beside == [[{"n": -number}] for number in range(50)]
    together.closing(str)()


def test_a_first_load_begins_all_walks_before_the_first_ends() -> None:
    together, met = Together(3), threading.Barrier(3, timeout=30)

    def steps(_: Any) -> Iterator[Step]:
        met.wait()
        yield {"table": [{"n": 1}]}

    walks = [together.walk(["table"], steps) for _ in range(3)]
    assert [[*walk.read(None)] for walk in walks] == [[[{"n": 1}]]] * 3
    together.closing(str)()


def test_what_landed_before_is_not_read_anew_where_deals_did_not() -> None:
    together = Together(2)
    deals, calls = (together.walk([n, f"{n}_beside"], counted(n, 3)) for n in ("deals", "calls"))
    assert len(read(deals, None)[0]) == 3
    assert [page[0]["since"] for page in read(calls, 9)[0]] == [9, 9, 9]
    together.closing(str)()


def test_a_table_that_is_new_begins_no_other_walk() -> None:
    together, begun = Together(2), []

    def steps(since: Any) -> Iterator[Step]:
        begun.append(since)
        yield {"table": pa.table({"n": [1]})}

    deals, quotes = (together.walk(["table"], steps) for _ in range(2))
    assert [page.num_rows for page in deals.read(5)] == [1]
    assert [page.num_rows for page in quotes.read(None)] == [1]
    assert begun == [5, None]
    together.closing(str)()


def test_a_failure_anywhere_ends_the_load_at_once() -> None:
    together, failed = Together(2), threading.Event()

    def endless(_: Any) -> Iterator[Step]:
        while True:
            failed.wait(30)
            yield {"deals": [{"n": 1}]}

    def broken(_: Any) -> Iterator[Step]:
        yield {"calls": [{"n": 1}]}
        failed.set()
        raise SourceError("the vendor is gone")

    deals = together.walk(["deals"], endless)
    together.walk(["calls"], broken)
    with pytest.raises(SourceError, match="the vendor is gone"):
        for _ in deals.read(None):
            pass
    together.closing(str)()


def test_calls_in_order_are_under_way_at_once_and_fail_as_they_are_asked_for() -> None:
    met = threading.Barrier(3, timeout=30)

    def call(number: int) -> int:
        if number < 3:
            met.wait()
        if number == 4:
            raise SourceError("the fourth failed")
        return 10 * number

    given = in_order(call, range(9), 3)
    assert [next(given) for _ in range(4)] == [0, 10, 20, 30]
    with pytest.raises(SourceError, match="fourth"):
        next(given)


AT_ONCE = 4
Make = Callable[[], TwinVendor]
VENDORS: dict[str, tuple[Make, Callable[..., CrmDesk]]] = {
    "hubspot": (lambda: HubSpotTwin(rows_of(), calls=QUICK), HubSpotDesk),
    "salesforce": (lambda: SalesforceTwin(small("salesforce")), ApiDesk),
    "amocrm": (amocrm, AmoDesk),
    "bitrix24": (lambda: Bitrix24Twin(bitrix24(), burst=10_000), PortalDesk),
}
"""Each vendor's twin, and what loads from it."""


@pytest.mark.slow
@pytest.mark.parametrize("vendor", VENDORS)
def test_several_calls_are_in_flight_and_the_tables_are_equal(tmp_path: Path, vendor: str) -> None:
    """Answers that take their time, a tenth of the calls failing: never more than are allowed."""
    make, desk_of = VENDORS[vendor]
    with TwinServer(make()) as twin:
        alone = desk_of(tmp_path / "alone", twin, calls_at_once=1)
        alone.ingest()
        assert twin.report()["most_in_flight"] == 1
        twin.latency = 0.05
        twin.vendor.calls_at_once = AT_ONCE
        twin.faults = FaultPlan({"503": 0.05, "drop_after": 0.05}, seed=3)
        several = desk_of(tmp_path / "several", twin, calls_at_once=AT_ONCE)
        several.ingest()
        report = twin.report()
        assert several.everything() == alone.everything()
    assert 2 < report["most_in_flight"] <= AT_ONCE
    assert (report["above_calls_at_once"], report["above_limit"]) == (0, 0)
    assert report["faults"]


@pytest.mark.slow
def test_a_first_load_that_is_interrupted_ends_though_calls_are_under_way(tmp_path: Path) -> None:
    """Ctrl-C while every thread waits for an answer that will not come for an hour."""
    with TwinServer(VENDORS["hubspot"][0]()) as twin:
        desk = HubSpotDesk(tmp_path, twin)
        config = tmp_path / "crm.yaml"
        config.write_text(yaml.safe_dump(json.loads(desk.settings.model_dump_json())))
        program = "from salesops_ml.cli import main; main()"
        command = [sys.executable, "-c", program, "ingest", "--config", str(config)]
        setting_up = 20
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            while process.poll() is None and twin.report()["calls"] < setting_up:
                time.sleep(0.01)
            twin.latency = 3_600.0
            while process.poll() is None and twin.report()["most_in_flight"] < 3:
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=60)
        finally:
            process.kill()
        assert process.returncode == 1, told
        assert told == "salesops: interrupted; nothing half-written was left\n"
        assert not landing_path(desk.warehouse).exists()
