"""The true probabilities are exact, honest against what happens, and readable from the records."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from salesops_ml.errors import DataError, UsageError
from salesops_ml.schema import CanonicalTables
from salesops_ml.synthetic import (
    WorldParameters,
    generate,
    true_curves,
    true_probabilities,
)
from salesops_ml.synthetic.clock import Clock
from salesops_ml.synthetic.hazards import Hazards, deal_laws
from salesops_ml.synthetic.simulation import simulate
from salesops_ml.synthetic.world import simulate_facts
from salesops_ml.warehouse import publish, truth_folder

Frames = dict[str, pd.DataFrame]
END = pd.Timestamp("2026-07-01")


def _looks(frames: Frames, count: int, seed: int = 0) -> pd.DataFrame:
    """Random moments, to the second, at which random deals were open."""
    rng = np.random.default_rng(seed)
    deals = frames["deals"].sample(count, random_state=seed)
    life = (deals["closed_at"].fillna(END) - deals["created_at"]) / pd.Timedelta(seconds=1)
    gone = pd.to_timedelta(np.floor(life * rng.random(count)), unit="s")
    as_of = (deals["created_at"] + gone).astype("datetime64[us]")
    return pd.DataFrame({"deal_id": deals["deal_id"], "as_of": as_of})


class _ByHand:
    """The same chances the slow way: a dictionary of states, one deal, one day at a time."""

    def __init__(self, parameters: WorldParameters) -> None:
        facts = simulate_facts(parameters)
        self.world, self.clock = parameters, Clock.of(parameters)
        self.hazards = Hazards(parameters, facts.laws)
        self.first = {name.as_py(): row for row, name in enumerate(facts.deal_ids)}
        self.last, self.quoted = len(parameters.stages) - 1, self.hazards.quote_stage

    def events(
        self, deal: int, state: tuple[int, int, int, int], day: int
    ) -> tuple[list[float], float]:
        """Probabilities of the five events and of a flip of engagement."""
        stage, age, engaged, quote = (np.array([value]) for value in state)
        who, kind = np.array([deal]), self.clock.kind(np.array([day]))
        phase = np.array([sum(age[0] >= bound for bound in self.world.phase_days)])
        deep = (quote == 2).astype(int)
        moves = self.hazards.moves(who, stage, phase, engaged, deep, kind)[:, 0]
        return list(moves), float(self.hazards.switches(who, engaged, kind)[0])

    def targets(self, deal: int, stage: int, quote: int) -> list[tuple[int, float]]:
        """Quote levels after entering `stage`, with their chances."""
        if stage < self.quoted or quote:
            return [(quote, 1.0)]
        deep = float(self.hazards.laws.p_deep[deal])
        return [(1, 1 - deep), (2, deep)]

    def chances(self, path: pd.DataFrame, deal: str, as_of: pd.Timestamp, days: int) -> list[float]:
        """P(won) and P(lost) `days` after as_of."""
        number = self.first[deal]
        day, share = (value[0] for value in self.clock.position(np.array([as_of.to_datetime64()])))
        seen = path[path["at"] <= as_of]
        midnight = as_of.normalize()
        morning = seen[seen["at"] < midnight]
        now = self._state(seen.iloc[-1], day)
        today = seen[seen["at"] >= midnight]
        states: dict[tuple[int, int, int, int], float] = defaultdict(float)
        closed = np.zeros(2)
        if len(morning):
            old = self._state(morning.iloc[-1], day)
            moves, flip = self.events(number, old, day)
            moved = (today["event"] == "stage").any()
            switched = (today["event"] == "engagement").any()
            left = 0.0 if moved else (1 - share) / (1 - share * sum(moves))
            turn = 0.0 if switched else flip * (1 - share) / (1 - share * flip)
            start = now if moved else (now[0], old[1] + 1, now[2], now[3])
            self._spread(number, states, closed, start, [p * left for p in moves], turn, 1.0)
        else:
            states[now] = 1.0
        before = closed.copy()
        for ahead in range(1, days + 1):
            before = closed.copy()
            after: dict[tuple[int, int, int, int], float] = defaultdict(float)
            for state, mass in states.items():
                moves, flip = self.events(number, state, day + ahead)
                older = (state[0], state[1] + 1, state[2], state[3])
                self._spread(number, after, closed, older, moves, flip, mass)
            states = after
        return list(before + share * (closed - before))

    def _state(self, row: pd.Series, day: int) -> tuple[int, int, int, int]:
        names = [stage.name for stage in self.world.stages]
        entered = (pd.Timestamp(row["entered_on"]) - pd.Timestamp(self.clock.first)).days
        quote = ("none", "standard", "deep").index(row["quote"])
        return names.index(row["stage"]), max(day - entered - 1, 0), int(row["engaged"]), quote

    def _spread(
        self, deal: int, into: dict[tuple[int, int, int, int], float], closed: np.ndarray,
        stays: tuple[int, int, int, int], moves: list[float], flip: float, mass: float,
    ) -> None:  # fmt: skip
        stage, _, engaged, quote = stays
        closed += mass * np.array(moves[3:])
        for after, chance in ((engaged, 1 - flip), (1 - engaged, flip)):
            into[(stage, stays[1], after, quote)] += mass * chance * (1 - sum(moves))
            for step, p in zip((1, 2, -1), moves[:3], strict=True):
                if p:
                    for level, share in self.targets(deal, stage + step, quote):
                        into[(stage + step, 0, after, level)] += mass * chance * p * share


def test_exact_against_a_dictionary_of_states(
    world: CanonicalTables, frames: Frames, parameters: WorldParameters
) -> None:
    rows = _looks(frames, 12, seed=1)
    exact = true_probabilities(world.truth, rows, horizon_days=12, ever=False)
    by_hand = _ByHand(parameters)
    paths = dict(list(world.truth["state_path"].to_pandas().groupby("deal_id")))
    for row, look in rows.iterrows():
        expected = by_hand.chances(paths[look["deal_id"]], look["deal_id"], look["as_of"], 12)
        assert exact.loc[row, ["p_win", "p_lost"]].tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
def test_monte_carlo_of_the_same_hazards_agrees() -> None:
    parameters = WorldParameters(deals=60, seed=8, years=0.6)
    facts = simulate_facts(parameters)
    world = generate(parameters)
    rows = pd.DataFrame({"deal_id": facts.deal_ids.to_pandas(), "as_of": facts.created_at})
    exact = true_probabilities(world.truth, rows, horizon_days=60)
    runs, rng = 60, np.random.default_rng(0)
    counts = np.zeros((3, facts.deals.count))
    for seed in range(1_000, 1_000 + runs):
        deals = replace(facts.deals, deep=rng.random(facts.deals.count) < facts.deals.p_deep)
        run = simulate(replace(parameters, seed=seed), facts.clock, deals, facts.laws)
        age = run.closed - deals.created
        closed_at = facts.clock.moments(run.closed, 0.0)
        assert (closed_at > facts.created_at)[run.closed >= 0].all()
        inside = (run.closed >= 0) & (age < 60)
        counts += np.stack([inside & run.won, inside & ~run.won, run.won])
    edge = true_curves(world.truth, rows, horizon_days=60)
    whole_days = np.stack([edge.cif_won[:, 58], edge.cif_lost[:, 58], exact["p_win_ever"]])
    upper = np.stack([exact["p_win"], exact["p_lost"], exact["p_win_ever"]])
    middle = (whole_days + upper) / 2
    error = np.sqrt(middle * (1 - middle) / runs) + 1e-9
    z = (counts / runs - middle) / error
    assert np.abs(z.mean(axis=1) * np.sqrt(z.shape[1])).max() < 4
    assert np.sqrt((z**2).mean()) < 1.3


@pytest.mark.slow
def test_realised_frequencies_calibrate_in_bins() -> None:
    for latent in (0.0, 0.6):
        world = generate(WorldParameters(deals=4_000, seed=21, latent_share=latent))
        deals = world.tables["deals"].to_pandas()
        as_of = deals["created_at"].dt.normalize() + pd.Timedelta(days=25, hours=13)
        seen = (as_of < deals["closed_at"].fillna(END)) & (as_of + pd.Timedelta(days=60) <= END)
        rows = pd.DataFrame({"deal_id": deals["deal_id"], "as_of": as_of})[seen]
        exact = true_probabilities(world.truth, rows, horizon_days=60, ever=False)
        within = deals["closed_at"] <= as_of + pd.Timedelta(days=60)
        for status, column in (("won", "p_win"), ("lost", "p_lost")):
            happened = ((deals["status"] == status) & within)[seen]
            z = _bin_deviations(happened, exact[column])
            assert np.abs(z).max() < 3.5
            assert (z**2).sum() < 30


def _bin_deviations(happened: pd.Series, chance: pd.Series) -> np.ndarray:
    """Standardised deviation of the frequency from the mean chance, in ten bins."""
    bins = pd.qcut(chance, 10)
    spread = (chance * (1 - chance)).groupby(bins, observed=True).sum()
    return ((happened - chance).groupby(bins, observed=True).sum() / np.sqrt(spread)).to_numpy()


def _log_loss(happened: np.ndarray, chance: np.ndarray) -> float:
    chance = np.clip(chance, 1e-9, 1 - 1e-9)
    return float(-np.mean(np.log(np.where(happened, chance, 1 - chance))))


def test_truth_beats_every_coarsening(default_world: CanonicalTables) -> None:
    deals = default_world.tables["deals"].to_pandas()
    as_of = (deals["created_at"] + pd.Timedelta(days=28)).astype("datetime64[us]")
    seen = (as_of < deals["closed_at"].fillna(END)) & (as_of + pd.Timedelta(days=90) <= END)
    rows = pd.DataFrame({"deal_id": deals["deal_id"], "as_of": as_of})[seen]
    chance = true_probabilities(default_world.truth, rows, horizon_days=90, ever=False)["p_win"]
    won = (deals["status"] == "won") & (deals["closed_at"] <= as_of + pd.Timedelta(days=90))
    events = default_world.tables["stage_events"].to_pandas().sort_values("entered_at")
    stage = pd.merge_asof(
        rows.sort_values("as_of"), events[["deal_id", "entered_at", "stage"]],
        left_on="as_of", right_on="entered_at", by="deal_id",
    ).set_index("deal_id")["stage"].loc[rows["deal_id"]]  # fmt: skip
    happened = won[seen].to_numpy()
    truth = _log_loss(happened, chance.to_numpy())
    groups = {
        "none": np.zeros(len(rows)),
        "stage": stage.to_numpy(),
        "deciles": pd.qcut(chance, 10, labels=False).to_numpy(),
    }
    loss = {
        name: _log_loss(happened, chance.groupby(group).transform("mean").to_numpy())
        for name, group in groups.items()
    }
    assert truth < loss["deciles"] < loss["stage"] < loss["none"]
    assert loss["stage"] - truth > 0.08


def test_curves_rise_add_up_and_end_at_the_probabilities(
    world: CanonicalTables, frames: Frames
) -> None:
    rows = _looks(frames, 60, seed=2)
    curves = true_curves(world.truth, rows, horizon_days=80)
    exact = true_probabilities(world.truth, rows, horizon_days=80)
    short = true_probabilities(world.truth, rows, horizon_days=30, ever=False)
    assert (np.diff(curves.cif_won, axis=1) >= 0).all()
    assert (np.diff(curves.cif_lost, axis=1) >= 0).all()
    assert (curves.cif_won + curves.cif_lost).max() <= 1 + 1e-12
    assert curves.days.tolist() == list(range(1, 81))
    assert exact["p_win"].to_numpy() == pytest.approx(curves.cif_won[:, -1])
    assert short["p_lost"].to_numpy() == pytest.approx(curves.cif_lost[:, 29])
    assert (exact["p_win_ever"] >= exact["p_win"] - 1e-12).all()
    assert (exact["p_win_ever"] <= 1 - exact["p_lost"] + 1e-12).all()


def test_ever_is_a_very_long_horizon(world: CanonicalTables, frames: Frames) -> None:
    rows = _looks(frames, 8, seed=3)
    ever = true_probabilities(world.truth, rows, horizon_days=5)["p_win_ever"]
    long = true_probabilities(world.truth, rows, horizon_days=1_200, ever=False)["p_win"]
    assert ever.to_numpy() == pytest.approx(long.to_numpy(), abs=2e-5)


def test_rows_answer_alone_as_in_company(world: CanonicalTables, frames: Frames) -> None:
    rows = _looks(frames, 40, seed=4)
    together = true_probabilities(world.truth, rows, horizon_days=40, ever=False)
    turned = true_probabilities(world.truth, rows[::-1], horizon_days=40, ever=False)
    alone = true_probabilities(world.truth, rows.iloc[[7]], horizon_days=40, ever=False)
    pd.testing.assert_frame_equal(turned.loc[together.index], together)
    assert alone.iloc[0].tolist() == pytest.approx(together.iloc[7].tolist(), abs=1e-14)


def test_closed_deals_are_certain(world: CanonicalTables, frames: Frames) -> None:
    closed = frames["deals"].dropna(subset=["closed_at"]).iloc[:50]
    rows = pd.DataFrame({"deal_id": closed["deal_id"], "as_of": closed["closed_at"]})
    exact = true_probabilities(world.truth, rows, horizon_days=10)
    won = (closed["status"] == "won").astype(float)
    assert (exact["p_win"] == won).all()
    assert (exact["p_win_ever"] == won).all()
    assert (exact["p_lost"] == 1 - won).all()


def test_truth_reads_back_from_its_folder(
    world: CanonicalTables, frames: Frames, tmp_path: Path
) -> None:
    url = f"duckdb:///{tmp_path}/crm.duckdb"
    publish(url, world, ingested_at=datetime(2026, 7, 1))
    rows = _looks(frames, 10, seed=5)
    kept = true_probabilities(truth_folder(url), rows, horizon_days=30)
    pd.testing.assert_frame_equal(kept, true_probabilities(world.truth, rows, horizon_days=30))


def test_questions_without_an_answer_are_refused(world: CanonicalTables, frames: Frames) -> None:
    first = frames["deals"].iloc[0]
    cases = {
        "D-9": ("is no deal of this world", first["created_at"]),
        first["deal_id"]: ("before the creation", first["created_at"] - pd.Timedelta(days=1)),
        frames["deals"].iloc[1]["deal_id"]: ("after the record", END + pd.Timedelta(days=1)),
    }
    for deal, (message, as_of) in cases.items():
        with pytest.raises(DataError, match=message):
            true_probabilities(
                world.truth, pd.DataFrame({"deal_id": [deal], "as_of": [as_of]}), horizon_days=5
            )
    with pytest.raises(UsageError, match="`horizon_days` must be at least 1; got 0"):
        true_probabilities(world.truth, _looks(frames, 2), horizon_days=0)
    with pytest.raises(DataError, match="no table `parameters`"):
        true_probabilities({}, pd.DataFrame({"deal_id": [], "as_of": []}), horizon_days=5)


def test_at_latent_share_0_the_records_show_the_full_state(default_world: CanonicalTables) -> None:
    """Stage, days in it, engagement and discount band, rebuilt from the records alone."""
    tables = {name: rows.to_pandas() for name, rows in default_world.tables.items()}
    rows = _looks(tables, 1_000, seed=6).sort_values("as_of")
    path = default_world.truth["state_path"].to_pandas().sort_values("at", kind="stable")
    state = pd.merge_asof(rows, path, left_on="as_of", right_on="at", by="deal_id")
    stage = pd.merge_asof(
        rows, tables["stage_events"].sort_values("entered_at"),
        left_on="as_of", right_on="entered_at", by="deal_id",
    )  # fmt: skip
    turns = tables["activities"].query("outcome in ['replied', 'went_silent']")
    turn = pd.merge_asof(
        rows, turns.sort_values("recorded_at"), left_on="as_of", right_on="recorded_at",
        by="deal_id",
    )  # fmt: skip
    quote = pd.merge_asof(
        rows, tables["quotes"].sort_values("sent_at"), left_on="as_of", right_on="sent_at",
        by="deal_id",
    )  # fmt: skip
    band = np.where(quote["discount"] > 0.2, "deep", "standard")
    assert (stage["stage"] == state["stage"]).all()
    assert (stage["entered_at"].dt.date == state["entered_on"]).all()
    assert ((turn["outcome"] == "replied") == state["engaged"]).all()
    assert (np.where(quote["discount"].isna(), "none", band) == state["quote"]).all()


def test_at_latent_share_0_laws_follow_from_what_is_recorded(parameters: WorldParameters) -> None:
    """Two worlds that differ in hidden quality only have the same laws; not so with a share."""
    facts = simulate_facts(parameters)
    other = replace(facts.deals, quality=-facts.deals.quality)
    for share, same in ((0.0, True), (0.3, False)):
        world = replace(parameters, latent_share=share)
        here = deal_laws(world, facts.deals, facts.reps)
        there = deal_laws(world, other, facts.reps)
        assert np.array_equal(here.won, there.won) is same
