"""`salesops backtest`: the record of past quarters, forecast again week by week, as files and a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from salesops_ml.app.overrides import known_words
from salesops_ml.app.progress import Progress
from salesops_ml.app.report import page_environment
from salesops_ml.app.report_overrides import override_words, value_table
from salesops_ml.app.report_parts import Table, picture
from salesops_ml.app.revenue import past_scorer, usable_origins
from salesops_ml.errors import DataError
from salesops_ml.figures.numbers import percent
from salesops_ml.figures.record_by_week import OTHERS, OURS, draw_record_by_week
from salesops_ml.figures.style import DARK, ROLES
from salesops_ml.figures.svg import svg
from salesops_ml.figures.words import method_name
from salesops_ml.forecasts.backtest import backtest_revenue
from salesops_ml.forecasts.override_value import override_value, value_added
from salesops_ml.forecasts.skill import parts_by_week, record_by_week
from salesops_ml.forecasts.time_machine import weekly_origins
from salesops_ml.settings import Settings
from salesops_ml.snapshots import build_dataset, is_dated, learn_spec
from salesops_ml.warehouse import Warehouse

TOLD_WEEKS = (1, 4, 8, 12)


@dataclass(frozen=True)
class WeeklyRecord:
    """Past quarters forecast again from every week.

    Attributes:
        company: whose.
        replayed: rows of `backtest_revenue`.
        weeks: `record_by_week` of them.
        parts: `parts_by_week` of them.
        overrides: `override_value` of what people submitted.
        currency: of all money.
    """

    company: str
    replayed: pd.DataFrame
    weeks: pd.DataFrame
    parts: pd.DataFrame
    overrides: pd.DataFrame
    currency: str

    @property
    def quarters(self) -> int:
        """How many quarters are judged."""
        quarterly = self.replayed[self.replayed["grain"] == "quarter"]
        return int(quarterly.loc[quarterly["horizon"] == 0, "period"].nunique())

    def write(self, folder: Path) -> Path:
        """Write the frames, `record.svg` and `record.html` into `folder`; the page's path."""
        folder.mkdir(parents=True, exist_ok=True)
        self.replayed.to_parquet(folder / "forecast_backtest.parquet", index=False)
        self.weeks.to_parquet(folder / "forecast_record.parquet", index=False)
        self.parts.to_parquet(folder / "forecast_parts.parquet", index=False)
        self.overrides.to_parquet(folder / "override_value.parquet", index=False)
        title = f"The forecast of the quarter at {self.company}, week by week"
        drawn = svg(draw_record_by_week(self.weeks, self.parts), name="record", title=title)
        (folder / "record.svg").write_text(drawn + "\n", encoding="utf-8")
        page = folder / "record.html"
        page.write_text(self._page(title), encoding="utf-8")
        return page

    def _page(self, title: str) -> str:
        shown = picture(
            "record",
            title,
            lambda width: draw_record_by_week(self.weeks, self.parts, width=width),
            caption="Lines: how far off the quarter's forecast was, on average, by the week in which it"
            " was made. Bars at the dots: one standard error.",
        )
        template = page_environment().get_template("record.html.jinja")
        return template.render(
            title=title, company=self.company, quarters=self.quarters, light=ROLES, dark=DARK,
            picture=shown, skills=skill_table(self.weeks),
            levels=level_table(self.weeks, self._levels()),
            overrides=override_words(self.overrides, self.currency),
            authors=self._worth("author", "Who"), nodes=self._worth("node", "Part of the company"),
        )  # fmt: skip

    def _levels(self) -> list[str]:
        """Names of the levels, the company first."""
        depths = self.replayed.groupby("level")["node"].first().str.count("/")
        return [str(level) for level in depths.sort_values().index]

    def _worth(self, column: str, head: str) -> Table | None:
        return value_table(value_added(self.overrides, by=[column]), column, head, self.currency)


def replay_weeks(
    warehouse: Warehouse,
    settings: Settings,
    *,
    as_of: datetime,
    quarters: int,
    every: str = "week",
) -> WeeklyRecord:
    """Forecast every week of the last `quarters` again, as if each were today.

    Which features there are is learned on the first of those weeks, and models on what was known when
    they speak; no run needs to have been made.

    Raises:
        DataError: the record is too short to have forecast any of those weeks.
    """
    asked = weekly_origins(as_of=as_of, settings=settings, quarters=quarters, every=every)
    origins = usable_origins(warehouse, asked) if is_dated(warehouse) else []
    if not origins:
        raise DataError(
            f"no week of the last {quarters} quarters before {as_of:%Y-%m-%d} can be replayed: nothing"
            " had been won and lost by then; ask for fewer quarters, or wait for more history"
        )
    Progress(()).say(f"replaying {len(origins):,} weeks")
    spec = learn_spec(warehouse, settings, as_of=origins[0])
    data = build_dataset(warehouse, settings, spec, as_of=as_of)
    scorer = past_scorer(warehouse, data, spec, settings, origins=origins)
    told = backtest_revenue(warehouse, scorer, origins=origins, settings=settings, as_of=as_of)
    said = known_words(warehouse, as_of=as_of)
    return WeeklyRecord(
        settings.company.name,
        told,
        record_by_week(told, seed=settings.seed),
        parts_by_week(told),
        override_value(told, said),
        settings.company.base_currency,
    )


def skill_table(weeks: pd.DataFrame) -> Table | None:
    """What this forecast saves of each other method's miss, at the company, in a few weeks."""
    rows = weeks[weeks["level"] == "company"] if len(weeks) else weeks
    told = [week for week in TOLD_WEEKS if (rows["week"] == week).any()] if len(rows) else []
    if not told:
        return None
    by: dict[Any, dict[Any, Any]] = rows.set_index(["method", "week"]).to_dict(orient="index")
    methods = [name for name in OTHERS if (rows["method"] == name).any()]
    cells = [
        [method_name(method), *(_skill(by.get((method, week))) for week in told)]
        for method in methods
    ]
    heads = ["Miss saved beside", *(f"Week {week}" for week in told)]
    return Table(heads, cells, numeric=range(1, len(heads)))


def level_table(weeks: pd.DataFrame, levels: Sequence[str]) -> Table | None:
    """This forecast at every level: miss and coverage over all weeks, each week counting alike."""
    ours = weeks[weeks["method"] == OURS] if len(weeks) else weeks
    if ours.empty:
        return None
    means = ours.groupby("level")[["wape", "bias", "coverage_80", "coverage_95"]].mean()
    means = means.loc[[level for level in levels if level in means.index]]
    pairs = ours.groupby("level")["pairs"].sum()
    rows = [
        [str(level).capitalize(), f"{pairs[level]:,}", *(percent(value) for value in figures)]
        for level, figures in zip(means.index, means.to_numpy(dtype=float), strict=True)
    ]
    heads = ["Level", "Forecasts", "Mean miss", "Leaning", "80% range held", "95% range held"]
    return Table(heads, rows, numeric=range(1, len(heads)))


def _skill(row: dict[Any, Any] | None) -> str:
    if row is None or pd.isna(row["skill"]):
        return "–"
    told = percent(float(row["skill"]))
    if pd.isna(row["skill_low"]):
        return told
    low, high = (percent(float(row[name])) for name in ("skill_low", "skill_high"))
    return f"{told} ({low}\u00a0to\u00a0{high})"
