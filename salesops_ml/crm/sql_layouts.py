"""How Fivetran, Airbyte and dlt lay out a CRM's tables in a warehouse, and what the CRM calls them.

A layout says for each of the vendor's tables under which names a loader lands it, what the names of its
columns are there, and which column grows with each sync. Columns not named here keep their names; case,
underscores and the prefix `property_` do not matter (`vendor_rows`).

Sources: the column lists in fivetran/dbt_hubspot_source and fivetran/dbt_salesforce_source, and for
quotes Fivetran's page "HubSpot schema ERD" (`quote_deal` is shown there; that the columns of `quote`
bear HubSpot's names after `property_`, as all its tables do, is taken from the others);
airbytehq/airbyte, source-hubspot, `schemas/*.json` (`deals_property_history` has `dealId`, `property`
and, since its older versions, `name`); dlt-hub/verified-sources, `hubspot/__init__.py`, `helpers.py`,
settings.py` and `salesforce/__init__.py`. Tables inside tables are as dlt itself lays them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DELETED_FLAGS = ("_fivetran_deleted", "is_deleted", "IsDeleted", "_ab_cdc_deleted_at")


@dataclass(frozen=True)
class LandedTable:
    """One of the vendor's tables as a loader lands it.

    Attributes:
        names: names to look for, the usual one first.
        key: the vendor's names of the columns that name a row.
        columns: the loader's column -> the vendor's.
        deleted: columns that tell that a row is gone, beside the usual ones.
        nested: for tables that lie inside another as JSON: the column that holds the list.
        parent_id: for tables that dlt made of lists, `parent__list`: our name of the parent's id.
        replaced: the loader makes the table anew with each sync; rows that are gone just do not come.
        texts: columns of many kinds of values; where they are no text, the loader has spoiled some.
        needed: whether nothing can be read without it.
    """

    names: tuple[str, ...]
    key: tuple[str, ...] = ("id",)
    columns: Mapping[str, str] = field(default_factory=dict)
    deleted: tuple[str, ...] = ()
    nested: str | None = None
    parent_id: str | None = None
    replaced: bool = False
    texts: tuple[str, ...] = ()
    needed: bool = False


@dataclass(frozen=True)
class TableLayout:
    """A loader's tables of one CRM.

    Attributes:
        loader: its name, for messages.
        cursor: the column that grows with each sync, in every table.
        tables: the vendor's name of a table -> how it is landed.
        cure: what to do about a needed table that is not there, beside correcting the settings.
    """

    loader: str
    cursor: str
    tables: Mapping[str, LandedTable]
    cure: str = ""


def _salesforce(
    *aliases: tuple[str, str], replaced: tuple[str, ...] = ()
) -> dict[str, LandedTable]:
    """Salesforce's objects, which all loaders land under their own names, snake-cased or not."""
    objects = ("Opportunity", "OpportunityHistory", "OpportunityFieldHistory", "OpportunityStage",
               "Account", "User", "UserRole", "RecordType", "Task", "Event", "Quote",
               "DatedConversionRate", "CurrencyType")  # fmt: skip
    other = dict(aliases)
    return {
        name: LandedTable(
            (name, *([other[name]] if name in other else [])),
            ("Id",),
            replaced=name in replaced,
            needed=name in ("Opportunity", "OpportunityStage"),
        )
        for name in objects
    }


_ARCHIVED = ("archived",)
_FIVETRAN_HUBSPOT = {
    "deals": LandedTable(
        ("deal",), columns={"deal_id": "id", "deal_pipeline_id": "pipeline",
                            "deal_pipeline_stage_id": "dealstage", "owner_id": "hubspot_owner_id"},
        deleted=_ARCHIVED, needed=True,
    ),
    "deal_property_history": LandedTable(
        ("deal_property_history",), ("deal_id", "name", "timestamp"),
        {"source": "source_type"},
    ),
    "pipelines": LandedTable(("deal_pipeline",), columns={"pipeline_id": "id"}, needed=True),
    "pipeline_stages": LandedTable(
        ("deal_pipeline_stage",), columns={"stage_id": "id"}, needed=True
    ),
    "owners": LandedTable(("owner",), columns={"owner_id": "id", "active_user_id": "user_id"}),
    "companies": LandedTable(("company",), deleted=_ARCHIVED),
    "deal_companies": LandedTable(("deal_company",), ("deal_id", "company_id")),
    "merged_deals": LandedTable(("merged_deal",), ("deal_id", "merged_deal_id")),
    "meetings": LandedTable(("engagement_meeting",), columns={"engagement_id": "id"}, deleted=_ARCHIVED),
    "calls": LandedTable(("engagement_call",), columns={"engagement_id": "id"}, deleted=_ARCHIVED),
    "emails": LandedTable(("engagement_email",), columns={"engagement_id": "id"}, deleted=_ARCHIVED),
    "tasks": LandedTable(("engagement_task",), columns={"engagement_id": "id"}, deleted=_ARCHIVED),
    "activity_deals": LandedTable(
        ("engagement_deal",), ("activity_id", "deal_id"), {"engagement_id": "activity_id"}
    ),
    "quotes": LandedTable(("quote",), columns={"quote_id": "id"}, deleted=_ARCHIVED),
    "quote_deals": LandedTable(("quote_deal",), ("quote_id", "deal_id")),
}  # fmt: skip

_AIRBYTE_STAGE = {"stageId": "id", "displayOrder": "display_order"}
_AIRBYTE_HUBSPOT = {
    "deals": LandedTable(("deals",), deleted=_ARCHIVED, needed=True),
    "deal_property_history": LandedTable(
        ("deals_property_history",), ("deal_id", "name", "timestamp"),
        {"dealId": "deal_id", "property": "name", "sourceType": "source_type",
         "sourceId": "source_id", "updatedByUserId": "updated_by_user_id"},
    ),
    "pipelines": LandedTable(
        ("deal_pipelines",), columns={"pipelineId": "id", "displayOrder": "display_order"},
        needed=True,
    ),
    "pipeline_stages": LandedTable(
        ("deal_pipelines",), ("id",), _AIRBYTE_STAGE, nested="stages", needed=True
    ),
    "owners": LandedTable(("owners",)),
    "companies": LandedTable(("companies",), deleted=_ARCHIVED),
    "deal_companies": LandedTable(
        ("deals",), ("deal_id", "company_id"), {"id": "deal_id", "item": "company_id"},
        nested="companies",
    ),
    "meetings": LandedTable(("engagements_meetings",), deleted=_ARCHIVED),
    "calls": LandedTable(("engagements_calls",), deleted=_ARCHIVED),
    "emails": LandedTable(("engagements_emails",), deleted=_ARCHIVED),
    "tasks": LandedTable(("engagements_tasks",), deleted=_ARCHIVED),
    "activity_deals": LandedTable(
        ("engagements_meetings", "engagements_calls", "engagements_emails", "engagements_tasks"),
        ("activity_id", "deal_id"), {"id": "activity_id", "item": "deal_id"}, nested="deals",
    ),
}  # fmt: skip

_DLT_HUBSPOT = {
    "deals": LandedTable(("deals",), deleted=_ARCHIVED, needed=True),
    "deal_property_history": LandedTable(
        ("deals_property_history",), ("deal_id", "name", "timestamp"),
        {"object_id": "deal_id", "property_name": "name"}, texts=("value",),
    ),
    "pipelines": LandedTable(("pipelines_deals",), needed=True),
    "pipeline_stages": LandedTable(
        ("pipelines_deals__stages",),
        columns={"metadata__probability": "probability", "metadata__is_closed": "is_closed"},
        parent_id="pipeline_id", needed=True,
    ),
    "owners": LandedTable(("owners",)),
    "companies": LandedTable(("companies",), deleted=_ARCHIVED),
    "deal_companies": LandedTable(
        ("companies__deals",), ("deal_id", "company_id"),
        {"deals_id": "deal_id", "value": "company_id"},
    ),
}  # fmt: skip

_DLT_SALESFORCE = TableLayout(
    "dlt",
    "_dlt_load_id",
    _salesforce(("User", "sf_user"), replaced=("User", "UserRole")),
    cure="dlt's own source of Salesforce brings no `opportunity_stage`, `opportunity_history`, "
    "`opportunity_field_history`, `quote` and rates: add resources of these names to your copy of it",
)

TABLE_LAYOUTS: dict[str, TableLayout] = {
    "fivetran_salesforce": TableLayout("Fivetran", "_fivetran_synced", _salesforce()),
    "airbyte_salesforce": TableLayout("Airbyte", "_airbyte_extracted_at", _salesforce()),
    "dlt_salesforce": _DLT_SALESFORCE,
    "fivetran_hubspot": TableLayout("Fivetran", "_fivetran_synced", _FIVETRAN_HUBSPOT),
    "airbyte_hubspot": TableLayout("Airbyte", "_airbyte_extracted_at", _AIRBYTE_HUBSPOT),
    "dlt_hubspot": TableLayout("dlt", "_dlt_load_id", _DLT_HUBSPOT),
}
"""`source.layout` -> how its tables lie; the layout `canonical` needs none."""
