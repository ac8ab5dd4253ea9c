"""Where scores are written, and how carefully."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
)

from salesops_ml.secret_reference import CURE, MASK, Address, Secret, check_reference

_SECRETIVE = re.compile(r"(?i)token|secret|password|webhook|(^|_)key")


def _masked(value: Any) -> Any:
    """What is no reference where one belongs is taken for a secret, and no message may show it."""
    if not isinstance(value, dict):
        return value
    return {
        name: MASK if _SECRETIVE.search(str(name)) and not _is_reference(told) else told
        for name, told in value.items()
    }


def _is_reference(value: Any) -> bool:
    try:
        return bool(check_reference(str(value)))
    except ValueError:
        return False


def _by_reference(value: dict[str, Any]) -> dict[str, Any]:
    for name, told in value.items():
        if told == MASK:
            raise ValueError(f"`{name}` names no place of a secret; {CURE}")
    return value


CrmTarget = Literal["tryton", "salesforce", "hubspot", "amocrm", "bitrix24"]


class WriteBack(BaseModel):
    """Where scores are written: a SQL table of ours by SQLAlchemy URL, or fields of ours in a CRM.

    Attributes:
        target: `sql`, or the CRM.
        url: of the SQL database; a CRM's address stands in `connection` or `source`.
        password: the secret that belongs into `url`, by name.
        table: of the SQL database.
        connection: how the CRM is reached, with the keys that `source` has for it; empty: as `source`
            says, where that is the same CRM.
        outbox: database of the outbox of a CRM, by SQLAlchemy URL.
        outbox_password: the secret that belongs into `outbox`, by name.
        canary_share: share of the deals that is written first and read back before the rest follows.
        min_change: smallest move of the win probability worth writing.
        min_close_days: smallest move of the expected close worth writing, in days.
        bands: three cut points between very low, low, medium and high.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: Literal["sql", CrmTarget] = "sql"
    url: Address = "sqlite:///store/crm.db"
    password: Secret | None = None
    table: str = "salesops_scores"
    connection: Annotated[
        dict[str, Any], AfterValidator(_by_reference), BeforeValidator(_masked)
    ] = {}
    outbox: Address = "sqlite:///store/outbox.db"
    outbox_password: Secret | None = None
    canary_share: float = Field(0.01, ge=0, le=1)
    min_change: float = Field(0.01, ge=0, le=1)
    min_close_days: int = Field(7, ge=1)
    bands: tuple[float, float, float] = (0.2, 0.5, 0.8)

    @field_validator("bands")
    @classmethod
    def _rising(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if not 0 < value[0] < value[1] < value[2] < 1:
            raise ValueError("cut points must rise between 0 and 1; write such as [0.2, 0.5, 0.8]")
        return value
