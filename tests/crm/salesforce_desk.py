"""A warehouse that is loaded from a Salesforce twin by its API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from salesops_ml.crm.twin_server import TwinServer
from salesops_ml.settings import Settings, parse
from tests.crm.crm_desk import source
from tests.crm.salesforce_plug import connection
from tests.crm.twin_desk import TwinDesk


class ApiDesk(TwinDesk):
    """A warehouse that is loaded from a twin."""

    def __init__(self, folder: Path, twin: TwinServer, **more: Any) -> None:
        super().__init__(folder, "salesforce", twin, **more)

    @property
    def settings(self) -> Settings:
        told = {**source("salesforce"), **self.more}
        outbox = {"target": "salesforce", "outbox": f"sqlite:///{self.folder}/outbox.db"}
        return parse({"source": connection(self.twin.url, **told), "warehouse": self.warehouse,
                      "write_back": outbox})  # fmt: skip
