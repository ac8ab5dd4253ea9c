"""What one could know at best: the true chances of a deal at any moment, from its full state.

The truth is kept beside the data, never in it. Convention of time: a move and a switch of engagement
are decided each day from the state in the morning, and happen at an hour of their own; the chances
at `as_of` condition on everything that happened up to and including `as_of`, and on nothing that
happened later that day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from salesops_ml.errors import DataError, UsageError
from salesops_ml.synthetic import columns
from salesops_ml.synthetic.clock import Clock, Days
from salesops_ml.synthetic.draws import Floats
from salesops_ml.synthetic.facts import Facts
from salesops_ml.synthetic.hazards import DealLaws, Hazards
from salesops_ml.synthetic.parameters import WorldParameters
from salesops_ml.synthetic.paths import QUOTES, Paths, path_table
from salesops_ml.synthetic.propagation import Chances, Starts, chances

Truth = Mapping[str, pa.Table] | Path | str
_LIFE = 1 << 32
"""More seconds than any record has: one number orders (deal, second)."""


@dataclass(frozen=True)
class TrueCurves:
    """True cumulative incidences, (rows, days) at `days` = 1, 2, .. after as_of; linear between."""

    days: npt.NDArray[np.int64]
    cif_won: Floats
    cif_lost: Floats


def truth_tables(facts: Facts, paths: Paths) -> dict[str, pa.Table]:
    """The tables that `true_probabilities` reads: `deals`, `state_path` and `parameters`."""
    return {
        "deals": _deal_truth(facts),
        "state_path": path_table(facts, paths),
        "parameters": pa.table({"name": ["world"], "json": [facts.world.to_json()]}),
    }


def _deal_truth(facts: Facts) -> pa.Table:
    """Per deal: its own log-effects, what they come from, and how it would have ended."""
    deals, reps, run = facts.deals, facts.reps, facts.run
    ended = np.where(run.closed < 0, 0, np.where(run.won, 1, 2))
    closed = facts.clock.dates(np.maximum(run.closed, 0))
    return pa.table(
        {
            "deal_id": facts.deal_ids,
            "created_day": pa.array(deals.created),
            **{name: pa.array(values) for name, values in facts.laws.columns().items()},
            "deep_discount": pa.array(deals.deep),
            "quality": pa.array(deals.quality),
            "rep_id": facts.rep_ids.take(pa.array(deals.rep)),
            "rep_skill": pa.array(reps.skill[deals.rep]),
            "ramp": pa.array(deals.ramp),
            "load": pa.array(deals.load),
            "size_z": pa.array(deals.size),
            "amount_z": pa.array(deals.amount_z * deals.amount_known),
            "eventual_outcome": columns.words(("open", "won", "lost"), ended),
            "eventual_close": columns.dates(closed, run.closed < 0),
        }
    )


def true_probabilities(
    truth: Truth, rows: pd.DataFrame, *, horizon_days: int, ever: bool = True
) -> pd.DataFrame:
    """The true chances of each row's deal as of its moment, given its full state.

    Args:
        truth: `CanonicalTables.truth`, or the folder of Parquet files that holds it.
        rows: columns `deal_id` and `as_of` (naive UTC timestamps), any index.
        horizon_days: days after as_of that `p_win` and `p_lost` look ahead.
        ever: whether to compute `p_win_ever`, which takes several times as long.

    Returns:
        `p_win`, `p_lost` and, if asked for, `p_win_ever`, on the index of `rows`. A deal that is
        closed at as_of has chances of 0 and 1.

    Raises:
        DataError: a deal is unknown, or as_of lies before its creation or after the record.
        UsageError: `horizon_days` is not at least 1.

    Example:
        >>> from salesops_ml.synthetic import WorldParameters, generate
        >>> world = generate(WorldParameters(deals=50, years=0.5))
        >>> deals = world.tables["deals"].select(["deal_id", "created_at"]).to_pandas()
        >>> rows = deals.rename(columns={"created_at": "as_of"})
        >>> chances = true_probabilities(world.truth, rows, horizon_days=90)
        >>> bool((chances["p_win"] + chances["p_lost"] < 1).all())
        True
    """
    _check_horizon(horizon_days)
    world = _World.read(truth)
    found, is_open, is_won = world.starts(rows)
    done = chances(world.hazards, world.clock, found, horizon_days=horizon_days, ever=ever)
    answer = pd.DataFrame(index=rows.index)
    answer["p_win"] = _with_closed(done.won[:, -1], is_open, is_won)
    answer["p_lost"] = _with_closed(done.lost[:, -1], is_open, ~is_won)
    if done.ever is not None:
        answer["p_win_ever"] = _with_closed(done.ever, is_open, is_won)
    return answer


def true_curves(truth: Truth, rows: pd.DataFrame, *, horizon_days: int) -> TrueCurves:
    """The true cumulative incidences day by day; arguments and errors of `true_probabilities`."""
    _check_horizon(horizon_days)
    world = _World.read(truth)
    found, is_open, is_won = world.starts(rows)
    done: Chances = chances(
        world.hazards, world.clock, found, horizon_days=horizon_days, ever=False
    )
    return TrueCurves(
        np.arange(1, horizon_days + 1),
        _with_closed(done.won, is_open, is_won),
        _with_closed(done.lost, is_open, ~is_won),
    )


def _check_horizon(horizon_days: int) -> None:
    if horizon_days < 1:
        raise UsageError(f"`horizon_days` must be at least 1; got {horizon_days}")


def _with_closed(
    values: Floats, is_open: npt.NDArray[np.bool_], certain: npt.NDArray[np.bool_]
) -> Floats:
    """Values of the open rows, and 1 or 0 for the closed ones, in order of the rows."""
    done = np.zeros((len(is_open), *values.shape[1:]))
    done[is_open] = values
    done[~is_open & certain] = 1.0
    return done


@dataclass(frozen=True)
class _World:
    """The truth, read back into what the propagation needs."""

    clock: Clock
    hazards: Hazards
    deal_ids: pd.Index
    path: dict[str, npt.NDArray[np.int64]]

    @classmethod
    def read(cls, truth: Truth) -> _World:
        tables = {name: _table(truth, name) for name in ("parameters", "deals", "state_path")}
        world = WorldParameters.from_json(tables["parameters"]["json"][0].as_py())
        clock = Clock.of(world)
        laws = DealLaws.from_table(tables["deals"], len(world.planted))
        ids = pd.Index(tables["deals"]["deal_id"].to_pandas())
        return cls(clock, Hazards(world, laws), ids, _path(world, clock, ids, tables["state_path"]))

    def starts(
        self, rows: pd.DataFrame
    ) -> tuple[Starts, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """States of the rows that are open; which rows are open, and which won."""
        deal = self.deal_ids.get_indexer(pd.Index(rows["deal_id"]))
        as_of = rows["as_of"].to_numpy(dtype="datetime64[us]")
        second = (as_of - self.clock.origin).astype(np.int64) // 1_000_000
        self._check(rows, deal, second)
        now = np.searchsorted(self.path["key"], deal * _LIFE + second, side="right") - 1
        self._check_created(rows, deal, now)
        day, share = self.clock.position(as_of)
        early = np.searchsorted(self.path["key"], deal * _LIFE + day * 86_400, side="left") - 1
        idle = (early < 0) | (self.path["deal"][early] != deal)
        morning = np.where(idle, now, early)
        stage = self.path["stage"][now]
        is_open = stage < self.hazards.stages
        entered = self.path["entered"]
        found = Starts(
            deal=deal,
            day=day,
            share=share,
            stage=self.path["stage"][morning],
            age=np.maximum(day - 1 - entered[morning], 0),
            engaged=self.path["engaged"][morning],
            quote_before=self.path["quote"][morning],
            quote=self.path["quote"][now],
            moved=(entered[now] == day) & ~idle,
            now_stage=stage,
            now_engaged=self.path["engaged"][now],
            idle=idle,
        )
        return found.take(np.flatnonzero(is_open)), is_open, stage == self.hazards.stages

    def _check(self, rows: pd.DataFrame, deal: Days, second: Days) -> None:
        unknown = np.flatnonzero(deal < 0)
        if len(unknown):
            name = rows["deal_id"].iloc[unknown[0]]
            raise DataError(f"`deal_id` {name} is no deal of this world; take ids from `deals`")
        late = np.flatnonzero(second > self.clock.days * 86_400)
        if len(late):
            raise DataError(
                f"`as_of` {rows['as_of'].iloc[late[0]]} lies after the record, which ends "
                f"{self.clock.end}; no state is known there"
            )

    def _check_created(self, rows: pd.DataFrame, deal: Days, now: Days) -> None:
        early = np.flatnonzero((now < 0) | (self.path["deal"][now] != deal))
        if len(early):
            row = rows.iloc[early[0]]
            raise DataError(
                f"`as_of` {row['as_of']} lies before the creation of deal {row['deal_id']}"
            )


def _table(truth: Truth, name: str) -> pa.Table:
    if isinstance(truth, Mapping):
        if name in truth:
            return truth[name]
        raise DataError(f"the truth has no table `{name}`; it has: {', '.join(sorted(truth))}")
    file = Path(truth) / f"{name}.parquet"
    if not file.exists():
        raise DataError(f"{file}: no such file; give the folder that holds a world's truth")
    return pq.read_table(file)


def _path(
    world: WorldParameters, clock: Clock, ids: pd.Index, table: pa.Table
) -> dict[str, npt.NDArray[np.int64]]:
    """`state_path` as numbers, in order of deal and time."""
    stages = [*(stage.name for stage in world.stages), "Won", "Lost"]
    deal = ids.get_indexer(pd.Index(table["deal_id"].to_pandas()))
    moment = table["at"].to_numpy().astype("datetime64[us]")
    second = (moment - clock.origin).astype(np.int64) // 1_000_000
    entered = table["entered_on"].to_numpy().astype("datetime64[D]").astype(np.int64)
    done = {
        "key": deal * _LIFE + second,
        "deal": deal,
        "stage": pd.Index(stages).get_indexer(table["stage"].to_pandas()),
        "entered": entered - int(np.datetime64(clock.first, "D").astype(np.int64)),
        "engaged": table["engaged"].to_numpy().astype(np.int64),
        "quote": pd.Index(list(QUOTES)).get_indexer(table["quote"].to_pandas()),
    }
    order = np.argsort(done["key"], kind="stable")
    return {name: values[order].astype(np.int64) for name, values in done.items()}
