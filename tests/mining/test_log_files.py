"""Logs written and read back, by ourselves and by pm4py; and what is wrong with files, named."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.errors import DataError, SchemaError, SourceError, UsageError
from salesops_ml.mining.discovery import load_pm4py
from salesops_ml.mining.event_log import event_log
from salesops_ml.mining.filters import filter_segment, filter_variants
from salesops_ml.mining.log_files import read_log, write_log
from salesops_ml.mining.transitions import transitions
from salesops_ml.warehouse import Warehouse
from tests.mining.conftest import made_log

CASE, ACTIVITY, TIMESTAMP = "case:concept:name", "concept:name", "time:timestamp"
ENDINGS = ["xes", "xes.gz", "csv", "csv.gz", "parquet"]
DAY = datetime(2026, 3, 1, 10, tzinfo=UTC)


def rich_log() -> pd.DataFrame:
    """Every kind of attribute, missing values, awkward texts, times to the microsecond."""
    return pd.DataFrame({
        CASE: ["007", "007", "b & <c>", "007"],
        ACTIVITY: ["Call \"it's\"", "Angebot für Müller", "None", "NA"],
        TIMESTAMP: pd.to_datetime([DAY, DAY + timedelta(microseconds=7), DAY, DAY]),
        "org:resource": ["ann", None, "line\nbreak\ttab", "x"],
        "case:amount": [10.5, 10.5, 7.25, 10.5],
        "case:rank": [1, 1, 2, 1],
        "sent": [True, False, True, True],
        "count": [3, 1, 4, 1],
        "share": [0.1, np.nan, 1e-300, 3.0],
        "due": pd.to_datetime([DAY, None, DAY + timedelta(days=1), DAY]),
    })  # fmt: skip


def grouped(log: pd.DataFrame) -> pd.DataFrame:
    """The rows of a case together, as XES has them."""
    return log.iloc[np.argsort(pd.factorize(log[CASE])[0], kind="stable")].reset_index(drop=True)


def assert_same(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    assert set(found.columns) == set(wanted.columns)
    for name in wanted.columns:
        a, b = found[name], wanted[name]
        if pd.api.types.is_datetime64_any_dtype(b.dtype) or name == "due":
            a, b = (pd.to_datetime(part, utc=True).astype("datetime64[us, UTC]") for part in (a, b))
        assert a.isna().tolist() == b.isna().tolist(), name
        assert a.dropna().tolist() == b.dropna().tolist(), name


@pytest.mark.parametrize("ending", ENDINGS)
def test_we_read_back_what_we_wrote(tmp_path: Path, ending: str) -> None:
    log = rich_log()
    path = write_log(log, tmp_path / f"log.{ending}")
    assert_same(read_log(path), grouped(log) if "xes" in ending else log)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_pm4py_reads_back_what_we_wrote(tmp_path: Path, ending: str) -> None:
    log = rich_log()
    path = write_log(log, tmp_path / f"log.{ending}")
    pm4py = load_pm4py()
    if "xes" in ending:
        assert_same(pm4py.read_xes(str(path), variant="iterparse"), grouped(log))
        return
    read = pd.read_parquet if ending == "parquet" else pd.read_csv
    kinds = {} if ending == "parquet" else {"dtype": {CASE: str}, "keep_default_na": False}
    keys = {"case_id": CASE, "activity_key": ACTIVITY, "timestamp_key": TIMESTAMP}
    frame = pm4py.format_dataframe(read(path, **kinds), **keys)
    assert pm4py.get_variants(frame) == pm4py.get_variants(pm4py.format_dataframe(log, **keys))
    wanted = log.sort_values([CASE, TIMESTAMP], kind="stable", ignore_index=True)
    found = frame.sort_values([CASE, TIMESTAMP], kind="stable", ignore_index=True)
    assert found[ACTIVITY].tolist() == wanted[ACTIVITY].tolist()
    assert (found[TIMESTAMP] == wanted[TIMESTAMP]).all()


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=6)
names = texts.filter(lambda text: text != "")
rows = st.tuples(names, names, st.integers(0, 10**12), st.one_of(st.none(), texts))


@settings(max_examples=30, deadline=None)
@given(st.lists(rows, min_size=1, max_size=8))
@pytest.mark.parametrize("ending", ["xes", "parquet"])
def test_whatever_a_log_holds_is_read_back(tmp_path_factory, ending: str, events: list) -> None:
    log = pd.DataFrame(events, columns=[CASE, ACTIVITY, TIMESTAMP, "note"])
    log[TIMESTAMP] = pd.to_datetime(log[TIMESTAMP], unit="us", utc=True)
    log["note"] = log["note"].astype(object)
    path = write_log(log, tmp_path_factory.mktemp("logs") / f"log.{ending}")
    found = read_log(path)
    if "note" not in found.columns:
        assert log["note"].isna().all()
        found["note"] = None
    assert_same(found, grouped(log) if ending == "xes" else log)


def test_a_damaged_or_unknown_file_is_named(tmp_path: Path) -> None:
    whole = gzip.compress(
        b"case:concept:name,concept:name,time:timestamp\n" + b"a,b,2026-01-01\n" * 99
    )
    for content in (whole[:-12], whole[:40] + b"\0\0\0\0" + whole[44:]):
        path = tmp_path / "log.csv.gz"
        path.write_bytes(content)
        with pytest.raises(SourceError, match=r"log\.csv\.gz: cannot be read as a log"):
            read_log(path)
    with pytest.raises(UsageError, match="its ending is unknown; give"):
        write_log(made_log(1, 1), tmp_path / "log.docx")
    with pytest.raises(UsageError, match="`rejects`: 'ignore' is unknown"):
        read_log(path, rejects="ignore")


LACKING = """case:concept:name,concept:name,time:timestamp
a,Lead,2026-01-01T00:00:00Z
,Lead,2026-01-02
a,,2026-01-03
a,Offer,
a,Offer,soon
b,NA,2026-01-01 12:00:00+02:00
"""


def test_events_that_lack_something_are_named_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(LACKING)
    wanted = (
        r"row 2, column `case:concept:name`: is empty \(1 rows\); fill it, or go on without .*"
        r"`case:concept:name` in 1, `concept:name` in 1, `time:timestamp` in 2"
    )
    with pytest.raises(SourceError, match=wanted):
        read_log(path)
    log = read_log(path, rejects="drop")
    assert log[ACTIVITY].tolist() == ["Lead", "NA"]
    assert log.attrs["rejected"] == {"events": 4, CASE: 1, ACTIVITY: 1, TIMESTAMP: 2}
    assert len(transitions(log)) == 4


def test_events_of_xes_that_lack_something_are_too(tmp_path: Path) -> None:
    path = tmp_path / "log.xes"
    path.write_text(
        '<log><trace><event><string key="concept:name" value="Lead"/></event><event>'
        '<date key="time:timestamp" value="2026-01-01T00:00:00Z"/></event></trace><trace>'
        '<string key="concept:name" value="c"/><event><string key="concept:name" value="Lead"/>'
        '<date key="time:timestamp" value="2026-01-01T00:00:00Z"/></event></trace></log>'
    )
    with pytest.raises(SourceError, match=r"row 1, column `case:concept:name`: is empty \(2 rows"):
        read_log(path)
    log = read_log(path, rejects="drop")
    assert log[CASE].tolist() == ["c"]
    assert log.attrs["rejected"] == {"events": 2, CASE: 2, ACTIVITY: 1, TIMESTAMP: 1}


def test_a_log_without_faults_says_nothing(tmp_path: Path) -> None:
    path = write_log(made_log(3, 1), tmp_path / "log.csv")
    assert read_log(path, rejects="drop").attrs == {}


def test_time_zones_may_differ_from_row_to_row(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    moments = ["2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00", "2026-03-28T18:30:00-07:00",
               "2026-03-29 01:30:00.5", "2026-03-29"]  # fmt: skip
    lines = "".join(f"a,S,{moment}\n" for moment in moments)
    path.write_text("case:concept:name,concept:name,time:timestamp\n" + lines)
    found = read_log(path)[TIMESTAMP]
    assert str(found.dt.tz) == "UTC"
    wanted = ["00:30:00", "01:30:00", "01:30:00", "01:30:00.500000", "00:00:00"]
    assert found.dt.strftime("%d %T.%f").tolist() == [
        f"29 {text if '.' in text else text + '.000000'}" for text in wanted
    ]


def test_a_file_may_name_its_columns_as_it_likes(tmp_path: Path) -> None:
    log = made_log(5, 2)
    keys = {"case_id_key": "deal", "activity_key": "stage", "timestamp_key": "day"}
    path = tmp_path / "log.csv"
    log.set_axis(list(keys.values()), axis=1).to_csv(path, index=False)
    pd.testing.assert_frame_equal(transitions(read_log(path, **keys)), transitions(log))
    with pytest.raises(SchemaError, match="no column `case:concept:name`; it has: deal, stage"):
        read_log(path)
    log.assign(deal="x").to_csv(path, index=False)
    with pytest.raises(SchemaError, match="has both `deal` and `case:concept:name`"):
        read_log(path, case_id_key="deal")


def test_numbers_as_case_ids_are_texts_without_a_point(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    log = made_log(2, 1).assign(**{CASE: 7.0})
    log.to_parquet(path)
    assert set(read_log(path)[CASE]) == {"7"}


def test_xes_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    log, path = made_log(3, 1), tmp_path / "log.xes"
    with pytest.raises(
        DataError, match=r"column `note`: 'a\\x00b' holds '\\x00', which XML cannot"
    ):
        write_log(log.assign(note="a\0b"), path)
    changing = log.assign(**{"case:rank": range(len(log))})
    with pytest.raises(DataError, match=r"case 'c000\d': `case:rank` differs between its events"):
        write_log(changing, path)
    with pytest.raises(DataError, match=r"row 1: `case:concept:name` is empty"):
        write_log(log.assign(**{CASE: None}), path)
    with pytest.raises(SchemaError, match="no column `concept:name`"):
        write_log(log.drop(columns=ACTIVITY), path)
    assert not list(tmp_path.iterdir())


def test_what_stood_there_before_stays_where_writing_fails(tmp_path: Path) -> None:
    path = write_log(made_log(3, 1), tmp_path / "log.xes")
    before = path.read_bytes()
    with pytest.raises(DataError):
        write_log(made_log(3, 1).assign(note="\0"), path)
    assert path.read_bytes() == before


def test_other_zones_are_written_as_the_moment_that_they_are(tmp_path: Path) -> None:
    log = made_log(3, 1)
    east = log.assign(**{TIMESTAMP: log[TIMESTAMP].dt.tz_convert(timezone(timedelta(hours=5)))})
    for ending in ENDINGS:
        found = read_log(write_log(east, tmp_path / f"log.{ending}"))
        assert (found[TIMESTAMP] == log[TIMESTAMP]).all()


def test_a_real_log_comes_back_whole(tmp_path: Path, helpdesk: pd.DataFrame) -> None:
    found = read_log(write_log(helpdesk, tmp_path / "log.xes.gz"))
    assert_same(found, helpdesk)


def test_numbers_are_no_times(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("case:concept:name,concept:name,time:timestamp\na,Lead,20260101\n")
    with pytest.raises(SourceError, match=r"row 1, column `time:timestamp`: 20260101 is no time"):
        read_log(path)


def test_moments_of_mixed_zones_in_a_column_of_objects(tmp_path: Path) -> None:
    east, west = timezone(timedelta(hours=5)), timezone(timedelta(hours=-8))
    moments = [DAY.astimezone(east), DAY.astimezone(west), DAY.replace(tzinfo=None)]
    log = pd.DataFrame({CASE: "a", ACTIVITY: ["A", "B", "C"], TIMESTAMP: moments}, dtype=object)
    path = tmp_path / "log.csv"
    log.to_csv(path, index=False)
    assert read_log(path)[TIMESTAMP].tolist() == [DAY] * 3


def test_the_log_of_the_warehouse_goes_out_and_comes_back(
    tmp_path: Path, company: Warehouse
) -> None:
    log = event_log(company, as_of=datetime(2026, 1, 20))
    steps = transitions(log).query("kind != 'end'")
    for ending in ENDINGS:
        back = read_log(write_log(log, tmp_path / f"log.{ending}"))
        assert set(back["case:outcome"]) == {"open", "won", "lost"}
        told = {"won": ["Won"], "lost": ["Lost"], "as_of": datetime(2026, 1, 20)}
        found = transitions(back, amount_key="case:amount", **told).query("kind != 'end'")
        pd.testing.assert_frame_equal(found.reset_index(drop=True), steps.reset_index(drop=True))


def test_the_log_of_the_warehouse_is_filtered_too(company: Warehouse) -> None:
    log = event_log(company, as_of=datetime(2026, 1, 20))
    assert set(filter_segment(log, "case:outcome", ["open"])[CASE]) == {"d"}
    assert set(filter_variants(log, [["Lead", "Lost"]])[CASE]) == {"b"}
