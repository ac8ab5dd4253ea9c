"""The same call on Spark: the same numbers, the panel's types kept, its errors named."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from salesops_ml.errors import DataError, UsageError
from salesops_ml.forecasts import forecast_series
from tests.needs import missing, program

NUMBERS = ["mean", "lo_80", "hi_80", "lo_95", "hi_95"]


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    """A session on two threads of this machine, in the time zone of no one in particular."""
    program("java")
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        missing("`pyspark` is not installed; the extra `spark` brings it")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        session = (
            SparkSession.builder.master("local[2]")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.shuffle.partitions", "2")
            .config("spark.sql.session.timeZone", "America/New_York")
            .getOrCreate()
        )
        session.sparkContext.setLogLevel("ERROR")
        yield session
        session.stop()


def panel() -> pd.DataFrame:
    """Ordinary quarters, a young series, an intermittent one and one that ended early."""
    rng = np.random.default_rng(3)
    told = {
        "a": 200 + 20 * np.sin(np.arange(32) * np.pi / 2) + rng.normal(0, 5, size=32),
        "ended": 50 + rng.normal(0, 4, size=24),
        "rare": np.where(rng.random(32) < 0.6, 0.0, 5.0),
        "young": 10 + rng.random(8),
    }
    quarters = pd.date_range("2018-01-01", periods=32, freq="QS")
    return pd.concat(
        pd.DataFrame({"unique_id": name, "ds": quarters[: len(y)], "y": y})
        for name, y in told.items()
    )


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["best", "fast"])
def test_a_spark_panel_gives_the_rows_and_numbers_of_the_same_panel_in_pandas(spark, mode):
    asked = {"horizon": 3, "season_length": 4, "freq": "QS", "mode": mode}
    here = forecast_series(panel(), **asked)
    told = forecast_series(spark.createDataFrame(panel().sample(frac=1.0, random_state=1)), **asked)
    assert type(told).__module__.startswith("pyspark.")
    assert told.columns == list(here.columns)
    there = told.toPandas().sort_values(["unique_id", "ds"]).reset_index(drop=True)
    assert there[["unique_id", "ds"]].equals(
        here[["unique_id", "ds"]].astype({"ds": there.ds.dtype})
    )
    assert there[NUMBERS].to_numpy() == pytest.approx(here[NUMBERS].to_numpy(), rel=1e-6)


@pytest.mark.slow
def test_dates_regressors_and_bad_rows_of_a_spark_panel(spark):
    rows = panel().query("unique_id in ('a', 'ended')")
    asked = {"horizon": 2, "season_length": 4, "freq": "QS", "mode": "fast"}
    days = rows.assign(ds=rows.ds.dt.date)
    told = forecast_series(spark.createDataFrame(days), calendar=("working_days",), **asked)
    assert dict(told.dtypes)["ds"] == "date"
    here = forecast_series(rows, calendar=("working_days",), **asked)
    assert told.toPandas()[NUMBERS].to_numpy() == pytest.approx(here[NUMBERS].to_numpy(), rel=1e-9)
    twice = spark.createDataFrame(pd.concat([rows, rows.tail(1)]))
    with pytest.raises(DataError, match=r"`ended`.*stands twice"):
        forecast_series(twice, **asked)
    with pytest.raises(DataError, match="lacks column `y`"):
        forecast_series(spark.createDataFrame(rows.drop(columns="y")), **asked)


def test_a_spark_panel_where_spark_is_not_installed_names_the_extra(monkeypatch):
    kind = type("DataFrame", (), {"__module__": "pyspark.sql.classic.dataframe"})
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(UsageError, match=r"salesops-ml\[spark\]"):
        forecast_series(kind(), horizon=2, season_length=12, freq="MS")


def test_what_is_no_frame_is_named():
    with pytest.raises(UsageError, match="`panel` is a list; give a DataFrame"):
        forecast_series([1.0, 2.0], horizon=2, season_length=12, freq="MS")
