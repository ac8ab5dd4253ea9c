"""The company's directory: reps with their teams, accounts, and the agreed stages."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from salesops_ml.synthetic import columns
from salesops_ml.synthetic.draws import stream
from salesops_ml.synthetic.facts import Facts
from salesops_ml.synthetic.people import NEVER, names

PIPELINE = "sales"
_STEMS = (
    "Alder", "Birch", "Cedar", "Delta", "Ember", "Falcon", "Granite", "Harbor", "Indigo", "Jade",
    "Kestrel", "Lumen", "Meridian", "Nova", "Orchid", "Pioneer", "Quartz", "Ridge", "Summit", "Tundra",
)  # fmt: skip
_FORMS = ("Group", "Industries", "Systems", "Partners", "Holding", "Works", "Labs", "Trading")


def team_names(count: int) -> list[str]:
    """Team 1, Team 2, ..."""
    return [f"Team {number + 1}" for number in range(count)]


def manager_ids(count: int) -> list[str]:
    """The managers of the teams, who own no deals."""
    return [f"mgr-{number + 1:02d}" for number in range(count)]


def reps_table(facts: Facts) -> pa.Table:
    """The canonical `reps`: a row from the hire on, one more per team move and per leaving."""
    reps, days = facts.reps, facts.clock.days
    every = np.arange(reps.count)
    movers = np.flatnonzero(reps.moves_on < np.minimum(reps.left, days))
    leavers = np.flatnonzero(reps.left < days)
    rep = np.concatenate([every, movers, leavers])
    day = np.concatenate([reps.hired, reps.moves_on[movers], reps.left[leavers]])
    active = np.concatenate([np.ones(len(every) + len(movers)), np.zeros(len(leavers))]) == 1
    order = np.lexsort((day, rep))
    rep, day, active = rep[order], day[order], active[order]
    team = reps.team_on(rep, day)
    since = columns.times(facts.clock.dates(day))
    return pa.table(
        {
            "rep_id": facts.rep_ids.take(pa.array(rep)),
            "valid_from": since,
            "name": columns.words(names(facts.world, reps.count), rep),
            "team": columns.words(team_names(reps.teams), team),
            "manager_id": columns.words(manager_ids(reps.teams), team),
            "region": columns.words([r.name for r in facts.world.regions], reps.region[rep]),
            "hired_at": columns.times(facts.clock.dates(reps.hired[rep])),
            "active": pa.array(active),
            "recorded_at": since,
        }
    )


def accounts_table(facts: Facts) -> pa.Table:
    """The canonical `accounts`: a row from before the first deal on.

    One in twenty has a second row, with another head count, later.
    """
    rng = stream(facts.world.seed, "account names")
    accounts, count = facts.accounts, len(facts.accounts.region)
    first = np.full(count, NEVER)
    np.minimum.at(first, facts.deals.account, facts.deals.created)
    known = np.minimum(first, 0 if facts.clock.days < 2 else facts.clock.days - 1)
    known = known - rng.integers(1, 200, count)
    grows = np.flatnonzero(rng.random(count) < 0.05)
    later = known[grows] + rng.integers(250, 900, len(grows))
    grows, later = grows[later < facts.clock.days], later[later < facts.clock.days]
    row = np.concatenate([np.arange(count), grows])
    day = np.concatenate([known, later])
    factor = np.concatenate([np.ones(count), np.exp(rng.normal(0.1, 0.1, len(grows)))])
    order = np.lexsort((day, row))
    row, day, factor = row[order], day[order], factor[order]
    industry = np.where(accounts.industry_known[row], accounts.industry[row], -1)
    since = columns.times(facts.clock.dates(day))
    return pa.table(
        {
            "account_id": facts.account_ids.take(pa.array(row)),
            "valid_from": since,
            "name": columns.words(_account_names(count), row),
            "industry": columns.words([o.name for o in facts.world.industries], industry),
            "region": columns.words([o.name for o in facts.world.regions], accounts.region[row]),
            "employees": pa.array(
                np.maximum(1, np.rint(accounts.employees[row] * factor)), pa.int64()
            ),
            "annual_revenue": pa.array(accounts.revenue[row]),
            "parent": columns.words(facts.account_ids, accounts.parent[row]),
            "recorded_at": since,
        }
    )


def _account_names(count: int) -> list[str]:
    stems, forms = len(_STEMS), len(_FORMS)
    return [
        f"{_STEMS[k % stems]} {_FORMS[k // stems % forms]} {k // (stems * forms) + 1}"
        for k in range(count)
    ]


def stages_table(facts: Facts) -> pa.Table:
    """The canonical `stages`, with the CRM's own, rosy probabilities."""
    open_stages = facts.world.stages
    count = len(open_stages) + 2
    beliefs = [stage.probability for stage in open_stages]
    expected = [stage.expected_days for stage in open_stages]
    position = np.arange(count)
    return pa.table(
        {
            "pipeline": [PIPELINE] * count,
            "stage": facts.stage_names,
            "position": pa.array(position),
            "probability": pa.array([*beliefs, 1.0, 0.0]),
            "is_won": pa.array(position == count - 2),
            "is_closed": pa.array(position >= count - 2),
            "expected_days": pa.array([*expected, None, None], pa.float64()),
        }
    ).sort_by("stage")
