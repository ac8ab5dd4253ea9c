"""Logs that no one would wish for: named, counted, or mined as well as can be - and survived."""

from __future__ import annotations

import gzip
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from salesops_ml.errors import DataError, SalesOpsError, SchemaError, SourceError
from salesops_ml.mining.discovery import directly_follows, variant_counts
from salesops_ml.mining.log_files import read_log, write_log
from salesops_ml.mining.stages import stage_dwell
from salesops_ml.mining.transitions import COLUMNS, END, START, transitions
from salesops_ml.mining.variants import COLUMNS as VARIANT_COLUMNS
from salesops_ml.mining.variants import variants
from tests.mining.conftest import made_log

CASE, ACTIVITY, TIMESTAMP = "case:concept:name", "concept:name", "time:timestamp"
DAY = datetime(2026, 1, 1)


def log_of(*events: tuple[Any, Any, Any]) -> pd.DataFrame:
    return pd.DataFrame(events, columns=[CASE, ACTIVITY, TIMESTAMP])


@pytest.mark.parametrize("column", [CASE, ACTIVITY, TIMESTAMP])
@pytest.mark.parametrize("form", ["pandas", "Arrow"])
def test_events_without_case_activity_or_time_are_named_and_counted(column: str, form: str) -> None:
    log = made_log(10, 1)
    log[column] = log[column].where([row not in (4, 6) for row in range(len(log))], None)
    table = log if form == "pandas" else pa.Table.from_pandas(log)
    for mine in (transitions, variants, stage_dwell):
        with pytest.raises(DataError, match=rf"row 5: `{column}` is empty \(2 rows\)"):
            mine(table)


def test_events_of_one_moment_keep_the_order_of_their_rows() -> None:
    log = log_of(*(("a", name, DAY) for name in ("Lead", "Offer", "Lead", "Won")))
    assert variants(log)["path"].tolist() == ["Lead → Offer → Lead → Won"]
    steps = transitions(log).query("kind == 'step'")
    assert steps["dwell_p90_days"].tolist() == [0.0, 0.0, 0.0]
    every = made_log(60, 3).assign(**{TIMESTAMP: pd.Timestamp(DAY, tz="UTC")})
    assert {tuple(path) for path in variants(every)["steps"]} == set(variant_counts(every))


@pytest.mark.parametrize("seed", range(4))
def test_clocks_that_run_backwards_are_put_in_the_order_of_time(seed: int) -> None:
    """What is written later may have happened earlier; no time in a stage is negative."""
    log = made_log(25, seed)
    wild = log.sample(frac=1, random_state=seed, ignore_index=True)
    assert (wild[TIMESTAMP].diff().dt.total_seconds() < 0).any()
    found = transitions(wild)
    assert (found["dwell_p50_days"].dropna() >= 0).all()
    ordered = wild.sort_values([CASE, TIMESTAMP], kind="stable", ignore_index=True)
    pairs, _, _ = directly_follows(ordered)
    steps = found[found["kind"] == "step"]
    assert (
        dict(zip(zip(steps["source"], steps["target"], strict=True), steps["count"], strict=True))
        == pairs
    )


def test_a_closing_that_is_dated_before_the_last_step_gives_no_negative_time() -> None:
    log = log_of(("a", "Lead", DAY + timedelta(days=3)), ("a", "Won", DAY), ("a", "Offer", DAY))
    found = transitions(log, won=["Won"], as_of=DAY + timedelta(days=9))
    assert (found["dwell_p50_days"].dropna() >= 0).all()
    assert variants(log, won=["Won"], as_of=DAY + timedelta(days=9))["duration_p50_days"][0] >= 0


@pytest.mark.parametrize("moment", ["1677-09-22", "1970-01-01", "2262-04-11", "9999-12-31"])
def test_far_moments_are_moments(moment: str) -> None:
    log = log_of(
        ("a", "Lead", np.datetime64(moment, "us")), ("a", "Offer", np.datetime64(moment, "us"))
    )
    log[TIMESTAMP] = log[TIMESTAMP].astype("datetime64[us]")
    assert transitions(log)["count"].tolist() == [1, 1, 1]
    wide = log_of(("a", "Lead", DAY), ("a", "Offer", DAY))
    wide[TIMESTAMP] = np.array(["0001-01-01", "9999-12-31"], dtype="datetime64[us]")
    days = transitions(wide).query("kind == 'step'")["dwell_p50_days"].tolist()
    assert days == [3652058.0]


def test_a_log_of_one_event() -> None:
    log = log_of(("a", "Lead", DAY))
    found = transitions(log)
    assert found[["source", "target", "count"]].values.tolist() == [
        ["Lead", END, 1], [START, "Lead", 1],
    ]  # fmt: skip
    assert variants(log)[["path", "count", "duration_p50_days"]].values.tolist() == [
        ["Lead", 1, 0.0]
    ]
    opened = transitions(log, won=["Won"], as_of=DAY)
    assert opened["kind"].tolist() == ["start"]
    assert stage_dwell(log)["visits"].tolist() == [1]


@pytest.mark.parametrize("form", ["pandas", "Arrow", "object"])
def test_an_empty_log(form: str) -> None:
    log = made_log(2, 1).head(0)
    table = {
        "pandas": log,
        "Arrow": pa.Table.from_pandas(log),
        "object": pd.DataFrame({CASE: [], ACTIVITY: [], TIMESTAMP: pd.to_datetime([])}, dtype=None),
    }[form]
    found, paths = transitions(table), variants(table)
    assert (len(found), list(found.columns)) == (0, list(COLUMNS))
    assert (len(paths), list(paths.columns)) == (0, list(VARIANT_COLUMNS))
    assert stage_dwell(table).empty


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    for ending in ("csv", "xes", "parquet", "csv.gz", "xes.gz"):
        path = tmp_path / f"log.{ending}"
        path.write_bytes(b"")
        with pytest.raises(SourceError, match=str(path)):
            read_log(path)
    path = write_log(made_log(1, 1).head(0), tmp_path / "none.csv")
    assert len(transitions(read_log(path))) == 0


@pytest.mark.parametrize("name", ["", " ", "→", "▶", "■", "a" * 5000, "\u202e\u0000", "NaN"])
def test_awkward_names_are_names(name: str) -> None:
    log = log_of(("a", name, DAY), ("a", "Offer", DAY + timedelta(days=1)), (name, name, DAY))
    found = transitions(log)
    assert found.loc[found["kind"] == "step", "source"].tolist() == [name]
    assert found.loc[found["kind"] == "start", "count"].sum() == 2
    assert len(variants(log)) == 2


def test_times_that_are_none_are_named() -> None:
    log = made_log(2, 1)
    for wrong in (range(len(log)), ["soon"] * len(log), [1.5] * len(log)):
        with pytest.raises(SchemaError, match=r"`time:timestamp` of the log holds .*, not times"):
            transitions(log.assign(**{TIMESTAMP: list(wrong)}))


HOSTILE = {
    "billion laughs": b'<!DOCTYPE log [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><log>&b;</log>',
    "external entity": b'<!DOCTYPE log [<!ENTITY x SYSTEM "file:///etc/passwd">]><log>&x;</log>',
    "entity in a plain log": b'<log><trace><event><string key="concept:name" value="&xxe;"/></event>'
    b"</trace></log>",
    "deep nesting": b"<log><trace>" + b"<string>" * 200_000,
    "deep attributes": b"<log><trace><event>" + b'<string key="a" value="b">' * 2_000,
    "endless attribute": b'<log><trace><event><string key="concept:name" value="'
    + b"a" * 12_000_000,
    "huge attribute": b'<log><trace><event><string key="concept:name" value="'
    + b"a" * 12_000_000
    + b'"><int key="x" value="1"/></string></event></trace></log>',
    "wrong encoding": b'<?xml version="1.0" encoding="UTF-8"?><log><trace><event><string '
    b'key="concept:name" value="M\xfcller"/></event></trace></log>',
    "null bytes": b"<log><trace><event>\0</event></trace></log>",
    "endless case": b"<log><trace>" + b'<event><int key="n" value="1"/></event>' * 300_000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("packed", [False, True])
def test_hostile_xml_is_refused_by_name(tmp_path: Path, name: str, packed: bool) -> None:
    path = tmp_path / ("log.xes.gz" if packed else "log.xes")
    path.write_bytes(gzip.compress(HOSTILE[name], 1) if packed else HOSTILE[name])
    with pytest.raises(SalesOpsError, match=r"log\.xes") as caught:
        read_log(path)
    assert len(str(caught.value)) < 1000


def test_a_huge_attribute_in_a_sound_log_is_an_attribute(tmp_path: Path) -> None:
    log = made_log(2, 1).assign(note="a" * 3_000_000)
    assert read_log(write_log(log, tmp_path / "log.xes"))["note"].str.len().unique().tolist() == [
        3_000_000
    ]


def test_a_cut_file_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    whole = gzip.compress(write_log(made_log(4, 2), tmp_path / "log.xes").read_bytes(), mtime=0)
    path = tmp_path / "log.xes.gz"
    for end in range(0, len(whole) - 1, 37):
        path.write_bytes(whole[:end])
        with pytest.raises(SourceError, match=r"log\.xes\.gz"):
            read_log(path)
