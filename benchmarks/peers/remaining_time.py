"""How long until the end: every prefix of a log is a look, the case's last event is its closing.

Prefixes of length 2..n-1; cases in the order of their first event, 64 % to learn, 16 % to calibrate,
20 % to judge; labels as known when the first judged case begins. Ours says `outcome_p50`; the peers
take simple features of the prefix. A case whose last event is one of the log's good ends is won, any
other is lost: for the time that remains either will do.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from peers.deal_data import CONFIGS, Job, sourced, write_task
from peers.deal_judge import KEYS, Judge, Said
from peers.environment import run_peer

from salesops_ml.evaluation.splits import split_by_time
from salesops_ml.mining.xes import read_xes
from salesops_ml.models import fit_deal_scores
from salesops_ml.settings import Settings, Split, load
from salesops_ml.source_settings import EventLogSource

LOGS = {
    "helpdesk": ("helpdesk.yaml", 60, ("Closed",)),
    "bpic2012": ("bpic2012.yaml", 120, ("A_APPROVED", "A_REGISTERED", "A_ACTIVATED")),
}
PEERS = ("lightgbm_l1", "catboost_mae")
WON, LOST = "the end, well", "the end"


def remaining_time(python: Path | None, logs: tuple[str, ...] = tuple(LOGS)) -> Iterator[Any]:
    """(name, result) of each log."""
    for name in logs:
        yield name, _one_log(name, python)


def _one_log(name: str, python: Path | None) -> dict[str, Any]:
    config, horizon, good = LOGS[name]
    events = _events(load(CONFIGS / config), good)
    with tempfile.TemporaryDirectory() as folder:
        settings = _settings(config, events, Path(folder), horizon)
        spec, data = sourced(settings)
        prefixes = _prefixes(events)
        data = data.merge(prefixes[KEYS], on=KEYS)
        assert len(data) == len(prefixes), "a prefix is no look"
        block, borders = split_by_time(data, settings.split)
        job = Job(name, settings, spec, data, block, borders, horizon, "all")
        judge = Judge(job.test, horizon=horizon, curve_days=horizon)
        print(f"remaining time of {name}: {len(job.learn):,} prefixes to learn from", flush=True)
        start = time.perf_counter()
        model = fit_deal_scores(data, block, borders, spec=spec, settings=settings)
        runs: dict[str, Any] = {"ours": {"seconds": round(time.perf_counter() - start, 1)}}
        said = model.predict(job.test)["outcome_p50"].to_numpy(float)
        models = {"ours": Said(keys=job.test[KEYS], outcome_p50=said)}
        simple = _simple_features(job, prefixes)
        write_task(simple, Path(folder), automl_seconds=0)
        for peer in PEERS:
            runs[peer] = run_peer(peer, Path(folder), python, most_seconds=1_200)
            if "missing" not in runs[peer]:
                runs[peer] |= json.loads((Path(folder) / f"{peer}.json").read_text())
                frame = pd.read_parquet(Path(folder) / f"{peer}.parquet")
                models[peer] = Said.of_frame(frame, horizon, job.win_day)
        return {
            "rows": {"all": int(judge.rows["all"].sum())},
            "deals": int(job.test["deal_id"].nunique()),
            "headline": "mae_days_all",
            "runs": runs,
            "models": judge.compare(models),
        }


def _events(settings: Settings, good: tuple[str, ...]) -> pd.DataFrame:
    """Events in order; each a microsecond after the one before it at least, the last one renamed."""
    source: Any = settings.source
    log = read_xes(source.path, lines=False).to_pandas()
    log = log.rename(
        columns={
            "case:concept:name": "deal_id",
            "concept:name": "activity",
            "time:timestamp": "at",
            "org:resource": "who",
        }
    )
    log = log[["deal_id", "activity", "at", "who"]]
    log = log.sort_values(["deal_id", "at"], kind="stable").reset_index(drop=True)
    first = log.groupby("deal_id")["at"].transform("first")
    place = log.groupby("deal_id").cumcount()
    micros = ((log["at"] - first).dt.total_seconds() * 1e6).round().astype("int64") - place
    micros = micros.groupby(log["deal_id"]).cummax() + place
    log["at"] = first + pd.to_timedelta(micros, unit="us")
    last = place == log.groupby("deal_id")["at"].transform("size") - 1
    end = np.where(log["activity"].isin(good), WON, LOST)
    if settings.source.lost:
        well = log["activity"].isin(good).groupby(log["deal_id"]).transform("any")
        end = np.where(well, WON, LOST)
    log["shown"] = np.where(last, end, log["activity"])
    return log.assign(length=place + 1, last=last)


def _settings(config: str, events: pd.DataFrame, folder: Path, horizon: int) -> Settings:
    path = folder / "log.parquet"
    told = events[["deal_id", "shown", "at", "who"]]
    told.columns = ["case:concept:name", "concept:name", "time:timestamp", "org:resource"]
    told.to_parquet(path)
    source = {
        "type": "event_log",
        "path": str(path),
        "case": {"id": "concept:name"},
        "stages": {"lifecycle": None, "rep": "org:resource"},
        "won": [WON],
        "lost": [LOST],
    }
    settings = load(CONFIGS / config)
    split = Split(train=0.8, test=0.2, calibration=0.2)
    snapshots = settings.snapshots.model_copy(update={"anchor": "every_event"})
    models = settings.models.model_copy(update={"horizon_days": horizon})
    new = {"source": EventLogSource.model_validate(source), "split": split}
    return settings.model_copy(
        update=new | {"snapshots": snapshots, "models": models, "process": type(settings.process)()}
    )


def _prefixes(events: pd.DataFrame) -> pd.DataFrame:
    """Prefixes of length 2..n-1 with what anyone would tell of them."""
    by = events.groupby("deal_id")
    told = pd.DataFrame(
        {
            "deal_id": events["deal_id"].astype(str),
            "as_of": events["at"].astype("datetime64[us]"),
            "f_last": events["activity"],
            "f_before": by["activity"].shift(1),
            "f_length": events["length"],
            "f_age_days": (events["at"] - by["at"].transform("first")).dt.total_seconds() / 86_400,
            "f_since": by["at"].diff().dt.total_seconds() / 86_400,
            "f_hour": events["at"].dt.hour,
            "f_weekday": events["at"].dt.weekday,
        }
    )
    for number, activity in enumerate(sorted(events["activity"].unique())):
        happened = (events["activity"] == activity).astype(int)
        told[f"f_times_{number}"] = happened.groupby(events["deal_id"]).cumsum()
    return told[(events["length"] >= 2) & ~events["last"]].reset_index(drop=True)


def _simple_features(job: Job, prefixes: pd.DataFrame) -> Job:
    """The same rows with the simple features in place of ours."""
    kept = [name for name in job.data if not name.startswith("f_")]
    data = job.data[kept].merge(prefixes, on=KEYS, how="left").set_index(job.data.index)
    return Job(**{**vars(job), "data": data})
