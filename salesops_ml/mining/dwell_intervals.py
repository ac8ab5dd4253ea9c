"""How sure dwell times, shares and win rates are, in days of the calendar and in working days.

One row per stage and per transition, beside what `stages` and `transitions` tell: the same figures,
each with an interval in which the stays of one deal count together (see `influence` and
`quantile_bounds`). Working time differs from calendar time by nights off, weekends and holidays; a
stage that is slow in both is slow, one that is slow in calendar time alone waits for Mondays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from salesops_ml.errors import UsageError
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.codes import distinct_pairs, recoded
from salesops_ml.mining.influence import AtRisk, share_interval, share_of_exits, summed
from salesops_ml.mining.quantile_bounds import any_exit_quantile, one_exit_quantile
from salesops_ml.mining.steps import ENDED, OPEN, Floats, Ints, Steps, as_steps
from salesops_ml.mining.visits import Visits, endings_after, visits_of

if TYPE_CHECKING:
    import pandas as pd

PROBABILITIES = {"p50": 0.5, "p90": 0.9}
_CLOCKS = {"days": "calendar days", "working_days": "working days"}

COLUMNS = {
    "kind": "stage (any exit) or step (stage to stage, given that exit)",
    "source": "the stage",
    "target": "for a step, the stage entered next; null for a stage",
    "count": "visits of the stage, or times that the step was taken",
    "cases": "deals that did it at least once",
    "share": "for a stage, of all deals those that were ever in it; for a step, of all that leave "
    "the source those that go this way, 0..1",
    "share_low": "lower end of its interval, drawn by deal",
    "share_high": "upper end",
    **{
        f"dwell_{name}_{unit}{end}": f"{words}, {told}{more}"
        for unit, told in _CLOCKS.items()
        for name, words in (("p50", "median stay"), ("p90", "stay that nine in ten do not exceed"))
        for end, more in (
            ("", ", deals still there counted as at least so long; null where not reached"),
            ("_low", ": lower end of its interval"),
            ("_high", ": upper end; null where so few have left that there is none"),
        )
    },
    "win_rate_after": "share won of those that close after it, open deals censored; null if none",
    "win_rate_low": "lower end of its interval",
    "win_rate_high": "upper end",
}


def dwell_intervals(
    log: Any,
    *,
    as_of: datetime | None = None,
    won: Sequence[str] = (),
    lost: Sequence[str] = (),
    working: Clock | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Every stage and step with intervals for its share, dwell times and win rate.

    Args:
        log: an `event_log`, or a pandas, Arrow or Ibis table with pm4py's columns.
        as_of, won, lost: for a log with pm4py's columns, see `as_steps`.
        working: the company's working days; Monday to Friday, UTC, by default.
        level: what the intervals promise.

    Returns:
        A frame with the columns of `COLUMNS`: stages by name, then steps, most frequent first.

    Raises:
        SchemaError, DataError, UsageError: see `as_steps`; or `level` is not between 0 and 1.

    Example:
        >>> import pandas as pd
        >>> log = pd.DataFrame({"case:concept:name": ["a", "a", "b", "b"],
        ...     "concept:name": ["Lead", "Offer", "Lead", "Offer"],
        ...     "time:timestamp": pd.to_datetime(["2026-01-01", "2026-01-05", "2026-01-02",
        ...                                       "2026-01-08"])})
        >>> found = dwell_intervals(log).query("kind == 'step'")
        >>> found[["target", "dwell_p50_days", "dwell_p50_working_days"]].values
        array([['Offer', 4.0, 2.0]], dtype=object)
    """
    import pandas as pd

    if not 0 < level < 1:
        raise UsageError(f"`level`: {level:g} is not between 0 and 1; give such as 0.95")
    steps = as_steps(log, as_of=as_of, won=won, lost=lost)
    clocks = {"days": Clock(), "working_days": working or Clock(working=True)}
    timed = {unit: visits_of(steps, clock) for unit, clock in clocks.items()}
    frames = [_stages(steps, timed, level), _step_rows(steps, timed, level)]
    return pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)


@dataclass(frozen=True)
class _Passings:
    """Events grouped by stage or by step: (n,) group, deal and moment, `groups` of them."""

    group: Ints
    case: Ints
    moment: Ints
    groups: int


def _stages(steps: Steps, timed: dict[str, Visits], level: float) -> pd.DataFrame:
    import pandas as pd

    names, deals = len(steps.activities), float(len(steps.case_ids))
    stage, _ = distinct_pairs(steps.activity, steps.case, names)
    cases = np.bincount(stage, minlength=names)
    share = cases / max(deals, 1.0)
    low, high = share_interval(
        share, np.sqrt(share * (1 - share) / max(deals, 1.0)), np.full(names, deals), level
    )
    told: dict[str, Any] = {
        "kind": "stage",
        "source": pd.Series(steps.activities, dtype=object),
        "target": None,
        "count": np.bincount(steps.activity, minlength=names),
        "cases": cases,
        "share": share,
        "share_low": low,
        "share_high": high,
    }
    for unit, visits in timed.items():
        stays = AtRisk.of(visits.stage, visits.days, visits.exited, names)
        for name, probability in PROBABILITIES.items():
            ends = any_exit_quantile(stays, visits.days, visits.case, probability, level)
            told |= _three(f"dwell_{name}_{unit}", ends)
    told |= _win_rates(steps, _Passings(steps.activity, steps.case, steps.at, names), level)
    return pd.DataFrame(told)[list(COLUMNS)]


def _step_rows(steps: Steps, timed: dict[str, Visits], level: float) -> pd.DataFrame:
    import pandas as pd

    names = max(len(steps.activities), 1)
    taken = np.flatnonzero(~steps.last)
    key = steps.activity[taken] * names + steps.activity[taken + 1]
    keys, edge = recoded(key, names * names)
    case, label = steps.case[taken], np.array(steps.activities, dtype=object)
    passed, _ = distinct_pairs(edge, case, len(keys))
    share, error, leaving = _shares(steps, keys // names, edge, case)
    low, high = share_interval(share, error, leaving, level)
    told: dict[str, Any] = {
        "kind": "step",
        "source": label[keys // names],
        "target": label[keys % names],
        "count": np.bincount(edge, minlength=len(keys)),
        "cases": np.bincount(passed, minlength=len(keys)),
        "share": share,
        "share_low": low,
        "share_high": high,
    }
    for unit, visits in timed.items():
        told |= _step_quantiles(visits, keys, names, unit, level)
    told |= _win_rates(steps, _Passings(edge, case, steps.at[taken + 1], len(keys)), level)
    frame = pd.DataFrame(told)[list(COLUMNS)]
    return frame.sort_values(["count", "source", "target"], ascending=[False, True, True])


def _shares(steps: Steps, source: Ints, edge: Ints, case: Ints) -> tuple[Floats, Floats, Floats]:
    """(edges,) share of all that leave the source, its error by deal, and how many leave."""
    names, edges, deals = len(steps.activities), len(source), len(steps.case_ids)
    leaves = ~steps.last | (steps.outcome[steps.case] != OPEN)
    out = steps.activity[leaves] * deals + steps.case[leaves]
    pair, times = np.unique(out, return_counts=True)
    total = summed(pair // max(deals, 1), times.astype(float), names)
    square = summed(pair // max(deals, 1), times.astype(float) ** 2, names)
    mine, went = np.unique(edge * deals + case, return_counts=True)
    code, deal = mine // max(deals, 1), mine % max(deals, 1)
    beside = times[np.searchsorted(pair, source[code] * deals + deal)]
    own = summed(code, went.astype(float) ** 2, edges)
    both = summed(code, went * beside.astype(float), edges)
    leaving = total[source]
    share = np.bincount(edge, minlength=edges) / np.maximum(leaving, 1)
    variance = own - 2 * share * both + share**2 * square[source]
    return share, np.sqrt(np.maximum(variance, 0)) / np.maximum(leaving, 1), leaving


def _step_quantiles(
    visits: Visits, keys: Ints, names: int, unit: str, level: float
) -> dict[str, Floats]:
    """Quantiles of the stay before each step, with their ends."""
    told = {
        f"dwell_{name}_{unit}{end}": np.full(len(keys), np.nan)
        for name in PROBABILITIES
        for end in ("", "_low", "_high")
    }
    for rows, stays, doors in by_source(visits, keys, names):
        days, case = visits.days[rows], visits.case[rows]
        for turn in doors:
            chosen = visits.target[rows] == keys[turn] % names
            for name, probability in PROBABILITIES.items():
                ends = one_exit_quantile(stays, days, case, chosen, probability, level)
                for column, end in _three(f"dwell_{name}_{unit}", ends).items():
                    told[column][turn] = end[0]
    return told


def by_source(visits: Visits, keys: Ints, names: int) -> Iterator[tuple[Ints, AtRisk, Ints]]:
    """For each stage that steps leave: its visits' rows, these as one group, the places of its steps.

    Args:
        keys: (edges,) source * names + target of the steps.
    """
    order = np.argsort(visits.stage, kind="stable")
    bounds = np.searchsorted(visits.stage[order], np.arange(names + 1))
    for source in np.unique(keys // names):
        rows = order[bounds[source] : bounds[source + 1]]
        nobody = np.zeros(len(rows), dtype=np.int64)
        stays = AtRisk.of(nobody, visits.days[rows], visits.exited[rows], 1)
        yield rows, stays, np.flatnonzero(keys // names == source)


def _win_rates(steps: Steps, passed: _Passings, level: float) -> dict[str, Floats]:
    """Share won in the end with its interval, open deals censored."""
    names = ("win_rate_after", "win_rate_low", "win_rate_high")
    if not len(passed.case) or (steps.outcome == ENDED).any():
        return {name: np.full(passed.groups, np.nan) for name in names}
    after = endings_after(steps, passed.case, passed.moment, Clock())
    stays = AtRisk.of(passed.group, after.days, after.known, passed.groups)
    rate = share_of_exits(stays, after.won)
    group, _ = distinct_pairs(passed.group[after.known], passed.case[after.known], passed.groups)
    closed = np.bincount(group, minlength=passed.groups).astype(np.float64)
    low, high = share_interval(rate.value, rate.error(passed.case), closed, level)
    return dict(zip(names, (rate.value, low, high), strict=True))


def _three(name: str, ends: tuple[Floats, Floats, Floats]) -> dict[str, Floats]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
