"""Whatever bytes lie in a file, a load ends in tables or in an error of ours, never in a crash."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.crm import complete_history, read_source
from salesops_ml.errors import SalesOpsError
from salesops_ml.settings import parse
from salesops_ml.warehouse import content_digest
from tests.crm.desk import DEALS, EVENTS, Desk

FEED = "deal_id,field,changed_at,old_value,new_value\nd1,amount,2026-01-20,80,100\nd2,x,2026-01-01,,1\n"
RATES = "currency,day,rate\nUSD,2026-01-01,0.5\nUSD,2026-02-01,0.6\nUSD,2026-03-01,0.7\n"
MONEY_DEALS = DEALS.replace("value\n", "value,money\n", 1).replace("0\n", "0,USD\n")
LOG = (
    "<log><trace><string key='concept:name' value='d1'/>"
    "<event><string key='concept:name' value='New'/><date key='time:timestamp' value='2026-01-01'/>"
    "<string key='lifecycle:transition' value='start'/></event>"
    "<event><string key='concept:name' value='Won'/><date key='time:timestamp' value='2026-01-02'/>"
    "</event></trace></log>"
)
PIECES = [b'"', b"\n", b"\r", b",", b"\0", b"\xff", b"-", b"9" * 20, b"nan", b"1e400", b"Won", b"d1",
          b"9999-12-31", b"0001-01-01", b"2026-01-11T10:00:00.1234567Z", b"24:00", b"<", b"&amp;",
          b"<!DOCTYPE x>", b"", b"\xe2\x80\xa8", b"\xc3\xa9", b" ", b"0", b"7", b"\n,,,,,,\n",
          b"amount", b"x_size", b"USD"]  # fmt: skip


def mangled(text: str, chance: random.Random) -> bytes:
    """The text with a few pieces put in, taken out or said twice, mostly below its first line."""
    content = text.encode()
    first = content.find(b"\n") + 1 if chance.random() < 0.9 else 0
    for _ in range(chance.choice([0, 0, 1, 2, 4])):
        at = chance.randint(min(first, len(content)), len(content))
        end = min(len(content), at + chance.choice([0, 0, 1, 3, 12]))
        piece = chance.choice([*PIECES, content[at : at + 15] * 2])
        content = content[:at] + piece + content[end:]
    return content


def survives(make: Any) -> None:
    try:
        tables = complete_history(read_source(make), base_currency="EUR")
    except SalesOpsError:
        return
    assert content_digest(tables)
    assert tables.tables["deals"].num_rows
    for reject in tables.rejects.to_pylist():
        assert reject["source"]
        assert reject["reason"]
        assert reject["cure"]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**12))
def test_mangled_files_are_read_or_refused(tmp_path_factory, seed: int) -> None:
    chance = random.Random(seed)
    desk = Desk(tmp_path_factory.mktemp("fuzz"))
    desk.write("feed.csv", mangled(FEED, chance))
    desk.write("rates.csv", mangled(RATES, chance))
    deals = desk.deals(mangled(MONEY_DEALS, chance))
    deals["columns"] = {**deals["columns"], "currency": "money"}
    survives(
        desk.settings(
            {
                "deals": deals,
                "stage_events": desk.events(mangled(EVENTS, chance)),
                "deal_changes": {"path": "feed.csv"},
                "exchange_rates": {"path": "rates.csv"},
            },
            time_zone=chance.choice(["UTC", "Europe/Amsterdam", "America/New_York"]),
        )
    )


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**12))
def test_mangled_logs_are_read_or_refused(tmp_path_factory, seed: int) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "log.xes"
    path.write_bytes(mangled(LOG, random.Random(seed)))
    survives(parse({"source": {"type": "event_log", "path": str(path)}}))
