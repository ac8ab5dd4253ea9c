"""A log as XES 2.0 text: cases, the events in them, and each value with its kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt

from salesops_ml.errors import DataError
from salesops_ml.mining.log_columns import CASE

if TYPE_CHECKING:
    import pandas as pd

_PREFIX = "case:"
_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<log xes.version="2.0" xmlns="http://www.xes-standard.org/">
  <extension name="Concept" prefix="concept" uri="http://www.xes-standard.org/concept.xesext"/>
  <extension name="Time" prefix="time" uri="http://www.xes-standard.org/time.xesext"/>
  <extension name="Lifecycle" prefix="lifecycle" uri="http://www.xes-standard.org/lifecycle.xesext"/>
  <extension name="Organizational" prefix="org" uri="http://www.xes-standard.org/org.xesext"/>
  <classifier name="Activity" keys="concept:name"/>
"""
_ESCAPED = {'"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_xes(log: pd.DataFrame, stream: IO[bytes]) -> None:
    """Write `log`, with pm4py's columns, to `stream`.

    Columns `case:...` become attributes of the case, the others of its events; columns that begin
    with `@@` are pm4py's own counters and left out, like what is missing. Times are written in UTC.

    Raises:
        DataError: a case is unnamed, an attribute of a case differs between its events, or a text
            holds a character that XML forbids.
    """
    import pandas as pd

    if bool(log[CASE].isna().any()):
        row = int(log[CASE].isna().to_numpy().argmax())
        raise DataError(f"log, row {row + 1}: `{CASE}` is empty; an event in XES needs a case")
    case = pd.factorize(log[CASE])[0]
    order = np.argsort(case, kind="stable")
    starts = np.flatnonzero(np.diff(case[order], prepend=-1))
    names = [name for name in log.columns if not str(name).startswith("@@")]
    of_case = [name for name in names if str(name).startswith(_PREFIX)]
    ordered = log.iloc[order]
    for name in of_case:
        _refuse_change(ordered, name, case[order])
    first = ordered.iloc[starts]
    traces = [_lines(first, name, name.removeprefix(_PREFIX), "    ") for name in of_case]
    events = [_lines(ordered, name, str(name), "      ") for name in names if name not in of_case]
    stream.write(_HEAD.encode())
    for text in _traces(_joined(traces, len(starts)), _joined(events, len(log)), starts):
        stream.write(text.encode())
    stream.write(b"</log>\n")


def _traces(traces: list[str], events: list[str], starts: npt.NDArray[np.int64]) -> Iterator[str]:
    ends = np.append(starts[1:], len(events)).tolist()
    for attributes, start, end in zip(traces, starts.tolist(), ends, strict=True):
        inside = "    </event>\n    <event>\n".join(events[start:end])
        yield f"  <trace>\n{attributes}    <event>\n{inside}    </event>\n  </trace>\n"


def _joined(columns: list[list[str]], rows: int) -> list[str]:
    return ["".join(parts) for parts in zip(*columns, strict=True)] if columns else [""] * rows


def _lines(frame: pd.DataFrame, name: str, key: str, indent: str) -> list[str]:
    """One line of XES per row; an empty text where the value is missing."""
    import pandas as pd

    column = frame[name]
    kind, write = _kind(column)
    code, values = pd.factorize(column)
    texts = [
        f"{indent}<{kind} key={_quoted(key, name)} value={_quoted(write(value), name)}/>\n"
        for value in values
    ]
    known = np.array([*texts, ""], dtype=object)
    return list(known[code])


def _kind(column: pd.Series[Any]) -> tuple[str, Callable[[Any], str]]:
    """The XES kind of a column and how its values are written."""
    import pandas as pd

    kinds = pd.api.types
    told = kinds.infer_dtype(column, skipna=True) if column.dtype == object else ""
    if kinds.is_datetime64_any_dtype(column.dtype):
        return "date", _moment
    if kinds.is_bool_dtype(column.dtype) or told == "boolean":
        return "boolean", lambda value: str(bool(value)).lower()
    if kinds.is_integer_dtype(column.dtype):
        return "int", lambda value: str(int(value))
    if kinds.is_float_dtype(column.dtype):
        return "float", lambda value: repr(float(value))
    return "string", str


def _moment(value: Any) -> str:
    utc = value.tz_convert("UTC") if value.tzinfo else value.tz_localize("UTC")
    return str(utc.isoformat(timespec="microseconds"))


def _quoted(text: str, name: str) -> str:
    found = _FORBIDDEN.search(text)
    if found:
        raise DataError(
            f"log, column `{name}`: {text!r} holds {found[0]!r}, which XML cannot; remove it"
        )
    return f'"{escape(text, _ESCAPED)}"'


def _refuse_change(frame: pd.DataFrame, name: str, case: npt.NDArray[np.int64]) -> None:
    """An attribute of a case has one value."""
    import pandas as pd

    value = pd.factorize(frame[name])[0]
    changed = (value[1:] != value[:-1]) & (case[1:] == case[:-1])
    if changed.any():
        row = frame.iloc[int(changed.argmax()) + 1]
        raise DataError(
            f"log, case {row[CASE]!r}: `{name}` differs between its events; name the column "
            f"without `{_PREFIX}` if it belongs to the event"
        )
