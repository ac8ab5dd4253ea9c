"""Work items of an event log - calls, checks, follow-ups - as activities.

A log tells that work began and that it ended. How long it took is known at its end only, so an activity
is recorded there, with the time that it began as the time it took place. What began and never ended,
or was merely scheduled, is no activity yet: it is counted.
"""

from __future__ import annotations

import pandas as pd

from salesops_ml.source_settings import EventLogSource

BEGINS = ("start", "resume")
ENDS = ("complete", "suspend", "ate_abort", "pi_abort")


def work_items(events: pd.DataFrame, source: EventLogSource) -> tuple[pd.DataFrame, dict[str, int]]:
    """Activities, and how many events went into them or were left, by reason.

    An end closes the begin right before it, of the same deal and name; an end without one stands for
    work of unknown length. Without a life cycle every event is an activity.
    """
    phase = events["lifecycle"].fillna("complete")
    known = phase.isin((*BEGINS, *ENDS))
    left = phase[~known].value_counts().sort_index()
    counts = {f"events: left, activity {name}": int(count) for name, count in left.items()}
    work = events[known].assign(phase=phase[known])
    work = work.sort_values(["deal_id", "activity", "at", "seq"])
    begins = work["phase"].isin(BEGINS)
    of_item = work.groupby(["deal_id", "activity"], sort=False)
    begun = work["at"].where(begins).groupby([work["deal_id"], work["activity"]]).shift()
    ended = of_item["phase"].shift(-1).isin(ENDS)
    counts["events: used as the start of an activity"] = int((begins & ended).sum())
    counts["events: left, activity begun but not ended"] = int((begins & ~ended).sum())
    done, begun = work[~begins], begun[~begins]
    minutes = (done["at"] - begun).dt.total_seconds() / 60
    prefix = len(source.activities.keep.partition("*")[0]) if source.activities else 0
    rows = done.assign(
        activity_id=done["deal_id"] + "-" + done["seq"].astype(str),
        kind=done["activity"].str[prefix:],
        duration_minutes=minutes,
        outcome=done["lifecycle"],
        recorded_at=done["at"],
        at=begun.fillna(done["at"]),
    )
    return rows, counts
