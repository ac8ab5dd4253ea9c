"""Alignments by r4pm: one path after the other against a Petri net.

Run in the peers' environment as `alignment_peers.py FOLDER r4pm`: reads `net.pnml` and `task.json`
(paths, and the processor's seconds that may be spent), writes the costs of the paths that it came to
(null where it gave up) and the seconds to `r4pm_costs.json`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from r4pm import petri_net
from r4pm.bindings.conformance.case_centric.alignments import align_trace

COSTS = {
    "log_move_cost": 10_000,
    "model_move_cost": 10_000,
    "silent_move_cost": 1,
    "sync_move_cost": 0,
}
MOST_STATES = 5_000_000


def main(folder: Path) -> None:
    """Align and write."""
    net = petri_net.import_pnml(str(folder / "net.pnml"))
    task = json.loads((folder / "task.json").read_text())
    options = {"cost_fn": COSTS, "max_states": MOST_STATES}
    begun = time.process_time()
    costs = []
    for path in task["paths"]:
        if time.process_time() - begun > task["seconds"]:
            break
        told = align_trace(net, path, options)
        costs.append(told.get("cost") if isinstance(told, dict) else None)
    taken = time.process_time() - begun
    (folder / "r4pm_costs.json").write_text(json.dumps({"costs": costs, "seconds": taken}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
