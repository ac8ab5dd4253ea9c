"""The feature frame: every block of features, joined on (deal, as of).

A `FeatureSpec` fixes which columns there are, so that training, calibration and tonight's scoring
see the same ones. It is learned from what was recorded up to a day, and is stored with the model.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import ibis
import ibis.expr.types as ir

from salesops_ml.periods import fiscal_month
from salesops_ml.schema import Attribute
from salesops_ml.settings import Settings
from salesops_ml.snapshots.activity_features import activity_features
from salesops_ml.snapshots.change_features import attribute_states, change_features, field_states
from salesops_ml.snapshots.closings import staged_events
from salesops_ml.snapshots.date_features import amount_features, date_features
from salesops_ml.snapshots.people_features import account_features, rep_features
from salesops_ml.snapshots.quote_features import quote_features
from salesops_ml.snapshots.stage_features import stage_features
from salesops_ml.snapshots.track_record import track_record
from salesops_ml.snapshots.visible import KEY, numbered, visible
from salesops_ml.warehouse import Warehouse

VERSION = 1
MAX_KINDS = 8
COUNTED = (
    "f_activit", "f_kind_", "f_minutes_", "f_quotes", "f_pushes", "f_days_pushed", "f_moves_back",
    "f_amount_changes", "f_owner_changes", "f_changes_", "f_skips",
)  # fmt: skip
"""Features that count: where nothing is recorded they are nought, not unknown."""
CONTEXT = (
    "created_at", "stage", "rep_id", "account_id", "pipeline", "product", "amount",
    "expected_close_date", "forecast_category",
)  # fmt: skip


@dataclass(frozen=True)
class FeatureSpec:
    """Which features are built: the vocabulary and the columns that the history can carry.

    Attributes:
        blocks: feature blocks whose tables hold rows.
        kinds: activity kinds that get columns of their own, most frequent first.
        fixed: columns of `deals` declared as known at creation.
        attributes: extra attributes that may be features.
        fiscal_start_month: first month of the fiscal year, 1..12.
    """

    blocks: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    fiscal_start_month: int = 1
    version: int = VERSION

    def to_json(self) -> str:
        """The specification as JSON, for storage beside a model."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> FeatureSpec:
        """The specification that `to_json` wrote."""
        values: dict[str, Any] = json.loads(text)
        values["attributes"] = tuple(Attribute(**row) for row in values["attributes"])
        for name in ("blocks", "kinds", "fixed"):
            values[name] = tuple(values[name])
        return cls(**values)


def learn_spec(warehouse: Warehouse, settings: Settings, *, as_of: datetime) -> FeatureSpec:
    """The specification that the history up to `as_of` can carry."""
    needs = {
        "stages": "stage_events", "changes": "deal_changes", "activities": "activities",
        "quotes": "quotes", "reps": "reps", "accounts": "accounts",
    }  # fmt: skip
    blocks = tuple(block for block, table in needs.items() if warehouse.has(table))
    deals = warehouse.table("deals")
    wanted = settings.snapshots.known_at_creation
    held = deals.agg(**{name: deals[name].count() for name in wanted}).execute().iloc[0]
    return FeatureSpec(
        blocks=blocks,
        kinds=_usual_kinds(warehouse, as_of=as_of) if "activities" in blocks else (),
        fixed=tuple(name for name in wanted if held[name] > 0),
        attributes=tuple(a for a in warehouse.attributes() if a.known != "at_close"),
        fiscal_start_month=fiscal_month(settings.company.fiscal_year_starts),
    )


def _usual_kinds(warehouse: Warehouse, *, as_of: datetime) -> tuple[str, ...]:
    acts = warehouse.table("activities")
    acts = acts.filter(acts.recorded_at <= as_of)
    counts = acts.group_by("kind").agg(n=acts.count())
    ordered = counts.order_by([ibis.desc("n"), "kind"]).limit(MAX_KINDS).execute()
    return tuple(str(kind) for kind in ordered["kind"])


def deal_states(warehouse: Warehouse, spine: ir.Table, spec: FeatureSpec) -> ir.Table:
    """Each look with the deal's context as it was known then (the columns of `CONTEXT`)."""
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


def feature_table(
    warehouse: Warehouse,
    spine: ir.Table,
    spec: FeatureSpec,
    *,
    keep: Callable[[ir.Table], ir.Table],
) -> ir.Table:
    """One row per look: deal_id, as_of, the context columns, and every feature `f_*`.

    Args:
        spine: deal_id, as_of, created_at (see `snapshots.spine`).
        spec: which features to build.
        keep: computes an intermediate table once (`Warehouse.scratch`).
    """
    spine = keep(spine)
    states = keep(deal_states(warehouse, spine, spec))
    done = states
    for block in _blocks(warehouse, spine, states, spec):
        block = keep(block)
        columns = [name for name in block.columns if name not in KEY]
        joined = done.left_join(block, list(KEY))
        done = joined.select(*[done[c] for c in done.columns], *[block[c] for c in columns])
    zeros = [name for name in done.columns if name.startswith(COUNTED)]
    return done.mutate(**{name: done[name].fill_null(0.0) for name in zeros}).drop("first_amount")


def _blocks(
    warehouse: Warehouse, spine: ir.Table, states: ir.Table, spec: FeatureSpec
) -> list[ir.Table]:
    """The blocks that the specification names."""
    owners = _owners(warehouse, spec)
    built = [date_features(states, fiscal_start_month=spec.fiscal_start_month)]
    built.append(amount_features(states))
    if "stages" in spec.blocks:
        built.append(stage_features(warehouse, spine))
    if "changes" in spec.blocks:
        built.append(change_features(warehouse, spine))
    if "activities" in spec.blocks:
        built.append(activity_features(warehouse, spine, kinds=spec.kinds))
    if "quotes" in spec.blocks:
        built.append(quote_features(warehouse, spine))
    built.append(rep_features(warehouse, states))
    built.append(track_record(warehouse, states, owners, owner="rep_id", prefix="rep"))
    if "account_id" in spec.fixed:
        built.append(account_features(warehouse, states))
        built.append(track_record(warehouse, states, owners, owner="account_id", prefix="account"))
    fixed = [name for name in spec.fixed if name not in ("account_id", "rep_id", "product")]
    if fixed:
        facts = warehouse.table("deals").select("deal_id", **{f"f_{n}": n for n in fixed})
        built.append(spine.select(*KEY).left_join(facts, "deal_id").drop("deal_id_right"))
    if spec.attributes:
        built.append(attribute_states(warehouse, spine, spec.attributes))
    return built


def _owners(warehouse: Warehouse, spec: FeatureSpec) -> ir.Table:
    """Each deal's account, and the first rep that its history names."""
    deals = warehouse.table("deals")
    changes = warehouse.table("deal_changes")
    named = changes.filter(changes.field == "rep_id")
    first = named.group_by("deal_id").agg(changed_rep=named.new_value.argmin(named.changed_at))
    events = warehouse.table("stage_events")
    moved = events.group_by("deal_id").agg(
        moved_rep=events.rep_id.argmin(events.entered_at, where=events.rep_id.notnull())
    )
    joined = deals.left_join(first, "deal_id").drop("deal_id_right")
    joined = joined.left_join(moved, "deal_id").drop("deal_id_right")
    seller = joined.rep_id if "rep_id" in spec.fixed else ibis.null("string")
    return joined.select(
        "deal_id", "account_id", rep_id=ibis.coalesce(joined.changed_rep, joined.moved_rep, seller)
    )
