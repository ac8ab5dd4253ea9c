"""Fields that somebody fills in when the deal is over, and that then look like early knowledge.

Three traces: at a deal's first look only winners (or only losers) seem to have the field; deals
that ended have it and deals still open hardly do; the history says that it was first entered at the
closing.
"""

from __future__ import annotations

import ibis
import numpy as np
import pandas as pd

from salesops_ml.quality.finding import Finding
from salesops_ml.quality.looks import LEAST_DEALS, Bools, Floats, Integers, Looks, filled
from salesops_ml.schema import TABLES
from salesops_ml.snapshots.change_features import OWN_FIELDS
from salesops_ml.snapshots.closings import closings
from salesops_ml.snapshots.features import FeatureSpec
from salesops_ml.warehouse import Warehouse

CHECK = "filled after closing"
EMPTY_GAP = 0.5
NOUGHT_GAP = 0.9
CHANCE = 1e-6
CLOSED_FILLED = 0.5
HARDLY = 0.1
SUSPECT_GAP = 0.4
LIKE_AGE = "M"
AT_CLOSING = 0.5
NOTICEABLE = 0.2
MARGIN_SECONDS = 3600


def birth_findings(looks: Looks) -> list[Finding]:
    """Fields that, at the deal's first look, one outcome has much more often than the other."""
    won = (looks.closed["outcome"] == "won").to_numpy()
    if min(won.sum(), (~won).sum()) < LEAST_DEALS:
        return []
    findings: list[Finding] = []
    for name in looks.columns:
        values = looks.closed[name]
        here = values.notna().to_numpy(bool)
        gap, how = _gap(here, won), "filled"
        if gap <= EMPTY_GAP and name in looks.declared:
            here, how = filled(values), "neither empty nor nought"
            gap = _gap(here, won) if _gap(here, won) > NOUGHT_GAP else 0.0
        if gap > EMPTY_GAP:
            told = f"{here[won].mean():.0%} of won, {here[~won].mean():.0%} of lost deals"
            findings.append(Finding(CHECK, name, f"at the first look {how} for {told}", "fail"))
        elif name in looks.declared:
            findings += _seldom(name, filled(values), won)
    return findings


def _seldom(name: str, here: Bools, won: Bools) -> list[Finding]:
    """A declared field that few deals have, but only such as ended one way; chance would not do that."""
    for word, mine in (("won", won), ("lost", ~won)):
        count = int(here.sum())
        if count >= LEAST_DEALS and here[mine].sum() == count and mine.mean() ** count < CHANCE:
            evidence = f"at the first look filled for {count:,} deals, all of them {word}"
            return [Finding(CHECK, name, evidence, "fail")]
    return []


def _gap(here: Bools, won: Bools) -> float:
    return float(abs(here[won].mean() - here[~won].mean()))


def open_findings(looks: Looks) -> list[Finding]:
    """Declared fields that deals which ended have, and open deals begun in the same month lack.

    A field that was dropped lately is empty for closed and open deals of one month alike, so it
    raises no alarm. Undated deals are all compared with each other.
    """
    deals = looks.everybody
    closed = (deals["outcome"] != "open").to_numpy()
    month = _months(deals, dated=looks.dated)
    weight = _overlap(closed, month)
    if weight.sum() < LEAST_DEALS:
        return []
    findings = []
    for name in sorted(looks.declared & set(looks.columns)):
        here = filled(deals[name])
        ended, open_ = _shares(here, closed, month, weight)
        if ended - open_ <= SUSPECT_GAP:
            continue
        hardly = ended >= CLOSED_FILLED and open_ <= HARDLY * ended
        evidence = (
            f"filled for {ended:.0%} of the deals that ended, {open_:.0%} of the open ones "
            f"{'begun in the same months' if looks.dated else 'there are'}"
        )
        findings.append(Finding(CHECK, name, evidence, "fail" if hardly else "warn"))
    return findings


def _months(deals: pd.DataFrame, *, dated: bool) -> Integers:
    if not dated:
        return np.zeros(len(deals), np.int64)
    months = deals["created_at"].dt.to_period(LIKE_AGE)
    return np.asarray(pd.factorize(months, sort=True)[0], np.int64)


def _overlap(closed: Bools, month: Integers) -> Floats:
    """The weight of each month in a comparison (Mantel & Haenszel 1959): nought without both kinds."""
    ended = np.bincount(month[closed], minlength=month.max() + 1).astype(float)
    still = np.bincount(month[~closed], minlength=month.max() + 1).astype(float)
    both = ended + still
    weight: Floats = np.divide(ended * still, both, out=np.zeros_like(both), where=both > 0)
    return weight


def _shares(here: Bools, closed: Bools, month: Integers, weight: Floats) -> tuple[float, float]:
    """Shares filled among ended and open deals, over the months by `weight`."""
    shares = []
    for part in (closed, ~closed):
        count = np.bincount(month[part], minlength=len(weight))
        have = np.bincount(month[part & here], minlength=len(weight))
        share = np.divide(have, count, out=np.zeros(len(weight)), where=count > 0)
        shares.append(float((share * weight).sum() / weight.sum()))
    return shares[0], shares[1]


def history_findings(warehouse: Warehouse, spec: FeatureSpec) -> list[Finding]:
    """Fields whose first value the history sees at the closing, not before.

    A declared field of which the history tells that is a leak: today's value is no early one. A
    field that is read through its history is merely of no use while a deal is open.
    """
    if not warehouse.has("deal_changes"):
        return []
    declared = {name: f"f_{name}" for name in spec.fixed}
    declared |= {a.name: f"f_{a.column}" for a in spec.attributes if a.known == "at_creation"}
    moving = {a.name: f"f_{a.column}" for a in spec.attributes if a.known == "over_time"}
    findings = []
    for row in _first_fills(warehouse).to_dict("records"):
        name, deals, share = str(row["field"]), int(row["deals"]), float(row["at_closing"])
        if deals < LEAST_DEALS or share < NOTICEABLE:
            continue
        late = f"first entered within an hour of the closing, or later, on {share:.0%} of {deals:,}"
        if name in declared:
            verdict = "fail" if share > AT_CLOSING else "warn"
            evidence = f"declared as known at creation, but {late} closed deals that have it"
            findings.append(Finding(CHECK, declared[name], evidence, verdict))
        elif share > AT_CLOSING and name in {*moving, *TABLES["deals"].names}:
            evidence = f"{late} closed deals that have it: it tells nothing of open ones"
            findings.append(Finding(CHECK, moving.get(name, name), evidence, "warn"))
    return findings


def _first_fills(warehouse: Warehouse) -> pd.DataFrame:
    """By field of the history: closed deals that have a value, and the share that got it at the end."""
    changes = warehouse.table("deal_changes")
    changes = changes.filter(changes.new_value.notnull(), ~changes.field.startswith(OWN_FIELDS))
    first = changes.group_by("deal_id", "field").agg(at=changes.recorded_at.min())
    ends = closings(warehouse)
    ends = ends.group_by("deal_id").agg(ended=ends.recorded_at.min())
    deals = warehouse.table("deals").select("deal_id", "created_at")
    rows = first.join(ends, "deal_id").join(deals, "deal_id")
    late = rows.at.epoch_seconds() >= rows.ended.epoch_seconds() - MARGIN_SECONDS
    early = rows.created_at.notnull() & (
        rows.at.epoch_seconds() <= rows.created_at.epoch_seconds() + MARGIN_SECONDS
    )
    rows = rows.mutate(late=ibis.ifelse(late & ~early, 1.0, 0.0))
    told = rows.group_by("field").agg(deals=rows.count(), at_closing=rows.late.mean())
    frame: pd.DataFrame = told.order_by("field").to_pandas()
    return frame
