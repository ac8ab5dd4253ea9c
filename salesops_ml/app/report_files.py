"""What the report reads: the files of a run, of which any may be missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

import pandas as pd
import pyarrow as pa
import yaml

from salesops_ml.app.run_folder import RunFolder
from salesops_ml.periods import Period, parse_moment, to_local
from salesops_ml.settings import Settings, parse


@dataclass(frozen=True)
class RunFiles:
    """A run's files, read when they are asked for; what is not there is empty."""

    folder: RunFolder

    def frame(self, name: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The frame `<name>.parquet`, or some of its columns; an empty one where it is not there."""
        if not self.folder.has(f"{name}.parquet"):
            return pd.DataFrame()
        return self.folder.read_frame(name, columns)

    def values(self, name: str) -> dict[str, Any]:
        """The values of `<name>.json`; none where there is no such file."""
        if not self.folder.has(f"{name}.json"):
            return {}
        found = self.folder.read_json(name)
        return found if isinstance(found, dict) else {}

    def text(self, name: str) -> str:
        """A text file, or an empty text."""
        if not self.folder.has(name):
            return ""
        return (self.folder.path / name).read_text(encoding="utf-8")

    @cached_property
    def settings(self) -> Settings:
        """The run's settings."""
        return parse(yaml.safe_load(self.text("config.yaml")) or {}, origin="config.yaml")

    @property
    def currency(self) -> str:
        """Of all sums of money."""
        return self.settings.company.base_currency

    @cached_property
    def forecast(self) -> pd.DataFrame:
        """forecast.parquet in the order of periods."""
        found = self.frame("forecast")
        return found if found.empty else found.sort_values(["node", "grain", "period_start"])

    @cached_property
    def scores(self) -> pd.DataFrame:
        """scores.parquet."""
        return self.frame("scores")

    @cached_property
    def evaluation(self) -> dict[str, Any]:
        """evaluation.json."""
        return self.values("evaluation")

    @cached_property
    def stage_places(self) -> dict[str, int]:
        """The turn of each stage in the process, from stages.parquet."""
        found = self.frame("stages")
        if not {"stage", "position"} <= set(found.columns):
            return {}
        return {str(k): int(v) for k, v in zip(found["stage"], found["position"], strict=True)}

    @cached_property
    def dataset(self) -> pd.DataFrame:
        """The columns of dataset.parquet that tell which time it covers."""
        asked = ("deal_id", "as_of", "days_observed", "created_at", "split", "outcome")
        return self.frame("dataset", asked)

    @cached_property
    def as_of(self) -> datetime | None:
        """The moment that the run speaks of, naive UTC; None where no file tells."""
        if len(self.scores):
            return _moment(self.scores["as_of"].max())
        if self.settings.as_of is not None:
            return parse_moment(self.settings.as_of)
        data = self.dataset
        if {"as_of", "days_observed"} <= set(data.columns) and len(data):
            ends = data["as_of"] + pd.to_timedelta(data["days_observed"], unit="D")
            return _moment(ends.max())
        return None

    @cached_property
    def today(self) -> date | None:
        """The last day of which something is known, in the company's time zone."""
        if self.as_of is None:
            return None
        last = pa.chunked_array([pa.array([self.as_of - timedelta(microseconds=1)])])
        local: datetime = to_local(last, self.settings.company.time_zone)[0].as_py()
        return local.date()

    def period_now(self, grain: Any) -> Period | None:
        """The fiscal period of `today`."""
        if self.today is None:
            return None
        return self.settings.company.calendar.period_of(self.today, grain)

    def ending(self, grain: Any) -> str | None:
        """The label of the period of `today` where it ends within a day: it is as good as over."""
        period = self.period_now(grain)
        if period is None or self.as_of is None:
            return None
        end = period.bounds(self.settings.company.time_zone)[1]
        return period.label if end - self.as_of < timedelta(days=1) else None


def _moment(value: Any) -> datetime:
    moment: datetime = pd.Timestamp(value).floor("us").to_pydatetime()
    return moment
