"""Past days to judge on: nothing later than an origin teaches, nobody stands on both sides."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.errors import DataError
from salesops_ml.evaluation.censoring import horizon_weights
from salesops_ml.evaluation.deal_intervals import DealDraws
from salesops_ml.evaluation.deal_weights import (
    brier_parts,
    censoring_weights,
    deal_weights,
    judged_by_deal,
)
from salesops_ml.evaluation.measure import Judged
from salesops_ml.evaluation.proper_scores import auc, calibration_error, calibration_line
from salesops_ml.evaluation.proper_scores import integrated_brier as plain_integrated_brier
from salesops_ml.evaluation.rolling_origins import Groups, RollingOrigins, known_at, rolling_origins
from salesops_ml.evaluation.splits import labels_at

UNTIL = datetime(2025, 10, 1)
SEEDS = st.integers(0, 400)


def looks(seed: int, deals: int = 120, accounts: int = 40) -> pd.DataFrame:
    """Deals of a year, looked at weekly; a few are undated, a few have no account."""
    rng = np.random.default_rng(seed)
    start = pd.Timestamp("2025-01-01") + pd.to_timedelta(rng.uniform(0, 350, deals), unit="D")
    length = rng.exponential(40, deals)
    account = [None if n % 11 == 0 else f"a{n}" for n in rng.integers(0, accounts, deals)]
    rows = [
        (f"d{i:03d}", account[i], start[i], start[i] + pd.Timedelta(days=7 * k), length[i] - 7 * k,
         rng.random() < 0.4)
        for i in range(deals)
        for k in range(int(length[i] // 7) + 1)
    ]  # fmt: skip
    columns = ["deal_id", "account_id", "created_at", "as_of", "left", "won"]
    frame = pd.DataFrame(rows, columns=columns)
    frame["won"] = frame.groupby("deal_id")["won"].transform("first")
    for name in ("created_at", "as_of"):
        frame[name] = frame[name].dt.floor("us")
    end = pd.Timestamp("2025-12-31")
    frame = frame[frame["as_of"] <= end].sample(frac=1, random_state=seed).reset_index(drop=True)
    observed = (end - frame["as_of"]).dt.total_seconds() / 86_400
    open_ = frame["left"] > observed
    frame["outcome"] = np.where(open_, "open", np.where(frame["won"], "won", "lost"))
    frame["days_to_outcome"] = frame["left"].where(~open_)
    frame["days_observed"] = observed
    return frame


def rolled(data: pd.DataFrame, *, folds: int = 3, groups: Groups = "deal") -> RollingOrigins:
    return rolling_origins(data, until=UNTIL, folds=folds, ripen_days=30, groups=groups)


@settings(max_examples=40)
@given(SEEDS, st.integers(1, 4))
def test_no_deal_stands_on_both_sides_and_every_ripe_deal_is_judged_once(
    seed: int, folds: int
) -> None:
    found = rolled(looks(seed), folds=folds)
    data, judged = found.data, []
    assert (data["as_of"] < UNTIL).all()
    for fold in found.folds:
        learn, test = fold.block.isin(["train", "calibration"]), fold.block == "test"
        assert set(data.loc[learn, "deal_id"]).isdisjoint(data.loc[test, "deal_id"])
        assert (data.loc[learn, "as_of"] < fold.origin).all()
        assert (data.loc[learn, "created_at"] < fold.origin).all()
        assert data.loc[test, "created_at"].between(fold.origin, fold.judged_until, "left").all()
        assert (data.loc[fold.block == "train", "created_at"] < fold.borders.calibration_from).all()
        early = data.loc[data["created_at"] < fold.origin].groupby("deal_id")["created_at"].first()
        late = (early >= fold.borders.calibration_from).mean()
        assert late == pytest.approx(0.25, abs=0.03)
        judged.append(set(data.loc[test, "deal_id"]))
    ripe = data["created_at"].between(
        found.folds[0].origin, UNTIL - timedelta(days=30), inclusive="left"
    )
    assert set.union(*judged) == set(data.loc[ripe, "deal_id"])
    assert sum(map(len, judged)) == len(set.union(*judged))
    assert max(map(len, judged)) - min(map(len, judged)) <= 1


@settings(max_examples=30)
@given(SEEDS, SEEDS)
def test_what_happens_after_an_origin_does_not_reach_its_lesson(seed: int, other: int) -> None:
    """Everything that was recorded after the origin is corrupted; blocks and labels stay equal."""
    data = looks(seed)
    draw = np.random.default_rng(other)
    for fold in rolled(data).folds:
        twisted = data.copy()
        late = data["as_of"] + pd.to_timedelta(data["days_to_outcome"], unit="D") > fold.origin
        after = late | data["days_to_outcome"].isna()
        gone = (pd.Timestamp(fold.origin) - data["as_of"]).dt.total_seconds() / 86_400
        later = np.maximum(gone, 0) + draw.exponential(30, len(data)) + 0.01
        twisted.loc[after, "outcome"] = draw.choice(["won", "lost", "open"], int(after.sum()))
        twisted.loc[after, "days_to_outcome"] = later[after]
        twisted["days_observed"] = np.maximum(gone, 0) + draw.exponential(90, len(data)) + 0.01
        again = rolled(twisted).folds[fold.number]
        pd.testing.assert_series_equal(again.block, fold.block)
        assert again.borders == fold.borders
        learn = fold.block.isin(["train", "calibration"])
        for moment in (fold.borders.calibration_from, fold.origin):
            for frame in (data, known_at(data, UNTIL)):
                known = labels_at(frame.loc[fold.block.index][learn], moment)
                told = labels_at(known_at(twisted, UNTIL)[learn], moment)
                pd.testing.assert_frame_equal(known, told)


@settings(max_examples=25)
@given(SEEDS)
def test_outcomes_are_as_known_at_the_test_border(seed: int) -> None:
    data = looks(seed)
    known = known_at(data, UNTIL)
    closed = known["as_of"] + pd.to_timedelta(known["days_to_outcome"], unit="D")
    assert (closed.dropna() <= pd.Timestamp(UNTIL) + pd.Timedelta(milliseconds=1)).all()
    assert (known["outcome"].eq("open") == known["days_to_outcome"].isna()).all()
    pd.testing.assert_frame_equal(known_at(known, UNTIL), known)
    now = labels_at(data[data["as_of"] < UNTIL], UNTIL)
    pd.testing.assert_frame_equal(labels_at(known, None), now)


@settings(max_examples=25)
@given(SEEDS)
def test_siblings_are_judged_rows_whose_account_was_learned_from(seed: int) -> None:
    found = rolled(looks(seed))
    for fold in found.folds:
        rows = found.data.assign(block=fold.block)
        met = {
            row.account_id for row in rows.itertuples() if row.block in ("train", "calibration")
        } - {None}
        by_hand = [row.block == "test" and row.account_id in met for row in rows.itertuples()]
        assert fold.sibling.tolist() == by_hand
        assert fold.sibling.any()


def test_by_account_nobody_judged_was_met_before_and_the_lesson_is_the_same() -> None:
    data = looks(3, accounts=400)
    by_deal, by_account = rolled(data), rolled(data, groups="account")
    for one, other in zip(by_deal.folds, by_account.folds, strict=True):
        learn = one.block.isin(["train", "calibration"])
        assert (other.block[learn] == one.block[learn]).all()
        met = set(by_deal.data.loc[learn, "account_id"].dropna())
        assert met.isdisjoint(by_account.data.loc[other.block == "test", "account_id"].dropna())
        assert (other.block == "test").sum() == ((one.block == "test") & ~one.sibling).sum()


def test_where_every_account_was_met_before_there_is_nobody_to_judge() -> None:
    data = looks(4).assign(account_id="the only customer")
    with pytest.raises(DataError, match=r"every account judged after .* `groups: deal`"):
        rolled(data, groups="account")


def test_without_accounts_there_are_no_siblings() -> None:
    found = rolled(looks(5).drop(columns="account_id"))
    assert not any(fold.sibling.any() for fold in found.folds)


@pytest.mark.parametrize(("folds", "ripen"), [(0, 30), (2_000, 30), (3, 400)])
def test_a_record_too_short_for_the_folds_is_told(folds: int, ripen: float) -> None:
    with pytest.raises(DataError, match=f"does not give {folds} origins. Ask for fewer"):
        rolling_origins(looks(6), until=UNTIL, folds=folds, ripen_days=ripen)


def test_undated_deals_are_told_when_all_and_left_out_when_some() -> None:
    data = looks(7)
    some = data["deal_id"].isin(["d001", "d002"])
    found = rolled(data.assign(created_at=data["created_at"].mask(some)))
    for fold in found.folds:
        assert (fold.block[found.data["deal_id"].isin(["d001", "d002"])] == "unused").all()
    with pytest.raises(DataError, match="give `created_at`"):
        rolled(data.assign(created_at=pd.NaT))


@settings(max_examples=25)
@given(SEEDS, st.floats(0, 1))
def test_a_deal_weighs_the_same_however_often_it_is_looked_at(seed: int, power: float) -> None:
    data = looks(seed)
    weight = pd.Series(deal_weights(data["deal_id"], power=power))
    total = weight.groupby(data["deal_id"]).sum()
    counts = data["deal_id"].value_counts()
    assert np.allclose(total, counts.reindex(total.index) ** (1 - power))


@settings(max_examples=25)
@given(SEEDS)
def test_with_a_voice_for_each_look_the_weights_are_the_usual_ones(seed: int) -> None:
    rows = known_at(looks(seed), UNTIL)
    ours, usual = judged_by_deal(rows, 60, power=0), Judged.of(rows, 60)
    assert ours.horizon == usual.horizon
    assert np.allclose(ours.weight, usual.weight)
    voice = np.ones(len(rows))
    args = (ours.event, ours.duration, ours.followed)
    assert np.allclose(censoring_weights(*args, voice, 20.0), horizon_weights(*args, 20.0))


def test_the_integrated_brier_score_is_the_mean_of_its_parts() -> None:
    rows = known_at(looks(8), UNTIL)
    judged = judged_by_deal(rows, 60, power=0)
    days = np.linspace(5, judged.horizon, 12)
    rng = np.random.default_rng(1)
    curve = np.sort(rng.random((len(rows), 12)), axis=1)
    parts = brier_parts(judged, np.ones(len(rows)), days, curve)
    won_day = np.where(judged.event == 1, judged.duration, np.inf)
    closed_day = np.where(judged.event > 0, judged.duration, np.inf)
    oracle = plain_integrated_brier(won_day, judged.followed, days, curve, closed_day)
    assert parts.mean() == pytest.approx(oracle)


def test_a_deal_twice_as_long_does_not_pull_the_weighted_share() -> None:
    """Worked by hand: two deals, one look of 10 days' follow-up against three of 30, 20 and 10."""
    event, duration = np.array([0, 1, 1, 1]), np.array([10.0, 5.0, 5.0, 5.0])
    followed = np.array([10.0, 30.0, 20.0, 10.0])
    voice = np.array([1.0, 1 / 3, 1 / 3, 1 / 3])
    found = censoring_weights(event, duration, followed, voice, 20.0)
    assert found == pytest.approx([0.0, 1 / 3, 1 / 3, 1 / 3])
    at_ten = censoring_weights(event, duration, followed, voice, 10.0)
    assert at_ten == pytest.approx([1.0, 1 / 3, 1 / 3, 1 / 3])
    late = np.array([10.0, 25.0, 15.0, 5.0])
    weights = censoring_weights(event, late, followed, voice, 30.0)
    assert weights == pytest.approx([0.0, (1 / 3) / (1 / 6), (1 / 3) / (1 / 3), 1 / 3])


def test_intervals_agree_with_drawing_deals_by_hand() -> None:
    rng = np.random.default_rng(2)
    deals = np.repeat([f"d{n}" for n in range(150)], 4).astype(object)
    score = np.repeat(rng.normal(size=150), 4) + 0.3 * rng.normal(size=600)
    p = 1 / (1 + np.exp(-1.3 * score))
    won = np.repeat(rng.random(150), 4) < 1 / (1 + np.exp(-score))
    weight = rng.uniform(0.5, 2, 600)
    draws = DealDraws(deals, draws=400, seed=3)
    rows_of = {deal: np.flatnonzero(deals == deal) for deal in np.unique(deals)}
    slow: dict[str, list[float]] = {"mean": [], "auc": [], "slope": [], "error": []}
    for pick in draws.picks:
        rows = np.concatenate(
            [np.tile(rows_of[d], n) for d, n in zip(np.unique(deals), pick, strict=True)]
        )
        chosen = (won[rows], p[rows], weight[rows])
        slow["mean"].append(float(np.average(p[rows], weights=weight[rows])))
        slow["auc"].append(auc(*chosen))
        slow["slope"].append(calibration_line(*chosen)[1])
        slow["error"].append(calibration_error(*chosen))
    told = {
        "mean": draws.of_mean(p, weight),
        "auc": draws.of_auc(won, p, weight),
        "slope": draws.of_slope(won, p, weight),
        "error": draws.of_calibration_error(won, p, weight),
    }
    slack = {"mean": 1e-9, "auc": 1e-9, "slope": 1e-3, "error": 0.02}
    for name, values in slow.items():
        assert told[name] == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=slack[name])


def test_one_outcome_or_one_promise_only_has_no_ranking_and_no_line() -> None:
    deals = np.array(["a", "b", "c"], dtype=object)
    draws = DealDraws(deals, draws=20)
    one = (np.array([True, True, True]), np.array([0.2, 0.5, 0.9]), np.ones(3))
    assert draws.of_auc(*one) is None
    assert draws.of_slope(*one) is None
    assert draws.of_slope(np.array([True, False, True]), np.full(3, 0.5), np.ones(3)) is None
