"""A warehouse that is loaded from a Bitrix24 twin by its API."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from salesops_ml.crm.ingest import IngestResult, ingest
from salesops_ml.crm.twin_server import TwinServer
from salesops_ml.crm.twin_world import Rows
from salesops_ml.crm.twin_world_bitrix24 import BITRIX24_FIELDS, bitrix24_rows, with_bitrix24_ids
from salesops_ml.schema import CanonicalTables
from salesops_ml.settings import Settings, parse
from salesops_ml.source_settings import SyntheticSource
from salesops_ml.synthetic import generate, parameters_from
from salesops_ml.warehouse import Warehouse
from tests.crm.bitrix24_plug import connection

LOADED_AT = datetime(2026, 11, 27, 9)
CUSTOM = {
    "campaign": {"column": "UF_CRM_CAMPAIGN", "known": "at_creation"},
    "signed_by": {"column": "ufCrmSignedBy", "known": "at_close"},
}


@cache
def company(deals: int = 300) -> CanonicalTables:
    """The synthetic company with Bitrix24's ids."""
    return with_bitrix24_ids(generate(parameters_from(SyntheticSource(deals=deals))))


@cache
def _rows(deals: int) -> Rows:
    return bitrix24_rows(company(deals))


def vendor_rows(deals: int = 300) -> Rows:
    """The company's rows at Bitrix24, to be changed at will."""
    return {name: [dict(row) for row in rows] for name, rows in _rows(deals).items()}


def small() -> Rows:
    """A hundred deals with few activities, so that loads are quick."""
    rows = vendor_rows(100)
    return {**rows, "activities": rows["activities"][:300]}


def source(**more: Any) -> dict[str, Any]:
    """The settings of the source, but for how it is reached."""
    return {"custom_fields": CUSTOM, "canonical_fields": BITRIX24_FIELDS,
            "calls_a_second": 100, "burst": 10_000, **more}  # fmt: skip


class PortalDesk:
    """A folder with a warehouse that is loaded from a twin; the twin bears as many calls as we make."""

    def __init__(self, folder: Path, twin: TwinServer, **more: Any) -> None:
        self.folder, self.twin, self.more = folder, twin, more

    @property
    def warehouse(self) -> str:
        """The warehouse's URL."""
        return f"duckdb:///{self.folder}/store/w.duckdb"

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

    def ingest(self, at: datetime = LOADED_AT) -> IngestResult:
        """Load the warehouse."""
        return ingest(self.settings, ingested_at=at)

    def stored(self, name: str) -> list[dict[str, Any]]:
        """A canonical table of the warehouse, in its own order."""
        return self.everything().get(name, [])

    def everything(self) -> dict[str, list[dict[str, Any]]]:
        """All canonical tables that hold a row, and the rejects."""
        with Warehouse.open(self.warehouse) as warehouse:
            told = {
                name: sorted(warehouse.table(name).to_pyarrow().to_pylist(), key=str)
                for name in warehouse.names()
            }
            told["rejects"] = sorted(warehouse.rejects().to_pylist(), key=str)
        return {name: rows for name, rows in told.items() if rows}
