"""Files of rows - CSV, Parquet, Excel - as columns, with the exact line of each row kept beside them.

The header is line 1. A quoted value may hold line breaks; a row's line is where it begins.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import accumulate, islice
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

import pyarrow as pa
import pyarrow.parquet as pq

from salesops_ml.errors import ConfigError, SourceError
from salesops_ml.mining.xes import opened

_CHUNK_ROWS = 50_000
_LINE_BREAK = re.compile(r"\r\n|\r|\n")
TEXT, PARQUET, EXCEL = (".csv", ".tsv", ".txt"), (".parquet", ".pq"), (".xlsx", ".xlsm")


@dataclass(frozen=True)
class Layout:
    """How a file of rows is laid out, where its kind leaves that open."""

    encoding: str = "utf-8"
    delimiter: str = ","
    sheet: str | int = 0


@dataclass(frozen=True)
class Ragged:
    """A row whose number of cells is not that of the header."""

    line: int
    cells: int
    text: str


@dataclass(frozen=True)
class Cells:
    """A file's columns by the names in its header, the line of each row, and rows that do not fit."""

    columns: pa.Table
    lines: pa.ChunkedArray
    ragged: tuple[Ragged, ...] = ()


def read_cells(
    path: Path, layout: Layout, *, progress: Callable[[int], None] | None = None
) -> Cells:
    """The rows of a CSV (also .gz), Parquet or Excel file.

    CSV columns are text; the other kinds keep the types that the file has.

    Raises:
        SourceError: the file is absent, empty, cut off, in another encoding, or not what its name
            says; or its header repeats a column.
        ConfigError: the suffix, the encoding or the sheet is not known.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    suffix = suffixes[-1] if suffixes else ""
    if suffix in TEXT:
        return _read_csv(path, layout, progress)
    if suffix in PARQUET:
        return _read_parquet(path)
    if suffix in EXCEL:
        return _read_excel(path, layout.sheet)
    known = ", ".join((*TEXT, *PARQUET, *EXCEL))
    raise ConfigError(f"{path}: the kind of file is told by its suffix, one of {known}")


def _read_csv(path: Path, layout: Layout, progress: Callable[[int], None] | None) -> Cells:
    encoding = "utf-8-sig" if layout.encoding.lower() in ("utf-8", "utf8") else layout.encoding
    with opened(path) as stream:
        try:
            text = io.TextIOWrapper(stream, encoding=encoding, newline="")
            return _CsvColumns(path, text, layout.delimiter, progress).read()
        except UnicodeError as error:
            raise _wrong_encoding(path, layout.encoding, error) from error
        except LookupError as error:
            raise ConfigError(f"{path}: `encoding`: {error}; write one such as utf-8") from error


def _wrong_encoding(path: Path, encoding: str, error: UnicodeError) -> SourceError:
    line, found = 1, ""
    with opened(path) as stream:
        content = stream.read()
    try:
        content.decode(encoding)
    except UnicodeDecodeError as exact:
        line = content.count(b"\n", 0, exact.start) + 1
        found = f" (byte {content[exact.start]:#04x})"
    return SourceError(
        f"{path}: line {line} is not {encoding}{found}: {error.args[-1]}; "
        "set `encoding` to the one it was written in, often cp1252, or export it as utf-8"
    )


class _CsvColumns:
    """A CSV file on its way into columns, some thousand rows at a time."""

    def __init__(
        self, path: Path, text: IO[str], delimiter: str, progress: Callable[[int], None] | None
    ) -> None:
        self._path = path
        try:
            self._reader = csv.reader(text, delimiter=delimiter, strict=True)
        except TypeError as error:
            raise ConfigError(f"{path}: `delimiter`: `{delimiter}`: {error}") from error
        self._progress = progress
        self._ragged: list[Ragged] = []

    def read(self) -> Cells:
        """Every row that has as many cells as the header."""
        header = self._header()
        schema = pa.schema([(name, pa.string()) for name in header])
        chunks, lines = [schema.empty_table()], [pa.array([], pa.int64())]
        for rows, numbers in self._chunks():
            kept, places = self._regular(rows, numbers, len(header))
            columns = [pa.array(column, pa.string()) for column in zip(*kept, strict=True)]
            if columns:
                chunks.append(pa.table(columns, schema=schema))
                lines.append(pa.array(places, pa.int64()))
            if self._progress is not None:
                self._progress(self._reader.line_num)
        return Cells(pa.concat_tables(chunks), pa.chunked_array(lines), tuple(self._ragged))

    def _header(self) -> list[str]:
        for rows, _ in self._chunks(1):
            if any(rows[0]):
                return _checked_header(self._path, rows[0])
        raise SourceError(f"{self._path}: the file is empty; export it again")

    def _chunks(self, size: int | None = None) -> Iterator[tuple[list[list[str]], Sequence[int]]]:
        """Some rows at a time, with the line that each begins on."""
        try:
            before = self._reader.line_num
            while rows := list(islice(self._reader, size or _CHUNK_ROWS)):
                yield rows, _lines(rows, before, self._reader.line_num)
                before = self._reader.line_num
        except csv.Error as error:
            raise SourceError(
                f"{self._path}: line {self._reader.line_num}: is not CSV: {error}; "
                "check the quotes there and the `delimiter`"
            ) from error

    def _regular(
        self, rows: list[list[str]], numbers: Sequence[int], width: int
    ) -> tuple[list[list[str]], Sequence[int]]:
        """The rows of the header's width; those without any value are blank lines, others ragged."""
        if set(map(len, rows)) == {width} and "" not in next(zip(*rows, strict=True)):
            return rows, numbers
        kept: list[list[str]] = []
        places: list[int] = []
        for row, line in zip(rows, numbers, strict=True):
            if len(row) == width and any(row):
                kept.append(row)
                places.append(line)
            elif any(row):
                self._ragged.append(Ragged(line, len(row), ",".join(row)[:200]))
        return kept, places


def _lines(rows: list[list[str]], before: int, after: int) -> Sequence[int]:
    """The line on which each row begins: the one after its forerunner's last."""
    if after - before == len(rows):
        return range(before + 1, after + 1)
    breaks = [sum(len(_LINE_BREAK.findall(cell)) for cell in row) for row in rows]
    return list(accumulate((1 + count for count in breaks[:-1]), initial=before + 1))


def _checked_header(path: Path, header: list[str]) -> list[str]:
    names = [name.strip() for name in header]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SourceError(
            f"{path}: line 1: column `{twice[0]}` stands there twice; rename one of them"
        )
    return names


def _read_parquet(path: Path) -> Cells:
    with opened(path) as stream:
        try:
            table = pq.read_table(stream)
        except (pa.ArrowInvalid, OSError) as error:
            raise SourceError(f"{path}: is not a whole Parquet file: {error}") from error
    return Cells(table, pa.chunked_array([pa.array(range(2, table.num_rows + 2), pa.int64())]))


def _read_excel(path: Path, sheet: str | int) -> Cells:
    import openpyxl

    with opened(path) as stream:
        try:
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
        except (BadZipFile, KeyError, ValueError, OSError) as error:
            raise SourceError(f"{path}: is not a whole Excel workbook: {error}") from error
        rows = list(_sheet(path, book, sheet).iter_rows(values_only=True))
    if not rows or not any(value is not None for value in rows[0]):
        raise SourceError(f"{path}: sheet `{sheet}` has no header in its first row")
    header = _checked_header(path, [_cell_text(value) or "" for value in rows[0]])
    numbered = [(line, row) for line, row in enumerate(rows[1:], start=2) if any(_filled(row))]
    columns = {
        name: _excel_column([row[index] for _, row in numbered])
        for index, name in enumerate(header)
        if name
    }
    lines = pa.chunked_array([pa.array([line for line, _ in numbered], pa.int64())])
    return Cells(pa.table(columns), lines)


def _filled(row: tuple[Any, ...]) -> Iterator[bool]:
    return (value is not None for value in row)


def _sheet(path: Path, book: Any, sheet: str | int) -> Any:
    names = list(book.sheetnames)
    known = sheet in names if isinstance(sheet, str) else 0 <= sheet < len(names)
    if not known:
        raise ConfigError(f"{path}: `sheet`: there is no `{sheet}`; it has: {', '.join(names)}")
    return book[sheet if isinstance(sheet, str) else names[sheet]]


def _excel_column(values: list[Any]) -> pa.Array:
    """Dates stay dates where the whole column is dates; everything else becomes text."""
    filled = [value for value in values if value is not None]
    if filled and all(isinstance(value, datetime) for value in filled):
        return pa.array(values, pa.timestamp("us"))
    return pa.array([_cell_text(value) for value in values], pa.string())


def _cell_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.isoformat() if isinstance(value, date) else str(value)
