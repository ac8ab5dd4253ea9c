"""Phase 2, data understanding: load the history, check it, and see what really happens.

Ingest fills the warehouse, all or nothing; quality checks say what can be trusted; process mining
shows how deals move, where they get stuck and what that costs; KPIs say how the team stands.
"""

from __future__ import annotations

from pipelines.job import Job
from salesops_ml.app.environment import describe_environment
from salesops_ml.crm.ingest import ingest
from salesops_ml.snapshots import later_than_the_end
from salesops_ml.warehouse import Warehouse

STEPS = (
    ("ingest", 8.0),
    ("data quality", 3.0),
    ("process mining", 14.0),
    ("KPIs", 8.0),
)


def run(job: Job) -> None:
    """Write environment.json, data_quality.json, the mining tables, the map, and kpis.parquet."""
    with job.progress.step("ingest"):
        result = ingest(job.settings, ingested_at=job.started_at)
        job.progress.say(_told(result.rows, result.rejects, result.changed))
        environment = describe_environment(job.settings, row_counts=result.rows)
        job.folder.write_json("environment", environment | {"source_counts": result.counts})
    with job.warehouse() as warehouse:
        as_of = job.as_of(warehouse)
        if warning := later_than_the_end(warehouse, as_of=as_of):
            job.progress.say(warning)
        with job.progress.step("data quality"):
            from salesops_ml.quality.report import quality_report

            job.folder.write_json("data_quality", quality_report(warehouse, as_of=as_of))
        with job.progress.step("process mining"):
            if warehouse.has("stage_events"):
                _mine(job, warehouse)
            else:
                job.progress.say("no stage history: no process map, no bottlenecks")
        with job.progress.step("KPIs"):
            from salesops_ml.kpis import compute_kpis

            kpis = compute_kpis(warehouse, as_of=as_of, settings=job.settings)
            job.folder.write_frame("kpis", kpis)


def _mine(job: Job, warehouse: Warehouse) -> None:
    from salesops_ml.app.process_page import write_pages
    from salesops_ml.mining.run import mine

    found = mine(warehouse, as_of=job.as_of(warehouse), settings=job.settings)
    found.write(job.folder.path)
    models = [model.to_dict() for model in found.models]
    held = found.conformance.summary() if found.conformance is not None else None
    job.folder.write_json("discovery", {"models": models, "conformance": held})
    write_pages(found, job.settings, job.folder.path)


def _told(rows: dict[str, int], rejects: int, changed: bool) -> str:
    deals, events = rows.get("deals", 0), rows.get("stage_events", 0)
    state = "" if changed else ", nothing new"
    return f"{deals:,} deals, {events:,} stage events, {rejects:,} rejects{state}"
