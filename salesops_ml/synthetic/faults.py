"""Wrong rows at set rates: what a loader would turn away, with the reason and the cure.

They never enter the canonical tables; missing and late values, which do, are made where their
columns are made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from salesops_ml.schema import REJECTS
from salesops_ml.synthetic.draws import stream
from salesops_ml.synthetic.facts import Facts


@dataclass(frozen=True)
class _Fault:
    name: str
    rate: float
    table: str
    column: str
    value: str
    reason: str
    cure: str


def _faults(facts: Facts) -> tuple[_Fault, ...]:
    rates = facts.world.faults
    return (
        _Fault(
            "activity for an unknown deal", rates.unknown_deal, "activities", "deal_id",
            "X-{deal}", "there is no such deal", "load the deal, or drop the activity",
        ),
        _Fault(
            "negative amount", rates.negative_amount, "deal_changes", "new_value",
            "-{amount}.00", "an amount cannot be below 0", "correct the amount in the CRM",
        ),
        _Fault(
            "duplicate deal id", rates.duplicate_deal, "deals", "deal_id",
            "{deal}", "the id was read before; the first row stands", "merge the two deals",
        ),
        _Fault(
            "stage event before creation", rates.event_before_creation, "stage_events",
            "entered_at", "{moment}", "the deal did not exist yet", "correct the date in the CRM",
        ),
    )  # fmt: skip


def rejected(facts: Facts, rows: dict[str, int]) -> tuple[pa.Table, dict[str, int]]:
    """The rejects, and how many rows were used or turned away, by table and reason.

    `rows` are the row counts of the canonical tables; a fault's rate is a share of its table's.
    """
    rng = stream(facts.world.seed, "faults")
    counts = {f"{name}: used": count for name, count in rows.items()}
    done: list[dict[str, object]] = []
    for fault in _faults(facts):
        count = int(rng.binomial(rows[fault.table], fault.rate))
        counts[f"{fault.table}: {fault.name}"] = count
        line = np.sort(rng.choice(rows[fault.table] + count, count, replace=False)) + 2
        deal = rng.integers(0, facts.deals.count, count)
        done += [_reject(facts, fault, int(n), int(k)) for n, k in zip(line, deal, strict=True)]
    return pa.Table.from_pylist(done, schema=REJECTS.arrow()), counts


def _reject(facts: Facts, fault: _Fault, line: int, deal: int) -> dict[str, object]:
    moment = facts.created_at[deal] - np.timedelta64(1 + deal % 30, "D")
    value = fault.value.format(
        deal=facts.deal_ids[deal].as_py(),
        amount=int(facts.deals.amount[deal]),
        moment=str(moment.astype("datetime64[s]")),
    )
    return {
        "source": f"synthetic:{fault.table}",
        "row": line,
        "table": fault.table,
        "column": fault.column,
        "value": value,
        "reason": fault.reason,
        "cure": fault.cure,
    }
