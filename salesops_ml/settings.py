"""Configuration: YAML files in, frozen values out; an unknown key is an error.

Every default lives here, so an empty file works. A configuration may start with `extends: base.yaml`
(a path beside itself); `local.yaml` beside it, never committed, is laid over it at the end.
Relative paths in a configuration are meant from the workspace, the folder the command runs in.
"""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from salesops_ml.errors import ConfigError
from salesops_ml.fiscal_calendar import FiscalCalendar, Pattern
from salesops_ml.periods import MONTH_NAMES, Weekday, fiscal_month
from salesops_ml.process_settings import Process as Process
from salesops_ml.secret_reference import Address, Secret
from salesops_ml.source_settings import Frozen, Source
from salesops_ml.source_settings import SyntheticSource as SyntheticSource
from salesops_ml.write_back_settings import WriteBack


class _Loader(yaml.SafeLoader):
    """YAML in which a day stays text, as settings want it, and a key stands once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = next((key for number, key in enumerate(keys) if key in keys[:number]), None)
        if twice is not None:
            raise yaml.MarkedYAMLError(
                problem=f"`{twice}` stands twice", problem_mark=node.start_mark
            )
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if tag != "tag:yaml.org,2002:timestamp"]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class Company(Frozen):
    """Who sells, in which money, on which calendar.

    With `fiscal_calendar: 4-4-5` (or 4-5-4, 5-4-4) months are weeks that end on `week_ends`. The year
    ends on that weekday: the nearest to the end of the month before `fiscal_year_starts`, or the
    last in that month. Open deals in foreign money are forecast at the rate of their last change,
    or, with `open_amounts_at: latest_rate`, at the last one known on the day.
    """

    name: str = "Our company"
    base_currency: str = "EUR"
    open_amounts_at: Literal["last_change", "latest_rate"] = "last_change"
    time_zone: str = "UTC"
    fiscal_year_starts: str = "january"
    fiscal_calendar: Pattern = "months"
    week_ends: Weekday = "sat"
    year_end: Literal["nearest", "last"] = "nearest"
    fiscal_year_named: Literal["end", "start"] = "end"
    working_week: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri")
    holidays: tuple[str, ...] = ()

    @property
    def calendar(self) -> FiscalCalendar:
        """Which days make a fiscal month, quarter and year."""
        return FiscalCalendar(
            fiscal_month(self.fiscal_year_starts), self.fiscal_calendar, self.week_ends,
            self.year_end, self.fiscal_year_named,
        )  # fmt: skip

    @field_validator("fiscal_year_starts")
    @classmethod
    def _month(cls, value: str) -> str:
        if value.lower() not in MONTH_NAMES:
            raise ValueError(f"`{value}` is no month; write january to december")
        return value.lower()

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        from zoneinfo import available_timezones

        if value not in available_timezones():
            raise ValueError(f"`{value}` is no IANA time zone; write one such as Europe/Amsterdam")
        return value

    @field_validator("holidays")
    @classmethod
    def _days_off(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for day in value:
            try:
                date.fromisoformat(day)
            except ValueError as error:
                raise ValueError(f"`{day}` is no day; write one such as 2026-12-25") from error
        return value


class Snapshots(Frozen):
    """When deals are looked at, and which columns of `deals` never change after creation."""

    every: str = "7d"
    anchor: Literal["deal_start", "calendar", "every_event"] = "deal_start"
    known_at_creation: tuple[str, ...] = ("account_id", "pipeline", "lead_source", "deal_type")

    @property
    def every_days(self) -> int:
        """The distance between two looks, in days."""
        return int(self.every.removesuffix("d"))

    @field_validator("every")
    @classmethod
    def _days(cls, value: str) -> str:
        if not value.endswith("d") or not value[:-1].isdigit() or int(value[:-1]) < 1:
            raise ValueError(f"`{value}` is no number of days; write one such as 7d")
        return value


class Split(Frozen):
    """Which rows train, calibrate and test; labels are as known at the split's border."""

    by: Literal["deal_start"] = "deal_start"
    train: float = Field(0.8, gt=0, lt=1)
    test: float = Field(0.2, gt=0, lt=1)
    calibration: float = Field(0.25, ge=0, lt=1, description="share of the training block, its end")
    test_from: str | None = None
    column: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> Split:
        if self.train + self.test > 1 + 1e-9:
            raise ValueError("`train` and `test` add up to more than 1")
        return self


class Models(Frozen):
    """The deal model: its horizon and the size of its trees."""

    horizon_days: int = Field(90, ge=2, le=1500)
    trees: int = Field(400, ge=1)
    learning_rate: float = Field(0.05, gt=0, le=1)
    leaves: int = Field(31, ge=2)
    min_rows_per_leaf: int = Field(80, ge=1)
    max_period_rows: int = Field(120_000, ge=1_000)
    max_classifier_rows: int = Field(60_000, ge=1_000)
    validation_origins: int = Field(0, ge=0, description="past days to validate on; 0: none")


class Range(Frozen):
    """Where a setting is searched: between `low` and `high`, both included; by factors if `log`."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _rises(self) -> Range:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("`low` must lie below `high`, and above 0 where `log` is true")
        return self


SPACE = {
    "learning_rate": Range(low=0.02, high=0.3, log=True),
    "leaves": Range(low=5, high=96, log=True),
    "min_rows_per_leaf": Range(low=10, high=400, log=True),
    "trees": Range(low=50, high=600, log=True),
}


class Tuning(Frozen):
    """`salesops tune`: which settings of `models` are searched, on how many past days, for how long.

    `storage` is the database that keeps the trials; workers that name the same one share the work.
    """

    trials: int = Field(30, ge=1)
    minutes: float | None = Field(None, gt=0)
    storage: str = "sqlite:///store/tuning.db"
    origins: int = Field(3, ge=1, description="where `models.validation_origins` names none")
    groups: Literal["deal", "account"] = "deal"
    deal_weight_power: float = Field(1.0, ge=0, le=1, description="1: a voice a deal; 0: a look")
    heartbeat_seconds: int = Field(30, ge=1, description="a worker silent twice as long is dead")
    space: dict[str, Range] = Field(default=SPACE, min_length=1)

    @field_validator("space")
    @classmethod
    def _of_models(cls, value: dict[str, Range]) -> dict[str, Range]:
        for name, span in value.items():
            field = Models.model_fields.get(name)
            if field is None or field.annotation not in (int, float):
                raise ValueError(f"`{name}` is no number among the settings of `models`")
            for bound in (span.low, span.high):
                Models.model_validate({name: field.annotation(bound)})
        return value


class Forecast(Frozen):
    """Revenue forecasts: the tree of nodes, how far, and how often the past is replayed."""

    hierarchy: tuple[str, ...] = ("region", "team", "rep")
    trees: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="further trees by name, such as products: [product]"
    )
    months: int = Field(6, ge=1, le=36)
    samples: int = Field(1_000, ge=100)
    backtest_origins: int = Field(6, ge=0, description="past days replayed; 0 for none")
    season_months: int = Field(12, ge=1)
    learn_months: int = Field(24, ge=3, description="how far back rates and amounts are learned")
    shock: float = Field(0.1, ge=0, lt=1, description="shared fate of deals, before evidence")
    renewals: bool = Field(False, description="contracts with a term are followed to their renewal")

    @field_validator("trees")
    @classmethod
    def _named(cls, trees: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name, levels in trees.items():
            if not name.strip() or "/" in name or not levels:
                raise ValueError(f"tree `{name}` needs a name without `/`, and a list of levels")
        return trees


class Mining(Frozen):
    """Process mining: where a target is missing, dwell is held against this quantile."""

    target_quantile: float = Field(0.25, gt=0, lt=1)
    bootstrap: int = Field(200, ge=20)
    discovery_cases: int = Field(2_000, ge=10)
    max_variants: int = Field(500, ge=1)
    compare: tuple[str, str, str] | None = Field(
        None, description="what to compare: an attribute and two of its values; else won and lost"
    )


class Kpis(Frozen):
    """Which periods are told, what metrics are held against, and which activities are selling.

    `targets` are by metric, such as `win_rate: 25`; percentages are written as 25, not 0.25.
    """

    quarters: int = Field(8, ge=1, le=40)
    months: int = Field(24, ge=0, le=120)
    targets: dict[str, float] = Field(default={"quota_attainment": 100.0})
    selling: tuple[str, ...] = ("meeting", "call", "demo")
    meetings: tuple[str, ...] = ("meeting", "demo")


class Gate(Frozen):
    """One success criterion: a metric in `evaluation.json` and the bound that it must keep."""

    metric: str
    at_most: float | None = None
    at_least: float | None = None

    @model_validator(mode="after")
    def _bound(self) -> Gate:
        if self.at_most is None and self.at_least is None:
            raise ValueError("a gate needs `at_most` or `at_least`")
        return self


class Registry(Frozen):
    """Where MLflow keeps its book, and under which names our models stand in it.

    `tracking_uri` is an SQLite file, `postgresql://user@host/database` or a server; `password` names
    the secret that belongs into it.
    """

    tracking_uri: Address = "sqlite:///store/mlflow.db"
    password: Secret | None = None
    artifacts: Path = Path("store/mlartifacts")
    experiment: str = "salesops"
    deal_model: str = "deal_scores"
    revenue_model: str = "revenue_forecast"


class Settings(Frozen):
    """All settings of one run."""

    company: Company = Company()
    source: Source = SyntheticSource()
    warehouse: str = "duckdb:///store/warehouse.duckdb"
    process: Process = Process()
    snapshots: Snapshots = Snapshots()
    split: Split = Split()
    models: Models = Models()
    tuning: Tuning = Tuning()
    forecast: Forecast = Forecast()
    mining: Mining = Mining()
    kpis: Kpis = Kpis()
    gates: tuple[Gate, ...] = ()
    registry: Registry = Registry()
    write_back: WriteBack = WriteBack()
    runs: Path = Path("runs")
    as_of: str | None = None
    seed: int = 7
    threads: int = Field(2, ge=1)

    def to_yaml(self) -> str:
        """The settings as YAML that `load` reads back equal, but for passwords, which are masked."""
        text = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        return re.sub(r"(://[^:/@\s]*):[^/\s]*@", r"\1:***@", text)


def load(path: Path | str, *, overrides: dict[str, Any] | None = None) -> Settings:
    """Read settings from a YAML file; `overrides` (nested) win over the file.

    Raises:
        ConfigError: the file is absent or is not YAML, a key is unknown, or a value does not fit.
    """
    path = Path(path)
    values = _read(path, ())
    local = path.parent / "local.yaml"
    if local.exists() and local.resolve() != path.resolve():
        values = merge(values, _read(local, ()))
    return parse(merge(values, overrides or {}), origin=str(path))


def parse(values: dict[str, Any], *, origin: str = "the configuration") -> Settings:
    """Settings from plain values; `ConfigError` names the key, what came and the cure.

    Example:
        >>> parse({"models": {"horizon_days": 60}}).models.horizon_days
        60
    """
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        lines = [_explain(problem, origin) for problem in error.errors()]
        raise ConfigError("\n".join(lines)) from error


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with `over` laid on it, mapping by mapping; lists and scalars are replaced.

    A mapping that names another `type` than the one beneath replaces it whole.
    """
    done = dict(base)
    for key, value in over.items():
        below = done.get(key)
        if isinstance(below, dict) and isinstance(value, dict) and _alike(below, value):
            done[key] = merge(below, value)
        else:
            done[key] = value
    return done


def _alike(below: dict[str, Any], value: dict[str, Any]) -> bool:
    return bool(value.get("type", below.get("type")) == below.get("type"))


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in seen:
        raise ConfigError(f"{path}: `extends` goes in a circle; remove one of the links")
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader) or {}
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; give an existing one with --config") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not YAML{_where(error)}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: holds {type(values).__name__}, not `key: value` lines")
    below = values.pop("extends", None)
    if below is None:
        return values
    return merge(_read(path.parent / str(below), (*seen, path.resolve())), values)


def _where(error: yaml.YAMLError) -> str:
    """What is wrong and where; never the line itself, which may hold a secret."""
    problem = getattr(error, "problem", None) or "it cannot be read"
    mark = getattr(error, "problem_mark", None)
    return f": {problem}" + (f" (line {mark.line + 1}, column {mark.column + 1})" if mark else "")


def _explain(problem: Any, origin: str) -> str:
    """One problem found by pydantic, as a sentence with place and cure."""
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{origin}: `{place}` is not a setting; check its spelling and place"
    if problem["type"].startswith("union_tag"):
        kinds = "synthetic, files, event_log, sql, tryton, salesforce, hubspot, amocrm, bitrix24"
        return f"{origin}: `{place}.type` must be one of {kinds}{_got(_type_of(problem['input']))}"
    message = problem["msg"].removeprefix("Value error, ")
    got = "" if problem["type"] in _UNSHOWN else _got(problem["input"])
    return f"{origin}: `{place}`: {message}{got}"


_UNSHOWN = ("missing", "dict_type", "model_type", "model_attributes_type")
"""Problems whose input is nothing, or stands where a mapping belongs: it may be a secret."""


def _got(value: Any) -> str:
    """What came, cut short. Of a mapping nothing is shown: any of its values may be a secret."""
    if isinstance(value, dict):
        return ""
    text = repr(value)
    return f"; got {text if len(text) <= 80 else text[:77] + '...'}"


def _type_of(value: Any) -> Any:
    return value.get("type", value) if isinstance(value, dict) else value
