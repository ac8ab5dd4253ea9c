"""The deals as they stand at the end of the record, and the stages they went through."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from salesops_ml.schema import Attribute
from salesops_ml.synthetic import columns
from salesops_ml.synthetic.amounts import AmountPath, Rates
from salesops_ml.synthetic.changes import FieldHistory
from salesops_ml.synthetic.clock import Days
from salesops_ml.synthetic.directory import PIPELINE
from salesops_ml.synthetic.draws import choose, stream
from salesops_ml.synthetic.facts import Facts
from salesops_ml.synthetic.owners import Owners

CAMPAIGNS = ("none", "webinar", "trade show", "newsletter", "partner day")
SIGNERS = ("owner", "procurement", "finance", "legal")
REASONS = ("price", "competitor", "no decision", "timing", "product fit")
ONBOARDERS = ("Onboarding A", "Onboarding B", "Onboarding C")
TERMS = (12, 24, 36)
LEAK = "onboarding_team"

_ATTRIBUTES = (
    Attribute("campaign", "string", "at_creation"),
    Attribute("competitor", "string", "over_time"),
    Attribute("signed_by", "string", "at_close"),
)


def attributes(plant_leak: bool) -> tuple[Attribute, ...]:
    """The extra attributes that the world declares; the leak's declaration is the mistake."""
    leak = (Attribute(LEAK, "string", "at_creation"),)
    return _ATTRIBUTES + leak if plant_leak else _ATTRIBUTES


def deals_table(
    facts: Facts, owners: Owners, amounts: AmountPath, rates: Rates, histories: list[FieldHistory]
) -> pa.Table:
    """The canonical `deals`: today's values."""
    world, deals, count = facts.world, facts.deals, facts.deals.count
    amount, base = amounts.last(count)
    last = {history.field: history.value for history in histories}
    rows = {history.field: history.last(count) for history in histories}
    current = {name: columns.words(last[name], rows[name]) for name in last}
    status = np.where(facts.closed, np.where(facts.won, 1, 2), 0)
    due = current["expected_close_date"].cast(pa.date32())
    table = {
        "deal_id": facts.deal_ids,
        "account_id": facts.account_ids.take(pa.array(deals.account)),
        "rep_id": current["rep_id"],
        "pipeline": pa.array([PIPELINE] * count, pa.string()),
        "product": current["product"],
        "lead_source": columns.words([o.name for o in world.lead_sources], deals.source),
        "deal_type": columns.words([o.name for o in world.deal_types], deals.deal_type),
        "currency": columns.words(rates.currencies, rates.of_region[deals.region]),
        "amount": columns.money(amount, ~deals.amount_known),
        "amount_base": columns.money(base, ~deals.amount_known),
        "expected_close_date": due,
        "created_at": columns.times(facts.created_at),
        "closed_at": columns.times(facts.closed_at, ~facts.closed),
        "status": columns.words(("open", "won", "lost"), status),
        "lost_reason": _lost_reasons(facts),
        "forecast_category": current["forecast_category"],
    }
    return pa.table(table | _contract(facts) | _extras(facts, current["competitor"]))


def _lost_reasons(facts: Facts) -> pa.Array:
    """Why deals were lost: late ones by price and rivals, early ones for want of a decision."""
    rng = stream(facts.world.seed, "lost reasons")
    count = facts.deals.count
    late = np.isfinite(facts.first_entry(facts.quote_stage))
    early_code = choose(rng, [0.10, 0.12, 0.38, 0.22, 0.18], count)
    late_code = choose(rng, [0.34, 0.28, 0.18, 0.12, 0.08], count)
    told = rng.random(count) >= facts.world.faults.missing_lost_reason
    lost = facts.closed & ~facts.won & told
    return columns.words(REASONS, np.where(lost, np.where(late, late_code, early_code), -1))


def _contract(facts: Facts) -> dict[str, pa.Array]:
    rng = stream(facts.world.seed, "contracts")
    count = facts.deals.count
    term = np.array(TERMS)[choose(rng, [0.55, 0.2, 0.25], count)]
    start = facts.closed_at.astype("datetime64[D]") + rng.integers(7, 45, count).astype(
        "timedelta64[D]"
    )
    return {
        "service_start": columns.dates(start, ~facts.won),
        "term_months": pa.array(term),
    }


def _extras(facts: Facts, competitor: pa.Array) -> dict[str, pa.Array]:
    rng = stream(facts.world.seed, "extras")
    count = facts.deals.count
    campaign = choose(rng, [0.5, 0.15, 0.1, 0.15, 0.1], count)
    signer = np.where(facts.won, choose(rng, [0.4, 0.3, 0.2, 0.1], count), -1)
    done = {
        "x_campaign": columns.words(CAMPAIGNS, campaign),
        "x_competitor": competitor,
        "x_signed_by": columns.words(SIGNERS, signer),
    }
    if facts.world.plant_leak:
        filled = np.where(facts.won, rng.random(count) < 0.95, rng.random(count) < 0.01)
        team = choose(rng, [0.4, 0.35, 0.25], count)
        done[f"x_{LEAK}"] = columns.words(ONBOARDERS, np.where(filled, team, -1))
    return done


def stage_events_table(facts: Facts, owners: Owners) -> pa.Table:
    """The canonical `stage_events`: the creation and every move, closing included."""
    moves, count = facts.moves, facts.deals.count
    deal = np.concatenate([np.arange(count), moves.deal])
    position = np.concatenate([facts.starts, moves.day + moves.share])
    stage = np.concatenate([np.zeros(count, dtype=np.int64), facts.entered])
    order = np.lexsort((position, deal))
    deal, position = deal[order], position[order]
    at = columns.times(facts.moments(position))
    zero: Days = np.zeros(len(deal), dtype=np.int64)
    return pa.table(
        {
            "deal_id": facts.deal_ids.take(pa.array(deal)),
            "entered_at": at,
            "seq": pa.array(zero),
            "stage": columns.words(facts.stage_names, stage[order]),
            "rep_id": columns.words(facts.rep_ids, owners.at(deal, position)),
            "recorded_at": at,
        }
    )
