"""A warehouse that is loaded from a vendor's twin by its API."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from salesops_ml.crm.twin_server import TwinServer
from tests.crm.crm_desk import CrmDesk


class TwinDesk(CrmDesk):
    """What the desks of all twins share; `settings` says how each is reached."""

    def __init__(self, folder: Path, vendor: str, twin: TwinServer, **more: Any) -> None:
        super().__init__(folder, vendor, **more)
        self.twin = twin

    def sync(self, rows: Mapping[str, Any], gone: Mapping[str, Any] = {}) -> None:
        """What people do in the CRM: rows saved, others deleted."""
        self.twin.vendor.put(rows)  # type: ignore[attr-defined]
        for name, ids in gone.items():
            for record_id in ids:
                self.twin.vendor.delete(name, record_id)  # type: ignore[attr-defined]
