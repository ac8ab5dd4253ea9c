"""The deal as everybody saw it on the day: its stage, owner, amount and promised close."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from salesops_ml.snapshots.change_features import field_states
from salesops_ml.snapshots.closings import staged_events
from salesops_ml.snapshots.feature_spec import FeatureSpec
from salesops_ml.snapshots.visible import KEY, numbered, visible
from salesops_ml.warehouse import Warehouse


def deal_states(warehouse: Warehouse, spine: ir.Table, spec: FeatureSpec) -> ir.Table:
    """Each look with the deal's context as it was known then.

    Besides the columns of `features.CONTEXT`: first_amount, own_amount, first_expected.

    Args:
        spec: says which columns of `deals` are known at creation.
    """
    deals = warehouse.table("deals")
    facts = deals.select(
        "deal_id", "account_id", "pipeline", made_for=deals["product"], seller=deals.rep_id
    )
    states = spine.left_join(field_states(warehouse, spine), list(KEY)).drop(
        "deal_id_right", "as_of_right"
    )
    states = states.left_join(facts, "deal_id").drop("deal_id_right")
    states = states.left_join(_stage_states(warehouse, spine), list(KEY))
    product = states.made_for if "product" in spec.fixed else ibis.null("string")
    seller = states.seller if "rep_id" in spec.fixed else ibis.null("string")
    amount = states.amount
    return states.select(
        *KEY,
        "created_at",
        "stage",
        rep_id=ibis.coalesce(states.rep_id, states.stage_rep, seller),
        account_id=states.account_id,
        pipeline=states.pipeline,
        product=ibis.coalesce(states["product"], product),
        amount=amount,
        first_amount=states.first_amount,
        own_amount=states.own_amount,
        first_expected=states.first_expected,
        expected_close_date=states.expected_close_date,
        forecast_category=states.forecast_category,
    )


def _stage_states(warehouse: Warehouse, spine: ir.Table) -> ir.Table:
    events = numbered(staged_events(warehouse), "entered_at", "seq")
    seen = visible(spine, events, at="entered_at")
    return seen.group_by(*KEY).agg(
        stage=seen.stage.argmax(seen.place),
        stage_rep=seen.rep_id.argmax(seen.place, where=seen.rep_id.notnull()),
    )
