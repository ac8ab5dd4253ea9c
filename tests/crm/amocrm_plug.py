"""How tests and benchmarks reach an amoCRM twin; needs nothing else of the tests."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from salesops_ml.crm.amocrm_target import AmoCrmTarget
from salesops_ml.crm.amocrm_twin import TOKEN
from salesops_ml.crm.limits import Clock
from salesops_ml.crm.target import Outcome, Standing
from salesops_ml.crm_settings import AmoCrmSource
from salesops_ml.scoring.plan import Change

FIRST = 1_000_000


def connection(url: str, **more: Any) -> dict[str, Any]:
    """How the twin is reached, as a configuration has it."""
    os.environ["AMOCRM_TOKEN"] = TOKEN
    return {"type": "amocrm", "url": url, "token": "env:AMOCRM_TOKEN", **more}


def open_target(
    url: str, *, clock: Clock | None = None, pace_book: Path | None = None, timeout: float = 60.0,
    **more: Any,
) -> AmoCrmTarget:  # fmt: skip
    """The target that writes into the twin."""
    told = AmoCrmSource.model_validate(connection(url, **more))
    return AmoCrmTarget(told, clock=clock, pace_book=pace_book, timeout=timeout)


class NumberedTarget(AmoCrmTarget):
    """The same for deals `d000000`, ..., as benchmarks name them: amoCRM's ids are numbers."""

    def read(self, deal_ids: Sequence[str]) -> dict[str, Standing]:
        found = super().read([numbered(deal_id) for deal_id in deal_ids])
        return {deal_id: found[numbered(deal_id)] for deal_id in deal_ids}

    def send(self, changes: Sequence[Change]) -> list[Outcome]:
        return super().send([replace(c, deal_id=numbered(c.deal_id)) for c in changes])


def numbered(deal_id: str) -> str:
    return str(FIRST + int(deal_id.removeprefix("d")))


def open_numbered_target(url: str, *, clock: Clock, pace_book: Path) -> NumberedTarget:
    """The target for plans whose deals are `d000000`, ..."""
    told = AmoCrmSource.model_validate(connection(url))
    return NumberedTarget(told, clock=clock, pace_book=pace_book)
