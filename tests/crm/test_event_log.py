"""Event logs as deals, stages, activities and quotes; every event is used once or counted."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.crm import read_source
from salesops_ml.errors import ConfigError, SourceError
from salesops_ml.schema import Attribute, CanonicalTables
from salesops_ml.settings import parse

LOG = """case,what,phase,who,when,amount,kind
d1,S_New,complete,ann,2026-01-01T08:00:00,100,new
d1,W_Call,schedule,,2026-01-01T08:01:00,100,new
d1,W_Call,start,ann,2026-01-01T09:00:00,100,new
d1,W_Call,complete,bob,2026-01-01T09:30:00,100,new
d1,Q_SENT,complete,ann,2026-01-02T09:00:00,100,new
d1,S_Offer,complete,bob,2026-01-02T10:00:00,100,new
d1,S_Won,complete,bob,2026-01-03T10:00:00,100,new
d1,S_Signed,complete,bob,2026-01-03T10:00:00,100,new
d2,S_New,complete,ann,2026-01-04T08:00:00,50.5,old
d2,W_Call,complete,ann,2026-01-04T09:00:00,50.5,old
d2,W_Call,start,ann,2026-01-04T10:00:00,50.5,old
d2,X_Noise,complete,ann,2026-01-04T11:00:00,50.5,old
d2,S_Lost,complete,ann,2026-01-05T08:00:00,50.5,old
d3,S_New,complete,cas,2026-01-06T08:00:00,,old
"""
SOURCE: dict[str, Any] = {
    "type": "event_log",
    "case": {"id": "case", "amount": "amount"},
    "stages": {"activity": "what", "timestamp": "when", "lifecycle": "phase", "rep": "who",
               "keep": "S_*"},
    "activities": {"keep": "W_*"},
    "quotes": {"keep": "Q_*"},
    "won": ["S_Won", "S_Signed"],
    "lost": ["S_Lost"],
}  # fmt: skip


def read(folder: Path, text: str = LOG, **change: Any) -> CanonicalTables:
    path = folder / "log.csv"
    path.write_text(text)
    more = {key: change.pop(key) for key in ("process", "split") if key in change}
    return read_source(parse({"source": {**SOURCE, "path": str(path), **change}, **more}))


def by_deal(tables: CanonicalTables) -> dict[str, dict[str, Any]]:
    return {row["deal_id"]: row for row in tables.tables["deals"].to_pylist()}


def accounted(counts: dict[str, int]) -> int:
    parts = [value for key, value in counts.items() if key.startswith("events: ")]
    return sum(parts) - counts["events: read"]


def test_a_case_begins_with_its_first_event_and_ends_with_its_first_outcome(
    tmp_path: Path,
) -> None:
    deals = by_deal(read(tmp_path))
    assert deals["d1"] == {
        "deal_id": "d1", "rep_id": "bob", "pipeline": "sales", "currency": "EUR",
        "created_at": datetime(2026, 1, 1, 8), "closed_at": datetime(2026, 1, 3, 10),
        "status": "won", "amount": Decimal("100.00"), "amount_base": Decimal("100.00"),
    }  # fmt: skip
    assert (deals["d2"]["status"], deals["d2"]["closed_at"]) == ("lost", datetime(2026, 1, 5, 8))
    assert (deals["d3"]["status"], deals["d3"]["closed_at"]) == ("open", None)


def test_a_deal_that_was_lost_and_then_won_is_won_when_it_was_won(tmp_path: Path) -> None:
    text = LOG + "d2,S_Won,complete,ann,2026-01-09T08:00:00,50.5,old\n"
    deal = by_deal(read(tmp_path, text))["d2"]
    assert (deal["status"], deal["closed_at"]) == ("won", datetime(2026, 1, 9, 8))


def test_every_event_is_used_once_or_counted_under_a_reason(tmp_path: Path) -> None:
    counts = read(tmp_path).counts
    assert {key: value for key, value in counts.items() if key.startswith("events: ")} == {
        "events: read": 14,
        "events: rejected": 0,
        "events: used as stage events": 7,
        "events: used as activities": 2,
        "events: used as the start of an activity": 1,
        "events: used as quotes": 1,
        "events: left, no pattern matches": 1,
        "events: left, activity schedule": 1,
        "events: left, activity begun but not ended": 1,
    }


def test_an_activity_is_recorded_when_it_ends_and_took_place_when_it_began(tmp_path: Path) -> None:
    calls = {row["deal_id"]: row for row in read(tmp_path).tables["activities"].to_pylist()}
    assert calls["d1"]["at"] == datetime(2026, 1, 1, 9)
    assert calls["d1"]["recorded_at"] == datetime(2026, 1, 1, 9, 30)
    assert (calls["d1"]["duration_minutes"], calls["d1"]["kind"]) == (30, "Call")
    assert calls["d1"]["rep_id"] == "bob"
    assert (calls["d2"]["at"], calls["d2"]["duration_minutes"]) == (datetime(2026, 1, 4, 9), None)


def test_quotes_take_their_status_from_their_name(tmp_path: Path) -> None:
    (quote,) = read(tmp_path).tables["quotes"].to_pylist()
    assert (quote["deal_id"], quote["status"]) == ("d1", "sent")
    assert quote["sent_at"] == datetime(2026, 1, 2, 9)


def test_stages_after_the_close_are_kept_in_the_order_of_the_file(tmp_path: Path) -> None:
    events = read(tmp_path).tables["stage_events"].to_pandas()
    of_d1 = events[events["deal_id"] == "d1"].sort_values(["entered_at", "seq"])
    assert of_d1["stage"].tolist() == ["S_New", "S_Offer", "S_Won", "S_Signed"]


def test_stages_follow_the_agreed_order_or_the_one_that_cases_take(tmp_path: Path) -> None:
    found = read(tmp_path).tables["stages"].to_pylist()
    assert [row["stage"] for row in found] == ["S_New", "S_Offer", "S_Won", "S_Signed", "S_Lost"]
    assert [row["is_won"] for row in found] == [False, False, True, True, False]
    assert [row["is_closed"] for row in found] == [False, False, True, True, True]
    process = {"stages": ["S_Offer", "S_New"], "expected_days": {"S_Offer": 3}}
    agreed = read(tmp_path, process=process).tables["stages"].to_pylist()
    assert [row["stage"] for row in agreed][:2] == ["S_Offer", "S_New"]
    assert agreed[0]["expected_days"] == 3


def test_the_amount_is_known_from_the_start_and_the_owner_from_who_moves_the_deal(
    tmp_path: Path,
) -> None:
    changes = read(tmp_path).tables["deal_changes"].to_pandas()
    amounts = changes[changes["field"] == "amount"].set_index("deal_id")["new_value"].to_dict()
    assert amounts == {"d1": "100.00", "d2": "50.50"}
    owners = changes[(changes["field"] == "rep_id") & (changes["deal_id"] == "d1")]
    told = owners.sort_values("changed_at")[["old_value", "new_value"]].values.tolist()
    assert told == [[None, "ann"], ["ann", "bob"]]


def test_case_attributes_and_creation_come_by_their_plain_names(tmp_path: Path) -> None:
    text = LOG.replace("amount,kind", "amount,case:kind").replace("when,", "when,")
    case = {"id": "case", "attributes": {"sort": {"column": "kind", "known": "at_creation"}}}
    read_in = read(tmp_path, text, case=case)
    assert read_in.attributes == (Attribute("sort", "string", "at_creation"),)
    assert by_deal(read_in)["d1"]["x_sort"] == "new"
    assert "amount" not in read_in.tables["deals"].column_names


def test_a_creation_time_of_the_case_wins_over_the_first_event(tmp_path: Path) -> None:
    text = "\n".join(
        line + (",opened" if index == 0 else ",2025-12-31")
        for index, line in enumerate(LOG.splitlines())
    )
    deals = by_deal(read(tmp_path, text, case={"id": "case", "created_at": "opened"}))
    assert {deal["created_at"] for deal in deals.values()} == {datetime(2025, 12, 31)}


def test_csv_and_parquet_of_the_same_log_agree(tmp_path: Path) -> None:
    by_csv = read(tmp_path)
    frame = pd.read_csv(tmp_path / "log.csv", parse_dates=["when"])
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "log.parquet")
    other = read_source(parse({"source": {**SOURCE, "path": str(tmp_path / "log.parquet")}}))
    assert other.counts == by_csv.counts
    assert by_deal(other) == by_deal(by_csv)


def test_the_pattern_with_most_letters_decides_and_outcomes_are_always_stages(
    tmp_path: Path,
) -> None:
    read_in = read(tmp_path, stages={**SOURCE["stages"], "keep": "*"}, won=["Q_SENT"], lost=[])
    stages = Counter(read_in.tables["stage_events"]["stage"].to_pylist())
    assert "W_Call" not in stages
    assert stages["Q_SENT"] == 1
    assert stages["X_Noise"] == 1
    assert by_deal(read_in)["d1"]["status"] == "won"


def test_without_a_life_cycle_every_event_counts(tmp_path: Path) -> None:
    text = "\n".join(",".join(line.split(",")[:2] + line.split(",")[4:]) for line in LOG.split())
    stages = {"activity": "what", "timestamp": "when", "keep": "S_*"}
    counts = read(tmp_path, text, stages=stages).counts
    assert counts["events: used as activities"] == 5
    assert accounted(counts) == 14


def test_resumed_and_suspended_work_is_one_activity_for_each_stretch(tmp_path: Path) -> None:
    text = LOG + (
        "d3,W_Check,start,cas,2026-01-07T08:00:00,,old\n"
        "d3,W_Check,suspend,cas,2026-01-07T08:10:00,,old\n"
        "d3,W_Check,resume,cas,2026-01-08T08:00:00,,old\n"
        "d3,W_Check,complete,cas,2026-01-08T08:05:00,,old\n"
    )
    read_in = read(tmp_path, text)
    checks = [row for row in read_in.tables["activities"].to_pylist() if row["kind"] == "Check"]
    assert [row["duration_minutes"] for row in checks] == [10, 5]
    assert [row["outcome"] for row in checks] == ["suspend", "complete"]
    assert accounted(read_in.counts) == 18


def test_events_that_cannot_be_used_are_rejects_with_their_line(tmp_path: Path) -> None:
    text = LOG + ",S_New,complete,ann,2026-01-01,,\nd9,,complete,ann,2026-01-01,,\n"
    text += "d3,S_Offer,complete,cas,soon,,\nd3,S_New\n"
    read_in = read(tmp_path, text)
    told = [(row["row"], row["column"], row["value"]) for row in read_in.rejects.to_pylist()]
    assert sorted(told) == [
        (16, "case", None), (17, "what", None), (18, "when", "soon"), (19, "", "d3,S_New")
    ]  # fmt: skip
    assert read_in.counts["events: rejected"] == 4
    assert accounted(read_in.counts) == 18
    assert set(by_deal(read_in)) == {"d1", "d2", "d3"}


def test_a_bad_case_value_rejects_the_deal_and_all_that_hangs_on_it(tmp_path: Path) -> None:
    read_in = read(tmp_path, LOG.replace("50.5", "lots"))
    assert set(by_deal(read_in)) == {"d1", "d3"}
    first = read_in.rejects.to_pylist()[0]
    assert (first["row"], first["column"], first["value"]) == (10, "amount", "lots")
    assert "d2" not in read_in.tables["stage_events"]["deal_id"].to_pylist()


def test_unknown_stages_are_rejected_where_the_process_is_agreed(tmp_path: Path) -> None:
    read_in = read(tmp_path, process={"stages": ["S_New"]})
    (reject,) = read_in.rejects.to_pylist()
    assert (reject["row"], reject["value"]) == (7, "S_Offer")
    assert "process.stages" in reject["cure"]


XES = """<log>
<trace><string key="concept:name" value="d1"/>
<event><string key="concept:name" value="S_New"/><date key="time:timestamp" value="2026-01-01"/></event>
<event><string key="concept:name" value="S_New"/><date key="time:timestamp" value="soon"/></event>
<event><string key="concept:name" value="S_Won"/><date key="time:timestamp" value="2026-01-02"/></event>
</trace>
<trace><string key="concept:name" value="d2"/>
<event><string key="concept:name" value="S_New"/><date key="time:timestamp" value="2026-01-03"/></event>
<event><string key="concept:name" value="S_New"/><date key="time:timestamp" value="2026-01-04"/></event>
</trace>
<trace><string key="concept:name" value="d1"/>
<event><string key="concept:name" value="S_New"/><date key="time:timestamp" value="2026-01-05"/></event>
</trace>
</log>
"""


def test_rejects_of_an_xes_log_name_the_line_of_the_event(tmp_path: Path) -> None:
    path = tmp_path / "log.xes"
    path.write_text(XES)
    source = {"type": "event_log", "path": str(path), "won": ["S_Won"]}
    read_in = read_source(parse({"source": source}))
    told = [(row["row"], row["column"], row["value"]) for row in read_in.rejects.to_pylist()]
    assert told == [(4, "time:timestamp", "soon"), (12, "case:concept:name", "d1")]
    assert accounted(read_in.counts) == 6


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no such case column": ({"case": {"id": "deal"}}, SourceError, "no column.*`deal`"),
    "no such activity column": (
        {"stages": {**SOURCE["stages"], "activity": "step"}}, SourceError, "no column.*`step`",
    ),
    "no such rep column": (
        {"stages": {**SOURCE["stages"], "rep": "owner"}}, SourceError, "no column.*`owner`",
    ),
    "case is the activity": ({"case": {"id": "what"}}, ConfigError, "both mean column `what`"),
    "won and lost overlap": ({"lost": ["S_Won"]}, ConfigError, "both name `S_Won`"),
    "won is not in the log": ({"won": ["S_Wonn"]}, ConfigError, "S_Wonn; its events are: Q_SENT"),
    "no such amount": (
        {"case": {"id": "case", "amount": "price"}}, SourceError, "no column.*`price`",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_mapping_is_named_with_its_cure(tmp_path: Path, name: str) -> None:
    change, kind, message = WRONG[name]
    with pytest.raises(kind, match=message):
        read(tmp_path, **change)


BAD_FILES = {
    "header only": ("case,what,when\n", "no events"),
    "empty": ("", "is empty"),
    "no times at all": (LOG.replace("2026", "soon"), "14 of 14 rows cannot be used"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_is_no_log_stops_the_load(tmp_path: Path, name: str) -> None:
    text, message = BAD_FILES[name]
    with pytest.raises(SourceError, match=message):
        read(tmp_path, text)


event = st.tuples(
    st.sampled_from("abc"), st.sampled_from(["S_New", "S_Won", "W_Call", "W_Mail", "Q_SENT", "X"]),
    st.sampled_from(["schedule", "start", "complete", "suspend", "resume", "withdraw", ""]),
    st.integers(0, 50),
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.lists(event, min_size=1, max_size=30))
def test_whatever_happens_every_event_is_accounted_for(tmp_path_factory, log) -> None:
    folder = tmp_path_factory.mktemp("log")
    text = "case,what,phase,who,when,amount\n" + "".join(
        f"{case},{what},{phase},ann,2026-01-01T00:{minute:02d}:00,1\n"
        for case, what, phase, minute in log
    )
    won = ["S_Won"] if any(row[1] == "S_Won" for row in log) else []
    read_in = read(folder, text, won=won, lost=[])
    counts, tables = read_in.counts, read_in.tables
    assert accounted(counts) == counts["events: read"] == len(log)
    for name, key in (("stage_events", "stage events"), ("activities", "activities"),
                      ("quotes", "quotes")):  # fmt: skip
        used = tables[name].num_rows if name in tables else 0
        assert used == counts[f"events: used as {key}"]
    assert tables["deals"].num_rows == len({row[0] for row in log})
    durations = (
        tables["activities"]["duration_minutes"].to_pylist() if "activities" in tables else []
    )
    assert all(minutes is None or minutes >= 0 for minutes in durations)


@settings(max_examples=15, deadline=None)
@given(st.lists(event, min_size=2, max_size=20), st.integers(0, 50))
def test_activities_of_a_log_cut_at_a_moment_are_those_recorded_by_then(
    tmp_path_factory, log, border
) -> None:
    """What the log becomes is a function of the past: more events later change no earlier row."""
    folder = tmp_path_factory.mktemp("log")

    def activities(rows: list[tuple[str, str, str, int]]) -> set[tuple[Any, ...]]:
        text = "case,what,phase,who,when,amount\n" + "".join(
            f"{case},{what},{phase},ann,2026-01-01T00:{minute:02d}:00,1\n"
            for case, what, phase, minute in sorted(rows, key=lambda row: row[3])
        )
        tables = read(folder, text, won=[], lost=[]).tables
        found = tables["activities"].to_pylist() if "activities" in tables else []
        return {
            (row["activity_id"], row["at"], row["duration_minutes"], row["recorded_at"])
            for row in found
        }

    past = [row for row in log if row[3] <= border]
    if past:
        moment = datetime(2026, 1, 1, 0, border)
        assert activities(past) == {row for row in activities(log) if row[3] <= moment}
