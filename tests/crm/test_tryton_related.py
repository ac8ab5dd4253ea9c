"""Products of lines against a replay in plain Python; sales as quotes, from a table of cases."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.crm.crm_narrow import narrowed
from salesops_ml.crm.landing import changes_since, land, landed_number, landed_tables
from salesops_ml.crm.landing_run import Feed
from salesops_ml.crm.tryton_mapping import SHAPE
from salesops_ml.crm.tryton_related import (
    activities_of,
    products_over_time,
    products_today,
    quotes_of,
)
from salesops_ml.crm.vendor_rows import Rows

START = datetime(2026, 1, 1)
LINE = ("id", "opportunity", "modified", "create_date", "product")
Save = tuple[int, int, str | None, int | None, bool]
"""Line, hour, product, sequence, and whether it is there still."""


def landed(rows: list[dict[str, Any]], columns: list[str]) -> Any:
    frame = pd.DataFrame(rows, columns=columns).astype("string")
    return ibis.memtable(frame.assign(_deleted=False))


@st.composite
def histories(draw: st.DrawFn) -> list[Save]:
    """Lines of one opportunity that come, change and go."""
    saves: list[Save] = []
    for line in range(1, draw(st.integers(1, 4)) + 1):
        hours = sorted(draw(st.sets(st.integers(0, 9), min_size=1, max_size=4)))
        ends = draw(st.booleans())
        for hour in hours:
            there = not (ends and hour == hours[-1] and len(hours) > 1)
            product = draw(st.sampled_from([None, "1", "2", "3"]))
            saves.append((line, hour, product, draw(st.sampled_from([None, 1, 2])), there))
    return saves


def replayed(saves: list[Save]) -> dict[datetime, str | None]:
    """The product of the first line that names one, after each moment."""
    told = {}
    for now in sorted({hour for _, hour, *_ in saves}):
        state: dict[int, Save] = {}
        for save in sorted(saves, key=lambda one: one[1]):
            if save[1] <= now:
                state[save[0]] = save
        there = [save for save in state.values() if save[4] and save[2]]
        there.sort(key=lambda one: (one[3] is not None, one[3] or 0, one[0]))
        told[START + timedelta(hours=now)] = there[0][2] if there else None
    return told


@settings(max_examples=20, deadline=None)
@given(histories())
def test_the_product_is_that_of_the_first_line_at_every_moment(saves: list[Save]) -> None:
    rows = [
        {"id": line, "opportunity": "7", "product": product, "sequence": sequence, "_author": "ann",
         "modified": (START + timedelta(hours=hour)).isoformat(),
         "create_date": START.isoformat() if there else None}
        for line, hour, product, sequence, there in saves
    ]  # fmt: skip
    columns = ["id", "opportunity", "product", "sequence", "modified", "create_date", "_author"]
    lines = Rows(landed(rows, columns), "lines")
    names = landed([{"id": "1", "rec_name": "[P] Paper"}], ["id", "rec_name"])
    found = products_over_time({"products": names}, lines)
    done = found.execute()
    told = {
        at.to_pydatetime(): None if pd.isna(product) else product
        for at, product in zip(done["at"], done["product"], strict=True)
    }
    named = {"1": "[P] Paper"}
    assert told == {at: named.get(str(one), one) for at, one in replayed(saves).items()}
    assert set(done["author"]) == {"ann"}
    (today,) = products_today(found).execute()["_product"].tolist()
    last = told[max(told)]
    assert (None if pd.isna(today) else today) == last


SALE = {"id": "4", "opportunity": "7", "state": "quotation", "quotation_date": "2026-03-05",
        "currency": "2", "untaxed_amount": "301.00", "create_date": "2026-03-02T09:00:00",
        "modified": "2026-03-20T16:00:00"}  # fmt: skip

AGAIN = ("sent", "2026-03-20 16:00", "2026-03-20 16:00")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"state": "draft"}, []),
        ({}, [("sent", "2026-03-05 00:00", "2026-03-06 00:00"), AGAIN]),
        ({"quotation_date": None}, [("sent", "2026-03-02 09:00", "2026-03-02 09:00"), AGAIN]),
        ({"quotation_date": "2026-03-02"},
         [("sent", "2026-03-02 09:00", "2026-03-03 00:00"), AGAIN]),
        ({"state": "processing"}, [("sent", "2026-03-05 00:00", "2026-03-06 00:00"),
                                   ("accepted", "2026-03-20 16:00", "2026-03-20 16:00")]),
        ({"state": "cancelled"}, [("sent", "2026-03-05 00:00", "2026-03-06 00:00"),
                                  ("declined", "2026-03-20 16:00", "2026-03-20 16:00")]),
        ({"modified": "2026-03-05T15:00:00"}, [("sent", "2026-03-05 00:00", "2026-03-05 15:00")]),
        ({"quotation_date": "2026-04-01"}, [("sent", "2026-03-20 16:00", "2026-03-20 16:00")]),
        ({"opportunity": "8"}, []),
    ],
)  # fmt: skip
def test_a_sale_is_a_quote_when_it_is_sent_and_when_it_is_answered(
    more: dict[str, Any], told: list[tuple[str, str, str]]
) -> None:
    deals = Rows(landed([{"id": "7", "currency": "2"}], ["id", "currency"]), "opportunities")
    tables = {
        "sales": landed([{**SALE, **more}], list(SALE)),
        "sales_ids": landed([{"id": "4"}], ["id"]),
    }
    found = quotes_of(tables, deals)["quotes"].execute().sort_values("sent_at")
    assert found[["status", "sent_at", "recorded_at"]].values.tolist() == [
        [status, pd.Timestamp(sent), pd.Timestamp(known)] for status, sent, known in told
    ]
    amounts = [str(amount) for amount in found["amount"]]
    assert amounts == ["None"] * (len(told) - 1) + ["301.00"] * bool(told), "once it was last saved"
    assert found["quote_id"].is_unique


def test_money_of_another_currency_is_no_amount_and_a_deleted_sale_no_quote() -> None:
    deals = Rows(landed([{"id": "7", "currency": "1"}], ["id", "currency"]), "opportunities")
    tables = {"sales": landed([SALE], list(SALE)), "sales_ids": landed([{"id": "4"}], ["id"])}
    assert quotes_of(tables, deals)["quotes"].execute()["amount"].tolist() == [None, None]
    gone = {**tables, "sales_ids": tables["sales_ids"].mutate(_deleted=True)}
    assert quotes_of(gone, deals)["quotes"].execute().empty


@pytest.mark.parametrize("names", [["notes"], ["notes", "emails", "documents"]])
def test_what_people_hung_on_a_deal_that_stands_is_an_activity(names: list[str]) -> None:
    columns = ["id", "opportunity", "create_date", "create_uid"]
    rows = [
        {"id": "1", "opportunity": "7", "create_date": "2026-03-02T09:00:00", "create_uid": "8"},
        {"id": "2", "opportunity": "7", "create_date": "2026-03-02T09:00:00", "create_uid": "9"},
        {"id": "3", "opportunity": "8", "create_date": "2026-03-02T09:00:00", "create_uid": "8"},
        {"id": "4", "opportunity": "7", "create_date": "2026-03-02T09:00:00", "create_uid": "8"},
    ]
    tables = {name: landed(rows, columns) for name in names}
    tables |= {f"{name}_ids": landed([{"id": n} for n in "123"], ["id"]) for name in names}
    deals = Rows(landed([{"id": "7"}], ["id"]), "opportunities")
    users = ibis.memtable(
        pd.DataFrame({"_user": ["8", "9"], "_person": ["5", "user 9"], "_software": [False, True]})
    )
    assert "activities" not in activities_of({}, deals, users)
    found = activities_of(tables, deals, users)["activities"].execute()
    kinds = {"notes": "note", "emails": "email", "documents": "attachment"}
    assert sorted(found["activity_id"]) == sorted(f"{kinds[name]} 1" for name in names)
    assert set(found["rep_id"]) == {"5"}
    assert set(found["at"]) == {pd.Timestamp("2026-03-02 09:00")}


@pytest.mark.parametrize("there", [True, False])
def test_a_line_that_leaves_its_opportunity_touches_both(tmp_path: Path, there: bool) -> None:
    """Moved or deleted: what it was before is of the part, though the new row does not name it."""
    deals = [{"id": str(n)} for n in range(40)]
    saves: list[list[Any]] = [
        ["1", "7", "2026-01-01T00:00:00", "2026-01-01", "1"],
        ["2", "8", "2026-01-01T00:00:00", "2026-01-01", "1"],
    ]
    path = tmp_path / "w.landing.duckdb"

    def load() -> None:
        rows = [dict(zip(LINE, save, strict=True)) for save in saves]
        feeds = [
            Feed("opportunities", ("id",), lambda _: [deals], whole=True),
            Feed("lines", ("id", "modified"), lambda _: [rows], cursor="modified"),
        ]
        land(feeds, path, origin="x", place="x")

    load()
    before = landed_number(path)
    saves.append(["1", "9" if there else None, "2026-01-02T00:00:00",
                  "2026-01-01" if there else None, "1"])  # fmt: skip
    load()
    with landed_tables(path) as tables:
        part = narrowed(tables, SHAPE, changes_since(path, before), since=before)
        assert part is not None
        assert part.deals == (["7", "9"] if there else ["7"])
        kept = part.tables["lines"].order_by("modified").to_pyarrow().to_pylist()
    assert [(row["id"], row["opportunity"]) for row in kept] == [("1", "7"), ("1", saves[-1][1])]
