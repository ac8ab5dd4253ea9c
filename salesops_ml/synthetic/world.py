"""One call makes a company: its CRM's tables, what was wrong in them, and the truth beside them."""

from __future__ import annotations

import pyarrow as pa

from salesops_ml.schema import TABLES, Attribute, CanonicalTables
from salesops_ml.synthetic import directory, pipeline, plans
from salesops_ml.synthetic.activities import activities_table, all_activities
from salesops_ml.synthetic.amounts import AmountPath, Rates, amount_path, exchange, rates_table
from salesops_ml.synthetic.bottlenecks import bottleneck_tables
from salesops_ml.synthetic.changes import changes_table, field_histories
from salesops_ml.synthetic.clock import Clock
from salesops_ml.synthetic.demand import arrive, open_accounts
from salesops_ml.synthetic.drivers import driver_tables
from salesops_ml.synthetic.facts import Facts
from salesops_ml.synthetic.faults import rejected
from salesops_ml.synthetic.hazards import deal_laws
from salesops_ml.synthetic.owners import hand_over
from salesops_ml.synthetic.parameters import WorldParameters
from salesops_ml.synthetic.paths import Paths, state_paths
from salesops_ml.synthetic.people import hire
from salesops_ml.synthetic.quotes import quotes_table
from salesops_ml.synthetic.simulation import simulate
from salesops_ml.synthetic.truth import truth_tables


def generate(parameters: WorldParameters) -> CanonicalTables:
    """The canonical tables of a synthetic company, with rejects, counts and truth.

    The same parameters give the same bytes, on any machine and thread count.

    Example:
        >>> world = generate(WorldParameters(deals=300, years=1.0))
        >>> world.tables["deals"].num_rows, sorted(world.tables)[:2]
        (300, ['accounts', 'activities'])
    """
    facts = simulate_facts(parameters)
    paths = state_paths(facts)
    rates = exchange(parameters, facts.clock)
    amounts = amount_path(parameters, facts.deals, facts.moves, rates, facts.quote_stage)
    tables = _tables(facts, paths, amounts, rates)
    extra = pipeline.attributes(parameters.plant_leak)
    shaped = {name: _shaped(name, rows, extra) for name, rows in tables.items()}
    rejects, counts = rejected(facts, {name: rows.num_rows for name, rows in shaped.items()})
    truth = truth_tables(facts, paths) | bottleneck_tables(facts, amounts, rates)
    truth |= driver_tables(parameters)
    return CanonicalTables(shaped, rejects, extra, counts, truth)


def simulate_facts(parameters: WorldParameters) -> Facts:
    """The world as numbers: people, accounts, deals, and what became of them."""
    clock = Clock.of(parameters)
    reps = hire(parameters)
    accounts = open_accounts(parameters)
    deals = arrive(parameters, clock, accounts, reps)
    laws = deal_laws(parameters, deals, reps)
    run = simulate(parameters, clock, deals, laws)
    return Facts(parameters, clock, reps, accounts, deals, laws, run)


def _tables(facts: Facts, paths: Paths, amounts: AmountPath, rates: Rates) -> dict[str, pa.Table]:
    owners = hand_over(facts)
    histories = field_histories(facts, owners, amounts)
    return {
        "deals": pipeline.deals_table(facts, owners, amounts, rates, histories),
        "stages": directory.stages_table(facts),
        "stage_events": pipeline.stage_events_table(facts, owners),
        "deal_changes": changes_table(facts, owners, histories),
        "activities": activities_table(facts, all_activities(facts, owners, paths)),
        "accounts": directory.accounts_table(facts),
        "reps": directory.reps_table(facts),
        "quotes": quotes_table(facts, amounts),
        "quotas": plans.quotas_table(facts, owners, amounts),
        "forecast_submissions": plans.submissions_table(facts, owners, amounts, paths),
        "exchange_rates": rates_table(facts.clock, rates),
    }


def _shaped(name: str, rows: pa.Table, extra: tuple[Attribute, ...]) -> pa.Table:
    """The rows with the canonical columns' order and kinds."""
    schema = TABLES[name].arrow(extra if name == "deals" else ())
    return rows.select(schema.names).cast(schema)
