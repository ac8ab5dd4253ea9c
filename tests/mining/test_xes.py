"""XES logs: what comes out is what stands in the file, and hostile or broken files are refused."""

from __future__ import annotations

import gzip
from datetime import datetime
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.errors import SourceError
from salesops_ml.mining import xes
from salesops_ml.mining.xes import LINE, TRACE, read_xes
from tests.needs import shared_data

LOG = """<?xml version="1.0" encoding="UTF-8"?>
<log xmlns="http://www.xes-standard.org/">
  <!-- a comment -->
  <string key="creator" value="by hand"/>
  <global scope="event"><string key="concept:name" value="none"/></global>
  <trace>
    <string key="concept:name" value="d1"/>
    <float key="AMOUNT" value="10.5"/>
    <event>
      <string key="concept:name" value="Call &amp; ask"/>
      <date key="time:timestamp" value="2026-03-01T10:00:00.250+01:00"/>
      <int key="count" value="3"/>
      <list key="things"><string key="nested" value="left out"/></list>
    </event>
    <event>
      <string key="concept:name" value="Offer"><string key="inner" value="left out"/></string>
      <date key="time:timestamp" value="2026-03-02T10:00:00Z"/>
      <boolean key="sent" value="true"/>
    </event>
  </trace>
  <trace>
    <string key="concept:name" value="d2"/>
    <event>
      <date key="time:timestamp" value="someday"/>
      <string key="concept:name" value="Offer"/>
      <int key="count" value="many"/>
    </event>
  </trace>
</log>
"""


def write(folder: Path, text: str, name: str = "log.xes") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_are_named_and_typed_as_pm4py_names_them(tmp_path: Path) -> None:
    log = read_xes(write(tmp_path, LOG))
    assert log["case:concept:name"].to_pylist() == ["d1", "d1", "d2"]
    assert log["case:AMOUNT"].to_pylist() == [10.5, 10.5, None]
    assert log["concept:name"].to_pylist() == ["Call & ask", "Offer", "Offer"]
    assert log["time:timestamp"].to_pylist()[:2] == [
        datetime(2026, 3, 1, 9, 0, 0, 250_000),
        datetime(2026, 3, 2, 10),
    ]
    assert log["sent"].to_pylist() == [None, True, None]
    assert log[TRACE].to_pylist() == [0, 0, 1]
    assert not {"nested", "inner", "things", "creator"} & set(log.column_names)


def test_a_value_that_is_not_of_its_kind_is_null_and_kept_as_text_when_asked(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, LOG)
    typed, plain = read_xes(path), read_xes(path, typed=False)
    assert typed["count"].to_pylist() == [3, None, None]
    assert typed["time:timestamp"].to_pylist()[2] is None
    assert plain["count"].to_pylist() == ["3", None, "many"]
    assert plain["time:timestamp"].to_pylist()[2] == "someday"


def test_each_event_knows_its_line(tmp_path: Path) -> None:
    lines = LOG.splitlines()
    found = read_xes(write(tmp_path, LOG))[LINE].to_pylist()
    assert [lines[line - 1].strip() for line in found] == ["<event>"] * 3


def test_lines_stay_right_beyond_the_65535_that_parsers_like_to_count_to(tmp_path: Path) -> None:
    text = LOG.replace("  <trace>", "\n" * 70_000 + "  <trace>", 1)
    lines = text.splitlines()
    found = read_xes(write(tmp_path, text))[LINE].to_pylist()
    assert [lines[line - 1].strip() for line in found] == ["<event>"] * 3


def test_a_gzip_file_reads_the_same(tmp_path: Path) -> None:
    packed = tmp_path / "log.xes.gz"
    packed.write_bytes(gzip.compress(LOG.encode()))
    assert read_xes(packed).equals(read_xes(write(tmp_path, LOG)))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_chunks_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    path = write(tmp_path, LOG)
    whole, heard = read_xes(path), []
    monkeypatch.setattr(xes, "_CHUNK_EVENTS", size)
    assert read_xes(path, progress=heard.append).select(whole.column_names).equals(whole)
    assert heard == sorted(heard)
    assert heard or size == 3


HOSTILE = {
    "billion laughs": '<!DOCTYPE log [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><log>&b;</log>',
    "external entity": '<!DOCTYPE log [<!ENTITY x SYSTEM "file:///etc/passwd">]><log>&x;</log>',
    "parameter entity": '<!DOCTYPE log [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]><log/>',
    "external subset": '<!DOCTYPE log SYSTEM "file:///etc/passwd"><log/>',
    "in an attribute": '<!DOCTYPE log [<!ENTITY a "ha">]><log><trace key="&a;"/></log>',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_document_type_is_refused_before_anything_is_expanded(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, '<?xml version="1.0"?>\n' + HOSTILE[name])
    with pytest.raises(SourceError, match=r"line 2: declares a document type.*remove"):
        read_xes(path)


def test_a_document_type_in_utf16_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "log.xes"
    path.write_bytes(HOSTILE["billion laughs"].encode("utf-16"))
    with pytest.raises(SourceError, match="declares a document type"):
        read_xes(path)


def test_endless_nesting_is_an_error_and_no_crash(tmp_path: Path) -> None:
    path = write(tmp_path, "<log><trace>" + "<string>" * 100_000)
    with pytest.raises(SourceError, match="not well-formed"):
        read_xes(path)


def test_a_gzip_bomb_that_is_no_xml_stops_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bomb.xes.gz"
    path.write_bytes(gzip.compress(b" " * 1000 + b"\0" * 50_000_000))
    with pytest.raises(SourceError, match="not well-formed"):
        read_xes(path)


BROKEN = {
    "a tag that is no name": (
        b"<log><trace><event><d24:00ate key='n' value='3'/></event></trace></log>",
        "not well-formed",
    ),
    "empty": (b"", "is empty"),
    "cut off": (LOG.encode()[:900], "not well-formed"),
    "not closed": (LOG.replace("</log>", "").encode(), "not well-formed"),
    "unknown entity": (LOG.replace("&amp;", "&boom;").encode(), "not well-formed"),
    "wrong encoding": (LOG.replace("Offer", "Öffer").encode("latin-1"), "not well-formed"),
    "unknown encoding": (LOG.replace("UTF-8", "KLINGON").encode(), "cannot be decoded.*UTF-8"),
    "encoding of many bytes": (LOG.replace("UTF-8", "gb18030").encode(), "cannot be decoded"),
    "truncated gzip": (gzip.compress(LOG.encode())[:-20], "cut off or damaged"),
    "damaged gzip": (gzip.compress(LOG.encode())[:-8] + b"\0" * 8, "cut off or damaged"),
    "no events": (b"<log><trace/></log>", "holds no events"),
    "other XML": (b"<html><body/></html>", "holds no events"),
    "no XML": (b"deal,stage\n1,won\n", "not well-formed"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    content, message = BROKEN[name]
    path = tmp_path / "log.xes"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=message) as caught:
        read_xes(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_errors_that_name_them(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        read_xes(tmp_path / "none.xes")
    with pytest.raises(SourceError, match="cannot be read"):
        read_xes(tmp_path)


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
events = st.dictionaries(st.sampled_from(["concept:name", "org:resource", "note"]), texts)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(texts, st.lists(events, max_size=4)), min_size=1, max_size=4))
def test_whatever_is_written_is_read_back(tmp_path_factory, traces) -> None:
    def strings(values: dict[str, str]) -> str:
        return "".join(
            f"<string key={quoteattr(key)} value={quoteattr(value)}/>"
            for key, value in values.items()
        )

    body = "".join(
        f"<trace>{strings({'concept:name': name})}"
        + "".join(f"<event>{strings(event)}</event>" for event in of_case)
        + "</trace>"
        for name, of_case in traces
    )
    path = write(tmp_path_factory.mktemp("xes"), f"<log>{body}</log>")
    wanted = [{"case:concept:name": name, **event} for name, of_case in traces for event in of_case]
    if not wanted:
        with pytest.raises(SourceError, match="no events"):
            read_xes(path)
        return
    rows = read_xes(path).drop_columns([LINE, TRACE]).to_pylist()
    found = [{key: value for key, value in row.items() if value is not None} for row in rows]
    assert found == wanted


@pytest.mark.slow
@pytest.mark.parametrize(
    "parts", [("helpdesk", "Helpdesk.xes.gz"), ("bpic2012", "BPI_Challenge_2012.xes.gz")]
)
def test_real_logs_read_as_pm4py_reads_them(parts: tuple[str, str]) -> None:
    import pm4py

    path = shared_data(*parts)
    theirs = pm4py.read_xes(str(path), variant="iterparse")
    ours = read_xes(path)
    for column in ("case:concept:name", "concept:name", "org:resource", "lifecycle:transition"):
        assert ours[column].to_pylist() == [
            None if value != value else value for value in theirs[column]
        ]
    times = theirs["time:timestamp"].dt.tz_convert("UTC").dt.tz_localize(None)
    assert ours["time:timestamp"].equals(
        pa.chunked_array([pa.array(times.astype("datetime64[us]"), pa.timestamp("us"))])
    )
