"""A warehouse that is loaded from a Bitrix24 twin by its API."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from salesops_ml.crm.twin_server import TwinServer
from salesops_ml.settings import Settings, parse
from tests.crm.bitrix24_plug import connection
from tests.crm.bitrix24_world import source
from tests.crm.crm_desk import CrmDesk

QUICK = {"calls_a_second": 100, "burst": 10_000}


class PortalDesk(CrmDesk):
    """A warehouse that is loaded from a twin, as fast as a patient portal bears."""

    def __init__(self, folder: Path, twin: TwinServer, **more: Any) -> None:
        self.folder, self.twin, self.more = folder, twin, {**QUICK, **more}

    @property
    def settings(self) -> Settings:
        """Settings that read the twin into the warehouse."""
        told = connection(self.twin.url, **source(**self.more))
        return parse({"source": told, "warehouse": self.warehouse})

    def sync(self, rows: Mapping[str, Any], gone: Mapping[str, Any] = {}) -> None:
        """What people do in the portal: rows saved, others deleted."""
        self.twin.vendor.put(rows)  # type: ignore[attr-defined]
        for name, ids in gone.items():
            for record_id in ids:
                self.twin.vendor.delete(name, record_id)  # type: ignore[attr-defined]
