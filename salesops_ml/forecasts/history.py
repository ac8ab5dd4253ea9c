"""Every deal as it was known on one day: state, owner, amount, stage, and where it stands in the tree.

Forecasts read the past through this page alone, so that nothing recorded after `as_of`, and nothing
that the CRM overwrote since, can reach them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_ml.errors import DataError
from salesops_ml.forecasts.exchange import at_latest_rates
from salesops_ml.forecasts.hierarchy import Organisation, read_organisation
from salesops_ml.forecasts.trees import place_in_trees
from salesops_ml.periods import Period
from salesops_ml.settings import Settings
from salesops_ml.snapshots.closings import closings, staged_events
from salesops_ml.warehouse import Warehouse

AMOUNT_FIELDS = ("amount_base", "amount")
COLUMNS = (
    "deal_id", "created_at", "status", "closed_at", "amount", "own_amount", "rep_id", "account_id",
    "product", "pipeline", "stage", "probability", "expected_close_date", "node",
)  # fmt: skip


@dataclass(frozen=True)
class History:
    """What was known at `as_of`.

    Attributes:
        as_of: the day.
        deals: one row per deal that had begun, sorted by deal_id: created_at, status (open, won,
            lost, as known), closed_at, amount (company currency, NaN where not known),
            own_amount (in the deal's own currency, by its history alone), rep_id, account_id,
            product, pipeline, stage, probability (the CRM's, of that stage), expected_close_date,
            node (leaf path), and the leaf path in each further tree (`trees.COLUMN` and its name).
        amounts: the amount's history: deal_id, changed_at, value; sorted. Empty where none is kept.
        organisation: who belonged where.
        revalued: whether open deals in foreign money stand at the last rate known at `as_of`; if not,
            at that of the day of their last change.
        terms: what each deal is for: deal_id, deal_type, service_start, term_months; None where
            renewals are not followed.
    """

    as_of: datetime
    deals: pd.DataFrame
    amounts: pd.DataFrame
    organisation: Organisation
    revalued: bool = False
    terms: pd.DataFrame | None = None

    @property
    def won(self) -> pd.DataFrame:
        """The deals known to be won."""
        return self.deals[self.deals["status"] == "won"]

    @property
    def open(self) -> pd.DataFrame:
        """The deals known to be open."""
        return self.deals[self.deals["status"] == "open"]


def due_in(days: pd.Series[pd.Timestamp], period: Period) -> pd.Series[bool]:
    """Whether each expected close lies in the period; False where none is known."""
    return (days >= pd.Timestamp(period.start)) & (days < pd.Timestamp(period.end))


def read_history(warehouse: Warehouse, *, as_of: datetime, settings: Settings) -> History:
    """The deals as known at `as_of`.

    Raises:
        DataError: no deal had begun by then.
    """
    deals = _begun(warehouse, as_of, settings)
    if deals.empty:
        raise DataError(
            f"no deal had begun by {as_of:%Y-%m-%d %H:%M}; forecast from a later day, or check"
            " `created_at` in table `deals`"
        )
    staged = warehouse.has("stage_events") and warehouse.has("stages")
    outcomes = _by_stage(warehouse, as_of) if staged else _by_deal(warehouse, as_of)
    deals = deals.merge(outcomes, on="deal_id", how="left")
    deals = deals.merge(_tracked(warehouse, as_of), on="deal_id", how="left")
    deals["status"] = np.where(deals["status"].isna(), "open", deals["status"])
    deals["rep_id"] = _first_known(deals, "changed_rep", "stage_rep", "seller")
    deals["product"] = _first_known(deals, "changed_product", "sold")
    deals["expected_close_date"] = pd.to_datetime(deals["expected_close_date"], errors="coerce")
    deals = deals.sort_values("deal_id", kind="stable", ignore_index=True)
    amounts = _amount_history(warehouse, as_of)
    deals["amount"] = _amounts_known(warehouse, deals)
    company = settings.company
    revalued = company.open_amounts_at == "latest_rate"
    if revalued:
        deals["amount"] = at_latest_rates(
            warehouse, deals, amounts, as_of=as_of, base_currency=company.base_currency
        )
    asked = settings.forecast
    others = [level for levels in asked.trees.values() for level in levels]
    organisation = read_organisation(warehouse, asked.hierarchy, as_of=as_of, others=others)
    deals["node"] = organisation.place(deals)
    deals = place_in_trees(deals[[*COLUMNS]], organisation, asked.trees)
    terms = _terms(warehouse) if asked.renewals else None
    return History(as_of, deals, amounts, organisation, revalued, terms)


def _begun(warehouse: Warehouse, as_of: datetime, settings: Settings) -> pd.DataFrame:
    """Every deal that had begun, with what never changes after creation.

    Where `deals` names no beginning at all, a deal has begun when it has closed.
    """
    deals = warehouse.table("deals")
    begun = deals.filter(
        (deals.created_at <= as_of) | (deals.created_at.isnull() & (deals.closed_at <= as_of))
    )
    fixed = settings.snapshots.known_at_creation
    return _pandas(
        begun.select(
            "deal_id",
            "created_at",
            "account_id",
            "pipeline",
            seller=begun.rep_id if "rep_id" in fixed else ibis.null("string"),
            sold=begun["product"] if "product" in fixed else ibis.null("string"),
        )
    )


def _first_known(deals: pd.DataFrame, *columns: str) -> pd.Series[str]:
    """Per deal, the first of the columns that holds a value."""
    found: pd.Series[str] = deals[columns[0]].astype(object)
    for column in columns[1:]:
        found = found.where(found.notna(), deals[column].astype(object))
    return found


def _by_stage(warehouse: Warehouse, as_of: datetime) -> pd.DataFrame:
    """Stage, its probability, its mover, and how and when the deal ended, by the stage history."""
    events = staged_events(warehouse)
    events = events.filter(events.recorded_at <= as_of, events.entered_at <= as_of)
    in_order = ibis.window(group_by="deal_id", order_by=[events.entered_at, events.seq])
    events = events.mutate(
        place=ibis.row_number().over(in_order),
        was_closed=events.is_closed.lag().over(in_order).fill_null(False),
    )
    ends = events.is_closed & ~events.was_closed
    frame = _pandas(
        events.group_by("deal_id").agg(
            stage=events.stage.argmax(events.place),
            probability=events.probability.argmax(events.place),
            stage_rep=events.rep_id.argmax(events.place, where=events.rep_id.notnull()),
            closed=events.is_closed.argmax(events.place),
            closed_at=events.entered_at.argmax(events.place, where=ends),
            won=events.is_won.argmax(events.place, where=ends),
        )
    )
    closed = frame.pop("closed").astype(bool)
    frame["closed_at"] = frame["closed_at"].where(closed)
    won = frame.pop("won").eq(True)
    frame["status"] = np.where(closed, np.where(won, "won", "lost"), "open")
    return frame


def _by_deal(warehouse: Warehouse, as_of: datetime) -> pd.DataFrame:
    """How and when the deal ended, where no stage history tells it."""
    ends = closings(warehouse)
    frame = _pandas(ends.filter(ends.closed_at <= as_of).select("deal_id", "closed_at", "won"))
    frame["status"] = np.where(frame.pop("won").astype(bool), "won", "lost")
    nothing = {"stage": None, "probability": np.nan, "stage_rep": None}
    return frame.assign(**nothing)


def _tracked(warehouse: Warehouse, as_of: datetime) -> pd.DataFrame:
    """The last known value of each tracked field that forecasts use, one row a deal."""
    changes = warehouse.table("deal_changes")
    wanted = (*AMOUNT_FIELDS, "rep_id", "product", "expected_close_date")
    seen = changes.filter(
        changes.field.isin(wanted), changes.recorded_at <= as_of, changes.changed_at <= as_of
    )
    latest = ibis.window(
        group_by=["deal_id", "field"], order_by=[ibis.desc(seen.changed_at), ibis.desc(seen.seq)]
    )
    last = seen.mutate(place=ibis.row_number().over(latest)).filter(ibis._.place == 0)
    value = {field: last.new_value.max(where=last.field == field) for field in wanted}
    return _pandas(
        last.group_by("deal_id").agg(
            amount=ibis.coalesce(value["amount_base"], value["amount"]).try_cast("float64"),
            own_amount=value["amount"].try_cast("float64"),
            changed_rep=value["rep_id"],
            changed_product=value["product"],
            expected_close_date=value["expected_close_date"],
        )
    )


def _terms(warehouse: Warehouse) -> pd.DataFrame:
    """Type and term of every deal; a term is agreed when the deal is won and stays."""
    deals = warehouse.table("deals")
    return _pandas(deals.select("deal_id", "deal_type", "service_start", "term_months"))


def _amounts_known(warehouse: Warehouse, deals: pd.DataFrame) -> pd.Series[float]:
    """Amounts by history; without any history, a closed deal's amount is the one that stands now."""
    known = deals["amount"].astype("float64")
    if known.notna().any():
        return known
    table = warehouse.table("deals")
    today = ibis.coalesce(table.amount_base, table.amount).cast("float64")
    values = _pandas(table.select("deal_id", today=today)).set_index("deal_id")["today"]
    return deals["deal_id"].map(values).where(deals["status"] != "open").astype("float64")


def _amount_history(warehouse: Warehouse, as_of: datetime) -> pd.DataFrame:
    """Every known value of the amount, in company currency where that has a history."""
    changes = warehouse.table("deal_changes")
    seen = changes.filter(changes.recorded_at <= as_of, changes.changed_at <= as_of)
    seen = seen.filter(seen.field.isin(AMOUNT_FIELDS))
    frame = _pandas(
        seen.select(
            "deal_id", "changed_at", "seq", "field", value=seen.new_value.try_cast("float64")
        )
    )
    tracked = set(frame["field"])
    field = next((name for name in AMOUNT_FIELDS if name in tracked), AMOUNT_FIELDS[0])
    frame = frame[frame["field"] == field].sort_values(["deal_id", "changed_at", "seq"])
    return frame[["deal_id", "changed_at", "value"]].reset_index(drop=True)


def _pandas(table: ir.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pyarrow().to_pandas()
    return frame
