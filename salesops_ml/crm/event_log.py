"""An event log read as a sales process: cases are deals, events their stages, activities and quotes.

A deal begins with its first event and ends with the first event that the configuration calls won (or,
where it never wins, lost). What follows in the process map after that moment is kept; models never see
it, since they look at open deals only. Every event is used once or counted under a reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.crm.attributes import declared
from salesops_ml.crm.draft import (
    FILE,
    LINE,
    Draft,
    joined,
    place,
    refuse_mostly_rejected,
    rejects_of,
)
from salesops_ml.crm.log_events import Events, case_column, read_events, with_lines
from salesops_ml.crm.stages import PIPELINE
from salesops_ml.crm.values import Format, cure, expected, parse
from salesops_ml.crm.work_items import work_items
from salesops_ml.errors import ConfigError
from salesops_ml.schema import TABLES, Kind, no_rejects
from salesops_ml.settings import Settings
from salesops_ml.source_settings import EventLogSource


def read_event_log(settings: Settings, *, progress: Callable[[int], None] | None = None) -> Draft:
    """The log's cases and events as canonical tables, not yet checked against each other.

    Raises:
        SourceError: the file cannot be read, or lacks a column that the mapping names.
        ConfigError: the mapping contradicts itself, or none of its outcomes is in the log.
    """
    source = settings.source
    assert isinstance(source, EventLogSource)
    events = read_events(source, progress=progress)
    located = partial(with_lines, source)
    left = {"stage_events": events.rejects.num_rows}
    draft = Draft({}, (events.rejects,), (), {}, left, source.time_zone, located=located)
    if events.frame.empty:
        refuse_mostly_rejected(draft)
    roles = _roles(source, sorted(events.frame["activity"].unique()))
    frame = events.frame.assign(role=events.frame["activity"].map(roles))
    stage_events, left_stages = _stage_events(frame[frame["role"] == "stage"])
    activities, left_activities = work_items(frame[frame["role"] == "activity"], source)
    quotes = _quotes(frame[frame["role"] == "quote"], source)
    tables = {
        "deals": _deals(settings, source, events, stage_events),
        "stages": _stages(settings, source, stage_events),
        "stage_events": _table("stage_events", stage_events, source),
        "activities": _table("activities", activities, source),
        "quotes": _table("quotes", quotes, source),
    }
    counts = {
        "events: read": events.read,
        "events: rejected": events.rejects.num_rows,
        "events: used as stage events": len(stage_events),
        "events: used as activities": len(activities),
        "events: used as quotes": len(quotes),
        "events: left, no pattern matches": int(frame["role"].isna().sum()),
        **left_stages,
        **left_activities,
    }
    draft = replace(draft, tables=tables, counts=counts)
    draft = _with_case_values(draft, settings, events.cases)
    changes = _changes(draft.tables["deals"], stage_events, source)
    kept = {name: table for name, table in draft.tables.items() if table.num_rows}
    return replace(draft, tables={**kept, "deal_changes": changes})


def _roles(source: EventLogSource, activities: list[str]) -> dict[str, str]:
    """What each activity is: outcomes are stages, then the pattern with most letters decides."""
    _check_outcomes(source, activities)
    patterns = [(source.stages.keep, "stage")]
    patterns += [(source.quotes.keep, "quote")] if source.quotes else []
    patterns += [(source.activities.keep, "activity")] if source.activities else []
    patterns.sort(key=lambda pair: -len(pair[0].replace("*", "").replace("?", "")))
    roles = {}
    for activity in activities:
        if activity in (*source.won, *source.lost):
            roles[activity] = "stage"
            continue
        found = [role for pattern, role in patterns if fnmatchcase(activity, pattern)]
        if found:
            roles[activity] = found[0]
    return roles


def _check_outcomes(source: EventLogSource, activities: list[str]) -> None:
    both = sorted(set(source.won) & set(source.lost))
    if both:
        raise ConfigError(f"`source.won` and `source.lost` both name `{both[0]}`; keep it in one")
    for setting, names in (("won", source.won), ("lost", source.lost)):
        if names and not set(names) & set(activities):
            raise ConfigError(
                f"`source.{setting}`: no event of {source.path} is called {' or '.join(names)}; "
                f"its events are: {', '.join(activities)}"
            )


def _stage_events(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Entries into stages. Where a log tells a step's begin and end, the end is what counts."""
    lifecycle = frame["lifecycle"]
    done = lifecycle.isna() | (lifecycle == "complete")
    if not (lifecycle == "complete").any():
        done[:] = True
    left = lifecycle[~done].value_counts().sort_index()
    kept = frame[done].rename(columns={"at": "entered_at", "activity": "stage"})
    return kept, {f"events: left, stage {name}": int(count) for name, count in left.items()}


def _quotes(frame: pd.DataFrame, source: EventLogSource) -> pd.DataFrame:
    """One row for each step of a quote; its status is the event's name without the prefix."""
    prefix = len(source.quotes.keep.partition("*")[0]) if source.quotes else 0
    ids = frame["deal_id"] + "-" + frame["seq"].astype(str)
    status = frame["activity"].str[prefix:].str.lower()
    return frame.assign(quote_id=ids, sent_at=frame["at"], status=status)


def _outcomes(source: EventLogSource, stage_events: pd.DataFrame) -> pd.DataFrame:
    """Status and closing time of each case that ended: won wins over lost."""
    closings = []
    for status, names in (("lost", source.lost), ("won", source.won)):
        ends = stage_events[stage_events["stage"].isin(names)]
        first = ends.groupby("deal_id")["entered_at"].min().rename("closed_at").to_frame()
        closings.append(first.assign(status=status))
    both = pd.concat(closings)
    return both[~both.index.duplicated(keep="last")]


def _deals(
    settings: Settings, source: EventLogSource, events: Events, stage_events: pd.DataFrame
) -> pa.Table:
    ids = events.cases["deal_id"].to_pandas()
    outcome = _outcomes(source, stage_events)
    owner = stage_events.dropna(subset="rep_id").groupby("deal_id")["rep_id"].last()
    of_case = events.frame.groupby("deal_id")
    deals = pd.DataFrame(
        {
            "deal_id": ids,
            "rep_id": ids.map(owner),
            "pipeline": PIPELINE,
            "currency": settings.company.base_currency,
            "created_at": ids.map(of_case["at"].min()),
            "closed_at": ids.map(outcome["closed_at"]),
            "status": ids.map(outcome["status"]).fillna("open"),
            "line": ids.map(of_case["line"].min()),
        }
    )
    return _table("deals", deals, source)


def _with_case_values(draft: Draft, settings: Settings, cases: pa.Table) -> Draft:
    """The deals with what the configuration takes from the case: amount, creation, attributes."""
    source = settings.source
    assert isinstance(source, EventLogSource)
    deals, bad, rejects = draft.tables["deals"], np.zeros(cases.num_rows, dtype=bool), []
    for name, (column, kind) in _case_mapping(settings).items():
        cells = case_column(source, cases, column)
        parsed = parse(cells, kind, Format(time_zone=source.time_zone))
        values = parsed.values
        if name in deals.column_names:
            values = pc.coalesce(values, deals[name])
            deals = deals.drop_columns(name)
        deals = deals.append_column(name, values)
        rejects.append(
            rejects_of(
                deals.filter(parsed.bad), table="deals", column=column,
                values=cells.filter(parsed.bad), reason=f"is not {expected(kind)}",
                cure=cure(kind, Format()),
            )
        )  # fmt: skip
        bad |= parsed.bad.to_numpy()
    tables = {**draft.tables, "deals": deals}
    pairs = declared(source.case.attributes, settings.split.column)
    filled = replace(draft, tables=tables, attributes=tuple(attribute for attribute, _ in pairs))
    return filled.without("deals", pa.array(bad), joined([no_rejects(), *rejects]))


def _case_mapping(settings: Settings) -> dict[str, tuple[str, Kind]]:
    """Column of `deals` -> case attribute in the log, and the kind that it must be."""
    case = settings.source.case  # type: ignore[union-attr]
    found: dict[str, tuple[str, Kind]] = {}
    if case.amount:
        found["amount"] = (case.amount, "money")
    if case.created_at:
        found["created_at"] = (case.created_at, "timestamp")
    for attribute, column in declared(case.attributes, settings.split.column):
        found[attribute.column] = (column, attribute.kind)
    return found


def _stages(settings: Settings, source: EventLogSource, stage_events: pd.DataFrame) -> pa.Table:
    """The agreed order of stages; without one, the order in which cases mostly reach them."""
    closing = (*source.lost, *source.won)
    seen = stage_events.groupby("stage")["seq"].mean().reset_index().sort_values(["seq", "stage"])
    found = [stage for stage in seen["stage"] if stage not in closing]
    ends = [stage for stage in (*source.won, *source.lost) if stage in set(seen["stage"])]
    names = list(dict.fromkeys((*(settings.process.stages or found), *ends)))
    rows = pd.DataFrame(
        {
            "pipeline": PIPELINE,
            "stage": names,
            "position": range(len(names)),
            "is_won": [name in source.won for name in names],
            "is_closed": [name in closing for name in names],
            "expected_days": [settings.process.expected_days.get(name) for name in names],
            "line": 0,
        }
    )
    return _table("stages", rows, source)


def _changes(deals: pa.Table, stage_events: pd.DataFrame, source: EventLogSource) -> pa.Table:
    """The first amount, known from the start, and each change of the person who moves the deal."""
    moves = stage_events.dropna(subset="rep_id")
    before = moves.groupby("deal_id")["rep_id"].shift()
    moves = moves.assign(old_value=before, new_value=moves["rep_id"], field="rep_id")
    moves = moves[before != moves["rep_id"]].rename(columns={"entered_at": "changed_at"})
    changes = [_table("deal_changes", moves, source)]
    if "amount" in deals.column_names:
        valued = deals.filter(pc.is_valid(deals["amount"]))
        first = {
            "deal_id": valued["deal_id"],
            "field": pa.repeat("amount", valued.num_rows),
            "changed_at": valued["created_at"],
            "seq": pa.repeat(0, valued.num_rows),
            "new_value": valued["amount"].cast(pa.string()),
            FILE: valued[FILE],
            LINE: valued[LINE],
        }
        changes.append(pa.table(first))
    return joined(changes)


def _table(name: str, frame: pd.DataFrame, source: EventLogSource) -> pa.Table:
    """The canonical columns of `frame`, with the place of each row beside them."""
    fields = [field for field in TABLES[name].arrow() if field.name in frame.columns]
    columns = [pa.array(frame[field.name], field.type, from_pandas=True) for field in fields]
    table = pa.table(columns, schema=pa.schema(fields))
    return place(table, str(source.path), pa.array(frame["line"], pa.int64()))
