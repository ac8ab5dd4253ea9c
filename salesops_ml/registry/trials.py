"""The book of a tuning: one run for the study, and beneath it one run for each trial.

All workers and all later calls write under the same study. A worker writes down its own trials as they
end; what a dead worker left unwritten, the next one to come by makes good.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from salesops_ml.registry.tracking import Run, Tracking, closing, registry_errors, shown, tracking
from salesops_ml.settings import Settings

if TYPE_CHECKING:
    from salesops_ml.models.tuning import Trial, Tuned

PARENT = "mlflow.parentRunId"
STUDY, NUMBER = "tuning.study", "tuning.trial"
STATUS = {"complete": "FINISHED", "pruned": "KILLED", "fail": "FAILED"}


@dataclass
class TrialBook:
    """The study's run, open for writing.

    Attributes:
        run: the parent run.
        study: the study's name.
    """

    run: Run
    study: str
    _written: set[int] = field(default_factory=set)

    def log_trial(self, trial: Trial) -> None:
        """A finished trial: its settings, log-loss by fold (`fold_log_loss`, a step a fold), state.

        One that is pruned is KILLED, with the folds that it came to. The same trial twice is one.
        """
        if not trial.finished or trial.number in self._written:
            return
        book = self.run.tracking
        tags = {PARENT: self.run.run_id, STUDY: self.study, NUMBER: str(trial.number)}
        tags |= {"tuning.state": trial.state, "tuning.worker": trial.worker}
        name = f"trial {trial.number}"
        with registry_errors(f"registry `{shown(book.uri)}`"):
            made = book.client.create_run(book.experiment_id, run_name=name, tags=tags)
        entry = Run(made.info.run_id, name, book)
        entry.log_params(trial.choice)
        entry.log_metrics({"log_loss": trial.log_loss, "seconds": trial.seconds})
        self._log_folds(entry, trial)
        with registry_errors(f"run {entry.run_id}"):
            book.client.set_terminated(entry.run_id, STATUS[trial.state])
        self._written.add(trial.number)

    def catch_up(self, trials: Iterable[Trial]) -> None:
        """Write down the finished ones of `trials` that the book does not hold yet."""
        self._written |= self.written()
        for trial in trials:
            self.log_trial(trial)

    def log_result(self, tuned: Tuned) -> None:
        """What came of the study: the best settings as tags, and the gain with its interval."""
        low, high = tuned.gain_interval
        self.run.log_metrics(
            {
                "best_log_loss": tuned.best_log_loss, "in_use_log_loss": tuned.in_use_log_loss,
                "gain": tuned.gain, "gain_low": low, "gain_high": high,
                "trials": sum(trial.finished for trial in tuned.trials),
            }
        )  # fmt: skip
        self.run.log_tags({f"best.{name}": value for name, value in tuned.best.items()})

    def written(self) -> set[int]:
        """Numbers of the trials that the book holds."""
        children = _runs(self.run.tracking, f"tags.`{PARENT}` = '{self.run.run_id}'")
        return {int(child.data.tags[NUMBER]) for child in children}

    def _log_folds(self, entry: Run, trial: Trial) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1_000)
        folds = [Metric("fold_log_loss", loss, now, step) for step, loss in enumerate(trial.folds)]
        if folds:
            with registry_errors(f"run {entry.run_id}"):
                entry.tracking.client.log_batch(entry.run_id, metrics=folds)


@contextmanager
def trial_book(settings: Settings, *, study: str) -> Iterator[TrialBook]:
    """The book of a study, begun or gone on with; FINISHED at the end, FAILED on an error.

    Raises:
        RegistryError: the store cannot be opened or written.
    """
    book = tracking(settings)
    run_id = _parent(book, study) or _begin(book, settings, study)
    entry = TrialBook(Run(run_id, f"tuning {study}", book), study)
    with closing(book, run_id):
        yield entry


def _begin(book: Tracking, settings: Settings, study: str) -> str:
    """A new parent run; of two that began in the same moment the first stays."""
    with registry_errors(f"registry `{shown(book.uri)}`"):
        name = f"tuning {study}"
        made = book.client.create_run(book.experiment_id, run_name=name, tags={STUDY: study})
        run_id = str(made.info.run_id)
        first = _parent(book, study) or run_id
        if first != run_id:
            book.client.delete_run(run_id)
            return first
    entry = Run(run_id, name, book)
    entry.log_settings(settings)
    entry.log_tags({"seed": settings.seed, "company": settings.company.name})
    return run_id


def _parent(book: Tracking, study: str) -> str | None:
    found = _runs(book, f"tags.`{STUDY}` = '{study}'")
    parents = [run for run in found if PARENT not in run.data.tags]
    if not parents:
        return None
    return str(min(parents, key=lambda run: (run.info.start_time, run.info.run_id)).info.run_id)


def _runs(book: Tracking, query: str) -> list[Any]:
    """All runs of the experiment that answer to `query`, page by page."""
    found: list[Any] = []
    token = None
    while True:
        with registry_errors(f"registry `{shown(book.uri)}`"):
            page = book.client.search_runs([book.experiment_id], query, page_token=token)
        found += page
        token = page.token
        if not token:
            return found
