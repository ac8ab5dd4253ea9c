"""How a CRM is read: where it is, by whose rights, and what its own fields and words mean to us.

A secret is never written here: settings name the environment variable (`env:HUBSPOT_TOKEN`) or the
keyring entry (`keyring:hubspot/ada`) that holds it. Reading needs no right to write anything.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, ClassVar, Literal, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from salesops_ml.secret_reference import MASK, Address, Secret, no_secret, without_secret

CANONICAL_FIELDS = (
    "product", "lead_source", "deal_type", "lost_reason", "service_start", "term_months",
    "forecast_category", "amount", "expected_close_date",
)  # fmt: skip
REP_FIELDS = ("team", "region")
ACCOUNT_FIELDS = ("industry", "region", "employees", "annual_revenue")
OWN_PREFIX = "salesops_"
"""Fields that begin so, with or without a vendor's `x_` before it, are ours: never read as features."""


def _encrypted(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is no web address; write one such as https://example.my.salesforce.com")
    if parts.scheme == "http" and not _on_this_machine(parts.hostname):
        raise ValueError("is not encrypted; write https:// (http is for this machine alone)")
    return value.rstrip("/")


def _on_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


WebAddress = Annotated[
    str, AfterValidator(_encrypted), AfterValidator(no_secret), BeforeValidator(without_secret)
]
"""Where a service is: https, or http on this machine."""


def _without_webhook(value: Any) -> Any:
    return re.sub(r"(?<=/rest/)\S+", MASK, value) if isinstance(value, str) else value


def _no_webhook(value: str) -> str:
    if value.endswith(f"/rest/{MASK}"):
        raise ValueError(
            "holds a webhook; write the portal alone, such as https://example.bitrix24.com, and keep "
            "the webhook's code as a secret"
        )
    return value


PortalAddress = Annotated[
    WebAddress, AfterValidator(_no_webhook), BeforeValidator(_without_webhook)
]
"""Where a portal is, without the webhook by which it is called."""


class CustomField(BaseModel):
    """A field of the customer's own in the CRM, read as an extra deal attribute.

    `known` says when its value is known: `at_creation` (may be a feature as it stands), `over_time`
    (may be one through its history; without a history it is left out) or `at_close` (never is).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str | None = Field(None, description="its name in the CRM; else the attribute's")
    kind: Literal["string", "float", "boolean", "timestamp"] = "string"
    known: Literal["at_creation", "over_time", "at_close"] = "at_close"


class CrmSource(BaseModel):
    """What every CRM is told.

    Attributes:
        custom_fields: extra deal attributes by the name that they get here.
        pipelines: keep only deals of these pipelines (as the CRM names them); empty: of all.
        renamed_stages: old stage name -> today's, for CRMs whose history keeps names and not ids.
        integration_users: ids or logins by which software writes; their changes are no history.
        canonical_fields: canonical column of `deals` -> the CRM's field, where the usual one is not
            what the company uses; such as `product: Product_Line__c`.
        rep_fields: `team` and `region` of reps -> the user's field, where it is not the usual one.
        steady: whose today's values held from the beginning, so that they may be features: `accounts`
            (industry, region, size), `reps` (team, region). CRMs keep no history of these.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    NOT_READ: ClassVar[tuple[str, ...]] = (
        "pipelines", "renamed_stages", "integration_users", "steady",
    )  # fmt: skip
    """Settings of how rows are mapped, or how fast they are read: with others, the same rows come."""

    custom_fields: dict[str, CustomField] = {}
    pipelines: tuple[str, ...] = ()
    renamed_stages: dict[str, str] = {}
    integration_users: tuple[str, ...] = ()
    rep_fields: dict[str, str] = {}
    steady: tuple[Literal["accounts", "reps"], ...] = ()
    canonical_fields: dict[str, str] = {}

    @field_validator("canonical_fields", "rep_fields")
    @classmethod
    def _known(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        known = CANONICAL_FIELDS if info.field_name == "canonical_fields" else REP_FIELDS
        for name in value:
            if name not in known:
                raise ValueError(f"`{name}` cannot be named here; these can: {', '.join(known)}")
        return value

    @model_validator(mode="after")
    def _nothing_of_our_own(self) -> CrmSource:
        fields = {name: field.column or name for name, field in self.custom_fields.items()}
        for name, column in (fields | dict(self.canonical_fields)).items():
            if is_own_field(column):
                raise ValueError(
                    f"`{name}`: `{column}` is a field that scores are written to; learning from it "
                    "would be learning from ourselves"
                )
        return self


def is_own_field(name: str) -> bool:
    """Whether a CRM's field is one that we write.

    Example:
        >>> is_own_field("x_salesops_win_probability"), is_own_field("Salesops_Score_Band__c")
        (True, True)
        >>> is_own_field("UF_CRM_SALESOPS_REASONS"), is_own_field("ufCrmSalesopsReasons")
        (True, True)
        >>> is_own_field("sales_channel")
        False
    """
    bare = name.lower().removeprefix("property_").removeprefix("properties_")
    if bare.startswith("ufcrm"):
        return bare.removeprefix("ufcrm").removeprefix("_").startswith(OWN_PREFIX.rstrip("_"))
    return bare.removeprefix("x_").removeprefix("uf_crm_").startswith(OWN_PREFIX)


class TrytonSource(CrmSource):
    """A Tryton server, by JSON-RPC; the user needs to read sale opportunities and their history.

    The user's own changes are no history: give the connector a user of its own. `probability_field:
    conversion_probability` makes write-back set Tryton's own probability beside the fields of ours;
    unless it is named so, no field that people edit is written.
    """

    type: Literal["tryton"]
    url: WebAddress
    database: str
    user: str
    password: Secret
    probability_field: Literal["conversion_probability"] | None = None

    @model_validator(mode="after")
    def _nothing_written_is_read(self) -> TrytonSource:
        read = [field.column or name for name, field in self.custom_fields.items()]
        if self.probability_field in {*read, *self.canonical_fields.values()}:
            raise ValueError(
                f"`{self.probability_field}` is written by us (`probability_field`); learning from "
                "it would be learning from ourselves"
            )
        return self


class SalesforceSource(CrmSource):
    """A Salesforce org, by its REST API: a connected app's client credentials, or a token.

    Attributes:
        url: the org's My Domain address.
        api_version: a version of the API that the org still has.
        client_id: the connected app's consumer key.
        client_secret: the connected app's secret, by name.
        refresh_token: a user's refresh token, by name; else the app's own user calls.
        token: an access token, by name; it ends with its session.
        record_types: a pipeline of each record type; else all deals run in one.
        records_a_call: deals a write; fewer where the org's own triggers do not bear 200.
        bulk_from: more deals than this at once are written by a Bulk job.
        records_a_job: deals a Bulk job, and the most that are settled at once.
        calls_at_once: calls in flight; rows of one account lock each other, so few are best.
        daily_calls: calls in 24 hours that we may make; the org's own count is watched, too.
    """

    NOT_READ = (
        *CrmSource.NOT_READ,
        "records_a_call",
        "bulk_from",
        "records_a_job",
        "calls_at_once",
        "daily_calls",
    )

    type: Literal["salesforce"]
    url: WebAddress
    api_version: str = Field("64.0", pattern=r"^\d{2,3}\.0$")
    client_id: str | None = None
    client_secret: Secret | None = None
    refresh_token: Secret | None = None
    token: Secret | None = None
    record_types: bool = True
    records_a_call: int = Field(200, ge=1, le=200)
    bulk_from: int = Field(2_000, ge=1)
    records_a_job: int = Field(10_000, ge=1, le=10_000)
    calls_at_once: int = Field(5, ge=1, le=25)
    daily_calls: int = Field(100_000, ge=1)

    @model_validator(mode="after")
    def _rights(self) -> SalesforceSource:
        by_app = self.client_id is not None and (self.client_secret or self.refresh_token)
        if self.token is None and not by_app:
            raise ValueError(
                "needs `client_id` with `client_secret` or `refresh_token`, or else `token`"
            )
        return self


class HubSpotSource(CrmSource):
    """A HubSpot account, by the token of a private app.

    Attributes:
        url: HubSpot's API.
        token: the private app's access token, by name.
        api_version: `v3`, or a date such as `2026-03`.
        calls_per_10_seconds: 100, or 190 with Professional and Enterprise.
        searches_a_second: 5, which all apps of an account share.
        daily_calls: calls in 24 hours that we may make; the account's own count is watched, too.
        calls_at_once: calls in flight.
    """

    NOT_READ = (
        *CrmSource.NOT_READ,
        "calls_per_10_seconds",
        "searches_a_second",
        "daily_calls",
        "calls_at_once",
    )

    type: Literal["hubspot"]
    url: WebAddress = "https://api.hubapi.com"
    token: Secret
    api_version: str = Field("v3", pattern=r"^(v\d+|\d{4}-\d{2})$")
    calls_per_10_seconds: int = Field(100, ge=1)
    searches_a_second: int = Field(5, ge=1)
    daily_calls: int = Field(250_000, ge=1)
    calls_at_once: int = Field(6, ge=1, le=25)


class AmoCrmSource(CrmSource):
    """An amoCRM or Kommo account, by a long-lived token; fields are named by their id or code.

    Attributes:
        url: the account's own address, such as https://example.amocrm.ru or https://example.kommo.com.
        token: the integration's long-lived token, by name.
        api_version: a version of the API that the account still has.
        won_status: the status of won deals, in every pipeline.
        lost_status: the status of lost deals, in every pipeline.
        account_fields: what is known of accounts -> the field of companies that holds it.
        calls_a_second: the account's limit for one integration.
        records_a_call: deals a write.
        calls_at_once: calls in flight.
    """

    NOT_READ = (
        *CrmSource.NOT_READ, "calls_a_second", "records_a_call", "calls_at_once",
    )  # fmt: skip

    type: Literal["amocrm"]
    url: WebAddress
    token: Secret
    api_version: str = Field("v4", pattern=r"^v\d+$")
    won_status: int = 142
    lost_status: int = 143
    account_fields: dict[str, str] = {}
    calls_a_second: int = Field(7, ge=1, le=50)
    records_a_call: int = Field(250, ge=1, le=250)
    calls_at_once: int = Field(7, ge=1, le=25)

    @field_validator("account_fields")
    @classmethod
    def _of_accounts(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if name not in ACCOUNT_FIELDS:
                raise ValueError(
                    f"`{name}` cannot be named here; these can: {', '.join(ACCOUNT_FIELDS)}"
                )
        return value


class Bitrix24Source(CrmSource):
    """A Bitrix24 portal, by an inbound webhook: https://portal/rest/USER/CODE/.

    Attributes:
        url: the portal's address.
        user_id: the webhook's user.
        webhook: the webhook's code, by name.
        gone_activities: look with each load for activities that were deleted; all ids are read for it.
        records_a_call: deals a batch; fewer where the portal's automation makes saving slow.
        calls_a_second: calls that the plan lets through for long: 2, or 5 in Enterprise.
        burst: calls that it bears at once: 50, or 250 in Enterprise.
        calls_at_once: calls in flight; two already use up what a method's operating time allows.
    """

    NOT_READ = (
        *CrmSource.NOT_READ, "records_a_call", "calls_a_second", "burst", "calls_at_once",
    )  # fmt: skip

    type: Literal["bitrix24"]
    url: PortalAddress
    user_id: int = Field(ge=1)
    webhook: Secret
    gone_activities: bool = False
    records_a_call: int = Field(50, ge=1, le=50)
    calls_a_second: float = Field(2.0, gt=0, le=100)
    burst: int = Field(50, ge=2, le=10_000)
    calls_at_once: int = Field(2, ge=1, le=16)


Layout = Literal[
    "fivetran_salesforce", "fivetran_hubspot", "airbyte_salesforce", "airbyte_hubspot",
    "dlt_salesforce", "dlt_hubspot", "canonical",
]  # fmt: skip
LAYOUTS: tuple[str, ...] = get_args(Layout)


class SqlSource(CrmSource):
    """Tables of a CRM that a loader has landed in a warehouse, or canonical tables that stand there.

    Attributes:
        url: `duckdb:///path` or `postgresql://user@host/database`; any URL that Ibis connects to.
        password: the secret that belongs into the URL, by name.
        layout: who landed the tables, and of which CRM.
        database_schema: the schema or data set that they lie in; else the connection's own.
        tables: our name of a table -> its name there, where it is not the loader's usual one.
        record_types: as for `salesforce`.
    """

    type: Literal["sql"]
    url: Address
    password: Secret | None = None
    layout: Layout
    database_schema: str | None = None
    tables: dict[str, str] = {}
    record_types: bool = True

    @model_validator(mode="after")
    def _scheme(self) -> SqlSource:
        if not urlsplit(self.url).scheme:
            raise ValueError(
                f"`url`: `{self.url}` names no engine; write such as duckdb:///store/landed.duckdb "
                "or postgresql://user@host/database"
            )
        return self


AnyCrmSource = (
    TrytonSource | SqlSource | SalesforceSource | HubSpotSource | AmoCrmSource | Bitrix24Source
)
