"""What a CRM costs to read: all of it, nothing new, and one deal in a hundred changed.

Run from the project's root: `python benchmarks/ingest_crm.py [deals [vendor]]`. The synthetic company is
laid out as Fivetran lands both CRMs in a DuckDB file; costs are processor seconds
of all threads, rows those that were read. Before any figure is printed, the warehouse that grew by
changes must equal one that is loaded whole.
"""

from __future__ import annotations

import json
import os
import platform
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

RESULTS = Path("benchmarks/results/ingest_crm.json")
MOST_SHARE = 0.05


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """The answer of `run` and the processor seconds it took."""
    start = time.process_time()
    answer = run()
    return answer, time.process_time() - start


def one_in_a_hundred(vendor: str, rows: dict[str, list[dict[str, Any]]], seed: int) -> Any:
    """Another amount and another owner for one deal in a hundred."""
    from crm_edits import HubSpotEdits, SalesforceEdits

    edits: Any = (SalesforceEdits if vendor == "salesforce" else HubSpotEdits)(rows, seed)
    edits.number = seed * 1_000_000
    deals = rows["Opportunity" if vendor == "salesforce" else "deals"]
    for deal in random.Random(seed).sample(deals, max(1, len(deals) // 100)):
        edits.clock += timedelta(seconds=1)
        edits.change_amount(deal)
    return edits.take()


def measured(vendor: str, deals: int) -> dict[str, Any]:
    """Full, idle and incremental loads of one vendor."""
    from crm_desk import LOADED_AT, CrmDesk, vendor_rows

    rows = vendor_rows(vendor, deals)
    with tempfile.TemporaryDirectory() as folder:
        desk = CrmDesk(Path(folder), vendor)
        desk.sync(rows)
        first, full = timed(lambda: desk.ingest(LOADED_AT))
        _, idle = timed(lambda: desk.ingest(LOADED_AT + timedelta(hours=1)))
        costs = []
        for seed in (1, 2, 3):
            changed = one_in_a_hundred(vendor, rows, seed)
            desk.sync(changed)
            at = LOADED_AT + timedelta(hours=1 + seed)
            result, cost = timed(lambda at=at: desk.ingest(at))
            assert result.changed
            costs.append(cost)
        grown = desk.everything()
        os.rename(f"{folder}/store", f"{folder}/grown")
        desk.ingest(LOADED_AT + timedelta(hours=4))
        whole = desk.everything()
    for name in grown:
        assert grown[name] == whole[name], name
    read = sum(len(table) for table in rows.values())
    part = sorted(costs)[1]
    return {
        "vendor": vendor, "deals": first.rows["deals"], "rows": read, "full_seconds": full,
        "idle_seconds": idle, "changed_rows": sum(map(len, changed.values())),
        "changed_seconds": part, "share": part / full,
    }  # fmt: skip


def main() -> None:
    """Measure, print, and keep the figures."""
    deals = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    figures = []
    for vendor in sys.argv[2:] or ("salesforce", "hubspot"):
        told = measured(vendor, deals)
        figures.append(told)
        print(
            f"{told['vendor']:<12} {told['deals']:>7,} deals, {told['rows']:>9,} rows: full "
            f"{told['full_seconds']:6.1f} s, nothing new {told['idle_seconds']:5.1f} s, 1 % changed "
            f"({told['changed_rows']:,} rows) {told['changed_seconds']:5.1f} s = "
            f"{told['share']:.1%} (at most {MOST_SHARE:.0%})",
            flush=True,
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}; peak memory {peak:,.0f} MB, the vendor's rows among it")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": machine, "figures": figures}, indent=2) + "\n")


if __name__ == "__main__":
    sys.path[:0] = [str(Path.cwd()), "tests/crm"]
    main()
