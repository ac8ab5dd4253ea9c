"""Each fault that is planted is found, by count and by name, and nothing is found where nothing is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from salesops_ml.quality.checks import run_checks
from salesops_ml.quality.report import quality_report
from salesops_ml.schema import REJECTS, Attribute, CanonicalTables, conform, no_rejects
from salesops_ml.warehouse import Warehouse

AS_OF = datetime(2026, 6, 1)
Rows = dict[str, list[dict[str, Any]]]


def day(number: int) -> datetime:
    return datetime(2026, 1, 1) + timedelta(days=number)


def deal_id(number: int) -> str:
    return f"d{number:02d}"


def sound(count: int = 20) -> Rows:
    """Deals about which there is nothing to say: the even ones are won, the odd ones open."""
    deals, events, changes, activities, quotes = [], [], [], [], []
    for n in range(count):
        deal, won = deal_id(n), n % 2 == 0
        deals.append(
            {"deal_id": deal, "status": "won" if won else "open", "account_id": "acme",
             "rep_id": "ann", "currency": "EUR", "amount": "10.00", "amount_base": "10.00",
             "created_at": day(n), "closed_at": day(n + 30) if won else None,
             "expected_close_date": date(2026, 12, 1)}
        )  # fmt: skip
        events.append({"deal_id": deal, "entered_at": day(n), "seq": 0, "stage": "Offer"})
        if won:
            events.append({"deal_id": deal, "entered_at": day(n + 30), "seq": 0, "stage": "Won"})
        changes.append({"deal_id": deal, "field": "amount", "changed_at": day(n), "seq": 0,
                        "old_value": None, "new_value": "10.00"})  # fmt: skip
        activities.append({"activity_id": f"a{n:02d}", "deal_id": deal, "kind": "call",
                           "at": day(n + 1), "duration_minutes": 10.0})  # fmt: skip
        quotes.append({"quote_id": f"q{n:02d}", "deal_id": deal, "sent_at": day(n + 2)})
    return {
        "deals": deals,
        "stage_events": events,
        "deal_changes": changes,
        "stages": [
            {"pipeline": "p", "stage": "Offer", "position": 0, "is_won": False, "is_closed": False},
            {"pipeline": "p", "stage": "Won", "position": 1, "is_won": True, "is_closed": True},
        ],
        "activities": activities,
        "quotes": quotes,
        "accounts": [{"account_id": "acme", "valid_from": None}],
        "reps": [{"rep_id": "ann", "valid_from": None}],
    }


def tables_of(rows: Rows, attributes: tuple[Attribute, ...] = ()) -> dict[str, pa.Table]:
    tables = {}
    for name, content in rows.items():
        columns = {key: None for row in content for key in row}
        whole = pa.Table.from_pylist([{**columns, **row} for row in content])
        tables[name] = conform(name, whole, attributes if name == "deals" else ())
    return tables


def findings(
    rows: Rows, *, rejects: pa.Table | None = None, attributes: tuple[Attribute, ...] = ()
) -> dict[str, dict[str, Any]]:
    rejects = no_rejects() if rejects is None else rejects
    tables = CanonicalTables(tables_of(rows, attributes), rejects, attributes)
    with Warehouse.in_memory(tables) as warehouse:
        found = run_checks(warehouse, as_of=AS_OF)
    return {f"{one['check']} | {one['table']}": one for one in found}


def test_sound_data_has_no_findings() -> None:
    found = findings(sound())
    assert {name for name, one in found.items() if one["count"]} == set()
    assert {one["verdict"] for one in found.values()} == {"ok"}
    assert len(found) > 35


Plant = Callable[[Rows, int], str]
"""Put a fault on deal n, and say by which name it should be found."""


def of(rows: Rows, table: str, number: int, last: bool = False) -> dict[str, Any]:
    """The first (or last) row of a table that belongs to deal n."""
    found = [row for row in rows[table] if row["deal_id"] == deal_id(number)]
    return found[-1 if last else 0]


def change(table: str, last: bool = False, example: str = "deal_id", **values: Any) -> Plant:
    def plant(rows: Rows, number: int) -> str:
        row = of(rows, table, number, last)
        named = row[example]
        row.update(resolved(values, number))
        return str(row[example] if example in values else named)

    return plant


def add(table: str, last: bool = False, example: str = "deal_id", **values: Any) -> Plant:
    def plant(rows: Rows, number: int) -> str:
        row = {**of(rows, table, number, last), **resolved(values, number)}
        rows[table].append(row)
        return str(row[example])

    return plant


def resolved(values: dict[str, Any], number: int) -> dict[str, Any]:
    """Values, where a plain number for a moment counts days from the deal's creation."""
    moments = ("at", "_at")
    return {
        name: day(number + value) if name.endswith(moments) and isinstance(value, int) else value
        for name, value in values.items()
    }


def no_events(rows: Rows, number: int) -> str:
    rows["stage_events"] = [
        row for row in rows["stage_events"] if row["deal_id"] != deal_id(number)
    ]
    return deal_id(number)


def percent(rows: Rows, number: int) -> str:
    rows["stages"][0]["probability"] = 40.0
    return str(rows["stages"][0]["stage"])


WON, OPEN = 0, 1
AFTER = [
    *["stage event after the close | stage_events"] * 2,
    "activity after the close | activities",
]
CONTRADICTS = ["amount is not the last change's | deals"]
FUTURE = datetime(2026, 8, 1)
FAULTS: dict[str, tuple[int, Plant, list[str]]] = {
    # fault | table: on a won or an open deal, how it is planted, what else it brings along
    "duplicate deal ids | deals": (OPEN, add("deals"), []),
    "unknown status | deals": (OPEN, change("deals", status="parked"), []),
    "won or lost without close date | deals": (WON, change("deals", closed_at=None), []),
    "closed before creation | deals": (WON, change("deals", closed_at=-1), AFTER),
    "open with a close date | deals": (OPEN, change("deals", closed_at=40), []),
    "without creation date | deals": (WON, change("deals", created_at=None), []),
    "dates in the future | deals": (
        WON, change("deals", closed_at=datetime(2027, 1, 1)),
        ["dates far beyond all others | deals"],
    ),
    "dates far beyond all others | deals": (
        OPEN, change("deals", created_at=datetime(2092, 6, 1)), [],
    ),
    "negative amounts | deals": (OPEN, change("deals", amount="-1.00"), CONTRADICTS),
    "won without an amount above zero | deals": (WON, change("deals", amount="0.00"), CONTRADICTS),
    "open without an amount | deals": (OPEN, change("deals", amount=None), CONTRADICTS),
    "no rate into company currency | deals": (OPEN, change("deals", amount_base=None), []),
    "open past the expected close date | deals": (
        OPEN, change("deals", expected_close_date=date(2026, 5, 1)), [],
    ),
    "without an account | deals": (OPEN, change("deals", account_id=None), []),
    "stage event before creation | stage_events": (
        WON, add("stage_events", entered_at=-3), [],
    ),
    "stage event after the close | stage_events": (
        WON, add("stage_events", last=True, entered_at=31), [],
    ),
    "stage event in the future | stage_events": (
        OPEN, add("stage_events", entered_at=FUTURE, recorded_at=3), [],
    ),
    "several stages at one moment | stage_events": (
        OPEN, add("stage_events", stage="Won", seq=1),
        ["open, but in a closing stage | stage_events"],
    ),
    "unknown stage | stage_events": (
        WON, add("stage_events", example="stage", stage="Ofer", entered_at=1), [],
    ),
    "deal without stage events | deals": (OPEN, no_events, []),
    "open, but in a closing stage | stage_events": (
        OPEN, add("stage_events", stage="Won", entered_at=9), [],
    ),
    "won, but not in a won stage | stage_events": (
        WON, change("stage_events", last=True, stage="Offer"), [],
    ),
    "stage events recorded more than 1 day late | stage_events": (
        WON, change("stage_events", recorded_at=3), [],
    ),
    "stage events of unknown deals | stage_events": (
        WON, add("stage_events", deal_id="x1"), [],
    ),
    "activity after the close | activities": (
        WON, change("activities", example="activity_id", at=31), [],
    ),
    "activity in the future | activities": (
        OPEN, change("activities", example="activity_id", at=FUTURE, recorded_at=9), [],
    ),
    "activity longer than a day | activities": (
        WON, change("activities", example="activity_id", duration_minutes=1441.0), [],
    ),
    "activity without a duration | activities": (
        WON, change("activities", example="activity_id", duration_minutes=None), [],
    ),
    "activities recorded more than 1 day late | activities": (
        WON, change("activities", example="activity_id", recorded_at=9), [],
    ),
    "activities of unknown deals | activities": (
        WON, add("activities", example="activity_id", deal_id="x", activity_id="ax"), [],
    ),
    "deal changes recorded more than 1 day late | deal_changes": (
        WON, change("deal_changes", recorded_at=9), [],
    ),
    "deal changes of unknown deals | deal_changes": (
        WON, add("deal_changes", deal_id="x2"), [],
    ),
    "amount is not the last change's | deals": (
        WON, add("deal_changes", changed_at=9, new_value="11.00"), [],
    ),
    "quotes of unknown deals | quotes": (
        WON, add("quotes", example="quote_id", deal_id="x3", quote_id="qx"), [],
    ),
    "quote below zero | quotes": (WON, change("quotes", example="quote_id", amount="-0.01"), []),
    "discount outside 0 to 1 | quotes": (
        WON, change("quotes", example="quote_id", discount=15.0), [],
    ),
    "probability outside 0 to 1 | stages": (WON, percent, []),
    "account not in `accounts` | deals": (
        WON, change("deals", example="account_id", account_id="bolt"), [],
    ),
    "rep not in `reps` | deals": (WON, change("deals", example="rep_id", rep_id="eve"), []),
}  # fmt: skip


def test_planted_faults_are_found_counted_and_named_and_nothing_else_is() -> None:
    rows, wanted, counts = sound(2 * len(FAULTS)), {}, Counter()
    for number, (fault, (kind, plant, along)) in enumerate(FAULTS.items()):
        wanted[fault] = plant(rows, 2 * number + kind)
        counts.update([fault, *along])
    found = findings(rows)
    assert {name: one["count"] for name, one in found.items() if one["count"]} == dict(counts)
    for fault, name in wanted.items():
        assert name in found[fault]["examples"], fault
        assert found[fault]["meaning"]
        assert found[fault]["cure"]


def test_every_check_has_a_planted_fault() -> None:
    others = {
        "stage events of an import | stage_events",
        "rows rejected at the last load | rejects",
    }
    assert set(findings(sound())) - others == set(FAULTS)


@pytest.mark.parametrize(
    ("faulty", "verdict"), [(0, "ok"), (1, "warn"), (10, "warn"), (11, "fail")]
)
def test_the_verdict_goes_by_the_share_of_rows(faulty: int, verdict: str) -> None:
    rows = sound()
    for number in range(faulty):
        rows["deals"][number]["created_at"] = None
    found = findings({"deals": rows["deals"]})["without creation date | deals"]
    assert (found["verdict"], found["share"]) == (verdict, faulty / 20)


def test_a_hundred_deals_that_move_at_one_moment_are_an_import() -> None:
    rows = sound()
    noon = timedelta(hours=12)
    rows["deals"] += [{**rows["deals"][1], "deal_id": f"e{n}"} for n in range(100)]
    rows["stage_events"] += [
        {"deal_id": f"e{n}", "entered_at": day(7) + noon, "seq": 0, "stage": "Offer"}
        for n in range(100)
    ]
    found = findings(rows)["stage events of an import | stage_events"]
    assert (found["count"], found["examples"]) == (100, ["2026-01-08 12:00:00"])


def test_rejects_are_counted_by_row_of_the_file() -> None:
    told = {"source": "deals.csv", "row": 7, "table": "deals", "value": "x", "cure": "mend it"}
    rejects = pa.Table.from_pylist(
        [{**told, "column": "a", "reason": "no"}, {**told, "column": "b", "reason": "no"}],
        schema=REJECTS.arrow(),
    )
    found = findings(sound(), rejects=rejects)["rows rejected at the last load | rejects"]
    assert (found["count"], found["verdict"]) == (1, "warn")
    assert found["examples"][0] == "deals.csv, line 7: no"


@pytest.mark.parametrize(("field", "count"), [("colour", 0), ("size", 1)])
def test_an_attribute_that_changes_needs_a_history(field: str, count: int) -> None:
    rows = {name: sound()[name] for name in ("deals", "deal_changes")}
    rows["deal_changes"][0]["field"] = "colour"
    attributes = (Attribute(field, "string", "over_time"),)
    found = findings(rows, attributes=attributes)
    missing = found["attributes that change, without a history | deal_changes"]
    assert missing["count"] == count
    assert missing["examples"] == ["size"] * count


def test_what_was_recorded_later_is_not_looked_at() -> None:
    rows = sound()
    later = AS_OF + timedelta(days=1)
    add("stage_events", stage="Ofer", seq=1, recorded_at=later)(rows, 0)
    add("deals", deal_id="later", created_at=later, amount="-5.00")(rows, 1)
    apart = {"dates far beyond all others | deals"}
    assert {name for name, one in findings(rows).items() if one["count"]} == apart


def test_a_table_without_dates_is_told_as_such_and_not_as_faulty_deals() -> None:
    deals = [{**row, "created_at": None, "closed_at": None} for row in sound()["deals"]]
    assert {name for name, one in findings({"deals": deals}).items() if one["count"]} == set()


def test_with_deals_alone_there_are_still_answers() -> None:
    found = findings({"deals": sound()["deals"]})
    assert {one["table"] for one in found.values()} == {"deals", "rejects"}
    assert {name for name, one in found.items() if one["count"]} == set()


def test_the_report_is_plain_json_with_the_worst_verdict() -> None:
    rows = sound()
    change("deals", status="parked")(rows, 1)
    tables = CanonicalTables(tables_of(rows), no_rejects(), (), {"deals: used": 20})
    with Warehouse.in_memory(tables) as warehouse:
        report = quality_report(warehouse, as_of=AS_OF)
    assert json.loads(json.dumps(report)) == report
    assert report["verdict"] == "fail"
    assert report["source_counts"] == {"deals: used": 20}
