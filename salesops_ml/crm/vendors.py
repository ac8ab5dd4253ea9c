"""The CRMs that can be read: one small interface, and the place where each is named.

A tenth CRM is one more file with a `Vendor` in it, one line in `VENDORS`, and a settings class in
`crm_settings.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib import import_module
from typing import Any, TypeAlias

import ibis.expr.types as ir

from salesops_ml.crm.landing_run import Feed
from salesops_ml.crm_settings import CrmSource
from salesops_ml.errors import ConfigError

VENDORS: dict[str, str] = {
    "tryton": "salesops_ml.crm.tryton_source:VENDOR",
    "sql": "salesops_ml.crm.sql_source:VENDOR",
    "salesforce": "salesops_ml.crm.salesforce_source:VENDOR",
    "hubspot": "salesops_ml.crm.hubspot_source:VENDOR",
    "amocrm": "salesops_ml.crm.amocrm_source:VENDOR",
    "bitrix24": "salesops_ml.crm.bitrix24_source:VENDOR",
}
"""`source.type` -> module and name of its `Vendor`; nothing is imported before it is asked for."""


@dataclass(frozen=True)
class Surroundings:
    """What a mapping must know beside the CRM's own tables.

    Attributes:
        base_currency: the company's money.
        time_zone: where bare days are meant.
        read_on: the day of the load; exchange rates hold until then.
        keep: computes an expression that several tables are made of, once.
    """

    base_currency: str
    time_zone: str
    read_on: date
    keep: Callable[[ir.Table], ir.Table] = lambda table: table


Tables: TypeAlias = Mapping[str, ir.Table]
Feeds: TypeAlias = Callable[..., Sequence[Feed]]
Map: TypeAlias = Callable[[Tables, Any, Surroundings], dict[str, ir.Table]]


@dataclass(frozen=True)
class Link:
    """A landed table that says which deals a row of another belongs to.

    Attributes:
        column: the key of the table that is linked.
        through: the table that links.
        by: the column there that holds the key.
    """

    column: str
    through: str
    by: str


@dataclass(frozen=True)
class Shape:
    """Which landed tables belong to deals, so that a small change is mapped alone.

    Attributes:
        deals: landed table -> its column that holds the deal's id.
        links: landed table -> how its rows are tied to deals by another table.
        own: canonical table -> (landed tables, key) whose rows may also stand without a deal.
        apart: landed table -> the canonical table that it alone fills, on which no deal depends.
        merged: (deals table, column) where a deal names, by `;`, the deals that were merged into it.
    """

    deals: Mapping[str, str]
    links: Mapping[str, Link] = field(default_factory=dict)
    own: Mapping[str, tuple[tuple[str, ...], str]] = field(default_factory=dict)
    apart: Mapping[str, str] = field(default_factory=dict)
    merged: tuple[str, str] | None = None


@dataclass(frozen=True)
class Vendor:
    """How one CRM is read.

    Attributes:
        feeds: from the source's settings, and the file that keeps the times of the last calls
            (`pace_book`), to the tables to land; nothing is read before a feed's `read` is called.
        mapping: from landed tables, settings and surroundings to canonical tables, as expressions.
            Beside these it may give `rejects`, and under `deal_daily` what a photograph of each open
            deal would show, without its day.
        shape: from the source's settings to the tables' ties to deals.
        tracked: from landed tables and settings to the fields whose past the CRM itself tells
            (`stage` for moves between stages); the past of others is in the photographs.
    """

    feeds: Feeds
    mapping: Map
    shape: Callable[[Any], Shape]
    tracked: Callable[[Tables, Any], frozenset[str]]


def vendor_of(source: CrmSource) -> Vendor:
    """The vendor that a source's settings name.

    Raises:
        ConfigError: it cannot be read yet.
    """
    kind = str(getattr(source, "type", ""))
    if kind not in VENDORS:
        known = ", ".join(VENDORS)
        raise ConfigError(f"`source.type: {kind}` cannot be read yet; these can: {known}")
    module, _, name = VENDORS[kind].partition(":")
    found = getattr(import_module(module), name)
    assert isinstance(found, Vendor)
    return found
