"""Files of rows as columns, each row with its exact line."""

from __future__ import annotations

import csv
import gzip
import io
from datetime import datetime
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.crm import tabular
from salesops_ml.crm.tabular import Layout, Ragged, read_cells
from salesops_ml.errors import ConfigError, SourceError


def write(folder: Path, content: str | bytes, name: str = "rows.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_lines_are_those_of_an_editor_also_after_line_breaks_in_quotes(tmp_path: Path) -> None:
    text = 'id,note\n1,"two\nlines"\n\n2,plain\r\n3,"a ""quote"""\n'
    cells = read_cells(write(tmp_path, text), Layout())
    assert cells.columns.to_pydict() == {
        "id": ["1", "2", "3"],
        "note": ["two\nlines", "plain", 'a "quote"'],
    }
    assert cells.lines.to_pylist() == [2, 5, 6]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.text('ab,"\n ', max_size=5), st.text("xy'\n", max_size=4)).filter(any),
        max_size=12,
    ),
    st.sampled_from([1, 3, 50_000]),
)
def test_every_row_is_found_on_its_line(tmp_path_factory, rows, chunk) -> None:
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    text, lines = io.StringIO(), []
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["one", "two"])
    for row in rows:
        lines.append(text.getvalue().count("\n") + 1)
        writer.writerow(row)
    path.write_text(text.getvalue(), newline="")
    before, tabular._CHUNK_ROWS = tabular._CHUNK_ROWS, chunk
    try:
        cells = read_cells(path, Layout())
    finally:
        tabular._CHUNK_ROWS = before
    assert list(zip(*cells.columns.to_pydict().values(), strict=True)) == rows
    assert cells.lines.to_pylist() == lines


def test_a_row_with_another_number_of_cells_is_set_aside(tmp_path: Path) -> None:
    cells = read_cells(write(tmp_path, "a,b\n1,2\n3\n4,5,6\n7,8\n"), Layout())
    assert cells.columns["a"].to_pylist() == ["1", "7"]
    assert cells.ragged == (Ragged(3, 1, "3"), Ragged(4, 3, "4,5,6"))


def test_a_byte_order_mark_another_delimiter_and_gzip_are_no_trouble(tmp_path: Path) -> None:
    content = "﻿id; name \n1;ä\n".encode()
    layout = Layout(delimiter=";")
    plain = read_cells(write(tmp_path, content), layout)
    packed = read_cells(write(tmp_path, gzip.compress(content), "rows.csv.gz"), layout)
    assert plain.columns.to_pydict() == packed.columns.to_pydict() == {"id": ["1"], "name": ["ä"]}


def test_a_wrong_encoding_is_told_with_its_line_and_byte(tmp_path: Path) -> None:
    path = write(tmp_path, "id,name\n1,a\n2,ä\n".encode("cp1252"))
    with pytest.raises(SourceError, match=r"line 3 is not utf-8 \(byte 0xe4\).*set `encoding`"):
        read_cells(path, Layout())
    assert read_cells(path, Layout(encoding="cp1252")).columns["name"].to_pylist() == ["a", "ä"]


def test_utf16_taken_for_utf8_is_a_wrong_encoding(tmp_path: Path) -> None:
    path = write(tmp_path, "id,name\n1,a\n".encode("utf-16"))
    with pytest.raises(SourceError, match="line 1 is not utf-8"):
        read_cells(path, Layout())
    assert read_cells(path, Layout(encoding="utf-16")).columns["id"].to_pylist() == ["1"]


CONFIG = {
    "unknown encoding": ("rows.csv", Layout(encoding="utf-99"), "`encoding`"),
    "delimiter of two": ("rows.csv", Layout(delimiter="||"), "`delimiter`"),
    "unknown suffix": ("rows.doc", Layout(), "one of .csv"),
}


@pytest.mark.parametrize("name", CONFIG)
def test_a_layout_that_cannot_be_is_an_error_of_the_configuration(
    tmp_path: Path, name: str
) -> None:
    file, layout, message = CONFIG[name]
    with pytest.raises(ConfigError, match=message):
        read_cells(write(tmp_path, "a,b\n1,2\n", file), layout)


BROKEN = {
    "empty": ("rows.csv", b"", "is empty"),
    "blank lines only": ("rows.csv", b"\n\n", "is empty"),
    "column twice": ("rows.csv", b"a,b,a\n1,2,3\n", "`a` stands there twice"),
    "open quote": ("rows.csv", b'a,b\n1,2\n"3,4\n5,6\n', "line 4: is not CSV"),
    "text after a quote": ("rows.csv", b'a,b\n1,"2"x\n', "line 2: is not CSV"),
    "truncated gzip": ("rows.csv.gz", gzip.compress(b"a,b\n" * 500)[:-9], "cut off or damaged"),
    "no Parquet": ("rows.parquet", b"PAR1 and then nothing", "not a whole Parquet file"),
    "no Excel": ("rows.xlsx", b"PK but no zip", "not a whole Excel workbook"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_no_table_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    file, content, message = BROKEN[name]
    path = write(tmp_path, content, file)
    with pytest.raises(SourceError, match=message) as caught:
        read_cells(path, Layout())
    assert str(path) in str(caught.value)


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none.csv: no such file"):
        read_cells(tmp_path / "none.csv", Layout())


def test_parquet_keeps_its_types_and_counts_lines_like_a_csv(tmp_path: Path) -> None:
    table = pa.table({"id": [1, 2], "at": [datetime(2026, 1, 1), None]})
    pq.write_table(table, tmp_path / "rows.parquet")
    cells = read_cells(tmp_path / "rows.parquet", Layout())
    assert cells.columns["at"].to_pylist() == [datetime(2026, 1, 1), None]
    assert pa.types.is_integer(cells.columns["id"].type)
    assert cells.lines.to_pylist() == [2, 3]


def workbook(folder: Path) -> Path:
    book = openpyxl.Workbook()
    first = book.active
    first.title = "notes"
    first.append(["nothing"])
    sheet = book.create_sheet("deals")
    sheet.append(["id", "opened", "value", "won", "mixed"])
    sheet.append([1, datetime(2026, 1, 1, 12), 10.5, True, datetime(2026, 1, 1)])
    sheet.append([None] * 5)
    sheet.append(["b", None, 7.0, False, "soon"])
    book.save(folder / "book.xlsx")
    return folder / "book.xlsx"


def test_excel_gives_dates_as_dates_and_the_rest_as_text(tmp_path: Path) -> None:
    cells = read_cells(workbook(tmp_path), Layout(sheet="deals"))
    assert cells.columns.to_pydict() == {
        "id": ["1", "b"],
        "opened": [datetime(2026, 1, 1, 12), None],
        "value": ["10.5", "7"],
        "won": ["true", "false"],
        "mixed": ["2026-01-01T00:00:00", "soon"],
    }
    assert cells.lines.to_pylist() == [2, 4]


def test_a_sheet_is_found_by_name_or_number_and_missed_by_name(tmp_path: Path) -> None:
    path = workbook(tmp_path)
    by_number, by_name = read_cells(path, Layout(sheet=1)), read_cells(path, Layout(sheet="deals"))
    assert by_number.columns.equals(by_name.columns)
    with pytest.raises(ConfigError, match="no `quotes`; it has: notes, deals"):
        read_cells(path, Layout(sheet="quotes"))
    with pytest.raises(ConfigError, match="no `7`"):
        read_cells(path, Layout(sheet=7))


def test_progress_is_told(tmp_path: Path) -> None:
    heard: list[int] = []
    text = "a\n" + "x\n" * 120_000
    read_cells(write(tmp_path, text), Layout(), progress=heard.append)
    assert heard == [50_001, 100_001, 120_001]
