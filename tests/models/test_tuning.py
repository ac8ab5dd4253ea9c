"""Tuning: repeatable, resumable, shared by workers, never worse than the settings in use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import optuna
import pytest

from salesops_ml.errors import ConfigError, ModelError, UsageError
from salesops_ml.evaluation.bootstrap import clustered_means
from salesops_ml.models.tuning import Trial, chosen, tune
from salesops_ml.models.tuning_storage import masked, open_study
from salesops_ml.settings import Models, parse
from tests.crm.postgres import private_cluster
from tests.models.hill import FOLDS, Hill, hill_settings
from tests.needs import ROOT

HILL = Path(__file__).with_name("hill.py")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/a folder/tuning.db"


def worker(
    url: str, *, trials: int, pause: float = 0.0, heartbeat: int = 30
) -> subprocess.Popen[str]:
    words = [sys.executable, str(HILL), str(trials), str(pause), str(heartbeat)]
    environment = os.environ | {"HILL_STORAGE": url, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        words, cwd=ROOT, env=environment, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def without_clock(trials: tuple[Trial, ...]) -> list[tuple[object, ...]]:
    return [(t.number, t.state, t.choice, t.log_loss, t.folds) for t in trials]


def test_the_settings_in_use_come_first_and_the_best_is_never_worse(url: str) -> None:
    done = tune(Hill(), hill_settings(url), trials=25)
    assert done.trials[0].choice == done.in_use == {"learning_rate": 0.3, "leaves": 80}
    assert done.trials[0].log_loss == pytest.approx(done.in_use_log_loss)
    complete = [trial.log_loss for trial in done.trials if trial.log_loss is not None]
    assert done.best_log_loss == min(complete) <= done.in_use_log_loss
    assert done.better
    assert 0.02 < done.best["learning_rate"] < 0.15
    assert 8 < done.best["leaves"] < 50


def test_where_nothing_better_is_found_the_settings_in_use_stay(url: str) -> None:
    settings = hill_settings(url)
    best = settings.models.model_copy(update={"learning_rate": 0.05, "leaves": 20})
    done = tune(Hill(), settings.model_copy(update={"models": best}), trials=4)
    assert done.best == done.in_use == {"learning_rate": 0.05, "leaves": 20}
    assert (done.gain, done.better, done.gain_interval) == (0.0, False, (0.0, 0.0))


def test_the_gain_is_paired_by_deal(url: str) -> None:
    hill, settings = Hill(), hill_settings(url)
    done = tune(hill, settings, trials=8)
    weight, deals = np.concatenate(hill.weights), np.concatenate(hill.deals)
    losses = [
        np.concatenate([hill.losses(chosen(settings, choice), fold) for fold in range(FOLDS)])
        for choice in (done.in_use, done.best)
    ]
    gap = losses[0] - losses[1]
    assert done.gain == pytest.approx(np.average(gap, weights=weight))
    drawn = clustered_means(gap, weight, deals, draws=1_000, seed=7)
    assert done.gain_interval == pytest.approx(np.quantile(drawn, [0.025, 0.975]))
    assert done.gain_interval[0] < done.gain < done.gain_interval[1]
    alone = [clustered_means(one, weight, deals, draws=1_000, seed=7).std() for one in losses]
    assert np.diff(done.gain_interval)[0] < 4 * max(alone)


@pytest.mark.slow
def test_same_seed_same_trials_and_another_seed_others(tmp_path: Path) -> None:
    found = [
        tune(Hill(), hill_settings(f"sqlite:///{tmp_path}/{n}.db", seed=seed), trials=12)
        for n, seed in enumerate((7, 7, 8))
    ]
    assert without_clock(found[0].trials) == without_clock(found[1].trials)
    assert found[0].best == found[1].best
    assert found[0].gain_interval == found[1].gain_interval
    assert without_clock(found[0].trials)[1:] != without_clock(found[2].trials)[1:]


@pytest.mark.slow
def test_stopped_and_gone_on_it_finds_what_one_call_finds(tmp_path: Path) -> None:
    once = tune(Hill(), hill_settings(f"sqlite:///{tmp_path}/once.db"), trials=13)
    settings = hill_settings(f"sqlite:///{tmp_path}/twice.db")
    tune(Hill(), settings, trials=5)
    twice = tune(Hill(), settings, trials=8)
    assert without_clock(twice.trials) == without_clock(once.trials)
    assert twice.best == once.best
    assert twice.gain == once.gain
    assert sum(trial.choice == twice.in_use for trial in twice.trials) == 1


def test_what_falls_behind_is_given_up_before_its_last_fold(url: str) -> None:
    hill = Hill()
    done = tune(hill, hill_settings(url), trials=25)
    pruned = [trial for trial in done.trials if trial.state == "pruned"]
    assert pruned
    for trial in pruned:
        assert len(trial.folds) < FOLDS
        assert trial.log_loss is None
    assert len(hill.asked) < 25 * FOLDS
    complete = [trial for trial in done.trials if trial.state == "complete"]
    assert all(len(trial.folds) == FOLDS for trial in complete)


def test_time_is_a_budget_too_and_one_trial_always_runs(url: str) -> None:
    """The budget is five trials of this machine, of which none can be shorter than one pause."""
    begun = time.monotonic()
    first = tune(Hill(pause=0.05), hill_settings(url), trials=1)
    budget = 5 * (time.monotonic() - begun)
    done = tune(Hill(pause=0.05), hill_settings(url), minutes=budget / 60)
    assert len(first.trials) == 1
    assert 1 < len(done.trials) - 1 <= budget / 0.05 + 1
    again = tune(Hill(pause=0.05), hill_settings(url), minutes=1e-9, trials=5)
    assert len(again.trials) == len(done.trials) + 1


def test_another_contest_is_another_study(url: str) -> None:
    one = tune(Hill(), hill_settings(url), trials=2)
    other = tune(Hill(digest="another hill"), hill_settings(url), trials=2)
    assert one.study != other.study
    assert [trial.number for trial in other.trials] == [0, 1]


def test_finished_trials_are_told_one_by_one(url: str) -> None:
    told: list[Trial] = []
    done = tune(Hill(), hill_settings(url), trials=6, on_trial=told.append)
    assert tuple(told) == done.trials
    assert {trial.worker for trial in told} == {done.worker}


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_two_workers_share_one_storage(database: str, url: str) -> None:
    with private_cluster() if database == "postgresql" else nullcontext(url) as there:
        both = [worker(there, trials=8, pause=0.05) for _ in range(2)]
        said = [one.communicate(timeout=120)[1] for one in both]
        done = tune(Hill(), hill_settings(there), trials=1)
    assert [one.returncode for one in both] == [0, 0], said
    assert len(done.trials) == 17
    assert all(trial.finished for trial in done.trials)
    assert len({trial.worker for trial in done.trials}) == 3
    assert sum(trial.choice == done.in_use for trial in done.trials) == 1
    assert min(trial.number for trial in done.trials if trial.choice == done.in_use) < 2
    tried = [tuple(trial.choice.items()) for trial in done.trials]
    assert len(set(tried)) == len(tried)
    assert "pa%40ss" not in done.storage


@pytest.mark.slow
def test_a_dead_workers_trial_fails_and_is_tried_again(url: str) -> None:
    dying = worker(url, trials=3, pause=60, heartbeat=1)
    study, _ = open_study(url, "deal_scores-hill", seed=7, heartbeat_seconds=1)
    for _ in range(3_000):
        if study.get_trials(deepcopy=False) and study.trials[-1].params:
            break
        time.sleep(0.1)
    time.sleep(2)  # for a heartbeat
    os.kill(dying.pid, signal.SIGKILL)
    dying.communicate()
    assert study.trials[0].state.name == "RUNNING"
    time.sleep(3.5)
    done = tune(Hill(), hill_settings(url, heartbeat=1), trials=3)
    assert done.trials[0].state == "fail"
    assert done.trials[1].state == "complete"
    assert done.trials[0].choice == done.trials[1].choice == done.in_use
    assert sum(trial.choice == done.in_use for trial in done.trials) == 2


def test_an_interrupted_trial_in_use_is_tried_again(url: str) -> None:
    class Broken(Hill):
        def losses(self, models: Models, fold: int) -> np.ndarray:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(Broken(), hill_settings(url), trials=3)
    done = tune(Hill(), hill_settings(url), trials=2)
    assert [trial.state for trial in done.trials] == ["fail", "complete", "complete"]
    assert done.trials[1].choice == done.in_use


@pytest.mark.parametrize("when", [0, FOLDS - 1])
def test_a_worker_that_was_taken_for_dead_goes_on_with_the_next_trial(url: str, when: int) -> None:
    class Sleeper(Hill):
        def losses(self, models: Models, fold: int) -> np.ndarray:
            if len(self.asked) == FOLDS + when:
                study, _ = open_study(url, "deal_scores-hill", seed=7, heartbeat_seconds=30)
                study.tell(1, state=optuna.trial.TrialState.FAIL)
            return super().losses(models, fold)

    done = tune(Sleeper(), hill_settings(url), trials=3)
    assert [trial.state for trial in done.trials] == ["complete", "fail", "complete"]


def test_an_error_of_the_model_ends_the_tuning(url: str) -> None:
    class Wrong(Hill):
        def losses(self, models: Models, fold: int) -> np.ndarray:
            raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        tune(Wrong(), hill_settings(url), trials=2)


@pytest.mark.parametrize(("limits", "words"), [
    ({"trials": 0}, "`--trials 0`: give 1 or more"),
    ({"trials": -2}, "`--trials -2`"),
    ({"minutes": 0}, "`--minutes 0`: give more than 0"),
    ({"minutes": float("nan")}, "`--minutes nan`"),
])  # fmt: skip
def test_no_budget_is_told(url: str, limits: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        tune(Hill(), hill_settings(url), **limits)  # type: ignore[arg-type]


@pytest.mark.parametrize(("storage", "kind", "words"), [
    ("tuning.db", ConfigError, "no database URL; write one such as sqlite"),
    ("nosuch://host/db", ConfigError, "no database URL"),
    ("sqlite:////proc/nowhere/tuning.db", ModelError, "cannot be used"),
    ("postgresql+psycopg://ada:s3cret@127.0.0.1:1/db", ModelError, r"ada:\*\*\*@.*cannot be used"),
    ("mysql://ada:s3cret@host/db", ModelError, "its driver is installed"),
])  # fmt: skip
def test_a_storage_that_cannot_be_used_is_told(
    storage: str, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words) as caught:
        tune(Hill(), hill_settings("sqlite://"), trials=1, storage=storage)
    assert "s3cret" not in str(caught.value)


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "tuning.db").write_text(
        "a shopping list, long enough to be no database at all\n" * 9
    )
    with pytest.raises(ModelError, match="cannot be used"):
        tune(Hill(), hill_settings(f"sqlite:///{tmp_path}/tuning.db"), trials=1)


def test_a_url_is_shown_without_its_password() -> None:
    assert masked("postgresql://ada:s3cret@db/tuning") == "postgresql://ada:***@db/tuning"


@pytest.mark.parametrize(("space", "words"), [
    ({"horizon": {"low": 1, "high": 2}}, "`horizon` is no number among the settings of `models`"),
    ({"leaves": {"low": 1, "high": 9}}, "greater than or equal to 2"),
    ({"leaves": {"low": 9, "high": 3}}, "`low` must lie below `high`"),
    ({"trees": {"low": 0, "high": 3, "log": True}}, "above 0 where `log` is true"),
    ({}, "at least 1 item"),
])  # fmt: skip
def test_a_space_that_cannot_be_searched_is_told(space: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse({"tuning": {"space": space}})
