"""What had happened up to each look, counted for everybody, for the owner, for the segment.

Happenings and looks are put into one table in order of time, and windows sum the first at the second.
All measures are whole numbers, so sums are the same in whatever order they are made.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from salesops_ml.snapshots.visible import KEY

Levels = dict[str, tuple[str | None, tuple[str, ...]]]
"""Name of a level -> key column (None: everybody) and the measures to sum within it."""
MICRO = 1_000_000
"""Logarithms are summed in whole millionths."""


def running_sums(looks: ir.Table, happenings: ir.Table, levels: Levels) -> ir.Table:
    """Each look with sums over all happenings up to and at its moment.

    Args:
        looks: deal_id, as_of and key columns.
        happenings: `at`, the same key columns, and integer measures.
        levels: within what to sum which measures.

    Returns:
        deal_id, as_of, the key columns, and `<measure>_<level>` for each level's measures.
    """
    keys = [name for name in looks.columns if name not in KEY]
    measures = sorted({m for _, wanted in levels.values() for m in wanted})
    rows = _in_one_table(looks, happenings, keys, measures)
    sums: dict[str, ir.Value] = {}
    for level, (key, wanted) in levels.items():
        window = ibis.window(
            group_by=key, order_by=[rows.at, rows.probe], preceding=None, following=0
        )
        sums |= {f"{m}_{level}": rows[m].sum().over(window).cast("float64") for m in wanted}
    summed = rows.mutate(**sums)
    return summed.filter(summed.probe).select(*KEY, *keys, *sums)


def _in_one_table(
    looks: ir.Table, happenings: ir.Table, keys: list[str], measures: list[str]
) -> ir.Table:
    """At one moment happenings come before looks: what is recorded at t is known at t."""
    nothing = {measure: ibis.literal(0, "int64") for measure in measures}
    probes = looks.select(*KEY, *keys, at=looks.as_of, probe=ibis.literal(True), **nothing)
    events = happenings.select(
        *keys,
        at=happenings["at"].cast(probes["at"].type()),
        probe=ibis.literal(False),
        deal_id=ibis.null("string"),
        as_of=ibis.null(probes.as_of.type()),
        **{m: happenings[m].fill_null(0).cast("int64") for m in measures},
    )
    return probes.union(events.select(probes.columns))


def shrunken(part: ir.Value, count: ir.Value, prior: ir.Value, weight: float) -> ir.Value:
    """Mean of `count` values that sum to `part`, drawn towards `prior` as by `weight` more values."""
    return (part + weight * prior) / (count + weight)


def log_micro(value: ir.Value) -> ir.Value:
    """Natural logarithm of a positive value in whole millionths; null for others."""
    positive = ibis.ifelse(value > 0, value, None).cast("float64")
    return (positive.ln() * MICRO).round().cast("int64")


def from_log_micro(value: ir.Value) -> ir.Value:
    """The value whose logarithm in millionths this is; at most e^50."""
    power = value / MICRO
    return ibis.ifelse(power < 50, power, ibis.ifelse(power.notnull(), 50.0, None)).exp()
