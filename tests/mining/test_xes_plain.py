"""Plainly written XES is read without a parser, and reads exactly as the parser reads it."""

from __future__ import annotations

import io
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.errors import SourceError
from salesops_ml.mining import xes, xes_plain
from salesops_ml.mining.xes import CASE, LINE, read_xes
from salesops_ml.mining.xes_plain import plain_log
from tests.needs import shared_data

PLAIN = """<?xml version="1.0" encoding="UTF-8"?>
<!-- written by a program -->
<log xmlns="http://www.xes-standard.org/">
  <global scope="event"><string key="concept:name" value="none"/></global>
  <trace>
    <string key="concept:name" value="d1"/>
    <float key="AMOUNT" value="10.5"/>
    <event>
      <string key="concept:name" value="Call &amp; ask &lt;now&gt; &quot;it&apos;s&quot; &amp;amp;"/>
      <date key="time:timestamp" value="2026-03-01T10:00:00.250+01:00"/>
      <int key="count" value="3"/>
    </event>
    <event>
      <string key="concept:name" value="Angebot für Müller"/>
      <date key="time:timestamp" value="2026-03-02T10:00:00Z"/>
    </event>
  </trace>
  <trace>
    <event>
      <boolean key="sent" value="true"/>
      <string key="concept:name" value=""/>
      <int key="count" value="many"/>
    </event>
    <string key="concept:name" value="d2"/>
  </trace>
</log>
"""


def parsed(path: Path):
    """What the parser of XML makes of the file."""
    with xes.opened(path) as stream:
        xes._refuse_document_type(path, stream)
    table, kinds = xes._parsed(path, True, None)
    table = table.select(sorted(table.column_names, key=lambda name: name.startswith(CASE)))
    return xes._typed(table, kinds)


def is_plain(text: str) -> bool:
    return plain_log(io.BytesIO(text.encode())) is not None


def agree(path: Path) -> None:
    """Both ways give the same table, or the same error."""
    refused = ""
    try:
        wanted = parsed(path)
    except SourceError as error:
        refused = str(error)
    if refused:
        with pytest.raises(SourceError) as caught:
            read_xes(path)
        assert str(caught.value) == refused
        return
    found = read_xes(path)
    assert found.schema.equals(wanted.schema)
    assert found.equals(wanted)


@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
def test_plain_text_is_read_as_the_parser_reads_it(tmp_path: Path, ending: str) -> None:
    text = PLAIN.replace("\n", ending)
    path = tmp_path / "log.xes"
    path.write_bytes(text.encode())
    assert is_plain(text)
    agree(path)
    assert read_xes(path)[LINE].to_pylist() == ([8, 13, 19] if ending else [1, 1, 1])


@pytest.mark.parametrize("size", [40, 200, 500])
def test_blocks_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(xes_plain, "_BLOCK", size)
    path = tmp_path / "log.xes"
    path.write_text(PLAIN.replace("</log>", PLAIN[PLAIN.find("  <trace>") :]), encoding="utf-8")
    agree(path)


OTHER = {
    "a comment between cases": ("  <trace>\n    <event>", "  <!-- x --><trace>\n    <event>"),
    "a case in a comment": ("  <global", "  <!-- <trace><event></event></trace> --><global"),
    "everything in a comment": ("  <trace>\n    <string", "<!-- <trace>\n    <string"),
    "nested attributes": ('value="3"/>', 'value="3"><int key="x" value="1"/></int>'),
    "a list": ('<int key="count" value="3"/>', '<list key="l"><values/></list>'),
    "apostrophes": ('"d1"', "'d1'"),
    "another order": ('key="concept:name" value="d1"', 'value="d1" key="concept:name"'),
    "one attribute more": ('value="d1"', 'value="d1" more="1"'),
    "attribute without a value": (' value="d1"', ""),
    "a number for a sign": ("&amp; ask", "&#38; ask"),
    "a sign unknown": ("&amp; ask", "&boom; ask"),
    "a bare ampersand": ("&amp; ask", "& ask"),
    "a bare <": ("&lt;now", "<now"),
    "a bare >": ("now&gt;", "now>"),
    "a tab in a value": ("Angebot für", "Angebot\tfür"),
    "a line in a value": ("Angebot für", "Angebot\nfür"),
    "a control character": ("Angebot", "Ange\x01bot"),
    "a character that is none": ("Angebot", "Ange\uffffbot"),
    "no closing event": ("    </event>\n  </trace>\n  <trace>", "  </trace>\n  <trace>"),
    "an event outside of a case": ("  <trace>\n    <event>", "    <event>\n    <event>"),
    "an event in an event": ("    </event>\n    <event>\n", "<event>\n"),
    "an empty event": ("    </event>\n    <event>\n", "</event><event></event><event/><event>\n"),
    "an empty case": ("</log>", "<trace></trace><trace/></log>"),
    "text between": ("    </event>\n    <event>", "    </event>\n  words  <event>"),
    "a tag of another kind": ("<boolean", "<container"),
    "a tag with a prefix": ("<boolean", "<x:boolean"),
    "a case with attributes": ("  <trace>\n    <event>", '  <trace id="1">\n    <event>'),
    "a key twice": ('<int key="count"', '<string key="concept:name" value="b"/><int key="count"'),
    "a key of two kinds": ('<int key="count" value="many"', '<string key="count" value="many"'),
    "a key of the case in an event": ('key="sent"', 'key="case:AMOUNT"'),
    "a key like ours": ('key="sent"', 'key="@@trace"'),
    "another root": ("<log ", "<logs "),
    "cut off": ("</log>", ""),
    "a second root": ("</log>", "</log><log/>"),
    "another encoding": ("UTF-8", "ISO-8859-1"),
    "an unknown encoding": ("UTF-8", "KLINGON"),
    "deeper cases": ("  <global", "  <part><trace/></part><global"),
}


@pytest.mark.parametrize("name", OTHER)
def test_whatever_else_stands_there_is_judged_by_the_parser(tmp_path: Path, name: str) -> None:
    old, new = OTHER[name]
    assert old in PLAIN
    path = tmp_path / "log.xes"
    path.write_text(PLAIN.replace(old, new, 1), encoding="utf-8")
    agree(path)


def test_text_that_is_not_utf8_is_left_to_the_parser(tmp_path: Path) -> None:
    path = tmp_path / "log.xes"
    path.write_bytes(PLAIN.encode("latin-1"))
    agree(path)
    path.write_bytes(PLAIN.replace("UTF-8", "ISO-8859-1").encode("latin-1"))
    agree(path)
    assert read_xes(path)["concept:name"].to_pylist()[1] == "Angebot für Müller"


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
keys = st.sampled_from(["concept:name", "note", "case:x", "a&b", "é"])
kinds = st.sampled_from(["string", "int", "float", "boolean", "date", "id", "list"])
values = st.one_of(texts, st.sampled_from(["1", "2.5", "true", "2026-03-01T10:00:00+02:00"]))
attributes = st.lists(st.tuples(kinds, keys, values), max_size=3)
cases = st.lists(st.tuples(attributes, st.lists(attributes, max_size=3)), min_size=1, max_size=4)


def written(case: tuple, blank: str) -> str:
    def line(kind: str, key: str, value: str) -> str:
        return f"<{kind} key={quoteattr(key)} value={quoteattr(value)}/>{blank}"

    own = "".join(line(*one) for one in case[0])
    events = "".join(
        f"<event>{blank}{''.join(line(*one) for one in event)}</event>{blank}" for event in case[1]
    )
    return f"<trace>{blank}{own}{events}</trace>{blank}"


@settings(max_examples=300, deadline=None)
@given(cases=cases, blank=st.sampled_from(["", "\n", "\r\n  ", "\t"]), size=st.integers(1, 400))
def test_made_logs_read_the_same_both_ways(tmp_path_factory, cases, blank, size) -> None:
    text = f"<log>{blank}{''.join(written(case, blank) for case in cases)}</log>"
    path = tmp_path_factory.mktemp("xes") / "log.xes"
    path.write_bytes(text.encode())
    block, xes_plain._BLOCK = xes_plain._BLOCK, size
    try:
        agree(path)
    finally:
        xes_plain._BLOCK = block


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(PLAIN)), st.integers(0, 12), st.sampled_from(list("<>/\"'&= a\n\t\x01")))
def test_damaged_text_reads_the_same_both_ways(tmp_path_factory, start, length, sign) -> None:
    path = tmp_path_factory.mktemp("xes") / "log.xes"
    path.write_text(PLAIN[:start] + sign + PLAIN[start + length :], encoding="utf-8")
    agree(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "parts", [("helpdesk", "Helpdesk.xes.gz"), ("bpic2012", "BPI_Challenge_2012.xes.gz")]
)
def test_real_logs_are_plain_and_read_the_same_both_ways(parts: tuple[str, str]) -> None:
    path = shared_data(*parts)
    with xes.opened(path) as stream:
        assert plain_log(stream) is not None
    agree(path)
