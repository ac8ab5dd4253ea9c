"""The same forecasts where the panel is a Spark DataFrame.

Nearly all of the work of `best` is the fitting of one model to one series, thousands of times; that is
what Spark's executors do, through statsforecast's own backend (fugue), series by series. The panel's
values are collected once, for what needs them all at a time: weights and interval widths are learned
from errors of the whole panel, and the shared trees see every series. A million series of 60 periods
are half a gigabyte there. Since nothing is learned from a part of the panel, the forecasts are those of
the same rows in pandas, up to the single precision (seven digits) in which statsforecast's backend
hands members' forecasts over. `fast` has no such models and runs where the values were collected.

The executors need this package installed; a panel is collected in the session's time zone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import pandas as pd

from salesops_ml.errors import UsageError
from salesops_ml.forecasts.batch import Floats
from salesops_ml.forecasts.series_members import Fitter, engine_of, long_frame, stacked

Asked = Callable[[pd.DataFrame, Fitter], pd.DataFrame]


def is_spark(panel: object) -> bool:
    """Whether the panel is a Spark DataFrame, told without importing Spark.

    Example:
        >>> is_spark(pd.DataFrame())
        False
    """
    return type(panel).__module__.split(".")[0] == "pyspark"


def on_spark(panel: Any, asked: Asked) -> Any:
    """What `asked` gives for the panel's rows, its models fitted on Spark, as a Spark DataFrame.

    Args:
        panel: a Spark DataFrame `unique_id`, `ds`, `y` and perhaps regressors; `ds` a date, a moment or
            a whole number.
        asked: the forecast, given the rows in pandas and how to fit the members.

    Returns:
        A Spark DataFrame with the columns that `asked` gives; `ds` of the panel's type.

    Raises:
        UsageError: Spark is not installed as this needs it.
    """
    _need_spark()
    session = panel.sparkSession
    told = asked(_collected(panel), spark_fitter(session))
    frame = session.createDataFrame(told)
    return frame.withColumn("ds", frame["ds"].cast(panel.schema["ds"].dataType))


def spark_fitter(session: Any) -> Fitter:
    """Fits members on the executors of `session`, through statsforecast's own backend."""

    def fit(values: Sequence[Floats], horizon: int, season: int, names: Sequence[str]) -> Floats:
        rows = session.createDataFrame(long_frame(values))
        told = engine_of(season, names).forecast(df=rows, h=horizon).toPandas()
        return stacked(told, len(values), horizon, names)

    return fit


def _collected(panel: Any) -> pd.DataFrame:
    frame: pd.DataFrame = panel.toPandas()
    if "ds" in frame and frame["ds"].dtype == object:
        frame["ds"] = pd.to_datetime(frame["ds"])
    return frame


def _need_spark() -> None:
    try:
        for name in ("pyspark", "fugue_spark"):
            import_module(name)
    except ImportError as error:
        raise UsageError(
            "`panel` is a Spark DataFrame, and Spark is not installed here;"
            " install the extra: pip install 'salesops-ml[spark]'"
        ) from error
