"""Quotes: sent when a deal reaches the quote stage, again after a way back, answered at the close.

The answer is a row of its own, dated at the close, so that a sent quote never tells the outcome.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.synthetic import columns
from salesops_ml.synthetic.amounts import AmountPath
from salesops_ml.synthetic.facts import Facts

_STATUS = ("sent", "accepted", "declined")


def quotes_table(facts: Facts, amounts: AmountPath) -> pa.Table:
    """The canonical `quotes`."""
    moves = facts.moves
    position = moves.day + moves.share
    first = facts.first_entry(facts.quote_stage)[moves.deal]
    again = (moves.to_stage == facts.quote_stage) & (position > first)
    sent = (position == first) | again
    answered = (moves.to_stage < 0) & np.isfinite(first)
    rows = np.flatnonzero(sent | answered)
    deal, position = moves.deal[rows], position[rows]
    status = np.where(answered[rows], np.where(facts.won[deal], 1, 2), 0)
    start = np.append(True, deal[1:] != deal[:-1])
    index = np.arange(len(rows))
    nth = index - np.maximum.accumulate(np.where(start, index, 0)) + 1
    nth = np.where(status > 0, nth - 1, nth)
    at = columns.times(facts.moments(position))
    return pa.table(
        {
            "quote_id": _quote_ids(facts, deal, nth, status),
            "deal_id": facts.deal_ids.take(pa.array(deal)),
            "amount": columns.money(amounts.at(deal, position)[0], ~facts.deals.amount_known[deal]),
            "discount": pa.array(facts.deals.discount[deal]),
            "sent_at": at,
            "status": columns.words(_STATUS, status),
            "recorded_at": at,
        }
    ).sort_by("quote_id")


def _quote_ids(
    facts: Facts,
    deal: np.ndarray[tuple[int], np.dtype[np.int64]],
    nth: np.ndarray[tuple[int], np.dtype[np.int64]],
    status: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> pa.Array:
    stem = pc.replace_substring(facts.deal_ids.take(pa.array(deal)), "D-", "Q-")
    number = pa.array(nth).cast(pa.string())
    suffix = columns.words(("", "-A", "-D"), status)
    return pc.binary_join_element_wise(pc.binary_join_element_wise(stem, number, "-"), suffix, "")
