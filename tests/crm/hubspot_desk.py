"""A warehouse that is loaded from a HubSpot twin by its API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from salesops_ml.crm.twin_server import TwinServer
from salesops_ml.settings import Settings, parse
from tests.crm.crm_desk import source
from tests.crm.hubspot_plug import HURRY, connection
from tests.crm.twin_desk import TwinDesk


class HubSpotDesk(TwinDesk):
    """A warehouse that is loaded from a twin."""

    def __init__(self, folder: Path, twin: TwinServer, **more: Any) -> None:
        super().__init__(folder, "hubspot", twin, **{**HURRY, **more})

    @property
    def settings(self) -> Settings:
        told = {**source("hubspot"), **self.more}
        outbox = {"target": "hubspot", "outbox": f"sqlite:///{self.folder}/outbox.db"}
        return parse({"source": connection(self.twin.url, **told), "warehouse": self.warehouse,
                      "write_back": outbox})  # fmt: skip
