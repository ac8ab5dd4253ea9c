"""Promotion, the way back, and the refusal of everything that could run foreign code."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from salesops_ml import registry
from salesops_ml.errors import GateError, RegistryError
from salesops_ml.registry.champion import fetch_checked
from salesops_ml.registry.digests import write_digests
from salesops_ml.registry.tracking import mlflow_module
from salesops_ml.settings import Settings
from tests.registry.tiny_model import EXAMPLE, LOADERS

AddVersion = Callable[[float], int]


def _champion_shift(settings: Settings) -> float:
    return float(registry.load_champion(settings, loaders=LOADERS).model.shift)


def _files(settings: Settings) -> Path:
    """The folder of the only logged model, where an intruder would change it."""
    found = list(settings.registry.artifacts.rglob("MLmodel"))
    assert len(found) == 1
    return found[0].parent


def test_log_register_promote_load(settings: Settings, add_version: AddVersion) -> None:
    version = add_version(0.25)
    assert registry.champion_version(settings, "deal_scores") is None
    assert registry.promote(settings, "deal_scores", version) is None
    champion = registry.load_champion(settings, loaders=LOADERS)
    assert champion.label == "deal_scores/1"
    assert champion.kind == "deal_scores"
    assert champion.model.predict(EXAMPLE)["p_win"].tolist() == [1.25, 2.25]


def test_roll_back_goes_through_all_champions(settings: Settings, add_version: AddVersion) -> None:
    for shift in (1.0, 2.0, 3.0):
        registry.promote(settings, "deal_scores", add_version(shift))
    assert _champion_shift(settings) == 3.0
    assert registry.rollback(settings, "deal_scores") == 2
    assert registry.rollback(settings, "deal_scores") == 1
    assert _champion_shift(settings) == 1.0
    with pytest.raises(RegistryError, match="no previous champion"):
        registry.rollback(settings, "deal_scores")


def test_promoting_the_champion_again_keeps_the_way_back(
    settings: Settings, add_version: AddVersion
) -> None:
    for shift in (1.0, 2.0):
        registry.promote(settings, "deal_scores", add_version(shift))
    assert registry.promote(settings, "deal_scores", 2) == 2
    assert registry.rollback(settings, "deal_scores") == 1


def test_a_failed_gate_stops_promotion(settings: Settings, add_version: AddVersion) -> None:
    registry.promote(settings, "deal_scores", add_version(1.0))
    second = add_version(2.0)
    with pytest.raises(GateError, match=r"log_loss 0\.7 is above 0\.6"):
        registry.promote(
            settings, "deal_scores", second, failed_gates=["log_loss 0.7 is above 0.6"]
        )
    assert registry.champion_version(settings, "deal_scores") == 1


def test_without_a_champion_the_cure_is_said(settings: Settings) -> None:
    with pytest.raises(RegistryError, match="salesops promote"):
        registry.load_champion(settings)
    with pytest.raises(RegistryError, match="version 9"):
        registry.promote(settings, "deal_scores", 9)


def test_registering_twice_gives_one_version(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "model.json").write_text('{"shift": 1}')
    with registry.run(settings, name="train") as run:
        logged = registry.log_revenue_model(
            run, folder, example=EXAMPLE, predicted=pd.DataFrame({"mean": [1.0]})
        )
    assert registry.register(settings, logged) == registry.register(settings, logged) == 1
    registry.promote(settings, "revenue_forecast", 1)
    champion = registry.load_champion(settings, "revenue_forecast", loaders=LOADERS)
    assert champion.kind == "revenue_forecast"


def test_signature_and_example_are_kept(settings: Settings, add_version: AddVersion) -> None:
    add_version(1.0)
    written = yaml.safe_load((_files(settings) / "MLmodel").read_text())
    inputs = json.loads(written["signature"]["inputs"])
    kinds = {column["name"]: column["type"] for column in inputs}
    assert kinds == {"f_age": "double", "f_size": "string", "as_of": "datetime"}
    assert json.loads(written["signature"]["outputs"])[0]["name"] == "p_win"
    assert (_files(settings) / "input_example.json").is_file()
    assert written["flavors"]["python_function"]["loader_module"] == "salesops_ml.registry.pyfunc"


def test_mlflow_itself_can_serve_it(
    settings: Settings, add_version: AddVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_version(0.5)
    monkeypatch.setattr(
        "salesops_ml.registry.pyfunc.LOADERS",
        {"deal_scores": "tests.registry.tiny_model:TinyModel.load"},
    )
    served = mlflow_module().pyfunc.load_model(str(_files(settings)))
    whole_numbers = EXAMPLE.assign(f_age=[3, 4])
    with pytest.raises(mlflow_module().exceptions.MlflowException, match="f_age"):
        served.predict(whole_numbers)
    fitting = registry.conform_to_example(whole_numbers, EXAMPLE)
    assert served.predict(fitting)["p_win"].tolist() == [3.5, 4.5]
    with pytest.raises(RegistryError, match="f_size"):
        registry.conform_to_example(EXAMPLE.drop(columns="f_size"), EXAMPLE)


def _edit_mlmodel(settings: Settings, **flavour: object) -> None:
    """What an intruder would do: edit MLmodel, and forge the digests to match."""
    path = _files(settings) / "MLmodel"
    values = yaml.safe_load(path.read_text())
    values["flavors"]["python_function"].update(flavour)
    path.write_text(yaml.safe_dump(values))
    write_digests(path.parent)


def _change(settings: Settings) -> None:
    path = _files(settings) / "data" / "deal_scores" / "model.json"
    path.write_text('{"shift": 9}')


def _change_and_forge(settings: Settings) -> None:
    _change(settings)
    write_digests(_files(settings))


def _add_file(settings: Settings) -> None:
    (_files(settings) / "data" / "deal_scores" / "extra.json").write_text("{}")


def _remove_file(settings: Settings) -> None:
    (_files(settings) / "data" / "deal_scores" / "model.json").unlink()


def _remove_digests(settings: Settings) -> None:
    (_files(settings) / "digests.json").unlink()


def _add_pickle(settings: Settings) -> None:
    (_files(settings) / "data" / "deal_scores" / "harmless.json").write_bytes(pickle.dumps([1]))
    write_digests(_files(settings))


def _bring_code(settings: Settings) -> None:
    code = _files(settings) / "code"
    code.mkdir()
    (code / "lightgbm.py").write_text("raise SystemExit('foreign code ran')")
    _edit_mlmodel(settings, code="code")


def _foreign_loader(settings: Settings) -> None:
    _edit_mlmodel(settings, loader_module="os")


def _foreign_flavour(settings: Settings) -> None:
    path = _files(settings) / "MLmodel"
    values = yaml.safe_load(path.read_text())
    values["flavors"]["sklearn"] = {"pickled_model": "model.bin"}
    path.write_text(yaml.safe_dump(values))
    write_digests(path.parent)


def _class_in_yaml(settings: Settings) -> None:
    path = _files(settings) / "MLmodel"
    path.write_text("flavors: !!python/object/apply:os.system ['true']\n")


def _odd_key(settings: Settings) -> None:
    _edit_mlmodel(settings, model_code_path="evil.py")


def _unfit_data_path(settings: Settings) -> None:
    _edit_mlmodel(settings, data="../elsewhere")


@pytest.mark.parametrize(
    ("tamper", "what"),
    [
        (_change, "was changed"),
        (_change_and_forge, "is not the one that was registered"),
        (_add_file, "was added"),
        (_remove_file, "is missing"),
        (_remove_digests, r"has no digests\.json"),
        (_add_pickle, "is a pickle"),
        (_bring_code, "`code` is `code`"),
        (_foreign_loader, "`loader_module` is `os`"),
        (_foreign_flavour, "flavours"),
        (_class_in_yaml, "is no MLmodel"),
        (_odd_key, "model_code_path"),
        (_unfit_data_path, "data"),
    ],
)
def test_what_was_tampered_with_is_refused(
    settings: Settings,
    add_version: AddVersion,
    tamper: Callable[[Settings], None],
    what: str,
) -> None:
    registry.promote(settings, "deal_scores", add_version(1.0))
    tamper(settings)
    with pytest.raises(RegistryError, match=what):
        registry.load_champion(settings, loaders=LOADERS)
    with pytest.raises(RegistryError, match=what):
        registry.promote(settings, "deal_scores", 1)


def test_a_version_registered_by_others_is_refused(settings: Settings, tmp_path: Path) -> None:
    book = registry.tracking(settings)
    book.client.create_registered_model("deal_scores")
    made = book.client.create_model_version("deal_scores", tmp_path.as_uri())
    with pytest.raises(RegistryError, match="not registered by this package"):
        fetch_checked(book, made, tmp_path)


def test_files_that_are_gone_are_named(settings: Settings, add_version: AddVersion) -> None:
    registry.promote(settings, "deal_scores", add_version(1.0))
    settings.registry.artifacts.rename(settings.registry.artifacts.with_name("moved"))
    with pytest.raises(RegistryError, match=r"`deal_scores` version 1"):
        registry.load_champion(settings, loaders=LOADERS)


def test_an_unknown_kind_is_refused(settings: Settings, tmp_path: Path) -> None:
    with registry.run(settings, name="train") as run, pytest.raises(RegistryError, match="kind"):
        registry.log_model(run, tmp_path, kind="oracle", example=EXAMPLE, predicted=EXAMPLE)
    with pytest.raises(RegistryError, match="no such model folder"):
        registry.log_deal_model(run, tmp_path / "no", example=EXAMPLE, predicted=EXAMPLE)
