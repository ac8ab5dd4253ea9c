"""A log is the same log, whatever table it comes in and however its columns are kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.errors import DataError, SchemaError, UsageError
from salesops_ml.mining.bottlenecks import bottlenecks
from salesops_ml.mining.discovery import load_pm4py
from salesops_ml.mining.stages import stage_dwell
from salesops_ml.mining.steps import as_steps
from salesops_ml.mining.text_codes import from_pandas, text_codes
from salesops_ml.mining.transitions import transitions
from salesops_ml.mining.variants import variants
from tests.mining.conftest import made_log

CASE, ACTIVITY, TIMESTAMP = "case:concept:name", "concept:name", "time:timestamp"
KEYS = {"case_id_key": "deal", "activity_key": "stage", "timestamp_key": "day"}


def arrow(log: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(log, preserve_index=False)


def chunked(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table.slice(0, 7), table.slice(7, 1), table.slice(8)])


def as_texts(table: pa.Table, kind: pa.DataType) -> pa.Table:
    for turn, name in enumerate(table.column_names):
        if pa.types.is_string(table[name].type):
            table = table.set_column(turn, name, table[name].cast(kind))
    return table


def encoded(table: pa.Table) -> pa.Table:
    for turn, name in enumerate((CASE, ACTIVITY)):
        table = table.set_column(turn, name, table[name].dictionary_encode())
    return chunked(table)


def streamed(log: pd.DataFrame) -> Any:
    """Something that knows nothing but to stream Arrow, as polars and DuckDB do."""

    class Stream:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return chunked(arrow(log)).__arrow_c_stream__(requested_schema)

    return Stream()


def reused(log: pd.DataFrame) -> pd.DataFrame:
    """One Python object per text, as a reader makes them that keeps what repeats."""
    texts = {
        name: pd.Series(log[name]).map({text: text for text in log[name]})
        for name in (CASE, ACTIVITY)
    }
    return log.assign(**texts)


def fresh(log: pd.DataFrame) -> pd.DataFrame:
    """A Python object per row, no two the same though their texts be equal."""
    return log.assign(
        **{name: ["".join([*text]) for text in log[name]] for name in (CASE, ACTIVITY)}
    )


KINDS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas, texts reused": reused,
    "pandas, texts fresh": fresh,
    "pandas string": lambda log: log.astype({CASE: "string", ACTIVITY: "string"}),
    "pandas Arrow": lambda log: log.convert_dtypes(dtype_backend="pyarrow"),
    "pandas categories": lambda log: log.astype({CASE: "category", ACTIVITY: "category"}),
    "pandas categories that do not occur": lambda log: log.astype({
        ACTIVITY: pd.CategoricalDtype(["Z", *sorted(set(log[ACTIVITY]), reverse=True), "A"])
    }),
    "pandas nanoseconds": lambda log: log.astype({TIMESTAMP: "datetime64[ns, UTC]"}),
    "pandas seconds": lambda log: log.astype({TIMESTAMP: "datetime64[s, UTC]"}),
    "pandas naive": lambda log: log.assign(**{TIMESTAMP: log[TIMESTAMP].dt.tz_localize(None)}),
    "pandas in Tokyo": lambda log: log.assign(
        **{TIMESTAMP: log[TIMESTAMP].dt.tz_convert("Asia/Tokyo")}
    ),
    "pandas, another index": lambda log: log.set_axis(range(len(log), 0, -1), axis=0),
    "pm4py": lambda log: load_pm4py().format_dataframe(
        log.copy(), case_id=CASE, activity_key=ACTIVITY, timestamp_key=TIMESTAMP
    ),
    "Arrow": arrow,
    "Arrow chunks": lambda log: chunked(arrow(log)),
    "Arrow large texts": lambda log: as_texts(arrow(log), pa.large_string()),
    "Arrow text views": lambda log: as_texts(arrow(log), pa.string_view()),
    "Arrow dictionaries": lambda log: encoded(arrow(log)),
    "Arrow stream": streamed,
    "Ibis": ibis.memtable,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_table_gives_the_same_answer(kind: str) -> None:
    log = made_log(30, 5)
    other = KINDS[kind](log)
    pd.testing.assert_frame_equal(transitions(other), transitions(log))
    pd.testing.assert_frame_equal(variants(other), variants(log))


@pytest.mark.parametrize("kind", ["pandas Arrow", "Arrow dictionaries", "Ibis", "pandas in Tokyo"])
def test_stages_and_bottlenecks_too(kind: str) -> None:
    log = made_log(60, 5)
    log["case:worth"] = log[CASE].str[1:].astype(float) + 1
    told = {"won": ["S0"], "lost": ["S1"], "as_of": datetime(2026, 1, 20)}
    ours = as_steps(log, amount_key="case:worth", **told)
    other = as_steps(KINDS[kind](log), amount_key="case:worth", **told)
    pd.testing.assert_frame_equal(stage_dwell(other), stage_dwell(ours))
    found = bottlenecks(ours, bootstrap=20)
    assert found["cost_per_month"].notna().any()
    pd.testing.assert_frame_equal(bottlenecks(other, bootstrap=20), found)


def test_files_are_read_piece_by_piece(tmp_path: Path) -> None:
    log = made_log(300, 5)
    for part, rows in enumerate((log.iloc[:500], log.iloc[500:])):
        rows.to_parquet(tmp_path / f"part-{part}.parquet", row_group_size=100)
    data = ds.dataset(tmp_path)
    pd.testing.assert_frame_equal(transitions(data), transitions(log))
    pd.testing.assert_frame_equal(variants(data), variants(log))
    told = {"won": ["S0"], "lost": ["S1"], "as_of": datetime(2026, 1, 20)}
    pd.testing.assert_frame_equal(transitions(data, **told), transitions(log, **told))
    lazy = ibis.read_parquet(tmp_path / "*.parquet")
    pd.testing.assert_frame_equal(transitions(lazy), transitions(log))


def test_columns_of_other_names_are_named_as_pm4py_names_them() -> None:
    log = made_log(20, 6)
    other = log.set_axis(list(KEYS.values()), axis=1)
    pd.testing.assert_frame_equal(transitions(other, **KEYS), transitions(log))
    pd.testing.assert_frame_equal(variants(arrow(other), **KEYS), variants(log))
    with pytest.raises(
        SchemaError, match="no column `case:concept:name`; it has: deal, stage, day"
    ):
        transitions(other)
    with pytest.raises(SchemaError, match="no column `deal`"):
        transitions(log, **KEYS)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_amounts_come_from_a_column_and_the_last_one_known_counts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    log = made_log(12, seed)
    log["case:worth"] = np.where(rng.random(len(log)) < 0.3, np.nan, rng.integers(1, 99, len(log)))
    mixed = log.sample(frac=1, random_state=seed).sort_values(TIMESTAMP, kind="stable")
    last = {}
    for case, worth in zip(mixed[CASE], mixed["case:worth"], strict=True):
        if worth == worth:
            last[case] = worth
    found = variants(mixed, amount_key="case:worth")
    assert found["amount"].sum() == pytest.approx(sum(last.values()))
    starts = transitions(mixed, amount_key="case:worth").query("kind == 'start'")
    assert starts["amount"].sum() == pytest.approx(sum(last.values()))
    with pytest.raises(SchemaError, match="no column `case:price`"):
        variants(log, amount_key="case:price")


def test_an_amount_after_the_day_is_not_seen() -> None:
    day = datetime(2026, 1, 1)
    log = pd.DataFrame({CASE: ["a", "a"], ACTIVITY: ["Lead", "Offer"], "worth": [10.0, 99.0],
                        TIMESTAMP: [day, day + timedelta(days=5)]})  # fmt: skip
    steps = as_steps(log, as_of=day + timedelta(days=1), amount_key="worth")
    assert steps.amount.tolist() == [10.0]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["", "a", "b", "ä", "z" * 40, "\U0001f600"]), max_size=30),
    st.booleans(),
)
def test_codes_are_places_among_the_sorted_texts(texts: list[str], new: bool) -> None:
    objects = ["".join([*text]) for text in texts] if new else texts
    column = from_pandas(pd.Series(objects, dtype=object))
    code, known = text_codes(column if texts else pa.chunked_array([], pa.string()), "stage")
    assert known.tolist() == sorted(set(texts))
    assert [known[one] for one in code.tolist()] == texts


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT])
@pytest.mark.parametrize("repeated", [1, 50])
def test_what_is_missing_is_found_in_any_clothes(missing: object, repeated: int) -> None:
    column = pd.Series(["a", "b", "c", missing, "a"] * repeated, dtype=object)
    with pytest.raises(DataError, match=rf"row 4: `stage` is empty \({repeated} rows\)"):
        text_codes(from_pandas(column), "stage")


def test_a_dictionary_may_hold_a_text_twice_or_nothing() -> None:
    twice = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), pa.array(["b", "a", "b"]))
    code, known = text_codes(pa.chunked_array([twice]), "stage")
    assert (code.tolist(), known.tolist()) == ([1, 0, 1], ["a", "b"])
    null = pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["b", None]))
    with pytest.raises(DataError, match=r"row 2: `stage` is empty \(1 rows\)"):
        text_codes(pa.chunked_array([null]), "stage")


def test_numbers_may_name_cases_and_activities() -> None:
    log = made_log(12, 3)
    number = log[CASE].str[1:].astype(int)
    found = transitions(log.assign(**{CASE: number, ACTIVITY: log[ACTIVITY].str[1:].astype(int)}))
    wanted = transitions(log.assign(**{ACTIVITY: log[ACTIVITY].str[1:]}))
    pd.testing.assert_frame_equal(found, wanted)
    mixed = log.assign(**{CASE: number.astype(object).where(number % 2 == 0, number.astype(str))})
    assert len(as_steps(mixed).case_ids) == 12


def test_a_column_that_stands_there_twice_is_named() -> None:
    log = made_log(3, 1)
    with pytest.raises(UsageError, match="has the column `concept:name` more than once"):
        transitions(pd.concat([log, log[[ACTIVITY]]], axis=1))
