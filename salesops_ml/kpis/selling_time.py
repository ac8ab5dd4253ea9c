"""Time spent selling: how much of the logged working time goes to customers, and what an hour brings.

Which activities are selling is a setting: `kpis.selling`.
"""

from __future__ import annotations

import ibis.expr.types as ir
import pandas as pd

from salesops_ml.kpis.facts import Facts
from salesops_ml.kpis.quota import with_won
from salesops_ml.kpis.rows import SECONDS_AN_HOUR, percent, ratio, tell


def selling_time(facts: Facts) -> pd.DataFrame:
    """Minutes of selling activities / all logged minutes, %. n: activities with a duration."""
    logged = _logged(facts)
    return tell(logged, selling_time_share=percent(logged.selling, logged.total))


def won_per_selling_hour(facts: Facts) -> pd.DataFrame:
    """Won amount / hours of selling activities. n: deals won."""
    logged = with_won(_logged(facts).drop("n"), facts)
    hours = logged.selling.cast("float64") / SECONDS_AN_HOUR
    return tell(logged, won_per_selling_hour=ratio(logged.won_amount, hours))


def _logged(facts: Facts) -> ir.Table:
    """period, node, selling and total (whole seconds), n."""
    logged = facts.logged.filter(facts.logged.timed > 0)
    selling = logged.kind.isin(facts.settings.kpis.selling)
    return logged.group_by("period", "node").agg(
        n=logged.timed.sum(),
        total=logged.seconds.sum(),
        selling=logged.seconds.sum(where=selling).fill_null(0),
    )
