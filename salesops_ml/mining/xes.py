"""Event logs in XES, the exchange format of process mining: who did what to which case, and when.

`read_xes` streams the file: memory holds the columns that come out and one case of the document.
A document type declaration is refused before anything is parsed: it is the only place where XML can
declare entities, so none is ever expanded, nested or fetched.
"""

from __future__ import annotations

import gzip
import xml.parsers.expat as expat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from lxml import etree

from salesops_ml.errors import SourceError
from salesops_ml.mining.xes_plain import CASE, LINE, TRACE, plain_log
from salesops_ml.periods import moments_from_iso

__all__ = ["CASE", "LINE", "TRACE", "event_lines", "opened", "read_xes"]

_CHUNK_EVENTS = 50_000
_EVENT = '*[local-name()="event"]/*[@key and @value]'
_EVENT_KEYS = etree.XPath(f"{_EVENT}/@key", smart_strings=False)
_EVENT_VALUES = etree.XPath(f"{_EVENT}/@value", smart_strings=False)
_ATTRIBUTES = etree.XPath("*[@key and @value]")
_KINDS: dict[str, pa.DataType] = {
    "date": pa.timestamp("us"),
    "int": pa.int64(),
    "float": pa.float64(),
    "boolean": pa.bool_(),
}


def read_xes(
    path: Path | str,
    *,
    typed: bool = True,
    lines: bool = True,
    progress: Callable[[int], None] | None = None,
) -> pa.Table:
    """The events of an XES or XES.gz file, one row each, in the order of the file.

    Columns are named as pm4py names them: `concept:name`, `time:timestamp` (naive UTC, microseconds),
    `org:resource`, ...; the attributes of the case come as `case:concept:name`, `case:...`; `@@trace`
    is the number of the event's trace, from 0. Attributes nested inside attributes are left out.

    Args:
        path: the file.
        typed: dates, numbers and booleans in their own types, a value that does not read as its
            type being null; else every attribute as the text that stands in the file.
        lines: with `@@line`, the line where each event begins; it costs a second reading.
        progress: called with the number of events read so far, now and then.

    Raises:
        SourceError: the file is absent, empty, cut off, not well-formed, or declares a document type.
    """
    path = Path(path)
    with opened(path) as stream:
        _refuse_document_type(path, stream)
    with opened(path) as stream:
        plain = plain_log(stream, progress)
    if plain is not None:
        table, kinds = plain.table if lines else plain.table.drop_columns([LINE]), plain.kinds
    else:
        table, kinds = _parsed(path, lines, progress)
    table = table.select(sorted(table.column_names, key=lambda name: name.startswith(CASE)))
    return _typed(table, kinds) if typed else table


def _parsed(
    path: Path, lines: bool, progress: Callable[[int], None] | None
) -> tuple[pa.Table, dict[str, str]]:
    """The log as text columns, and the kinds of its attributes, from a parser of XML."""
    log = _Log()
    with opened(path) as stream:
        for trace in _traces(path, stream):
            if log.add(trace) and progress is not None:
                progress(log.events)
    table = log.table()
    if not table.num_rows:
        raise SourceError(f"{path}: holds no events; check that it is an XES event log")
    if lines:
        table = table.add_column(0, LINE, pa.array(event_lines(path)))
    return table, log.kinds


def event_lines(path: Path) -> npt.NDArray[np.int64]:
    """The line on which each event begins, in the order of the file; (events,).

    lxml knows lines only up to 65,535 for certain, so they are counted apart from it.

    Raises:
        SourceError: the file cannot be read to its end.
    """
    found: list[int] = []
    parents: list[str] = []

    def begin(tag: str, _: object) -> None:
        name = tag.rpartition(":")[2]
        if name == "event" and parents[-1:] == ["trace"]:
            found.append(parser.CurrentLineNumber)
        parents.append(name)

    parser = expat.ParserCreate()
    parser.StartElementHandler = begin
    parser.EndElementHandler = lambda _: parents.pop()
    with opened(path) as stream:
        try:
            parser.ParseFile(stream)
        except expat.ExpatError as error:
            raise _malformed(path, str(error)) from error
    return np.array(found, dtype=np.int64)


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked where it is gzip; faults of the file become `SourceError`."""
    try:
        with path.open("rb") as raw:
            head = raw.read(2)
            if not raw.seekable():
                raise SourceError(f"{path}: is no plain file but a pipe; save it to a file first")
            raw.seek(0)
            if not head:
                raise SourceError(f"{path}: the file is empty; export it again")
            if head != b"\x1f\x8b":
                yield raw
                return
            with gzip.open(raw) as unpacked:
                yield cast(IO[bytes], unpacked)
    except FileNotFoundError as error:
        raise SourceError(f"{path}: no such file; check the path in the configuration") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SourceError(
            f"{path}: the gzip file is cut off or damaged ({error}); copy or download it again"
        ) from error
    except (IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise SourceError(f"{path}: cannot be read: {error}; check the path") from error


class _RootReached(Exception):
    """The prolog is over."""


def _refuse_document_type(path: Path, stream: IO[bytes]) -> None:
    """Read up to the root element; entities could be declared nowhere else."""

    def refuse(*_: object) -> None:
        raise SourceError(
            f"{path}: line {parser.CurrentLineNumber}: declares a document type (<!DOCTYPE ...>), "
            "which can hold hostile entities; an event log needs none: remove the declaration"
        )

    def stop(*_: object) -> None:
        raise _RootReached

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = stop
    try:
        parser.ParseFile(stream)
    except _RootReached:
        return
    except (LookupError, ValueError) as error:
        raise SourceError(f"{path}: cannot be decoded: {error}; save it as UTF-8") from error
    except expat.ExpatError as error:
        raise _malformed(path, str(error)) from error


def _traces(path: Path, stream: IO[bytes]) -> Iterator[Any]:
    """The cases of the log as elements; each is emptied when the next is asked for."""
    context = etree.iterparse(
        stream, events=("end",), tag="{*}trace", resolve_entities=False, no_network=True,
        load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True,
    )  # fmt: skip
    try:
        for _, trace in context:
            yield trace
            trace.clear()
            parent = trace.getparent()
            while parent is not None and trace.getprevious() is not None:
                del parent[0]
    except etree.XMLSyntaxError as error:
        raise _malformed(path, str(error)) from error


def _malformed(path: Path, reason: str) -> SourceError:
    return SourceError(f"{path}: is not well-formed XML: {reason}; export the log again")


class _Log:
    """Events on their way into columns: some cases as Python lists, the rest packed away."""

    def __init__(self) -> None:
        self.kinds: dict[str, str] = {}
        self.events = 0
        self._traces = 0
        self._chunks: list[pa.Table] = []
        self._start_chunk()

    def _start_chunk(self) -> None:
        self._keys: list[str] = []
        self._values: list[str] = []
        self._widths: list[int] = []
        self._count = 0
        self._cases: list[dict[str, str]] = []
        self._sizes: list[int] = []

    def add(self, trace: Any) -> bool:
        """Take one case; True where it filled a chunk."""
        keys = _EVENT_KEYS(trace)
        events = list(trace.iterchildren("{*}event"))
        widths = [len(event) for event in events]
        if sum(widths) != len(keys):
            widths = [len(_ATTRIBUTES(event)) for event in events]
        if not self.kinds.keys() >= set(keys):
            for event in events:
                self._attributes(event, "")
        self._keys += keys
        self._values += _EVENT_VALUES(trace)
        self._widths += widths
        self._cases.append(self._attributes(trace, CASE))
        self._sizes.append(len(events))
        self._count += len(events)
        self.events += len(events)
        full = self._count >= _CHUNK_EVENTS
        if full:
            self._pack()
        return full

    def _attributes(self, element: Any, prefix: str) -> dict[str, str]:
        """Attributes of a case or event; the kind of each is that of its first appearance."""
        found = {}
        for attribute in _ATTRIBUTES(element):
            name = prefix + attribute.get("key")
            self.kinds.setdefault(name, attribute.tag.rpartition("}")[2])
            found[name] = attribute.get("value")
        return found

    def _pack(self) -> None:
        owner = np.repeat(np.arange(self._count), self._widths)
        columns = {
            TRACE: pa.array(np.repeat(np.arange(len(self._sizes)) + self._traces, self._sizes)),
            **_scattered(self._keys, self._values, owner, self._count),
        }
        of_case = np.repeat(np.arange(len(self._sizes)), self._sizes)
        for name in dict.fromkeys(name for case in self._cases for name in case):
            values = pa.array([case.get(name) for case in self._cases], pa.string())
            columns[name] = values.take(pa.array(of_case))
        self._chunks.append(pa.table(columns))
        self._traces += len(self._sizes)
        self._start_chunk()

    def table(self) -> pa.Table:
        """All events so far, every attribute as text."""
        self._pack()
        return pa.concat_tables(self._chunks, promote_options="default")


def _scattered(
    keys: list[str], values: list[str], owner: npt.NDArray[np.int64], events: int
) -> dict[str, pa.Array]:
    """One column per key, from all attributes of all events laid end to end."""
    coded = pa.array(keys, pa.string()).dictionary_encode()
    codes = coded.indices.to_numpy(zero_copy_only=False)
    texts = pa.array(values, pa.string())
    columns = {}
    for code, name in enumerate(coded.dictionary.to_pylist()):
        place = np.full(events, -1, dtype=np.int64)
        of_key = np.flatnonzero(codes == code)
        place[owner[of_key]] = of_key
        columns[name] = texts.take(pa.array(place, mask=place < 0))
    return columns


def _typed(table: pa.Table, kinds: dict[str, str]) -> pa.Table:
    for index, name in enumerate(table.column_names):
        kind = kinds.get(name, "string")
        if kind in _KINDS:
            table = table.set_column(index, name, _read_as(table[name], kind))
    return table


def _read_as(texts: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    """`texts` in the type of an XES kind; what does not read as such becomes null."""
    if kind == "date":
        return moments_from_iso(texts)
    try:
        return texts.cast(_KINDS[kind])
    except pa.ArrowInvalid:
        unique = pc.unique(texts)
        read = pa.array([_or_null(text, _KINDS[kind]) for text in unique], _KINDS[kind])
        return pa.chunked_array([read.take(pc.index_in(chunk, unique)) for chunk in texts.chunks])


def _or_null(text: pa.Scalar, kind: pa.DataType) -> Any:
    try:
        return text.cast(kind).as_py()
    except pa.ArrowInvalid:
        return None
