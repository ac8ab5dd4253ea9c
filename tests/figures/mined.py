"""Mined frames for the pictures: of a usual log, and of ones that are hard to draw."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.figures.dotted_chart import draw_dotted_chart
from salesops_ml.figures.handover_network import draw_handover_network
from salesops_ml.figures.performance_spectrum import draw_performance_spectrum, draw_spectrum_lines
from salesops_ml.figures.rep_load import draw_rep_load
from salesops_ml.figures.variant_paths import draw_variant_paths
from salesops_ml.mining.dotted_chart import dotted_chart
from salesops_ml.mining.handovers import handovers
from salesops_ml.mining.performance_spectrum import performance_spectrum, spectrum_passings
from salesops_ml.mining.rep_load import rep_load
from salesops_ml.mining.stages import stage_dwell
from salesops_ml.mining.variants import variants

DAY = datetime(2026, 1, 5)
KNOWN: dict[str, Any] = {"won": ["Won"], "lost": ["Lost"], "as_of": DAY + timedelta(days=420)}
LONG = "Rechtsschutzversicherungsgesellschaftsprüfung und Vertragsentwurf"


def log(cases: int, stages: list[str], reps: list[str], seed: int = 2) -> pd.DataFrame:
    """Deals that mostly go on, at times go back, change hands, and end in a year."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[str, str, datetime, str]] = []
    for case in range(cases):
        moment, place = DAY + timedelta(days=float(rng.uniform(0, 365))), 0
        rep = str(rng.choice(reps))
        for _ in range(60):
            rows.append((f"c{case}", stages[place], moment, rep))
            moment += timedelta(days=float(rng.exponential(12)))
            if rng.random() < 0.12 or place == len(stages) - 1:
                rows.append((f"c{case}", str(rng.choice(["Won", "Lost"])), moment, rep))
                break
            place = max(place + int(rng.choice([1, 1, 1, -1])), 0)
            rep = str(rng.choice(reps)) if rng.random() < 0.3 else rep
    columns = ["case:concept:name", "concept:name", "time:timestamp", "org:resource"]
    return pd.DataFrame(rows, columns=columns)


LOGS: dict[str, Callable[[], pd.DataFrame]] = {
    "usual": lambda: log(220, ["Lead", "Demo", "Offer", "Contract"], ["Ann", "Bo", "Cy", "Di"]),
    "long": lambda: log(60, [f"{LONG} {k}" for k in range(6)], [f"{LONG} {k}" for k in range(9)]),
    "many": lambda: log(300, [f"Stage {k}" for k in range(40)], [f"Rep no. {k}" for k in range(40)]),
    "one": lambda: log(1, ["Lead", "Demo"], ["Ann"], seed=4),
    "empty": lambda: log(1, ["Lead"], ["Ann"]).head(0).astype(
        {"case:concept:name": object, "concept:name": object, "org:resource": object}),
}  # fmt: skip


@cache
def frames(kind: str) -> dict[str, pd.DataFrame]:
    """Every frame that a picture is drawn of."""
    made = LOGS[kind]()
    return {
        "variants": variants(made, **KNOWN), "stages": stage_dwell(made, **KNOWN),
        "dots": dotted_chart(made, **KNOWN), "spectrum": performance_spectrum(made, **KNOWN),
        "passings": spectrum_passings(made, **KNOWN), "handovers": handovers(made, **KNOWN),
        "load": rep_load(made, **KNOWN),
    }  # fmt: skip


DRAWN: dict[str, Callable[..., Any]] = {
    "variants": lambda told, **more: draw_variant_paths(told["variants"], told["stages"], **more),
    "dots": lambda told, **more: draw_dotted_chart(told["dots"], **more),
    "dots-since-start": lambda told, **more: draw_dotted_chart(
        told["dots"], since_start=True, **more),
    "spectrum": lambda told, **more: draw_performance_spectrum(told["spectrum"], **more),
    "spectrum-lines": lambda told, **more: draw_spectrum_lines(told["passings"], **more),
    "handovers": lambda told, **more: draw_handover_network(told["handovers"], **more),
    "load": lambda told, **more: draw_rep_load(told["load"], **more),
}  # fmt: skip


def drawing(name: str, kind: str, **more: Any) -> Callable[[], Any]:
    """A picture of a log, as a function that draws it anew."""
    return lambda: DRAWN[name](frames(kind), **more)


def pictures() -> dict[str, Callable[[], Any]]:
    """Each picture of the usual log."""
    return {f"mined-{name}": drawing(name, "usual") for name in DRAWN}
