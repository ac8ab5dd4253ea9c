"""Factors: what may set deals apart, each a list of levels, one side held against the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from salesops_ml.mining.conditions import FEWEST_ROWS, MOST_LEVELS, Condition, cuts, shown
from salesops_ml.mining.steps import Floats, Ints

if TYPE_CHECKING:
    import pandas as pd

MOST_NAMES = 40
"""Reps that are told apart by name: those with the most deals; the others are one group."""
_NAMES = ("rep",)
_BOTH_SIDES = 2


@dataclass(frozen=True)
class Factor:
    """One attribute of the deals, in levels.

    Attributes:
        attribute: the column.
        level: (n,) code of each row's level; -1 where it is not known or too seldom.
        texts: what each level is called; of a number, the cut above which each but the first lies.
        ordered: whether it is a number in bands.
    """

    attribute: str
    level: Ints
    texts: tuple[str, ...]
    ordered: bool

    @property
    def columns(self) -> Floats:
        """(n, levels) indicators."""
        here = self.level[:, None] == np.arange(len(self.texts))
        return np.asarray(here, dtype=np.float64)

    def sides(self) -> Iterator[tuple[Condition, Floats]]:
        """Each condition worth testing, and (levels,) weights: its mean less that of all others.

        Rows whose level is not known are among the others.
        """
        count = np.bincount(self.level[self.level >= 0], minlength=len(self.texts)).astype(float)
        for turn in range(len(self.texts)):
            inside = np.arange(len(self.texts)) >= turn
            if not self.ordered:
                inside = np.arange(len(self.texts)) == turn
            elif turn == 0:
                continue
            here, rest = count[inside].sum(), len(self.level) - count[inside].sum()
            if min(here, rest) < FEWEST_ROWS:
                continue
            rows = (self.level >= 0) & inside[np.maximum(self.level, 0)]
            text = f"> {self.texts[turn]}" if self.ordered else self.texts[turn]
            weights = np.where(inside, count / here, -count / rest)
            yield Condition(self.attribute, text, rows), weights


def other_side(condition: Condition) -> Condition:
    """The condition turned round: `> 12` becomes `<= 12`; rows not known are on this side too."""
    return Condition(condition.attribute, condition.value.replace(">", "<=", 1), ~condition.rows)


def factors(known: pd.DataFrame, names: Sequence[str]) -> list[Factor]:
    """The columns of `names` that have at least two levels, as factors.

    Args:
        known: (n rows) what was known of each deal.
        names: columns; those that are not there are passed over.

    Example:
        >>> import pandas as pd
        >>> known = pd.DataFrame({"product": ["A"] * 60 + ["B"] * 60})
        >>> [(str(condition), weights.tolist()) for condition, weights in
        ...     factors(known, ["product"])[0].sides()]
        [('product A', [1.0, -1.0]), ('product B', [-1.0, 1.0])]
    """
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    found = []
    for name in names:
        if name not in known.columns:
            continue
        numeric = is_numeric_dtype(known[name]) and not is_bool_dtype(known[name])
        factor = _bands(known, name) if numeric else _levels(known, name)
        if len(factor.texts) >= _BOTH_SIDES or (factor.texts and (factor.level < 0).any()):
            found.append(factor)
    return found


def _levels(known: pd.DataFrame, name: str) -> Factor:
    """The most usual values of a category, in order of their names."""
    most = MOST_NAMES if name in _NAMES else MOST_LEVELS
    values = known[name].astype("category").cat
    code, names = values.codes.to_numpy(), [str(text) for text in values.categories]
    count = np.bincount(code[code >= 0], minlength=len(names))
    usual = [place for place in range(len(names)) if count[place] >= FEWEST_ROWS]
    usual = sorted(usual, key=lambda place: (-count[place], names[place]))[:most]
    usual = sorted(usual, key=lambda place: names[place])
    level = np.full(len(names) + 1, -1)  # the last stands for what is not known
    level[usual] = np.arange(len(usual))
    return Factor(name, level[code], tuple(names[place] for place in usual), ordered=False)


def as_categories(known: pd.DataFrame) -> pd.DataFrame:
    """`known` with its texts as categories, which are looked up faster again and again."""
    texts = [str(name) for name in known if known[name].dtype == object]
    return known.assign(**{name: known[name].astype("category") for name in texts})


def _bands(known: pd.DataFrame, name: str) -> Factor:
    """A number between its cuts; the first band lies below all of them."""
    values = known[name].to_numpy(dtype=np.float64)
    edges = cuts(name, values)
    band = np.asarray(np.digitize(values, edges, right=True), dtype=np.int64)
    level = np.asarray(np.where(np.isnan(values), -1, band), dtype=np.int64)
    return Factor(name, level, ("", *(shown(name, cut) for cut in edges)), ordered=True)
