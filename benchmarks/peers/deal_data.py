"""Data sets of the deal benchmark: the same looks, splits and labels for every model.

A job is one data set with one split. Labels of learning rows are as known at the border T0; what the
peers get of the test rows has no labels at all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.crm import complete_history, read_source
from salesops_ml.evaluation.censoring import last_supported_day
from salesops_ml.evaluation.splits import Borders, labels_at, split_by_time
from salesops_ml.models.clock_guard import clocklike
from salesops_ml.settings import Settings, Split, load, parse
from salesops_ml.snapshots import FeatureSpec, build_dataset, learn_spec, record_end
from salesops_ml.synthetic import WorldParameters, generate
from salesops_ml.synthetic.truth import true_probabilities
from salesops_ml.warehouse import Warehouse

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@dataclass(frozen=True)
class Job:
    """A data set with its split; `judged_rows` names the rows of the headline (see `deal_judge`)."""

    name: str
    settings: Settings
    spec: FeatureSpec
    data: pd.DataFrame
    block: pd.Series
    borders: Borders
    curve_days: int
    judged_rows: str
    truth: pd.DataFrame | None = None

    @property
    def learn(self) -> pd.DataFrame:
        """Rows to learn from, in a fixed order."""
        kept = self.block.isin(["train", "calibration"])
        return self.data[kept].sort_values(["deal_id", "as_of"]).reset_index(drop=True)

    @property
    def test(self) -> pd.DataFrame:
        """Rows to judge on, in a fixed order."""
        kept = self.data[self.block == "test"]
        return kept.sort_values(["deal_id", "as_of"]).reset_index(drop=True)

    @property
    def win_day(self) -> float:
        """The last day of the horizon that 5 % of the test rows are followed to."""
        followed = self.test["days_observed"].to_numpy(float)
        return last_supported_day(followed, self.settings.models.horizon_days)


def built(settings: Settings, tables: Any) -> tuple[FeatureSpec, pd.DataFrame]:
    """The specification of features and every look of a source."""
    with Warehouse.in_memory(tables) as warehouse:
        as_of = record_end(warehouse)
        spec = learn_spec(warehouse, settings, as_of=as_of)
        return spec, build_dataset(warehouse, settings, spec, as_of=as_of)


def sourced(settings: Settings) -> tuple[FeatureSpec, pd.DataFrame]:
    """The same for the source that the settings name."""
    tables = complete_history(read_source(settings), base_currency=settings.company.base_currency)
    return built(settings, tables)


def bpic2012_jobs() -> list[Job]:
    """Loan applications: the last fifth of cases, and the fifth before it, which is followed longer."""
    settings = load(CONFIGS / "bpic2012.yaml")
    spec, data = sourced(settings)
    jobs = []
    for name, train in (("last20", 0.8), ("mature", 0.6)):
        used = settings.model_copy(update={"split": Split(train=train, test=0.2)})
        block, borders = split_by_time(data, used.split)
        jobs.append(Job(f"bpic2012_{name}", used, spec, data, block, borders, 40, "k1"))
    return jobs


def maven_jobs() -> list[Job]:
    """Opportunities without history: test on the last fifth of closed deals by day of engagement."""
    settings = load(CONFIGS / "maven.yaml")
    spec, data = sourced(settings)
    closed = data[data["outcome"] != "open"].groupby("deal_id")["created_at"].first().sort_values()
    border = closed.iloc[int(len(closed) * 0.8)]
    split = settings.split.model_copy(update={"test_from": border.isoformat()})
    used = settings.model_copy(update={"split": split})
    block, borders = split_by_time(data, used.split)
    return [Job("maven", used, spec, data, block, borders, 150, "k0")]


def synthetic_jobs(deals: int, seed: int) -> list[Job]:
    """A synthetic company without hidden influences, so that its truth can be attained."""
    world = generate(WorldParameters(deals=deals, seed=seed))
    settings = parse({})
    spec, data = built(settings, world)
    block, borders = split_by_time(data, settings.split)
    job = Job(f"synthetic_{seed}", settings, spec, data, block, borders, 90, "all")
    keys = job.test[["deal_id", "as_of"]]
    horizon = settings.models.horizon_days
    truth = true_probabilities(world.truth, keys, horizon_days=horizon, ever=False)
    return [Job(**{**vars(job), "truth": truth})]


def write_task(job: Job, folder: Path, *, automl_seconds: float) -> None:
    """The job as files for `deal_peers.py`: features, labels at the border, no end of a test row.

    Columns that are clocks are kept from the peers as from ours: in short records they only harm.
    """
    learn, test = job.learn, job.test
    labels = labels_at(learn, job.borders.test_from)
    clocks = set(clocklike(learn))
    features = [name for name in learn if name.startswith("f_") and name not in clocks]
    keys = ["deal_id", "as_of"]
    plain_learn, plain_test = (_plain(frame[keys + features]) for frame in (learn, test))
    pd.concat([plain_learn, labels], axis=1).to_parquet(folder / "learn.parquet")
    plain_test.to_parquet(folder / "test.parquet")
    told = {
        "horizon": job.settings.models.horizon_days,
        "win_day": job.win_day,
        "automl_seconds": automl_seconds,
    }
    (folder / "task.json").write_text(json.dumps(told))


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Words as text and everything else as float, as any tool reads them."""
    done = {}
    for name, values in frame.items():
        if not str(name).startswith("f_"):
            done[name] = values
        elif pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
            done[name] = values.astype(np.float64)
        else:
            done[name] = values.astype("object").where(values.notna(), None)
    return pd.DataFrame(done)
