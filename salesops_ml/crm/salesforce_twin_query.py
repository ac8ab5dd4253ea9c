"""The part of SOQL that Salesforce's twin understands: one object, conditions, an order, a limit.

Source: Salesforce SOQL and SOSL Reference, "SOQL SELECT Syntax". A null is below every value, and meets
no comparison but `=` and `!=` with null.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Row = Mapping[str, Any]
Condition = Callable[[Row], bool]

_SHAPE = re.compile(
    r"\s*SELECT\s+(?P<fields>.+?)\s+FROM\s+(?P<object>\w+)(?:\s+WHERE\s+(?P<where>.+?))?"
    r"(?:\s+ORDER\s+BY\s+(?P<order>[\w\s,]+?))?(?:\s+LIMIT\s+(?P<limit>\d+))?\s*",
    re.IGNORECASE | re.DOTALL,
)
_TOKEN = re.compile(
    r"\s*('(?:[^'\\]|\\.)*'|\(|\)|,|!=|<=|>=|=|<|>|[\w.:+\-]+)", re.IGNORECASE | re.DOTALL
)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


class MalformedQuery(ValueError):
    """The text is no query that the twin understands."""


@dataclass(frozen=True)
class Query:
    """A query that was read.

    Attributes:
        fields: what is asked for; `COUNT()` stands alone.
        name: the object.
        used: fields that conditions and order speak of.
    """

    fields: tuple[str, ...]
    name: str
    condition: Condition
    order: tuple[str, ...]
    limit: int | None
    used: frozenset[str]

    def rows(self, table: Sequence[Row]) -> list[Row]:
        """The rows that meet the conditions, in order."""
        found = [row for row in table if self.condition(row)]
        if self.order:
            found.sort(key=lambda row: tuple(_rank(row.get(name)) for name in self.order))
        return found if self.limit is None else found[: self.limit]


def read_query(text: str) -> Query:
    """A query from its text.

    Raises:
        MalformedQuery: it cannot be read.

    Example:
        >>> query = read_query("SELECT Id FROM Account WHERE Name = 'O\\\\'Hara' OR Name IN ('B', 'C')")
        >>> [row["Id"] for row in query.rows([{"Id": 1, "Name": "O'Hara"}, {"Id": 2, "Name": "D"}])]
        [1]
    """
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise MalformedQuery(f"unexpected token in: {text[:80]}")
    fields = tuple(part.strip() for part in shape["fields"].split(","))
    order = tuple(_ordered(part) for part in (shape["order"] or "").split(",") if part.strip())
    reader = _Reader(shape["where"] or "")
    condition = reader.whole() if shape["where"] else _always
    limit = int(shape["limit"]) if shape["limit"] else None
    return Query(
        fields, shape["object"], condition, order, limit, frozenset(reader.used | {*order})
    )


def _always(_row: Row) -> bool:
    return True


def _ordered(part: str) -> str:
    name, *rest = part.split()
    if [word.upper() for word in rest] not in ([], ["ASC"]):
        raise MalformedQuery(f"this twin sorts upwards only: {part}")
    return name


def _rank(value: Any) -> tuple[bool, Any]:
    return (value is not None, value if value is not None else 0)


class _Reader:
    """Conditions: comparisons and IN, tied by AND, OR and brackets."""

    def __init__(self, text: str) -> None:
        self.used: set[str] = set()
        self._tokens: list[str] = []
        at = 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None:
                raise MalformedQuery(f"unexpected token: {text[at : at + 20]}")
            self._tokens.append(match[1])
            at = match.end()

    def whole(self) -> Condition:
        condition = self._either()
        if self._tokens:
            raise MalformedQuery(f"unexpected token: {self._tokens[0]}")
        return condition

    def _either(self) -> Condition:
        parts = [self._both()]
        while self._next_is("OR"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda row: any(part(row) for part in parts)

    def _both(self) -> Condition:
        parts = [self._one()]
        while self._next_is("AND"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda row: all(part(row) for part in parts)

    def _one(self) -> Condition:
        if self._next_is("("):
            inner = self._either()
            self._expect(")")
            return inner
        name = self._take()
        self.used.add(name)
        if self._next_is("IN"):
            chosen = frozenset(self._listed())
            return lambda row: row.get(name) in chosen
        compare, value = self._take(), _value(self._take())
        if compare not in _COMPARE:
            raise MalformedQuery(f"unexpected token: {compare}")
        return lambda row: _meets(row.get(name), compare, value)

    def _listed(self) -> list[Any]:
        self._expect("(")
        values = [_value(self._take())]
        while self._next_is(","):
            values.append(_value(self._take()))
        self._expect(")")
        return values

    def _take(self) -> str:
        if not self._tokens:
            raise MalformedQuery("unexpected end of the query")
        return self._tokens.pop(0)

    def _next_is(self, word: str) -> bool:
        if self._tokens and self._tokens[0].upper() == word:
            self._tokens.pop(0)
            return True
        return False

    def _expect(self, word: str) -> None:
        if not self._next_is(word):
            raise MalformedQuery(f"expecting: {word}")


def _meets(stands: Any, compare: str, value: Any) -> bool:
    if stands is None or value is None:
        return {"=": stands is value, "!=": stands is not value}.get(compare, False)
    return _COMPARE[compare](stands, value)


def _value(token: str) -> Any:
    if token.startswith("'"):
        return re.sub(r"\\(.)", r"\1", token[1:-1])
    low = token.lower()
    if low in ("null", "true", "false"):
        return {"null": None, "true": True, "false": False}[low]
    if re.fullmatch(r"\d{4}-\d\d-\d\dT.+", token):
        return stamp_of(datetime.fromisoformat(token))
    if re.fullmatch(r"\d{4}-\d\d-\d\d", token):
        return token
    try:
        return float(token)
    except ValueError:
        raise MalformedQuery(f"unexpected token: {token}") from None


def stamp_of(moment: datetime) -> str:
    """A moment as Salesforce writes it.

    Example:
        >>> stamp_of(datetime.fromisoformat("2026-03-01T14:30:00.5+02:00"))
        '2026-03-01T12:30:00.500+0000'
    """
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    utc = aware.astimezone(UTC).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='milliseconds')}+0000"
