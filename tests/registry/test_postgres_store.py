"""PostgreSQL as the run book and registry, with a password that shows nowhere."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from salesops_ml import registry
from salesops_ml.crm import secrets
from salesops_ml.errors import ConfigError, RegistryError, SourceError
from salesops_ml.settings import Settings, parse
from tests.crm.postgres import FORMS, PASSWORD, address, everything_in, private_cluster
from tests.registry.tiny_model import LOADERS, registered

WRONG = "hunter2-wrong"


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    before = set(secrets._forms)
    with private_cluster() as url:
        yield url
    secrets._forms.clear()
    secrets._forms.update(before)


@pytest.fixture
def store(cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("OUR_BOOK", PASSWORD)
    monkeypatch.chdir(tmp_path)
    return parse(
        {
            "registry": {
                "tracking_uri": address(cluster), "password": "env:OUR_BOOK",
                "artifacts": str(tmp_path / "artifacts"),
            }
        }
    )  # fmt: skip


@pytest.mark.slow
def test_models_are_registered_promoted_served_and_rolled_back(
    store: Settings, cluster: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for shift in (1.0, 2.0):
        registry.promote(store, "deal_scores", registered(store, tmp_path / f"{shift}", shift))
    champion = registry.load_champion(store, loaders=LOADERS)
    assert (champion.label, champion.model.shift) == ("deal_scores/2", 2.0)
    assert registry.rollback(store, "deal_scores") == 1
    assert registry.load_champion(store, loaders=LOADERS).model.shift == 1.0
    book = registry.tracking(store)
    run = book.client.get_run(champion.run_id)
    assert run.data.params["registry.tracking_uri"] == store.registry.tracking_uri
    assert run.data.params["registry.password"] == "env:OUR_BOOK"
    kept = everything_in(cluster)
    assert "env:OUR_BOOK" in kept
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"MLmodel", "model.json"} <= {path.name for path in files}
    texts = [kept, caplog.text, repr(book), repr(store), store.to_yaml()]
    texts += [path.read_text(errors="replace") for path in files]
    assert not [text for text in texts if any(form in text for form in FORMS)]
    assert not (tmp_path / "mlruns").exists()


def test_a_wrong_or_absent_password_is_said_and_not_repeated(
    store: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUR_BOOK", WRONG)
    words = r"password authentication failed.*`registry\.password`"
    with pytest.raises(RegistryError, match=words) as no:
        registry.tracking(store)
    assert WRONG not in str(no.value)
    monkeypatch.delenv("OUR_BOOK")
    with pytest.raises(SourceError, match="export OUR_BOOK="):
        registry.tracking(store)


def test_a_server_that_is_away_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OUR_BOOK", WRONG)
    away = "postgresql+psycopg://ada@127.0.0.1:1/mlflow"
    settings = parse({"registry": {"tracking_uri": away, "password": "env:OUR_BOOK"}})
    with pytest.raises(RegistryError, match=r"ada:\*\*\*@127\.0\.0\.1:1/mlflow.*refused") as no:
        registry.tracking(settings)
    assert WRONG not in str(no.value)


def test_a_driver_that_is_not_installed_is_said() -> None:
    settings = parse({"registry": {"tracking_uri": "mysql://ada@db/mlflow"}})
    with pytest.raises(RegistryError, match="the driver is not installed"):
        registry.check_store(settings)


@pytest.mark.parametrize("place", ["registry.tracking_uri", "write_back.url", "write_back.outbox"])
def test_a_password_in_an_address_is_refused_and_not_repeated(place: str) -> None:
    group, _, key = place.partition(".")
    with pytest.raises(ConfigError, match=rf"`{group}\.{key}`.*holds a password") as no:
        parse({group: {key: f"postgresql://ada:{WRONG}@db/x"}})
    assert WRONG not in str(no.value)
