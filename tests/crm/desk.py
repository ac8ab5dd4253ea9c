"""A small company's files, and a desk to map and load them from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from salesops_ml.crm import IngestResult, ingest, read_source
from salesops_ml.schema import CanonicalTables
from salesops_ml.settings import Settings, parse
from salesops_ml.warehouse import Warehouse

DEALS = """id,owner,state,opened,closed,value
d1,ann,Won,2026-01-05,2026-02-01,100.00
d2,bob,Lost,2026-01-06,2026-02-02,50.00
d3,ann,New,2026-01-07,,75.50
d4,bob,New,2026-01-08,,20.00
d5,cas,Won,2026-01-09,2026-03-01,10.00
"""
EVENTS = """deal,step,when
d1,Offer,2026-01-10
d1,Won,2026-02-01
d2,Offer,2026-01-11
d2,Lost,2026-02-02
d3,Offer,2026-01-12
d5,Offer,2026-01-20
d5,Won,2026-03-01
"""
DEAL_COLUMNS = {
    "deal_id": "id", "rep_id": "owner", "status": "state", "created_at": "opened",
    "closed_at": "closed", "amount": "value",
}  # fmt: skip
EVENT_COLUMNS = {"deal_id": "deal", "stage": "step", "entered_at": "when"}
STATUS = {"Won": "won", "Lost": "lost", "New": "open"}
LOADED_AT = datetime(2026, 6, 1)


@dataclass(frozen=True)
class Desk:
    """A folder with files, and settings that map them."""

    folder: Path

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file and return its path."""
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def settings(self, tables: dict[str, Any], **more: Any) -> Settings:
        """Settings for a `files` source; relative paths are meant from the folder."""
        zone = more.pop("time_zone", "UTC")
        mapped = {
            name: [self._placed(part) for part in (parts if isinstance(parts, list) else [parts])]
            for name, parts in tables.items()
        }
        source = {"type": "files", "time_zone": zone, "tables": mapped}
        url = f"duckdb:///{self.folder}/store/w.duckdb"
        return parse({"source": source, "warehouse": url, **more})

    def _placed(self, part: dict[str, Any]) -> dict[str, Any]:
        lookups = {
            name: {**lookup, "path": str(self.folder / lookup["path"])}
            for name, lookup in part.get("lookup", {}).items()
        }
        return {**part, "path": str(self.folder / part["path"]), "lookup": lookups}

    def deals(self, content: str | bytes = DEALS, **more: Any) -> dict[str, Any]:
        """The mapping of `deals.csv`, written with `content`."""
        self.write("deals.csv", content)
        return {
            "path": "deals.csv", "columns": DEAL_COLUMNS, "values": {"status": STATUS}, **more
        }  # fmt: skip

    def events(self, content: str | bytes = EVENTS, **more: Any) -> dict[str, Any]:
        """The mapping of `events.csv`, written with `content`."""
        self.write("events.csv", content)
        return {"path": "events.csv", "columns": EVENT_COLUMNS, **more}

    def read(self, tables: dict[str, Any], **more: Any) -> CanonicalTables:
        """What the source gives."""
        return read_source(self.settings(tables, **more))

    def ingest(self, tables: dict[str, Any], **more: Any) -> IngestResult:
        """Load the source."""
        return ingest(self.settings(tables, **more), ingested_at=LOADED_AT)

    def stored(self, name: str) -> list[dict[str, Any]]:
        """A table of the warehouse, sorted by all its columns."""
        with Warehouse.open(f"duckdb:///{self.folder}/store/w.duckdb") as warehouse:
            table = warehouse.table(name).to_pyarrow()
        return rows(table)

    def stored_rejects(self) -> list[dict[str, Any]]:
        """The rejects in the warehouse."""
        with Warehouse.open(f"duckdb:///{self.folder}/store/w.duckdb") as warehouse:
            return warehouse.rejects().to_pylist()

    def left_overs(self) -> list[str]:
        """Files and folders of unfinished loads."""
        return [path.name for path in self.folder.rglob(".ingest-*")]


def rows(table: pa.Table) -> list[dict[str, Any]]:
    """Rows in an order that does not depend on the table's."""
    return sorted(table.to_pylist(), key=lambda row: [str(value) for value in row.values()])
