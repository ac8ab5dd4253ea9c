"""Event logs in files: read from XES, CSV and Parquet, and written so that others read them.

The columns are named as pm4py names them, so that a log from anywhere can be mined the same way, and
a log from here can go anywhere.
"""

from __future__ import annotations

import gzip
import os
import tempfile
import zlib
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.errors import SchemaError, SourceError, UsageError
from salesops_ml.mining.log_columns import ACTIVITY, CASE, PM4PY_COLUMNS, TIMESTAMP
from salesops_ml.mining.log_frames import frame_of
from salesops_ml.periods import moments_from_iso

if TYPE_CHECKING:
    import pandas as pd

REJECTS = ("error", "drop")
_SUFFIXES = (".xes", ".xes.gz", ".csv", ".csv.gz", ".parquet", ".pq")


def read_log(
    path: Path | str,
    *,
    rejects: str = "error",
    case_id_key: str = CASE,
    activity_key: str = ACTIVITY,
    timestamp_key: str = TIMESTAMP,
) -> pd.DataFrame:
    """A log from an XES, XES.gz, CSV or Parquet file, with pm4py's column names.

    Columns `case:concept:name` (text), `concept:name` (text) and `time:timestamp` (UTC, aware) are
    always there; what else the file holds is kept. Rows keep the order of the file. A time without
    an offset is UTC; offsets may differ from row to row.

    Args:
        path: the file; its ending tells its kind.
        rejects: what becomes of events that lack a case, an activity or a time. `error` names the
            first of them; `drop` goes on without them, and `log.attrs["rejected"]` says how many
            lacked what.
        case_id_key, activity_key, timestamp_key: the file's own names of the three columns.

    Raises:
        SourceError: the file is absent, of another kind, or cannot be read; or an event lacks a
            case, an activity or a time.
        SchemaError: one of the three columns is missing. UsageError: `rejects` is unknown.
    """
    path = Path(path)
    if rejects not in REJECTS:
        raise UsageError(f"`rejects`: {rejects!r} is unknown; give {' or '.join(REJECTS)}")
    if not path.is_file():
        raise SourceError(f"{path}: no such file; give an XES, XES.gz, CSV or Parquet file")
    keys = (case_id_key, activity_key, timestamp_key)
    frame = _read_any(path, keys)
    for name in keys:
        if name not in frame.columns:
            raise SchemaError(
                f"{path}: no column `{name}`; it has: {', '.join(map(str, frame.columns))}. Name "
                f"its columns {', '.join(PM4PY_COLUMNS)}, or say which they are by `case_id_key`, "
                "`activity_key` and `timestamp_key`"
            )
    return _with_kinds(_renamed(frame, keys, path), path, rejects)


def write_log(log: Any, path: Path | str) -> Path:
    """Write a log as XES, XES.gz, CSV, CSV.gz or Parquet, under pm4py's names; the path written.

    `read_log` and pm4py read back what was written. XES has no rows but cases with events in them,
    so there the events of a case come together, in the order of the cases' first events.

    Args:
        log: a pandas, Arrow or Ibis table with pm4py's columns, or an `event_log`.
        path: the file; its ending tells its kind. One that is there already is replaced.

    Raises:
        UsageError: the ending of `path` is unknown.
        SchemaError, DataError: the log lacks a column, or holds what the kind of file cannot.
    """
    path = Path(path)
    writer, frame = _writer(path), frame_of(log)
    with _replacing(path) as hidden:
        writer(frame, hidden)
    return path


def _writer(path: Path) -> Callable[[pd.DataFrame, Path], None]:
    name = path.name.lower()
    if name.endswith((".xes", ".xes.gz")):
        from salesops_ml.mining.xes_writing import write_xes

        return lambda log, to: _packed(to, name, lambda stream: write_xes(log, stream))
    if name.endswith((".csv", ".csv.gz")):
        return lambda log, to: _packed(to, name, lambda stream: log.to_csv(stream, index=False))
    if name.endswith((".parquet", ".pq")):
        return lambda log, to: log.to_parquet(to, index=False)
    raise UsageError(f"{path}: its ending is unknown; give {', '.join(_SUFFIXES)}")


def _packed(path: Path, name: str, write: Callable[[IO[bytes]], None]) -> None:
    """Let `write` write to the file, through gzip where its name asks for it."""
    with path.open("wb") as raw:
        if not name.endswith(".gz"):
            write(raw)
            return
        with gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as packed:
            write(cast(IO[bytes], packed))


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A hidden file that takes the place of `path` when all went well."""
    handle, hidden = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        yield Path(hidden)
        os.replace(hidden, path)
    except BaseException:
        Path(hidden).unlink(missing_ok=True)
        raise


def _read_any(path: Path, keys: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    name = path.name.lower()
    try:
        if name.endswith((".xes", ".xes.gz")):
            return _read_xes(path)
        if name.endswith((".csv", ".csv.gz")):
            return _read_csv(path, keys)
        if name.endswith((".parquet", ".pq")):
            return pd.read_parquet(path)
    except (OSError, ValueError, EOFError, zlib.error, pa.ArrowException) as error:
        raise SourceError(f"{path}: cannot be read as a log: {error}") from error
    raise SourceError(f"{path}: not a log that is known here; give XES, XES.gz, CSV or Parquet")


def _read_xes(path: Path) -> pd.DataFrame:
    """The log in pandas; of texts that repeat, all rows share one object."""
    import pandas as pd

    from salesops_ml.mining.xes import TRACE, read_xes

    table = read_xes(path, lines=False).drop_columns([TRACE])
    return pd.DataFrame({
        name: _objects(column) if pa.types.is_string(column.type) else column.to_pandas()
        for name, column in zip(table.column_names, table.columns, strict=True)
    })  # fmt: skip


def _objects(column: pa.ChunkedArray) -> Any:
    coded = column.combine_chunks().dictionary_encode()
    texts = np.append(coded.dictionary.to_numpy(zero_copy_only=False).astype(object), [None])
    return texts[pc.fill_null(coded.indices, len(texts) - 1).to_numpy(zero_copy_only=False)]


def _read_csv(path: Path, keys: tuple[str, ...]) -> pd.DataFrame:
    """The file, its ids and activities being the texts that stand there, `NA` and `None` too."""
    import pandas as pd

    texts: dict[Hashable, type[str]] = dict.fromkeys(keys[:2], str)
    frame = pd.read_csv(path, dtype=texts, low_memory=False)
    named = [name for name in keys[:2] if name in frame.columns and frame[name].hasnans]
    if named:
        plain = pd.read_csv(path, dtype=texts, usecols=named, na_values=[""], keep_default_na=False)
        frame[named] = plain[named]
    return frame


def _renamed(frame: pd.DataFrame, keys: tuple[str, ...], path: Path) -> pd.DataFrame:
    """The three columns under pm4py's names; one that bears such a name already must not be lost."""
    names = {old: new for old, new in zip(keys, PM4PY_COLUMNS, strict=True) if old != new}
    for old, new in names.items():
        if new in frame.columns and new not in names:
            raise SchemaError(
                f"{path}: has both `{old}` and `{new}`; drop the one that is not meant"
            )
    return frame.rename(columns=names) if names else frame


def _with_kinds(frame: pd.DataFrame, path: Path, rejects: str) -> pd.DataFrame:
    """`frame` with text ids and UTC moments; events without them are an error or left out."""
    import pandas as pd

    times = _times(frame[TIMESTAMP])
    texts = {name: _texts(frame[name]) for name in (CASE, ACTIVITY)}
    missing = {name: pd.isna(column).to_numpy() for name, column in texts.items()}
    missing[TIMESTAMP] = times.isna().to_numpy()
    lacking = {name: int(rows.sum()) for name, rows in missing.items() if rows.any()}
    if lacking and rejects == "error":
        raise SourceError(f"{path}: {_first_reject(frame, missing, lacking)}")
    done = frame.assign(**texts, **{TIMESTAMP: times})
    if not lacking:
        return done
    whole = ~np.logical_or.reduce(list(missing.values()))
    kept: pd.DataFrame = done[whole].reset_index(drop=True)
    kept.attrs["rejected"] = {"events": len(done) - len(kept), **lacking}
    return kept


def _times(column: pd.Series[Any]) -> pd.Series[Any]:
    """The column as UTC moments; NaT where a value is no time."""
    import pandas as pd

    times: pd.Series[Any]
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        times = column.dt.tz_convert("UTC") if column.dt.tz else column.dt.tz_localize("UTC")
        return times
    texts = [_iso(value) for value in column]
    moments = moments_from_iso(pa.chunked_array([pa.array(texts, pa.string())]))
    times = pd.Series(moments.to_numpy(), index=column.index, name=column.name)
    times = times.dt.tz_localize("UTC")
    return times


def _iso(value: Any) -> str | None:
    """A text or moment as ISO text; numbers are no times, for nobody knows since when they count."""
    import pandas as pd

    if isinstance(value, str):
        return value
    return value.isoformat() if isinstance(value, datetime) and value is not pd.NaT else None


def _texts(column: pd.Series[Any]) -> pd.Series[Any]:
    """The column as Python texts; whole numbers that pandas made floats are written as they were."""
    import pandas as pd

    if column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) == "string":
        return column
    if pd.api.types.is_float_dtype(column.dtype) and bool((column.dropna() % 1 == 0).all()):
        column = column.astype("Int64")
    return column.astype("string").astype(object)


def _first_reject(frame: pd.DataFrame, missing: dict[str, Any], lacking: dict[str, int]) -> str:
    """What is wrong with the first event that lacks something, and with how many others."""
    import pandas as pd

    name = min(lacking, key=lambda one: int(missing[one].argmax()))
    row = int(missing[name].argmax())
    value = frame[name].iloc[row]
    others = ", ".join(f"`{one}` in {number}" for one, number in lacking.items())
    if name == TIMESTAMP and not pd.isna(value):
        value = value.item() if hasattr(value, "item") else value
        fault = f"{value!r} is no time ({lacking[name]} rows); write ISO 8601 such as "
        fault += "2026-03-31T12:00:00Z"
    else:
        fault = f"is empty ({lacking[name]} rows); fill it"
    return (
        f"row {row + 1}, column `{name}`: {fault}, or go on without such events by "
        f'`rejects="drop"` (lacking: {others})'
    )
