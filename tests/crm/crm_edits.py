"""What people and software do in a CRM, as changes of a vendor's rows."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

from salesops_ml.crm.twin_world import Row, Rows, iso
from salesops_ml.crm.twin_world_amocrm import event_id, seconds
from salesops_ml.crm.twin_world_hubspot import stamp

BOT = "005BOT000000000"
BOT_APP = "777"
NOW = datetime(2026, 10, 1)


class SalesforceEdits:
    """Edits of an org's rows; `take` gives the rows that changed since it was last called."""

    kinds = ("create", "move", "amount", "owner", "delete", "currency", "task", "own_write", "bot")

    def __init__(self, rows: Rows, seed: int) -> None:
        self.rows, self.rng, self.clock = rows, random.Random(seed), NOW
        self.changed: dict[str, dict[str, Row]] = {}
        self.number = 0
        self.known = {name: {id(row) for row in table} for name, table in rows.items()}

    def edit(self, kind: str) -> None:
        """One edit of a deal that still stands."""
        self.clock += timedelta(minutes=self.rng.randint(1, 300))
        live = [row for row in self.rows["Opportunity"] if not row["IsDeleted"]]
        edit = "change_amount" if kind == "amount" else f"_{kind}"
        getattr(self, edit)(self.rng.choice(live))

    def take(self) -> Rows:
        """Changed rows by table."""
        done = {name: list(rows.values()) for name, rows in self.changed.items()}
        self.changed = {}
        return done

    def _put(self, name: str, row: Row) -> None:
        if id(row) not in self.known[name]:
            self.known[name].add(id(row))
            self.rows[name].append(row)
        if "SystemModstamp" in row:
            row["SystemModstamp"] = iso(self.clock)
        self.changed.setdefault(name, {})[row["Id"]] = row

    def _id(self, prefix: str) -> str:
        self.number += 1
        return f"{prefix}E{self.number:011d}"

    def _save(self, deal: Row, by: str | None = None) -> None:
        """A save of a deal leaves a row of history."""
        names = {"BestCase": "Best Case", "Forecast": "Commit"}
        kept = {shown: api for api, shown in names.items()}
        category = deal["ForecastCategoryName"]
        self._put("OpportunityHistory", {
            "Id": self._id("008"), "OpportunityId": deal["Id"], "StageName": deal["StageName"],
            "Amount": None if deal["Amount"] is None else str(deal["Amount"]),
            "CloseDate": deal["CloseDate"],
            "ForecastCategory": kept.get(category, category), "CreatedDate": iso(self.clock),
            "CreatedById": by or deal["OwnerId"],
        })  # fmt: skip
        self._put("Opportunity", deal)

    def _field(self, deal: Row, field: str, old: Any, new: Any, by: str | None = None) -> None:
        self._put("OpportunityFieldHistory", {
            "Id": self._id("017"), "OpportunityId": deal["Id"], "Field": field, "OldValue": old,
            "NewValue": new, "CreatedDate": iso(self.clock), "CreatedById": by or deal["OwnerId"],
        })  # fmt: skip

    def _create(self, deal: Row) -> None:
        stage = self._stage(closed=False)
        fresh = {**deal, "Id": self._id("006"), "CreatedDate": iso(self.clock), "IsClosed": False,
                 "IsWon": False, "StageName": stage, "ForecastCategoryName": "Pipeline"}  # fmt: skip
        self._save(fresh)
        self._field(fresh, "created", None, None)

    def _stage(self, *, closed: bool | None = None) -> str:
        stages = [row for row in self.rows["OpportunityStage"]
                  if closed is None or row["IsClosed"] is closed]  # fmt: skip
        return str(self.rng.choice(stages)["MasterLabel"])

    def _move(self, deal: Row) -> None:
        """Any stage to any other: closing and re-opening among them."""
        deal["StageName"] = self._stage()
        stage = next(
            s for s in self.rows["OpportunityStage"] if s["MasterLabel"] == deal["StageName"]
        )
        deal["IsClosed"], deal["IsWon"] = stage["IsClosed"], stage["IsWon"]
        self._save(deal)

    def change_amount(self, deal: Row) -> None:
        """Another amount for a deal."""
        deal["Amount"] = float(self.rng.randint(1, 90_000))
        self._save(deal)

    def _owner(self, deal: Row) -> None:
        old = deal["OwnerId"]
        deal["OwnerId"] = self.rng.choice(self.rows["User"])["Id"]
        if old != deal["OwnerId"]:
            self._field(deal, "Owner", f"Rep {old}", f"Rep {deal['OwnerId']}")
            self._field(deal, "Owner", old, deal["OwnerId"])
        self._put("Opportunity", deal)

    def _delete(self, deal: Row) -> None:
        deal["IsDeleted"] = True
        self._put("Opportunity", deal)

    def _currency(self, deal: Row) -> None:
        old, deal["CurrencyIsoCode"] = deal["CurrencyIsoCode"], self.rng.choice(["EUR", "USD"])
        if old != deal["CurrencyIsoCode"]:
            self._field(deal, "CurrencyIsoCode", old, deal["CurrencyIsoCode"])
        self._put("Opportunity", deal)

    def _task(self, deal: Row) -> None:
        """A new task, one that moves to another deal, or one that is deleted."""
        tasks = [row for row in self.rows["Task"] if not row["IsDeleted"]]
        choice = self.rng.random()
        if choice < 0.5 or not tasks:
            self._put("Task", {**self.rows["Task"][0], "Id": self._id("00T"), "WhatId": deal["Id"],
                               "CompletedDateTime": iso(self.clock), "IsDeleted": False})  # fmt: skip
            return
        task = self.rng.choice(tasks)
        if choice < 0.8:
            task["WhatId"] = deal["Id"]
        else:
            task["IsDeleted"] = True
        self._put("Task", task)

    def _own_write(self, deal: Row) -> None:
        """Our scores, written by the integration user."""
        deal["salesops_win_probability__c"] = str(self.rng.random())
        self._field(
            deal, "salesops_win_probability__c", None, deal["salesops_win_probability__c"], BOT
        )
        self._put("Opportunity", deal)

    def _bot(self, deal: Row) -> None:
        """The integration user edits a field that people edit too."""
        deal["Amount"] = float(self.rng.randint(100_000, 200_000))
        self._save(deal, by=BOT)


class HubSpotEdits:
    """Edits of an account's rows."""

    kinds = ("create", "move", "amount", "owner", "delete", "merge", "rename", "meeting",
             "own_write", "bot")  # fmt: skip

    def __init__(self, rows: Rows, seed: int) -> None:
        self.rows, self.rng, self.clock = rows, random.Random(seed), NOW
        self.changed: dict[str, dict[Any, Row]] = {}
        self.number = 0
        self.known = {name: {id(row) for row in table} for name, table in rows.items()}

    def edit(self, kind: str) -> None:
        """One edit of a deal that still stands."""
        self.clock += timedelta(minutes=self.rng.randint(1, 300))
        live = [row for row in self.rows["deals"] if not row["archived"]]
        edit = "change_amount" if kind == "amount" else f"_{kind}"
        getattr(self, edit)(self.rng.choice(live))

    def take(self) -> Rows:
        """Changed rows by table."""
        done = {name: list(rows.values()) for name, rows in self.changed.items()}
        self.changed = {}
        return done

    def _put(self, name: str, row: Row) -> None:
        if id(row) not in self.known[name]:
            self.known[name].add(id(row))
            self.rows[name].append(row)
        self.changed.setdefault(name, {})[id(row)] = row

    def _set(self, deal: Row, name: str, value: str, source: str = "userId:305000001") -> None:
        deal[name] = value
        self._put("deals", deal)
        self._put("deal_property_history", {
            "deal_id": deal["id"], "name": name, "value": value, "timestamp": stamp(self.clock),
            "source_type": "CRM_UI", "source_id": source,
        })  # fmt: skip

    def _create(self, deal: Row) -> None:
        self.number += 1
        fresh = {**deal, "id": str(10**11 + self.number), "createdate": stamp(self.clock),
                 "hs_merged_object_ids": None}  # fmt: skip
        stage = self.rng.choice(self.rows["pipeline_stages"])
        self._set(fresh, "dealstage", stage["id"])
        self._set(fresh, "amount", "100")
        self._put("deal_companies", {"deal_id": fresh["id"], "type_id": 5,
                                     "company_id": self.rows["companies"][0]["id"]})  # fmt: skip

    def _move(self, deal: Row) -> None:
        self._set(deal, "dealstage", self.rng.choice(self.rows["pipeline_stages"])["id"])

    def change_amount(self, deal: Row) -> None:
        """Another amount for a deal, which HubSpot puts into home currency at the rate it has."""
        before, home = float(deal["amount"] or 0), float(deal["amount_in_home_currency"] or 0)
        amount = self.rng.randint(1, 90_000)
        self._set(deal, "amount", str(amount))
        if before and home:
            self._set(deal, "amount_in_home_currency", str(round(amount * home / before, 6)))

    def _owner(self, deal: Row) -> None:
        self._set(deal, "hubspot_owner_id", self.rng.choice(self.rows["owners"])["id"])

    def _delete(self, deal: Row) -> None:
        deal["archived"] = True
        self._put("deals", deal)

    def _merge(self, deal: Row) -> None:
        others = [row for row in self.rows["deals"] if not row["archived"] and row is not deal]
        loser = self.rng.choice(others)
        told = deal["hs_merged_object_ids"]
        deal["hs_merged_object_ids"] = f"{told};{loser['id']}" if told else loser["id"]
        self._put("deals", deal)

    def _rename(self, _: Row) -> None:
        self.number += 1
        stage = self.rng.choice(self.rows["pipeline_stages"])
        stage["label"] = f"Renamed {self.number}"
        self._put("pipeline_stages", stage)

    def _meeting(self, deal: Row) -> None:
        self.number += 1
        meeting = {**self.rows["calls"][0], "id": str(9 * 10**11 + self.number),
                   "hs_timestamp": stamp(self.clock), "archived": False}  # fmt: skip
        self._put("calls", meeting)
        served = {"activity_id": meeting["id"], "deal_id": deal["id"]}
        self._put("activity_deals", served)
        if self.rng.random() < 0.5:
            other = self.rng.choice(self.rows["deals"])
            if other["id"] != deal["id"]:
                self._put("activity_deals", {**served, "deal_id": other["id"]})

    def _own_write(self, deal: Row) -> None:
        self._set(deal, "salesops_win_probability", str(self.rng.random()), BOT_APP)

    def _bot(self, deal: Row) -> None:
        self._set(deal, "amount", str(self.rng.randint(100_000, 200_000)), BOT_APP)


class AmoCrmEdits:
    """Prices changed in an account's rows, each with its event; `amocrm_desk` has all other edits."""

    def __init__(self, rows: Rows, seed: int) -> None:
        self.rows, self.rng, self.clock = rows, random.Random(seed), NOW
        self.changed: Rows = {"leads": [], "events": []}
        self.number = 0

    def take(self) -> Rows:
        """Changed rows by table."""
        done, self.changed = self.changed, {"leads": [], "events": []}
        return done

    def change_amount(self, deal: Row) -> None:
        """Another price for a lead."""
        self.number += 1
        at, before = seconds(self.clock) or 0, deal["price"]
        deal |= {"price": before + self.rng.randint(1, 90_000), "updated_at": at}
        told = [[{"sale_field_value": {"sale": price}}] for price in (before, deal["price"])]
        self.changed["leads"].append(deal)
        self.changed["events"].append(
            {"id": event_id(at, self.number), "type": "sale_field_changed", "entity_id": deal["id"],
             "entity_type": "lead", "created_by": deal["created_by"], "created_at": at,
             "value_before": told[0], "value_after": told[1]}
        )  # fmt: skip


class Bitrix24Edits:
    """Amounts changed in a portal's rows; `bitrix24_edits` has all other edits, made in the portal."""

    def __init__(self, rows: Rows, seed: int) -> None:
        self.rows, self.rng, self.clock = rows, random.Random(seed), NOW
        self.changed: list[Row] = []

    def change_amount(self, deal: Row) -> None:
        """Another amount for a deal."""
        deal["opportunity"] = float(self.rng.randint(1, 90_000))
        self.changed.append(deal)

    def take(self) -> Rows:
        """Changed rows by table."""
        done, self.changed = {"deals": self.changed}, []
        return done
