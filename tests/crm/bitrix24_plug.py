"""How tests and benchmarks reach a Bitrix24 twin; needs nothing else of the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from salesops_ml.crm.bitrix24_source import ACTIVITY, IDS, ITEMS, STATUS
from salesops_ml.crm.bitrix24_target import Bitrix24Target
from salesops_ml.crm.bitrix24_twin import CODE, USER_ID, Bitrix24Twin
from salesops_ml.crm.limits import Clock
from salesops_ml.crm.target import Outcome, Standing
from salesops_ml.crm.twin_world import Row, Rows
from salesops_ml.crm_settings import Bitrix24Source
from salesops_ml.scoring.plan import Change

QUICK = {"calls_a_second": 100, "burst": 10_000}
"""Limits of a patient portal, for tests that are not of limits."""
SECRETS = {"BITRIX24_WEBHOOK": CODE}


def connection(url: str, **more: Any) -> dict[str, Any]:
    """How the twin is reached, as a configuration has it."""
    os.environ.update(SECRETS)
    return {"type": "bitrix24", "url": url, "user_id": USER_ID, "webhook": "env:BITRIX24_WEBHOOK",
            **more}  # fmt: skip


def open_target(
    url: str, *, clock: Clock | None = None, pace_book: Path | None = None, timeout: float = 60.0,
    **more: Any,
) -> Bitrix24Target:  # fmt: skip
    """The target that writes into the twin."""
    told = Bitrix24Source.model_validate(connection(url, **more))
    return Bitrix24Target(told, clock=clock, pace_book=pace_book, timeout=timeout)


def make_twin(rows: Rows) -> Bitrix24Twin:
    """The twin of a company, which bears as many calls as one likes."""
    return Bitrix24Twin(rows, a_second=100, burst=10_000)


def state(there: Bitrix24Twin) -> Iterator[tuple[str, tuple[str, ...], list[Row]]]:
    """The landed tables as they should be, but for what settings name beside."""
    for name, fields in READ.items():
        table = there.tables[name]
        rows = [{f: row[f] for f in fields if f in row} for row in table.rows.values()]
        yield name, (table.key,), rows
    for name, ids in IDS.items():
        yield ids, ("id",), [{"id": number} for number in there.tables[name].rows]
    yield "categories", ("id",), there.categories
    yield "currencies", ("CURRENCY",), there.currencies


READ = {
    **{name: fields for name, (_, fields) in ITEMS.items()}, "activities": ACTIVITY,
    "stage_history": ("ID", "TYPE_ID", "OWNER_ID", "CREATED_TIME", "CATEGORY_ID",
                      "STAGE_SEMANTIC_ID", "STAGE_ID"),
    "statuses": STATUS, "departments": ("ID", "NAME", "SORT", "PARENT", "UF_HEAD"),
    "users": ("ID", "ACTIVE", "NAME", "LAST_NAME", "DATE_REGISTER", "WORK_COUNTRY"),
}  # fmt: skip
"""The columns of each table that come as they stand in the portal."""


class NumberedTarget(Bitrix24Target):
    """The same for plans that name deals `d000000`, `d000001`, ...: Bitrix24 counts them from 1."""

    def read(self, deal_ids: Sequence[str]) -> dict[str, Standing]:
        found = super().read([number_of(deal) for deal in deal_ids])
        return {deal: found[number_of(deal)] for deal in deal_ids}

    def send(self, changes: Sequence[Change]) -> list[Outcome]:
        return super().send([replace(one, deal_id=number_of(one.deal_id)) for one in changes])


def number_of(deal: str) -> str:
    """A plan's name of a deal as Bitrix24's number of it."""
    return str(int(deal.removeprefix("d")) + 1)


def open_numbered_target(
    url: str, *, clock: Clock | None = None, pace_book: Path | None = None, **more: Any
) -> NumberedTarget:
    """The target for plans that name deals `d000000`, ..."""
    told = Bitrix24Source.model_validate(connection(url, **more))
    return NumberedTarget(told, clock=clock, pace_book=pace_book)
