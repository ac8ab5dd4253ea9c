"""`salesops submit`: a person's word on a period, stored, and told beside what the model says."""

from __future__ import annotations

from datetime import datetime
from getpass import getuser
from typing import Any

import pandas as pd

from salesops_ml.app.report_files import RunFiles
from salesops_ml.app.run_folder import LATEST, latest_run
from salesops_ml.errors import UsageError
from salesops_ml.forecasts.history import read_history
from salesops_ml.forecasts.override_value import UNNAMED
from salesops_ml.forecasts.submissions import (
    TABLE,
    Submission,
    book_path,
    checked,
    read_submissions,
    submit,
)
from salesops_ml.settings import Settings
from salesops_ml.warehouse import Warehouse

_KEY = ["node", "period"]


def submit_forecast(
    warehouse: Warehouse,
    settings: Settings,
    *,
    as_of: datetime,
    submitted_at: datetime,
    **said: Any,
) -> dict[str, Any]:
    """Check and store a submission; what was stored and what the latest run's forecast says of it.

    Args:
        as_of: the day whose deals say which nodes there are, and whose calendar which periods run.
        submitted_at: when it is said.
        said: node, period, amount, category, reason and author, as `submissions.checked` takes them.

    Raises:
        UsageError: it is no submission that can be scored (`submissions.checked`).
        DataError: it cannot be stored.
    """
    history = read_history(warehouse, as_of=as_of, settings=settings)
    word = checked(history, settings.company, submitted_at=submitted_at, **said)
    submit(settings.warehouse, word)
    return {**vars(word), "amount": float(word.amount), "model": _model_says(settings, word)}


def this_user() -> str:
    """Who runs this process.

    Raises:
        UsageError: the machine does not know.
    """
    try:
        return getuser()
    except (KeyError, OSError) as error:
        raise UsageError("nobody knows who submits here; say it with `--author`") from error


def words_of(told: dict[str, Any], settings: Settings) -> str:
    """The answer of `submit_forecast` for people."""
    currency = settings.company.base_currency
    lines = [
        f"stored: {told['author']} says {told['amount']:,.0f} {currency} ({told['category']}) for"
        f" {told['node']} in {told['period']}: {told['reason']}"
    ]
    model = told["model"]
    if model is not None:
        lines.append(
            f"the latest run says {model['mean']:,.0f} {currency}, with 80 % between"
            f" {model['p10']:,.0f} and {model['p90']:,.0f}"
        )
    lines.append(f"kept in {book_path(settings.warehouse)}; scored when the period is over")
    return "\n".join(lines)


def standing_words(files: RunFiles) -> pd.DataFrame:
    """The last word of each person, category, node and period that the run's forecast speaks of.

    From the submissions of the run (`submissions.parquet`), and the book beside the warehouse, where
    more may have been written since.

    Returns:
        node, period, submitted_at, author, amount, category, reason, and mean, p10, p90 of the model;
        by node and period, latest first.
    """
    forecast = files.forecast
    if forecast.empty:
        return pd.DataFrame()
    said = [files.frame("submissions"), read_submissions(files.settings.warehouse).to_pandas()]
    said = [one for one in said if len(one)]
    if not said:
        return pd.DataFrame()
    rows = pd.concat(said, ignore_index=True)
    rows = rows.assign(
        author=rows["author"].fillna(UNNAMED), amount=rows["amount"].astype("float64")
    )
    rows = rows.sort_values("submitted_at", kind="stable")
    rows = rows.drop_duplicates([*_KEY, "author", "category"], keep="last")
    rows = rows.merge(forecast[[*_KEY, "mean", "p10", "p90"]], on=_KEY)
    done: pd.DataFrame = rows.sort_values(
        [*_KEY, "submitted_at"], ascending=[True, True, False], kind="stable", ignore_index=True
    )
    return done


def known_words(warehouse: Warehouse, *, as_of: datetime) -> pd.DataFrame:
    """Every submission recorded by `as_of`, for the run folder."""
    said = warehouse.table(TABLE)
    seen = said.filter(said.recorded_at <= as_of, said.submitted_at <= as_of)
    frame: pd.DataFrame = seen.order_by("submitted_at", *_KEY).to_pyarrow().to_pandas()
    return frame.assign(amount=frame["amount"].astype("float64"))


def _model_says(settings: Settings, word: Submission) -> dict[str, float] | None:
    if not (settings.runs / LATEST).exists():
        return None
    run = latest_run(settings.runs)
    if not run.has("forecast.parquet"):
        return None
    rows = run.read_frame("forecast")
    rows = rows[(rows["node"] == word.node) & (rows["period"] == word.period)]
    if rows.empty:
        return None
    return {name: float(rows.iloc[0][name]) for name in ("mean", "p10", "p90")}
