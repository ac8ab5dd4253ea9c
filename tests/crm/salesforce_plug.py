"""How tests and benchmarks reach a Salesforce twin; needs nothing else of the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from salesops_ml.crm.limits import Clock
from salesops_ml.crm.salesforce_source import OBJECTS
from salesops_ml.crm.salesforce_target import SalesforceTarget
from salesops_ml.crm.salesforce_twin import CLIENT_ID, CLIENT_SECRET, TOKEN, SalesforceTwin
from salesops_ml.crm.twin_world import Row, Rows
from salesops_ml.crm_settings import SalesforceSource

SECRETS = {"SALESFORCE_SECRET": CLIENT_SECRET, "SALESFORCE_TOKEN": TOKEN}


def connection(url: str, **more: Any) -> dict[str, Any]:
    """How the twin is reached, as a configuration has it."""
    os.environ.update(SECRETS)
    return {"type": "salesforce", "url": url, "client_id": CLIENT_ID,
            "client_secret": "env:SALESFORCE_SECRET", **more}  # fmt: skip


def open_target(
    url: str, *, clock: Clock | None = None, pace_book: Path | None = None, timeout: float = 60.0,
    **more: Any,
) -> SalesforceTarget:  # fmt: skip
    """The target that writes into the twin."""
    told = SalesforceSource.model_validate(connection(url, **more))
    return SalesforceTarget(told, clock=clock, pace_book=pace_book, timeout=timeout)


def open_bulk_target(url: str, *, clock: Clock, pace_book: Path) -> SalesforceTarget:
    """The same, with many small Bulk jobs."""
    return open_target(
        url, clock=clock, pace_book=pace_book, bulk_from=20, records_a_job=200, calls_at_once=3
    )


def open_collections_target(url: str, *, clock: Clock, pace_book: Path) -> SalesforceTarget:
    """The same, with no Bulk jobs at all."""
    return open_target(url, clock=clock, pace_book=pace_book, bulk_from=10_000)


def make_twin(rows: Rows) -> SalesforceTwin:
    """The twin of a company."""
    return SalesforceTwin(rows)


def state(there: SalesforceTwin) -> Iterator[tuple[str, tuple[str, ...], list[Row]]]:
    """The landed tables as they should be, but for what settings name beside."""
    for name, fields in OBJECTS.items():
        rows = there.tables.get(name, {}).values()
        live = [row for row in rows if not row.get("IsDeleted")]
        yield name, ("Id",), [{f: row[f] for f in fields if f in row} for row in live]
