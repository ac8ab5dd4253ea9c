"""Our model flavour: a folder of LightGBM text, JSON and Arrow that MLflow can serve.

MLflow finds this module by name (`loader_module` in the file MLmodel) and asks it to load the folder
`data/KIND`, whose name says what kind of model it holds. Nothing is pickled, so opening a model runs
no code but this package's own.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from salesops_ml.errors import RegistryError
from salesops_ml.registry.digests import write_digests
from salesops_ml.registry.tracking import Run, mlflow_module, registry_errors

LOADER_MODULE = "salesops_ml.registry.pyfunc"
FLAVOUR = "python_function"
LOADERS = {
    "deal_scores": "salesops_ml.models:DealScores.load",
    "revenue_forecast": "salesops_ml.forecasts.model:RevenueModel.load",
}
"""Kind of model -> where the function lies that opens its folder."""
REQUIREMENTS = ("lightgbm", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy")


class Predicts(Protocol):
    """What a served model can do: a frame in, a frame out."""

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame: ...


Loader = Callable[[Path], Predicts]


@dataclass(frozen=True)
class LoggedModel:
    """A model that lies in the book, not yet registered under a name.

    Attributes:
        model_id: MLflow's id.
        kind: which loader opens it.
        uri: where its files lie, as MLflow names it.
        digest: SHA-256 of its `digests.json`.
        run_id: the run that made it.
    """

    model_id: str
    kind: str
    uri: str
    digest: str
    run_id: str


def log_deal_model(
    run: Run, folder: Path, *, example: pd.DataFrame, predicted: pd.DataFrame
) -> LoggedModel:
    """Log the folder of a deal model; see `log_model`."""
    return log_model(run, folder, kind="deal_scores", example=example, predicted=predicted)


def log_revenue_model(
    run: Run, folder: Path, *, example: pd.DataFrame, predicted: pd.DataFrame
) -> LoggedModel:
    """Log the folder of a revenue model; see `log_model`."""
    return log_model(run, folder, kind="revenue_forecast", example=example, predicted=predicted)


def log_model(
    run: Run, folder: Path, *, kind: str, example: pd.DataFrame, predicted: pd.DataFrame
) -> LoggedModel:
    """Log a model folder with its signature, an input example and the digests of its files.

    Args:
        run: the run that made it.
        folder: the model's own files; copied, not moved.
        kind: a key of `LOADERS`.
        example: a few rows of input; its columns and kinds become the signature.
        predicted: what the model says of those rows.

    Raises:
        RegistryError: the kind is unknown, the folder is absent, or the store refuses.
    """
    if kind not in LOADERS:
        raise RegistryError(f"`kind`: `{kind}` is unknown; it is one of {', '.join(LOADERS)}")
    if not folder.is_dir():
        raise RegistryError(f"{folder}: no such model folder; save the model there first")
    client = run.tracking.client
    with registry_errors(f"run {run.run_id}"):
        entry = client.create_logged_model(
            run.tracking.experiment_id, name=kind, source_run_id=run.run_id, model_type=kind
        )
        with tempfile.TemporaryDirectory() as scratch:
            packed = Path(scratch) / "model"
            _pack(packed, folder, kind, example, predicted, (entry.model_id, run.run_id))
            digest = write_digests(packed)
            client.log_model_artifacts(entry.model_id, str(packed))
        client.finalize_logged_model(entry.model_id, "READY")
        _link(run, entry.model_id)
    return LoggedModel(entry.model_id, kind, entry.artifact_location, digest, run.run_id)


def load_model(folder: Path, *, loaders: Mapping[str, Loader] | None = None) -> Predicts:
    """The model in `folder`, whose name is its kind; `loaders` replaces those of `LOADERS`.

    Raises:
        RegistryError: the folder is absent, or of a kind that is not known.
    """
    if folder.name not in LOADERS or not folder.is_dir():
        raise RegistryError(
            f"{folder}: is no folder of a known kind of model: {', '.join(LOADERS)}"
        )
    load = (loaders or {}).get(folder.name) or _loader(folder.name)
    return load(folder)


def conform_to_example(frame: pd.DataFrame, example: pd.DataFrame) -> pd.DataFrame:
    """`frame` with the columns and kinds that the signature has, so that MLflow takes it.

    Whole numbers become doubles (MLflow refuses a 64-bit integer where it was promised a double),
    categories become text, dates become timestamps. Columns that the example lacks are left out.

    Raises:
        RegistryError: a column of the example is missing.

    Example:
        >>> example = pd.DataFrame({"f_age": [1.5]})
        >>> conform_to_example(pd.DataFrame({"f_age": [3], "note": ["x"]}), example).dtypes.to_dict()
        {'f_age': dtype('float64')}
    """
    missing = [column for column in example.columns if column not in frame.columns]
    if missing:
        raise RegistryError(
            f"the frame lacks column `{missing[0]}` that the model's signature asks for"
        )
    return _plain(frame[list(example.columns)])


class ServedModel:
    """A model as MLflow serves it: text columns named `f_*` become the categories they were."""

    def __init__(self, model: Predicts) -> None:
        self.model = model

    def predict(
        self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None
    ) -> pd.DataFrame:
        """The model's prediction for each row of `model_input`."""
        texts = model_input.select_dtypes(["object", "string"]).columns
        features = {name: "category" for name in texts if str(name).startswith("f_")}
        return self.model.predict(model_input.astype(features))


def _load_pyfunc(path: str) -> ServedModel:
    """The entry that MLflow calls with the `data/KIND` folder of a model."""
    return ServedModel(load_model(Path(path)))


def _loader(kind: str) -> Loader:
    module, _, name = LOADERS[kind].partition(":")
    target: Any = import_module(module)
    for part in name.split("."):
        target = getattr(target, part)
    return target  # type: ignore[no-any-return]


def _pack(
    packed: Path,
    folder: Path,
    kind: str,
    example: pd.DataFrame,
    predicted: pd.DataFrame,
    ids: tuple[str, str],
) -> None:
    """A complete MLflow model folder in `packed`; its requirements are stated, not inferred."""
    mlflow = mlflow_module()
    from mlflow.models import Model, infer_signature

    shown = _plain(example)
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / kind
        shutil.copytree(folder, data)
        model_id, run_id = ids
        mlflow.pyfunc.save_model(
            str(packed),
            loader_module=LOADER_MODULE,
            data_path=str(data),
            mlflow_model=Model(run_id=run_id, model_id=model_id, model_uuid=model_id),
            signature=infer_signature(shown, _plain(predicted)),
            input_example=shown,
            pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
            metadata={"kind": kind, "salesops_ml": version("salesops-ml")},
        )


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns in the few kinds that MLflow's signatures know: double, text, boolean, time."""
    return pd.DataFrame({name: _plain_column(frame[name]) for name in frame.columns}).reset_index(
        drop=True
    )


def _plain_column(values: pd.Series) -> pd.Series:
    if pd.api.types.is_bool_dtype(values):
        return values.astype(bool)
    if pd.api.types.is_numeric_dtype(values):
        return values.astype(np.float64)
    if pd.api.types.is_datetime64_any_dtype(values):
        return values.astype("datetime64[ns]")
    if pd.api.types.infer_dtype(values, skipna=True) == "date":
        return pd.to_datetime(values)
    return pd.Series([None if pd.isna(value) else str(value) for value in values], dtype=object)


def _link(run: Run, model_id: str) -> None:
    """Show the model among the run's outputs."""
    from mlflow.entities import LoggedModelOutput

    run.tracking.client.log_outputs(run.run_id, [LoggedModelOutput(model_id, step=0)])
