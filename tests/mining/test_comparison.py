"""Comparisons: figures against oracles, promises against worlds whose laws are known."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter
from lifelines.utils import restricted_mean_survival_time
from scipy.stats import permutation_test

from salesops_ml.errors import DataError, SchemaError, UsageError
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.comparison import COLUMNS, compare
from salesops_ml.mining.event_log import event_log
from salesops_ml.mining.permutation import permuted_p_values, q_values
from salesops_ml.mining.populations import begun_between, by_column, sides, won_and_lost
from salesops_ml.mining.steps import as_steps
from salesops_ml.mining.transitions import transitions
from salesops_ml.mining.visits import visits_of
from salesops_ml.synthetic import WorldParameters, generate
from salesops_ml.synthetic.parameters import Bottleneck
from salesops_ml.warehouse import Warehouse
from tests.mining.process_world import PLAIN, START, options, process_log, with_days, with_ways


def two_teams(deals: int, seed: int, other: object = PLAIN) -> tuple[pd.DataFrame, tuple]:
    """A log in which every other deal belongs to the South, which may have laws of its own."""
    laws = [PLAIN if case % 2 == 0 else other for case in range(deals)]
    log = process_log(deals, seed, laws=laws)  # type: ignore[arg-type]
    south = log["case:concept:name"].str[1:].astype(int) % 2 == 1
    return log.assign(team=np.where(south, "South", "North")), ("team", "North", "South")


def run(log: pd.DataFrame, by: tuple, **more: object) -> pd.DataFrame:
    given = {"by": by, "names": by[1:], "draws": 4000, **options(), **more}
    return compare(log, **given)  # type: ignore[arg-type]


def row_of(found: pd.DataFrame, source: str, target: str | None, measure: str) -> pd.Series:
    rows = found[(found.source == source) & (found.measure == measure)]
    rows = rows[rows.target.isna()] if target is None else rows[rows.target == target]
    assert len(rows) == 1
    return rows.iloc[0]


def test_figures_of_ended_deals_are_those_of_each_side_alone() -> None:
    log, by = two_teams(200, 1)
    done = log.groupby("case:concept:name")["concept:name"].transform("last").isin(["Won", "Lost"])
    log = log[done]
    found = run(log, by)
    assert list(found.columns) == list(COLUMNS)
    assert found.limit_days.isna().all()
    for side, team in (("first", "North"), ("second", "South")):
        alone = transitions(
            log[log.team == team], won=["Won"], lost=["Lost"], as_of=options()["as_of"]
        )  # type: ignore[arg-type]
        alone = alone[alone.kind == "step"]
        for edge in alone.itertuples():
            share = row_of(found, edge.source, edge.target, "share")
            assert share[side] == pytest.approx(edge.share)
            assert share[f"{side}_count"] == edge.count
            dwell = row_of(found, edge.source, edge.target, "dwell")
            assert dwell[side] == pytest.approx(edge.dwell_mean_days)
            assert dwell[f"{side}_p50_days"] == pytest.approx(edge.dwell_p50_days)
    assert np.allclose(found.difference, found["second"] - found["first"], equal_nan=True)
    assert not (found.low > found.difference + 1e-9).any()
    assert not (found.high < found.difference - 1e-9).any()


def test_shares_of_a_log_without_outcomes_are_those_of_its_transitions(
    helpdesk: pd.DataFrame,
) -> None:
    ids = helpdesk["case:concept:name"].unique()
    early = helpdesk["case:concept:name"].isin(ids[::2])
    found = compare(helpdesk, early, ~early, draws=50)
    alone = transitions(helpdesk[early])
    shares = found[(found.measure == "share") & (found.kind != "stage")]
    ours = shares[shares.first_count > 0].set_index(["kind", "source", "target"])["first"]
    theirs = alone.set_index(["kind", "source", "target"])["share"]
    pd.testing.assert_series_equal(ours.sort_index(), theirs.sort_index(), check_names=False)


def test_the_dwell_of_a_stage_is_lifelines_restricted_mean() -> None:
    log, by = two_teams(150, 2)
    found = row_of(run(log, by), "Offer", None, "dwell")
    steps = as_steps(log, **{k: v for k, v in options().items() if k != "order"})  # type: ignore[arg-type]
    visits = visits_of(steps, Clock())
    offer = visits.stage == steps.activities.index("Offer")
    masks = by_column(steps, log, *by)
    for side, mask in zip(("first", "second"), masks, strict=True):
        here = offer & mask[visits.case]
        fitter = KaplanMeierFitter().fit(visits.days[here], visits.exited[here])
        assert found[f"{side}_p50_days"] == pytest.approx(fitter.median_survival_time_)
        theirs = restricted_mean_survival_time(fitter, t=found.limit_days)
        assert found[side] == pytest.approx(theirs, rel=1e-6)


def test_p_values_are_those_of_scipys_permutation_test() -> None:
    rng = np.random.default_rng(4)
    scores, first = (
        rng.exponential(1, 30) + np.r_[np.zeros(15), np.full(15, 1.0)],
        np.arange(30) < 15,
    )

    def apart(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        error = np.sqrt(x.var(axis) / x.shape[axis] + y.var(axis) / y.shape[axis])
        return np.abs((x.mean(axis) - y.mean(axis)) / error)

    theirs = permutation_test(
        (scores[first], scores[~first]), apart, n_resamples=20_000, alternative="greater",
        rng=np.random.default_rng(1), vectorized=True,
    ).pvalue  # fmt: skip
    ours = permuted_p_values(scores[:, None], first, draws=20_000)[0]
    assert abs(ours - theirs) < 4 * np.sqrt(2 * theirs * (1 - theirs) / 5_000)
    assert np.isnan(permuted_p_values(np.ones((9, 1)), np.arange(9) < 4)[0])
    assert np.isnan(q_values(np.array([np.nan]))).all()


def test_what_was_planted_is_found_and_said() -> None:
    log, by = two_teams(600, 5, with_days(Offer=20.0))
    found = run(log, by)
    offer = row_of(found, "Offer", None, "dwell")
    assert offer.found
    assert offer.low > 0
    assert offer.finding.startswith("Deals stay ")
    assert "longer in Offer in South than in North" in offer.finding
    other = with_ways("Lead", {"Offer": 0.3, "Contract": 0.4, "Lost": 0.3})
    log, by = two_teams(600, 6, other)
    found = run(log, by)
    assert row_of(found, "Lead", "Contract", "share").found
    assert not row_of(found, "Contract", "Won", "share").found


@pytest.mark.slow
def test_where_nothing_differs_findings_are_as_rare_as_promised() -> None:
    """Of 40 worlds of 200 deals a finding may come up in one of ten; p-values are as even as can be."""
    hits, low = [], []
    for seed in range(40):
        found = run(*two_teams(200, 100 + seed), draws=2000)
        hits.append(found.found.any())
        low.append((found.p_value.dropna() < 0.05).mean())
    assert np.mean(hits) <= 0.1 + 2 * np.sqrt(0.1 * 0.9 / 40)
    assert 0.02 < np.mean(low) < 0.08


def test_a_young_quarter_is_no_quick_one() -> None:
    """The last weeks hold only short stays that have ended; that is no finding."""
    hits = []
    for seed in range(20):
        log = process_log(400, 300 + seed)
        steps = as_steps(log, **{k: v for k, v in options().items() if k != "order"})  # type: ignore[arg-type]
        end, cut = START + timedelta(days=365), START + timedelta(days=335)
        masks = begun_between(steps, START, cut), begun_between(steps, cut, end)
        hits.append(compare(steps, *masks, draws=2000).found.any())
    assert np.mean(hits) <= 0.1 + 2 * np.sqrt(0.1 * 0.9 / 20)


@pytest.mark.slow
def test_few_findings_are_false_where_something_is_planted() -> None:
    """Only the South's Offer is slow: other stages' dwell, and all shares, are as they were."""
    false = []
    for seed in range(20):
        found = run(*two_teams(300, 500 + seed, with_days(Offer=22.0)), draws=4000)
        told = found[found.found]
        true = (told.source == "Offer") & (told.measure == "dwell")
        assert true.any()
        false.append((~true).mean())
    assert np.mean(false) <= 0.1


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_promised() -> None:
    held = []
    for seed in range(40):
        found = run(*two_teams(180, 700 + seed, with_days(Offer=15.0)), level=0.9, draws=20)
        lead = row_of(found, "Lead", None, "dwell")
        offer = row_of(found, "Lead", "Offer", "share")
        held += [lead.low <= 0 <= lead.high, offer.low <= 0 <= offer.high]
    assert 0.8 <= np.mean(held) <= 0.98


@pytest.mark.slow
def test_the_planted_bottleneck_of_the_made_company_stands_out() -> None:
    """Analytics is slow in Contract; products differ a little everywhere, but nowhere so much."""
    planted = (Bottleneck("Contract", "product", "Analytics", slowdown=0.25),)
    made = generate(WorldParameters(deals=2500, planted=planted))
    with Warehouse.in_memory(made) as company:
        steps = as_steps(event_log(company, as_of=datetime(2026, 6, 30)))
    deals = made.tables["deals"].to_pandas().set_index("deal_id")
    slow = deals["product"].reindex(list(steps.case_ids)).eq("Analytics").to_numpy()
    found = compare(steps, ~slow, slow, names=("others", "Analytics"))
    stages = found[(found.kind == "stage") & (found.measure == "dwell")].set_index("source")
    assert stages.loc["Contract", "found"]
    assert (stages["second"] / stages["first"]).idxmax() == "Contract"


def test_won_against_lost_does_not_find_that_the_won_were_won() -> None:
    log = process_log(500, 9)
    steps = as_steps(log, **{k: v for k, v in options().items() if k != "order"})  # type: ignore[arg-type]
    found = compare(steps, *won_and_lost(steps), names=("won", "lost"), draws=4000)
    assert not (found.measure == "win_rate").any()
    ends = found.target.isin(["Won", "Lost"]) | found.source.isin(["Won", "Lost"])
    assert found.by_outcome[ends].all()
    assert not found.by_outcome[~ends].any()
    assert found.p_value[ends].isna().all()
    assert not found.found[ends].any()
    onward = found[(found.source == "Lead") & (found.measure == "share") & (found.kind == "step")]
    assert onward.loc[~onward.by_outcome, "first"].sum() == pytest.approx(1.0)
    assert onward.loc[~onward.by_outcome, "second"].sum() == pytest.approx(1.0)
    reach = row_of(found, "Contract", None, "share")
    assert reach["first"] == 1.0  # a deal is won out of Contract only
    assert reach.found


def test_sides_can_be_changed_and_rows_shuffled() -> None:
    log, by = two_teams(160, 11, with_days(Lead=9.0))
    found = run(log, by)
    pd.testing.assert_frame_equal(found, run(log.sample(frac=1, random_state=2), by))
    back = run(log, (by[0], by[2], by[1]))
    assert np.allclose(back.difference, -found.difference, equal_nan=True)
    assert np.allclose(back.low, -found.high, equal_nan=True)
    north = log.loc[log.team == "North", "case:concept:name"].unique()
    masks = {"first": list(north), "second": log.team == "South"}
    pd.testing.assert_frame_equal(
        found, compare(log, **masks, names=by[1:], draws=4000, **options())  # type: ignore[arg-type]
    )  # fmt: skip


def test_the_companys_own_log(company: Warehouse) -> None:
    log = event_log(company, as_of=START.replace(year=2026, month=2))
    found = compare(log, by=("outcome", "won", "lost"))
    assert not found.found.any()
    assert found.p_value.isna().all()  # one deal against two is too few
    assert row_of(found, "Lead", None, "share")["first"] == 1.0


def test_populations_that_are_none_are_named() -> None:
    log, by = two_teams(40, 1)
    steps = as_steps(log)
    ids = list(steps.case_ids)
    with pytest.raises(UsageError, match="share 1 deals, `d00000`"):
        sides(steps, log, ids[:2], ids[:1])
    with pytest.raises(DataError, match="`x9` among them"):
        compare(log, ids[:2], ["x9"])
    with pytest.raises(DataError, match="`second` holds no deal"):
        compare(log, by=("team", "North", "West"))
    with pytest.raises(UsageError, match="`first` has 3 entries for 40 cases"):
        compare(log, np.array([True, False, True]), ids[:1])
    with pytest.raises(SchemaError, match="no column `region`"):
        compare(log, by=("region", "a", "b"))
    with pytest.raises(UsageError, match="not both"):
        compare(log, ids[:1], by=by)
    with pytest.raises(UsageError, match="two populations to compare"):
        compare(log, ids[:1])
    with pytest.raises(UsageError, match="`names`"):
        compare(log, ids[:1], ids[1:2], names="ab")
    with pytest.raises(UsageError, match="keep no other columns"):
        compare(steps, by=by)
