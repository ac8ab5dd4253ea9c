"""What Tryton's own API tells too slowly to be read whole, told page by page.

The history of a model: each record after each save, and its deletion; the API tells how records stood at
a moment, by one query a record and moment. And what people hung on records, of all records at once. What
may be seen is the same: by the user's rights on models and fields, and the record rules as of today.
"""

# mypy: ignore-errors
from __future__ import annotations

from sql import Column, Literal
from sql.aggregate import Count, Max
from sql.conditionals import Coalesce
from sql.operators import Concat
from trytond import backend
from trytond.pool import Pool
from trytond.rpc import RPC
from trytond.transaction import Transaction

_ALWAYS = ("id", "create_date", "create_uid", "write_date", "write_uid")


class ToldHistory:
    """Mixin for models with a history.

    `_told_parent` names the field whose value a deleted record keeps, so that it is known whose it was.
    """

    _told_parent = None

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__rpc__["salesops_history"] = RPC()

    @classmethod
    def salesops_history(cls, after, limit, fields_names, since=None, ids=None):
        """Rows of the history table behind the row `after`, in its order.

        Args:
            after: the last row that is known; 0 for the first page.
            limit: most rows.
            fields_names: stored fields to tell, beside when and by whom it was created and saved.
            since: only saves at or after.
            ids: only these records.

        Returns:
            A dict a row; `_row` is its number. A deletion has no `create_date`.
        """
        pool = Pool()
        names = list(dict.fromkeys([*_ALWAYS, *fields_names]))
        pool.get("ir.model.access").check(cls.__name__, "read")
        pool.get("ir.model.field.access").check(cls.__name__, names, "read")
        table = cls.__table_history__()
        row = Column(table, "__id")
        where = (row > after) & table.id.in_(cls._told_ids())
        if since is not None:
            where &= Coalesce(table.write_date, table.create_date) >= since
        if ids is not None:
            where &= table.id.in_(list(ids))
        columns = [row.as_("_row"), *(cls._told_column(table, name) for name in names)]
        cursor = Transaction().connection.cursor(row_factory=backend.dict_row)
        cursor.execute(*table.select(*columns, where=where, order_by=[row.asc], limit=limit))
        return list(cursor)

    @classmethod
    def _told_ids(cls):
        """The records that the user may see; those of a parent are seen with it, deleted ones too."""
        if cls._told_parent is None:
            return cls.search([], order=[], query=True)
        Parent = cls._fields[cls._told_parent].get_target()
        history = cls.__table_history__()
        seen = Parent.search([], order=[], query=True)
        return history.select(history.id, where=Column(history, cls._told_parent).in_(seen))

    @classmethod
    def _told_column(cls, table, name):
        field = cls._fields[name]
        if not field.sql_type():
            raise ValueError(f"`{name}` is not stored, so it has no history")
        column = Column(table, name)
        if name == cls._told_parent:
            earlier = cls.__table_history__()
            column = Coalesce(
                column,
                earlier.select(Max(Column(earlier, name)), where=earlier.id == table.id),
            )
        told = column.as_(name)
        if backend.name == "sqlite":
            told.output_name += f" [{field.sql_type().base}]"
        return told


class ToldResources:
    """Mixin for models that notes, emails and attachments are hung on."""

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__rpc__["salesops_resources"] = RPC()
        cls.__rpc__["salesops_resources_count"] = RPC()

    @classmethod
    def salesops_resources(cls, name, after, limit, since=None, only_ids=False):
        """What hangs on the records that the user may see, behind the id `after`, by id.

        Args:
            name: `ir.note`, `ir.email` or `ir.attachment`.
            after: the last id that is known; 0 for the first page.
            limit: most rows.
            since: only what was saved at or after.
            only_ids: whether ids are enough.

        Returns:
            A dict a row: `id`, and `resource`, who hung it there and when. Never what it says.
        """
        table, hung = cls._told_hung(name)
        where = (table.id > after) & hung
        if since is not None:
            where &= Coalesce(table.write_date, table.create_date) >= since
        columns = [table.id]
        if not only_ids:
            columns += [Column(table, told) for told in ("resource", *_ALWAYS[1:])]
        cursor = Transaction().connection.cursor(row_factory=backend.dict_row)
        cursor.execute(*table.select(*columns, where=where, order_by=[table.id.asc], limit=limit))
        return list(cursor)

    @classmethod
    def salesops_resources_count(cls, name):
        """How many ids `salesops_resources` has to tell."""
        table, hung = cls._told_hung(name)
        cursor = Transaction().connection.cursor()
        cursor.execute(*table.select(Count(Literal(1)), where=hung))
        return cursor.fetchone()[0]

    @classmethod
    def _told_hung(cls, name):
        """The table of what is hung, and the condition that the user may see where it hangs."""
        if name not in _HUNG:
            raise ValueError(f"`{name}` is none of: {', '.join(_HUNG)}")
        access = Pool().get("ir.model.access")
        access.check(cls.__name__, "read")
        access.check(name, "read")
        table = Pool().get(name).__table__()
        seen = cls.search([], order=[], query=True)
        return table, table.resource.in_(seen.select(Concat(f"{cls.__name__},", seen.id)))


_HUNG = ("ir.note", "ir.email", "ir.attachment")
