"""Better settings for the deal model, found on past days only, and told with how sure the gain is.

Each trial is a choice of settings, judged fold by fold by the losses of `models.fold_losses`; one that
falls behind the median of those before it is given up early. The settings in use are the first trial,
so that tuning never ends with worse ones. The gain of the best is paired, deal by deal, with the
settings in use; being the best of many, it flatters itself a little, and the test block, which no
trial has seen, has the last word.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import numpy as np
import optuna

from salesops_ml.errors import UsageError
from salesops_ml.evaluation.bootstrap import interval
from salesops_ml.evaluation.censoring import Floats
from salesops_ml.models.fold_losses import Contest
from salesops_ml.models.tuning_storage import fail_silent, masked, open_study
from salesops_ml.settings import Models, Settings

DRAWS = 1_000
SETTLE_SECONDS = 1.0
FINISHED = ("COMPLETE", "PRUNED", "FAIL")
Choice = dict[str, float | int]


@dataclass(frozen=True)
class Trial:
    """One choice of settings and how far it came.

    Attributes:
        number: 0, 1, ... in the study, whichever worker ran it.
        state: complete, pruned, fail, running or waiting.
        choice: settings of `models`.
        log_loss: pooled over the folds; None unless complete.
        folds: log-loss of each fold that was judged.
        worker: who ran it.
        seconds: how long it took; None while it runs.
    """

    number: int
    state: str
    choice: Choice
    log_loss: float | None
    folds: tuple[float, ...]
    worker: str
    seconds: float | None

    @property
    def finished(self) -> bool:
        """Whether it has come to an end, good or bad."""
        return self.state.upper() in FINISHED


@dataclass(frozen=True)
class Tuned:
    """The best settings, the settings in use, and the difference on the same deals.

    Attributes:
        study: the name under which `storage` keeps the trials.
        trials: all of the study, of every worker.
        best, in_use: settings of `models`.
        best_log_loss, in_use_log_loss: pooled over the folds.
        gain: what the best saves; never below 0.
        gain_interval: its 95 % interval, by deal.
    """

    study: str
    storage: str
    worker: str
    trials: tuple[Trial, ...]
    best: Choice
    in_use: Choice
    best_log_loss: float
    in_use_log_loss: float
    gain: float
    gain_interval: tuple[float, float]

    @property
    def better(self) -> bool:
        """Whether anything better than the settings in use was found."""
        return self.gain > 0


def tune(
    contest: Contest,
    settings: Settings,
    *,
    trials: int | None = None,
    minutes: float | None = None,
    storage: str | None = None,
    on_trial: Callable[[Trial], None] | None = None,
) -> Tuned:
    """Search the settings of `settings.tuning.space`; go on where the storage already has trials.

    Args:
        contest: the folds.
        settings: the settings in use; `seed` decides the order of the trials.
        trials: how many more trials this worker runs.
        minutes: begin no trial after so many minutes; at least one runs. Without both limits the
            ones of `settings.tuning` hold, with both the one that is met first.
        storage: database URL in place of `settings.tuning.storage`.
        on_trial: told of each trial that this worker has finished.

    Raises:
        UsageError: a limit is not above 0.
        ConfigError, ModelError: the storage cannot be used, or nothing can be learned at an origin.
    """
    if trials is None and minutes is None:
        trials, minutes = settings.tuning.trials, settings.tuning.minutes
    check_limits(trials, minutes)
    url = storage or settings.tuning.storage
    name = study_name(contest)
    beat = settings.tuning.heartbeat_seconds
    study, new = open_study(url, name, seed=settings.seed, heartbeat_seconds=beat)
    worker = _Worker(contest, settings)
    fail_silent(study)
    worker.enqueue_in_use(study, new)
    worker.run(study, trials, minutes, on_trial)
    return worker.verdict(study, masked(url))


def check_limits(trials: int | None, minutes: float | None) -> None:
    """Raise a `UsageError` where a limit is not above 0."""
    if trials is not None and trials < 1:
        raise UsageError(f"`--trials {trials}`: give 1 or more")
    if minutes is not None and not minutes > 0:
        raise UsageError(f"`--minutes {minutes:g}`: give more than 0")


def study_name(contest: Contest) -> str:
    """The name that the trials of a contest are kept under; other data, other name."""
    return f"deal_scores-{contest.digest[:16]}"


def chosen(settings: Settings, choice: Mapping[str, float | int]) -> Models:
    """The settings of `models` with a choice laid over them."""
    return Models.model_validate(settings.models.model_dump() | dict(choice))


def trials_of(study: Any) -> tuple[Trial, ...]:
    """The trials that a study holds, in order."""
    return tuple(_trial(found) for found in study.get_trials(deepcopy=False))


class _Worker:
    """Runs trials, and remembers the losses of the best one it ran and of the settings in use."""

    def __init__(self, contest: Contest, settings: Settings) -> None:
        self.contest = contest
        self.settings = settings
        self.name = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}"
        now = settings.models.model_dump()
        self.in_use: Choice = {name: now[name] for name in settings.tuning.space}
        self.kept: dict[str, list[Floats]] = {}

    def enqueue_in_use(self, study: Any, new: bool) -> None:
        """Have the settings in use tried first, and again where no worker came to the end of it."""
        if not new and not study.get_trials(deepcopy=False):
            time.sleep(SETTLE_SECONDS)  # whoever made the study is about to do it
        told = study.get_trials(deepcopy=False)
        if not any(t.state.name != "FAIL" and t.user_attrs.get("in_use") for t in told):
            study.enqueue_trial(self.in_use, user_attrs={"in_use": True})

    def run(
        self,
        study: Any,
        trials: int | None,
        minutes: float | None,
        on_trial: Callable[[Trial], None] | None,
    ) -> None:
        """One trial after the other, until a limit is met."""

        def told(_: Any, found: Any) -> None:
            if on_trial is not None:
                on_trial(_trial(found))

        begun, done = time.monotonic(), 0
        while done == 0 or _goes_on(done, time.monotonic() - begun, trials, minutes):
            try:
                study.optimize(self.objective, n_trials=1, callbacks=[told])
            except (optuna.exceptions.UpdateFinishedTrialError, ValueError) as error:
                if not _was_taken_over(error):
                    raise
            done += 1

    def objective(self, trial: Any) -> float:
        """The pooled log-loss of one choice, reported fold by fold."""
        trial.set_user_attr("worker", self.name)
        choice = {name: self._suggest(trial, name) for name in self.settings.tuning.space}
        models = chosen(self.settings, choice)
        losses: list[Floats] = []
        folds: list[float] = []
        for fold, weight in enumerate(self.contest.weights):
            losses.append(self.contest.losses(models, fold))
            folds.append(_mean(losses[-1:], [weight]))
            trial.set_user_attr("folds", folds)
            trial.report(_mean(losses, self.contest.weights), fold)
            if fold + 1 < len(self.contest.weights) and trial.should_prune():
                raise optuna.TrialPruned
        self._keep(choice, losses)
        return _mean(losses, self.contest.weights)

    def verdict(self, study: Any, storage: str) -> Tuned:
        """The best complete trial of any worker, beside the settings in use."""
        complete = [t for t in trials_of(study) if t.log_loss is not None]
        best = (
            min(complete, key=lambda t: (t.log_loss, t.number)).choice if complete else self.in_use
        )
        ours, theirs = self._losses(best), self._losses(self.in_use)
        weights = self.contest.weights
        if _mean(ours, weights) >= _mean(theirs, weights):
            best, ours = self.in_use, theirs
        gap = np.concatenate(theirs) - np.concatenate(ours)
        weight, deals = np.concatenate(weights), np.concatenate(self.contest.deals)
        return Tuned(
            study=study.study_name,
            storage=storage,
            worker=self.name,
            trials=trials_of(study),
            best=best,
            in_use=self.in_use,
            best_log_loss=_mean(ours, weights),
            in_use_log_loss=_mean(theirs, weights),
            gain=float(np.average(gap, weights=weight)),
            gain_interval=interval(gap, weight, deals, draws=DRAWS),
        )

    def _suggest(self, trial: Any, name: str) -> float | int:
        """A value in the configured range, widened to hold the value in use."""
        span, now = self.settings.tuning.space[name], self.in_use[name]
        low, high = min(span.low, now), max(span.high, now)
        if Models.model_fields[name].annotation is int:
            return int(trial.suggest_int(name, int(low), int(high), log=span.log))
        return float(trial.suggest_float(name, low, high, log=span.log))

    def _keep(self, choice: Choice, losses: list[Floats]) -> None:
        """Remember the losses of the best choice yet and of the settings in use."""
        self.kept[_key(choice)] = losses
        weights = self.contest.weights
        best = min(self.kept, key=lambda key: _mean(self.kept[key], weights))
        stay = {best, _key(self.in_use)}
        self.kept = {key: kept for key, kept in self.kept.items() if key in stay}

    def _losses(self, choice: Choice) -> list[Floats]:
        """The losses of a choice on every fold; trained again where another worker had tried it."""
        if _key(choice) not in self.kept:
            models = chosen(self.settings, choice)
            folds = range(len(self.contest.weights))
            self.kept[_key(choice)] = [self.contest.losses(models, fold) for fold in folds]
        return self.kept[_key(choice)]


def _was_taken_over(error: Exception) -> bool:
    """Whether another worker took us for dead, as after a sleep of the machine, and failed our trial."""
    told = isinstance(error, optuna.exceptions.UpdateFinishedTrialError)
    return told or str(error).startswith("Cannot tell a")


def _goes_on(done: int, seconds: float, trials: int | None, minutes: float | None) -> bool:
    return (trials is None or done < trials) and (minutes is None or seconds < minutes * 60)


def _mean(losses: list[Floats], weights: Any) -> float:
    """Weighted mean over the folds judged so far."""
    weight = np.concatenate(weights[: len(losses)])
    total = weight.sum()
    return float(np.concatenate(losses) @ weight / total) if total > 0 else float("nan")


def _key(choice: Choice) -> str:
    return repr(sorted(choice.items()))


def _trial(found: Any) -> Trial:
    return Trial(
        number=found.number,
        state=found.state.name.lower(),
        choice=dict(found.params),
        log_loss=found.value if found.state.name == "COMPLETE" else None,
        folds=tuple(found.user_attrs.get("folds", ())),
        worker=found.user_attrs.get("worker", ""),
        seconds=found.duration.total_seconds() if found.duration else None,
    )
