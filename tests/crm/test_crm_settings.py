"""Settings of CRMs: secrets by name only, nothing unknown, no field of our own."""

from __future__ import annotations

from typing import Any

import pytest

from salesops_ml.crm.vendors import VENDORS, vendor_of
from salesops_ml.crm_settings import is_own_field
from salesops_ml.errors import ConfigError
from salesops_ml.settings import parse

GOOD: list[dict[str, Any]] = [
    {"type": "tryton", "url": "http://127.0.0.1:8000", "database": "d", "user": "u",
     "password": "env:TRYTON"},
    {"type": "sql", "url": "duckdb:///x.duckdb", "layout": "fivetran_hubspot"},
    {"type": "salesforce", "url": "https://x.my.salesforce.com", "token": "keyring:sf/ada"},
    {"type": "hubspot", "token": "env:HUBSPOT_TOKEN"},
    {"type": "amocrm", "url": "https://x.kommo.com", "token": "env:KOMMO"},
    {"type": "bitrix24", "url": "https://x.bitrix24.com", "user_id": 1, "webhook": "env:HOOK"},
]  # fmt: skip


@pytest.mark.parametrize("told", GOOD, ids=lambda told: told["type"])
def test_each_kind_reads_and_refuses_a_key_that_nobody_knows(told: dict[str, Any]) -> None:
    assert parse({"source": told}).source.type == told["type"]
    with pytest.raises(ConfigError, match="colour"):
        parse({"source": {**told, "colour": "red"}})


@pytest.mark.parametrize("told", [t for t in GOOD if {"token", "password", "webhook"} & t.keys()],
                         ids=lambda told: told["type"])  # fmt: skip
def test_a_literal_secret_is_refused_and_never_repeated(told: dict[str, Any]) -> None:
    name = next(key for key in ("token", "password", "webhook") if key in told)
    with pytest.raises(ConfigError, match="env:NAME") as caught:
        parse({"source": {**told, name: "s3cret-value"}})
    assert "s3cret-value" not in str(caught.value)


def test_a_password_in_an_address_is_refused_and_never_repeated() -> None:
    url = "postgresql://ada:s3cret-value@db/crm"
    with pytest.raises(ConfigError, match="password") as caught:
        parse({"source": {"type": "sql", "url": url, "layout": "canonical"}})
    assert "s3cret-value" not in str(caught.value)


def test_an_address_that_is_not_encrypted_is_refused() -> None:
    with pytest.raises(ConfigError, match="https"):
        parse({"source": {"type": "hubspot", "token": "env:T", "url": "http://example.com"}})


@pytest.mark.parametrize("field", ["salesops_win_probability", "Salesops_Score_Band__c",
                                   "x_salesops_reasons", "UF_CRM_SALESOPS_SCORED_AT"])  # fmt: skip
def test_a_field_that_we_write_is_no_feature(field: str) -> None:
    assert is_own_field(field)
    told = {**GOOD[3], "custom_fields": {"score": {"column": field}}}
    with pytest.raises(ConfigError, match="learning from ourselves"):
        parse({"source": told})
    with pytest.raises(ConfigError, match="learning from ourselves"):
        parse({"source": {**GOOD[3], "canonical_fields": {"product": field}}})


def test_every_named_vendor_is_there_and_others_are_named() -> None:
    for name in VENDORS:
        told = next(told for told in GOOD if told["type"] == name)
        assert vendor_of(parse({"source": told}).source).feeds is not None  # type: ignore[arg-type]
    unread = next((told for told in GOOD if told["type"] not in VENDORS), None)
    if unread is not None:
        with pytest.raises(ConfigError, match="cannot be read yet"):
            vendor_of(parse({"source": unread}).source)  # type: ignore[arg-type]
