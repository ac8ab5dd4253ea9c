"""Prospect meetings: how often a rep sits down with a customer over a deal that is not closed yet.

Which activities are meetings is a setting: `kpis.meetings`.
"""

from __future__ import annotations

import pandas as pd

from salesops_ml.kpis.facts import Facts
from salesops_ml.kpis.rows import ratio, tell


def prospect_meetings(facts: Facts) -> pd.DataFrame:
    """Meetings over open deals / reps with any logged activity, per period. n: such meetings."""
    logged = facts.logged
    meeting = logged.kind.isin(facts.settings.kpis.meetings) & logged.prospect
    counts = logged.group_by("period", "node").agg(
        n=logged.n.sum(where=meeting).fill_null(0), reps=logged.rep_id.nunique()
    )
    return tell(counts, meetings_per_rep=ratio(counts.n, counts.reps))
