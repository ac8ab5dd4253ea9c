"""Parts that the mappings of all CRMs share: deals of chosen pipelines, custom fields, usual words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ibis
import ibis.expr.types as ir

from salesops_ml.crm.vendor_rows import Rows
from salesops_ml.crm_settings import CrmSource, CustomField
from salesops_ml.errors import SourceError
from salesops_ml.schema import Attribute


def in_pipelines(table: ir.Table, chosen: Sequence[str]) -> ir.Table:
    """The rows whose `_pipeline` is one of `chosen`; all where none is."""
    return table.filter(table["_pipeline"].isin(list(chosen))) if chosen else table


def stages_in_order(rows: ir.Table, pipelines: ir.Table, *, key: str, called: str) -> ir.Table:
    """Stages of pipelines as canonical `stages`, with their `key` and what else `rows` hold.

    Names that two stages of a pipeline share are told apart by their keys.

    Args:
        rows: `key`, `_of` (the pipeline's id), `label` and `order` of each stage.
        pipelines: `_pipeline_id`, and the pipeline's name in the column `called`.
        key: the column that tells stages apart.
        called: the column of the pipeline's name.
    """
    table = rows.left_join(pipelines, rows["_of"] == pipelines["_pipeline_id"])
    table = table.mutate(pipeline=ibis.coalesce(table[called], table["_of"]))
    in_pipeline = ibis.window(group_by="pipeline", order_by=["order", key])
    twins = table.count().over(ibis.window(group_by=["pipeline", "label"]))
    label = ibis.coalesce(table.label, table[key])
    others = [name for name in rows.columns if name not in ("_of", "label", "order")]
    return table.select(
        *others, "pipeline",
        stage=ibis.ifelse(twins > 1, label + " (" + table[key] + ")", label),
        position=ibis.row_number().over(in_pipeline),
    )  # fmt: skip


def with_reason(chosen: dict[str, ir.Value], rows: Rows) -> dict[str, ir.Value]:
    """Columns read from `rows`, and beside them which value of the vendor does not read."""
    return {**chosen, **rows.unread()}


def attributes_of(options: CrmSource) -> tuple[Attribute, ...]:
    """The extra deal attributes that settings declare."""
    return tuple(
        Attribute(name, field.kind, field.known) for name, field in options.custom_fields.items()
    )


def custom_columns(rows: Rows, options: CrmSource) -> dict[str, ir.Value]:
    """The extra attributes as columns of `deals`, once all fields that settings name are there.

    Raises:
        SourceError: a field that `custom_fields` or `canonical_fields` name did not land.
    """
    for name, column in options.canonical_fields.items():
        _landed(rows, f"canonical_fields.{name}", column)
    return {
        attribute.column: _reader(rows, field)(_column(rows, attribute.name, field))
        for attribute, field in zip(
            attributes_of(options), options.custom_fields.values(), strict=True
        )
    }


def over_time_fields(rows: Rows, options: CrmSource) -> dict[str, tuple[str, ir.StringValue]]:
    """The attributes that need a history: the vendor's name of each, and its value today as text."""
    return {
        name: (field.column or name, rows.text(_column(rows, name, field)))
        for name, field in options.custom_fields.items()
        if field.known == "over_time"
    }


def _column(rows: Rows, name: str, field: CustomField) -> str:
    return _landed(rows, f"custom_fields.{name}", field.column or name)


def _landed(rows: Rows, setting: str, column: str) -> str:
    if not rows.has(column):
        raise SourceError(
            f"`source.{setting}`: `{rows.name}` has no field `{column}`; correct the name, give the "
            "reading user the right to see it, or leave the attribute out"
        )
    return column


def _reader(rows: Rows, field: CustomField) -> Any:
    return {"string": rows.text, "float": rows.number, "boolean": rows.truth,
            "timestamp": rows.moment}[field.kind]  # fmt: skip


def deal_type_words(text: ir.StringValue) -> ir.StringValue:
    """The usual words for new business, expansion and renewal in ours; all others as they are.

    Example:
        >>> words = ["New Business", "Existing Customer - Upgrade", "Renewal", "Pilot"]
        >>> [deal_type_words(ibis.literal(word)).execute() for word in words]
        ['new', 'expansion', 'renewal', 'Pilot']
    """
    low = text.lower()
    return ibis.cases(
        (low.contains("renew"), "renewal"),
        (low.contains("existing") | low.contains("expan") | low.contains("upsell"), "expansion"),
        (low.startswith("new"), "new"),
        else_=text,
    )


def steady_since(options: CrmSource, table: str, created: ir.Value) -> ir.Value:
    """`valid_from` of accounts or reps: their beginning where called steady, else unknown."""
    return created if table in options.steady else ibis.null("timestamp")


def rep_field(rows: Rows, options: CrmSource, name: str, usual: str) -> ir.StringValue:
    """A rep's team or region: the field that settings name, else the usual one."""
    return rows.text(options.rep_fields.get(name, usual))
