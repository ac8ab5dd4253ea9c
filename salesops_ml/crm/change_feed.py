"""A CRM's feed of field changes: only fields that we know, values written as `deal_changes` has them.

Feeds carry every field of the CRM. What is no column of `deals` and no declared attribute is counted
and left; a value that does not read as its field's kind is a reject.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.crm.draft import Draft, joined, rejects_of
from salesops_ml.crm.values import Format, as_text, cure, expected, parse, plain_text
from salesops_ml.schema import DEALS, Attribute, Kind, no_rejects

NOT_TRACKED = "deal_changes: of fields that we do not keep"
_NEVER = ("deal_id", "created_at")


def tracked_kinds(attributes: tuple[Attribute, ...]) -> dict[str, Kind]:
    """The fields whose changes are kept, and the kind that each is."""
    kinds: dict[str, Kind] = {
        column.name: column.kind for column in DEALS.columns if column.name not in _NEVER
    }
    return kinds | {attribute.name: attribute.kind for attribute in attributes}


def with_plain_changes(draft: Draft, kinds: Mapping[str, Kind], form: Format) -> Draft:
    """The draft with the changes of tracked fields only, their values as plain text."""
    changes = draft.tables["deal_changes"]
    known = pc.is_in(changes["field"], pa.array(list(kinds), pa.string()))
    known = pc.or_(known, pc.is_null(changes["field"]))
    others = changes.num_rows - (pc.sum(known).as_py() or 0)
    changes = changes.filter(known)
    counts = {**draft.counts, NOT_TRACKED: others} if others else draft.counts
    rejects, bad = [no_rejects()], pa.chunked_array([pa.repeat(False, changes.num_rows)])
    for name in ("old_value", "new_value"):
        if name in changes.column_names:
            values, unread, noted = _read(changes, name, kinds, form)
            place = changes.column_names.index(name)
            changes = changes.set_column(place, name, values)
            bad = pc.or_(bad, unread)
            rejects.append(noted)
    kept = replace(draft, tables={**draft.tables, "deal_changes": changes}, counts=counts)
    return kept.without("deal_changes", bad, joined(rejects))


def _read(
    changes: pa.Table, name: str, kinds: Mapping[str, Kind], form: Format
) -> tuple[pa.ChunkedArray, pa.ChunkedArray, pa.Table]:
    """One column of values, each read as the kind of its row's field."""
    texts = as_text(changes[name])
    nothing = pa.scalar(None, pa.string())
    done = pa.chunked_array([pa.nulls(changes.num_rows, pa.string())])
    bad = pa.chunked_array([pa.repeat(False, changes.num_rows)])
    rejects = [no_rejects()]
    for field in pc.unique(changes["field"].drop_null()).to_pylist():
        of_field = pc.fill_null(pc.equal(changes["field"], field), False)
        kind = kinds[field]
        parsed = parse(pc.if_else(of_field, texts, nothing), kind, form)
        done = pc.coalesce(done, plain_text(parsed.values))
        bad = pc.or_(bad, parsed.bad)
        rows = changes.filter(parsed.bad)
        rejects.append(rejects_of(rows, table="deal_changes", column=name,
                                  values=texts.filter(parsed.bad),
                                  reason=f"is not {expected(kind)}, as `{field}` must be",
                                  cure=cure(kind, form)))  # fmt: skip
    return done, bad, joined(rejects)
