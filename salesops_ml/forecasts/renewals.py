"""Contracts that end on a known day: which were renewed, for how much, and what is due next.

A won deal with `term_months` is a contract from `service_start` (else the day it was won) on; a won
renewal without a term has that of the contract before it in the same account and product. A deal of
type `renewal` belongs to the contract of the same account and product whose end is nearest. A contract
is renewed when that deal is won, lost when it is lost, or when nobody has opened one 90 days after its
end. Contracts that are not yet due that long teach nothing: their end is unknown, not bad.

The chance of a contract without a renewal deal is counted among earlier contracts that had none either
at the same distance from their end, and is drawn to the company's where a leaf has few (credibility).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd
from scipy.special import ndtri

from salesops_ml.forecasts.batch import Bools, Floats, Ints
from salesops_ml.forecasts.hierarchy import Tree
from salesops_ml.forecasts.history import History
from salesops_ml.forecasts.new_deals import NewRevenue
from salesops_ml.forecasts.outlook import Outlook

GRACE = timedelta(days=90)
NEAR = timedelta(days=180)
"""How far from a contract's end its renewal may begin."""
_CREDIBLE, _LEAF_CREDIBLE, _RATIO_CREDIBLE = 5.0, 20.0, 10.0
_PRIOR = 0.5
_RENEWAL = "renewal"
_PREFERRED = {"won": 0, "open": 1, "lost": 2}


@dataclass(frozen=True)
class RenewalRates:
    """How contracts ended, learned from those that ended long enough ago.

    Attributes:
        leaf: leaf path of each ended contract.
        renewed: whether it was renewed.
        opened: days from its end to the day that its renewal deal was created (negative before it);
            infinite where there was none.
        ratios: new yearly worth for one unit of the old, of the renewed ones, drawn to 1.
    """

    leaf: tuple[str, ...]
    renewed: Bools
    opened: Floats
    ratios: Floats

    def chance(self, leaves: pd.Series[str], elapsed: Floats) -> Floats:
        """Chance of renewal of contracts that have no renewal deal `elapsed` days after their end."""
        done = np.empty(len(elapsed))
        names = np.array(self.leaf, dtype=object)
        for row, (leaf, days) in enumerate(zip(leaves, elapsed, strict=True)):
            waiting = self.opened > days
            own = waiting & (names == leaf)
            company = _shrunk(self.renewed, waiting, self._overall, _CREDIBLE)
            done[row] = _shrunk(self.renewed, own, company, _LEAF_CREDIBLE)
        return done

    @property
    def _overall(self) -> float:
        everything = np.ones(len(self.renewed), dtype=bool)
        return _shrunk(self.renewed, everything, _PRIOR, 2.0)


@dataclass(frozen=True)
class DueRenewals:
    """Contracts that end in the months ahead and have no renewal deal yet.

    Attributes:
        leaf, month: leaf number and month ahead of each.
        chance: of renewal.
        amount: what the contract was sold for, company currency.
        ratios: equally likely ratios of renewed to old worth.
    """

    leaf: Ints
    month: Ints
    chance: Floats
    amount: Floats
    ratios: Floats


def read_contracts(history: History) -> pd.DataFrame:
    """Every contract known at `history.as_of`, with its fate then, sorted by deal_id.

    Returns:
        deal_id, account_id, product, node, deal_type, start, end (first day after the term), amount,
        arr (amount a year, company currency), `fate` (renewed, churned, in_pipeline, due),
        `renewal` (deal_id), `opened` (when that deal was created), `renewed_arr` (NaN unless renewed;
        0 where the renewal was won without an amount).
        Empty where no won deal has a term, or `forecast.renewals` is off.
    """
    if history.terms is None:
        return _NOTHING.copy()
    deals = history.deals.merge(history.terms, on="deal_id", how="left")
    won = deals[(deals["status"] == "won") & (deals["amount"] > 0)]
    won = won.assign(term_months=_terms(won))
    won = won[won["term_months"] > 0]
    if won.empty:
        return _NOTHING.copy()
    contracts = _as_contracts(won)
    renewals = deals[(deals["deal_type"] == _RENEWAL) & deals["account_id"].notna()]
    matched = _matched(contracts, _dated(renewals, history))
    contracts = contracts.merge(matched, on="deal_id", how="left")
    arr = contracts.set_index("deal_id")["arr"]
    worth = contracts["renewal"].map(arr).fillna(0.0)
    contracts["renewed_arr"] = worth.where(contracts["renewal_status"] == "won")
    contracts["fate"] = _fates(contracts, history)
    return contracts[list(_NOTHING.columns)].reset_index(drop=True)


def learn_renewals(contracts: pd.DataFrame, history: History) -> RenewalRates:
    """Rates from the contracts whose end is `GRACE` or more ago and whose fate is known."""
    today = pd.Timestamp(history.as_of)
    known = contracts["fate"].isin(["renewed", "churned"]) & (contracts["end"] + GRACE <= today)
    old = contracts[known]
    lag = (old["opened"] - old["end"]).dt.total_seconds() / 86_400.0
    renewed = (old["fate"] == "renewed").to_numpy(dtype=bool)
    ratio = (old["renewed_arr"] / old["arr"])[renewed].to_numpy(dtype=np.float64)
    ratio = ratio[ratio > 0]
    kept = len(ratio) / (len(ratio) + _RATIO_CREDIBLE)
    ratios = np.sort(1.0 + kept * (ratio - 1.0)) if len(ratio) else np.ones(1)
    opened = np.asarray(lag.fillna(np.inf), dtype=np.float64)
    return RenewalRates(tuple(old["node"]), renewed, opened, ratios)


def due_renewals(
    contracts: pd.DataFrame, rates: RenewalRates, tree: Tree, view: Outlook
) -> DueRenewals:
    """The contracts without a renewal deal that end before the last month ahead does.

    One that ended already is due at once, as long as it is not given up.
    """
    due = contracts[(contracts["fate"] == "due") & contracts["node"].isin(tree.leaves)]
    month = months_due(due["end"], view)
    due, month = due[month < len(view.months)], month[month < len(view.months)]
    return DueRenewals(
        tree.places(due["node"]),
        month,
        rates.chance(due["node"], days_past(due["end"], view)),
        due["amount"].to_numpy(dtype=np.float64),
        rates.ratios,
    )


def with_renewals(
    new: NewRevenue,
    due: DueRenewals,
    *,
    factor: Floats,
    shock: float,
    rng: np.random.Generator,
) -> NewRevenue:
    """Revenue from deals to come with that of the renewals that are due.

    Args:
        factor, shock: the shared fate of deals, as for the open ones.
        rng: source of all other chance.
    """
    mean, samples = new.mean.copy(), new.samples.copy()
    ratio = float(due.ratios.mean())
    np.add.at(mean, (due.leaf, due.month), due.chance * due.amount * ratio)
    own = np.sqrt(1.0 - shock**2)
    for leaf, month, chance, amount in zip(
        due.leaf, due.month, due.chance, due.amount, strict=True
    ):
        luck = own * rng.standard_normal(len(factor)) - shock * factor
        pick = due.ratios[rng.integers(len(due.ratios), size=len(factor))]
        samples[leaf, month] += np.where(luck <= ndtri(chance), amount * pick, 0.0)
    square = float((due.ratios**2).mean())
    each = due.chance * due.amount**2 * square - (due.chance * due.amount * ratio) ** 2
    variance = new.variance + np.bincount(due.month, weights=each, minlength=len(new.variance))
    return NewRevenue(mean, samples, variance, new.loading)


def months_due(ends: pd.Series[pd.Timestamp], view: Outlook) -> Ints:
    """Month ahead that each end falls in, 0 where it is over; `len(view.months)` beyond the last."""
    borders = np.array([month.end for month in view.months], dtype="datetime64[us]")
    return np.searchsorted(borders, ends.to_numpy(dtype="datetime64[us]"), side="right")


def days_past(ends: pd.Series[pd.Timestamp], view: Outlook) -> Floats:
    """Days since each end, negative before it."""
    past = (pd.Timestamp(view.as_of) - ends).dt.total_seconds() / 86_400.0
    return np.asarray(past, dtype=np.float64)


_NOTHING = pd.DataFrame(
    {
        name: pd.Series(dtype="datetime64[us]" if name in ("start", "end", "opened") else object)
        for name in (
            "deal_id", "account_id", "product", "node", "deal_type", "start", "end", "amount",
            "arr", "fate", "renewal", "opened", "renewed_arr",
        )
    }
)  # fmt: skip


def _shrunk(renewed: Bools, among: Bools, prior: float, weight: float) -> float:
    """Share renewed among some contracts, drawn to `prior`."""
    return float(((renewed & among).sum() + weight * prior) / (among.sum() + weight))


def _terms(won: pd.DataFrame) -> pd.Series[float]:
    """Months of each won deal; a renewal without a term takes that of the one before it."""
    in_order = won.sort_values(["closed_at", "deal_id"])
    terms = in_order["term_months"].astype("float64").where(in_order["term_months"] > 0)
    before = terms.groupby([in_order["account_id"], in_order["product"]], dropna=False).ffill()
    filled: pd.Series[float] = terms.where(in_order["deal_type"] != _RENEWAL, before)
    return filled


def _as_contracts(won: pd.DataFrame) -> pd.DataFrame:
    start = pd.to_datetime(won["service_start"]).fillna(won["closed_at"].dt.normalize())
    start = start.astype("datetime64[us]")
    terms = won["term_months"].astype(int)
    end = start.copy()
    for term in terms.unique():
        rows = terms == term
        end[rows] = start[rows] + pd.DateOffset(months=int(term))
    return won.assign(start=start, end=end, arr=won["amount"] * 12.0 / terms)


def _dated(renewals: pd.DataFrame, history: History) -> pd.DataFrame:
    """Renewal deals with the day that their term begins, as far as is known."""
    about = pd.to_datetime(renewals["service_start"]).where(renewals["status"] == "won")
    for column in ("closed_at", "expected_close_date", "created_at"):
        about = about.fillna(renewals[column])
    return renewals.assign(about=about.astype("datetime64[us]"))


def _matched(contracts: pd.DataFrame, renewals: pd.DataFrame) -> pd.DataFrame:
    """deal_id of each contract with its renewal, that deal's status and creation.

    A renewal serves the one contract whose end is nearest; a contract that has several is served by a
    won one before an open one, and by an open one before a lost one.
    """
    key = ["account_id", "product"]
    pairs = contracts[["deal_id", *key, "start", "end"]].merge(
        renewals[["deal_id", *key, "status", "created_at", "about"]],
        on=key, suffixes=("", "_renewal"),
    )  # fmt: skip
    pairs = pairs[(pairs["deal_id"] != pairs["deal_id_renewal"])]
    pairs = pairs[(pairs["created_at"] > pairs["start"]) & (pairs["about"] > pairs["start"])]
    pairs = pairs.assign(away=(pairs["about"] - pairs["end"]).abs())
    pairs = pairs[pairs["away"] <= NEAR].sort_values(["away", "deal_id", "deal_id_renewal"])
    nearest = pairs.drop_duplicates("deal_id_renewal")
    order = nearest.assign(rank=nearest["status"].map(_PREFERRED))
    chosen = order.sort_values(["deal_id", "rank", "away", "deal_id_renewal"])
    chosen = chosen.drop_duplicates("deal_id")
    return chosen.rename(
        columns={
            "deal_id_renewal": "renewal", "status": "renewal_status", "created_at": "opened"
        }
    )[["deal_id", "renewal", "renewal_status", "opened"]]  # fmt: skip


def _fates(contracts: pd.DataFrame, history: History) -> pd.Series[str]:
    status = contracts["renewal_status"]
    given_up = status.isna() & (contracts["end"] + GRACE <= pd.Timestamp(history.as_of))
    fate = np.select(
        [status == "won", status == "open", (status == "lost") | given_up],
        ["renewed", "in_pipeline", "churned"],
        default="due",
    )
    return pd.Series(fate, index=contracts.index, dtype=object)
