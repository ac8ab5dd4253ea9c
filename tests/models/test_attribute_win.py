"""The win model for deals with attributes only: additive, repeatable, honest where nothing tells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from salesops_ml.errors import ModelError
from salesops_ml.models.attribute_win import AttributeWin
from salesops_ml.settings import Models


def deals(n: int, seed: int, *, signal: float = 1.0) -> tuple[pd.DataFrame, np.ndarray]:
    """Deals whose winning hangs on an account of many, on rep with source, and on a bent amount."""
    rng = np.random.default_rng(seed)
    account, rep = rng.integers(0, n // 12, n), rng.integers(0, 15, n)
    source, amount = rng.integers(0, 5, n), rng.lognormal(9, 1, n)
    fixed = np.random.default_rng(99)
    by_account, by_pair = fixed.normal(0, 1, n // 12), fixed.normal(0, 1, (15, 5))
    z = by_account[account] + by_pair[rep, source] - np.abs(np.log(amount) - 9) + 0.3
    won = rng.random(n) < 1 / (1 + np.exp(-signal * z))
    frame = pd.DataFrame(
        {
            "f_account": [f"account {i}" for i in account],
            "f_rep": [f"rep {i}" for i in rep],
            "f_source": pd.Series([f"source {i}" for i in source]).where(rng.random(n) > 0.1),
            "f_amount": np.where(rng.random(n) > 0.1, amount, np.nan),
            "f_month": rng.integers(1, 13, n).astype(float),
            "f_constant": 1.0,
            "f_empty": np.nan,
        }
    )
    return frame, won


def fitted(frame: pd.DataFrame, won: np.ndarray, **given: object) -> AttributeWin:
    options: dict = {"models": Models(), "seed": 3, "threads": 1} | given
    return AttributeWin.fit(frame, won, options.pop("weight", np.ones(len(won))), **options)


def log_loss(won: np.ndarray, p: np.ndarray) -> float:
    return float(-np.where(won, np.log(p), np.log1p(-p)).mean())


@pytest.fixture(scope="module")
def learned() -> tuple[AttributeWin, pd.DataFrame, np.ndarray]:
    frame, won = deals(1_500, 1)
    return fitted(frame, won), frame, won


def test_contributions_sum_to_the_log_odds(learned: tuple) -> None:
    model, frame, _ = learned
    some = frame.head(60)
    parts = model.contributions(some)
    p = model.predict(some)
    assert parts.sum(axis=1).to_numpy() == pytest.approx(np.log(p / (1 - p)), abs=1e-8)
    assert list(parts.columns) == ["f_amount", "f_month", "f_account", "f_rep", "f_source", "base"]
    spread = parts.std()
    assert spread[["f_account", "f_rep", "f_amount"]].min() > 2 * spread["f_month"]


def test_rows_may_come_in_any_order_and_threads_in_any_number(learned: tuple) -> None:
    model, frame, won = learned
    order = np.random.default_rng(8).permutation(len(frame))
    again = fitted(frame.iloc[order], won[order], threads=2)
    assert np.array_equal(again.predict(frame), model.predict(frame))


def test_saved_and_loaded_it_scores_bit_for_bit(learned: tuple, tmp_path: Path) -> None:
    model, frame, _ = learned
    model.save(tmp_path)
    loaded = AttributeWin.load(tmp_path)
    assert np.array_equal(loaded.predict(frame), model.predict(frame))
    assert loaded.contributions(frame.head(5)).equals(model.contributions(frame.head(5)))
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".txt"}


def test_loading_what_is_not_there_says_where(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no attribute model"):
        AttributeWin.load(tmp_path)


def test_words_never_seen_score_like_any_other_rare_word(learned: tuple) -> None:
    model, frame, _ = learned
    new = frame.head(20).assign(f_account="never heard of", f_rep="newcomer", f_source=None)
    newer = new.assign(f_account="nor of this one")
    assert np.array_equal(model.predict(new), model.predict(newer))
    assert ((model.predict(new) > 0.01) & (model.predict(new) < 0.99)).all()
    assert np.isfinite(model.predict(frame.assign(f_amount=np.nan))).all()


def test_it_beats_plain_boosting_on_pairs_and_many_words() -> None:
    import lightgbm

    frame, won = deals(3_000, 4)
    coded = frame.astype(dict.fromkeys(("f_account", "f_rep", "f_source"), "category"))
    train = np.arange(3_000) < 2_400
    plain = lightgbm.LGBMClassifier(n_jobs=1, verbose=-1).fit(coded[train], won[train])
    theirs = log_loss(won[~train], plain.predict_proba(coded[~train])[:, 1])
    ours = log_loss(won[~train], fitted(frame[train], won[train]).predict(frame[~train]))
    assert ours < theirs - 0.03
    assert ours < log_loss(won[~train], np.full(600, won[train].mean())) - 0.03


def test_without_signal_it_stays_at_the_base_rate() -> None:
    frame, won = deals(1_600, 5, signal=0.0)
    train = np.arange(1_600) < 1_000
    ours = log_loss(won[~train], fitted(frame[train], won[train]).predict(frame[~train]))
    assert ours < log_loss(won[~train], np.full(600, won[train].mean())) + 0.01


@pytest.mark.parametrize("rows", [1, 5, 12, 40])
def test_few_deals_are_enough_to_score(rows: int) -> None:
    frame, won = deals(120, 6)
    model = fitted(frame.head(rows), won[:rows])
    p = model.predict(frame)
    assert ((p > 0) & (p < 1)).all()
    assert model.contributions(frame).sum(axis=1).to_numpy() == pytest.approx(model.log_odds(frame))


def test_one_side_only_gives_its_shrunken_rate() -> None:
    frame, _ = deals(60, 7)
    p = fitted(frame, np.ones(60, dtype=bool)).predict(frame)
    assert p == pytest.approx(np.full(60, 60.5 / 61))


def test_one_word_alone_learns_its_rates_and_rare_wins_stay_rare() -> None:
    rng = np.random.default_rng(9)
    word = rng.integers(0, 2, 4_000)
    won = rng.random(4_000) < np.where(word == 1, 0.04, 0.01)
    frame = pd.DataFrame({"f_source": np.where(word == 1, "referral", "cold")})
    p = fitted(frame, won).predict(pd.DataFrame({"f_source": ["referral", "cold"]}))
    rates = [won[word == 1].mean(), won[word == 0].mean()]
    assert p == pytest.approx(rates, rel=0.35)
    assert p[0] > 1.8 * p[1]


def test_no_feature_that_varies_gives_the_rate() -> None:
    frame = pd.DataFrame({"f_x": np.ones(80)})
    won = np.arange(80) % 4 == 0
    assert fitted(frame, won).predict(frame) == pytest.approx(np.full(80, 20.5 / 81))


def test_rows_without_weight_say_nothing_and_weights_count() -> None:
    frame, won = deals(900, 10)
    weight = np.where(np.arange(900) < 600, 1.0, 0.0)
    half = fitted(frame, won, weight=weight)
    alone = fitted(frame.head(600), won[:600])
    assert np.array_equal(half.predict(frame), alone.predict(frame))
    heavy = fitted(frame, won, weight=np.where(won, 3.0, 1.0))
    assert heavy.predict(frame).mean() > fitted(frame, won).predict(frame).mean() + 0.1


def test_groups_keep_it_from_trusting_what_siblings_share() -> None:
    """The account's own number tells all in training and nothing about other accounts."""
    rng = np.random.default_rng(11)
    account = np.repeat(np.arange(60), 15)
    fate = rng.random(60) < 0.5
    won = np.where(rng.random(900) < 0.9, fate[account], ~fate[account])
    frame = pd.DataFrame({"f_employees": rng.lognormal(5, 1, 60)[account]})
    new = pd.DataFrame({"f_employees": rng.lognormal(5, 1, 600)})
    trusting = fitted(frame, won).predict(new)
    wary = fitted(frame, won, groups=account).predict(new)
    assert wary.std() < trusting.std() / 2


def test_time_blocks_are_used_and_fall_back_where_one_holds_all_wins() -> None:
    frame, won = deals(600, 12)
    by_time = fitted(frame, won, order=np.arange(600))
    assert not np.array_equal(by_time.predict(frame), fitted(frame, won).predict(frame))
    late = fitted(frame, np.arange(600) >= 540, order=np.arange(600))
    assert np.isfinite(late.predict(frame)).all()


def test_bad_input_is_named() -> None:
    frame, won = deals(60, 13)
    with pytest.raises(ModelError, match="positive `weight`"):
        fitted(frame, won, weight=np.zeros(60))
    with pytest.raises(ModelError, match="59"):
        fitted(frame, won[:59], weight=np.ones(60))
    model = fitted(*deals(300, 14))
    with pytest.raises(ModelError, match="f_rep"):
        model.predict(frame.drop(columns="f_rep"))
