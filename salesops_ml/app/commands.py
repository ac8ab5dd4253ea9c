"""What each command of the command line does, as a text for people and values for machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from salesops_ml.app.told import Told
from salesops_ml.periods import parse_moment
from salesops_ml.settings import Settings, SyntheticSource
from salesops_ml.warehouse import Warehouse, truth_folder

if TYPE_CHECKING:
    from salesops_ml.forecasts.combine import Weights
    from salesops_ml.forecasts.pipeline_roll_up import ScoredPipeline
    from salesops_ml.forecasts.what_if import Change


def synth(settings: Settings) -> Told:
    """Make and load the synthetic company, whatever source the configuration names."""
    source = settings.source
    if not isinstance(source, SyntheticSource):
        settings = settings.model_copy(update={"source": SyntheticSource()})
    told = ingest(settings)
    return Told(f"{told.text}\ntruth: {truth_folder(settings.warehouse)}", told.values)


def ingest(settings: Settings) -> Told:
    """Load the source."""
    from salesops_ml.crm.ingest import ingest as load

    result = load(settings, ingested_at=_now())
    lines = [f"{name:<22} {count:>10,}" for name, count in result.rows.items()]
    lines.append(f"{'rejects':<22} {result.rejects:>10,}")
    if not result.changed:
        lines.append("nothing new: the warehouse is as it was")
    return Told("\n".join(lines), vars(result))


def profile(settings: Settings) -> Told:
    """Quality report and leakage audit of what the warehouse holds."""
    from salesops_ml.app.leakage import audit_record
    from salesops_ml.quality.report import quality_report

    with _open(settings) as (warehouse, as_of):
        values = quality_report(warehouse, as_of=as_of)
        values["leakage_audit"] = audit_record(warehouse, settings, as_of=as_of)
    lines = [
        f"{check['verdict']:<5} {check['check']}: {check['count']:,}"
        for check in values["checks"]
        if check["verdict"] != "ok"
    ]
    lines += [
        f"{f['verdict']:<5} {f['check']}: {f['column']}: {f['evidence']}"
        for f in values["leakage_audit"]["findings"]
    ]
    return Told("\n".join(lines), values)


def forecast(settings: Settings, supposed: Sequence[str] = ()) -> Told:
    """Score the open deals with the champion and forecast revenue from them, as is or as supposed."""
    from salesops_ml.app.revenue import scored_pipeline
    from salesops_ml.forecasts.revenue import forecast_revenue
    from salesops_ml.forecasts.what_if import parse_change
    from salesops_ml.registry import load_champion
    from salesops_ml.snapshots import open_deals

    changes = [parse_change(text) for text in supposed]
    deal_model = load_champion(settings, settings.registry.deal_model).model
    revenue = load_champion(settings, settings.registry.revenue_model).model
    with _open(settings) as (warehouse, as_of):
        deals = open_deals(warehouse, deal_model.spec, as_of=as_of)
        pipeline = scored_pipeline(
            deals, deal_model.curves(deals), as_of=as_of, money=revenue.weights.money
        )
        if changes:
            return _supposed(warehouse, pipeline, settings, revenue.weights, changes)
        frame = forecast_revenue(
            warehouse, pipeline, as_of=as_of, settings=settings, weights=revenue.weights
        )
    company = frame[frame["node"] == "company"]
    columns = ["grain", "period", "mean", "p10", "p50", "p90", "closed", "from_open", "from_new"]
    return Told(_table(company[columns]), _records(frame))


def _supposed(
    warehouse: Warehouse,
    pipeline: ScoredPipeline,
    settings: Settings,
    weights: Weights,
    changes: list[Change],
) -> Told:
    """The forecast before and after the changes."""
    from salesops_ml.forecasts.history import read_history
    from salesops_ml.forecasts.model import learn_revenue_model
    from salesops_ml.forecasts.what_if import ASSOCIATION, what_if

    history = read_history(warehouse, as_of=pipeline.as_of, settings=settings)
    model = learn_revenue_model(history, settings, weights)
    frame = what_if(model, pipeline, history, changes)
    moved = frame[(frame["node"] == "company") | (frame["difference"].abs() >= 0.5)]
    wide = moved[moved["node"].str.count("/") <= 1]
    shown = ["node", "period", "before", "after", "difference", "p10_after", "p90_after"]
    text = f"as of {pipeline.as_of}, {ASSOCIATION}:\n{_table(wide[shown])}"
    return Told(text, {"as_of": pipeline.as_of, "rows": _records(frame)})


def waterfall(
    settings: Settings, *, since: str, period: str | None, node: str | None, of_forecast: bool
) -> Told:
    """Why the open pipeline, or with `of_forecast` the champion's forecast, is not what it was."""
    from salesops_ml.app.changes import as_columns, at_node, champion_change, pipeline_change

    start = parse_moment(since, what="--from")
    with _open(settings) as (warehouse, as_of):
        change = champion_change if of_forecast else pipeline_change
        frame = change(warehouse, settings, since=start, as_of=as_of, period=period)
    what = "forecast" if of_forecast else "open pipeline"
    lines = [f"{what}, {settings.company.base_currency}, from {start} to {as_of}"]
    for label, rows in frame.groupby("period", sort=False):
        lines.append(f"{label}\n{_table(as_columns(at_node(rows, node)))}")
    if frame.empty:
        lines.append("nothing was in scope on either day")
    return Told("\n".join(lines), {"from": start, "to": as_of, "rows": _records(frame)})


def backtest(settings: Settings, *, quarters: int, every: str, out: Path) -> Told:
    """Replay the weeks of past quarters; the record, its picture and a page in `out`."""
    from salesops_ml.app.time_machine import replay_weeks

    with _open(settings) as (warehouse, as_of):
        record = replay_weeks(warehouse, settings, as_of=as_of, quarters=quarters, every=every)
    page = record.write(out)
    frame = record.weeks[record.weeks["level"] == "company"]
    wape = frame.pivot(index="method", columns="week", values="wape")
    text = f"mean miss of the quarter by week of the quarter, {record.quarters} quarters\n"
    text += wape.to_string(float_format=lambda value: f"{value:.3f}", na_rep="-")
    return Told(f"{text}\nrecord: {page}", _records(record.weeks))


def latest_record(settings: Settings) -> Told:
    """The record of past forecasts of the latest run."""
    from salesops_ml.app.run_folder import latest_run
    from salesops_ml.forecasts.backtest_scores import backtest_summary

    record = latest_run(settings.runs).read_frame("forecast_backtest")
    if record.empty:
        return Told("no past day was replayed: see `forecast.backtest_origins`", [])
    frame = backtest_summary(record)
    shown = ["grain", "level", "method", "pairs", "wape", "bias", "coverage_80", "coverage_95"]
    return Told(_table(frame[shown], digits=3), _records(frame))


def submit(settings: Settings, *, author: str | None, **said: Any) -> Told:
    """Store what a person says a period will bring."""
    from salesops_ml.app.overrides import submit_forecast, this_user, words_of

    said |= {"author": this_user() if author is None else author}
    with _open(settings) as (warehouse, as_of):
        told = submit_forecast(warehouse, settings, as_of=as_of, submitted_at=_now(), **said)
    return Told(words_of(told, settings), told)


def mine(settings: Settings, out: Path) -> Told:
    """What to mend in the process, and the map, the page and the tables in `out`."""
    from salesops_ml.app.process_page import write_pages
    from salesops_ml.app.report_advice import advice
    from salesops_ml.mining.run import mine as dig

    with _open(settings) as (warehouse, as_of):
        found = dig(warehouse, as_of=as_of, settings=settings)
    found.write(out)
    page = write_pages(found, settings, out)
    told = advice(found.more["recommendations"], settings.company.base_currency)
    lines = [f"{one.price}: {one.finding} {one.what_to_do}" for one in told]
    lines += [f"map: {out / 'process_map.html'}", f"page: {page}"]
    return Told("\n".join(lines), _records(found.bottlenecks))


def kpis(settings: Settings) -> Told:
    """The KPIs of the company in the latest period of each metric."""
    from salesops_ml.kpis import compute_kpis

    with _open(settings) as (warehouse, as_of):
        frame = compute_kpis(warehouse, as_of=as_of, settings=settings)
    company = frame[frame["node"] == "company"]
    last = company.groupby("metric", sort=False).tail(1)
    columns = ["metric", "period", "value", "unit", "target", "status"]
    return Told(_table(last[columns]), _records(frame))


def tune(
    settings: Settings,
    config: Path,
    *,
    trials: int | None,
    minutes: float | None,
    storage: str | None,
    out: Path | None,
) -> Told:
    """Better settings for the deal model, from past days."""
    from salesops_ml.app.tuning import tune_settings

    done = tune_settings(settings, config, trials=trials, minutes=minutes, storage=storage, out=out)
    return Told(done.words(), done.values())


def score(settings: Settings, *, write: bool, dry_run: bool, create_fields: bool = False) -> Told:
    """Scores of the open deals; with `write` into the CRM, with `dry_run` only the plan."""
    from salesops_ml.app.deployment import score_with_champion
    from salesops_ml.app.write_back import write_scores

    now = _now()
    with _open(settings) as (warehouse, as_of):
        scores, _ = score_with_champion(warehouse, settings, as_of=as_of)
        values: dict[str, Any] = {"as_of": as_of, "scores": _records(scores)}
        lines = [f"{len(scores):,} open deals scored as of {as_of}"]
        if write or dry_run:
            done = write_scores(
                warehouse, scores, settings, run_id=f"score-{now:%Y%m%dT%H%M%S}", at=now,
                dry_run=dry_run, create_fields=create_fields,
            )  # fmt: skip
            lines.append(done.text)
            values["plan"] = done.counts
            if done.written is not None:
                lines.append(f"written: {done.written:,} to {done.place}")
                values["written"] = done.written
    if not (write or dry_run):
        shown = ["deal_id", "p_win", "close_p50_date", "band", "reasons"]
        lines.append(_table(scores.sort_values("p_win", ascending=False)[shown].head(20), digits=3))
    return Told("\n".join(lines), values)


def what_if(settings: Settings, deal_id: str, changes: dict[str, float]) -> Told:
    """How the champion's score of a deal would look after each of `changes` (kind -> size)."""
    from salesops_ml.models.what_if import ASSOCIATION, USUAL, Change
    from salesops_ml.models.what_if import what_if as suppose
    from salesops_ml.registry import load_champion

    model = load_champion(settings, settings.registry.deal_model).model
    wanted = [Change(kind, size) for kind, size in changes.items()] or list(USUAL)
    selling = settings.kpis.selling
    with _open(settings) as (warehouse, as_of):
        frame = suppose(warehouse, model, deal_id, wanted, as_of=as_of, selling=selling)
    text = f"deal {deal_id} as of {as_of}, {ASSOCIATION}:\n{_table(frame, digits=3)}"
    return Told(text, {"deal_id": deal_id, "as_of": as_of, "changes": _records(frame)})


def promote_version(settings: Settings, version: int) -> Told:
    """Make a version of the deal model the champion."""
    from salesops_ml.registry import promote

    name = settings.registry.deal_model
    before = promote(settings, name, version)
    return Told(
        f"champion: {name} version {version} (before: {before or 'none'})",
        {"name": name, "version": version, "before": before},
    )


def roll_back(settings: Settings) -> Told:
    """Put the previous champion back."""
    from salesops_ml.registry import rollback

    name = settings.registry.deal_model
    version = rollback(settings, name)
    return Told(f"champion: {name} version {version}", {"name": name, "version": version})


def report(settings: Settings) -> Told:
    """Lay out the latest run's report again."""
    from salesops_ml.app.report import write_report
    from salesops_ml.app.run_folder import latest_run

    path = write_report(latest_run(settings.runs))
    return Told(f"report: {path}", {"report": str(path)})


@contextmanager
def _open(settings: Settings) -> Iterator[tuple[Warehouse, datetime]]:
    """The warehouse, and the day that the command speaks of: today where nothing is dated."""
    from salesops_ml.app.progress import Progress
    from salesops_ml.forecasts.submissions import with_submissions
    from salesops_ml.snapshots import is_dated, later_than_the_end, record_end

    with Warehouse.open(settings.warehouse, threads=settings.threads) as warehouse:
        with_submissions(warehouse, settings.warehouse)
        if settings.as_of is not None:
            as_of = parse_moment(settings.as_of)
            if warning := later_than_the_end(warehouse, as_of=as_of):
                Progress(()).say(warning)
            yield warehouse, as_of
        else:
            yield warehouse, record_end(warehouse) if is_dated(warehouse) else _now()


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def _table(frame: pd.DataFrame, *, digits: int = 0) -> str:
    def shown(value: float) -> str:
        return f"{value:,.{digits}f}"

    return frame.to_string(index=False, float_format=shown, na_rep="-", max_colwidth=60)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(k): (None if v is pd.NaT or v != v else v) for k, v in row.items()}
        for row in frame.astype(object).to_dict(orient="records")
    ]
