"""Which model is in use: versions, the champion, and the way back.

A model becomes champion only when its gates said yes; the champion before it stays one step away
under the alias `previous`. Before a champion is loaded its files are held against their digests and
its MLmodel against what this package writes, so that a registry that someone tampered with cannot
run code here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from salesops_ml.errors import GateError, RegistryError
from salesops_ml.registry.digests import check_digests, refuse_pickles
from salesops_ml.registry.pyfunc import (
    FLAVOUR,
    LOADER_MODULE,
    LOADERS,
    Loader,
    LoggedModel,
    load_model,
)
from salesops_ml.registry.tracking import Tracking, mlflow_module, registry_errors, tracking
from salesops_ml.settings import Settings

CHAMPION = "champion"
PREVIOUS = "previous"
DIGEST_TAG = "salesops.digests_sha256"
KIND_TAG = "salesops.kind"
BEFORE_TAG = "salesops.champion_before"
HARMLESS = frozenset(
    {"loader_module", "data", "env", "python_version", "code", "config", "streamable"}
)
"""Keys of the flavour in MLmodel that this package writes; any other is refused."""


@dataclass(frozen=True)
class Champion:
    """The model in use.

    Attributes:
        model: the model itself.
        name: its registered name.
        version: its version under that name.
        kind: which kind of model it is.
        run_id: the run that made it.
    """

    model: Any
    name: str
    version: int
    kind: str
    run_id: str

    @property
    def label(self) -> str:
        """Name and version, as written beside each score: `deal_scores/3`."""
        return f"{self.name}/{self.version}"


def register(settings: Settings, logged: LoggedModel, *, name: str | None = None) -> int:
    """Make a logged model a version under `name` (default: the setting for its kind).

    Registering the same logged model again returns the version that it has.

    Raises:
        RegistryError: the store refuses.
    """
    book = tracking(settings)
    name = name or registered_name(settings, logged.kind)
    with registry_errors(f"model `{name}`"):
        _make_registered_model(book, name)
        for known in book.client.search_model_versions(f"name = '{name}'"):
            if known.source == logged.uri:
                return int(known.version)
        made = book.client.create_model_version(
            name,
            logged.uri,
            run_id=logged.run_id,
            tags={DIGEST_TAG: logged.digest, KIND_TAG: logged.kind},
            model_id=logged.model_id,
        )
    return int(made.version)


def promote(
    settings: Settings, name: str, version: int, *, failed_gates: Sequence[str] = ()
) -> int | None:
    """Make `version` the champion; returns the version that it replaced, if any.

    The version is checked as it would be before loading. Promoting the champion again changes
    nothing.

    Raises:
        GateError: `failed_gates` is not empty.
        RegistryError: there is no such version, it must not be loaded, or the store refuses.
    """
    if failed_gates:
        reasons = "; ".join(failed_gates)
        raise GateError(f"model `{name}` version {version} is not promoted: {reasons}")
    book = tracking(settings)
    with tempfile.TemporaryDirectory() as scratch:
        fetch_checked(book, _version(book, name, version), Path(scratch))
    before = champion_version(settings, name)
    if before == version:
        return before
    with registry_errors(f"model `{name}`"):
        if before is not None:
            book.client.set_registered_model_alias(name, PREVIOUS, str(before))
            book.client.set_model_version_tag(name, str(version), BEFORE_TAG, str(before))
        book.client.set_registered_model_alias(name, CHAMPION, str(version))
    return before


def rollback(settings: Settings, name: str) -> int:
    """Give the title back to the champion before this one; returns its version.

    Raises:
        RegistryError: there is no champion, or none before it.
    """
    book = tracking(settings)
    previous = _aliased(book, name, PREVIOUS)
    if previous is None:
        raise RegistryError(
            f"model `{name}` has no previous champion to go back to; promote a version instead"
        )
    earlier = previous.tags.get(BEFORE_TAG)
    with registry_errors(f"model `{name}`"):
        book.client.set_registered_model_alias(name, CHAMPION, previous.version)
        if earlier:
            book.client.set_registered_model_alias(name, PREVIOUS, earlier)
        else:
            book.client.delete_registered_model_alias(name, PREVIOUS)
    return int(previous.version)


def champion_version(settings: Settings, name: str) -> int | None:
    """The champion's version under `name`; None where there is none yet."""
    found = _aliased(tracking(settings), name, CHAMPION)
    return int(found.version) if found else None


def load_champion(
    settings: Settings,
    name: str | None = None,
    *,
    loaders: Mapping[str, Loader] | None = None,
) -> Champion:
    """The champion under `name` (default: the deal model), checked before it is loaded.

    Args:
        settings: where the registry is.
        name: registered name.
        loaders: kind -> loader, in place of this package's own.

    Raises:
        RegistryError: there is no champion, or its files are not those that were registered, or
            they would run code that is not this package's.
    """
    book = tracking(settings)
    name = name or settings.registry.deal_model
    found = _aliased(book, name, CHAMPION)
    if found is None:
        raise RegistryError(
            f"model `{name}` has no champion yet; run `salesops train`, then `salesops promote`"
        )
    with tempfile.TemporaryDirectory() as scratch:
        folder = fetch_checked(book, found, Path(scratch))
        data = folder / check_mlmodel(folder / "MLmodel")
        model = load_model(data, loaders=loaders)
    return Champion(model, name, int(found.version), data.name, str(found.run_id))


def fetch_checked(book: Tracking, version: Any, scratch: Path) -> Path:
    """A private copy of a version's files below `scratch`, after every check.

    Raises:
        RegistryError: the files are gone, changed, or would run foreign code.
    """
    expected = version.tags.get(DIGEST_TAG)
    if expected is None:
        raise RegistryError(
            f"model `{version.name}` version {version.version} was not registered by this package"
        )
    artifacts = mlflow_module().artifacts
    with registry_errors(f"model `{version.name}` version {version.version}"):
        copied = artifacts.download_artifacts(
            artifact_uri=version.source, dst_path=str(scratch), tracking_uri=book.uri
        )
    folder = Path(copied)
    check_mlmodel(folder / "MLmodel")
    refuse_pickles(folder)
    check_digests(folder, expected=expected)
    return folder


def check_mlmodel(path: Path) -> str:
    """Refuse an MLmodel that names another loader than ours, or brings code of its own.

    Returns:
        Where the model's own files lie, from the folder of MLmodel.

    Raises:
        RegistryError: the file is absent, unreadable, or asks for foreign code.
    """
    try:
        flavours = yaml.safe_load(path.read_text(encoding="utf-8"))["flavors"]
        flavour: Mapping[str, Any] = flavours[FLAVOUR]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise RegistryError(f"{path}: is no MLmodel of this package: {error}") from error
    if set(flavours) != {FLAVOUR}:
        raise RegistryError(f"{path}: has flavours {sorted(flavours)}; only {FLAVOUR} is loaded")
    if flavour.get("loader_module") != LOADER_MODULE:
        raise RegistryError(
            f"{path}: `loader_module` is `{flavour.get('loader_module')}`, not {LOADER_MODULE}; "
            "it would run foreign code and is not loaded"
        )
    if flavour.get("code"):
        raise RegistryError(
            f"{path}: `code` is `{flavour['code']}`; it would run foreign code and is not loaded"
        )
    odd = sorted(set(flavour) - HARMLESS)
    data = str(flavour.get("data"))
    if odd or data not in {f"data/{kind}" for kind in LOADERS}:
        what = f"`{odd[0]}`" if odd else f"`data: {data}`"
        raise RegistryError(f"{path}: holds {what}, which this package never writes; not loaded")
    return data


def registered_name(settings: Settings, kind: str) -> str:
    """The name that models of `kind` are registered under."""
    names = {
        "deal_scores": settings.registry.deal_model,
        "revenue_forecast": settings.registry.revenue_model,
    }
    return names[kind]


def _version(book: Tracking, name: str, version: int) -> Any:
    with registry_errors(f"model `{name}` version {version}"):
        return book.client.get_model_version(name, str(version))


def _aliased(book: Tracking, name: str, alias: str) -> Any:
    """The version under an alias, or None where the name or the alias is not there."""
    from mlflow.exceptions import MlflowException

    try:
        return book.client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise RegistryError(f"model `{name}`: {error.message}") from error


def _make_registered_model(book: Tracking, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        book.client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
