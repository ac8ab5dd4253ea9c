"""A warehouse that is loaded from a Bitrix24 twin by its API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from salesops_ml.crm.twin_server import TwinServer
from salesops_ml.crm.twin_world import Rows
from salesops_ml.settings import Settings, parse
from tests.crm.bitrix24_plug import QUICK, connection
from tests.crm.crm_desk import source, vendor_rows
from tests.crm.twin_desk import TwinDesk


def small() -> Rows:
    """A hundred deals with few activities, so that loads are quick."""
    rows = vendor_rows("bitrix24", 100)
    return {**rows, "activities": rows["activities"][:300]}


class PortalDesk(TwinDesk):
    """A warehouse that is loaded from a twin, as fast as a patient portal bears."""

    def __init__(self, folder: Path, twin: TwinServer, **more: Any) -> None:
        self.folder, self.twin, self.more = folder, twin, {**QUICK, **more}

    @property
    def settings(self) -> Settings:
        """Settings that read the twin into the warehouse."""
        told = connection(self.twin.url, **{**source("bitrix24"), **self.more})
        outbox = {"target": "bitrix24", "outbox": f"sqlite:///{self.folder}/outbox.db"}
        return parse({"source": told, "warehouse": self.warehouse, "write_back": outbox})
