"""From the configured source into the warehouse: read, complete histories, check, publish.

The warehouse changes all at once or not at all: a load that fails, or is interrupted, leaves the last
good one. The same content twice changes nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from salesops_ml.crm.cursor import merged
from salesops_ml.crm.draft import Draft
from salesops_ml.crm.history import complete_history
from salesops_ml.crm.settle import settle
from salesops_ml.crm.source import Progress, read_draft
from salesops_ml.crm_settings import CrmSource
from salesops_ml.settings import Settings
from salesops_ml.warehouse import Landing, Warehouse, database_path, publish


@dataclass(frozen=True)
class IngestResult:
    """What a load did.

    Attributes:
        changed: whether the warehouse is another one than before.
        rows: rows in the warehouse, by canonical table.
        counts: source rows used or left, by reason.
        rejects: values that could not be used; they stand in the warehouse's `rejects`.
    """

    changed: bool
    rows: dict[str, int]
    counts: dict[str, int]
    rejects: int


def ingest(
    settings: Settings, *, ingested_at: datetime, progress: Progress | None = None
) -> IngestResult:
    """Load the configured source into the configured warehouse.

    Args:
        settings: the run's settings.
        ingested_at: the moment of this load, naive UTC; it is noted, nothing is computed from it.
        progress: called now and then with the number of rows read so far.

    Raises:
        SourceError: the source cannot be read as it stands.
        ConfigError: the mapping names what is not there.
        DataError: the warehouse cannot be written, or the source has no deals.
    """
    if isinstance(settings.source, CrmSource):
        return _ingest_crm(settings, settings.source, ingested_at, progress)
    before = _landed(settings.warehouse)
    draft, landing = _laid_over(before, settings, read_draft(settings, progress=progress))
    tables = settle(draft, settings)
    tables = complete_history(tables, base_currency=settings.company.base_currency)
    changed = publish(settings.warehouse, tables, ingested_at=ingested_at, landing=landing)
    rows = {name: table.num_rows for name, table in tables.tables.items()}
    return IngestResult(changed, rows, dict(tables.counts), tables.rejects.num_rows)


def _ingest_crm(
    settings: Settings, source: CrmSource, at: datetime, progress: Progress | None
) -> IngestResult:
    """A CRM is landed first; what is told is what the warehouse holds then."""
    from salesops_ml.crm.crm_ingest import ingest_crm

    changed = ingest_crm(settings, source, ingested_at=at, progress=progress)
    with Warehouse.open(settings.warehouse) as warehouse:
        counts = [f"SELECT '{name}', count(*) FROM \"{name}\"" for name in warehouse.names()]
        told = warehouse.connection.con.execute(" UNION ALL ".join(counts)).fetchall()
        return IngestResult(changed, dict(told), warehouse.counts(), warehouse.rejects().num_rows)


def _laid_over(before: Landing | None, settings: Settings, draft: Draft) -> tuple[Draft, Landing]:
    """What was read, laid over what earlier loads by the same mapping landed."""
    source = hashlib.sha256(settings.source.model_dump_json().encode()).hexdigest()
    known = before.tables if before is not None and before.source == source else {}
    draft, landed = merged(draft, known)
    return draft, Landing(source, landed)


def _landed(url: str) -> Landing | None:
    if not database_path(url).exists():
        return None
    with Warehouse.open(url) as warehouse:
        return warehouse.landing()
