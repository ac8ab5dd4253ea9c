"""A company as Bitrix24 would hold it: items, the history of stages, dictionaries, users, activities.

Bitrix24 keeps less than others: no probabilities of stages, no outcome of activities, one exchange rate
a currency, and of a deal's past its stages alone. What it does not keep is not in these rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any

from salesops_ml.crm.twin_world import Row, Rows, latest, with_ids
from salesops_ml.schema import CanonicalTables

BITRIX24_FIELDS = {
    "product": "UF_CRM_PRODUCT_LINE", "lost_reason": "UF_CRM_LOSS_REASON",
    "forecast_category": "UF_CRM_FORECAST", "service_start": "UF_CRM_SERVICE_START",
    "term_months": "UF_CRM_TERM_MONTHS",
}  # fmt: skip
"""Canonical columns that Bitrix24 has no field for -> the custom field that holds them here."""

ZONE = timedelta(hours=3)
"""What the portal's clocks show beyond UTC."""
TYPE_IDS = {"meeting": 1, "call": 2, "task": 3, "email": 4}
"""`TYPE_ID` of activities; others are 6, with their kind in `PROVIDER_TYPE_ID`."""
FORECASTS = ("omitted", "pipeline", "best_case", "commit", "closed")
"""The choices of the list field `UF_CRM_FORECAST`, numbered from 501."""
_TYPES = {"new": "New business", "expansion": "Existing business", "renewal": "Renewal"}
_QUOTES = {"sent": "SENT", "accepted": "APPROVED", "declined": "DECLAINED", "sent_back": "RECEIVED"}
_WON, _LOST = "WON", "LOSE"


def with_bitrix24_ids(world: CanonicalTables) -> CanonicalTables:
    """The same company with ids as Bitrix24 gives them: each kind of record counts from 1."""
    return with_ids(world, lambda _kind, number: str(number))


def bitrix24_rows(world: CanonicalTables) -> Rows:
    """A company with Bitrix24's ids as Bitrix24's records.

    Returns:
        Rows of deals, stage_history, categories, statuses, companies, users, departments, activities,
        quotes and currencies, with the names and kinds of the REST API, times on the portal's clock.
    """
    tables = {name: table.to_pylist() for name, table in world.tables.items()}
    words = _Words(tables)
    extra = {attribute.name: attribute.column for attribute in world.attributes}
    history = _history(tables["stage_events"], words)
    moved = {row["OWNER_ID"]: row for row in history}
    reps = latest(tables["reps"], "rep_id")
    return {
        "deals": [_deal(row, moved[int(row["deal_id"])], words, extra) for row in tables["deals"]],
        "stage_history": history,
        "categories": [
            {"id": number, "name": name, "sort": 100 * number, "entityTypeId": 2,
             "isDefault": "N" if number else "Y"}
            for name, number in words.categories.items()
        ],
        "statuses": words.statuses,
        "companies": [_company(row, words) for row in latest(tables["accounts"], "account_id")],
        "users": [_user(row, words) for row in reps],
        "departments": [
            {"ID": str(number), "NAME": team, "SORT": 500, "PARENT": "1", "UF_HEAD": head}
            for (team, head), number in words.departments.items()
        ],
        "activities": [_activity(row) for row in tables["activities"]],
        "quotes": [_quote(row) for row in tables.get("quotes", [])],
        "currencies": _currencies(tables.get("exchange_rates", [])),
    }  # fmt: skip


def stamp(moment: datetime | None) -> str | None:
    """A naive UTC moment as the portal shows it.

    Example:
        >>> stamp(datetime(2026, 3, 1, 22, 30))
        '2026-03-02T01:30:00+03:00'
    """
    return None if moment is None else f"{(moment + ZONE).isoformat(timespec='seconds')}+03:00"


def day_stamp(day: date | None) -> str | None:
    """A day as the portal shows it: midnight of its server, which runs on UTC.

    Example:
        >>> day_stamp(date(2026, 3, 1))
        '2026-03-01T03:00:00+03:00'
    """
    return None if day is None else stamp(datetime(day.year, day.month, day.day))


class _Words:
    """The portal's dictionaries: pipelines, stages, sources, kinds of deals, industries, departments."""

    def __init__(self, tables: Mapping[str, list[Row]]) -> None:
        names = sorted({row["pipeline"] for row in tables["stages"]})
        self.categories = {name: number for number, name in enumerate(names)}
        self.statuses: list[Row] = []
        self.stage_ids: dict[str, str] = {}
        self.category_of: dict[str, int] = {}
        self.semantics: dict[str, str] = {}
        for row in sorted(tables["stages"], key=lambda row: (row["pipeline"], row["position"])):
            self._add_stage(row)
        deals, accounts = tables["deals"], tables["accounts"]
        self.sources = self._listed("SOURCE", (row["lead_source"] for row in deals))
        self.types = self._listed("DEAL_TYPE", (_TYPES.get(row["deal_type"] or "", row["deal_type"])
                                                for row in deals))  # fmt: skip
        self.industries = self._listed("INDUSTRY", (row["industry"] for row in accounts))
        teams = sorted({(row["team"], row["manager_id"]) for row in tables["reps"]}, key=str)
        self.departments = {team: number for number, team in enumerate(teams, 2)}

    def _add_stage(self, row: Row) -> None:
        category = self.categories[row["pipeline"]]
        semantics = ("S" if row["is_won"] else "F") if row["is_closed"] else None
        plain = {"S": _WON, "F": _LOST}.get(semantics or "", f"UC_{len(self.statuses):06}")
        status = f"C{category}:{plain}" if category else plain
        self.stage_ids[row["stage"]] = status
        self.semantics[row["stage"]] = semantics or "P"
        self.category_of[row["stage"]] = category
        entity = f"DEAL_STAGE_{category}" if category else "DEAL_STAGE"
        self._add(entity, status, row["stage"], 10 * (row["position"] + 1), semantics)

    def _listed(self, entity: str, words: Iterable[str | None]) -> dict[str, str]:
        """Words of a dictionary -> their `STATUS_ID`."""
        found = {}
        for number, word in enumerate(sorted({word for word in words if word}), 1):
            found[word] = f"{number}_{entity}"
            self._add(entity, found[word], word, 10 * number, None)
        return found

    def _add(self, entity: str, status: str, name: str, sort: int, semantics: str | None) -> None:
        self.statuses.append(
            {"ID": str(101 + 2 * len(self.statuses)), "ENTITY_ID": entity, "STATUS_ID": status,
             "NAME": name, "NAME_INIT": "", "SORT": str(sort), "SYSTEM": "N", "CATEGORY_ID": None,
             "SEMANTICS": semantics}
        )  # fmt: skip


def _history(events: list[Row], words: _Words) -> list[Row]:
    """Moves between stages, numbered as they came."""
    rows: list[Row] = []
    seen: set[str] = set()
    for row in sorted(events, key=lambda row: (row["entered_at"], row["deal_id"], row["seq"])):
        semantics = words.semantics[row["stage"]]
        kind = 1 if row["deal_id"] not in seen else (2 if semantics == "P" else 3)
        seen.add(row["deal_id"])
        rows.append(
            {"ID": len(rows) + 1, "TYPE_ID": kind, "OWNER_ID": int(row["deal_id"]),
             "CREATED_TIME": stamp(row["entered_at"]),
             "CATEGORY_ID": words.category_of[row["stage"]],
             "STAGE_SEMANTIC_ID": semantics, "STAGE_ID": words.stage_ids[row["stage"]]}
        )  # fmt: skip
    return rows


def _deal(deal: Row, last: Row, words: _Words, extra: Mapping[str, str]) -> Row:
    kind = _TYPES.get(deal["deal_type"] or "", deal["deal_type"])
    row = {
        "id": int(deal["deal_id"]), "title": f"Deal {deal['deal_id']}",
        "categoryId": words.categories[deal["pipeline"]], "stageId": last["STAGE_ID"],
        "stageSemanticId": last["STAGE_SEMANTIC_ID"],
        "closed": "N" if deal["status"] == "open" else "Y",
        "companyId": int(deal["account_id"] or 0), "assignedById": int(deal["rep_id"] or 0),
        "opportunity": _number(deal["amount"]), "currencyId": deal["currency"],
        "sourceId": words.sources.get(deal["lead_source"] or ""), "typeId": words.types.get(kind or ""),
        "begindate": day_stamp(deal["created_at"].date()),
        "closedate": day_stamp(deal["expected_close_date"]),
        "createdTime": stamp(deal["created_at"]), "movedTime": last["CREATED_TIME"],
        "updatedTime": max(str(stamp(deal["created_at"])), last["CREATED_TIME"]),
    }  # fmt: skip
    for name, field in BITRIX24_FIELDS.items():
        row[camel(field)] = _custom(deal[name])
    category = deal["forecast_category"]
    row["ufCrmForecast"] = 501 + FORECASTS.index(category) if category in FORECASTS else None
    return row | {camel(f"UF_CRM_{name.upper()}"): deal[col] or "" for name, col in extra.items()}


def camel(field: str) -> str:
    """A field of the database as `crm.item.*` names it.

    Example:
        >>> camel("UF_CRM_TERM_MONTHS")
        'ufCrmTermMonths'
    """
    first, *rest = field.lower().split("_")
    return first + "".join(part.title() for part in rest)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _custom(value: Any) -> Any:
    """A custom field's value; one of text that is empty is empty text."""
    if isinstance(value, date):
        return day_stamp(value)
    return "" if value is None else value


def _company(row: Row, words: _Words) -> Row:
    at = stamp(row["valid_from"])
    return {"id": int(row["account_id"]), "title": row["name"], "revenue": row["annual_revenue"],
            "industry": words.industries.get(row["industry"] or ""), "ufCrmRegion": row["region"] or "",
            "createdTime": at, "updatedTime": at}  # fmt: skip


def _user(row: Row, words: _Words) -> Row:
    first, _, rest = row["name"].partition(" ")
    return {
        "ID": row["rep_id"], "ACTIVE": bool(row["active"]), "NAME": first, "LAST_NAME": rest,
        "EMAIL": f"user{row['rep_id']}@example.com", "DATE_REGISTER": stamp(row["hired_at"]),
        "WORK_COUNTRY": row["region"] or "",
        "UF_DEPARTMENT": [words.departments[row["team"], row["manager_id"]]],
    }  # fmt: skip


def _activity(row: Row) -> Row:
    end = row["at"] + timedelta(minutes=row["duration_minutes"] or 0)
    known = row["kind"] in TYPE_IDS
    of_deal = row["deal_id"] is not None
    return {
        "ID": row["activity_id"], "OWNER_ID": row["deal_id"] if of_deal else "1",
        "OWNER_TYPE_ID": "2" if of_deal else "4", "TYPE_ID": str(TYPE_IDS.get(row["kind"], 6)),
        "PROVIDER_ID": "CRM_TODO" if row["kind"] == "task" else f"CRM_{row['kind'].upper()}",
        "PROVIDER_TYPE_ID": row["kind"].upper() if not known else None,
        "RESPONSIBLE_ID": row["rep_id"], "START_TIME": stamp(row["at"]), "END_TIME": stamp(end),
        "CREATED": stamp(row["recorded_at"]), "LAST_UPDATED": stamp(max(row["at"], row["recorded_at"])),
        "COMPLETED": "Y",
    }  # fmt: skip


def _quote(row: Row) -> Row:
    at = stamp(row["sent_at"])
    return {"id": int(row["quote_id"]), "dealId": int(row["deal_id"]),
            "opportunity": _number(row["amount"]), "currencyId": "EUR",
            "stageId": _QUOTES.get(row["status"], row["status"]), "createdTime": at,
            "updatedTime": at}  # fmt: skip


def _currencies(rates: list[Row]) -> list[Row]:
    """One rate a currency, the last one, told for a hundred units as some countries do."""
    last = {row["currency"]: row["rate"] for row in sorted(rates, key=lambda row: row["day"])}
    return [
        {"CURRENCY": name, "AMOUNT_CNT": "1" if name == "EUR" else "100",
         "AMOUNT": f"{rate if name == 'EUR' else 100 * rate:.4f}", "SORT": "100",
         "BASE": "Y" if name == "EUR" else "N"}
        for name, rate in sorted({"EUR": 1.0, **last}.items())
    ]  # fmt: skip
