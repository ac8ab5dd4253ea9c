"""How much the fields of the deals that judge the model differ from those that it learned from.

A shift is no leak, so it is only a warning: the model's record on the test deals may say less of
tomorrow's. A field that is filled in one block and empty in the other is told too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from salesops_ml.quality.finding import Finding
from salesops_ml.quality.looks import LEAST_DEALS, Floats, Integers, Looks, plain

CHECK = "differs in the test rows"
ALARM_PSI = 0.25
BREAK = 3.0
"""A shift this many times the usual drift is a break."""
BINS = 10
FILLED, EMPTY = 0.5, 0.02
FAR = 0.25
"""Standard deviations, or share filled, by which a column must have moved."""
NORMAL_SPREAD = 3.29
"""From the 5th to the 95th hundredth of a normal distribution, in standard deviations."""
SURE = 3.0
SMALLEST = 0.01
"""Share that an empty class is given, so that one new value does not outweigh all others."""
AGES = (1, 2, 4, 8, 16)
"""Looks are compared with looks of like number: from these on, another class begins."""
MOST_ROWS = 20_000
SEASONS = (
    "f_month",
    "f_created_month",
    "f_weekday",
    "f_days_to_quarter_end",
    "f_days_to_month_end",
)
"""The calendar differs between blocks that follow each other; that needs no warning."""


def shift_findings(looks: Looks) -> list[Finding]:
    """Columns that change more between the learning and the test rows than they are used to.

    Rows weigh so that each deal counts once and that both blocks are of like age; then the population
    stability index over deciles (words: the commonest) is taken, less what chance alone would give.
    Where deals are dated, the later half of the learning rows is held against the test rows, and the
    earlier against the later half tells what drift is usual: experience grows, people come and go.
    """
    if looks.test is None:
        return []
    earlier, later = _halves(looks)
    pairs = [Pair.of(later, looks.test, looks.seed)]
    if earlier is not None:
        pairs.append(Pair.of(earlier, later, looks.seed))
    if min(pairs[0].sizes) < LEAST_DEALS:
        return []
    names = [name for name in looks.features if name not in SEASONS and name in looks.test]
    told = (_compare(name, pairs[0], pairs[1:]) for name in names)
    return [finding for finding in told if finding is not None]


def _halves(looks: Looks) -> tuple[pd.DataFrame | None, pd.DataFrame]:
    """The learning rows of deals that began earlier and later; None where nothing is dated."""
    if not looks.dated:
        return None, looks.data
    late = (looks.data["created_at"] >= looks.first["created_at"].quantile(0.5)).to_numpy()
    if min(late.sum(), (~late).sum()) < LEAST_DEALS:
        return None, looks.data
    return looks.data[~late], looks.data[late]


@dataclass(frozen=True)
class Pair:
    """Two blocks of looks, made comparable by weights.

    Attributes:
        blocks: the rows of each.
        weights: one weight a row.
        sizes: numbers of deals.
    """

    blocks: tuple[pd.DataFrame, pd.DataFrame]
    weights: tuple[Floats, Floats]
    sizes: tuple[int, int]

    @classmethod
    def of(cls, one: pd.DataFrame, other: pd.DataFrame, seed: int) -> Pair:
        """A sample of both; each deal counts once, and both hold the same shares of each age."""
        blocks = _some(one, seed), _some(other, seed)
        sizes = (blocks[0]["deal_id"].nunique(), blocks[1]["deal_id"].nunique())
        return cls(blocks, _weights(*blocks), sizes)

    def column(self, name: str) -> tuple[pd.Series, pd.Series]:
        """The column in both blocks."""
        return self.blocks[0][name], self.blocks[1][name]

    def filled(self, name: str) -> list[float]:
        """The share filled in each block."""
        pairs = zip(self.column(name), self.weights, strict=True)
        return [float(np.average(values.notna(), weights=weight)) for values, weight in pairs]

    def stability(self, name: str) -> float:
        """The population stability index of a column between the blocks, less chance's share."""
        one, other = self.column(name)
        codes, kinds = _classes(plain(one), plain(other))
        shares = [
            np.bincount(code, weights=weight, minlength=kinds) / weight.sum()
            for code, weight in zip(codes, self.weights, strict=True)
        ]
        return stability(*shares) - chance_stability(kinds, *self.sizes)


def _some(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """All looks at as many deals, drawn by chance, as make about `MOST_ROWS` rows."""
    deals = rows["deal_id"].unique()
    count = max(int(len(deals) * min(MOST_ROWS / len(rows), 1.0)), 1)
    drawn = np.random.default_rng(seed).choice(len(deals), count, replace=False)
    some = rows[rows["deal_id"].isin(deals[drawn])].reset_index(drop=True)
    return some.assign(_age=np.digitize(some.groupby("deal_id").cumcount(), AGES))


def _weights(learn: pd.DataFrame, test: pd.DataFrame) -> tuple[Floats, Floats]:
    """Weights that make every deal count once, and both blocks hold the same shares of each age."""
    raw = [
        1 / rows.groupby("deal_id")["_age"].transform("size").to_numpy(float)
        for rows in (learn, test)
    ]
    ages = [rows["_age"].to_numpy() for rows in (learn, test)]
    shares = [
        np.bincount(age, weights=w, minlength=len(AGES) + 1)
        for age, w in zip(ages, raw, strict=True)
    ]
    both = np.minimum(shares[0] / shares[0].sum(), shares[1] / shares[1].sum())
    even = [np.divide(both, share, out=np.zeros_like(both), where=share > 0) for share in shares]
    return raw[0] * even[0][ages[0]], raw[1] * even[1][ages[1]]


def _compare(name: str, pair: Pair, before: list[Pair]) -> Finding | None:
    """A finding where the column differs more than it did `before`."""
    here = pair.filled(name)
    if max(here) > FILLED and min(here) < EMPTY:
        evidence = f"filled in {here[0]:.0%} of the learning rows, {here[1]:.0%} of the test rows"
        return Finding(CHECK, name, evidence, "warn")
    index = pair.stability(name)
    usual = max([past.stability(name) for past in before], default=0.0) if index > ALARM_PSI else 0
    if index <= max(ALARM_PSI, BREAK * usual) or not _moved_far(name, pair, here):
        return None
    evidence = (
        f"population stability index {index:.2f} between learning and test rows, "
        f"{max(usual, 0):.2f} between earlier and later learning rows"
    )
    return Finding(CHECK, name, evidence, "warn")


def chance_stability(kinds: int, *sizes: int) -> float:
    """What the index of equal blocks of so many deals hardly ever exceeds: a scaled chi-square.

    Yurdakul & Naranjo (2020), Journal of Risk Model Validation 14.

    Example:
        >>> round(chance_stability(11, 1000, 200), 2)
        0.14
    """
    free = kinds - 1
    return float((free + SURE * np.sqrt(2 * free)) * sum(1 / size for size in sizes))


def _moved_far(name: str, pair: Pair, here: list[float]) -> bool:
    """Whether numbers moved by a good part of their spread, not only from one class to the next.

    Few values that wander a little, such as the usual days in each stage, fill other classes without
    being other values. The distance is the mean gap between quantiles, in standard deviations.
    """
    one, other = (plain(values) for values in pair.column(name))
    if not pd.api.types.is_float_dtype(one) or abs(here[0] - here[1]) > FAR:
        return True
    quantiles = [_quantiles(v, w) for v, w in zip((one, other), pair.weights, strict=True)]
    spread = float(quantiles[0][-1] - quantiles[0][0]) / NORMAL_SPREAD
    return float(np.abs(quantiles[0] - quantiles[1]).mean()) > FAR * spread


def _quantiles(values: pd.Series, weight: Floats) -> Floats:
    """Weighted quantiles from the 5th to the 95th hundredth of what is known."""
    known = values.notna().to_numpy()
    numbers = values.to_numpy(np.float64)[known]
    order = np.argsort(numbers, kind="stable")
    mass = np.cumsum(weight[known][order])
    places = np.searchsorted(mass, np.linspace(0.05, 0.95, 19) * mass[-1])
    return np.asarray(numbers[order][np.minimum(places, len(numbers) - 1)])


def stability(one: Floats, other: Floats) -> float:
    """Population stability index of two sets of shares: nought where equal, above .25 a great shift.

    Siddiqi (2006), Credit Risk Scorecards.

    Example:
        >>> round(stability(np.array([0.5, 0.5]), np.array([0.7, 0.3])), 3)
        0.169
    """
    one, other = np.maximum(one, SMALLEST), np.maximum(other, SMALLEST)
    return float(((other - one) * np.log(other / one)).sum())


def _classes(learn: pd.Series, test: pd.Series) -> tuple[list[Integers], int]:
    """Each value's class: deciles of the learned numbers or the commonest words; gaps are one."""
    if pd.api.types.is_float_dtype(learn):
        known = learn.dropna().to_numpy(np.float64)
        cuts = np.linspace(0, 1, BINS + 1)[1:-1]
        edges = np.unique(np.quantile(known, cuts)) if len(known) else known
        coded = [np.searchsorted(edges, v.to_numpy(np.float64)) for v in (learn, test)]
        others = len(edges)
    else:
        usual = learn.value_counts().index[: BINS - 1]
        coded = [usual.get_indexer(pd.Index(v)) for v in (learn, test)]
        others = len(usual)
        coded = [np.where(code < 0, others, code) for code in coded]
    gap = others + 1
    both = [np.where(v.isna(), gap, code) for v, code in zip((learn, test), coded, strict=True)]
    return both, gap + 1
