"""A tuning in the book: one run for the study, one beneath it for each trial, whoever wrote it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from salesops_ml.errors import RegistryError
from salesops_ml.models.tuning import Trial, Tuned, tune
from salesops_ml.registry.trials import TrialBook, trial_book
from salesops_ml.settings import Settings, parse
from tests.models.hill import FOLDS, Hill, hill_settings


def trial(number: int, **changes: Any) -> Trial:
    whole = Trial(number, "complete", {"leaves": 20 + number}, 0.5, (0.4, 0.6), "me", 1.5)
    return replace(whole, **changes)


def children(book: TrialBook) -> list[Any]:
    client, experiment = book.run.tracking.client, book.run.tracking.experiment_id
    found = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{book.run.run_id}'")
    return sorted(found, key=lambda run: int(run.data.tags["tuning.trial"]))


def folds(book: TrialBook, run: Any) -> list[tuple[int, float]]:
    history = book.run.tracking.client.get_metric_history(run.info.run_id, "fold_log_loss")
    return sorted((entry.step, entry.value) for entry in history)


def test_every_trial_is_a_run_beneath_the_study(settings: Settings) -> None:
    with trial_book(settings, study="s") as book:
        book.log_trial(trial(0))
        book.log_trial(trial(1, state="pruned", log_loss=None, folds=(0.9,)))
        book.log_trial(trial(2, state="fail", log_loss=None, folds=(), choice={}))
        book.log_trial(trial(3, state="running", log_loss=None))
    complete, pruned, failed = children(book)
    assert complete.data.params == {"leaves": "20"}
    assert complete.data.metrics["log_loss"] == 0.5
    assert folds(book, complete) == [(0, 0.4), (1, 0.6)]
    assert folds(book, pruned) == [(0, 0.9)]
    assert "log_loss" not in pruned.data.metrics
    states = [run.info.status for run in (complete, pruned, failed)]
    assert states == ["FINISHED", "KILLED", "FAILED"]
    assert [run.data.tags["tuning.state"] for run in children(book)] == [
        "complete", "pruned", "fail",
    ]  # fmt: skip
    parent = book.run.tracking.client.get_run(book.run.run_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.params["models.leaves"] == str(settings.models.leaves)
    assert "s3cret" not in str(parent.data.params)


def test_a_later_call_goes_on_in_the_same_book_and_writes_nothing_twice(settings: Settings) -> None:
    with trial_book(settings, study="s") as book:
        book.log_trial(trial(0))
        book.log_trial(trial(0))
    with trial_book(settings, study="s") as again:
        again.catch_up([trial(0), trial(1), trial(2, state="waiting", log_loss=None)])
        again.log_trial(trial(1))
    with trial_book(settings, study="another") as other:
        assert other.written() == set()
    assert again.run.run_id == book.run.run_id != other.run.run_id
    assert [run.data.tags["tuning.trial"] for run in children(again)] == ["0", "1"]


def test_the_result_stands_in_the_studys_run(settings: Settings) -> None:
    done = Tuned("s", "sqlite://", "me", (trial(0), trial(1)), {"leaves": 21}, {"leaves": 20},
                 0.45, 0.5, 0.05, (0.01, 0.09))  # fmt: skip
    with trial_book(settings, study="s") as book:
        book.log_result(done)
        book.log_result(replace(done, best={"leaves": 22}, gain=0.06))
    kept = book.run.tracking.client.get_run(book.run.run_id).data
    assert kept.metrics["gain"] == 0.06
    assert (kept.metrics["gain_low"], kept.metrics["gain_high"]) == (0.01, 0.09)
    assert kept.metrics["trials"] == 2
    assert kept.tags["best.leaves"] == "22"


def test_all_trials_of_a_tuning_are_in_the_book(settings: Settings, tmp_path: Any) -> None:
    hilly = hill_settings(f"sqlite:///{tmp_path}/tuning.db")
    with trial_book(settings, study="hill") as book:
        done = tune(Hill(), hilly, trials=9, on_trial=book.log_trial)
        book.catch_up(done.trials)
    found = children(book)
    assert len(found) == len(done.trials) == 9
    for run, told in zip(found, done.trials, strict=True):
        assert run.data.tags["tuning.state"] == told.state
        assert {name: float(value) for name, value in run.data.params.items()} == told.choice
        assert [loss for _, loss in folds(book, run)] == pytest.approx(list(told.folds))
        assert len(told.folds) <= FOLDS


def test_a_failed_tuning_is_marked_failed_and_taken_up_again(settings: Settings) -> None:
    with pytest.raises(ZeroDivisionError), trial_book(settings, study="s") as book:
        _ = 1 / 0
    client = book.run.tracking.client
    assert client.get_run(book.run.run_id).info.status == "FAILED"
    with trial_book(settings, study="s") as again:
        pass
    assert again.run.run_id == book.run.run_id
    assert client.get_run(book.run.run_id).info.status == "FINISHED"


def test_many_trials_are_found_page_by_page(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with trial_book(settings, study="s") as book:
        for number in range(5):
            book.log_trial(trial(number))
        client = book.run.tracking.client
        whole = client.search_runs

        def by_two(experiments: list[str], query: str, page_token: str | None = None) -> Any:
            return whole(experiments, query, max_results=2, page_token=page_token)

        monkeypatch.setattr(client, "search_runs", by_two)
        assert book.written() == {0, 1, 2, 3, 4}


def test_a_book_that_cannot_be_opened_is_told() -> None:
    broken = parse({"registry": {"tracking_uri": "sqlite:////proc/nowhere/mlflow.db"}})
    with pytest.raises(RegistryError, match="registry"), trial_book(broken, study="s"):
        pass
