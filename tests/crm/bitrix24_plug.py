"""How tests and benchmarks reach a Bitrix24 twin; needs nothing else of the tests."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from salesops_ml.crm.bitrix24_target import Bitrix24Target
from salesops_ml.crm.bitrix24_twin import CODE, USER_ID
from salesops_ml.crm.limits import Clock
from salesops_ml.crm.target import Outcome, Standing
from salesops_ml.crm_settings import Bitrix24Source
from salesops_ml.scoring.plan import Change

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
