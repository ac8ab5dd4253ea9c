"""Secrets come from environment or keyring only, and show in no text that leaves the process."""

from __future__ import annotations

import json
import logging
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesops_ml.crm import secrets
from salesops_ml.crm.secrets import MASK, Secret, mask, read_secret, with_password
from salesops_ml.errors import ConfigError, SourceError

PLANTED = "pl4nted/secret+of=ours"


@pytest.fixture(autouse=True, scope="module")
def forgotten() -> Iterator[None]:
    """Secrets made up here are not masked in the tests that follow."""
    before = set(secrets._forms)
    yield
    secrets._forms.clear()
    secrets._forms.update(before)


def test_a_secret_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_TOKEN", f" {PLANTED}\n")
    secret = read_secret("env:OUR_TOKEN")
    assert secret.reveal() == PLANTED
    assert PLANTED not in f"{secret} {secret!r} {[secret]}"
    with pytest.raises(TypeError, match="reference"):
        pickle.dumps(secret)


def test_a_secret_is_read_from_a_keyring() -> None:
    keyring = pytest.importorskip("keyring")

    class Ring(keyring.backend.KeyringBackend):  # type: ignore[misc, name-defined]
        priority = 1

        def get_password(self, service: str, username: str) -> str | None:
            return PLANTED if (service, username) == ("hubspot", "ada") else None

        def set_password(self, service: str, username: str, password: str) -> None:
            raise NotImplementedError

        def delete_password(self, service: str, username: str) -> None:
            raise NotImplementedError

    before = keyring.get_keyring()
    keyring.set_keyring(Ring())
    try:
        assert read_secret("keyring:hubspot/ada").reveal() == PLANTED
        with pytest.raises(SourceError, match="keyring set hubspot bob"):
            read_secret("keyring:hubspot/bob")
    finally:
        keyring.set_keyring(before)


@pytest.mark.parametrize(
    "text", [PLANTED, "env:", "env:two words", "keyring:onlyservice", "", "Env:X"]
)
def test_a_literal_secret_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError, match="env:NAME") as caught:
        read_secret(text)
    assert PLANTED not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "what"), [(None, "export MISSING"), ("  ", "export"), ("abc", "shorter")]
)
def test_an_absent_secret_is_named(
    monkeypatch: pytest.MonkeyPatch, value: str | None, what: str
) -> None:
    monkeypatch.delenv("MISSING", raising=False)
    if value is not None:
        monkeypatch.setenv("MISSING", value)
    with pytest.raises(SourceError, match=what):
        read_secret("env:MISSING")


@given(st.text(min_size=6, max_size=30), st.text(max_size=20))
def test_every_form_of_a_secret_is_masked(value: str, around: str) -> None:
    secret = Secret(value)
    for form in (value, quote(value, safe=""), json.dumps(value)[1:-1], repr(value)[1:-1]):
        assert form not in mask(f"{around}-{form}-{around}")
    assert secret.reveal() == value


def test_passwords_in_urls_are_masked() -> None:
    assert mask("postgresql://ada:hunter2@db/crm") == "postgresql://ada:***@db/crm"


def test_log_records_are_masked(caplog: pytest.LogCaptureFixture) -> None:
    Secret(PLANTED)
    with caplog.at_level(logging.INFO):
        logging.getLogger("httpx").info("GET https://crm/rest/%s/deals", PLANTED)
        try:
            raise ValueError(PLANTED)
        except ValueError:
            logging.getLogger("any").exception("failed with %s", PLANTED)
    told = [logging.Formatter().format(record) for record in caplog.records]
    assert len(told) == 2
    assert all(PLANTED not in text and MASK in text for text in told)


def test_the_traceback_of_an_unforeseen_error_is_masked() -> None:
    code = """
        import os
        from salesops_ml.crm.secrets import read_secret
        secret = read_secret("env:OUR_TOKEN")
        raise KeyError("what came: " + secret.reveal())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True, text=True, env={"OUR_TOKEN": PLANTED, "PYTHONPATH": "."},
    )  # fmt: skip
    assert done.returncode == 1
    assert "KeyError" in done.stderr
    assert PLANTED not in done.stderr + done.stdout


def test_a_password_is_put_into_its_address_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_DATABASE", "p@ss/w:d")
    bare = "postgresql+psycopg://ada@db:5432/crm?sslmode=require"
    assert with_password(bare, None, setting="x") == bare
    url = with_password(bare, "env:OUR_DATABASE", setting="x")
    assert url == "postgresql+psycopg://ada:p%40ss%2Fw%3Ad@db:5432/crm?sslmode=require"
    assert mask(url) == "postgresql+psycopg://ada:***@db:5432/crm?sslmode=require"
    with pytest.raises(ConfigError, match=r"`x\.password`: postgresql://db/crm names no user"):
        with_password("postgresql://db/crm", "env:OUR_DATABASE", setting="x.password")
