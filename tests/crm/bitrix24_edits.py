"""What people and we ourselves do in a Bitrix24 portal, as changes of its records."""

from __future__ import annotations

import random
from typing import Any

from salesops_ml.crm.bitrix24_fields import OWN_FIELDS
from salesops_ml.crm.bitrix24_twin import Bitrix24Twin
from salesops_ml.crm.bitrix24_twin_fields import shown_name
from salesops_ml.crm.twin_world import Row


class PortalEdits:
    """Edits of a portal, made in it at once."""

    kinds = ("create", "move", "amount", "owner", "close_date", "delete", "currency", "call",
             "move_call", "company", "quote", "own_write")  # fmt: skip

    def __init__(self, portal: Bitrix24Twin, seed: int) -> None:
        self.portal, self.rng = portal, random.Random(seed)

    def edit(self, kind: str) -> None:
        """One edit of a deal that still stands."""
        deals = self.portal.tables["deals"].rows
        getattr(self, f"do_{kind}")(deals[self.rng.choice(sorted(deals))])

    def save(self, name: str, row: Row) -> None:
        self.portal.put({name: [row]})

    def number(self, name: str) -> int:
        """The next number of a kind of record."""
        return max(self.portal.tables[name].rows, default=0) + 1

    def stage(self) -> Row:
        rows = self.portal.tables["statuses"].rows.values()
        return self.rng.choice([row for row in rows if row["ENTITY_ID"] == "DEAL_STAGE"])

    def move(self, deal: Row, kind: int) -> None:
        """A deal into any stage, which the portal notes."""
        stage = self.stage()
        semantics = stage["SEMANTICS"] or "P"
        at = self.portal.moment()
        self.save("stage_history", {
            "ID": self.number("stage_history"), "OWNER_ID": deal["id"], "CREATED_TIME": at,
            "TYPE_ID": kind if kind == 1 or semantics == "P" else 3, "CATEGORY_ID": 0,
            "STAGE_SEMANTIC_ID": semantics, "STAGE_ID": stage["STATUS_ID"],
        })  # fmt: skip
        self.save("deals", {**deal, "stageId": stage["STATUS_ID"], "stageSemanticId": semantics,
                            "movedTime": at, "closed": "N" if semantics == "P" else "Y"})  # fmt: skip

    def do_create(self, deal: Row) -> None:
        fresh = {**deal, "id": self.number("deals"), "createdTime": self.portal.moment()}
        self.move(fresh, 1)

    def do_move(self, deal: Row) -> None:
        self.move(deal, 2)

    def do_amount(self, deal: Row) -> None:
        self.save("deals", {**deal, "opportunity": float(self.rng.randint(1, 90_000))})

    def do_owner(self, deal: Row) -> None:
        owner = self.rng.choice(sorted(self.portal.tables["users"].rows))
        self.save("deals", {**deal, "assignedById": owner})

    def do_close_date(self, deal: Row) -> None:
        day = f"2026-12-{self.rng.randint(1, 28):02}T03:00:00+03:00"
        self.save("deals", {**deal, "closedate": day})

    def do_delete(self, deal: Row) -> None:
        self.portal.delete("deals", deal["id"])

    def do_currency(self, deal: Row) -> None:
        self.save("deals", {**deal, "currencyId": self.rng.choice(["EUR", "USD", "GBP"])})

    def do_call(self, deal: Row) -> None:
        old = next(iter(self.portal.tables["activities"].rows.values()))
        at = self.portal.moment()
        self.save("activities", {**old, "ID": str(self.number("activities")), "TYPE_ID": "2",
                                 "OWNER_TYPE_ID": "2", "OWNER_ID": str(deal["id"]), "START_TIME": at,
                                 "END_TIME": at, "CREATED": at, "COMPLETED": "Y"})  # fmt: skip

    def do_move_call(self, deal: Row) -> None:
        """An activity goes over to another deal."""
        calls = self.portal.tables["activities"].rows
        call = calls[self.rng.choice(sorted(calls))]
        self.save("activities", {**call, "OWNER_TYPE_ID": "2", "OWNER_ID": str(deal["id"])})

    def do_company(self, deal: Row) -> None:
        """A company gets another name, or is deleted."""
        companies = self.portal.tables["companies"].rows
        company: Any = companies[self.rng.choice(sorted(companies))]
        if self.rng.random() < 0.5:
            self.save("companies", {**company, "title": f"Renamed {self.rng.random()}"})
        else:
            self.portal.delete("companies", company["id"])

    def do_quote(self, deal: Row) -> None:
        """A quote is accepted, goes to another deal, or is deleted."""
        quotes = self.portal.tables["quotes"].rows
        quote: Any = quotes[self.rng.choice(sorted(quotes))]
        choice = self.rng.random()
        if choice < 0.3:
            self.portal.delete("quotes", quote["id"])
        else:
            changed = {"stageId": "APPROVED"} if choice < 0.6 else {"dealId": deal["id"]}
            self.save("quotes", {**quote, **changed})

    def do_own_write(self, deal: Row) -> None:
        """Our scores."""
        chance = f"{self.rng.random() * 100:.2f}"
        fields = {shown_name(own): chance for own in OWN_FIELDS if own.endswith("PROBABILITY")}
        self.portal._run("crm.item.update", {"entityTypeId": 2, "id": deal["id"], "fields": fields})
