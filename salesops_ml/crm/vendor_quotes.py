"""Quotes of CRMs that tell only their values of today: each value from the moment on when it stood.

That a quote was accepted, or at which discount, was not known when it was made. So a quote that was
saved after it was made becomes two rows: that it went out, known from the beginning, and its values,
known from its last save on. One that was never saved again has one row.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from salesops_ml.crm.vendor_rows import BAD

ANSWER = "-answer"
"""What the id of the second row ends in."""
SAVED = "_saved"
_AT_ONCE = ibis.interval(minutes=1)


def as_known(quotes: ir.Table) -> ir.Table:
    """Quotes with `recorded_at`, no value before it was known.

    Args:
        quotes: canonical columns with today's values, `sent_at` when the quote was made, and `_saved`,
            its last save; where that is not told, values are never known.

    Example:
        >>> import pandas as pd
        >>> made, saved = pd.to_datetime(["2026-03-01", "2026-03-09"])
        >>> frame = pd.DataFrame({"quote_id": ["q"], "deal_id": ["d"], "amount": [90.0],
        ...     "discount": [0.1], "status": ["accepted"], "sent_at": [made], "_saved": [saved]})
        >>> told = as_known(ibis.memtable(frame)).order_by("sent_at").execute()
        >>> told[["quote_id", "status", "amount"]].values.tolist()
        [['q', 'sent', nan], ['q-answer', 'accepted', 90.0]]
    """
    settled = (quotes[SAVED] <= quotes.sent_at + _AT_ONCE).fill_null(False)
    once = quotes.filter(settled)
    once = once.mutate(recorded_at=ibis.greatest(once.sent_at, once[SAVED]))
    later = quotes.filter(~settled)
    unknown = {
        name: ibis.null(later[name].type())
        for name in ("amount", "discount")
        if name in later.columns
    }
    begun = later.filter(later[BAD].isnull()) if BAD in later.columns else later
    begun = begun.mutate(status=ibis.literal("sent"), recorded_at=begun.sent_at, **unknown)
    told = later.filter(later[SAVED].notnull())
    told = told.mutate(
        quote_id=told.quote_id + ANSWER, sent_at=told[SAVED], recorded_at=told[SAVED]
    )
    return ibis.union(once, begun, told).drop(SAVED)
