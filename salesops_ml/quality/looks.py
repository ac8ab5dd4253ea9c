"""The training rows as the leakage audit reads them: by deal, with what is filled and what is declared.

A column is *declared* where nothing dates its values: the configuration says that they stand since
the deal's creation, and today's value is believed. All others come from dated records.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from salesops_ml.snapshots.features import FeatureSpec

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

LEAST_DEALS = 30
"""Fewer deals of an outcome prove nothing."""
FIXED_FEATURES = {"product": "f_product", "rep_id": "f_rep"}
SOURCES = ("account_id",)
"""Columns that are no features, but whose gaps show in many."""
SOME_AMOUNTS = 10
SECONDS_A_DAY = 86_400.0


@dataclass(frozen=True)
class Looks:
    """Looks sorted by deal and day, with `outcome` and `days_to_outcome`.

    Attributes:
        data: the rows that a model learns from.
        test: the rows that judge it, where there are any.
        declared: features whose value is today's, believed to stand since creation.
        seed: for what is drawn by chance.
    """

    data: pd.DataFrame
    test: pd.DataFrame | None = None
    declared: frozenset[str] = frozenset()
    seed: int = 7

    @classmethod
    def of(
        cls, data: pd.DataFrame, spec: FeatureSpec, *, test: pd.DataFrame | None, seed: int
    ) -> Looks:
        """The looks in `data`, whatever its row order; `spec` tells which columns are declared."""
        judged = None if test is None or test.empty else _sorted(test)
        return cls(_sorted(data), judged, declared_features(spec), seed)

    @cached_property
    def features(self) -> list[str]:
        """Names of the features, in order."""
        return [name for name in self.data.columns if name.startswith("f_")]

    @cached_property
    def columns(self) -> list[str]:
        """The features, and what they are made of where that is declared: the account."""
        return [
            *self.features,
            *(name for name in SOURCES if name in self.declared & set(self.data)),
        ]

    @cached_property
    def number(self) -> Integers:
        """Which look at its deal each row is, from nought."""
        counted = self.data.groupby("deal_id", sort=False).cumcount()
        return np.asarray(counted, np.int64)

    @cached_property
    def first(self) -> pd.DataFrame:
        """The first look at each deal."""
        rows: pd.DataFrame = self.data[self.number == 0]
        return rows.reset_index(drop=True)

    @cached_property
    def closed(self) -> pd.DataFrame:
        """The first look at each deal that was won or lost in the end."""
        return self.first[self.first["outcome"] != "open"].reset_index(drop=True)

    @cached_property
    def later(self) -> pd.DataFrame:
        """One look by chance, after the first, at each closed deal, a day or more ahead of its end."""
        ahead = (self.data["outcome"] != "open") & (self.data["days_to_outcome"] >= 1)
        places = np.flatnonzero(ahead.to_numpy() & (self.number > 0))
        drawn = np.random.default_rng(self.seed).random(len(places))
        keys = pd.DataFrame({"deal": self.data["deal_id"].to_numpy()[places], "drawn": drawn})
        chosen = keys.sort_values("drawn", kind="stable").drop_duplicates("deal").index
        rows: pd.DataFrame = self.data.iloc[places[np.sort(chosen)]]
        return rows.reset_index(drop=True)

    @cached_property
    def everybody(self) -> pd.DataFrame:
        """The first look at each deal, those of the test rows too."""
        if self.test is None:
            return self.first
        more = self.test.drop_duplicates("deal_id")
        more = more[~more["deal_id"].isin(self.first["deal_id"])]
        return pd.concat([self.first, more], ignore_index=True)

    @cached_property
    def dated(self) -> bool:
        """Whether the deals say when they began."""
        return bool(self.data["created_at"].notna().any()) if "created_at" in self.data else False


def declared_features(spec: FeatureSpec) -> frozenset[str]:
    """The features of `spec` that rest on a declaration, not on dated records."""
    fixed = {FIXED_FEATURES.get(name, f"f_{name}") for name in spec.fixed if name not in SOURCES}
    told = {f"f_{a.column}" for a in spec.attributes if a.known == "at_creation"}
    return frozenset(fixed | told | (set(SOURCES) & set(spec.fixed)))


def filled(values: pd.Series) -> Bools:
    """Where something stands; where many amounts do, nought stands for "nothing yet".

    A column of noughts and ones is a flag: its nought is an answer.

    Example:
        >>> filled(pd.Series([1.0, 0.0, None])).tolist()
        [True, True, False]
        >>> filled(pd.Series([0.0, *range(10, 21)])).tolist()[:2]
        [False, True]
    """
    here = values.notna().to_numpy(bool)
    read = plain(values)
    if not pd.api.types.is_float_dtype(read):
        return here
    numbers = read.to_numpy(np.float64)
    amounts = numbers[here & (numbers != 0)]
    few = len(np.unique(amounts[:5000])) <= SOME_AMOUNTS
    return here if few or (amounts < 0).any() else here & (numbers != 0)


def plain(values: pd.Series) -> pd.Series:
    """Numbers, flags and money as floats, moments as days since 1970, all else as words.

    Example:
        >>> plain(pd.Series([Decimal("1.50"), None])).tolist()
        [1.5, nan]
    """
    if pd.api.types.is_datetime64_any_dtype(values):
        seconds = values.astype("datetime64[us]").astype(np.int64).to_numpy() / 1e6
        days = np.where(values.isna(), np.nan, seconds / SECONDS_A_DAY)
        return pd.Series(days, index=values.index, name=values.name)
    if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return values.astype(np.float64)
    known = values.dropna()
    if len(known) and isinstance(known.iloc[0], Decimal):
        return pd.to_numeric(values.astype(object).where(values.notna(), np.nan)).astype(np.float64)
    if len(known) and isinstance(known.iloc[0], date):
        return plain(pd.to_datetime(values))
    return values


def _sorted(data: pd.DataFrame) -> pd.DataFrame:
    """Rows by deal and day; what is so already is not sorted again."""
    deal, day = data["deal_id"].to_numpy(dtype=object), data["as_of"].to_numpy()
    rises = (deal[1:] > deal[:-1]) | ((deal[1:] == deal[:-1]) & (day[1:] >= day[:-1]))
    if not rises.all():
        data = data.sort_values(["deal_id", "as_of"], kind="stable")
    return data.reset_index(drop=True)
