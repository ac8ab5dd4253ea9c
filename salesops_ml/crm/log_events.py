"""The rows of an event log: which deal, what, when, by whom - read from XES, CSV or Parquet.

Case attributes are named plainly in the configuration (`AMOUNT_REQ`); in a file of rows they may stand
in a column of that name or, as pm4py writes them, in `case:AMOUNT_REQ`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.crm.draft import joined, place, ragged_rejects, rejects_of
from salesops_ml.crm.tabular import Layout, read_cells
from salesops_ml.crm.values import Format, as_text, cure, parse
from salesops_ml.errors import ConfigError, SourceError
from salesops_ml.mining.xes import CASE, LINE, TRACE, event_lines, read_xes
from salesops_ml.schema import no_rejects
from salesops_ml.source_settings import EventLogSource


@dataclass(frozen=True)
class Events:
    """The events of a log that can be used, and the others as rejects.

    Attributes:
        frame: one row per event, sorted by case, time and order in the file: `deal_id`, `activity`,
            `at` (naive UTC), `lifecycle` (lower case, may be null), `rep_id`, `line`, `seq` (place
            within its case, from 0).
        cases: the file's columns at the first event of each case, in the order of the file, and
            the case's name as `deal_id`.
        rejects: events without case, activity or readable time.
        read: events in the file.
    """

    frame: pd.DataFrame
    cases: pa.Table
    rejects: pa.Table
    read: int


def read_events(source: EventLogSource, *, progress: Callable[[int], None] | None = None) -> Events:
    """Read the log that `source` names.

    Raises:
        SourceError: the file cannot be read, or lacks a column that the mapping names.
        ConfigError: case and activity are mapped to one and the same column.
    """
    raw, ragged = _raw_log(source, progress)
    events = _named(source, raw)
    raw, events, unusable = _usable(source, raw, events)
    rejects = joined([ragged, unusable])
    frame = events.to_pandas()
    first = frame.drop_duplicates("deal_id").index
    cases = raw.take(pa.array(first))
    cases = cases.append_column("deal_id", events["deal_id"].take(pa.array(first)))
    frame["case"] = pd.factorize(frame["deal_id"])[0]
    frame = frame.sort_values(["case", "at"], kind="stable", ignore_index=True)
    frame["seq"] = frame.groupby("case").cumcount()
    frame = frame.drop(columns="case")
    return Events(frame, cases, rejects, events.num_rows + rejects.num_rows)


def case_column(source: EventLogSource, cases: pa.Table, name: str) -> pa.ChunkedArray:
    """The values of a case attribute by its plain name.

    Raises:
        SourceError: the log has no such attribute.
    """
    return cases[_case_name(source, cases.column_names, name)]


def with_lines(source: EventLogSource, rejects: pa.Table) -> pa.Table:
    """Rejects of an XES log, whose rows are numbers of events so far, with the events' lines."""
    numbered = pc.greater(rejects["row"], 0)
    if not is_xes(source) or not pc.any(numbered).as_py():
        return rejects
    lines = pa.array(event_lines(source.path))
    at = pc.if_else(numbered, pc.subtract(rejects["row"], 1), pa.scalar(None, pa.int64()))
    place = rejects.column_names.index("row")
    return rejects.set_column(place, "row", pc.fill_null(lines.take(at.combine_chunks()), 0))


def is_xes(source: EventLogSource) -> bool:
    """Whether the log's name says that it is XES."""
    return ".xes" in (suffix.lower() for suffix in source.path.suffixes)


def _raw_log(
    source: EventLogSource, progress: Callable[[int], None] | None
) -> tuple[pa.Table, pa.Table]:
    """The rows of the file with their places in it, and those that are no rows of its header."""
    if is_xes(source):
        log = read_xes(source.path, typed=False, lines=False, progress=progress)
        numbers = pa.array(range(1, log.num_rows + 1), pa.int64())
        return log.append_column(LINE, numbers), no_rejects()
    layout = Layout(encoding=source.encoding, delimiter=source.delimiter)
    cells = read_cells(source.path, layout, progress=progress)
    if not cells.columns.num_rows and not cells.ragged:
        raise SourceError(f"{source.path}: holds a header but no events; export it again")
    ragged = ragged_rejects(cells, str(source.path), "stage_events")
    return cells.columns.append_column(LINE, cells.lines), ragged


def _named(source: EventLogSource, raw: pa.Table) -> pa.Table:
    """The columns that every event has, by our names; `at` is null where it cannot be read."""
    stages, names = source.stages, raw.column_names
    case, activity = _case_name(source, names, source.case.id), stages.activity
    for column in (activity, stages.timestamp):
        _require(source, names, column)
    if case == activity:
        raise ConfigError(
            f"`source.case.id` and `source.stages.activity` both mean column `{case}` of "
            f"{source.path}; name the column that holds the deal's id"
        )
    nothing = pa.chunked_array([pa.nulls(raw.num_rows, pa.string())])
    lifecycle = _optional(source, names, "lifecycle", stages.lifecycle)
    rep = _optional(source, names, "rep", stages.rep)
    form = Format(time_zone=source.time_zone)
    return pa.table(
        {
            "deal_id": as_text(raw[case]),
            "activity": as_text(raw[activity]),
            "at": parse(raw[stages.timestamp], "timestamp", form).values,
            "lifecycle": pc.utf8_lower(as_text(raw[lifecycle])) if lifecycle else nothing,
            "rep_id": as_text(raw[rep]) if rep else nothing,
            "line": raw[LINE],
        }
    )


def _case_name(source: EventLogSource, names: list[str], plain: str) -> str:
    if CASE + plain in names:
        return CASE + plain
    _require(source, names, plain)
    return plain


def _require(source: EventLogSource, names: list[str], column: str) -> None:
    if column not in names:
        here = ", ".join(name for name in names if not name.startswith("@@"))
        raise SourceError(
            f"{source.path}: has no column or attribute `{column}`; it has: {here}; "
            "correct the name under `source`"
        )


def _optional(
    source: EventLogSource, names: list[str], setting: str, column: str | None
) -> str | None:
    """The column, or None where only our default names it and the log has none."""
    if column is None or (column not in names and setting not in source.stages.model_fields_set):
        return None
    _require(source, names, column)
    return column


def _usable(
    source: EventLogSource, raw: pa.Table, events: pa.Table
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Raw rows and events that can be used, and the rest as rejects, one for each event."""
    case = _case_name(source, raw.column_names, source.case.id)
    faults = [
        (case, pc.is_null(events["deal_id"]), "the event names no case", "fill it in"),
        (source.stages.activity, pc.is_null(events["activity"]), "the event has no name",
         "fill it in"),
        (source.stages.timestamp, pc.is_null(events["at"]), "is no time",
         cure("timestamp", Format())),
    ]  # fmt: skip
    if TRACE in raw.column_names:
        faults.append((case, _second_traces(events, raw[TRACE]),
                       "another case of the log has the same name",
                       "give each case its own name"))  # fmt: skip
    bad = pa.chunked_array([pa.repeat(False, events.num_rows)])
    rejects = [no_rejects()]
    for column, fault, reason, remedy in faults:
        fresh = pc.and_not(fault, bad)
        bad = pc.or_(bad, fault)
        rows = place(raw.filter(fresh), str(source.path), raw[LINE].filter(fresh))
        rejects.append(rejects_of(rows, table="stage_events", column=column,
                                  values=as_text(rows[column]), reason=reason, cure=remedy))  # fmt: skip
    good = pc.invert(bad)
    return raw.filter(good), events.filter(good), joined(rejects)


def _second_traces(events: pa.Table, traces: pa.ChunkedArray) -> pa.ChunkedArray:
    frame = pd.DataFrame({"case": events["deal_id"].to_pandas(), "trace": traces.to_numpy()})
    first = frame.groupby("case")["trace"].transform("min")
    later = (frame["trace"] > first) & frame["case"].notna()
    return pa.chunked_array([pa.array(later.to_numpy(bool))])
