"""Our deal model beside its peers: one table, the same looks, splits, labels and judge for all.

    python benchmarks/deal_models.py [--jobs bpic2012 maven synthetic remaining]
        [--deals 20000] [--seeds 7 11 13 17 19] [--automl-seconds 60] [--peers NAME ...]

The looks are written once to a temporary folder; each peer reads them in a process of its own, in an
environment outside the repository (`benchmarks/peers`), and learns from labels as known at the border.
Intervals are 95 %, by deal; `minus_ours` is the paired difference (above 0: ours is better, but for
AUC). Results are merged by data set, so that parts can be run at different times.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from peers.deal_data import Job, bpic2012_jobs, maven_jobs, synthetic_jobs, write_task
from peers.deal_judge import KEYS, Judge, Said
from peers.deal_picture import draw_deal_models
from peers.environment import peers_python, run_peer
from peers.remaining_time import remaining_time

from salesops_ml.figures.svg import svg
from salesops_ml.models import fit_deal_scores
from salesops_ml.models.baselines import baseline_scores

RESULTS = Path(__file__).resolve().parent / "results"
DATA = Path("../shared/data")
PEERS = (
    "aalen_johansen", "logistic", "lightgbm", "catboost", "flaml", "cox", "survival_forest",
    "survival_boost", "lightgbm_hazards",
)  # fmt: skip
FIGURES = (
    "log_loss_k1", "auc_k1", "log_loss_all", "ipcw_log_loss", "integrated_brier", "auc_day_14",
    "mae_days_all", "mae_days_k1",
)  # fmt: skip
MOST_SECONDS = 1_200.0


def compare(job: Job, python: Path | None, peers: list[str], automl: float) -> dict[str, Any]:
    """Every figure of every model on one job."""
    test, horizon = job.test, job.settings.models.horizon_days
    judge = Judge(test, horizon=horizon, curve_days=job.curve_days)
    start = time.perf_counter()
    model = fit_deal_scores(job.data, job.block, job.borders, spec=job.spec, settings=job.settings)
    seconds = round(time.perf_counter() - start, 1)
    scores = model.predict(test)
    models = {"ours": Said.of_curves(test[KEYS], model.curves(test), job.win_day)}
    runs: dict[str, Any] = {"ours": {"seconds": seconds, "rows": len(job.learn)}}
    baselines = baseline_scores(job.data, job.block, job.borders, settings=job.settings)
    baselines = {name: told.sort_index() for name, told in baselines.items() if name != "logistic"}
    models |= {name: _simple(job, told) for name, told in baselines.items()}
    if job.truth is not None:
        models["truth"] = Said(keys=test[KEYS], p_win=job.truth["p_win"].to_numpy(float))
    said, told = _peers(job, python, peers, automl)
    models, runs = models | said, runs | told
    result = {
        "rows": {name: int(rows.sum()) for name, rows in judge.rows.items()},
        "deals": int(test["deal_id"].nunique()),
        "border": job.borders.test_from.isoformat(),
        "win_day": job.win_day,
        "curve_days": [float(judge.days[0]), float(judge.days[-1])],
        "headline": f"log_loss_{job.judged_rows}" if job.truth is None else "ipcw_log_loss",
        "cores": os.cpu_count(),
        "verdict": model.facts["rehearsal"].get("signal"),
        "runs": runs,
        "models": judge.compare(models),
        "calibration": {n: judge.calibration(s) for n, s in models.items() if s.p_win is not None},
        "coverage_80": {"ours": judge.coverage(*_interval(scores))},
    }
    if "stage_age" in baselines:
        sorted_scores = _in_order(job, baselines["stage_age"])
        result["coverage_80"]["stage_age"] = judge.coverage(*_interval(sorted_scores))
    if job.truth is not None:
        loss = {
            n: result["models"][n]["ipcw_log_loss"]["value"] for n in ("ours", "truth", "stage_age")
        }
        gained = loss["stage_age"] - loss["ours"]
        result["captured"] = gained / (loss["stage_age"] - loss["truth"])
    return result


def _in_order(job: Job, told: pd.DataFrame) -> pd.DataFrame:
    """Scores on the index of the data as rows in the order of the test rows."""
    rows = job.data.loc[told.index, KEYS]
    return told.loc[rows.sort_values(KEYS).index].reset_index(drop=True)


def _simple(job: Job, told: pd.DataFrame) -> Said:
    told = _in_order(job, told)
    won, lost = told["p_win"].to_numpy(float), told["p_lost"].to_numpy(float)
    whole = job.win_day == job.settings.models.horizon_days
    return Said(
        keys=job.test[KEYS],
        p_share=won / np.maximum(won + lost, 1e-12),
        p_win=won if whole else None,
        outcome_p50=told["outcome_p50"].to_numpy(float),
    )


def _interval(scores: pd.DataFrame) -> tuple[Any, Any]:
    return scores["close_p10"].to_numpy(float), scores["close_p90"].to_numpy(float)


def _peers(
    job: Job, python: Path | None, peers: list[str], automl: float
) -> tuple[dict[str, Said], dict[str, Any]]:
    said, runs = {}, {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_task(job, folder, automl_seconds=automl)
        for peer in peers:
            runs[peer] = run_peer(peer, folder, python, most_seconds=MOST_SECONDS)
            if "missing" in runs[peer]:
                print(f"  {peer}: {runs[peer]['missing']}", flush=True)
                continue
            runs[peer] |= json.loads((folder / f"{peer}.json").read_text())
            frame = pd.read_parquet(folder / f"{peer}.parquet")
            said[peer] = Said.of_frame(frame, job.settings.models.horizon_days, job.win_day)
            print(f"  {peer}: {runs[peer]['whole_seconds']} s", flush=True)
    return said, runs


def _table(name: str, result: dict[str, Any]) -> None:
    """Print one data set's figures, the best headline first."""
    head = result["headline"]
    columns = [head, *(figure for figure in FIGURES if figure != head)]
    print(f"\n{name}: {result['deals']:,} test deals, rows {result['rows']}")
    print(f"{'':18}" + "".join(f"{c[:14]:>16}" for c in columns) + f"{'minus ours':>30}")
    models = result["models"]
    order = sorted(models, key=lambda m: models[m].get(head, {}).get("value", np.inf))
    for model in order:
        told = models[model]
        cells = [f"{told[c]['value']:16.4f}" if c in told else f"{'-':>16}" for c in columns]
        row = told.get(head, {})
        gap = ""
        if "minus_ours" in row:
            low, high = row["minus_ours_interval"]
            gap = f"{row['minus_ours']:+.4f} [{low:+.4f}, {high:+.4f}]"
        print(f"{model:18}" + "".join(cells) + f"{gap:>30}")
    if "captured" in result:
        line = result["calibration"]["ours"]
        covered = result["coverage_80"]["ours"].get("overall", {}).get("covered", float("nan"))
        print(
            f"captured {result['captured']:.1%}, slope {line['slope']:.3f}, calibration error"
            f" {line['calibration_error']:.4f}, 80 % interval covers {covered:.3f}"
        )


def _keep(name: str, result: dict[str, Any]) -> None:
    """Print a result, merge it into the file, and draw the picture anew."""
    _table(name, result)
    path = RESULTS / "deal_models.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    results[name] = result
    path.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    if any(not key.startswith("remaining") for key in results):
        title = "Log-loss of our deal model and of its peers, with 95 % intervals by deal"
        drawn = svg(draw_deal_models(results), name="deals", title=title)
        (RESULTS / "deal_models.svg").write_text(drawn + "\n")


def _jobs(told: argparse.Namespace) -> Iterator[Job]:
    if "bpic2012" in told.jobs:
        yield from bpic2012_jobs()
    if "maven" in told.jobs:
        yield from maven_jobs()
    if "synthetic" in told.jobs:
        for seed in told.seeds:
            yield from synthetic_jobs(told.deals, seed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    jobs = ["bpic2012", "maven", "synthetic", "remaining"]
    parser.add_argument("--jobs", nargs="+", choices=jobs, default=jobs)
    parser.add_argument("--deals", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 11, 13, 17, 19])
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--automl-seconds", type=float, default=60.0, help="of each of two fits")
    return parser.parse_args()


def main() -> None:
    """Run what is asked for, print the tables, write JSON and picture."""
    told = _arguments()
    if not DATA.exists():
        print(f"{DATA} is absent: real data sets are left out", flush=True)
        told.jobs = [job for job in told.jobs if job == "synthetic"]
    python = peers_python()
    for job in _jobs(told):
        print(f"{job.name}: {len(job.learn):,} looks to learn from", flush=True)
        _keep(job.name, compare(job, python, told.peers, told.automl_seconds))
    if "remaining" in told.jobs:
        for name, result in remaining_time(python):
            _keep(f"remaining_{name}", result)


if __name__ == "__main__":
    main()
