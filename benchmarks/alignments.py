"""Alignments of all of BPI 2012 against three references of 12 stages, beside r4pm and pm4py.

Run from the project's root: `python benchmarks/alignments.py`. The log has 13,087 cases, 262,200 events
and 4,366 paths, which are each aligned once. The references are a chain, the bank's process with its
choices and loops, and what the inductive miner draws of the 12 stages (with branches side by side). r4pm
(in an environment of its own) and pm4py align as many paths as they can in a given time, in an order
drawn at random. Costs are compared before a time is printed: all three are exact, so any difference
stops the benchmark.
"""

from __future__ import annotations

import itertools
import json
import platform
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from peers.environment import HERE, peers_python, run_peer

from salesops_ml.mining.alignments import UNALIGNED
from salesops_ml.mining.discovery import load_pm4py
from salesops_ml.mining.event_log import read_log
from salesops_ml.mining.fitness import align_cases, fitness_of
from salesops_ml.mining.model_files import net_as_pnml, to_pm4py
from salesops_ml.mining.petri_net import Net, from_pm4py, net_of_moves, state_graph
from salesops_ml.mining.steps import as_steps

LOG = Path("../shared/data/bpic2012/BPI_Challenge_2012.xes.gz")
RESULTS = Path("benchmarks/results/alignments.json")
COLUMNS = ["case:concept:name", "concept:name", "time:timestamp"]
STAGES = ["A_SUBMITTED", "A_PARTLYSUBMITTED", "A_PREACCEPTED", "A_ACCEPTED", "O_SELECTED",
          "A_FINALIZED", "O_CREATED", "O_SENT", "O_SENT_BACK", "A_APPROVED", "A_DECLINED",
          "A_CANCELLED"]  # fmt: skip
PEER_SECONDS = 10.0
MOST_SECONDS = 300.0
SEED = 7


def references(log: pd.DataFrame) -> dict[str, Net]:
    """Three processes of the same 12 stages."""
    ends = ["A_APPROVED", "A_DECLINED", "A_CANCELLED"]
    onward = {
        "A_SUBMITTED": ["A_PARTLYSUBMITTED"],
        "A_PARTLYSUBMITTED": ["A_PREACCEPTED"],
        "A_PREACCEPTED": ["A_ACCEPTED"],
        "A_ACCEPTED": ["O_SELECTED", "A_FINALIZED"],
        "O_SELECTED": ["A_FINALIZED", "O_CREATED"],
        "A_FINALIZED": ["O_SELECTED", "O_CREATED"],
        "O_CREATED": ["O_SENT"],
        "O_SENT": ["O_SENT_BACK", "O_SELECTED"],
        "O_SENT_BACK": ["A_APPROVED", "O_SELECTED"],
    }
    agreed = {stage: [*to, "A_DECLINED", "A_CANCELLED"] for stage, to in onward.items()}
    chain = {stage: [to] for stage, to in itertools.pairwise(STAGES)}
    pm4py = load_pm4py()
    tree = pm4py.discover_process_tree_inductive(
        log=log[log[COLUMNS[1]].isin(STAGES)], noise_threshold=0.2, multi_processing=False
    )
    return {
        "a chain of 12 stages": net_of_moves(chain, starts=STAGES[:1], ends=STAGES[-1:]),
        "the bank's process of 12 stages": net_of_moves(agreed, starts=STAGES[:1], ends=ends),
        "the inductive miner's model of 12 stages": from_pm4py(*pm4py.convert_to_petri_net(tree)),
    }


def measured(name: str, log: pd.DataFrame, net: Net) -> dict[str, Any]:
    """One reference: ours on the whole log, r4pm on all paths, pm4py on some."""
    wall, work = time.perf_counter(), time.process_time()
    steps = as_steps(log)
    aligned = align_cases(steps, net)
    taken = time.process_time() - work, time.perf_counter() - wall
    paths = [[did for did, _ in moves if did is not None] for moves in aligned.found.moves]
    cost = aligned.found.cost
    assert not (cost == UNALIGNED).any()
    work = time.process_time()
    fitness = fitness_of(steps, net, aligned)
    replay = time.process_time() - work
    row = {
        "reference": name,
        "states": state_graph(net).states,
        "cases": len(steps.case_ids),
        "events": len(steps.case),
        "paths": len(paths),
        "ours_processor_seconds": round(taken[0], 2),
        "ours_seconds": round(taken[1], 2),
        "fitness": round(fitness.fitness, 4),
        "fitting": round(fitness.fitting, 4),
        "deviations_a_case": round(fitness.deviations, 2),
        "token_replay_fitness": fitness.replay_fitness and round(fitness.replay_fitness, 4),
        "token_replay_fitting": fitness.replay_fitting and round(fitness.replay_fitting, 4),
        "token_replay_processor_seconds": round(replay, 2),
    }
    order = list(range(len(paths)))
    random.Random(SEED).shuffle(order)
    drawn = [(paths[number], int(cost[number])) for number in order]
    return row | by_r4pm(drawn, net) | by_pm4py(drawn, net)


def by_r4pm(drawn: list[tuple[list[str], int]], net: Net) -> dict[str, Any]:
    """r4pm on as many paths as it comes to, each with the cost that it must find."""
    python = peers_python(HERE / "requirements_alignments.txt")
    task = {"paths": [path for path, _ in drawn], "seconds": PEER_SECONDS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "net.pnml").write_text(net_as_pnml(net), encoding="utf-8")
        (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
        told = run_peer(
            "r4pm", folder, python, most_seconds=MOST_SECONDS, script="alignment_peers.py"
        )
        if "missing" in told:
            return {"r4pm": told["missing"]}
        said = json.loads((folder / "r4pm_costs.json").read_text())
    known = [
        (theirs, ours)
        for theirs, (_, ours) in zip(said["costs"], drawn, strict=False)
        if theirs is not None
    ]
    assert all(theirs == ours for theirs, ours in known)
    return {"r4pm_paths": len(known), "r4pm_processor_seconds": round(said["seconds"], 2)}


def by_pm4py(drawn: list[tuple[list[str], int]], net: Net) -> dict[str, Any]:
    """pm4py on as many paths as it comes to."""
    pm4py, model = load_pm4py(), to_pm4py(net)
    begun = time.process_time()
    done = 0
    for path, cost in drawn:
        if time.process_time() - begun > PEER_SECONDS:
            break
        frame = one_case(path)
        (told,) = pm4py.conformance_diagnostics_alignments(frame, *model, multi_processing=False)
        assert told["cost"] == cost
        done += 1
    return {"pm4py_paths": done, "pm4py_processor_seconds": round(time.process_time() - begun, 2)}


def one_case(path: list[str]) -> pd.DataFrame:
    times = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(np.arange(len(path)), unit="min")
    return pd.DataFrame({COLUMNS[0]: "c", COLUMNS[1]: path, COLUMNS[2]: times})


def main() -> None:
    log = read_log(LOG)[COLUMNS]
    rows = []
    for name, net in references(log).items():
        rows.append(measured(name, log, net))
        print(json.dumps(rows[-1], indent=1), flush=True)
    versions = {"python": platform.python_version(), "pm4py": load_pm4py().__version__,
                "r4pm": "0.6.2", "numpy": np.__version__}  # fmt: skip
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({"versions": versions, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
