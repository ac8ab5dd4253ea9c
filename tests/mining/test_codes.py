"""Counting by code equals counting with sets, however many keys there could be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesops_ml.mining.codes import distinct_pairs, recoded


@given(st.lists(st.integers(0, 9), max_size=30))
@pytest.mark.parametrize("size", [10, 10_000_000])
def test_keys_that_occur_and_their_places(size: int, keys: list[int]) -> None:
    present, place = recoded(np.array(keys, dtype=np.int64), size)
    assert present.tolist() == sorted(set(keys))
    assert present[place].tolist() == keys


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), max_size=30))
@pytest.mark.parametrize("keys", [5, 100_000])
def test_each_pair_once(keys: int, pairs: list[tuple[int, int]]) -> None:
    rows = np.array(sorted(pairs, key=lambda pair: pair[1]), dtype=np.int64).reshape(-1, 2)
    key, case = distinct_pairs(rows[:, 0], rows[:, 1], keys)
    assert list(zip(key.tolist(), case.tolist(), strict=True)) == sorted(set(pairs))
