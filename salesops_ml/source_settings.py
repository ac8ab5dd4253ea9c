"""How a source is read: the mapping of files and event logs to canonical tables, or the seeded world."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from salesops_ml.crm_settings import AnyCrmSource
from salesops_ml.schema import TABLES


class Frozen(BaseModel):
    """A group of settings: immutable, and closed to keys that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AttributeSetting(Frozen):
    """An extra deal attribute: its source column, kind, and when its value is known."""

    column: str | None = None
    kind: Literal["string", "float", "boolean", "timestamp"] = "string"
    known: Literal["at_creation", "over_time", "at_close"] = "at_close"


class Lookup(Frozen):
    """A value found in a second file: where its `match` column holds the deal's `by` value.

    `by` is a canonical column of the row, after its value map; `value` is the column to bring.
    """

    path: Path
    by: str
    match: str
    value: str
    encoding: str = "utf-8"
    delimiter: str = ","
    sheet: str | int = 0


class FileTable(Frozen):
    """How one file becomes one canonical table, or a part of one.

    `columns` maps canonical name to source column (empty: every column that has a canonical name);
    `dates` gives strptime formats by canonical name (`"*"` for all); `values` maps source values to
    ours by canonical name (`"*"`: all others; "" is no value); `scale` multiplies numbers (0.01 turns
    percent into shares); `constants` fills a canonical column with one value; `select` keeps the rows
    whose source column holds one of the values; `lookup` brings columns from other files, usable by
    name under `attributes`; `cursor` is a source column that grows with every change: a later load
    merges only what is new.
    """

    path: Path
    columns: dict[str, str] = {}
    dates: dict[str, str] = {}
    values: dict[str, dict[str, str]] = {}
    scale: dict[str, float] = {}
    constants: dict[str, str] = {}
    attributes: dict[str, AttributeSetting] = {}
    lookup: dict[str, Lookup] = {}
    encoding: str = "utf-8"
    delimiter: str = ","
    decimal: Literal[".", ","] = "."
    sheet: str | int = 0
    cursor: str | None = None
    select: dict[str, tuple[str, ...]] = {}


class SyntheticSource(Frozen):
    """The seeded world: size, length and the knobs that matter most; the rest by `overrides`."""

    type: Literal["synthetic"] = "synthetic"
    deals: int = Field(20_000, ge=100, le=5_000_000)
    seed: int = 7
    latent_share: float = Field(0.0, ge=0.0, le=1.0)
    overrides: dict[str, Any] = {}


class FilesSource(Frozen):
    """Any CSV, Parquet or Excel files, mapped to canonical tables."""

    type: Literal["files"]
    tables: dict[str, tuple[FileTable, ...]]
    time_zone: str = "UTC"

    @field_validator("tables", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        """A table's mapping, or a list of them where several files (or filters) make it up."""
        if not isinstance(value, dict):
            return value
        for name in value:
            if name not in TABLES:
                raise ValueError(f"`{name}` is no canonical table; they are: {', '.join(TABLES)}")
        return {name: [part] if isinstance(part, dict) else part for name, part in value.items()}


class CaseMapping(Frozen):
    """Case attributes of an event log that describe the deal."""

    id: str = "concept:name"
    amount: str | None = None
    created_at: str | None = None
    attributes: dict[str, AttributeSetting] = {}


class StageMapping(Frozen):
    """Which events are stage changes, by a glob on the activity's name."""

    activity: str = "concept:name"
    timestamp: str = "time:timestamp"
    lifecycle: str | None = "lifecycle:transition"
    keep: str = "*"
    rep: str | None = "org:resource"


class KeepMapping(Frozen):
    """Which events are activities or quotes, by a glob on the activity's name."""

    keep: str


class EventLogSource(Frozen):
    """An event log (XES, XES.gz, CSV, Parquet) read as a sales process."""

    type: Literal["event_log"]
    path: Path
    case: CaseMapping = CaseMapping()
    stages: StageMapping = StageMapping()
    activities: KeepMapping | None = None
    quotes: KeepMapping | None = None
    won: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    encoding: str = "utf-8"
    delimiter: str = ","
    time_zone: str = "UTC"


Source = Annotated[
    SyntheticSource | FilesSource | EventLogSource | AnyCrmSource, Field(discriminator="type")
]
