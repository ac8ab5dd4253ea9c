"""What open deals in foreign money are worth today: at the last rate known on the day.

A deal in dollars that nobody has touched for half a year is still worth what a dollar is worth now. Won
deals stay at the rate of the day they were booked.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pandas as pd

from salesops_ml.errors import DataError
from salesops_ml.warehouse import Warehouse

OLDEST_RATE = timedelta(days=31)


def at_latest_rates(
    warehouse: Warehouse,
    deals: pd.DataFrame,
    amounts: pd.DataFrame,
    *,
    as_of: datetime,
    base_currency: str,
) -> pd.Series[float]:
    """The amount of every deal, that of open foreign ones moved by the rate since its last change.

    Deals in a currency that `exchange_rates` does not tell keep the amount that the source brought in
    company currency.

    Args:
        warehouse: currencies of deals, and rates by day; those of days after `as_of` are not seen.
        deals: deal_id, status and amount (company currency), as known at `as_of`.
        amounts: the amount's history: deal_id, changed_at; sorted by time within a deal.

    Raises:
        DataError: a currency that has rates has none within a month before `as_of`, or before the day
            that the amount was last told.
    """
    rates = _rates(warehouse, as_of)
    currencies = warehouse.table("deals").select("deal_id", "currency").to_pyarrow().to_pandas()
    currency = deals["deal_id"].map(currencies.set_index("deal_id")["currency"])
    told = amounts.drop_duplicates("deal_id", keep="last").set_index("deal_id")["changed_at"]
    foreign = pd.DataFrame(
        {"deal_id": deals["deal_id"], "currency": currency, "told": deals["deal_id"].map(told)}
    )[
        (deals["status"] == "open")
        & deals["amount"].notna()
        & (currency != base_currency)
        & currency.isin(rates["currency"])
    ].dropna()
    before = _rate_on(rates, foreign, foreign["told"])
    now = _rate_on(rates, foreign, pd.Series(pd.Timestamp(as_of), index=foreign.index))
    moved: pd.Series[float] = deals["amount"].copy()
    moved.loc[foreign.index] *= now / before
    return moved


def _rates(warehouse: Warehouse, as_of: datetime) -> pd.DataFrame:
    """currency, day and rate, of the days up to `as_of`."""
    table = warehouse.table("exchange_rates")
    known = table.filter(table.day.cast("timestamp") <= as_of).select("currency", "day", "rate")
    frame: pd.DataFrame = known.to_pyarrow().to_pandas()
    frame["day"] = pd.to_datetime(frame["day"]).astype("datetime64[us]")
    return frame.sort_values(["day", "currency"], kind="stable", ignore_index=True)


def _rate_on(
    rates: pd.DataFrame, deals: pd.DataFrame, moments: pd.Series[pd.Timestamp]
) -> pd.Series[float]:
    """The last rate of each deal's currency up to its moment, at most `OLDEST_RATE` before."""
    asked = deals.assign(at=moments.astype("datetime64[us]"), row=deals.index)
    found = pd.merge_asof(
        asked.sort_values(["at", "deal_id"]), rates, left_on="at", right_on="day", by="currency",
        tolerance=OLDEST_RATE,
    ).set_index("row")  # fmt: skip
    lacking = found[found["rate"].isna()].sort_values("deal_id")
    if len(lacking):
        first = lacking.iloc[0]
        raise DataError(
            f"deal `{first['deal_id']}`: no rate for {first['currency']} on {first['at']:%Y-%m-%d}, nor"
            f" within {OLDEST_RATE.days} days before ({len(lacking)} such deals); add the rate to"
            " `exchange_rates`"
        )
    rate: pd.Series[float] = found["rate"].reindex(deals.index)
    return rate
