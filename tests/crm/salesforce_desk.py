"""A Salesforce twin with the synthetic company in it, and the ways in which tests reach it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from salesops_ml.crm.ingest import IngestResult, ingest
from salesops_ml.crm.limits import Clock
from salesops_ml.crm.salesforce_target import SalesforceTarget
from salesops_ml.crm.salesforce_twin import CLIENT_ID, CLIENT_SECRET, TOKEN
from salesops_ml.crm.twin_server import TwinServer
from salesops_ml.crm_settings import SalesforceSource
from salesops_ml.settings import Settings, parse
from tests.crm.crm_desk import LOADED_AT, CrmDesk, source

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
    """The same, with Bulk jobs for all but the smallest chunks."""
    return open_target(url, clock=clock, pace_book=pace_book, bulk_from=20)


class ApiDesk(CrmDesk):
    """A warehouse that is loaded from a twin."""

    def __init__(self, folder: Path, twin: TwinServer, **more: Any) -> None:
        super().__init__(folder, "salesforce", **more)
        self.twin = twin

    @property
    def settings(self) -> Settings:
        told = {**source("salesforce"), **self.more}
        return parse({"source": connection(self.twin.url, **told), "warehouse": self.warehouse})

    def sync(self, rows: Mapping[str, Any], gone: Mapping[str, Any] = {}) -> None:
        """What people do in the CRM: rows saved, others deleted."""
        self.twin.vendor.put(rows)  # type: ignore[attr-defined]
        for name, ids in gone.items():
            for record_id in ids:
                self.twin.vendor.delete(name, record_id)  # type: ignore[attr-defined]

    def ingest(self, at: datetime = LOADED_AT) -> IngestResult:
        return ingest(self.settings, ingested_at=at)
