"""Any score that there may be, for tests of how a CRM keeps it."""

from __future__ import annotations

from datetime import date, datetime

from hypothesis import strategies as st

from salesops_ml.scoring.fields import Score

_TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=400)
any_scores = st.builds(
    Score,
    st.none() | st.floats(0, 1).map(lambda p: round(p, 6)),
    st.none() | st.dates(date(2000, 1, 1), date(2100, 1, 1)),
    st.none() | st.sampled_from(["very low", "low", "medium", "high"]),
    _TEXTS,
    st.none() | st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(
        lambda at: at.replace(microsecond=0)
    ),
    _TEXTS,
)  # fmt: skip
