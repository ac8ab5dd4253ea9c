"""Fills a Tryton database: a small company by proteus, Tryton's own client, and its past in bulk.

Run beside a server: `python tryton_company.py CONFIG DATABASE STORY`. The story (JSON) holds deals
with their saves. Each is created by Tryton itself; then the moments of its saves are moved into the
past, which no client can do: the rows of the history table are written as Tryton would have.
"""

from __future__ import annotations

import json
import sys
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from proteus import Model, Wizard
from proteus import config as proteus_config

SELLER, READER, SCORER = "seller", "reader", "scorer"
PASSWORD = "s3cret-of-scorer"
Row = dict[str, Any]
Place = tuple[int, int]
"""A company and its currency."""


def main(config: str, database: str, story: Path) -> None:
    client = proteus_config.set_trytond(database, user="admin", config_file=config)
    told = json.loads(story.read_text())
    companies = [_company(name, code) for name, code in (("Dunder", "EUR"), ("Sabre", "USD"))]
    client._context = Model.get("res.user").get_preferences(True, {})
    _users(companies)
    staff = [_employee(name, companies[0]) for name in told["reps"]]
    far = _employee("Jo", companies[1])
    parties = _parties(told["accounts"])
    places = [(company.id, company.currency.id) for company in companies]
    _past(database, told["deals"], places, staff, far, parties)


def _company(name: str, code: str) -> Any:
    Party, Currency = Model.get("party.party"), Model.get("currency.currency")
    party = Party(name=name)
    party.save()
    found = Currency.find([("code", "=", code)])
    currency = found[0] if found else Currency(name=code, code=code, rounding=Decimal("0.01"))
    currency.save()
    Rate = Model.get("currency.currency.rate")
    for day, rate in _RATES[code]:
        Rate(date=day, rate=rate, currency=currency).save()
    wizard = Wizard("company.company.config")
    wizard.execute("company")
    wizard.form.party, wizard.form.currency = party, currency
    wizard.execute("add")
    return Model.get("company.company").find([("party", "=", party.id)])[0]


_RATES = {
    "EUR": [(date(2020, 1, 1), Decimal("1.0"))],
    "USD": [(date(2020, 1, 1), Decimal("1.25")), (date(2026, 1, 1), Decimal("1.0"))],
}


def _users(companies: list[Any]) -> None:
    """A seller and the connector's user with rights, and one who may only read."""
    User, Group = Model.get("res.user"), Model.get("res.group")
    rights = {name: Group.find([("name", "=", name)]) for name in ("Sale Opportunity", "Sales")}
    for login, groups in (
        (SELLER, ["Sale Opportunity", "Sales"]),
        (SCORER, ["Sale Opportunity"]),
        (READER, ["Sales"]),
    ):
        user = User(name=login.title(), login=login, password=PASSWORD)
        user.companies.extend(Model.get("company.company").find([]))
        user.company_filter = "all"
        user.company = companies[0]
        for name in groups:
            user.groups.extend(Group.find([("id", "in", [one.id for one in rights[name]])]))
        user.save()
    admin = User(1)
    admin.companies.extend(Model.get("company.company").find([]))
    admin.company_filter = "all"
    admin.save()


def _employee(name: str, company: Any) -> int:
    Party, Employee = Model.get("party.party"), Model.get("company.employee")
    party = Party(name=name)
    party.save()
    employee = Employee(party=party, company=company)
    employee.save()
    return int(employee.id)


def _parties(names: list[str]) -> dict[str, int]:
    Party = Model.get("party.party")
    parties = [Party(name=name) for name in names]
    Party.save(parties)
    return {party.name: party.id for party in parties}


def _past(
    database: str,
    deals: list[Row],
    places: list[Place],
    staff: list[int],
    far: int,
    parties: dict[str, int],
) -> None:
    from trytond.pool import Pool
    from trytond.transaction import Transaction

    with Transaction().start(database, 1) as transaction:
        pool = Pool()
        Opportunity = pool.get("sale.opportunity")
        seller = pool.get("res.user").search([("login", "=", SELLER)])[0].id
        first = [_values(deal, deal["saves"][-1], places, staff, far, parties) for deal in deals]
        made = Opportunity.create(first)
        table, history = "sale_opportunity", "sale_opportunity__history"
        cursor = transaction.connection.cursor()
        cursor.execute(f"DELETE FROM {history}")
        cursor.execute(f"SELECT name FROM pragma_table_info('{history}') WHERE name <> '__id'")
        names = ", ".join(f'"{name}"' for (name,) in cursor.fetchall())
        for record, deal in zip(made, deals, strict=True):
            begun = deal["saves"][0]["at"]
            for save in deal["saves"]:
                at, again = save["at"], save["at"] != begun
                values = _values(deal, save, places, staff, far, parties)
                cursor.execute(
                    f"UPDATE {table} SET state = ?, amount = ?, end_date = ?, employee = ?, "
                    "create_date = ?, create_uid = ?, write_date = ?, write_uid = ? WHERE id = ?",
                    (values["state"], str(values["amount"]), save["end_date"], values["employee"],
                     begun, seller, at if again else None, seller if again else None, record.id),
                )  # fmt: skip
                cursor.execute(
                    f"INSERT INTO {history} ({names}) SELECT {names} FROM {table} WHERE id = ?",
                    (record.id,),
                )
        transaction.commit()


def _values(
    deal: Row, save: Row, places: list[Place], staff: list[int], far: int, parties: dict[str, int]
) -> Row:
    abroad = bool(deal["abroad"])
    company, currency = places[abroad]
    return {
        "company": company,
        "currency": currency,
        "party": parties[deal["account"]],
        "employee": far if abroad else staff[save["rep"]],
        "amount": Decimal(save["amount"]),
        "state": save["state"],
        "start_date": datetime.fromisoformat(deal["saves"][0]["at"]).date(),
        "end_date": date.fromisoformat(save["end_date"]),
        "description": deal["name"],
        "reference": deal["name"],
    }


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
