"""How tests and benchmarks reach a HubSpot twin; needs nothing else of the tests."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from salesops_ml.crm.hubspot_target import HubSpotTarget
from salesops_ml.crm.hubspot_twin import TOKEN
from salesops_ml.crm.limits import Clock
from salesops_ml.crm_settings import HubSpotSource

SECRETS = {"HUBSPOT_TOKEN": TOKEN}
QUICK = 100_000
"""Calls in ten seconds, for tests that are not of limits."""
HURRY = {"calls_per_10_seconds": QUICK, "searches_a_second": QUICK // 20}


def connection(url: str, **more: Any) -> dict[str, Any]:
    """How the twin is reached, as a configuration has it."""
    os.environ.update(SECRETS)
    return {"type": "hubspot", "url": url, "token": "env:HUBSPOT_TOKEN", **more}


def open_target(
    url: str, *, clock: Clock | None = None, pace_book: Path | None = None, timeout: float = 60.0,
    **more: Any,
) -> HubSpotTarget:  # fmt: skip
    """The target that writes into the twin."""
    told = HubSpotSource.model_validate(connection(url, **more))
    return HubSpotTarget(told, clock=clock, pace_book=pace_book, timeout=timeout)
