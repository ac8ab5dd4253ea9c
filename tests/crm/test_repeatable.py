"""The same content gives the same warehouse, in whatever order its rows lie."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.crm import complete_history
from salesops_ml.warehouse import content_digest
from tests.crm.desk import DEALS, EVENTS, Desk

FEED = """deal_id,field,changed_at,old_value,new_value
d1,amount,2026-01-20,80,100
d1,amount,2026-01-20,100,90
d3,rep_id,2026-01-24,bob,ann
d3,colour,2026-01-24,red,blue
d9,amount,2026-01-24,1,2
"""
MORE_DEALS = DEALS + "d6,ann,Won,2026-01-05,,3\nd5,cas,Won,2026-01-09,2026-03-01,11.00\n"
MORE_EVENTS = EVENTS + "d2,Offer,2026-01-11\nd3,Call,2026-01-12\nd3,Mail,2026-01-12\n"


def shuffled(text: str, shuffle: random.Random) -> str:
    head, *rows = text.splitlines()
    shuffle.shuffle(rows)
    return "\n".join([head, *rows]) + "\n"


def tables(desk: Any, shuffle: random.Random) -> dict[str, Any]:
    desk.write("feed.csv", shuffled(FEED, shuffle))
    mapped = {
        "deals": desk.deals(shuffled(MORE_DEALS, shuffle)),
        "stage_events": desk.events(shuffled(MORE_EVENTS, shuffle)),
        "deal_changes": {"path": "feed.csv"},
    }
    names = list(mapped)
    shuffle.shuffle(names)
    return {name: mapped[name] for name in names}


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**9))
def test_the_order_of_rows_and_tables_changes_nothing(tmp_path_factory, seed: int) -> None:
    digests = set()
    for shuffle in (random.Random(0), random.Random(seed)):
        desk = Desk(tmp_path_factory.mktemp("desk"))
        read = desk.read(tables(desk, shuffle))
        whole = complete_history(read, base_currency="EUR")
        told = sorted(
            (row["table"], row["column"], row["value"]) for row in read.rejects.to_pylist()
        )
        digests.add((str(told).replace(str(desk.folder), ""), _digest_of_rows(whole)))
    assert len(digests) == 1


def _digest_of_rows(whole: Any) -> str:
    """Of the rows alone: the rejects name the folder, which differs."""
    return content_digest(type(whole)(whole.tables, whole.rejects.slice(0, 0), whole.attributes))


def test_a_second_load_of_the_same_rows_in_another_order_changes_nothing(desk: Any) -> None:
    assert desk.ingest(tables(desk, random.Random(1))).changed
    path = desk.folder / "store" / "w.duckdb"
    before = path.read_bytes()
    assert not desk.ingest(tables(desk, random.Random(2))).changed
    assert path.read_bytes() == before


def test_one_more_reject_is_a_change_worth_keeping(desk: Any) -> None:
    desk.ingest({"deals": desk.deals()})
    assert desk.ingest({"deals": desk.deals(DEALS + "d6,ann,New,soon,,1\n")}).changed
    assert len(desk.stored_rejects()) == 1


def test_stages_of_one_moment_follow_the_process(desk: Any) -> None:
    text = EVENTS + "d4,Won,2026-01-12\nd4,Offer,2026-01-12\n"
    for stages in (["Offer", "Won", "Lost"], ["Won", "Offer", "Lost"]):
        read = desk.read(
            {"deals": desk.deals(), "stage_events": desk.events(text)}, process={"stages": stages}
        )
        frame = read.tables["stage_events"].to_pandas().sort_values(["entered_at", "seq"])
        assert frame[frame["deal_id"] == "d4"]["stage"].tolist() == stages[:2]


def test_stages_are_told_by_the_events_where_nobody_lists_them(desk: Any) -> None:
    read = desk.read({"deals": desk.deals(), "stage_events": desk.events()})
    told = [
        (row["stage"], row["is_closed"], row["is_won"]) for row in read.tables["stages"].to_pylist()
    ]
    assert told == [("Offer", False, False), ("Lost", True, False), ("Won", True, True)]
    assert set(read.tables["deals"]["pipeline"].to_pylist()) == {"sales"}
