"""The peers of the deal model, each as a person would use it who has the same looks at the same deals.

    python benchmarks/peers/deal_peers.py FOLDER PEER

Runs in an environment of its own and knows nothing of the package. FOLDER holds `learn.parquet`
(features and labels as known at the border), `test.parquet` (features only: nothing to peek at) and
`task.json`; what PEER says of the test rows is written to `PEER.parquet`, its cost and caps to
`PEER.json`. Columns written: deal_id, as_of, and what the peer can say of p_share (won, given that the
deal closes), p_win (won by the day that is judged), outcome_p50 (days), and w1.. and l1.., the chances
of having won and lost by each day.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

WON, LOST = 1, 2
FOREST_ROWS, BOOST_ROWS, COX_ROWS, PERIOD_ROWS = 3_000, 5_000, 20_000, 300_000
THREADS = 1
SEED = 7
Said = dict[str, Any]


class Task:
    """One data set: features of learning and test rows, and labels as known at the border."""

    def __init__(self, folder: Path) -> None:
        self.learn = pd.read_parquet(folder / "learn.parquet")
        self.test = pd.read_parquet(folder / "test.parquet")
        told = json.loads((folder / "task.json").read_text())
        self.horizon, self.win_day = int(told["horizon"]), float(told["win_day"])
        self.seconds = float(told["automl_seconds"])
        self.event = self.learn["event"].to_numpy(int)
        self.duration = self.learn["duration"].to_numpy(float)
        features = [name for name in self.learn if name.startswith("f_")]
        varying = [name for name in features if self.learn[name].nunique(dropna=False) > 1]
        numeric = pd.api.types.is_numeric_dtype
        self.words = [name for name in varying if not numeric(self.learn[name])]
        self.numbers = [name for name in varying if name not in self.words]

    @cached_property
    def closed(self) -> Any:
        """Learning rows whose deal had closed by the border."""
        return self.event > 0

    @cached_property
    def horizon_label(self) -> tuple[Any, Any, Any]:
        """Rows, won by the day that is judged, and inverse probability of censoring weights."""
        followed = np.sort(self.learn["followed"].to_numpy(float))
        ended = self.closed & (self.duration <= self.win_day)
        reach = np.where(ended, self.duration, self.win_day)
        share = 1 - np.searchsorted(followed, reach, side="left") / len(followed)
        counted = ended | (self.learn["followed"].to_numpy(float) >= self.win_day)
        rows = np.flatnonzero(counted & (share > 0))
        return rows, (ended & (self.event == WON))[rows].astype(int), 1 / share[rows]

    def worded(self, *, codes: bool) -> tuple[Any, Any]:
        """Frames with numbers and words; words as pandas categories, or as their codes."""
        frames = []
        for frame in (self.learn, self.test):
            made = frame[self.numbers].astype(float)
            for name in self.words:
                known = sorted(self.learn[name].dropna().astype(str).unique())
                found = pd.Categorical(frame[name].astype("string"), categories=known)
                numbers = np.where(found.codes < 0, np.nan, found.codes)
                made[name] = numbers if codes else pd.Series(found, index=frame.index)
            frames.append(made)
        return frames[0], frames[1]

    def texted(self) -> tuple[Any, Any]:
        """Frames with words as text, an empty cell being a word of its own."""
        frames = []
        for frame in (self.learn, self.test):
            made = frame[self.numbers].astype(float)
            for name in self.words:
                made[name] = frame[name].astype("object").where(frame[name].notna(), "").astype(str)
            frames.append(made)
        return frames[0], frames[1]

    def dense(self) -> tuple[Any, Any]:
        """Matrices of standardised numbers, flags of empty cells, and one column a frequent word."""
        columns: list[tuple[Any, Any]] = []
        for name in self.numbers:
            learn, test = (f[name].to_numpy(float) for f in (self.learn, self.test))
            if np.isnan(learn).mean() > 0.01:
                columns.append((np.isnan(learn), np.isnan(test)))
            middle, scale = np.nanmedian(learn), np.nanstd(learn) or 1.0
            columns.append(tuple(_scaled(x, middle, scale) for x in (learn, test)))  # type: ignore
        for name in self.words:
            counts = self.learn[name].value_counts()
            for word in counts[counts >= 20].index[:60]:
                columns.append(tuple((f[name] == word).to_numpy() for f in (self.learn, self.test)))  # type: ignore
        learn, test = (np.column_stack(side).astype(float) for side in zip(*columns, strict=True))
        kept = learn.std(axis=0) > 0.01
        return learn[:, kept], test[:, kept]

    def sampled(self, most: int) -> Any:
        """At most so many learning rows, by chance."""
        rows = np.random.default_rng(SEED).permutation(len(self.learn))[:most]
        return np.sort(rows)

    def daily(self, rows: Any) -> tuple[Any, Any, Any]:
        """Kept rows, event and whole day: closed on that day, or still open at its end."""
        event, days = self.event[rows].copy(), self.duration[rows]
        day = np.where(event > 0, np.ceil(np.maximum(days, 1e-9)), np.floor(days)).astype(int)
        event[day > self.horizon] = 0
        day = np.minimum(day, self.horizon)
        kept = day >= 1
        return rows[kept], event[kept], day[kept]


def _scaled(values: Any, middle: float, scale: float) -> Any:
    return np.clip((np.where(np.isnan(values), middle, values) - middle) / scale, -5, 5)


def _classified(task: Task, learn: Any, test: Any, fit: Callable[[Any, Any, Any], Any]) -> Said:
    """What a classifier says: fitted on closed rows, and on the censoring-weighted day judged."""
    take = learn.iloc.__getitem__ if hasattr(learn, "iloc") else learn.__getitem__
    closed = np.flatnonzero(task.closed)
    rows, won, weight = task.horizon_label
    share = fit(take(closed), (task.event[closed] == WON).astype(int), None)
    by_day = fit(take(rows), won, weight)
    said = {"p_share": share.predict_proba(test)[:, 1], "p_win": by_day.predict_proba(test)[:, 1]}
    return {**said, "rows": len(closed)}


def logistic(task: Task) -> Said:
    """scikit-learn's logistic regression, defaults."""
    from sklearn.linear_model import LogisticRegression

    def fit(x: Any, y: Any, weight: Any) -> Any:
        return LogisticRegression(max_iter=1_000).fit(x, y, sample_weight=weight)

    return _classified(task, *task.dense(), fit)


def lightgbm(task: Task) -> Said:
    """LightGBM's classifier and its absolute-loss regression, defaults."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    learn, test = task.worded(codes=False)
    with_ = {"n_jobs": THREADS, "verbosity": -1, "random_state": SEED}

    def fit(x: Any, y: Any, weight: Any) -> Any:
        return LGBMClassifier(**with_).fit(x, y, sample_weight=weight)

    said = _classified(task, learn, test, fit)
    days = LGBMRegressor(objective="l1", **with_)
    days.fit(learn[task.closed], task.duration[task.closed])
    return {**said, "outcome_p50": np.maximum(days.predict(test), 0)}


def catboost(task: Task) -> Said:
    """CatBoost's classifier and its absolute-loss regression, defaults, words as they are."""
    from catboost import CatBoostClassifier, CatBoostRegressor

    learn, test = task.texted()
    with_ = {"thread_count": THREADS, "verbose": 0, "random_seed": SEED, "cat_features": task.words}
    with_ |= {"allow_writing_files": False}

    def fit(x: Any, y: Any, weight: Any) -> Any:
        return CatBoostClassifier(**with_).fit(x, y, sample_weight=weight)

    said = _classified(task, learn, test, fit)
    days = CatBoostRegressor(loss_function="MAE", **with_)
    days.fit(learn[task.closed], task.duration[task.closed])
    return {**said, "outcome_p50": np.maximum(days.predict(test), 0)}


def flaml(task: Task) -> Said:
    """FLAML's AutoML on log-loss within its budget a fit, folds kept apart by deal."""
    from flaml import AutoML

    learn, test = task.worded(codes=False)
    groups = pd.factorize(task.learn["deal_id"])[0]

    def fit(x: Any, y: Any, weight: Any) -> Any:
        search = AutoML()
        more = {} if weight is None else {"sample_weight": weight}
        search.fit(
            x, y, task="classification", metric="log_loss", time_budget=task.seconds, verbose=0,
            n_jobs=THREADS, seed=SEED, split_type="group", groups=groups[x.index], **more,
        )  # fmt: skip
        return search

    return {**_classified(task, learn, test, fit), "seconds_a_fit": task.seconds}


def aalen_johansen(task: Task) -> Said:
    """What became of deals in this stage at this age (Aalen & Johansen 1978); few rows: of all."""
    edges = [1, 7, 14, 30, 60, 120]
    stage = [f["f_stage"].astype("string").fillna("").to_numpy() for f in (task.learn, task.test)]
    age = [np.searchsorted(edges, f["f_age_days"], side="right") for f in (task.learn, task.test)]
    curves = {(): _incidence(task, np.arange(len(task.learn)))}
    won = np.tile(curves[()][0], (len(task.test), 1))
    lost = np.tile(curves[()][1], (len(task.test), 1))
    for word in sorted(set(stage[1])):
        for old in range(len(edges) + 1):
            here = (stage[1] == word) & (age[1] == old)
            alike = np.flatnonzero((stage[0] == word) & (age[0] == old))
            alike = alike if len(alike) >= 50 else np.flatnonzero(stage[0] == word)
            if here.any() and len(alike) >= 50:
                won[here], lost[here] = _incidence(task, alike)
    return _curves(won, lost, len(task.learn))


def _incidence(task: Task, rows: Any) -> tuple[Any, Any]:
    _, event, day = task.daily(rows)
    ends = np.array([np.bincount(day[event == c], minlength=task.horizon + 1) for c in (WON, LOST)])
    gone = np.bincount(day, minlength=task.horizon + 1)
    at_risk = len(day) - np.cumsum(gone) + gone
    hazards = ends[:, 1:] / np.maximum(at_risk[1:], 1)
    stay = np.concatenate([[1.0], np.cumprod(1 - hazards.sum(axis=0))[:-1]])
    return np.cumsum(stay * hazards[0]), np.cumsum(stay * hazards[1])


def cox(task: Task) -> Said:
    """Two cause-specific Cox models (lifelines), with a ridge: below 0.1 it may not converge."""
    from lifelines import CoxPHFitter

    learn, test = task.dense()
    rows, event, day = task.daily(task.sampled(COX_ROWS))
    names = [f"x{j}" for j in range(learn.shape[1])]
    frame = pd.DataFrame(learn[rows], columns=names).assign(day=day)
    hazards = []
    for cause in (WON, LOST):
        model = CoxPHFitter(penalizer=0.1)
        model.fit(frame.assign(event=event == cause), duration_col="day", event_col="event")
        base = model.baseline_cumulative_hazard_.iloc[:, 0]
        days = np.arange(1, task.horizon + 1)
        steps = base.reindex(np.union1d(base.index, days)).ffill().fillna(0).loc[days].to_numpy()
        score = model.predict_log_partial_hazard(pd.DataFrame(test, columns=names)).to_numpy()
        hazards.append(np.exp(np.clip(score, -20, 8))[:, None] * steps[None, :])
    return _curves(*_joined(*hazards), len(rows))


def survival_forest(task: Task) -> Said:
    """Two cause-specific random survival forests (scikit-survival) on a sample of rows."""
    from sksurv.ensemble import RandomSurvivalForest
    from sksurv.util import Surv

    learn, test = (frame.fillna(-999).to_numpy() for frame in task.worded(codes=True))
    rows, event, day = task.daily(task.sampled(FOREST_ROWS))
    hazards = []
    for cause in (WON, LOST):
        model = RandomSurvivalForest(
            n_estimators=100, min_samples_leaf=15, n_jobs=THREADS, random_state=SEED
        )
        model.fit(learn[rows], Surv.from_arrays(event == cause, day))
        place = np.searchsorted(model.unique_times_, np.arange(1, task.horizon + 1), side="right")
        parts = []
        for part in np.array_split(test, max(len(test) // 2_000, 1)):
            told = model.predict_cumulative_hazard_function(part, return_array=True)
            told = np.column_stack([np.zeros(len(part)), told])
            parts.append(told[:, place])
        hazards.append(np.vstack(parts))
    return _curves(*_joined(*hazards), len(rows))


def _joined(won: Any, lost: Any) -> tuple[Any, Any]:
    """Cumulative incidences from the cumulative hazards of both causes."""
    steps = [np.diff(h, axis=1, prepend=0.0) for h in (won, lost)]
    both = np.maximum(steps[0] + steps[1], 1e-300)
    stay = np.exp(-np.cumsum(both, axis=1))
    before = np.column_stack([np.ones(len(won)), stay[:, :-1]])
    ended = (before - stay) / both
    return np.cumsum(ended * steps[0], axis=1), np.cumsum(ended * steps[1], axis=1)


def survival_boost(task: Task) -> Said:
    """SurvivalBoost (hazardous), defaults, on a sample of rows; from day 14 asked every third day."""
    from hazardous import SurvivalBoost
    from scipy.interpolate import interp1d

    learn, test = task.worded(codes=True)
    rows = task.sampled(BOOST_ROWS)
    late = task.duration[rows] > task.horizon
    y = pd.DataFrame(
        {
            "event": np.where(late, 0, task.event[rows]),
            "duration": np.clip(task.duration[rows], 1e-3, task.horizon),
        }
    )
    model = SurvivalBoost(show_progressbar=False, random_state=SEED)
    model.fit(learn.iloc[rows].reset_index(drop=True), y)
    asked = np.unique(
        [*range(min(14, task.horizon) + 1), *range(14, task.horizon, 3), task.horizon]
    )
    parts = np.array_split(np.arange(len(test)), len(test) // 2_000 + 1)
    told = [model.predict_cumulative_incidence(test.iloc[p], asked.astype(float)) for p in parts]
    every = interp1d(asked, np.concatenate(told), axis=2)(np.arange(1, task.horizon + 1))
    return _curves(every[:, WON], every[:, LOST], len(rows))


def lightgbm_hazards(task: Task) -> Said:
    """Daily hazards: LightGBM's multi-class defaults on one row a deal and day at risk."""
    from lightgbm import LGBMClassifier

    learn, test = (frame.to_numpy() for frame in task.worded(codes=True))
    rows, event, day = task.daily(task.sampled(len(learn)))
    order = np.random.default_rng(SEED).permutation(len(rows))
    order = order[: int((np.cumsum(day[order]) <= PERIOD_ROWS).sum())]
    rows, event, day = rows[order], event[order], day[order]
    at = np.repeat(np.arange(len(rows)), day)
    ahead = np.arange(len(at)) - np.repeat(np.cumsum(day) - day, day) + 1
    label = np.where(ahead == day[at], event[at], 0)
    model = LGBMClassifier(n_jobs=THREADS, verbosity=-1, random_state=SEED)
    words = list(range(len(task.numbers), learn.shape[1]))
    model.fit(np.column_stack([learn[rows][at], ahead]), label, categorical_feature=words)
    told = [
        _walked(model, part, task.horizon) for part in np.array_split(test, len(test) // 500 + 1)
    ]
    return _curves(*(np.vstack(side) for side in zip(*told, strict=True)), len(rows))


def _walked(model: Any, test: Any, horizon: int) -> tuple[Any, Any]:
    days = np.tile(np.arange(1, horizon + 1), len(test))
    told = model.predict_proba(np.column_stack([np.repeat(test, horizon, axis=0), days]))
    told = told.reshape(len(test), horizon, 3)
    stay = np.cumprod(told[:, :, 0], axis=1)
    before = np.column_stack([np.ones(len(test)), stay[:, :-1]])
    won, lost = (np.cumsum(before * told[:, :, cause], axis=1) for cause in (WON, LOST))
    return won, lost


def _curves(won: Any, lost: Any, rows: int) -> Said:
    return {"won": won, "lost": lost, "rows": rows}


def lightgbm_l1(task: Task) -> Said:
    """Remaining days by LightGBM's absolute loss, defaults."""
    from lightgbm import LGBMRegressor

    learn, test = task.worded(codes=False)
    model = LGBMRegressor(objective="l1", n_jobs=THREADS, verbosity=-1, random_state=SEED)
    model.fit(learn[task.closed], task.duration[task.closed])
    return {"outcome_p50": np.maximum(model.predict(test), 0), "rows": int(task.closed.sum())}


def catboost_mae(task: Task) -> Said:
    """Remaining days by CatBoost's absolute loss, defaults."""
    from catboost import CatBoostRegressor

    learn, test = task.texted()
    model = CatBoostRegressor(
        loss_function="MAE", thread_count=THREADS, verbose=0, random_seed=SEED,
        cat_features=task.words, allow_writing_files=False,
    )  # fmt: skip
    model.fit(learn[task.closed], task.duration[task.closed])
    return {"outcome_p50": np.maximum(model.predict(test), 0), "rows": int(task.closed.sum())}


PEERS: dict[str, Callable[[Task], Said]] = {
    peer.__name__: peer
    for peer in (
        aalen_johansen, logistic, lightgbm, catboost, flaml, cox, survival_forest, survival_boost,
        lightgbm_hazards, lightgbm_l1, catboost_mae,
    )
}  # fmt: skip


def main() -> None:
    """Fit one peer and write what it says."""
    folder, name = Path(sys.argv[1]), sys.argv[2]
    warnings.simplefilter("ignore")
    task = Task(folder)
    start = time.perf_counter()
    said = PEERS[name](task)
    note = {key: value for key, value in said.items() if np.isscalar(value)}
    columns = {key: v for key, v in said.items() if key.startswith(("p_", "outcome"))}
    for letter, side in (("w", "won"), ("l", "lost")):
        if side in said:
            columns |= {f"{letter}{d + 1}": said[side][:, d] for d in range(task.horizon)}
    frame = pd.DataFrame({key: np.asarray(v, np.float32) for key, v in columns.items()})
    keys = task.test[["deal_id", "as_of"]].reset_index(drop=True)
    pd.concat([keys, frame], axis=1).to_parquet(folder / f"{name}.parquet")
    note |= {"seconds": round(time.perf_counter() - start, 1), "says": PEERS[name].__doc__}
    (folder / f"{name}.json").write_text(json.dumps(note))


if __name__ == "__main__":
    main()
