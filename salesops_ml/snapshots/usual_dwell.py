"""What deals that won needed: how long they had stood in each stage, and how often they came out won.

Told as of the day: only deals closed by then count, and of them only what was recorded by then.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from salesops_ml.snapshots.closings import closings
from salesops_ml.snapshots.running import (
    Levels,
    from_log_micro,
    log_micro,
    running_sums,
    shrunken,
)
from salesops_ml.snapshots.stage_features import path, ranked_moves
from salesops_ml.snapshots.visible import KEY
from salesops_ml.snapshots.working_time import DAY
from salesops_ml.warehouse import Warehouse

PRIOR_VISITS = 5.0
"""Weight of all stages together in one stage's usual dwell, in deals."""
PRIOR_DEALS = 20.0
"""Weight of the win rate over all stages in one stage's, in deals."""
_KEYS = ("stage", "pair")
GRACE = 3600
"""Seconds added to a dwell before its logarithm is taken, so that none is without one."""


def stage_record(warehouse: Warehouse, states: ir.Table) -> ir.Table:
    """usual_stage_days: what deals won by then had spent in this stage (shrunken geometric mean).
    f_stage_win_rate: how many of the deals closed by then that had been in this stage were won,
    shrunk towards the rate over all stages with the weight of 20 deals. f_rep_stage_win_rate: the
    same of the deals that this rep brought there, shrunk towards the stage's; some open doors well,
    others close.
    """
    measures = ("won", "lost", "log_dwell")
    levels: Levels = {
        "all": (None, measures),
        "stage": ("stage", measures),
        "pair": ("pair", ("won", "lost")),
    }
    sums = running_sums(_paired(states).select(*KEY, *_KEYS), _closed_visits(warehouse), levels)
    everywhere = sums.log_dwell_all / sums.won_all.nullif(0)
    usual = shrunken(sums.log_dwell_stage, sums.won_stage, everywhere, PRIOR_VISITS)
    prior = ibis.coalesce(sums.won_all / (sums.won_all + sums.lost_all).nullif(0), 0.5)
    rate = shrunken(sums.won_stage, sums.won_stage + sums.lost_stage, prior, PRIOR_DEALS)
    of_rep = shrunken(sums.won_pair, sums.won_pair + sums.lost_pair, rate, PRIOR_DEALS)
    known = sums.stage.notnull()
    return sums.select(
        *KEY,
        usual_stage_days=ibis.ifelse(known, from_log_micro(usual) / DAY, None),
        f_stage_win_rate=ibis.ifelse(known, rate, None),
        f_rep_stage_win_rate=ibis.ifelse(sums.pair.notnull(), of_rep, None),
    )


def _paired(rows: ir.Table) -> ir.Table:
    """`rows` with the pair of rep and stage; null where one of them is."""
    return rows.mutate(pair=rows.rep_id + ibis.literal("\x1f") + rows.stage)


def _closed_visits(warehouse: Warehouse) -> ir.Table:
    """For each closing and each stage on the way: at, stage, pair, won, lost, log_dwell if won."""
    ends = closings(warehouse).select("deal_id", "won", as_of="recorded_at")
    way = path(ends, ranked_moves(warehouse))
    spent = (
        way.filter(~way.is_closed)
        .group_by(*KEY, "stage")
        .agg(
            spent=way.seconds.sum(),
            rep_id=way.rep_id.argmax(way.place, where=way.rep_id.notnull()),
        )
    )
    visits = _paired(spent.join(ends, list(KEY)))
    won = visits.won.cast("int64")
    return visits.select(
        *_KEYS,
        at=visits.as_of,
        won=won,
        lost=1 - won,
        log_dwell=won * log_micro(visits.spent + GRACE),
    )
