"""The knobs of the synthetic company: how big, how seasonal, how predictable, where it hurts.

Every default is fixed here, before any model is tuned. Rates are events a day for a deal of average
looks; effects are logarithms of rate ratios, so 0 switches one off.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from datetime import date
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from salesops_ml.errors import ConfigError
from salesops_ml.settings import SyntheticSource

_CLOSED = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class StageRates:
    """One open stage: how often a deal in it moves, a day, and what the CRM believes of it."""

    __pydantic_config__ = _CLOSED

    name: str
    advance: float = 0.0
    back: float = 0.0
    skip: float = 0.0
    won: float = 0.0
    lost: float = 0.0
    probability: float = 0.5
    expected_days: float = 10.0


@dataclass(frozen=True)
class Option:
    """One value of a category: its share of deals and what it does to progress, winning, losing."""

    __pydantic_config__ = _CLOSED

    name: str
    share: float
    progress: float = 0.0
    won: float = 0.0
    lost: float = 0.0


@dataclass(frozen=True)
class Product(Option):
    """A product: an option with the list price of a small deal, in company currency."""

    __pydantic_config__ = _CLOSED

    list_price: float = 10_000.0


@dataclass(frozen=True)
class Region(Option):
    """A region: an option with the currency that its deals are in."""

    __pydantic_config__ = _CLOSED

    currency: str = "EUR"


Cause = Literal["discount", "product", "region", "industry", "lead_source", "deal_type"]


@dataclass(frozen=True)
class Bottleneck:
    """A planted bottleneck: deals with this cause leave `stage` forward more slowly.

    `value` names the slow segment (a product, a region, ...); for the cause `discount` it is not
    used: every deal whose quoted discount is above `deep_discount` waits. Rates of advancing,
    skipping and winning are multiplied by `slowdown`.
    """

    __pydantic_config__ = _CLOSED

    stage: str
    cause: Cause
    value: str = ""
    slowdown: float = 0.3


@dataclass(frozen=True)
class FaultRates:
    """Shares of rows that are missing, late or wrong; wrong ones end among the rejects."""

    __pydantic_config__ = _CLOSED

    missing_amount: float = 0.01
    missing_duration: float = 0.03
    missing_lost_reason: float = 0.10
    missing_industry: float = 0.02
    late_activity: float = 0.05
    unknown_deal: float = 0.002
    negative_amount: float = 0.001
    duplicate_deal: float = 0.001
    event_before_creation: float = 0.001


STAGES = (
    StageRates("Lead", advance=0.042, skip=0.004, lost=0.013, probability=0.30, expected_days=21),
    StageRates(
        "Qualified", advance=0.036, back=0.003, skip=0.003, lost=0.012,
        probability=0.50, expected_days=21,
    ),
    StageRates(
        "Discovery", advance=0.033, back=0.003, skip=0.003, lost=0.013,
        probability=0.60, expected_days=21,
    ),
    StageRates(
        "Proposal", advance=0.033, back=0.004, skip=0.003, won=0.002, lost=0.017,
        probability=0.75, expected_days=20,
    ),
    StageRates(
        "Negotiation", advance=0.035, back=0.004, won=0.005, lost=0.020,
        probability=0.90, expected_days=18,
    ),
    StageRates("Contract", back=0.003, won=0.060, lost=0.020, probability=0.95, expected_days=10),
)  # fmt: skip

PRODUCTS = (
    Product("Core", 0.40, progress=0.20, won=0.10, lost=-0.05, list_price=8_000),
    Product("Plus", 0.30, progress=0.05, won=0.10, lost=0.0, list_price=18_000),
    Product("Analytics", 0.20, progress=-0.15, won=-0.10, lost=0.10, list_price=26_000),
    Product("Enterprise", 0.10, progress=-0.35, won=-0.15, lost=0.05, list_price=60_000),
)

LEAD_SOURCES = (
    Option("Inbound", 0.34, progress=0.15, won=0.10, lost=-0.10),
    Option("Outbound", 0.28, progress=-0.30, won=-0.25, lost=0.35),
    Option("Partner", 0.16, progress=0.05, won=0.10, lost=-0.10),
    Option("Referral", 0.12, progress=0.30, won=0.35, lost=-0.45),
    Option("Event", 0.10, progress=-0.10, won=-0.10, lost=0.15),
)

DEAL_TYPES = (
    Option("new", 1.0),
    Option("expansion", 0.35, progress=0.20, won=0.30, lost=-0.35),
    Option("renewal", 0.25, progress=0.40, won=0.60, lost=-0.70),
)
"""The first deal of an account is new; shares are those among its later deals, with new the rest."""

INDUSTRIES = (
    Option("Manufacturing", 0.26, progress=-0.05, lost=0.05),
    Option("Software", 0.22, progress=0.15, won=0.10, lost=-0.05),
    Option("Retail", 0.18, lost=0.15),
    Option("Healthcare", 0.14, progress=-0.15, won=0.10),
    Option("Finance", 0.12, progress=-0.10, won=-0.10, lost=0.05),
    Option("Public sector", 0.08, progress=-0.25, won=0.05, lost=-0.10),
)

REGIONS = (
    Region("EMEA", 0.38, currency="EUR"),
    Region("North America", 0.34, progress=0.10, won=0.05, currency="USD"),
    Region("UKI", 0.16, won=-0.05, currency="GBP"),
    Region("APAC", 0.12, progress=-0.10, lost=0.10, currency="USD"),
)


@dataclass(frozen=True)
class WorldParameters:
    """Everything that defines one world; the same parameters give the same bytes.

    Attributes:
        deals: how many deals are created over the record.
        seed: of every random draw.
        end: last day of the record; deals still running then are open.
        years: length of the record.
        latent_share: share of the variance of a deal's own rates that no record shows, 0..1.
        signal: multiplies every effect of product, source, type, size, rep and so on.
        growth, seasonality: of arrivals, a year; height of the seasonal wave.
        pace: multiplies every stage rate (2: everything takes half the time).
        loss: multiplies the rates of losing (more: a lower win rate).
        engagement_effect: multiplies what the buyer's engagement does to the rates.
        engage, silence: daily rates at which silent buyers engage, and engaged ones fall silent.
        phase_days: days in stage at which a deal stops being fresh and at which it is stale.
        phase_progress, phase_lost: log-effects on fresh, ripe and stale deals.
        quarter_push: multiplies the rush at quarter ends; `push_days` long.
        weekend: rates at weekends relative to working days.
        deep_share: share of quotes with a discount above `deep_discount`.
        deep_won, deep_lost: log-effects of such a discount.
        rep_skill, ramp_effect, load_effect, size_effect, amount_effect: log-effects of one standard
            deviation of skill, of being quite new, of a full load, of account size, of deal size.
        planted: the bottlenecks.
        plant_leak: add an attribute that is declared `at_creation` but filled at the close.
    """

    __pydantic_config__ = _CLOSED

    deals: int = 20_000
    seed: int = 7
    end: date = date(2026, 6, 30)
    years: float = 3.0
    latent_share: float = 0.0
    signal: float = 1.0
    growth: float = 0.15
    seasonality: float = 0.20
    pace: float = 1.0
    loss: float = 1.0
    engagement_effect: float = 1.0
    engage: float = 0.13
    silence: float = 0.09
    phase_days: tuple[int, int] = (7, 21)
    phase_progress: tuple[float, float, float] = (-0.30, 0.25, -0.50)
    phase_lost: tuple[float, float, float] = (-0.60, 0.0, 0.45)
    quarter_push: float = 1.0
    push_days: int = 10
    weekend: float = 0.08
    deep_share: float = 0.30
    deep_discount: float = 0.20
    deep_won: float = 0.35
    deep_lost: float = -0.25
    quote_stage: str = "Proposal"
    stages: tuple[StageRates, ...] = STAGES
    products: tuple[Product, ...] = PRODUCTS
    lead_sources: tuple[Option, ...] = LEAD_SOURCES
    deal_types: tuple[Option, ...] = DEAL_TYPES
    industries: tuple[Option, ...] = INDUSTRIES
    regions: tuple[Region, ...] = REGIONS
    base_currency: str = "EUR"
    deals_per_account: float = 1.25
    deals_per_rep_year: float = 150.0
    teams_per_region: int = 3
    turnover: float = 0.15
    team_moves: float = 0.08
    rebalanced: float = 0.02
    rep_skill: float = 0.35
    ramp_months: float = 6.0
    ramp_effect: float = 0.45
    load_limit: float = 6.0
    load_effect: float = 0.10
    size_effect: float = 0.15
    amount_effect: float = 0.20
    optimism: float = 1.0
    activity: float = 1.0
    planted: tuple[Bottleneck, ...] = (Bottleneck("Contract", "discount", slowdown=0.2),)
    plant_leak: bool = False
    faults: FaultRates = field(default_factory=FaultRates)

    def __post_init__(self) -> None:
        _check_ranges(self)
        _check_stages(self)
        _check_options(self)
        for bottleneck in self.planted:
            _check_bottleneck(self, bottleneck)

    @property
    def days(self) -> int:
        """Length of the record in days."""
        return round(self.years * 365.25)

    def to_json(self) -> str:
        """The parameters as JSON that `from_json` reads back equal."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> WorldParameters:
        """Parameters from `to_json`'s text."""
        return _validated(json.loads(text))


def parameters_from(source: SyntheticSource) -> WorldParameters:
    """The world that the `source` block of a configuration asks for.

    Raises:
        ConfigError: a key of `overrides` is unknown or already set beside it, or a value is wrong.

    Example:
        >>> parameters_from(SyntheticSource(deals=1000, overrides={"years": 2})).days
        730
    """
    own = {"deals": source.deals, "seed": source.seed, "latent_share": source.latent_share}
    for key in source.overrides:
        if key in own:
            raise ConfigError(f"`source.overrides.{key}`: set `source.{key}` instead")
    return _validated(own | source.overrides)


def _validated(values: dict[str, Any]) -> WorldParameters:
    try:
        return TypeAdapter(WorldParameters).validate_python(values)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(problem) for problem in error.errors())) from error


def _explain(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        unknown = f"`source.overrides.{place}` is not a setting of the synthetic world"
        if len(problem["loc"]) > 1:
            return f"{unknown}; check its spelling"
        return f"{unknown}; known: {', '.join(entry.name for entry in fields(WorldParameters))}"
    return f"`source.overrides.{place}`: {problem['msg']}; got {problem['input']!r}"


_AT_LEAST: dict[str, float] = {
    "deals": 1, "seed": 0, "years": 0.25, "signal": 0, "seasonality": 0, "pace": 0.01, "loss": 0,
    "engage": 0, "silence": 0, "quarter_push": 0, "push_days": 0, "weekend": 0,
    "deals_per_account": 0.05, "deals_per_rep_year": 1, "teams_per_region": 1, "turnover": 0,
    "team_moves": 0, "ramp_months": 0, "load_limit": 0.1, "activity": 0, "optimism": 0,
}  # fmt: skip
_SHARES = ("latent_share", "deep_share", "deep_discount", "rebalanced", "seasonality", "weekend")


def _check_ranges(world: WorldParameters) -> None:
    for name, least in _AT_LEAST.items():
        if not getattr(world, name) >= least:
            raise ConfigError(f"`{name}` must be at least {least}; got {getattr(world, name)}")
    shares = {name: getattr(world, name) for name in _SHARES} | asdict(world.faults)
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise ConfigError(f"`{name}` is a share and must lie in 0..1; got {value}")
    fresh, stale = world.phase_days
    if not 0 < fresh < stale:
        raise ConfigError(f"`phase_days` must be two rising numbers of days; got {fresh}, {stale}")


def _check_stages(world: WorldParameters) -> None:
    names = [stage.name for stage in world.stages]
    if len(set(names)) != len(names) or not {"Won", "Lost"}.isdisjoint(names):
        raise ConfigError(f"`stages` need names of their own, not Won or Lost; got {names}")
    if world.quote_stage not in names[1:]:
        raise ConfigError(
            f"`quote_stage` must be a stage after the first; got `{world.quote_stage}`"
        )
    for stage in world.stages:
        for rate in ("advance", "back", "skip", "won", "lost"):
            if getattr(stage, rate) < 0:
                raise ConfigError(f"`stages`: `{rate}` of `{stage.name}` is below 0")
    last = world.stages[-1]
    if last.advance or last.skip or world.stages[-2].skip or world.stages[0].back:
        raise ConfigError(
            "`stages`: the last stage can neither advance nor skip, the last but one not skip, "
            "the first not go back; set these rates to 0"
        )


def _check_options(world: WorldParameters) -> None:
    for cause in ("product", "region", "industry", "lead_source", "deal_type"):
        options = _options(world, cause)
        shares = [option.share for option in options]
        if not shares or min(shares) < 0 or sum(shares) <= 0:
            raise ConfigError(
                f"every {cause} needs a share of 0 or more, and one above 0: {shares}"
            )
        if len({option.name for option in options}) != len(options):
            raise ConfigError(f"two options of {cause} share one name; give each its own")
    for product in world.products:
        if not product.list_price > 0:
            raise ConfigError(f"`list_price` of `{product.name}` must be above 0")


def _check_bottleneck(world: WorldParameters, bottleneck: Bottleneck) -> None:
    if bottleneck.stage not in [stage.name for stage in world.stages]:
        raise ConfigError(f"`planted`: there is no stage `{bottleneck.stage}`")
    if not bottleneck.slowdown > 0:
        raise ConfigError(f"`planted`: `slowdown` must be above 0; got {bottleneck.slowdown}")
    known = segment_names(world, bottleneck.cause)
    if bottleneck.cause != "discount" and bottleneck.value not in known:
        raise ConfigError(
            f"`planted`: `{bottleneck.value}` is no {bottleneck.cause}; known: {', '.join(known)}"
        )


def segment_names(world: WorldParameters, cause: str) -> tuple[str, ...]:
    """The values that a cause can take in this world; none for `discount`."""
    return tuple(option.name for option in _options(world, cause))


def _options(world: WorldParameters, cause: str) -> tuple[Option, ...]:
    options: dict[str, tuple[Option, ...]] = {
        "product": world.products,
        "region": world.regions,
        "industry": world.industries,
        "lead_source": world.lead_sources,
        "deal_type": world.deal_types,
    }
    return options.get(cause, ())
