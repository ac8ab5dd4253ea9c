"""How the report was made, so that it can be made again, and what its words mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from salesops_ml.app.report_files import RunFiles
from salesops_ml.app.report_parts import counted
from salesops_ml.figures.numbers import UNKNOWN, day, days

SOURCES = {
    "synthetic": "a synthetic company",
    "files": "files",
    "event_log": "an event log",
}


@dataclass(frozen=True)
class MethodSection:
    """Facts by name, and the glossary."""

    facts: Mapping[str, str]
    glossary: Mapping[str, str]


def build_method(files: RunFiles) -> MethodSection:
    """The section from environment.json, config.yaml and dataset.parquet."""
    return MethodSection(_data(files) | _made(files), _glossary(files))


def _data(files: RunFiles) -> dict[str, str]:
    settings, data = files.settings, files.dataset
    source = SOURCES.get(settings.source.type, settings.source.type)
    facts = {"Source": source, "As of": day(files.today, short=False)}
    if "created_at" in data.columns and len(data):
        facts["Deals learned from"] = (
            f"{counted(data['deal_id'].nunique(), 'deal')} begun {day(data['created_at'].min())}"
            f" to {day(data['created_at'].max())}, in {counted(len(data), 'look')}"
        )
    if "split" in data.columns and len(data):
        deals = data.groupby("split")["deal_id"].nunique()
        kinds = {"train": "to learn", "calibration": "to calibrate", "test": "to judge"}
        told = [f"{counted(deals[k], 'deal')} {w}" for k, w in kinds.items() if k in deals.index]
        facts["Split by time"] = ", ".join(told)
    rows = files.values("environment").get("row_counts") or {}
    if rows:
        facts["Rows read"] = ", ".join(f"{n:,} {k.replace('_', ' ')}" for k, n in rows.items() if n)
    return facts


def _made(files: RunFiles) -> dict[str, str]:
    settings, made = files.settings, files.values("environment")
    libraries = made.get("libraries") or {}
    told = [f"{name} {number}" for name, number in libraries.items()]
    version = files.scores["model_version"].iloc[0] if len(files.scores) else None
    return {
        "Horizon": f"{days(settings.models.horizon_days)}: a chance is that of winning by then",
        "Model in use": str(version or "none: the run stopped before its models were promoted"),
        "Run": files.folder.run_id,
        "Seed": str(made.get("seed", settings.seed)),
        "Git revision": str(made.get("git_revision") or UNKNOWN),
        "Python": str(made.get("python") or UNKNOWN),
        "Libraries": ", ".join(told) or UNKNOWN,
    }


def _glossary(files: RunFiles) -> dict[str, str]:
    horizon = days(files.settings.models.horizon_days)
    target = f"{files.settings.mining.target_quantile:.0%}"
    return {
        "Chance": f"probability that the deal is won within {horizon} of the day of the report",
        "Expected": "amount times chance, summed over deals",
        "80% range": "what should hold in four cases out of five; the record says whether it did",
        "Already won": "amounts of deals won so far in the period",
        "From open deals": "each open deal's amount times its chance of being won in the period",
        "From deals to come": "what deals that do not exist yet usually bring",
        "Corrected by the trend": "what a forecast of past totals adds or takes off, by its record",
        "Missed by": "sum of distances between forecast and actual, as a share of the actual amounts",
        "Log-loss": "mean surprise at what happened, given the chances told; 0 is a perfect oracle",
        "Calibration": "whether of the deals with a chance of 30% three in ten are won",
        "Cost of delay": "won amount a month that deals lose, or win later, because a kind of deal"
        " waits longer in a stage than comparable deals; found by tests with a bound on false findings",
        "If half met the target": f"what would be won more if half of the deals left a stage within"
        f" the agreed days, or where none are agreed as fast as the quickest {target}: a ceiling, not a"
        " finding",
        "Leakage audit": "history is rebuilt with the future deleted, then corrupted; a feature that"
        " changes would have known the future",
    }
