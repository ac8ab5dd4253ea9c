"""A warehouse that is loaded from a HubSpot twin by its API."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from salesops_ml.crm.ingest import IngestResult, ingest
from salesops_ml.crm.twin_server import TwinServer
from salesops_ml.settings import Settings, parse
from tests.crm.crm_desk import LOADED_AT, CrmDesk, source
from tests.crm.hubspot_plug import HURRY, connection


class HubSpotDesk(CrmDesk):
    """A warehouse that is loaded from a twin."""

    def __init__(self, folder: Path, twin: TwinServer, **more: Any) -> None:
        super().__init__(folder, "hubspot", **{**HURRY, **more})
        self.twin = twin

    @property
    def settings(self) -> Settings:
        told = {**source("hubspot"), **self.more}
        outbox = {"target": "hubspot", "outbox": f"sqlite:///{self.folder}/outbox.db"}
        return parse({"source": connection(self.twin.url, **told), "warehouse": self.warehouse,
                      "write_back": outbox})  # fmt: skip

    def sync(self, rows: Mapping[str, Any], gone: Mapping[str, Any] = {}) -> None:
        """What people do in the CRM: rows saved, others deleted."""
        self.twin.vendor.put(rows)  # type: ignore[attr-defined]
        for name, ids in gone.items():
            for record_id in ids:
                self.twin.vendor.delete(name, record_id)  # type: ignore[attr-defined]

    def ingest(self, at: datetime = LOADED_AT) -> IngestResult:
        return ingest(self.settings, ingested_at=at)
