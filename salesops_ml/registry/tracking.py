"""The run book: what was trained, on which data, with which settings, and how well it did.

MLflow keeps it: in an SQLite file with local artifacts by default, in PostgreSQL or on a server by URL,
with the password as a named secret. Its telemetry
is switched off before it is imported. The global state of MLflow is left alone: everything here goes
through a client of its own, so a notebook may use MLflow for other things at the same time.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import NullPool, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from salesops_ml.crm.secrets import mask, with_password
from salesops_ml.errors import RegistryError
from salesops_ml.settings import Settings

TELEMETRY_OFF = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
SERVERS = ("http://", "https://", "databricks", "uc:")
DATABASES = ("sqlite:", "postgresql", "mysql", "mssql")
PARAMS_A_CALL = 100
ENTRIES_A_CALL = 1_000
LONGEST_VALUE = 6_000
LONGEST_DIGEST = 36


def mlflow_module() -> Any:
    """MLflow, imported with its telemetry off and its chatter about migrations quiet."""
    os.environ.update(TELEMETRY_OFF)
    for name in ("MLFLOW_UV_AUTO_DETECT", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"):
        os.environ.setdefault(name, "false")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    import mlflow

    logging.getLogger("alembic").setLevel(logging.WARNING)
    return mlflow


@dataclass(frozen=True)
class Tracking:
    """An open run book: its client, and the experiment that runs are written under.

    `uri` holds the password where there is one; `shown` makes it fit to be read.
    """

    client: Any
    uri: str = field(repr=False)
    experiment_id: str


def tracking(settings: Settings) -> Tracking:
    """Open the run book that `settings.registry` names; make it where there is none.

    Artifacts of an experiment made here go below `registry.artifacts`; a tracking server decides
    for itself where they go.

    Raises:
        RegistryError: the URL cannot be used, or the store cannot be opened or written.
        SourceError: there is no password where `registry.password` says.
    """
    uri = check_store(settings)
    mlflow = mlflow_module()
    with registry_errors(f"registry `{shown(uri)}`"):
        client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
        found = client.get_experiment_by_name(settings.registry.experiment)
        experiment_id = found.experiment_id if found else _create_experiment(client, settings)
    return Tracking(client, uri, str(experiment_id))


def check_store(settings: Settings) -> str:
    """The URL of the run book with its password, once its database server has answered.

    MLflow asks a database that says no for more than a minute; we ask once.

    Raises:
        RegistryError: the URL cannot be used, or its database says no.
        SourceError: there is no password where `registry.password` says.
    """
    uri = settings.registry.tracking_uri
    _check_uri(uri)
    uri = with_password(uri, settings.registry.password, setting="registry.password")
    if uri.startswith(DATABASES) and not uri.startswith("sqlite:"):
        with registry_errors(f"registry `{shown(uri)}`"), _driver_errors(uri):
            create_engine(uri, poolclass=NullPool).connect().close()
    return uri


@dataclass
class Run:
    """One run in the book, open for writing.

    Attributes:
        run_id: MLflow's id of the run.
        name: its name.
        tracking: the book that it stands in.
    """

    run_id: str
    name: str
    tracking: Tracking
    _logged: set[str] = field(default_factory=set)

    def log_settings(self, settings: Settings) -> None:
        """Every setting as a parameter, named by its path; passwords in URLs are left out."""
        self.log_params(flatten(settings.model_dump(mode="json"), separator="."))

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Parameters; of a very long value the beginning is kept."""
        from mlflow.entities import Param

        params = [
            Param(_name(key), _shortened(_without_passwords(_as_text(value))))
            for key, value in values.items()
            if _name(key) not in self._logged
        ]
        self._logged |= {param.key for param in params}
        for at in range(0, len(params), PARAMS_A_CALL):
            self._log_batch(params=params[at : at + PARAMS_A_CALL])

    def log_metrics(self, values: Mapping[str, Any]) -> None:
        """Every finite number of a nested mapping, named by its path: `test/log_loss`."""
        from mlflow.entities import Metric

        now = int(time.time() * 1_000)
        metrics = [
            Metric(_name(key), float(value), now, 0)
            for key, value in flatten(values, separator="/").items()
            if _is_number(value)
        ]
        for at in range(0, len(metrics), ENTRIES_A_CALL):
            self._log_batch(metrics=metrics[at : at + ENTRIES_A_CALL])

    def log_tags(self, values: Mapping[str, Any]) -> None:
        """Tags: git revision, seed, and whatever else a reader searches runs by."""
        from mlflow.entities import RunTag

        self._log_batch(tags=[RunTag(_name(key), _as_text(value)) for key, value in values.items()])

    def log_folder(self, folder: Path, *, artifact_path: str | None = None) -> None:
        """All files of a run folder, figures and reports included, in one call."""
        with registry_errors(f"run {self.run_id}"):
            self.tracking.client.log_artifacts(self.run_id, str(folder), artifact_path)

    def log_dataset(self, name: str, *, digest: str, source: str, rows: int, columns: int) -> None:
        """The data that the run learned from: its digest, where it lies and how big it is.

        `digest` is a SHA-256 in hexadecimal; MLflow's own field holds its first 36 characters, the
        tag `dataset.NAME.sha256` all of it.
        """
        from mlflow.entities import Dataset, DatasetInput

        profile = json.dumps({"num_rows": rows, "num_elements": rows * columns})
        dataset = Dataset(
            name=name,
            digest=digest[:LONGEST_DIGEST],
            source_type="local",
            source=json.dumps({"uri": source}),
            profile=profile,
        )
        with registry_errors(f"run {self.run_id}"):
            self.tracking.client.log_inputs(self.run_id, [DatasetInput(dataset, tags=[])])
        self.log_tags({f"dataset.{name}.sha256": digest})

    def _log_batch(self, **entries: Any) -> None:
        with registry_errors(f"run {self.run_id}"):
            self.tracking.client.log_batch(self.run_id, **entries)


@contextmanager
def run(settings: Settings, *, name: str, git_revision: str | None = None) -> Iterator[Run]:
    """A run with its settings, seed and git revision; FINISHED at the end, FAILED on an error.

    Raises:
        RegistryError: the store cannot be opened or written.
    """
    book = tracking(settings)
    with registry_errors(f"registry `{shown(book.uri)}`"):
        opened = book.client.create_run(book.experiment_id, run_name=name)
    entry = Run(opened.info.run_id, name, book)
    entry.log_settings(settings)
    tags = {"seed": settings.seed, "company": settings.company.name}
    entry.log_tags(tags | ({"mlflow.source.git.commit": git_revision} if git_revision else {}))
    with closing(book, entry.run_id):
        yield entry


@contextmanager
def closing(book: Tracking, run_id: str) -> Iterator[None]:
    """Ends a run with how the work within went: FINISHED, KILLED by the keyboard, or FAILED."""
    status = "FAILED"
    try:
        yield
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        book.client.set_terminated(run_id, status)


def flatten(values: Mapping[str, Any], *, separator: str) -> dict[str, Any]:
    """A nested mapping as one level; names are paths joined by `separator`.

    Example:
        >>> flatten({"test": {"log_loss": 0.5, "rows": 10}}, separator="/")
        {'test/log_loss': 0.5, 'test/rows': 10}
    """
    done: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            below = flatten(value, separator=separator)
            done |= {f"{key}{separator}{name}": item for name, item in below.items()}
        else:
            done[str(key)] = value
    return done


@contextmanager
def registry_errors(place: str) -> Iterator[None]:
    """Errors of MLflow and of its database as `RegistryError`, with no password in them."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        cause = getattr(error, "orig", None) or error
        message = _without_passwords(str(cause)).strip().split("\n")[0]
        raise RegistryError(
            f"{place}: {message}; check `registry.tracking_uri` and `registry.password`, and that the "
            "database, or the folder of its file, can be written"
        ) from None


def shown(uri: str) -> str:
    """A URI fit to be read by others: without its password.

    Example:
        >>> shown("postgresql://ada:secret@db/mlflow")
        'postgresql://ada:***@db/mlflow'
    """
    return _without_passwords(uri)


def _without_passwords(text: str) -> str:
    text = re.sub(r"(://[^:/@\s]*):[^/\s]*@", r"\1:***@", mask(text))
    return re.sub(r"(?i)\b(password|passwd|pwd|token|secret)=[^&\s'\"]+", r"\1=***", text)


@contextmanager
def _driver_errors(uri: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise RegistryError(
            f"registry `{shown(uri)}`: the driver is not installed ({error}); for PostgreSQL: "
            "pip install 'salesops-ml[postgres]'"
        ) from None


def _check_uri(uri: str) -> None:
    """Refuse what is neither a database nor a server; make the folder of an SQLite store."""
    if uri.startswith(SERVERS):
        return
    try:
        url = make_url(uri)
    except ArgumentError:
        url = None
    if url is None or not uri.startswith(DATABASES):
        raise RegistryError(
            f"`registry.tracking_uri`: `{shown(uri)}` is neither a database nor a server; "
            "write one such as sqlite:///store/mlflow.db, postgresql://user@host/mlflow or "
            "https://mlflow.example.com"
        )
    if uri.startswith("sqlite:") and url.database:
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RegistryError(
                f"`registry.tracking_uri`: the folder of {url.database} cannot be made: {error}"
            ) from error


def _create_experiment(client: Any, settings: Settings) -> Any:
    place = None
    if not settings.registry.tracking_uri.startswith(SERVERS):
        place = settings.registry.artifacts.resolve().as_uri()
    return client.create_experiment(settings.registry.experiment, artifact_location=place)


def _name(key: str) -> str:
    """A name that MLflow takes: letters, digits and `_-./: `."""
    return re.sub(r"[^\w\-./: ]", "_", key)[:250]


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 3] + "..."


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
