"""How much of what could be known the deal model knows: against the synthetic world's own truth.

    python benchmarks/deal_truth.py [deals] [seed ...]

Latent share 0, so the truth is attainable. `captured` is the share of the log-loss between the stage x
age table and the truth that the model saves, on the test block; beside it stands the check that no
column beats the truth (a booster started from the true log-odds must not gain on unseen deals).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from salesops_ml.evaluation.measure import Judged, measure_dates, measure_win
from salesops_ml.evaluation.proper_scores import log_loss, logit
from salesops_ml.evaluation.splits import split_by_time
from salesops_ml.models import fit_deal_scores
from salesops_ml.models.baselines import baseline_scores
from salesops_ml.models.boosting import Columns, Rows, fit_booster
from salesops_ml.models.encoding import Encoder
from salesops_ml.settings import parse
from salesops_ml.snapshots import build_dataset, learn_spec, record_end
from salesops_ml.synthetic import WorldParameters, generate
from salesops_ml.synthetic.truth import true_probabilities
from salesops_ml.warehouse import Warehouse

RESULTS = Path(__file__).resolve().parent / "results" / "deal_truth.json"


def one_world(deals: int, seed: int) -> dict[str, Any]:
    """Log-losses of ours, the truth and every baseline on one world's test block."""
    world = generate(WorldParameters(deals=deals, seed=seed))
    settings = parse({})
    with Warehouse.in_memory(world) as warehouse:
        as_of = record_end(warehouse)
        spec = learn_spec(warehouse, settings, as_of=as_of)
        data = build_dataset(warehouse, settings, spec, as_of=as_of)
    block, borders = split_by_time(data, settings.split)
    model = fit_deal_scores(data, block, borders, spec=spec, settings=settings)
    test = data[block == "test"].reset_index(drop=True)
    horizon = settings.models.horizon_days
    judged = Judged.of(test, horizon)
    truth = true_probabilities(world.truth, test[["deal_id", "as_of"]], horizon_days=horizon)
    ours = model.predict(test)
    said = {"ours": ours, "truth": truth}
    said |= baseline_scores(data, block, borders, settings=settings)
    figures = {
        name: measure_win(judged, s["p_win"].to_numpy(float), s["p_lost"].to_numpy(float))
        for name, s in said.items()
    }
    loss = {name: figure["log_loss"] for name, figure in figures.items()}
    return {
        "seed": seed,
        "log_loss": loss,
        "captured": (loss["stage_age"] - loss["ours"]) / (loss["stage_age"] - loss["truth"]),
        "slope": figures["ours"]["calibration_slope"],
        "calibration_error": figures["ours"]["calibration_error"],
        "coverage_80": measure_dates(judged, ours)["coverage_80"],
        "beyond_truth": beyond_truth(test, judged, truth["p_win"].to_numpy(float)),
    }


def beyond_truth(test: Any, judged: Judged, truth: Any) -> float:
    """Log-loss that features add to the truth on unseen deals; above 0 the truth stands."""
    encoder = Encoder.fit(test)
    matrix = np.column_stack([encoder.transform(test), logit(truth)])
    columns = Columns((*encoder.names, "truth"), tuple(encoder.worded))
    half = np.array([sum(map(ord, deal)) % 2 for deal in test["deal_id"]])
    said = np.empty(len(test))
    models = parse({"models": {"trees": 60, "leaves": 8}}).models
    for side in (0, 1):
        rows = (half == side) & (judged.weight > 0)
        learn = Rows(matrix[rows], judged.won[rows].astype(float), judged.weight[rows])
        booster = fit_booster(learn, columns, models=models, seed=1, threads=2)
        said[half != side] = booster.predict(matrix[half != side])
    weight = judged.weight
    return log_loss(judged.won, said, weight) - log_loss(judged.won, truth, weight)


def main() -> None:
    """Run the worlds, print a table, write the results."""
    deals = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    seeds = [int(word) for word in sys.argv[2:]] or [7]
    rows = [one_world(deals, seed) for seed in seeds]
    print(f"{os.cpu_count()} cores, {deals:,} deals, latent share 0")
    print("seed  ours   truth  stage_age  captured  slope  cal.error  cover80  beyond truth")
    for row in rows:
        loss = row["log_loss"]
        print(
            f"{row['seed']:>4}  {loss['ours']:.4f} {loss['truth']:.4f} {loss['stage_age']:.4f}"
            f"     {row['captured']:.1%}    {row['slope']:.3f}  {row['calibration_error']:.4f}"
            f"     {row['coverage_80']:.3f}    {row['beyond_truth']:+.4f}"
        )
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
