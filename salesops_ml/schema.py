"""The canonical tables: names, columns, kinds, units and keys, defined once.

Times are UTC timestamps in microseconds; money is DECIMAL(18, 2), in the deal's currency, with an
`amount_base` in the company's; ids are strings. Histories carry `recorded_at`, the moment the system
knew the row; it defaults to the moment the thing happened. What was known at t is what was recorded
up to and including t.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa
import pyarrow.compute

from salesops_ml.errors import SchemaError

Kind = Literal["string", "timestamp", "date", "money", "float", "integer", "boolean"]
Known = Literal["at_creation", "over_time", "at_close"]

ARROW: dict[str, pa.DataType] = {
    "string": pa.string(),
    "timestamp": pa.timestamp("us"),
    "date": pa.date32(),
    "money": pa.decimal128(18, 2),
    "float": pa.float64(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
}


@dataclass(frozen=True)
class Column:
    """One column: its name, kind, whether a row may lack it, and what it means."""

    name: str
    kind: Kind
    required: bool = False
    meaning: str = ""


@dataclass(frozen=True)
class Table:
    """One canonical table.

    `event_time` is the column that says when a row happened; histories have one, and are visible from
    `recorded_at` on. `costs` says what is lost where the table is missing.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    event_time: str | None = None
    costs: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Column names, in order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """The column called `name`; `SchemaError` where there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        known = ", ".join(self.names)
        raise SchemaError(f"table `{self.name}` has no column `{name}`; it has: {known}")

    def arrow(self, extra: tuple[Attribute, ...] = ()) -> pa.Schema:
        """The Arrow schema, with the declared extra attributes at the end (for `deals`)."""
        fields = [pa.field(column.name, ARROW[column.kind]) for column in self.columns]
        fields += [pa.field(attribute.column, ARROW[attribute.kind]) for attribute in extra]
        return pa.schema(fields)


@dataclass(frozen=True)
class Attribute:
    """An extra deal attribute that a source declares, and when its value is known.

    `at_creation` may be a feature; `over_time` may be one through its history in `deal_changes`;
    `at_close` never is.
    """

    name: str
    kind: Literal["string", "float", "boolean", "timestamp"]
    known: Known

    @property
    def column(self) -> str:
        """Its column in `deals`: `x_` and the name, so that it never hides a canonical one."""
        return f"x_{self.name}"


@dataclass(frozen=True)
class CanonicalTables:
    """What a source hands over: canonical tables in Arrow, what was rejected, and what it counted.

    Attributes:
        tables: canonical name -> rows. Only the tables that the source really has.
        rejects: rows of `REJECTS`, one per value that could not be used.
        attributes: the extra attributes that `deals` carries, as declared by the source.
        counts: how many source rows were used, or not used, and under which reason.
        truth: extra tables that only the synthetic world has; never an input of a model.
    """

    tables: dict[str, pa.Table]
    rejects: pa.Table
    attributes: tuple[Attribute, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    truth: dict[str, pa.Table] = field(default_factory=dict)


def _columns(*rows: tuple[str, Kind, str] | tuple[str, Kind, str, bool]) -> tuple[Column, ...]:
    return tuple(Column(row[0], row[1], len(row) > 3 and bool(row[3]), row[2]) for row in rows)


DEALS = Table(
    "deals",
    ("deal_id",),
    _columns(
        ("deal_id", "string", "the deal", True),
        ("account_id", "string", "the customer"),
        ("rep_id", "string", "today's owner"),
        ("pipeline", "string", "the sales process that it runs in"),
        ("product", "string", "what is sold, as it stands today"),
        ("lead_source", "string", "where the deal came from"),
        ("deal_type", "string", "new, expansion or renewal"),
        ("currency", "string", "ISO 4217 code of `amount`"),
        ("amount", "money", "today's amount, deal currency"),
        ("amount_base", "money", "today's amount, company currency"),
        ("expected_close_date", "date", "today's expected close"),
        ("created_at", "timestamp", "when the deal began"),
        ("closed_at", "timestamp", "when it was won or lost"),
        ("status", "string", "open, won or lost, as it stands today", True),
        ("lost_reason", "string", "why it was lost"),
        ("forecast_category", "string", "pipeline, best_case, commit, closed or omitted, today"),
        ("service_start", "date", "first day of the service sold"),
        ("term_months", "integer", "length of the contract in months"),
    ),
)

STAGES = Table(
    "stages",
    ("pipeline", "stage"),
    _columns(
        ("pipeline", "string", "the sales process", True),
        ("stage", "string", "the stage", True),
        ("position", "integer", "order in the process, from 0", True),
        ("probability", "float", "the CRM's own probability of winning, 0..1"),
        ("is_won", "boolean", "entering it wins the deal", True),
        ("is_closed", "boolean", "entering it ends the deal", True),
        ("expected_days", "float", "agreed time in the stage, days"),
    ),
    costs="stages are ordered by when deals reach them; no CRM probability as a baseline",
)

STAGE_EVENTS = Table(
    "stage_events",
    ("deal_id", "entered_at", "seq"),
    _columns(
        ("deal_id", "string", "the deal", True),
        ("entered_at", "timestamp", "when it entered the stage", True),
        ("seq", "integer", "order among events of one moment", True),
        ("stage", "string", "the stage entered", True),
        ("rep_id", "string", "who owned or moved it"),
        ("recorded_at", "timestamp", "when the system knew"),
    ),
    event_time="entered_at",
    costs="no stage features, no process map, no bottlenecks",
)

DEAL_CHANGES = Table(
    "deal_changes",
    ("deal_id", "field", "changed_at", "seq"),
    _columns(
        ("deal_id", "string", "the deal", True),
        ("field", "string", "canonical column of `deals`, or an extra attribute's name", True),
        ("changed_at", "timestamp", "when it changed", True),
        ("seq", "integer", "order among changes of one moment", True),
        ("old_value", "string", "before; null for the first value"),
        ("new_value", "string", "after, as text (ISO dates, plain decimals)"),
        ("changed_by", "string", "who changed it"),
        ("recorded_at", "timestamp", "when the system knew"),
    ),
    event_time="changed_at",
    costs="no amount, no expected close date and no owner as features: their past is not known",
)

ACTIVITIES = Table(
    "activities",
    ("activity_id",),
    _columns(
        ("activity_id", "string", "the activity", True),
        ("deal_id", "string", "the deal that it served"),
        ("rep_id", "string", "who did it"),
        ("kind", "string", "meeting, call, email, demo, task, ...", True),
        ("at", "timestamp", "when it took place", True),
        ("duration_minutes", "float", "how long, minutes"),
        ("outcome", "string", "what came of it"),
        ("recorded_at", "timestamp", "when the system knew"),
    ),
    event_time="at",
    costs="no activity features, no time spent selling, no speed to lead",
)

ACCOUNTS = Table(
    "accounts",
    ("account_id", "valid_from"),
    _columns(
        ("account_id", "string", "the account", True),
        ("valid_from", "timestamp", "from when these values held; null: not known"),
        ("name", "string", "its name"),
        ("industry", "string", "its line of business"),
        ("region", "string", "where it is"),
        ("employees", "integer", "head count"),
        ("annual_revenue", "float", "revenue a year, company currency"),
        ("parent", "string", "the account that owns it"),
        ("recorded_at", "timestamp", "when the system knew"),
    ),
    event_time="valid_from",
    costs="no account features",
)

REPS = Table(
    "reps",
    ("rep_id", "valid_from"),
    _columns(
        ("rep_id", "string", "the rep", True),
        ("valid_from", "timestamp", "from when these values held; null: not known"),
        ("name", "string", "the rep's name"),
        ("team", "string", "the rep's team"),
        ("manager_id", "string", "whom the rep reports to"),
        ("region", "string", "where the rep sells"),
        ("hired_at", "timestamp", "first day of work"),
        ("active", "boolean", "still selling"),
        ("recorded_at", "timestamp", "when the system knew"),
    ),
    event_time="valid_from",
    costs="no teams or regions in forecasts and KPIs",
)

QUOTES = Table(
    "quotes",
    ("quote_id",),
    _columns(
        ("quote_id", "string", "the quote", True),
        ("deal_id", "string", "the deal", True),
        ("amount", "money", "quoted amount, deal currency"),
        ("discount", "float", "share off the list price, 0..1"),
        ("sent_at", "timestamp", "when it went out", True),
        ("status", "string", "selected, sent, sent_back, accepted, declined, cancelled"),
        ("recorded_at", "timestamp", "when the system knew"),
    ),
    event_time="sent_at",
    costs="no quote and discount features",
)

QUOTAS = Table(
    "quotas",
    ("owner_id", "period_start"),
    _columns(
        ("owner_id", "string", "a rep, team or region", True),
        ("period_start", "date", "first day", True),
        ("period_end", "date", "last day", True),
        ("amount", "money", "target, company currency", True),
    ),
    costs="no attainment, no coverage against target",
)

FORECAST_SUBMISSIONS = Table(
    "forecast_submissions",
    ("node", "period", "submitted_at"),
    _columns(
        ("node", "string", "path in the hierarchy", True),
        ("period", "string", "the period forecast, such as 2026-Q3", True),
        ("submitted_at", "timestamp", "when", True),
        ("author", "string", "who"),
        ("amount", "money", "company currency", True),
        ("category", "string", "commit, best_case, pipeline"),
        ("reason", "string", "why"),
        ("recorded_at", "timestamp", "when the system knew"),
    ),
    event_time="submitted_at",
    costs="human forecasts are not scored beside the model's",
)

EXCHANGE_RATES = Table(
    "exchange_rates",
    ("currency", "day"),
    _columns(
        ("currency", "string", "ISO 4217 code", True),
        ("day", "date", "the day", True),
        ("rate", "float", "company currency for one unit", True),
    ),
    costs="deals in foreign currency cannot be added up",
)

DEAL_DAILY = Table(
    "deal_daily",
    ("deal_id", "observed_on"),
    _columns(
        ("deal_id", "string", "the deal", True),
        ("observed_on", "date", "the day of the photograph", True),
        ("stage", "string", "stage that day"),
        ("amount", "money", "amount that day, deal currency"),
        ("amount_base", "money", "amount that day, company currency"),
        ("expected_close_date", "date", "expected close that day"),
        ("rep_id", "string", "owner that day"),
        ("forecast_category", "string", "category that day"),
    ),
    costs="what the CRM overwrote before today is lost",
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        DEALS, STAGES, STAGE_EVENTS, DEAL_CHANGES, ACTIVITIES, ACCOUNTS, REPS, QUOTES, QUOTAS,
        FORECAST_SUBMISSIONS, EXCHANGE_RATES, DEAL_DAILY,
    )
}  # fmt: skip

REJECTS = Table(
    "rejects",
    ("source", "row", "column"),
    _columns(
        ("source", "string", "file or service", True),
        ("row", "integer", "line in the file, the header being line 1; 0: not a line"),
        ("table", "string", "canonical table it was meant for", True),
        ("column", "string", "source column"),
        ("value", "string", "what stood there"),
        ("reason", "string", "why it cannot be used", True),
        ("cure", "string", "what to do", True),
    ),
)

STATUSES = ("open", "won", "lost")
TODAYS_VALUES = (
    "rep_id", "product", "amount", "amount_base", "expected_close_date", "status", "closed_at",
    "lost_reason", "forecast_category", "service_start", "term_months",
)  # fmt: skip
"""Columns of `deals` that a CRM overwrites: never features, their past is in `deal_changes`."""


def no_rejects() -> pa.Table:
    """An empty table of rejects."""
    return REJECTS.arrow().empty_table()


def conform(name: str, table: pa.Table, attributes: tuple[Attribute, ...] = ()) -> pa.Table:
    """`table` with the columns, order and kinds of canonical table `name`.

    Columns that it lacks become nulls; times are cut to microseconds; `recorded_at` is filled with
    the moment of the event; rows are sorted by key so that equal content is equal bytes.

    Raises:
        SchemaError: a required column is absent or holds nulls, a column is unknown, or a value
            does not fit its kind.

    Example:
        >>> import pyarrow as pa
        >>> conform("deals", pa.table({"status": ["won"], "deal_id": ["a"]})).column_names[:2]
        ['deal_id', 'account_id']
    """
    spec = REJECTS if name == "rejects" else TABLES[name]
    schema = spec.arrow(attributes if name == "deals" else ())
    unknown = [column for column in table.column_names if column not in schema.names]
    if unknown:
        raise SchemaError(
            f"table `{name}` does not know column `{unknown[0]}`; it has: {', '.join(schema.names)}"
        )
    columns = [_conform_column(spec, table, column) for column in schema]
    done = pa.table(columns, schema=schema)
    if spec.event_time and "recorded_at" in schema.names:
        known = pa.compute.coalesce(done["recorded_at"], done[spec.event_time])
        done = done.set_column(schema.get_field_index("recorded_at"), "recorded_at", known)
    return done.sort_by([(key, "ascending") for key in spec.key])


def _conform_column(spec: Table, table: pa.Table, column: pa.Field) -> pa.ChunkedArray | pa.Array:
    required = column.name in spec.names and spec.column(column.name).required
    if column.name not in table.column_names:
        if required and table.num_rows:
            raise SchemaError(f"table `{spec.name}` lacks its required column `{column.name}`")
        return pa.nulls(table.num_rows, column.type)
    values = table[column.name]
    if required and values.null_count:
        row = pa.compute.index(pa.compute.is_null(values), True).as_py()
        raise SchemaError(
            f"table `{spec.name}`, row {row + 1}: `{column.name}` is empty, but is required"
        )
    try:
        if pa.types.is_integer(values.type) and pa.types.is_decimal(column.type):
            values = values.cast(pa.decimal128(38, 2))
        options = pa.compute.CastOptions(column.type, allow_time_truncate=True)
        return values.cast(options=options)
    except pa.ArrowInvalid as error:
        raise SchemaError(
            f"table `{spec.name}`, column `{column.name}` does not read as {column.type}: {error}"
        ) from error
