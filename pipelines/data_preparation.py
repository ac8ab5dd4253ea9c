"""Phase 3, data preparation: what was known about each deal on each day, and nothing more.

The phase builds the snapshots with their features, splits them by time, and has the audit try to
catch a feature that could not have been known.
"""

from __future__ import annotations

import json

from pipelines.job import Job
from salesops_ml.app.deal_model import Prepared, prepare_dataset, restore_prepared
from salesops_ml.snapshots import FeatureSpec, learn_spec

STEPS = (("snapshots", 14.0), ("leakage audit", 9.0))


def run(job: Job) -> None:
    """Write dataset.parquet, feature_spec.json, borders.json and leakage_audit.json."""
    with job.warehouse() as warehouse:
        as_of = job.as_of(warehouse)
        with job.progress.step("snapshots"):
            spec = learn_spec(warehouse, job.settings, as_of=as_of)
            prepared = prepare_dataset(warehouse, spec, job.settings, as_of=as_of)
            _write(job, prepared, spec)
        with job.progress.step("leakage audit"):
            from salesops_ml.app.leakage import audit_prepared

            report = audit_prepared(warehouse, prepared, spec, job.settings, as_of=as_of)
            job.folder.write_json("leakage_audit", report)
            job.progress.say(f"leakage audit: {report['verdict']}")
            for found in report["findings"]:
                if found["verdict"] != "ok":
                    job.progress.say("{verdict}: {check}: {column}: {evidence}".format(**found))


def load(job: Job) -> tuple[Prepared, FeatureSpec]:
    """What this phase left in the run folder."""
    spec = FeatureSpec.from_json(json.dumps(job.folder.read_json("feature_spec")))
    if job.prepared is None:
        data, borders = job.folder.read_frame("dataset"), job.folder.read_json("borders")
        job.prepared = restore_prepared(data, borders)
    return job.prepared, spec


def _write(job: Job, prepared: Prepared, spec: FeatureSpec) -> None:
    job.folder.write_frame("dataset", prepared.data)
    job.folder.write_json("feature_spec", json.loads(spec.to_json()))
    borders = prepared.borders
    told = {k: v.isoformat() for k, v in vars(borders).items()} if borders else None
    job.folder.write_json("borders", told)
    counts = prepared.block.value_counts()
    job.progress.say(
        "looks: " + ", ".join(f"{counts.get(b, 0):,} {b}" for b in ("train", "calibration", "test"))
    )
