"""The field history: every value that a tracked field of a deal ever had, the first one included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from salesops_ml.synthetic import columns
from salesops_ml.synthetic.amounts import AmountPath
from salesops_ml.synthetic.clock import Days
from salesops_ml.synthetic.draws import Floats, choose, stream
from salesops_ml.synthetic.expectations import CATEGORIES, categories, close_dates
from salesops_ml.synthetic.facts import Facts
from salesops_ml.synthetic.owners import Owners

COMPETITORS = ("none", "Northwind", "Acme", "Globex", "Initech")


@dataclass(frozen=True)
class FieldHistory:
    """One field's values in order of (deal, position), as text."""

    field: str
    deal: Days
    position: Floats
    value: pa.Array

    def last(self, count: int) -> Days:
        """Row of each deal's last value; -1 where it has none."""
        rows = np.full(count, -1, dtype=np.int64)
        rows[self.deal] = np.arange(len(self.deal))
        return rows


def field_histories(facts: Facts, owners: Owners, amounts: AmountPath) -> list[FieldHistory]:
    """The history of every tracked field, by name."""
    known = facts.deals.amount_known[amounts.deal]
    deal, position = amounts.deal[known], amounts.position[known]
    due = close_dates(facts)
    called = categories(facts)
    product = _products(facts)
    rival = _competitors(facts)
    names = [option.name for option in facts.world.products]
    money = columns.money(amounts.amount[known])
    base = columns.money(amounts.base[known])
    calendar = columns.dates(facts.clock.dates(due[2]))
    return [
        FieldHistory("amount", deal, position, columns.text(money)),
        FieldHistory("amount_base", deal, position, columns.text(base)),
        FieldHistory("competitor", *rival[:2], columns.words(COMPETITORS, rival[2])),
        FieldHistory("expected_close_date", *due[:2], columns.text(calendar)),
        FieldHistory("forecast_category", *called[:2], columns.words(CATEGORIES, called[2])),
        FieldHistory("product", *product[:2], columns.words(names, product[2])),
        _owner_history(facts, owners),
    ]


def _owner_history(facts: Facts, owners: Owners) -> FieldHistory:
    deal = np.concatenate([np.arange(facts.deals.count), owners.deal])
    position = np.concatenate([facts.starts, owners.position])
    rep = np.concatenate([owners.first, owners.rep])
    order = np.lexsort((position, deal))
    return FieldHistory(
        "rep_id", deal[order], position[order], columns.words(facts.rep_ids, rep[order])
    )


def _products(facts: Facts) -> tuple[Days, Floats, Days]:
    """One deal in fifty is sold another product once it is quoted."""
    rng = stream(facts.world.seed, "products")
    count, kinds = facts.deals.count, len(facts.world.products)
    swap = (facts.deals.product + 1 + rng.integers(0, max(kinds - 1, 1), count)) % kinds
    chosen = (rng.random(count) < 0.02) & (swap != facts.deals.product)
    return _revised(facts, facts.deals.product, swap, chosen)


def _competitors(facts: Facts) -> tuple[Days, Floats, Days]:
    """Who else bids, as far as the rep knows; some are only met once the quote is out."""
    rng = stream(facts.world.seed, "competitors")
    first = choose(rng, [0.6, 0.1, 0.1, 0.1, 0.1], facts.deals.count)
    later = choose(rng, [0.0, 0.25, 0.25, 0.25, 0.25], facts.deals.count)
    chosen = (rng.random(facts.deals.count) < 0.3) & (first == 0)
    return _revised(facts, first, later, chosen)


def _revised(
    facts: Facts, first: Days, later: Days, chosen: npt.NDArray[np.bool_]
) -> tuple[Days, Floats, Days]:
    """First values, and a later one at the first quote for the chosen deals that get one."""
    quoted = facts.first_entry(facts.quote_stage)
    rows = np.flatnonzero(chosen & np.isfinite(quoted))
    deal = np.concatenate([np.arange(facts.deals.count), rows])
    position = np.concatenate([facts.starts, quoted[rows]])
    value = np.concatenate([first, later[rows]])
    order = np.lexsort((position, deal))
    return deal[order], position[order], value[order]


def changes_table(facts: Facts, owners: Owners, histories: list[FieldHistory]) -> pa.Table:
    """The canonical `deal_changes`, in order of deal, field and time."""
    names = sorted(history.field for history in histories)
    code = np.concatenate([np.full(len(h.deal), names.index(h.field)) for h in histories])
    deal = np.concatenate([history.deal for history in histories])
    position = np.concatenate([history.position for history in histories])
    value = pa.concat_arrays([history.value for history in histories])
    order = np.lexsort((position, code, deal))
    deal, code, position = deal[order], code[order], position[order]
    same = np.append(False, (deal[1:] == deal[:-1]) & (code[1:] == code[:-1]))
    before = np.where(same, np.append(-1, order[:-1]), -1)
    moment = facts.moments(position)
    at = columns.times(moment)
    return pa.table(
        {
            "deal_id": facts.deal_ids.take(pa.array(deal)),
            "field": columns.words(names, code),
            "changed_at": at,
            "seq": pa.array(_sequence(same, moment)),
            "old_value": columns.words(value, before),
            "new_value": value.take(pa.array(order)),
            "changed_by": columns.words(facts.rep_ids, owners.at(deal, position)),
            "recorded_at": at,
        }
    )


def _sequence(same: npt.NDArray[np.bool_], moment: npt.NDArray[np.datetime64]) -> Days:
    """0, 1, .. among changes of one field of one deal at one moment."""
    repeat = same & np.append(False, moment[1:] == moment[:-1])
    index = np.arange(len(same))
    return index - np.maximum.accumulate(np.where(repeat, 0, index))
