"""How earlier deals of the same rep, account, product or source ended, as it was known on the day.

A win rate of few deals is mostly luck, so each is drawn towards the level above it: a rep's towards
the company's, a rep's in a segment towards the rep's (empirical Bayes: Robbins 1956; Efron & Morris
1975). Values with thousands of names become one telling number, and since they are counted up to the
moment of the look they cannot tell of its own end.
"""

from __future__ import annotations

from collections.abc import Sequence

import ibis
import ibis.expr.types as ir

from salesops_ml.snapshots.closings import closings
from salesops_ml.snapshots.owners import deal_beginnings
from salesops_ml.snapshots.running import (
    Levels,
    from_log_micro,
    log_micro,
    running_sums,
    shrunken,
)
from salesops_ml.snapshots.visible import KEY, days_between
from salesops_ml.snapshots.working_time import DAY
from salesops_ml.warehouse import Warehouse

PRIOR_DEALS = 20.0
"""Weight of the company's win rate in an owner's, in deals."""
PRIOR_AMOUNTS = 5.0
"""Weight of the company's usual amount in an owner's, in deals."""
LATELY_DAYS = 180
_ENDED = ("won", "lost")
_LATELY = ("won_lately", "lost_lately")
_PRICED = ("priced", "log_priced")
_SOLD = ("sold", "log_sold")
MEASURES = (
    "opened", *_ENDED, *_LATELY, *_PRICED, *_SOLD, "cents", "cycles", "log_cycle",
)  # fmt: skip


def track_records(
    warehouse: Warehouse, states: ir.Table, *, fixed: Sequence[str], rated: Sequence[str]
) -> ir.Table:
    """What was known, at each look, of earlier deals. Deals count for the rep who had them first.

    f_rep_closed, f_account_closed: experience. f_rep_open, f_account_open: how many deals compete
    for attention; f_rep_open_amount: and how much money. f_rep_win_rate, f_account_win_rate and
    f_<column>_win_rate for each of `rated`: success, shrunk towards the company's with the weight of
    20 deals. f_win_rate_180d, f_rep_win_rate_180d: form, over the last 180 days.
    f_rep_segment_win_rate: the rep's success with this product (or whatever `rated` names first).
    f_days_since_account_win: a customer of yesterday buys again. usual_rep_amount,
    usual_won_amount, usual_segment_amount: usual amounts of the rep's deals, of won deals, of won
    deals in the segment. usual_cycle_days: how long won deals took.

    Args:
        states: looks with deal_id, as_of, rep_id, account_id and product as known then.
        fixed: columns of `deals` declared as known at creation.
        rated: columns whose values get a win rate; see `vocabulary.rated_columns`.
    """
    begun = deal_beginnings(warehouse, fixed, rated)
    segment = rated[0] if rated else None
    levels: Levels = {
        "all": (None, (*_ENDED, *_LATELY, *_PRICED, *_SOLD, "cycles", "log_cycle")),
        "rep": ("rep_id", ("opened", *_ENDED, *_LATELY, *_PRICED, "cents")),
    }
    if "account_id" in fixed:
        levels["account"] = ("account_id", ("opened", *_ENDED))
    for name in rated:
        levels[name] = (name, (*_ENDED, *_SOLD) if name == segment else _ENDED)
    if segment:
        levels["rep_segment"] = ("rep_segment", _ENDED)
    sums = running_sums(
        _looks(states, begun, rated, segment), _happenings(warehouse, begun, rated, segment), levels
    )
    columns = _of_company(sums) | _of_rep(sums, segment)
    if "account_id" in fixed:
        columns |= _experience(sums, "account", "account_id")
    for name in rated:
        known = sums[name].notnull()
        columns[f"f_{name}_win_rate"] = ibis.ifelse(known, _rate(sums, name, _company(sums)), None)
    if segment:
        columns["usual_segment_amount"] = _usual(sums, "sold", segment)
    return sums.select(*KEY, **columns)


def last_account_win(warehouse: Warehouse, states: ir.Table) -> ir.Table:
    """f_days_since_account_win: how long ago the account last bought, by what was known then."""
    ends = closings(warehouse)
    deals = warehouse.table("deals").select("deal_id", "account_id")
    wins = ends.filter(ends.won).join(deals, "deal_id").select("account_id", at="recorded_at")
    looks = states.select(*KEY, "account_id")
    seen = looks.join(wins, [looks.account_id == wins.account_id, wins["at"] <= looks.as_of])
    ago = days_between(seen["at"], seen.as_of)
    return seen.group_by(*KEY).agg(f_days_since_account_win=ago.min())


def _of_company(sums: ir.Table) -> dict[str, ir.Value]:
    company = _company(sums)
    lately = sums.won_lately_all + sums.lost_lately_all
    return {
        "f_win_rate_180d": shrunken(sums.won_lately_all, lately, company, PRIOR_DEALS),
        "usual_won_amount": from_log_micro(sums.log_sold_all / sums.sold_all.nullif(0)),
        "usual_cycle_days": from_log_micro(sums.log_cycle_all / sums.cycles_all.nullif(0)) / DAY,
    }


def _of_rep(sums: ir.Table, segment: str | None) -> dict[str, ir.Value]:
    known = sums.rep_id.notnull()
    rate = _rate(sums, "rep", _company(sums))
    lately = sums.won_lately_rep + sums.lost_lately_rep
    columns = {
        **_experience(sums, "rep", "rep_id"),
        "f_rep_open_amount": sums.cents_rep / 100,
        "f_rep_win_rate_180d": shrunken(sums.won_lately_rep, lately, rate, PRIOR_DEALS),
        "usual_rep_amount": _usual(sums, "priced", "rep"),
    }
    if segment:
        columns["f_rep_segment_win_rate"] = _rate(sums, "rep_segment", rate)
    return {name: ibis.ifelse(known, value, None) for name, value in columns.items()}


def _experience(sums: ir.Table, prefix: str, owner: str) -> dict[str, ir.Value]:
    """Deals closed, deals open and win rate of one owner; null where it is not known who."""
    closed = sums[f"won_{prefix}"] + sums[f"lost_{prefix}"]
    columns = {
        f"f_{prefix}_closed": closed,
        f"f_{prefix}_open": sums[f"opened_{prefix}"] - closed,
        f"f_{prefix}_win_rate": _rate(sums, prefix, _company(sums)),
    }
    known = sums[owner].notnull()
    return {name: ibis.ifelse(known, value, None) for name, value in columns.items()}


def _company(sums: ir.Table) -> ir.Value:
    """The company's win rate so far; one half before the first closing."""
    return ibis.coalesce(sums.won_all / (sums.won_all + sums.lost_all).nullif(0), 0.5)


def _rate(sums: ir.Table, level: str, prior: ir.Value) -> ir.Value:
    won, lost = sums[f"won_{level}"], sums[f"lost_{level}"]
    return shrunken(won, won + lost, prior, PRIOR_DEALS)


def _usual(sums: ir.Table, what: str, level: str) -> ir.Value:
    """Shrunken geometric mean of the level's amounts."""
    prior = sums[f"log_{what}_all"] / sums[f"{what}_all"].nullif(0)
    mean = shrunken(sums[f"log_{what}_{level}"], sums[f"{what}_{level}"], prior, PRIOR_AMOUNTS)
    return from_log_micro(mean)


def _looks(
    states: ir.Table, begun: ir.Table, rated: Sequence[str], segment: str | None
) -> ir.Table:
    """The looks with their keys: rep and product as known then, the rest as they always were."""
    still = [name for name in rated if name != "product"]
    looks = states.select(*KEY, "rep_id", "account_id", "product")
    if still:
        facts = begun.select("deal_id", *still)
        looks = looks.left_join(facts, "deal_id").drop("deal_id_right")
    return _keyed(looks, rated, segment).select(*KEY, *_keys(rated, segment))


def _keys(rated: Sequence[str], segment: str | None) -> list[str]:
    pair = ["rep_segment"] if segment else []
    return ["rep_id", "account_id", *rated, *pair]


def _keyed(rows: ir.Table, rated: Sequence[str], segment: str | None) -> ir.Table:
    """`rows` with the pair of rep and segment; null where one of them is."""
    if segment is None:
        return rows
    return rows.mutate(rep_segment=rows.rep_id + ibis.literal("\x1f") + rows[segment])


def _happenings(
    warehouse: Warehouse, begun: ir.Table, rated: Sequence[str], segment: str | None
) -> ir.Table:
    """Openings, first amounts, and closings as rows with measures; each when all of it was known."""
    keys = _keys(rated, segment)
    begun = _keyed(begun, rated, segment)
    begun = begun.filter(begun.created_at.notnull()).mutate(
        cents=(begun.first_amount * 100).round().cast("int64"), log=log_micro(begun.first_amount)
    )
    opened = begun.select(*keys, at=_latest(begun.created_at, begun.known_rep), opened=1)
    priced = begun.filter(begun.first_amount.notnull())
    priced = priced.select(
        *keys,
        at=_latest(priced.created_at, priced.known_rep, priced.known_amount, priced.known_product),
        cents=priced.cents,
        priced=priced.log.notnull().cast("int64"),
        log_priced=priced.log,
    )
    ended = _endings(warehouse, begun, keys)
    later = ended["at"] + ibis.interval(days=LATELY_DAYS)
    expired = ended.select(*keys, at=later, won_lately=-ended.won, lost_lately=-ended.lost)
    parts = [_full(part, keys) for part in (opened, priced, ended, expired)]
    return ibis.union(*parts)


def _endings(warehouse: Warehouse, begun: ir.Table, keys: list[str]) -> ir.Table:
    """Closings, with what they take out of the open pipeline and tell of winning."""
    ends = closings(warehouse).join(begun, "deal_id")
    won = ends.won.cast("int64")
    lost = ends.lost.cast("int64")
    cycle = ibis.greatest(ends.closed_at.delta(ends.created_at, unit="second"), 3600)
    return ends.select(
        *keys,
        at=_latest(ends.recorded_at, ends.known_rep, ends.known_amount, ends.known_product),
        won=won,
        lost=lost,
        won_lately=won,
        lost_lately=lost,
        cents=-ends.cents,
        sold=won * ends.log.notnull().cast("int64"),
        log_sold=won * ends.log,
        cycles=won,
        log_cycle=won * log_micro(cycle),
    )


def _latest(moment: ir.Value, *others: ir.Value) -> ir.Value:
    """The latest of `moment` and those of the others that there are."""
    return ibis.greatest(moment, *[ibis.coalesce(other, moment) for other in others])


def _full(part: ir.Table, keys: list[str]) -> ir.Table:
    """`part` with every measure, nought where it has none."""
    nothing = ibis.literal(0, "int64")
    measures = {
        name: part[name].fill_null(0).cast("int64") if name in part.columns else nothing
        for name in MEASURES
    }
    return part.select("at", *keys, **measures)
