"""The synthetic company at Bitrix24, and how its portal is read; needs nothing else of the tests."""

from __future__ import annotations

from functools import cache
from typing import Any

from salesops_ml.crm.twin_world import Rows
from salesops_ml.crm.twin_world_bitrix24 import BITRIX24_FIELDS, bitrix24_rows, with_bitrix24_ids
from salesops_ml.schema import CanonicalTables
from salesops_ml.source_settings import SyntheticSource
from salesops_ml.synthetic import generate, parameters_from

CUSTOM = {
    "campaign": {"column": "UF_CRM_CAMPAIGN", "known": "at_creation"},
    "signed_by": {"column": "ufCrmSignedBy", "known": "at_close"},
}


@cache
def company(deals: int = 300) -> CanonicalTables:
    """The synthetic company with Bitrix24's ids."""
    return with_bitrix24_ids(generate(parameters_from(SyntheticSource(deals=deals))))


@cache
def _rows(deals: int) -> Rows:
    return bitrix24_rows(company(deals))


def vendor_rows(deals: int = 300) -> Rows:
    """The company's rows at Bitrix24, to be changed at will."""
    return {name: [dict(row) for row in rows] for name, rows in _rows(deals).items()}


def small() -> Rows:
    """A hundred deals with few activities, so that loads are quick."""
    rows = vendor_rows(100)
    return {**rows, "activities": rows["activities"][:300]}


def source(**more: Any) -> dict[str, Any]:
    """The settings of the source, but for how it is reached."""
    return {"custom_fields": CUSTOM, "canonical_fields": BITRIX24_FIELDS,
            **more}  # fmt: skip
