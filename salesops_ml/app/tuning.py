"""`salesops tune`: better settings from past days, as a configuration that runs and a gain in words."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from salesops_ml.app.deal_model import Prepared, prepare_dataset
from salesops_ml.app.progress import Progress
from salesops_ml.errors import DataError, SalesOpsError
from salesops_ml.evaluation.rolling_origins import RollingOrigins, rolling_origins
from salesops_ml.models.fold_losses import FoldLosses
from salesops_ml.models.tuning import Trial, Tuned, check_limits, chosen, study_name, tune
from salesops_ml.models.tuning_storage import check_storage
from salesops_ml.models.validation import validate
from salesops_ml.registry.trials import trial_book
from salesops_ml.settings import Settings, load
from salesops_ml.snapshots import FeatureSpec, is_dated, later_than_the_end, learn_spec, record_end
from salesops_ml.warehouse import Warehouse

STEPS = (("snapshots", 10.0), ("trials", 90.0))


@dataclass(frozen=True)
class Tuning:
    """What a call of `salesops tune` came to: the result, the past days, and where it is kept."""

    tuned: Tuned
    rolled: RollingOrigins
    config: Path
    run_id: str
    overridden: tuple[str, ...]

    def words(self) -> str:
        """The result for people."""
        tuned = self.tuned
        states = Counter(trial.state for trial in tuned.trials)
        told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        days = ", ".join(f"{fold.origin:%Y-%m-%d}" for fold in self.rolled.folds)
        lines = [
            f"{tuned.study}: {len(tuned.trials)} trials ({told}), judged on the deals that began after"
            f" {days}",
            f"in use      log-loss {tuned.in_use_log_loss:.4f}   {_settings(tuned.in_use)}",
            f"best found  log-loss {tuned.best_log_loss:.4f}   {_settings(tuned.best)}",
            _gain(tuned),
            f"written: {self.config}; try it with `salesops train --config {self.config}`",
        ]
        if self.overridden:
            lines.append(
                f"{self.config.parent / 'local.yaml'} lies over it and sets"
                f" {', '.join(f'`models.{name}`' for name in self.overridden)} otherwise"
            )
        return "\n".join(lines)

    def values(self) -> dict[str, Any]:
        """The result for machines."""
        folds = [fold.origin.isoformat() for fold in self.rolled.folds]
        told = {"config": str(self.config), "mlflow_run": self.run_id, "origins": folds}
        return asdict(self.tuned) | {"better": self.tuned.better} | told


def tune_settings(
    settings: Settings,
    config: Path,
    *,
    trials: int | None = None,
    minutes: float | None = None,
    storage: str | None = None,
    out: Path | None = None,
) -> Tuning:
    """Search on what the warehouse holds, keep every trial in the run book, write the best settings.

    Args:
        settings: the settings in use, as `config` gives them.
        config: the configuration that the written one extends.
        trials, minutes: how long this worker goes on; see `models.tuning.tune`.
        storage: database URL that the workers share.
        out: where the best settings go; `tuned.yaml` beside `config` if None.

    Raises:
        UsageError, ConfigError: a limit or the storage is none.
        DataError: the record is not dated, or too short for the past days asked for.
    """
    check_limits(trials, minutes)
    url = storage or settings.tuning.storage
    check_storage(url, heartbeat_seconds=settings.tuning.heartbeat_seconds)
    out = out or config.parent / "tuned.yaml"
    progress = Progress(STEPS)
    with progress.shown():
        with progress.step("snapshots"):
            contest = _contest(settings, progress)
        study = study_name(contest)
        with progress.step("trials"), trial_book(settings, study=study) as book:

            def told(trial: Trial) -> None:
                book.log_trial(trial)
                progress.say(_line(trial))

            tuned = tune(
                contest, settings, trials=trials, minutes=minutes, storage=url, on_trial=told
            )
            book.catch_up(_unwritten(tuned))
            book.log_result(tuned)
    write_config(out, config, tuned.best)
    return Tuning(tuned, contest.rolled, out, book.run.run_id, _overridden(out, settings, tuned))


def validate_prepared(prepared: Prepared, spec: FeatureSpec, settings: Settings) -> dict[str, Any]:
    """`validation` of evaluation.json: ours and every baseline on `models.validation_origins` days."""
    rolled = roll(prepared, settings, folds=settings.models.validation_origins)
    power = settings.tuning.deal_weight_power
    return validate(rolled, spec=spec, settings=settings, power=power)


def roll(prepared: Prepared, settings: Settings, *, folds: int) -> RollingOrigins:
    """Past days before the test border of a data set; its test deals take no part.

    Raises:
        DataError: the blocks do not follow each other in time, or the record is too short.
    """
    if prepared.borders is None:
        raise DataError(
            "rolling origins: the deals are not dated, or `split.column` makes blocks that do not"
            " follow each other in time; there are no past days to judge on"
        )
    data = prepared.data
    tested = data.loc[prepared.block == "test", "deal_id"]
    return rolling_origins(
        data[~data["deal_id"].isin(tested)],
        until=prepared.borders.test_from,
        folds=folds,
        ripen_days=settings.models.horizon_days,
        calibration=settings.split.calibration,
        groups=settings.tuning.groups,
    )


def write_config(path: Path, config: Path, best: Mapping[str, float | int]) -> None:
    """A configuration that extends `config` by the best settings; `config` itself is amended."""
    if path.resolve() == config.resolve():
        values = yaml.safe_load(config.read_text(encoding="utf-8")) or {}
        values["models"] = dict(values.get("models") or {}) | dict(best)
    else:
        below = os.path.relpath(config.resolve(), path.resolve().parent)
        values = {"extends": below, "models": dict(best)}
    head = "# Settings found by `salesops tune` on past days; the test block has not seen them.\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = head + yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SalesOpsError(f"--out {path}: cannot be written: {error}") from error


def _contest(settings: Settings, progress: Progress) -> FoldLosses:
    """The folds over what the warehouse holds."""
    from salesops_ml.periods import parse_moment

    with Warehouse.open(settings.warehouse, threads=settings.threads) as warehouse:
        if not is_dated(warehouse):
            raise DataError(
                "`salesops tune`: no deal is dated, so there are no past days to judge on; give"
                " `created_at` and `closed_at`"
            )
        as_of = parse_moment(settings.as_of) if settings.as_of else record_end(warehouse)
        if warning := later_than_the_end(warehouse, as_of=as_of):
            progress.say(warning)
        spec = learn_spec(warehouse, settings, as_of=as_of)
        prepared = prepare_dataset(warehouse, spec, settings, as_of=as_of)
    folds = settings.models.validation_origins or settings.tuning.origins
    rolled = roll(prepared, settings, folds=folds)
    power = settings.tuning.deal_weight_power
    return FoldLosses.of(rolled, spec=spec, settings=settings, power=power)


def _unwritten(tuned: Tuned) -> list[Trial]:
    """Trials that no worker alive will write down: our own, failed ones, and those before our first."""
    ours = [trial.number for trial in tuned.trials if trial.worker == tuned.worker]
    first = min(ours, default=len(tuned.trials))
    return [
        trial
        for trial in tuned.trials
        if trial.number < first or trial.state == "fail" or trial.worker == tuned.worker
    ]


def _overridden(path: Path, settings: Settings, tuned: Tuned) -> tuple[str, ...]:
    """Settings that do not hold when the written configuration is read, for `local.yaml` says else."""
    read, best = load(path).models, chosen(settings, tuned.best)
    return tuple(name for name in tuned.best if getattr(read, name) != getattr(best, name))


def _line(trial: Trial) -> str:
    loss = "given up" if trial.log_loss is None else f"log-loss {trial.log_loss:.4f}"
    return f"trial {trial.number}: {loss} ({trial.seconds or 0:.0f} s)   {_settings(trial.choice)}"


def _settings(choice: Mapping[str, float | int]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in choice.items())


def _gain(tuned: Tuned) -> str:
    """The gain in words, with what it is worth."""
    if not tuned.better:
        return "nothing better was found: the settings in use stay"
    low, high = tuned.gain_interval
    share = tuned.gain / tuned.in_use_log_loss
    verdict = (
        "more than chance for a single pair; the best of many flatters itself, and the test block has"
        " the last word"
        if low > 0
        else "it may be chance: deals like these would often show as much where there is nothing"
    )
    return (
        f"gain        {tuned.gain:.4f} ({share:.1%}), 95 % interval {low:.4f} to {high:.4f} by deal;"
        f" {verdict}"
    )
