"""Who sells and who buys: attributes of the rep and the account as they stood on the day."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from salesops_ml.snapshots.visible import KEY, days_between
from salesops_ml.warehouse import Warehouse


def rep_features(warehouse: Warehouse, states: ir.Table) -> ir.Table:
    """f_rep, f_rep_team, f_rep_region: who owns it; f_rep_tenure_days: how long they have sold."""
    found = _as_it_stood(warehouse, states, "reps", "rep_id", ("team", "region", "hired_at"))
    return found.select(
        *KEY,
        f_rep=found.rep_id,
        f_rep_team=found.team,
        f_rep_region=found.region,
        f_rep_tenure_days=days_between(found.hired_at, found.as_of),
    )


def account_features(warehouse: Warehouse, states: ir.Table) -> ir.Table:
    """f_account_industry, _region: their world; f_account_employees, _revenue: their size."""
    columns = ("industry", "region", "employees", "annual_revenue")
    found = _as_it_stood(warehouse, states, "accounts", "account_id", columns)
    return found.select(
        *KEY,
        f_account_industry=found.industry,
        f_account_region=found.region,
        f_account_employees=found.employees.cast("float64"),
        f_account_revenue=found.annual_revenue,
    )


def _as_it_stood(
    warehouse: Warehouse, states: ir.Table, table: str, key: str, columns: tuple[str, ...]
) -> ir.Table:
    """Each look with the last version of its rep or account that was valid and recorded by then.

    A version that does not say since when it holds is not used: today's value is no history.
    """
    versions = warehouse.table(table)
    versions = versions.filter(versions.valid_from.notnull())
    rank = ibis.row_number().over(
        ibis.window(group_by=key, order_by=[versions.valid_from, versions.recorded_at])
    )
    versions = versions.mutate(place=rank)
    looks = states.select(*KEY, key)
    seen = looks.join(
        versions,
        [
            looks[key] == versions[key],
            versions.valid_from <= looks.as_of,
            versions.recorded_at <= looks.as_of,
        ],
        how="left",
    )
    return seen.group_by(*KEY, key).agg(
        **{column: seen[column].argmax(seen.place) for column in columns}
    )
