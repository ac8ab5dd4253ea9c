"""XES as programs write it, read at the speed of memory.

Nearly every XES file is written by a program, and so looks alike from end to end: an attribute is
`<string key="..." value="..."/>`, a case `<trace>`, an event `<event>`. Such text needs no parser.
Cut at its quotes, every fourth piece is a key, every fourth a value, and what stands between is one
of a few texts, such as `/></event><event><string key=`. Each of these is understood once; all else
is arithmetic on whole columns.

`plain_log` accepts only text of which it is certain: the pieces between the quotes must be of that
form and follow each other as a document's must, and no byte may be one that XML forbids or changes.
Anything else - comments between cases, attributes in attributes, another encoding, an error - is
None, and for a parser to judge.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from lxml import etree

Ints = npt.NDArray[np.int64]

TRACE = "@@trace"
LINE = "@@line"
CASE = "case:"

_BLOCK = 1 << 22
_LARGEST_CASE = 1 << 26
_LARGEST_VALUE = 10_000_000
_MOST_GAPS = 1_000
_OPEN, _CLOSE = b"<trace>", b"</trace>"
_MIDDLE = int.from_bytes(b'" value=', "little")
_KIND = r"(string|date|int|float|boolean|id)"
_BLANK = r"[ \t\r\n]*"
_BETWEEN = re.compile(
    rf"(?:/>)?{_BLANK}(?P<shut>(?:</event>{_BLANK})?(?:</trace>{_BLANK})?)"
    rf"(?P<open>(?:<trace>{_BLANK})?(?:<event>{_BLANK})?)(?:<{_KIND} key=)?"
)
_ENTITY = re.compile(r"&(amp|lt|gt|quot|apos);")
_MEANS = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_OUTSIDE, _IN_TRACE, _IN_EVENT, _SAME = 0, 1, 2, 3


class NotPlain(Exception):
    """The text is not of the one form that is understood here."""


@dataclass(frozen=True)
class PlainLog:
    """A log as text columns.

    Attributes:
        table: `@@line`, `@@trace` and every attribute as the text that stands in the file.
        kinds: the XES kind of each attribute, that of its first appearance.
    """

    table: pa.Table
    kinds: dict[str, str]


def plain_log(stream: IO[bytes], progress: Callable[[int], None] | None = None) -> PlainLog | None:
    """The log in `stream`, or None where it is not written plainly.

    Args:
        stream: the bytes of the file, unpacked, from its beginning; of its prolog must be known that
            it declares no document type.
        progress: called with the number of events read so far, now and then.
    """
    try:
        return _read(stream, progress)
    except NotPlain:
        return None


def _read(stream: IO[bytes], progress: Callable[[int], None] | None) -> PlainLog:
    rest = _until(stream, b"", _OPEN)
    begin = rest.find(_OPEN)
    head, rest = rest[:begin], rest[begin:]
    blocks = _Blocks(line=head.count(b"\n") + 1)
    while True:
        more = stream.read(_BLOCK)
        end = rest.rfind(_CLOSE) + len(_CLOSE)
        if end >= len(_CLOSE):
            blocks.add(rest[:end])
            rest = rest[end:]
            if progress is not None and more:
                progress(blocks.events)
        if not more:
            break
        if len(rest) > _LARGEST_CASE:
            raise NotPlain
        rest += more
    _check_skeleton(head, rest)
    return blocks.log()


def _until(stream: IO[bytes], found: bytes, wanted: bytes) -> bytes:
    while wanted not in found:
        more = stream.read(_BLOCK)
        if not more or len(found) > 8 * _BLOCK:
            raise NotPlain
        found += more
    return found


def _check_skeleton(head: bytes, tail: bytes) -> None:
    """The document around the cases must be one in which they stand where cases do."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(head + b"<trace/>" + tail, parser)
    except etree.XMLSyntaxError as error:
        raise NotPlain from error
    if [trace.getparent() for trace in root.iter("{*}trace")] != [root]:
        raise NotPlain
    if (root.getroottree().docinfo.encoding or "utf-8").lower() not in ("utf-8", "us-ascii"):
        raise NotPlain


@dataclass(frozen=True)
class _Gap:
    """What stands between a value and the next key, understood.

    Attributes:
        needs: the place in which the value must stand; `_SAME` where either will do.
        leads: the place in which the key stands; `_SAME` where it is that of the value.
        traces, events: how many it opens, 0 or 1.
        kind: of the attribute that follows; None at the end of a block.
        lines, lines_before_event: how many lines it ends, and how many of them before `<event>`.
        tags, controls: how often `<` and how many control characters stand in it.
    """

    needs: int
    leads: int
    traces: int
    events: int
    kind: str | None
    lines: int
    lines_before_event: int
    tags: int
    controls: int


def _understood(text: str, *, first: bool) -> _Gap:
    found = _BETWEEN.fullmatch(text)
    if found is None or text.startswith("/>") is first:
        raise NotPlain
    shut = re.findall(r"</(\w+)>", found["shut"])
    opened = re.findall(r"<(\w+)>", found["open"])
    needs, leads = _place_before(shut, opened, first), _SAME
    if shut or opened:
        leads = _place_after(needs, shut, opened)
    before = text[: text.find("<event>")].count("\n") if "event" in opened else 0
    return _Gap(needs, leads, opened.count("trace"), opened.count("event"), found[3],
                text.count("\n"), before, text.count("<"), sum(sign < " " for sign in text))  # fmt: skip


def _place_before(shut: list[str], opened: list[str], first: bool) -> int:
    if first:
        return _OUTSIDE
    if not shut:
        return _IN_TRACE if opened else _SAME
    return _IN_EVENT if shut[0] == "event" else _IN_TRACE


def _place_after(needs: int, shut: list[str], opened: list[str]) -> int:
    """Where the tags of a gap lead."""
    place = needs
    if shut:
        place = _OUTSIDE if shut[-1] == "trace" else _IN_TRACE
    for tag in opened:
        if place != (_OUTSIDE if tag == "trace" else _IN_TRACE):
            raise NotPlain
        place = _IN_TRACE if tag == "trace" else _IN_EVENT
    return place


class _Blocks:
    """Blocks of whole cases on their way into columns."""

    def __init__(self, line: int) -> None:
        self.events = 0
        self.kinds: dict[str, str] = {}
        self._line = line
        self._traces = 0
        self._gaps: dict[tuple[str, bool], _Gap] = {}
        self._tables: list[pa.Table] = []

    def add(self, block: bytes) -> None:
        """Take the text of some whole cases."""
        text = np.frombuffer(block, np.uint8)
        quote = np.flatnonzero(text == 34).astype(np.int32)
        if len(quote) % 4 or not len(quote) or np.diff(quote).max() > _LARGEST_VALUE:
            raise NotPlain
        _check_middles(block, quote)
        gap, gaps = self._between(block, quote)
        _check_bytes(block, text, gap, gaps)
        where = _places(gap, gaps)
        key, names = _coded(block, quote[0::4] + 1, quote[1::4])
        traces, events = (
            np.cumsum(np.array([getattr(one, what) for one in gaps])[gap])
            for what in ("traces", "events")
        )
        opening = np.flatnonzero(np.array([one.events for one in gaps])[gap])
        self._learn_kinds(key, names, where, gap, gaps)
        of_event = where[:-1] == _IN_EVENT
        columns = {
            LINE: pa.array(self._lines(gap, gaps, opening)),
            TRACE: pa.array(traces[opening] - 1 + self._traces),
        }
        values = _Values(block, quote)
        count = int(events[-1])
        columns |= _columns(values, key, names, of_event, events[:-1] - 1, count, "")
        of_case = _columns(values, key, names, ~of_event, traces[:-1] - 1, int(traces[-1]), CASE)
        spread = pa.array(traces[opening] - 1)
        columns |= {name: column.take(spread) for name, column in of_case.items()}
        self._tables.append(pa.table(columns))
        self._traces += int(traces[-1])
        self._line += int(np.array([one.lines for one in gaps])[gap].sum())
        self.events += count

    def _between(self, block: bytes, quote: npt.NDArray[np.int32]) -> tuple[Ints, list[_Gap]]:
        """The code of what stands before each key, and behind the last value; what the codes mean."""
        start = np.concatenate([[0], quote[3::4] + 1]).astype(np.int32)
        end = np.concatenate([quote[0::4], [len(block)]]).astype(np.int32)
        code, texts = _coded(block, start, end)
        if len(texts) > _MOST_GAPS:
            raise NotPlain
        gaps = [self._gap(text, first=False) for text in texts[1:]]
        gaps.insert(0, self._gap(texts[0], first=True))
        if (code[1:] == 0).any():  # the first is unlike the others: no value stands before it
            raise NotPlain
        keyless = np.array([gap.kind is None for gap in gaps])[code]
        if keyless[:-1].any() or not keyless[-1]:
            raise NotPlain
        return code, gaps

    def _gap(self, text: str, *, first: bool) -> _Gap:
        if (text, first) not in self._gaps:
            self._gaps[text, first] = _understood(text, first=first)
        return self._gaps[text, first]

    def _lines(self, gap: Ints, gaps: list[_Gap], opening: Ints) -> Ints:
        """(events,) the line on which each event begins."""
        ended = np.array([one.lines for one in gaps])[gap]
        before = np.array([one.lines_before_event for one in gaps])[gap]
        return np.asarray((np.cumsum(ended) - ended + before)[opening] + self._line)

    def _learn_kinds(
        self, key: Ints, names: list[str], where: Ints, gap: Ints, gaps: list[_Gap]
    ) -> None:
        """Note the kind of each attribute that is met for the first time."""
        for place, prefix in ((_IN_EVENT, ""), (_IN_TRACE, CASE)):
            rows = np.flatnonzero(where[:-1] == place)[::-1]
            first = np.full(len(names), -1)
            first[key[rows]] = rows  # the first is written last
            for code in np.flatnonzero(first >= 0):
                kind = gaps[gap[first[code]]].kind
                self.kinds.setdefault(prefix + names[code], kind or "string")

    def log(self) -> PlainLog:
        """All that was taken."""
        if not self._tables or not self.events:
            raise NotPlain
        return PlainLog(pa.concat_tables(self._tables, promote_options="default"), self.kinds)


def _check_middles(block: bytes, quote: npt.NDArray[np.int32]) -> None:
    """Between key and value must stand ` value=`, and nothing else."""
    if (quote[2::4] - quote[1::4] != 8).any():
        raise NotPlain
    words: npt.NDArray[np.uint64] = np.ndarray((len(block) - 7,), "<u8", block, 0, (1,))
    if (words[quote[1::4]] != _MIDDLE).any():
        raise NotPlain


def _check_bytes(block: bytes, text: npt.NDArray[np.uint8], gap: Ints, gaps: list[_Gap]) -> None:
    """No byte in keys and values that XML forbids, or reads as another."""
    times = np.bincount(gap, minlength=len(gaps))
    if int(times @ np.array([one.tags for one in gaps])) != np.count_nonzero(text == 60):
        raise NotPlain
    if int(times @ np.array([one.controls for one in gaps])) != np.count_nonzero(text < 32):
        raise NotPlain
    if b"\r" in block and block.count(b"\r") != block.count(b"\r\n"):
        raise NotPlain
    if not block.isascii() and (b"\xef\xbf\xbe" in block or b"\xef\xbf\xbf" in block):
        raise NotPlain


def _places(gap: Ints, gaps: list[_Gap]) -> Ints:
    """(n + 1,) where the key behind each gap stands; each gap must stand where its tags may."""
    leads = np.array([one.leads for one in gaps])[gap]
    moves = np.flatnonzero(leads != _SAME)
    place = np.asarray(leads[moves][np.cumsum(leads != _SAME) - 1])
    needs = np.array([one.needs for one in gaps])[gap[1:]]
    if ((needs != place[:-1]) & (needs != _SAME)).any() or place[-1] != _OUTSIDE:
        raise NotPlain
    if (place[:-1] == _OUTSIDE).any():
        raise NotPlain
    return place


def _coded(
    block: bytes, start: npt.NDArray[np.int32], end: npt.NDArray[np.int32]
) -> tuple[Ints, list[str]]:
    """Codes of the pieces from `start` to `end` (n,), in order of appearance, and their texts."""
    pieces = _pieces(block, start, end).take(pa.array(np.arange(0, 2 * len(start), 2)))
    coded = pieces.dictionary_encode()
    try:
        texts = coded.dictionary.to_pylist()
    except UnicodeDecodeError as error:
        raise NotPlain from error
    return coded.indices.to_numpy().astype(np.int64), texts


def _pieces(
    block: bytes, start: npt.NDArray[np.int32], end: npt.NDArray[np.int32]
) -> pa.StringArray:
    """The pieces of the text at 0, 2, 4, ..., and what stands between them at 1, 3, 5, ..."""
    borders = np.empty(2 * len(start), dtype=np.int32)
    borders[0::2], borders[1::2] = start, end
    buffers = [None, pa.py_buffer(borders), pa.py_buffer(block)]
    return pa.StringArray.from_buffers(len(borders) - 1, *buffers[1:])


class _Values:
    """The values of a block, in order."""

    def __init__(self, block: bytes, quote: npt.NDArray[np.int32]) -> None:
        self._pieces = _pieces(block, quote[2::4] + 1, quote[3::4])
        self._escaped = b"&" in block
        if not block.isascii():
            self._check()

    def _check(self) -> None:
        try:
            self._pieces.validate(full=True)
        except pa.ArrowInvalid as error:
            raise NotPlain from error

    def at(self, place: Ints) -> pa.StringArray:
        """The values at `place`; null where it is negative."""
        absent = place < 0
        rows = pa.array(2 * place, mask=absent) if absent.any() else pa.array(2 * place)
        found = self._pieces.take(rows)
        return _unescaped(found) if self._escaped else found


def _unescaped(texts: pa.StringArray) -> pa.StringArray:
    marked = pc.fill_null(pc.match_substring(texts, "&"), False)
    if not pc.any(marked).as_py():
        return texts
    coded = texts.filter(marked).dictionary_encode()
    plain = pa.array([_plain_text(text) for text in coded.dictionary.to_pylist()], pa.string())
    return pc.replace_with_mask(texts, marked, plain.take(coded.indices))


def _plain_text(text: str) -> str:
    plain, known = _ENTITY.subn(lambda entity: _MEANS[entity[1]], text)
    if known != text.count("&"):
        raise NotPlain
    return plain


def _columns(
    values: _Values,
    key: Ints,
    names: list[str],
    chosen: npt.NDArray[np.bool_],
    owner: Ints,
    count: int,
    prefix: str,
) -> dict[str, pa.StringArray]:
    """One column per key of the chosen attributes, `count` rows; of a key twice the last value."""
    rows = np.flatnonzero(chosen)
    code = key[rows]
    sorted_rows = rows[np.argsort(code.astype(np.uint16) if len(names) < 65_536 else code,
                                  kind="stable")]  # fmt: skip
    size = np.bincount(code, minlength=len(names))
    first = np.full(len(names), len(key))
    first[code[::-1]] = rows[::-1]  # the first is written last
    end = np.cumsum(size)
    columns = {}
    for one in sorted(np.flatnonzero(size), key=lambda one: int(first[one])):
        name = names[one]
        if "&" in name or name.startswith((CASE, "@@")):
            raise NotPlain
        of_key = sorted_rows[end[one] - size[one] : end[one]]
        place = np.full(count, -1, dtype=np.int64)
        place[owner[of_key]] = of_key
        columns[prefix + name] = values.at(place)
    return columns
