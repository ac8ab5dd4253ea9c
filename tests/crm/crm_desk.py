"""A CRM's tables as a loader lands them in a DuckDB file, and a warehouse that is loaded from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from salesops_ml.crm.ingest import IngestResult, ingest
from salesops_ml.crm.landing import Feed
from salesops_ml.crm.sql_layouts import TABLE_LAYOUTS
from salesops_ml.crm.twin_world import (
    SALESFORCE_FIELDS,
    Row,
    Rows,
    salesforce_rows,
    with_hubspot_ids,
    with_salesforce_ids,
)
from salesops_ml.crm.twin_world_amocrm import AMOCRM_FIELDS, amocrm_rows, with_amocrm_ids
from salesops_ml.crm.twin_world_bitrix24 import BITRIX24_FIELDS, bitrix24_rows, with_bitrix24_ids
from salesops_ml.crm.twin_world_hubspot import HUBSPOT_FIELDS, hubspot_rows
from salesops_ml.schema import CanonicalTables
from salesops_ml.settings import Settings, parse
from salesops_ml.source_settings import SyntheticSource
from salesops_ml.synthetic import generate, parameters_from
from salesops_ml.warehouse import Warehouse

LOADED_AT = datetime(2026, 11, 27, 9)
CUSTOM = {
    "salesforce": {
        "campaign": {"column": "Campaign__c", "known": "at_creation"},
        "competitor": {"column": "Competitor__c", "known": "over_time"},
        "signed_by": {"column": "Signed_By__c", "known": "at_close"},
    },
    "hubspot": {
        "campaign": {"known": "at_creation"},
        "competitor": {"known": "over_time"},
        "signed_by": {"known": "at_close"},
    },
    "bitrix24": {
        "campaign": {"column": "UF_CRM_CAMPAIGN", "known": "at_creation"},
        "signed_by": {"column": "ufCrmSignedBy", "known": "at_close"},
    },
    "amocrm": {
        "campaign": {"column": "CAMPAIGN", "known": "at_creation"},
        "competitor": {"column": "COMPETITOR", "known": "over_time"},
        "signed_by": {"column": "SIGNED_BY", "known": "at_close"},
    },
}
FIELDS = {
    "salesforce": SALESFORCE_FIELDS, "hubspot": HUBSPOT_FIELDS, "bitrix24": BITRIX24_FIELDS,
    "amocrm": AMOCRM_FIELDS,
}  # fmt: skip
IDS = {
    "salesforce": with_salesforce_ids, "hubspot": with_hubspot_ids, "bitrix24": with_bitrix24_ids,
    "amocrm": with_amocrm_ids,
}  # fmt: skip
ROWS = {
    "salesforce": salesforce_rows, "hubspot": hubspot_rows, "bitrix24": bitrix24_rows,
    "amocrm": amocrm_rows,
}  # fmt: skip


@cache
def company(vendor: str, deals: int = 300) -> CanonicalTables:
    """The synthetic company with a vendor's ids."""
    world = generate(parameters_from(SyntheticSource(deals=deals)))
    return IDS[vendor](world)


@cache
def _rows(vendor: str, deals: int) -> Rows:
    return ROWS[vendor](company(vendor, deals))


def vendor_rows(vendor: str, deals: int = 300) -> Rows:
    """The company's rows at a vendor, to be changed at will."""
    return {name: [dict(row) for row in rows] for name, rows in _rows(vendor, deals).items()}


def source(vendor: str, **more: Any) -> dict[str, Any]:
    """The settings that every source of a vendor shares."""
    return {"custom_fields": CUSTOM[vendor], "canonical_fields": FIELDS[vendor], **more}


class CrmDesk:
    """A folder with a loader's tables, and the warehouse beside them."""

    def __init__(self, folder: Path, vendor: str, loader: str = "fivetran", **more: Any) -> None:
        self.folder, self.vendor, self.loader = folder, vendor, loader
        self.layout = TABLE_LAYOUTS[f"{loader}_{vendor}"]
        self.syncs = 0
        self.more = more

    @property
    def settings(self) -> Settings:
        """Settings that read the tables into the warehouse."""
        told = source(self.vendor, **self.more)
        landed = {"type": "sql", "url": f"duckdb:///{self.folder}/landed.duckdb", **told,
                  "layout": f"{self.loader}_{self.vendor}"}  # fmt: skip
        return parse({"source": landed, "warehouse": self.warehouse})

    @property
    def warehouse(self) -> str:
        """The warehouse's URL."""
        return f"duckdb:///{self.folder}/store/w.duckdb"

    def sync(self, rows: Mapping[str, list[Row]], gone: Mapping[str, Iterable[Any]] = {}) -> None:
        """What the loader does: rows laid over those that are there, gone ones marked."""
        self.syncs += 1
        with duckdb.connect(str(self.folder / "landed.duckdb")) as raw:
            for name, fresh in rows.items():
                if name in self.layout.tables and fresh:
                    self._land(raw, name, fresh)
            for name, ids in gone.items():
                table = self.layout.tables[name].names[0].lower()
                raw.execute(
                    f'UPDATE "{table}" SET _fivetran_deleted = true, _fivetran_synced = ? '
                    f"WHERE {self._column(name, self.layout.tables[name].key[0])} IN ?",
                    [self._synced(), list(ids)],
                )

    def _land(self, raw: Any, name: str, fresh: list[Row]) -> None:
        spec = self.layout.tables[name]
        table = _snake(spec.names[0])
        marks = {"_fivetran_synced": self._synced(), "_fivetran_deleted": False}
        landed = pa.Table.from_pylist(
            [
                {self._column(name, key): value for key, value in row.items()} | marks
                for row in fresh
            ]
        )
        kinds = [
            pa.field(field.name, pa.string() if pa.types.is_null(field.type) else field.type)
            for field in landed.schema
        ]
        raw.register("fresh", landed.cast(pa.schema(kinds)))
        raw.execute(f'CREATE TABLE IF NOT EXISTS "{table}" AS SELECT * FROM fresh LIMIT 0')
        for column, kind, *_ in raw.execute("DESCRIBE fresh").fetchall():
            raw.execute(f'ALTER TABLE "{table}" ADD COLUMN IF NOT EXISTS "{column}" {kind}')
        keys = [self._column(name, key) for key in spec.key]
        same = " AND ".join(f'o."{key}" = n."{key}"' for key in keys)
        raw.execute(f'DELETE FROM "{table}" o USING fresh n WHERE {same}')
        raw.execute(f'INSERT INTO "{table}" BY NAME SELECT * FROM fresh')
        raw.unregister("fresh")

    def _column(self, name: str, column: str) -> str:
        """The vendor's column as the loader names it."""
        theirs = {ours: loader for loader, ours in self.layout.tables[name].columns.items()}
        return theirs.get(column, _snake(column))

    def _synced(self, number: int = 0) -> datetime:
        """When a row was synced: one after the other, as a loader writes them."""
        return datetime(2026, 1, 1) + timedelta(minutes=self.syncs, microseconds=number)

    def ingest(self, at: datetime = LOADED_AT) -> IngestResult:
        """Load the warehouse."""
        return ingest(self.settings, ingested_at=at)

    def stored(self, name: str) -> list[Row]:
        """A canonical table of the warehouse, in its own order."""
        with Warehouse.open(self.warehouse) as warehouse:
            if name not in warehouse.names():
                return []
            return sorted(warehouse.table(name).to_pyarrow().to_pylist(), key=str)

    def everything(self) -> dict[str, list[Row]]:
        """All canonical tables that hold a row, and the rejects."""
        with Warehouse.open(self.warehouse) as warehouse:
            told = {
                name: sorted(warehouse.table(name).to_pyarrow().to_pylist(), key=str)
                for name in warehouse.names()
            }
            told["rejects"] = sorted(warehouse.rejects().to_pylist(), key=str)
        return {name: rows for name, rows in told.items() if rows}


def _snake(name: str) -> str:
    """A name as loaders write it: AccountId -> account_id.

    >>> _snake("OpportunityFieldHistory"), _snake("Loss_Reason__c")
    ('opportunity_field_history', 'loss_reason_c')
    """
    told = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
    while "__" in told:
        told = told.replace("__", "_")
    return told.strip("_")


def feeds_of(rows: Mapping[str, list[Row]], keys: Mapping[str, tuple[str, ...]]) -> list[Feed]:
    """Rows as a vendor's API would page them out."""

    def feed(name: str) -> Feed:
        def read(_: Any) -> Iterator[list[Row]]:
            for start in range(0, len(rows[name]), 500):
                yield rows[name][start : start + 500]

        return Feed(name, keys.get(name, ("Id",)), read)

    return [feed(name) for name in rows]
