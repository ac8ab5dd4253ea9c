"""Tryton's parts without a server: moments of history, values on the wire, settings, the mapping."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any

import ibis
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesops_ml.crm.tryton_history import moments_of
from salesops_ml.crm.tryton_mapping import map_tryton
from salesops_ml.crm.tryton_rpc import from_json, to_json
from salesops_ml.crm.vendors import Surroundings
from salesops_ml.errors import ConfigError
from salesops_ml.settings import parse

START = datetime(2026, 1, 1)
SAVES = st.lists(
    st.tuples(st.integers(1, 6), st.integers(0, 40).map(lambda n: START + timedelta(hours=n)))
)


def seen(times: list[datetime], moment: datetime) -> datetime:
    return max(at for at in times if at <= moment)


@given(SAVES)
def test_the_moments_show_every_record_after_each_of_its_saves(saves: list[Any]) -> None:
    by_record: dict[int, list[datetime]] = {}
    for record, at in saves:
        by_record.setdefault(record, []).append(at)
    shown = [
        (record, seen(by_record[record], moment))
        for moment, records in moments_of(saves) for record in records
    ]  # fmt: skip
    assert sorted(shown) == sorted(set(saves))


@given(SAVES)
def test_no_fewer_moments_would_do(saves: list[Any]) -> None:
    """As many intervals that share no moment as there are moments: fewer cannot serve them."""
    last = max((at for _, at in saves), default=START)
    spans = []
    for record in {record for record, _ in saves}:
        times = sorted({at for one, at in saves if one == record})
        spans += list(pairwise([*times, last + timedelta(microseconds=1)]))
    apart, free = 0, datetime.min
    for start, end in sorted(spans, key=lambda span: span[1]):
        if start >= free:
            apart, free = apart + 1, end
    assert len(list(moments_of(saves))) == apart


@given(SAVES, st.integers(0, 40))
def test_later_saves_are_asked_for_alone(saves: list[Any], hours: int) -> None:
    since = START + timedelta(hours=hours)
    asked = sum(len(records) for _, records in moments_of(saves, since=since))
    assert asked == len({save for save in saves if save[1] >= since})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.dates() | st.datetimes()
    | st.decimals(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text().filter("__class__".__ne__), inner),
)  # fmt: skip


@given(VALUES)
def test_values_come_back_from_the_wire_as_they_were(value: Any) -> None:
    assert from_json(to_json(value)) == value


def source(**more: Any) -> dict[str, Any]:
    told = {"type": "tryton", "url": "https://tryton.example.com", "database": "crm",
            "user": "scorer", "password": "env:TRYTON_PASSWORD", **more}  # fmt: skip
    return {"source": told, "warehouse": "duckdb:///store/w.duckdb"}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"password": "s3cret-of-scorer"}, "a secret is named"),
        ({"url": "http://tryton.example.com"}, "is not encrypted"),
        ({"probability_field": "amount"}, "conversion_probability"),
        ({"custom_fields": {"p": {"column": "salesops_score_band"}}}, "learning from ourselves"),
        (
            {"probability_field": "conversion_probability",
             "custom_fields": {"conversion_probability": {"kind": "float", "known": "over_time"}}},
            "learning from it would be learning from ourselves",
        ),
    ],
)  # fmt: skip
def test_settings_that_would_go_wrong_are_refused(more: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as refused:
        parse(source(**more))
    assert "s3cret-of-scorer" not in str(refused.value)


def landed(name: str, **columns: list[Any]) -> Any:
    frame = pd.DataFrame({name: pd.array(cells, "string") for name, cells in columns.items()})
    rows = len(frame)
    return ibis.memtable(frame.assign(_deleted=[False] * rows, _load=1, _row=range(rows)))


def tables(saves: list[tuple[str, str, str, str]]) -> dict[str, Any]:
    """One opportunity whose saves are (moment, state, amount, user)."""
    moments, states, amounts, users = (list(column) for column in zip(*saves, strict=True))
    many = len(saves)
    created = [moments[0]] * many
    closes = ["2026-06-30"] * many
    return {
        "opportunities": landed(
            "o", id=["7"], party=["3"], employee=["5"], company=["1"], currency=["2"],
            amount=[amounts[-1]], end_date=["2026-06-30"], state=[states[-1]], lost_reason=[None],
            create_date=[moments[0]], modified=[moments[-1]],
        ),
        "opportunity_history": landed(
            "h", id=["7"] * many, employee=["5"] * many, currency=["2"] * many, amount=amounts,
            end_date=closes, state=states, create_date=created, modified=moments,
            create_uid=users, write_uid=[None, *users[1:]],
        ),
        "opportunity_ids": landed("i", id=["7"]),
        "states": landed(
            "s", state=["lead", "opportunity", "converted", "won", "lost", "cancelled"],
            position=["0", "1", "2", "3", "4", "5"],
        ),
        "companies": landed("c", id=["1"], party_rec_name=["Dunder"]),
        "currencies": landed("m", id=["2"], code=["EUR"]),
        "users": landed("u", id=["8", "9"], login=["ann", "scorer"], employee=["5", None]),
    }  # fmt: skip


def mapped(saves: list[tuple[str, str, str, str]], **more: Any) -> dict[str, pd.DataFrame]:
    options = parse(source(**more)).source
    around = Surroundings("EUR", "UTC", date(2026, 7, 1))
    found = map_tryton(tables(saves), options, around)
    return {name: table.execute() for name, table in found.items()}


def test_states_become_stages_and_saves_become_history() -> None:
    done = mapped([
        ("2026-01-01T08:00:00", "lead", "10.00", "8"),
        ("2026-01-03T08:00:00", "opportunity", "10.00", "8"),
        ("2026-01-04T08:00:00", "opportunity", "12.50", "8"),
        ("2026-01-09T08:00:00", "cancelled", "12.50", "8"),
    ])  # fmt: skip
    deal = done["deals"].iloc[0]
    assert (deal["status"], deal["lost_reason"], deal["currency"]) == ("lost", "cancelled", "EUR")
    assert deal["closed_at"] == datetime(2026, 1, 9, 8)
    assert (deal["pipeline"], deal["account_id"], deal["rep_id"]) == ("Dunder", "3", "5")
    moves = done["stage_events"].sort_values("entered_at")
    assert moves["stage"].tolist() == ["lead", "opportunity", "cancelled"]
    assert set(moves["rep_id"]) == {"5"}
    amounts = done["deal_changes"].query("field == 'amount'").sort_values("changed_at")
    assert amounts["new_value"].tolist() == ["10.00", "12.50"]
    assert done["stages"].set_index("stage")["is_closed"].to_dict() == {
        "lead": False, "opportunity": False, "converted": False, "won": True, "lost": True,
        "cancelled": True,
    }  # fmt: skip


@pytest.mark.parametrize("more", [{}, {"user": "other", "integration_users": ["9"]}])
def test_what_the_connector_or_other_software_saved_is_no_history(more: dict[str, Any]) -> None:
    people = [
        ("2026-01-01T08:00:00", "lead", "10.00", "8"),
        ("2026-01-05T08:00:00", "opportunity", "20.00", "8"),
    ]
    software = ("2026-01-03T08:00:00", "opportunity", "99.00", "9")
    alone = mapped(people, **more)
    both = mapped([people[0], software, people[1]], **more)
    amounts = both["deal_changes"].query("field == 'amount'").sort_values("changed_at")
    assert amounts[["old_value", "new_value"]].values.tolist() == [
        [None, "10.00"],
        ["10.00", "20.00"],
    ]
    assert both["deals"].equals(alone["deals"])
    assert set(both["stage_events"]["stage"]) == {"lead"}
    assert "99.00" not in set(both["deal_changes"]["new_value"])


def test_an_opened_deal_is_open_again() -> None:
    done = mapped([
        ("2026-01-01T08:00:00", "lead", "10.00", "8"),
        ("2026-01-05T08:00:00", "lost", "10.00", "8"),
        ("2026-01-07T08:00:00", "lead", "10.00", "8"),
    ])  # fmt: skip
    deal = done["deals"].iloc[0]
    assert deal["status"] == "open"
    assert pd.isna(deal["closed_at"])
    assert done["stage_events"].sort_values("entered_at")["stage"].tolist() == [
        "lead",
        "lost",
        "lead",
    ]
    assert done["deal_daily"]["stage"].tolist() == ["lead"]


def test_fields_of_a_company_s_own_become_attributes_with_their_past() -> None:
    landed_tables = tables([
        ("2026-01-01T08:00:00", "lead", "10.00", "8"),
        ("2026-01-05T08:00:00", "lead", "10.00", "8"),
    ])  # fmt: skip
    for name, values in (("opportunities", ["Acme"]), ("opportunity_history", [None, "Acme"])):
        rows = landed_tables[name].execute()
        landed_tables[name] = ibis.memtable(
            rows.assign(x_rival=pd.array(values, "string"), x_campaign="spring")
        )
    custom = {
        "rival": {"column": "x_rival", "known": "over_time"},
        "campaign": {"column": "x_campaign", "known": "at_creation"},
    }
    options = parse(source(custom_fields=custom, pipelines=["Dunder"])).source
    found = map_tryton(landed_tables, options, Surroundings("EUR", "UTC", date(2026, 7, 1)))
    deal = found["deals"].execute().iloc[0]
    assert (deal["x_rival"], deal["x_campaign"]) == ("Acme", "spring")
    past = found["deal_changes"].execute().query("field == 'rival'")
    assert past[["changed_at", "new_value"]].values.tolist() == [
        [pd.Timestamp("2026-01-05 08:00"), "Acme"]
    ]
    elsewhere = parse(source(custom_fields=custom, pipelines=["Sabre"])).source
    none = map_tryton(landed_tables, elsewhere, Surroundings("EUR", "UTC", date(2026, 7, 1)))
    assert none["deals"].execute().empty
    assert none["stage_events"].execute().empty


def test_a_deleted_opportunity_is_gone_with_its_history() -> None:
    landed_tables = tables([("2026-01-01T08:00:00", "lead", "10.00", "8")])
    rows = landed_tables["opportunity_ids"].execute()
    landed_tables["opportunity_ids"] = ibis.memtable(rows.assign(_deleted=True))
    options = parse(source()).source
    found = map_tryton(landed_tables, options, Surroundings("EUR", "UTC", date(2026, 7, 1)))
    for name in ("deals", "stage_events", "deal_changes", "deal_daily"):
        assert found[name].execute().empty
