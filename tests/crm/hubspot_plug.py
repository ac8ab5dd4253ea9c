"""How tests and benchmarks reach a HubSpot twin; needs nothing else of the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from salesops_ml.crm.hubspot_mapping import DEAL, history_properties
from salesops_ml.crm.hubspot_source import PROPERTIES
from salesops_ml.crm.hubspot_target import HubSpotTarget
from salesops_ml.crm.hubspot_twin import ACTIVITIES, LINKS, TOKEN, HubSpotTwin
from salesops_ml.crm.limits import Clock
from salesops_ml.crm.twin_world import Row, Rows
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


def make_twin(rows: Rows) -> HubSpotTwin:
    """The twin of a company, which allows as many calls as one likes."""
    return HubSpotTwin(rows, calls=QUICK)


def state(there: HubSpotTwin) -> Iterator[tuple[str, tuple[str, ...], list[Row]]]:
    """The landed tables as they should be."""
    for kind, names in {**PROPERTIES, "deals": (*DEAL, *NAMED)}.items():
        rows = [row for row in there.objects[kind].values() if not row.get("archived")]
        yield kind, ("id",), [{n: r[n] for n in ("id", *names) if n in r} for r in rows]
    yield "deal_property_history", ("deal_id", "name", "timestamp"), list(_past(there))
    for table, (kind, mine, to, theirs) in LINKS.items():
        kinds = ACTIVITIES if kind == "activities" else (kind,)
        pairs = [(owner, other) for one in kinds
                 for owner, others in there.links.get((one, to), {}).items()
                 for other in others]  # fmt: skip
        tied = {owner for owner, _ in pairs}
        alone = [(one, "") for k in kinds for one in there.objects[k] if one not in tied]
        yield table, (mine, theirs), [{mine: a, theirs: b} for a, b in pairs + alone]
    for table, names in SETTINGS.items():
        rows = list(there.tables.get(table, {}).values())
        yield table, ("id",), [{n: row[n] for n in names} for row in rows]


NAMED = ("product_line", "lead_source", "service_start", "term_months", "campaign", "competitor",
         "signed_by")  # fmt: skip
"""The properties that the settings of `crm_desk` name."""
SETTINGS = {
    "pipelines": ("id", "label", "display_order"),
    "pipeline_stages": ("id", "pipeline_id", "label", "display_order", "probability", "is_closed"),
    "owners": ("id", "user_id", "first_name", "last_name", "email", "team", "archived"),
    "exchange_rates": ("id", "from_currency", "to_currency", "rate", "effective_at"),
}


def _past(there: HubSpotTwin) -> Iterator[Row]:
    names = history_properties(
        HubSpotSource.model_validate({**connection(""), "url": "http://localhost"})
    )
    names |= {"product_line": "", "competitor": ""}
    for deal, told in there.history.items():
        for name in names.keys() & told.keys():
            for one in told[name]:
                yield {"deal_id": deal, "name": name, "value": one["value"],
                       "timestamp": one["timestamp"], "source_type": one["sourceType"],
                       "source_id": one["sourceId"],
                       "updated_by_user_id": one.get("updatedByUserId")}  # fmt: skip
