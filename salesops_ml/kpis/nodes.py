"""Where in the company a number belongs: the company itself, and every node down to the rep.

A node is a path such as `company/EMEA/Team 3/rep-0012`, by the levels that `forecast.hierarchy`
names. Reps and accounts stand where the organisation put them at `as_of`. What is not known stands as
`unknown`, so that the children of a node always add up to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import ibis
import ibis.expr.types as ir

from salesops_ml.errors import ConfigError
from salesops_ml.warehouse import Warehouse

ROOT = "company"
UNKNOWN = "unknown"
REP_LEVELS = {"region": "region", "team": "team", "manager": "manager_id"}
ACCOUNT_LEVELS = {"industry": "industry", "account_region": "region"}
DEAL_LEVELS = {
    "account": "account_id",
    "product": "product",
    "pipeline": "pipeline",
    "lead_source": "lead_source",
    "deal_type": "deal_type",
}


@dataclass(frozen=True)
class Places:
    """The levels of the hierarchy, and what each rep and deal is called on them.

    Attributes:
        levels: names of the levels, top down.
        reps: rep_id and a column `at_LEVEL` for each level that is told by the rep.
        deals: deal_id and such a column for each level that is told by the deal or its account.
    """

    levels: tuple[str, ...]
    reps: ir.Table
    deals: ir.Table

    def placed(self, table: ir.Table) -> ir.Table:
        """`table` once for every node that each row belongs to, as column `node`.

        `table` has `rep_id`; where it lacks `deal_id`, levels told by the deal are `unknown`.
        """
        columns = table.columns
        told = [column for column in self.deals.columns if column != "deal_id"]
        if told and "deal_id" in columns:
            deals = self.deals.rename(_deal="deal_id")
            table = table.left_join(deals, table.deal_id == deals["_deal"]).drop("_deal")
        keys = ["rep_id", *[column for column in told if column in table.columns]]
        members = self._members(table.select(*keys).distinct(), keys)
        same = [table[key].identical_to(members[f"_{key}"]) for key in keys]
        return table.inner_join(members, same).select(*columns, "node")

    def _members(self, owners: ir.Table, keys: list[str]) -> ir.Table:
        """Each kind of owner once for every node above it: the keys as `_KEY`, and `node`."""
        reps = self.reps.rename(_rep="rep_id")
        joined = owners.left_join(reps, owners.rep_id == reps["_rep"])
        path: ir.Value = ibis.literal(ROOT)
        paths = [path]
        for level in self.levels:
            path = path + "/" + _label(joined, level)
            paths.append(path)
        named = {f"_{key}": joined[key] for key in keys}
        return joined.select(**named, node=ibis.array(paths).unnest())


def places(
    warehouse: Warehouse, levels: tuple[str, ...], products: ir.Table, *, as_of: datetime
) -> Places:
    """What each rep and deal is called on each level, as known at `as_of`.

    Args:
        warehouse: the canonical tables.
        levels: names of the levels, top down.
        products: deal_id and `value`, the product of each deal as known then.
        as_of: the day.

    Raises:
        ConfigError: a level is unknown.
    """
    extra = {a.name: a.column for a in warehouse.attributes() if a.known == "at_creation"}
    known = ("rep", *REP_LEVELS, *ACCOUNT_LEVELS, *DEAL_LEVELS, *extra)
    for level in levels:
        if level not in known:
            raise ConfigError(
                f"`forecast.hierarchy` names `{level}`, which is no level; "
                f"it can be: {', '.join(known)}"
            )
    reps = _in_force(warehouse.table("reps"), "rep_id", as_of)
    by_rep = {f"at_{level}": reps[REP_LEVELS[level]] for level in levels if level in REP_LEVELS}
    deals = _with_account(warehouse, products, as_of)
    columns = {level: f"account_{name}" for level, name in ACCOUNT_LEVELS.items()}
    columns |= DEAL_LEVELS | extra
    by_deal = {f"at_{level}": deals[columns[level]] for level in levels if level in columns}
    return Places(levels, reps.select("rep_id", **by_rep), deals.select("deal_id", **by_deal))


def _with_account(warehouse: Warehouse, products: ir.Table, as_of: datetime) -> ir.Table:
    accounts = _in_force(warehouse.table("accounts"), "account_id", as_of)
    accounts = accounts.select(
        _account="account_id", account_industry="industry", account_region="region"
    )
    deals = warehouse.table("deals").drop("product")
    products = products.select(_deal="deal_id", product="value")
    deals = deals.left_join(products, deals.deal_id == products["_deal"])
    return deals.left_join(accounts, deals.account_id == accounts["_account"])


def _in_force(rows: ir.Table, key: str, as_of: datetime) -> ir.Table:
    """The version of each rep or account at `as_of`; an undated one speaks where no dated one does."""
    seen = rows.filter(
        rows.valid_from.isnull() | (rows.valid_from <= as_of),
        rows.recorded_at.isnull() | (rows.recorded_at <= as_of),
    )
    order = [seen.valid_from.isnull(), seen.valid_from.desc(), seen.recorded_at.desc()]
    place = ibis.row_number().over(ibis.window(group_by=key, order_by=order))
    return seen.mutate(_place=place).filter(ibis._["_place"] == 0).drop("_place")


def _label(table: ir.Table, level: str) -> ir.Value:
    """A row's own name on a level; a `/` in it is written `%2F`."""
    column = "rep_id" if level == "rep" else f"at_{level}"
    if column not in table.columns:
        return ibis.literal(UNKNOWN)
    text = table[column].cast("string").strip().nullif("")
    return text.fill_null(UNKNOWN).replace("/", "%2F")
