"""From a CRM into the warehouse: land what is new, map it, add the photographs, check, publish.

What changed little is mapped alone: the deals whose rows another load brought are taken out of the
warehouse and put back as they are now (`crm_update`). Whatever else changed - a stage, a currency, a
setting - maps everything. Both ends are the same.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from salesops_ml.crm.crm_narrow import ACTIVITIES, Narrowed, narrowed
from salesops_ml.crm.crm_update import LANDED_MARK, came_or_went, write_part
from salesops_ml.crm.deal_daily import (
    TAKEN_AT,
    book_folder,
    carried_on,
    keep,
    kept,
    photograph,
    with_daily,
    with_photographs,
)
from salesops_ml.crm.draft import Draft, joined
from salesops_ml.crm.history import complete_history
from salesops_ml.crm.landed_draft import draft_of, with_mapped
from salesops_ml.crm.landing import Landed, changes_since, land, landed_tables, landing_path
from salesops_ml.crm.settle import settle
from salesops_ml.crm.targets import pace_book
from salesops_ml.crm.vendors import Surroundings, Vendor, vendor_of
from salesops_ml.crm_settings import CrmSource
from salesops_ml.errors import DataError, SourceError
from salesops_ml.schema import CanonicalTables
from salesops_ml.settings import Settings
from salesops_ml.warehouse import Landing, Warehouse, database_path, publish

_LOG = logging.getLogger(__name__)
Progress: TypeAlias = Callable[[int], None] | None


def ingest_crm(
    settings: Settings, source: CrmSource, *, ingested_at: datetime, progress: Progress = None
) -> bool:
    """Load a CRM into the configured warehouse.

    Returns:
        Whether the warehouse is another one than before.

    Raises:
        SourceError: the CRM cannot be read, or lacks what nothing can be read without.
        DataError: the warehouse cannot be written, or the CRM holds no deals.
    """
    vendor = vendor_of(source)
    landed = land_crm(settings, source, progress=progress)
    mapping = _mapping_digest(settings, source)
    around = _around(settings, ingested_at)
    with landed_tables(landing_path(settings.warehouse)) as tables:
        mark = _mark(settings.warehouse, mapping, landed.identity)
        part = None
        if mark is not None:
            counts = changes_since(landing_path(settings.warehouse), mark)
            if not any(counts.values()) and _photographed(settings, ingested_at):
                return False
            part = narrowed(tables, vendor.shape(source), counts, since=mark)
        if part is not None:
            changed = _in_part(settings, source, vendor, tables, part, around, ingested_at, landed)
            if changed is not None:
                return changed
        whole = _whole(settings, source, vendor, tables, around, ingested_at)
    mark_now = {"number": [landed.number], "identity": [landed.identity]}
    book = {LANDED_MARK: pa.table(mark_now)}
    return publish(
        settings.warehouse, whole, ingested_at=ingested_at, landing=Landing(mapping, book)
    )


def land_crm(settings: Settings, source: CrmSource, *, progress: Progress = None) -> Landed:
    """Bring the landing up to date; nothing else changes."""
    vendor = vendor_of(source)
    book = pace_book(settings, str(getattr(source, "url", "")))
    landed = land(
        vendor.feeds(source, pace_book=book), landing_path(settings.warehouse), origin=_origin(source),
        place=str(getattr(source, "type", "the CRM")), progress=progress,
    )  # fmt: skip
    if landed.new_columns:
        _LOG.warning("the CRM has new columns: %s", ", ".join(landed.new_columns))
    return landed


def read_crm(settings: Settings, source: CrmSource, *, read_at: datetime) -> Draft:
    """What a CRM holds now, landed and mapped, before rows are checked against each other."""
    land_crm(settings, source)
    with landed_tables(landing_path(settings.warehouse)) as tables:
        return draft_of(
            vendor_of(source).mapping(tables, source, _around(settings, read_at)), source
        )


def _whole(
    settings: Settings,
    source: CrmSource,
    vendor: Vendor,
    tables: Mapping[str, ir.Table],
    around: Surroundings,
    at: datetime,
) -> CanonicalTables:
    """All deals mapped, with today's photograph taken and kept."""
    mapped = vendor.mapping(tables, source, around)
    draft = draft_of(mapped, source)
    if not draft.tables["deals"].num_rows:
        raise DataError(_no_deals(source))
    folder = book_folder(settings.warehouse)
    keep(photograph(mapped["deal_daily"].to_pyarrow(), taken_at=at), folder, day=at.date())
    return _completed(draft, kept(folder), vendor.tracked(tables, source), settings)


def _completed(
    draft: Draft, photos: pa.Table, tracked: frozenset[str], settings: Settings
) -> CanonicalTables:
    draft = _with_expected_days(with_photographs(draft, photos, tracked=tracked), settings)
    base = settings.company.base_currency
    done = with_daily(settle(draft, settings), photos)
    return complete_history(done, base_currency=base, first_values=False)


def _with_expected_days(draft: Draft, settings: Settings) -> Draft:
    """The time allowed in each stage, which no CRM knows."""
    agreed = settings.process.expected_days
    if not agreed or "stages" not in draft.tables:
        return draft
    stages = draft.tables["stages"]
    days = pa.array([agreed.get(name) for name in stages["stage"].to_pylist()], pa.float64())
    if "expected_days" not in stages.column_names:
        stages = stages.append_column("expected_days", days)
    return replace(draft, tables={**draft.tables, "stages": stages})


def _in_part(
    settings: Settings,
    source: CrmSource,
    vendor: Vendor,
    tables: Mapping[str, ir.Table],
    part: Narrowed,
    around: Surroundings,
    at: datetime,
    landed: Landed,
) -> bool | None:
    """Only the deals of `part` mapped and put in place; None where all must be mapped after all."""
    folder = book_folder(settings.warehouse)
    mapped = vendor.mapping(part.tables, source, around)
    wanted = {name: table for name, table in mapped.items() if name not in part.untouched}
    draft = draft_of(wanted, source)
    today = photograph(mapped["deal_daily"].to_pyarrow(), taken_at=at)
    others = carried_on(folder, but=part.deals, taken_at=at)
    today = keep(joined([today, others]), folder, day=at.date())
    tracked = vendor.tracked(tables, source)
    photos = kept(folder, deals=part.deals)
    try:
        done = _completed(draft, photos, tracked, settings)
        if ACTIVITIES in part.untouched and ACTIVITIES in mapped:
            part = part.with_activities(came_or_went(settings.warehouse, done, part))
            if part.hanging:
                draft = with_mapped(draft, ACTIVITIES, mapped[ACTIVITIES], source)
                done = _completed(draft, photos, tracked, settings)
    except SourceError:
        return None
    return write_part(settings.warehouse, done, part, today=today.drop_columns([TAKEN_AT]),
                      at=at, number=landed.number)  # fmt: skip


def _photographed(settings: Settings, at: datetime) -> bool:
    return (book_folder(settings.warehouse) / f"{at.date().isoformat()}.parquet").exists()


def _around(settings: Settings, at: datetime) -> Surroundings:
    company = settings.company
    return Surroundings(company.base_currency, company.time_zone, at.date(), keep=_computed)


def _computed(table: ir.Table) -> ir.Table:
    return ibis.memtable(table.to_pyarrow())


def _origin(source: CrmSource) -> str:
    """What is read from where; how it is mapped is no part of it."""
    told = source.model_dump(mode="json", exclude=set(source.NOT_READ))
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _mapping_digest(settings: Settings, source: CrmSource) -> str:
    company = settings.company
    told = [source.model_dump_json(), company.base_currency, company.time_zone,
            settings.process.model_dump_json()]  # fmt: skip
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def _mark(warehouse: str, mapping: str, identity: str) -> int | None:
    """The load that the warehouse was mapped from; None where it must be mapped anew."""
    path: Path = database_path(warehouse)
    if not path.exists():
        return None
    with Warehouse.open(warehouse) as opened:
        before = opened.landing()
    if before is None or before.source != mapping or LANDED_MARK not in before.tables:
        return None
    (mark,) = before.tables[LANDED_MARK].to_pylist()
    return int(mark["number"]) if mark.get("identity") == identity else None


def _no_deals(source: CrmSource) -> str:
    chosen = f" in the pipelines {', '.join(source.pipelines)}" if source.pipelines else ""
    return (
        f"`source`: the CRM holds no deals{chosen} that the reading user may see; check the user's "
        "rights, and the names under `source.pipelines`"
    )
