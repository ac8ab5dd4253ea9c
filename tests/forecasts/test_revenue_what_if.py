"""What-if on the forecast: nothing supposed changes nothing; what is supposed changes only itself."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from salesops_ml.errors import UsageError
from salesops_ml.forecasts import read_history
from salesops_ml.forecasts.combine import Weights
from salesops_ml.forecasts.history import History
from salesops_ml.forecasts.model import RevenueModel, learn_revenue_model
from salesops_ml.forecasts.pipeline_roll_up import ScoredPipeline
from salesops_ml.forecasts.revenue import placed
from salesops_ml.forecasts.what_if import COLUMNS, Change, parse_change, what_if
from tests.forecasts.companies import SETTINGS, TODAY

Case = tuple[RevenueModel, ScoredPipeline, History]


@pytest.fixture(scope="module")
def case(company, scorer) -> Case:
    history = read_history(company, as_of=TODAY, settings=SETTINGS)
    weights = Weights(shock=0.1, lift=(1.1,), series=(0.3,))
    return learn_revenue_model(history, SETTINGS, weights), scorer(TODAY), history


def told(case: Case, *texts: str) -> pd.DataFrame:
    return what_if(*case, [parse_change(text) for text in texts])


def biggest(case: Case) -> pd.Series:
    deals = placed(case[1], case[2]).deals
    return deals.loc[deals["amount"].idxmax()]


def company_quarter(frame: pd.DataFrame) -> pd.Series:
    return frame[(frame["node"] == "company") & (frame["grain"] == "quarter")].iloc[0]


def test_nothing_supposed_changes_nothing(case: Case) -> None:
    frame = told(case)
    assert frame.columns.tolist() == list(COLUMNS)
    assert (frame["difference"] == 0).all()
    assert (frame["p10_before"] == frame["p10_after"]).all()
    deal = biggest(case)
    still = told(case, "win-rate:node=company=0", f"amount:{deal.deal_id}={deal.amount}")
    assert np.abs(still["difference"]).max() < 1e-6 * still["before"].max()


def test_a_deal_that_is_won_or_lost_moves_its_own_nodes_alone(case: Case) -> None:
    deal = biggest(case)
    for kind, sign in (("lost", -1), ("won", 1)):
        frame = told(case, f"{kind}:{deal.deal_id}")
        moved = set(frame.loc[frame["difference"].abs() > 1e-9, "node"])
        above = {deal.node.rsplit("/", cut)[0] for cut in range(deal.node.count("/") + 1)}
        assert moved == above
        assert sign * company_quarter(frame)["difference"] > 0
        others = frame[~frame["node"].isin(above)]
        assert (others["p90_before"] == others["p90_after"]).all()


def test_won_less_lost_is_the_amount_as_it_closes(case: Case) -> None:
    model, pipeline, history = case
    deal = biggest(case)
    won, lost = (company_quarter(told(case, f"{kind}:{deal.deal_id}")) for kind in ("won", "lost"))
    first = model.project(placed(pipeline, history)).factors(model.weights)[0]
    worth = deal.amount * model.amounts.mean_ratio * first
    assert won["after"] - lost["after"] == pytest.approx(worth)


def test_parents_move_by_the_sum_of_their_children(case: Case) -> None:
    frame = told(case, "win-rate:product=Core=+5", f"slip:{biggest(case).deal_id}=2026-09-01")
    frame = frame.assign(level=frame["node"].str.count("/"))
    sums = frame.groupby(["period", "level"])["difference"].sum().unstack()
    for level in sums.columns[1:]:
        assert sums[level].to_numpy() == pytest.approx(sums[0].to_numpy(), abs=1e-6)


def test_a_slipped_deal_brings_nothing_before_its_day(case: Case) -> None:
    deal = biggest(case)
    slipped, lost = (
        told(case, f"slip:{deal.deal_id}=2026-05-15"),
        told(case, f"lost:{deal.deal_id}"),
    )
    months = ["2026-02", "2026-03", "2026-04"]
    at = slipped["period"].isin(months) & (slipped["node"] == "company")
    assert slipped.loc[at, "after"].to_numpy() == pytest.approx(lost.loc[at, "after"].to_numpy())
    later = (slipped["period"] == "2026-05") & (slipped["node"] == "company")
    assert (slipped.loc[later, "after"] > lost.loc[later, "after"]).all()


def test_a_better_win_rate_lifts_open_deals_and_those_to_come(case: Case) -> None:
    frame = told(case, "win-rate:node=company=+5")
    company = frame[(frame["node"] == "company") & (frame["grain"] == "month")]
    assert (company["difference"] > 0).all()
    region = next(node for node in frame["node"] if node.count("/") == 1)
    part = told(case, f"win-rate:node={region}=+5")
    inside = part["node"].str.startswith(region) | (part["node"] == "company")
    assert (part.loc[~inside, "difference"] == 0).all()
    assert 0 < company_quarter(part)["difference"] < company_quarter(frame)["difference"]


def test_a_leaver_takes_deals_along_or_hands_them_over(case: Case) -> None:
    deal = biggest(case)
    history = case[2]
    rep = history.open.set_index("deal_id").loc[deal.deal_id, "rep_id"]
    other = next(r for r in history.open["rep_id"] if r != rep)
    gone, handed = told(case, f"leaves:{rep}"), told(case, f"leaves:{rep}={other}")
    assert company_quarter(gone)["after"] < company_quarter(handed)["after"]
    assert company_quarter(handed)["difference"] < 0
    leaf = gone[gone["node"] == deal.node]
    assert leaf.loc[leaf["grain"] == "month", "after"].iloc[1:].to_numpy() == pytest.approx(0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lost:nobody", "deal `nobody` is not open"),
        ("slip:{deal}=2026-01-01", "not after the forecast's day"),
        ("slip:{deal}=soon", "`soon` is no day"),
        ("amount:{deal}=much", "`much` is no number"),
        ("win-rate:colour=red=5", "`colour` is no segment"),
        ("win-rate:product=Cor=5", "no deal has `product` = `Cor`"),
        ("win-rate:product=Core=500", "give -100 to 100"),
        ("leaves:nobody", "nobody called `nobody`"),
        ("sells:everything", "is not understood"),
        ("lost:", "is not understood"),
    ],
)
def test_what_cannot_be_supposed_is_named(case: Case, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        told(case, text.format(deal=biggest(case).deal_id))


def test_changes_are_read_as_they_are_written() -> None:
    assert parse_change("leaves:a=b") == Change("leaves", "a", "b")
    assert parse_change("slip:D-1=2026-10-01") == Change("slip", "D-1", "2026-10-01")
    assert parse_change("win-rate:product=Core=-2.5").points == -2.5
    assert datetime.fromisoformat(parse_change("slip:x=2026-10-01").value).month == 10
