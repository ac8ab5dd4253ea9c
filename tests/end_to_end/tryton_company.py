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

SELLER, READER, SCORER, OPENER, ABROAD = "seller", "reader", "scorer", "opener", "abroad"
LONG_AGO = "2020-01-01 00:00:00.000000"
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
    places = [(company.id, company.currency.id) for company in companies]
    _past(database, told, places, staff, far)


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
    """A seller and the connector's user with rights, and three with less of them each."""
    User, Group = Model.get("res.user"), Model.get("res.group")
    rights = {name: Group.find([("name", "=", name)]) for name in ("Sale Opportunity", "Sales")}
    for login, groups, places in (
        (SELLER, ["Sale Opportunity", "Sales"], companies),
        (SCORER, ["Sale Opportunity", "Sales"], companies),
        (READER, ["Sales"], companies),
        (OPENER, ["Sale Opportunity"], companies),
        (ABROAD, ["Sale Opportunity", "Sales"], companies[1:]),
    ):
        user = User(name=login.title(), login=login, password=PASSWORD)
        user.companies.extend(
            Model.get("company.company").find([("id", "in", [c.id for c in places])])
        )
        user.company_filter = "all"
        user.company = places[0]
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


def _past(
    database: str, told: dict[str, Any], places: list[Place], staff: list[int], far: int
) -> None:
    """Rows as Tryton writes them: one of each kind is made by it, all others are that row again."""
    from trytond.pool import Pool
    from trytond.transaction import Transaction

    with Transaction().start(database, 1) as transaction:
        pool, cursor = Pool(), transaction.connection.cursor()
        seller = pool.get("res.user").search([("login", "=", SELLER)])[0].id
        parties = _parties(cursor, pool, told["accounts"])
        now, then = [], []
        for number, deal in enumerate(told["deals"], 1):
            begun = deal["saves"][0]["at"]
            for save in deal["saves"]:
                again = save["at"] != begun
                values = _values(deal, save, places, staff, far, parties)
                if not then:
                    (first,) = pool.get("sale.opportunity").create([values])
                then.append(_plain(values) | {
                    "id": number, "number": str(number), "create_date": begun, "create_uid": seller,
                    "write_date": save["at"] if again else None, "write_uid": seller if again else None,
                })  # fmt: skip
            now.append(then[-1])
        _copies(cursor, "sale_opportunity", first.id, now)
        _copies(cursor, "sale_opportunity__history", first.id, then)
        if told.get("belongings"):
            with transaction.set_context(company=places[0][0]):
                _belongings(cursor, pool, now, then)
        transaction.commit()


def _belongings(cursor: Any, pool: Any, now: list[Row], then: list[Row]) -> None:
    """A line, a note and a sale for many an opportunity, dated by its own saves; none is sold out."""
    products = _products(pool, 20)
    first = {row["id"]: row for row in reversed(then)}
    lines, past = [], []
    for deal in now:
        if deal["id"] % 2:
            begun = _stamps(first[deal["id"]]) | {"id": len(lines) + 1, "opportunity": deal["id"]}
            past.append(begun | {"product": products[deal["id"] % 20]})
            if deal["write_date"] and deal["id"] % 5 == 0:
                past.append(begun | _stamps(deal) | {"product": products[deal["id"] % 7]})
            lines.append(past[-1])
    (line,) = pool.get("sale.opportunity.line").create([{"opportunity": 1, "quantity": 1}])
    _copies(cursor, "sale_opportunity_line", line.id, lines)
    _copies(cursor, "sale_opportunity_line__history", line.id, past)
    notes = [_stamps(row) | {"resource": f"sale.opportunity,{row['id']}"} for row in then[::3]]
    (note,) = pool.get("ir.note").create([{"resource": "sale.opportunity,1", "message": "called"}])
    _copies(cursor, "ir_note", note.id, [{"id": n, **row} for n, row in enumerate(notes, 1)])
    sold = [deal for deal in now if deal["state"] in ("converted", "won")]
    origin = {"origin": "sale.opportunity,1", "party": now[0]["party"],
              "company": now[0]["company"], "currency": now[0]["currency"]}  # fmt: skip
    (sale,) = pool.get("sale.sale").create([origin])
    sales = [
        _stamps(deal) | {"id": n, "origin": f"sale.opportunity,{deal['id']}", "party": deal["party"],
        "company": deal["company"], "currency": deal["currency"],
        "state": "done" if deal["state"] == "won" else "quotation",
        "quotation_date": deal["end_date"], "untaxed_amount_cache": deal["amount"]}
        for n, deal in enumerate(sold, 1)
    ]  # fmt: skip
    _copies(cursor, "sale_sale", sale.id, sales)


def _stamps(row: Row) -> Row:
    """When and by whom a row was made and saved."""
    return {name: row[name] for name in ("create_date", "create_uid", "write_date", "write_uid")}


def _products(pool: Any, count: int) -> list[int]:
    (unit,) = pool.get("product.uom").search([("name", "=", "Unit")], limit=1)
    made = pool.get("product.template").create(
        [{"name": f"Product {n}", "default_uom": unit.id, "sale_uom": unit.id, "type": "service",
          "salable": True, "list_price": Decimal("10"), "products": [("create", [{}])]}
         for n in range(count)]
    )  # fmt: skip
    return [one.products[0].id for one in made]


def _parties(cursor: Any, pool: Any, names: list[str]) -> dict[str, int]:
    (first,) = pool.get("party.party").create([{"name": names[0]}])
    known = dict(zip(names, range(first.id, first.id + len(names)), strict=True))
    rows = [
        {"id": party, "name": name, "code": f"A{party}", "create_date": LONG_AGO}
        for name, party in known.items()
    ]
    _copies(cursor, "party_party", first.id, rows)
    return known


def _copies(cursor: Any, table: str, first: int, rows: list[Row]) -> None:
    """The row `first` of a table in as many copies, each with values of its own; it goes itself."""
    cursor.execute(f"SELECT name FROM pragma_table_info('{table}') WHERE name <> '__id'")
    names = [name for (name,) in cursor.fetchall()]
    told = [f"${name}" if name in rows[0] else f't."{name}"' for name in names]
    cursor.execute(f"CREATE TEMP TABLE _first AS SELECT * FROM {table} WHERE id = ?", (first,))
    cursor.execute(f"DELETE FROM {table} WHERE id = ?", (first,))
    columns = ", ".join(f'"{name}"' for name in names)
    cursor.executemany(
        f"INSERT INTO {table} ({columns}) SELECT {', '.join(told)} FROM _first t", rows
    )
    cursor.execute("DROP TABLE _first")


def _plain(row: Row) -> Row:
    """Values as SQLite keeps them."""
    return {
        name: str(value) if isinstance(value, Decimal | date) else value
        for name, value in row.items()
    }


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
