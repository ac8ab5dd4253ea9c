"""Conditions that a deal may meet when it enters a stage, such as "product is Enterprise" or
"discount above 20 %", and the columns that say what kind of deal it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from salesops_ml.mining.steps import Floats, Ints, Mask

if TYPE_CHECKING:
    import pandas as pd

MOST_LEVELS = 12
FEWEST_ROWS = 50
DISCOUNTS = (0.05, 0.10, 0.15, 0.20, 0.25, 0.30, 0.40)
"""Cuts of a discount, as people speak of it; other numbers are cut at their quintiles."""
_QUINTILES = (0.2, 0.4, 0.6, 0.8)
_HIDDEN = ("case_id", "position")
_TOO_MANY = ("rep",)
"""Known by a share of the pace of its own, not by a column a level."""


@dataclass(frozen=True)
class Condition:
    """What a deal may be, and the rows in which it is so.

    Attributes:
        attribute: the column it speaks of.
        value: what the column must be, such as `Enterprise` or `> 20%`.
        rows: (n,) whether it holds.
    """

    attribute: str
    value: str
    rows: Mask

    def __str__(self) -> str:
        return f"{self.attribute.removeprefix('x_').replace('_', ' ')} {self.value}"


def conditions(kinds: pd.DataFrame) -> list[Condition]:
    """Every condition worth testing: each value of a category, each side of a number's cuts.

    Args:
        kinds: (n rows) what was known of each deal, as `segments` gives it.

    Example:
        >>> import pandas as pd
        >>> kinds = pd.DataFrame({"product": ["A"] * 60 + ["B"] * 60, "discount": [0.0, 0.3] * 60})
        >>> [str(condition) for condition in conditions(kinds)][:3]
        ['product A', 'product B', 'discount > 5%']
    """
    found = [*_category_conditions(kinds), *_number_conditions(kinds)]
    return [one for one in found if FEWEST_ROWS <= one.rows.sum() <= len(kinds) - FEWEST_ROWS]


def mix_columns(kinds: pd.DataFrame) -> Floats:
    """(n, p) indicators of what kind of deal it is: each level of a category, each band of a number."""
    columns: list[Mask] = [one.rows for one in _category_conditions(kinds)]
    for name in _names(kinds, numeric=True):
        values = kinds[name].to_numpy(dtype=np.float64)
        band = np.digitize(values, cuts(name, values))
        columns += [(band == code) & ~np.isnan(values) for code in range(band.max(initial=0) + 1)]
    kept = [column for column in columns if FEWEST_ROWS <= column.sum() < len(kinds)]
    return np.array(kept, dtype=np.float64).reshape(len(kept), len(kinds)).T


def codes_of(kinds: pd.DataFrame, name: str) -> Ints | None:
    """(n,) code of each row's value, -1 where it is empty; None where the column is not there."""
    import pandas as pd

    if name not in kinds.columns:
        return None
    return pd.factorize(kinds[name], sort=True)[0].astype(np.int64)


def _names(kinds: pd.DataFrame, *, numeric: bool) -> list[str]:
    from pandas.api.types import is_numeric_dtype

    kept = [str(name) for name in kinds.columns if name not in (*_HIDDEN, *_TOO_MANY)]
    return [name for name in kept if is_numeric_dtype(kinds[name]) == numeric]


def _category_conditions(kinds: pd.DataFrame) -> Iterator[Condition]:
    for name in _names(kinds, numeric=False):
        counts = kinds[name].value_counts()
        usual = sorted(counts.index[:MOST_LEVELS], key=str)
        for level in usual:
            yield Condition(name, str(level), (kinds[name] == level).fillna(False).to_numpy(bool))


def _number_conditions(kinds: pd.DataFrame) -> Iterator[Condition]:
    for name in _names(kinds, numeric=True):
        values = kinds[name].to_numpy(dtype=np.float64)
        for cut in cuts(name, values):
            yield Condition(name, f"> {shown(name, cut)}", values > cut)
            if name != "discount":
                yield Condition(name, f"<= {shown(name, cut)}", values <= cut)


def cuts(name: str, values: Floats) -> npt.NDArray[Any]:
    """(c,) rising cuts of a number: those of a discount, else its quintiles."""
    known = values[~np.isnan(values)]
    if not len(known):
        return np.zeros(0)
    if name == "discount":
        return np.array([cut for cut in DISCOUNTS if known.min() <= cut < known.max()])
    return np.unique(np.quantile(known, _QUINTILES, method="lower"))


def shown(name: str, cut: float) -> str:
    """A cut as people read it, such as `20%` or `12,000`."""
    return f"{cut:.0%}" if name == "discount" else f"{cut:,.0f}"
