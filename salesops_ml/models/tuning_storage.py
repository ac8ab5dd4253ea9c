"""The database that keeps the trials: any that SQLAlchemy reaches, shared by any number of workers.

A worker's heart beats while it tries something. One that is silent for two beats is taken for dead:
its trial fails, and the next worker to come by tries the same settings again.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import optuna
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from salesops_ml.errors import ConfigError, ModelError
from salesops_ml.models.trial_sampler import ByNumber

ATTEMPTS = 5
RETRIES = 3


def open_study(url: str, name: str, *, seed: int, heartbeat_seconds: int) -> tuple[Any, bool]:
    """The study `name` in the database at `url`, and whether it is new.

    Raises:
        ConfigError: `url` is no database URL.
        ModelError: the database cannot be reached or written.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = _connected(_checked(url), heartbeat_seconds)
    study = {"study_name": name, "storage": storage, "direction": "minimize"}
    study |= {"sampler": ByNumber(seed), "pruner": optuna.pruners.MedianPruner(n_startup_trials=5)}
    try:
        return optuna.create_study(**study), True
    except optuna.exceptions.DuplicatedStudyError:
        return optuna.create_study(**study, load_if_exists=True), False
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise _unreachable(url, error) from None


def check_storage(url: str, *, heartbeat_seconds: int) -> None:
    """Raise a `ConfigError` or `ModelError` where the database at `url` cannot be used."""
    _connected(_checked(url), heartbeat_seconds)


def fail_silent(study: Any) -> None:
    """Fail the trials of workers that died, and put their settings back into the queue."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)


def masked(url: str) -> str:
    """The URL without its password.

    Example:
        >>> masked("postgresql+psycopg://ada:secret@db/tuning")
        'postgresql+psycopg://ada:***@db/tuning'
    """
    return make_url(url).render_as_string(hide_password=True)


def _checked(url: str) -> URL:
    try:
        told = make_url(url)
        told.get_dialect()
    except (ArgumentError, SQLAlchemyError):
        raise ConfigError(
            f"`tuning.storage`: `{_shown(url)}` is no database URL; write one such as"
            " sqlite:///store/tuning.db or postgresql+psycopg://user@host/tuning"
        ) from None
    if told.drivername.startswith("sqlite") and told.database:
        try:
            Path(told.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unreachable(url, error) from None
    return told


def _connected(url: URL, heartbeat_seconds: int) -> Any:
    """Open the store, making its tables; another worker may be making them at the same moment."""
    sqlite = url.drivername.startswith("sqlite")
    engine = {"connect_args": {"timeout": 60}} if sqlite else {"pool_pre_ping": True}
    plain = url.render_as_string(hide_password=False)
    for attempt in range(ATTEMPTS):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                again = optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=RETRIES)
                return optuna.storages.RDBStorage(
                    plain,
                    engine_kwargs=engine,
                    heartbeat_interval=heartbeat_seconds,
                    heartbeat_stale_trial_callback=again,
                )
        except (ImportError, RuntimeError) as error:
            raise _unreachable(plain, error) from None
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            if attempt == ATTEMPTS - 1 or not _being_made(error):
                raise _unreachable(plain, error) from None
            time.sleep(0.2 * (attempt + 1))
    raise ModelError(f"`tuning.storage`: `{masked(plain)}` could not be opened")


def _being_made(error: Exception) -> bool:
    words = str(error.__cause__ or error).lower()
    return any(word in words for word in ("already exists", "unique", "duplicate", "locked"))


def _unreachable(url: str, error: Exception) -> ModelError:
    cause = str(error.__cause__ or error).strip().split("\n")[0]
    password = make_url(url).password
    if password:
        cause = cause.replace(str(password), "***")
    return ModelError(
        f"`tuning.storage`: `{masked(url)}` cannot be used: {cause}; check that the database is there,"
        " that its driver is installed, and that it can be written"
    )


def _shown(url: str) -> str:
    return url.split("@")[-1]
