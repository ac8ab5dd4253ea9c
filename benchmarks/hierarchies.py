"""Forecasts of hierarchies beside their peers: what is booked at every level, and how sure that is.

    python benchmarks/hierarchies.py [--data tourism_small labour] [--ours-only]

TourismSmall: quarters, four origins, a year ahead each. Labour: months, four origins from before and
after 2020's break, a year ahead each, every model given the last twenty years. Peers are AutoETS and
hierarchicalforecast's reconcilers, in an environment of their own. All are judged alike: the mean loss
of the quantiles .05 to .95, all origins together, divided by the level's own size (scaled CRPS), level
by level; coverage of the 80 % interval with the error of that figure, clustered by node and origin.
"""

from __future__ import annotations

import argparse
import ast
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from peers.environment import HERE, peers_python, run_peer
from scipy.stats import norm

from salesops_ml.forecasts import forecast_hierarchy
from salesops_ml.forecasts.reconciliation import METHODS
from salesops_ml.forecasts.summing import Structure

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "benchmarks" / "results" / "hierarchies.json"
LEVELS = range(10, 100, 10)
SUMS_HOLD = 1e-6
PEER_SECONDS = 3_600.0


@dataclass(frozen=True)
class Panel:
    """A hierarchy's record: wide values by node, what makes each total, and from when to forecast."""

    name: str
    wide: pd.DataFrame
    parts: dict[str, list[str]]
    season: int
    freq: str
    horizon: int
    backs: tuple[int, ...]
    most: int

    @property
    def structure(self) -> Structure:
        """Nodes and how they add up."""
        return Structure.of(self.parts)

    def at(self, back: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        """What was known `back` periods before the end, and the `horizon` that followed; long."""
        known = self.wide.iloc[: len(self.wide) - back].tail(self.most)
        later = self.wide.iloc[len(self.wide) - back :].head(self.horizon)
        return _long(known).rename(columns={"value": "y"}), _long(later)


def tourism_small() -> Panel:
    """Australian visitor nights by purpose, state, and city or not."""
    wide = pd.read_csv(DATA / "tourism_small" / "data.csv", index_col=0, parse_dates=True)
    sums = pd.read_csv(DATA / "tourism_small" / "agg_mat.csv", index_col=0)
    leaves = [str(leaf) for leaf in sums.columns]
    parts = {
        str(node): [leaf for leaf in leaves if row[leaf] == 1]
        for node, row in sums.iterrows()
        if node not in leaves
    }
    return Panel("tourism_small", wide, parts, 4, "QE", 4, (4, 8, 12, 16), len(wide))


def labour() -> Panel:
    """Australians in work by state, sex and kind of employment; sums rebuilt from the nodes' names."""
    wide = pd.read_csv(DATA / "labour" / "data.csv", index_col=0, parse_dates=True)
    names = {node: frozenset(ast.literal_eval(node)) for node in wide.columns}
    finest = max(len(words) for words in names.values())
    leaves = [node for node, words in names.items() if len(words) == finest]
    parts = {}
    for node, words in names.items():
        if node not in leaves:
            inside = words - {"Total"}
            parts[node] = [leaf for leaf in leaves if inside <= names[leaf]]
    freq = pd.infer_freq(wide.index) or "MS"
    return Panel("labour", wide, parts, 12, freq, 12, (12, 48, 72, 96), 240)


PANELS = {"tourism_small": tourism_small, "labour": labour}


def record(panel: Panel, python: Path | None) -> Iterator[dict[str, Any]]:
    """One row per method and level, and one for the mean of the levels."""
    _check_sums(panel)
    told: dict[str, list[pd.DataFrame]] = {}
    spent: dict[str, float] = {}
    for back in panel.backs:
        known, later = panel.at(back)
        for method in METHODS:
            began = time.process_time()
            told.setdefault(method, []).append(_judged(_ours(panel, known, method), later, back))
            spent[method] = spent.get(method, 0.0) + time.process_time() - began
        if python is not None:
            for method, rows in _peers(panel, known, python):
                told.setdefault(f"AutoETS {method}", []).append(_judged(rows, later, back))
    for method, parts in told.items():
        rows = _by_level(panel, pd.concat(parts))
        for row in rows.reset_index().to_dict(orient="records"):
            facts = {"data": panel.name, "method": method, "cpu_seconds": spent.get(method)}
            yield facts | {str(name): value for name, value in row.items()}


def _ours(panel: Panel, known: pd.DataFrame, method: Any) -> pd.DataFrame:
    """Our forecast with all quantiles in one row per node and step; its sums are held against 0."""
    found = forecast_hierarchy(
        known, panel.parts, horizon=panel.horizon, season_length=panel.season,
        freq=panel.freq, levels=LEVELS, method=method,
    )  # fmt: skip
    structure = panel.structure
    mean = found.pivot(index="unique_id", columns="ds", values="mean").loc[list(structure.nodes)]
    leaves = mean.loc[list(structure.leaves)].to_numpy()
    gap = np.abs(structure.aggregate(leaves) - mean.to_numpy()).max()
    if gap > SUMS_HOLD * max(1.0, np.abs(leaves).max()):
        raise SystemExit(f"{panel.name}, {method}: parents differ from their children by {gap}")
    return found.drop(columns="depth")


def _peers(panel: Panel, known: pd.DataFrame, python: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """The peers' forecasts, their quantiles by their own normal law."""
    structure = panel.structure
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        known.to_parquet(folder / "panel.parquet", index=False)
        sums = pd.DataFrame(structure.matrix, columns=list(structure.leaves))
        sums.insert(0, "unique_id", structure.nodes)
        sums.to_parquet(folder / "summing.parquet", index=False)
        tags = {
            f"level {level}": [n for n, at in zip(structure.nodes, structure.level, strict=True)
                               if at == level]
            for level in np.unique(structure.level)
        }  # fmt: skip
        task = {"season": panel.season, "freq": panel.freq, "horizon": panel.horizon, "tags": tags}
        (folder / "task.json").write_text(json.dumps(task))
        done = run_peer(
            "hierarchy", folder, python, most_seconds=PEER_SECONDS, script="hierarchy_peers.py"
        )
        if "missing" in done:
            print(f"  peers: {done['missing']}", flush=True)
            return
        rows = pd.read_parquet(folder / "peers.parquet")
    for level in LEVELS:
        half = norm.ppf(0.5 + level / 200) * rows["spread"]
        rows = rows.assign(
            **{f"lo_{level}": rows["mean"] - half, f"hi_{level}": rows["mean"] + half}
        )
    for method, some in rows.groupby("method", sort=False):
        yield str(method), some.drop(columns=["method", "spread"])


def _judged(told: pd.DataFrame, later: pd.DataFrame, back: int) -> pd.DataFrame:
    """Loss of 19 quantiles, size of what happened, and whether the 80 % interval held it."""
    joined = told.merge(later, on=["unique_id", "ds"], validate="one_to_one")
    if len(joined) != len(later):
        raise SystemExit(f"{len(later)} values followed, {len(joined)} were forecast")
    below = [(0.5 - level / 200, f"lo_{level}") for level in LEVELS]
    above = [(0.5 + level / 200, f"hi_{level}") for level in LEVELS]
    shares, names = zip(*below, (0.5, "mean"), *above, strict=True)
    gap = joined["value"].to_numpy()[:, None] - joined[list(names)].to_numpy()
    share = np.array(shares)
    return pd.DataFrame(
        {
            "unique_id": joined["unique_id"],
            "origin": back,
            "loss": 2 * np.maximum(share * gap, (share - 1) * gap).mean(axis=1),
            "size": joined["value"].abs(),
            "inside": joined["value"].between(joined["lo_80"], joined["hi_80"]).astype(float),
        }
    )


def _by_level(panel: Panel, judged: pd.DataFrame) -> pd.DataFrame:
    """Scaled CRPS and coverage by level; `mean` is that of the levels."""
    structure = panel.structure
    level = dict(zip(structure.nodes, structure.level.tolist(), strict=True))
    judged = judged.assign(level=judged["unique_id"].map(level))
    sums = judged.groupby("level")[["loss", "size"]].sum()
    rows = (sums["loss"] / sums["size"]).to_frame("scaled_crps")
    clusters = judged.groupby(["level", "unique_id", "origin"])["inside"].mean()
    rows["coverage_80"] = clusters.groupby("level").mean()
    rows["coverage_80_se"] = clusters.groupby("level").std() / np.sqrt(
        clusters.groupby("level").size()
    )
    rows.index = rows.index.astype(str)
    rows.loc["mean"] = rows.mean()
    return rows


def _check_sums(panel: Panel) -> None:
    """The record's own totals equal their parts."""
    structure = panel.structure
    told = panel.wide[list(structure.nodes)].to_numpy().T
    gap = np.abs(structure.aggregate(told[-len(structure.leaves) :]) - told).max()
    if gap > 1e-3 * np.abs(told).max():
        raise SystemExit(f"{panel.name}: a total differs from its parts by {gap}")


def _long(wide: pd.DataFrame) -> pd.DataFrame:
    return wide.rename_axis("ds").reset_index().melt("ds", var_name="unique_id")


def main() -> None:
    """Print the tables and write them; a data set that was not run keeps its last result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=PANELS, default=[*PANELS])
    parser.add_argument("--ours-only", action="store_true", help="leave the peers out")
    asked = parser.parse_args()
    python = None
    if not asked.ours_only:
        python = peers_python(HERE / "requirements_hierarchy.txt")
    done = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in asked.data:
        rows = list(record(PANELS[name](), python))
        done[name] = rows
        table = pd.DataFrame(rows).set_index(["method", "level"])
        print(f"\n{name}\n{table['scaled_crps'].unstack().round(4).to_string()}")
        print(table["coverage_80"].unstack().round(3).to_string(), flush=True)
    RESULTS.write_text(json.dumps(done, indent=1, default=float) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
