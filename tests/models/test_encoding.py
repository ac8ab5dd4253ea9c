"""Words to codes: what is well known by name, what goes by its record, what was never seen."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from salesops_ml.errors import ModelError
from salesops_ml.models.encoding import KNOWN_PERSON_DEALS, Encoder


@pytest.fixture
def looks() -> pd.DataFrame:
    """Two looks a deal: Ann has as many deals as make her known by name, Bob one fewer."""
    reps = ["Ann"] * KNOWN_PERSON_DEALS + ["Bob"] * (KNOWN_PERSON_DEALS - 1)
    numbers = np.arange(len(reps), dtype=float)
    deals = pd.DataFrame(
        {
            "deal_id": [f"D{place:04}" for place in range(len(reps))],
            "f_rep": pd.Categorical(reps),
            "f_rep_win_rate": np.where(numbers % 2 == 0, 0.2, 0.4),
            "f_amount": numbers,
        }
    )
    return pd.concat([deals, deals], ignore_index=True)


def test_a_rep_with_few_deals_goes_by_the_record(looks: pd.DataFrame) -> None:
    encoder = Encoder.fit(looks)
    assert encoder.words == {"f_rep": ("Ann",)}
    codes = encoder.transform(looks)[:, encoder.names.index("f_rep")]
    assert set(codes[looks["f_rep"] == "Ann"]) == {0.0}
    assert set(codes[looks["f_rep"] == "Bob"]) == {1.0}


def test_no_rep_with_enough_deals_no_column_of_names(looks: pd.DataFrame) -> None:
    few = looks[looks["f_rep"] == "Bob"].assign(f_rep=lambda rows: ["Bob", "Cy"] * (len(rows) // 2))
    assert "f_rep" not in Encoder.fit(few).names


def test_names_are_kept_where_no_record_tells_of_them(looks: pd.DataFrame) -> None:
    assert Encoder.fit(looks.drop(columns="f_rep_win_rate")).words == {"f_rep": ("Ann", "Bob")}


def test_a_word_never_seen_is_other_and_an_empty_cell_stays_empty(looks: pd.DataFrame) -> None:
    encoder = Encoder.fit(looks)
    new = looks.head(2).assign(f_rep=["Zoe", None])
    codes = encoder.transform(new)[:, encoder.names.index("f_rep")]
    assert codes[0] == 1.0
    assert np.isnan(codes[1])


def test_a_missing_feature_is_named(looks: pd.DataFrame) -> None:
    encoder = Encoder.fit(looks)
    with pytest.raises(ModelError, match="`f_amount`"):
        encoder.transform(looks.drop(columns="f_amount"))
