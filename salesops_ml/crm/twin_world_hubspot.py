"""A company as HubSpot would hold it: objects with properties, and every property's history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

from salesops_ml.crm.twin_world import Row, Rows, by_deal, latest, moves_of
from salesops_ml.crm.vendor_history import STAGE
from salesops_ml.schema import CanonicalTables

HUBSPOT_FIELDS = {
    "product": "product_line", "lead_source": "lead_source", "service_start": "service_start",
    "term_months": "term_months",
}  # fmt: skip
"""Canonical columns that HubSpot has no property for -> the custom property that holds them here."""

_TYPES = {"new": "newbusiness", "expansion": "existingbusiness", "renewal": "renewal"}
_CATEGORIES = {"omitted": "OMIT", "pipeline": "PIPELINE", "best_case": "BEST_CASE",
               "commit": "COMMIT", "closed": "CLOSED"}  # fmt: skip
_HISTORY = (
    "amount",
    "amount_base",
    "expected_close_date",
    "forecast_category",
    "rep_id",
    "product",
    "competitor",
)
_PROPERTIES = {
    STAGE: "dealstage", "amount": "amount", "expected_close_date": "closedate",
    "forecast_category": "hs_manual_forecast_category", "rep_id": "hubspot_owner_id",
    "product": "product_line", "competitor": "competitor",
    "amount_base": "amount_in_home_currency",
}  # fmt: skip


def hubspot_rows(world: CanonicalTables) -> Rows:
    """A company with HubSpot's ids as HubSpot's objects, as its API gives them.

    Returns:
        Rows of deals, deal_property_history, pipelines, pipeline_stages, owners, companies,
        deal_companies, meetings, calls, emails, tasks, activity_deals, quotes, quote_deals and
        exchange_rates; properties lie flat beside `id`, all values are text.
    """
    tables = {name: table.to_pylist() for name, table in world.tables.items()}
    stage_ids = {
        (row["pipeline"], row["stage"]): str(900_000 + n)
        for n, row in enumerate(sorted(tables["stages"], key=lambda row: row["position"]))
    }
    history = _history(tables, {stage: found for (_, stage), found in stage_ids.items()})
    last = by_deal(history)
    extra = {attribute.name: attribute.column for attribute in world.attributes}
    activities = tables.get("activities", [])
    quotes = tables.get("quotes", [])
    return {
        "deals": [_deal(row, last, extra) for row in tables["deals"]],
        "deal_property_history": history,
        "pipelines": [
            {"id": pipeline, "label": pipeline, "display_order": n, "archived": False}
            for n, pipeline in enumerate(sorted({row["pipeline"] for row in tables["stages"]}))
        ],
        "pipeline_stages": [
            _stage(row, stage_ids[row["pipeline"], row["stage"]]) for row in tables["stages"]
        ],
        "owners": [_owner(row) for row in latest(tables["reps"], "rep_id")],
        "companies": [_company(row) for row in latest(tables["accounts"], "account_id")],
        "deal_companies": [
            {"deal_id": row["deal_id"], "company_id": row["account_id"], "type_id": 5}
            for row in tables["deals"] if row["account_id"] is not None
        ],
        **_activities(activities),
        "activity_deals": [
            {"activity_id": row["activity_id"], "deal_id": row["deal_id"]}
            for row in activities if row["deal_id"] is not None
        ],
        "quotes": [_quote(row) for row in quotes],
        "quote_deals": [{"quote_id": row["quote_id"], "deal_id": row["deal_id"]} for row in quotes],
        "exchange_rates": _rates(tables.get("exchange_rates", [])),
    }  # fmt: skip


def stamp(moment: datetime | None) -> str | None:
    """A naive UTC moment as HubSpot writes it.

    Example:
        >>> stamp(datetime(2026, 3, 1, 12, 30))
        '2026-03-01T12:30:00.000Z'
    """
    return None if moment is None else moment.isoformat(timespec="milliseconds") + "Z"


def _history(tables: Mapping[str, list[Row]], stage_ids: Mapping[str, str]) -> list[Row]:
    rows = []
    for deal, moves in moves_of(tables, _HISTORY).items():
        for move in moves:
            value = move["value"]
            if move["field"] == STAGE:
                value = stage_ids[value]
            elif move["field"] == "forecast_category":
                value = _CATEGORIES.get(value or "")
            elif move["field"] == "expected_close_date" and value is not None:
                value = f"{value}T00:00:00Z"
            rows.append(
                {"deal_id": deal, "name": _PROPERTIES[move["field"]], "value": value,
                 "timestamp": stamp(move["at"]), "source_type": "CRM_UI",
                 "source_id": f"userId:{_user(move['by'])}"}
            )  # fmt: skip
    return rows


def _user(owner: str | None) -> str | None:
    """HubSpot knows a person by two ids: as a user who acts, and as an owner of records."""
    return None if owner is None else str(int(owner) + 5_000_000)


def _deal(deal: Row, history: Mapping[str, list[Row]], extra: Mapping[str, str]) -> Row:
    told = {row["name"]: row["value"] for row in history[deal["deal_id"]]}
    day = deal["expected_close_date"]
    row = {
        "id": deal["deal_id"], "archived": False, "dealname": f"Deal {deal['deal_id']}",
        "pipeline": deal["pipeline"], "dealstage": told["dealstage"],
        "hubspot_owner_id": deal["rep_id"], "createdate": stamp(deal["created_at"]),
        "closedate": None if day is None else f"{day.isoformat()}T00:00:00Z",
        "amount": _text(deal["amount"]), "deal_currency_code": deal["currency"],
        "amount_in_home_currency": _text(deal["amount_base"]),
        "hs_is_closed": str(deal["status"] != "open").lower(),
        "hs_is_closed_won": str(deal["status"] == "won").lower(),
        "hs_merged_object_ids": None,
        "hs_manual_forecast_category": _CATEGORIES.get(deal["forecast_category"] or ""),
        "dealtype": _TYPES.get(deal["deal_type"] or "", deal["deal_type"]),
        "closed_lost_reason": deal["lost_reason"],
        "hs_lastmodifieddate": max(str(row["timestamp"]) for row in history[deal["deal_id"]]),
    }  # fmt: skip
    row |= {field: _text(deal[name]) for name, field in HUBSPOT_FIELDS.items()}
    return row | {name: _text(deal[column]) for name, column in extra.items()}


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _stage(row: Row, stage_id: str) -> Row:
    probability = row["probability"]
    if row["is_closed"]:
        probability = 1.0 if row["is_won"] else 0.0
    return {"id": stage_id, "pipeline_id": row["pipeline"], "label": row["stage"],
            "display_order": row["position"], "probability": str(probability),
            "is_closed": str(row["is_closed"]).lower(), "archived": False}  # fmt: skip


def _owner(row: Row) -> Row:
    first, _, rest = row["name"].partition(" ")
    return {"id": row["rep_id"], "user_id": _user(row["rep_id"]), "first_name": first,
            "last_name": rest, "email": f"{row['rep_id']}@example.com", "team": row["team"],
            "region": row["region"], "archived": not row["active"]}  # fmt: skip


def _company(row: Row) -> Row:
    return {"id": row["account_id"], "archived": False, "name": row["name"],
            "industry": row["industry"], "country": row["region"],
            "numberofemployees": _text(row["employees"]),
            "annualrevenue": _text(row["annual_revenue"]), "hs_parent_company_id": row["parent"],
            "createdate": stamp(row["valid_from"]),
            "hs_lastmodifieddate": stamp(row["valid_from"])}  # fmt: skip


def _activities(activities: Iterable[Row]) -> Rows:
    found: Rows = {"meetings": [], "calls": [], "emails": [], "tasks": []}
    for row in activities:
        shared = {"id": row["activity_id"], "archived": False, "hubspot_owner_id": row["rep_id"],
                  "hs_timestamp": stamp(row["at"]), "hs_createdate": stamp(row["recorded_at"]),
                  "hs_lastmodifieddate": stamp(row["at"]), "hs_activity_type": row["kind"]}  # fmt: skip
        minutes = row["duration_minutes"]
        length = None if minutes is None else str(minutes * 60_000)
        if row["kind"] == "email" and minutes is None:
            found["emails"].append({**shared, "hs_email_status": row["outcome"]})
        elif row["kind"] == "task" and minutes is None and row["outcome"] is None:
            found["tasks"].append({**shared, "hs_task_status": "COMPLETED"})
        else:
            found["calls"].append(
                {**shared, "hs_call_duration": length, "hs_call_disposition": row["outcome"]}
            )
    return found


def _quote(row: Row) -> Row:
    discount = row["discount"]
    return {"id": row["quote_id"], "hs_quote_amount": _text(row["amount"]),
            "hs_discount_percentage": None if discount is None else str(100 * discount),
            "hs_status": row["status"], "hs_createdate": stamp(row["sent_at"]),
            "hs_lastmodifieddate": stamp(row["sent_at"]), "archived": False}  # fmt: skip


def _rates(rates: Iterable[Row]) -> list[Row]:
    return [
        {"from_currency": row["currency"], "to_currency": "EUR", "rate": repr(row["rate"]),
         "effective_at": stamp(datetime.combine(row["day"], time(), UTC).replace(tzinfo=None))}
        for row in rates
    ]  # fmt: skip
