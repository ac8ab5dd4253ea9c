"""The revenue model: everything learned from the past on one day, ready to meet a scored pipeline.

It is a plain value: numbers, names and dates, saved as JSON and nothing else, so that a registry can
keep it and load it without running anybody's code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.errors import ModelError, UsageError
from salesops_ml.forecasts.batch import Floats, Ints
from salesops_ml.forecasts.closing_amounts import ClosingAmounts, learn_closing_amounts
from salesops_ml.forecasts.combine import PARTS, QUANTILES, Weights
from salesops_ml.forecasts.hierarchy import ROOT, Tree
from salesops_ml.forecasts.history import History
from salesops_ml.forecasts.lag_to_win import LateRates, late_rates
from salesops_ml.forecasts.monthly import monthly_series, next_months
from salesops_ml.forecasts.new_deals import (
    NewDealRates,
    NewRevenue,
    learn_new_deals,
    simulate_new_deals,
)
from salesops_ml.forecasts.outlook import Outlook, outlook
from salesops_ml.forecasts.pipeline_roll_up import OpenRevenue, ScoredPipeline, roll_up
from salesops_ml.forecasts.projection import COLUMNS, Closed, Projection
from salesops_ml.forecasts.renewals import (
    DueRenewals,
    due_renewals,
    learn_renewals,
    read_contracts,
    with_renewals,
)
from salesops_ml.forecasts.saved_model import parts_of, plain
from salesops_ml.forecasts.trees import COLUMN, FurtherTree, learn_further_tree
from salesops_ml.settings import Company, Settings

VERSION = 1
FILE = "revenue_model.json"
_MONTH_DAYS = 30.4375


@dataclass(frozen=True)
class RevenueModel:
    """What was learned at `as_of`; `project` meets it with the open deals.

    Attributes:
        as_of: the day it was learned on.
        months: months forecast after that of `as_of`.
        company: whose calendar.
        leaves: leaf paths of the tree.
        closed: amounts in the books, by leaf.
        amounts: from amounts now to amounts at close.
        new_deals: rates of deals to come.
        late: rates of deals older than the deal model looks ahead.
        series_mean, series_deviation: company totals of whole months by their own past alone,
            and their standard deviation; (months,).
        trailing: won amount of each leaf over the last twelve months.
        weights: lessons of the backtest.
        samples, seed: of the simulation.
        renewals: contracts that end in the months ahead and have no deal yet; None where renewals are
            not followed.
        trees: other ways to cut the same revenue.
        table: the company's rows of the last forecast made, for `forecast`.
    """

    as_of: datetime
    months: int
    company: Company
    leaves: tuple[str, ...]
    closed: Closed
    amounts: ClosingAmounts
    new_deals: NewDealRates
    late: LateRates
    series_mean: Floats
    series_deviation: Floats
    trailing: Floats
    weights: Weights
    samples: int
    seed: int
    renewals: DueRenewals | None = None
    trees: tuple[FurtherTree, ...] = ()
    table: tuple[dict[str, Any], ...] = ()

    @property
    def tree(self) -> Tree:
        """The nodes of the forecast."""
        return Tree.over(self.leaves)

    @property
    def view(self) -> Outlook:
        """The periods of the forecast."""
        return outlook(self.as_of, months=self.months, company=self.company)

    def project(self, pipeline: ScoredPipeline) -> Projection:
        """The bottom-up forecast with `pipeline` as the open deals.

        Raises:
            ModelError: the pipeline was scored on another day, or is not placed in the tree.
        """
        self._check(pipeline)
        luck = self._luck()
        opened = self._opened(pipeline, self.tree, "node", luck)
        return self._projected(self.tree, self.closed, opened, self._new(luck))

    def project_trees(self, pipeline: ScoredPipeline) -> dict[str, Projection]:
        """The same futures over each of `trees`, by name; what `project` says of the company holds.

        Raises:
            ModelError: the pipeline was scored on another day, or is not placed in a tree.
        """
        self._check(pipeline)
        done = {}
        for turn, one in enumerate(self.trees):
            luck, tree = self._luck(), Tree.over(one.leaves)
            opened = self._opened(pipeline, tree, COLUMN + one.name, luck)
            new = self._new(luck)
            size = new.mean.sum() / max(self.new_deals.expected_wins().sum(), 1e-12)
            rng = np.random.default_rng([self.seed, turn])
            shared = replace(
                new,
                mean=one.mean(new.mean),
                samples=one.samples(new.samples, new.mean, float(size), rng),
            )
            done[one.name] = self._projected(tree, one.closed, opened, shared, one.name)
        return done

    def _luck(self) -> _Luck:
        """The chance of the simulation, the same whenever it is asked for."""
        rng = np.random.default_rng([self.seed, int(self.as_of.replace(tzinfo=UTC).timestamp())])
        return _Luck(rng, rng.standard_normal(self.samples))

    def _opened(
        self, pipeline: ScoredPipeline, tree: Tree, column: str, luck: _Luck
    ) -> OpenRevenue:
        return roll_up(
            pipeline,
            self.amounts,
            tree.places(pipeline.deals[column]),
            leaf_count=len(tree.leaves),
            ends=self.view.ends,
            rhythm=self.new_deals.rhythm,
            late=self.late,
            factor=luck.factor,
            shock=self.weights.shock,
            rng=luck.rng,
        )

    def _new(self, luck: _Luck) -> NewRevenue:
        shared: dict[str, Any] = {
            "factor": luck.factor, "shock": self.weights.shock, "rng": luck.rng,
        }  # fmt: skip
        new = simulate_new_deals(self.new_deals, **shared)
        return new if self.renewals is None else with_renewals(new, self.renewals, **shared)

    def _projected(
        self, tree: Tree, closed: Closed, opened: OpenRevenue, new: NewRevenue, name: str = ""
    ) -> Projection:
        return Projection(
            tree=tree,
            view=self.view,
            closed=closed,
            open_mean=opened.mean,
            new_mean=new.mean,
            samples=opened.samples + new.samples,
            variance=opened.variance + new.variance,
            loading=opened.loading + new.loading,
            series_future=self.series_future(),
            name=name,
        )

    def series_future(self) -> Floats:
        """What the series model leaves for the time ahead of each month, (months,)."""
        ahead = np.ones(len(self.series_mean))
        ahead[0] = self.view.ahead
        return self.series_mean * ahead

    def with_table(self, forecast: pd.DataFrame) -> RevenueModel:
        """The model with the company's rows of a forecast that `project` made."""
        rows = forecast[forecast["node"] == ROOT].copy()
        rows["period_start"] = rows["period_start"].astype(str)
        records: list[Any] = rows.to_dict("records")
        return replace(self, table=tuple(records))

    def forecast(self, months_ahead: int | None = None) -> pd.DataFrame:
        """The company's months from that of `as_of` on, as last projected.

        Args:
            months_ahead: how many months after that of `as_of`; all by default.

        Raises:
            ModelError: the model has not met a pipeline yet.
            UsageError: further ahead than was forecast, or a negative number.
        """
        if not self.table:
            raise ModelError("the revenue model holds no forecast; call `with_table` before saving")
        frame = pd.DataFrame(list(self.table), columns=[*COLUMNS])
        frame["period_start"] = pd.to_datetime(frame["period_start"])
        monthly = frame[frame["grain"] == "month"].reset_index(drop=True)
        if months_ahead is None:
            return monthly
        if not 0 <= months_ahead < len(monthly):
            raise UsageError(
                f"`months_ahead` is {months_ahead}; this model tells 0 to {len(monthly) - 1}"
            )
        return monthly.head(months_ahead + 1)

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The company's month for each row of `frame`, as a served model answers.

        Args:
            frame: column `months_ahead`, whole numbers from 0 (the month of `as_of`).

        Returns:
            `months_ahead`, `period`, `mean`, the quantiles and the parts, in the order asked.

        Raises:
            UsageError: the column is missing, or a month was not forecast.
        """
        if "months_ahead" not in frame.columns:
            raise UsageError(
                "the revenue model is asked by a column `months_ahead`, such as 0, 1, 2"
            )
        asked = frame["months_ahead"].to_numpy(dtype=np.float64)
        told = self.forecast()
        wrong = ~np.isin(asked, np.arange(len(told)))
        if wrong.any():
            raise UsageError(
                f"`months_ahead` holds {asked[wrong][0]:g}; this model tells whole months 0 to"
                f" {len(told) - 1}"
            )
        rows = told.iloc[asked.astype(np.int64)].reset_index(drop=True)
        rows.insert(0, "months_ahead", asked)
        return rows[["months_ahead", "period", "mean", *QUANTILES, *PARTS]]

    def save(self, folder: Path | str) -> Path:
        """Write `revenue_model.json` into `folder`."""
        path = Path(folder) / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        values = {"version": VERSION} | plain(self)
        path.write_text(json.dumps(values, sort_keys=True, indent=1), encoding="utf-8")
        return path

    @classmethod
    def load(cls, folder: Path | str) -> RevenueModel:
        """The model that `save` wrote into `folder`.

        Raises:
            ModelError: there is none, it is damaged, or another version wrote it.
        """
        path = Path(folder) / FILE
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(f"{path}: cannot be read as a revenue model: {error}") from error
        version = values.pop("version", None) if isinstance(values, dict) else None
        if version != VERSION:
            raise ModelError(f"{path}: version {version}; this package reads {VERSION}, fit again")
        try:
            return cls(**parts_of(values))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{path}: is damaged at {error}; fit and save again") from error

    def _check(self, pipeline: ScoredPipeline) -> None:
        if pipeline.as_of != self.as_of:
            raise ModelError(
                f"the pipeline was scored as of {pipeline.as_of}, the revenue model learned as of"
                f" {self.as_of}; use one day for both"
            )
        for column in ("node", *(COLUMN + one.name for one in self.trees)):
            if column not in pipeline.deals.columns:
                raise ModelError(
                    f"the pipeline's deals lack `{column}`; `forecast_revenue` places them, or add leaf"
                    " paths"
                )


@dataclass(frozen=True)
class _Luck:
    """Where chance comes from, and the factor that all deals of a sample share."""

    rng: np.random.Generator
    factor: Floats


def learn_revenue_model(
    history: History, settings: Settings, weights: Weights | None = None
) -> RevenueModel:
    """Learn from the deals as known at `history.as_of`.

    Args:
        history: what was known.
        settings: calendar, hierarchy, window of learning.
        weights: lessons of the backtest; without them the series model weighs nothing.
    """
    asked = settings.forecast
    view = outlook(history.as_of, months=asked.months, company=settings.company)
    since = _months_before(history.as_of, asked.learn_months)
    deals = history.deals
    leaves = tuple(sorted(set(deals.loc[_alive(deals, since), "node"]))) or (ROOT,)
    deals = deals[deals["node"].isin(leaves)].reset_index(drop=True)
    places = Tree.over(leaves).places(deals["node"])
    contracts = read_contracts(history)
    fresh = ~deals["deal_id"].isin(contracts["renewal"]).to_numpy()
    is_won = (deals["status"] == "won").to_numpy()
    won, won_places = deals[is_won], places[is_won]
    worth = _money(won)
    ever = history.won
    totals = monthly_series(ever["closed_at"], _money(ever), view)
    mean, deviation = next_months(totals, len(view.months), season=asked.season_months)
    return RevenueModel(
        as_of=history.as_of,
        months=asked.months,
        company=settings.company,
        leaves=leaves,
        closed=Closed(
            _since(won, won_places, worth, view.month_opened, len(leaves)),
            _since(won, won_places, worth, view.quarter_opened, len(leaves)),
        ),
        amounts=learn_closing_amounts(won, history.amounts, since=since),
        new_deals=learn_new_deals(
            deals[fresh],
            places[fresh],
            view,
            leaf_count=len(leaves),
            created=history.deals.loc[
                ~history.deals["deal_id"].isin(contracts["renewal"]), "created_at"
            ].dropna(),
            inactive=_places_of(history.organisation.inactive(deals), leaves),
            since=since,
            season=asked.season_months,
        ),
        late=late_rates(
            deals[deals["created_at"].notna()],
            since=since,
            as_of=history.as_of,
            from_age=settings.models.horizon_days,
        ),
        series_mean=np.maximum(mean, 0.0),
        series_deviation=deviation,
        trailing=_since(won, won_places, worth, _months_before(history.as_of, 12), len(leaves)),
        weights=weights or Weights(shock=asked.shock),
        samples=asked.samples,
        seed=settings.seed,
        renewals=_due(history, contracts, leaves, view),
        trees=tuple(
            learn_further_tree(
                name, levels, asked.hierarchy, deals, leaves, won[_recent(won, history.as_of)],
                (pd.Timestamp(view.month_opened), pd.Timestamp(view.quarter_opened)),
            )
            for name, levels in asked.trees.items()
        ),
    )  # fmt: skip


def _recent(won: pd.DataFrame, as_of: datetime) -> pd.Series[bool]:
    """Deals won in the last twelve months."""
    return won["closed_at"] >= _months_before(as_of, 12)


def _due(
    history: History, contracts: pd.DataFrame, leaves: tuple[str, ...], view: Outlook
) -> DueRenewals | None:
    """The renewals ahead, where they are followed."""
    if history.terms is None:
        return None
    return due_renewals(contracts, learn_renewals(contracts, history), Tree.over(leaves), view)


def _alive(deals: pd.DataFrame, since: datetime) -> pd.Series[bool]:
    """Deals that are open, or began or ended within the window."""
    recent = (deals["created_at"] >= since) | (deals["closed_at"] >= since)
    return recent | (deals["status"] == "open")


def _since(won: pd.DataFrame, places: Ints, worth: Floats, start: datetime, count: int) -> Floats:
    inside = (won["closed_at"] >= start).to_numpy()
    sums = np.bincount(places[inside], weights=worth[inside], minlength=count)
    return np.asarray(sums, dtype=np.float64)


def _money(won: pd.DataFrame) -> Floats:
    """Amounts; a won deal without one brought nothing that anybody knows of."""
    return np.asarray(won["amount"].fillna(0.0), dtype=np.float64)


def _places_of(paths: frozenset[str], leaves: tuple[str, ...]) -> Ints:
    return np.array([row for row, leaf in enumerate(leaves) if leaf in paths], dtype=np.int64)


def _months_before(moment: datetime, months: int) -> datetime:
    return moment - pd.Timedelta(days=months * _MONTH_DAYS).to_pytimedelta()
