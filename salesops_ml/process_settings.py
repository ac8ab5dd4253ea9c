"""The agreed sales process: its stages, the time allowed, and the rules that deals are held against."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from salesops_ml.source_settings import Frozen

ANY_STAGE = "*"
RULE_KINDS = ("start", "move", "required", "order", "time", "four_eyes", "model")
"""What a rule may speak of, as the allow-list names it."""


class RequiredStep(Frozen):
    """A stage that every deal must have been in by the time it closes, or every deal that is won."""

    step: str
    of: Literal["closed", "won"] = "closed"


class MaximumTime(Frozen):
    """The days that a stay in `stage` may last, or that may pass `from` one stage `to` another."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    stage: str | None = None
    start: str | None = Field(None, alias="from")
    end: str | None = Field(None, alias="to")
    days: float = Field(gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _one_of_two(self) -> MaximumTime:
        pair = (self.start, self.end)
        whole = None not in pair
        if (self.stage is None) != whole or (self.stage is not None and pair != (None, None)):
            raise ValueError("name either `stage`, or both `from` and `to`")
        if whole and self.start == self.end:
            raise ValueError(f"`from` and `to` are both `{self.start}`; write `stage` instead")
        return self


class Exemption(Frozen):
    """A deviation that was agreed to: of one deal, one path, one rule, or a rule in a deal or path.

    `rule` is a kind (`move`, `required`, ...) or one rule of it (`required: Offer`, `move: Lead > Won`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    deal: str | None = None
    variant: tuple[str, ...] | None = None
    rule: str | None = None
    reason: str = Field(min_length=1)

    @model_validator(mode="after")
    def _speaks_of_something(self) -> Exemption:
        if self.deal is None and self.variant is None and self.rule is None:
            raise ValueError("name a `deal`, a `variant` (its stages in order) or a `rule`")
        return self


class ConformanceRules(Frozen):
    """The rules. None is needed; what is not ruled is allowed.

    Attributes:
        starts: stages in which a deal may begin.
        allowed: for a stage, the stages that may come next; a stage that is not named may be followed
            by any, and what stands under `"*"` may follow every stage.
        required: stages that must have been visited, by every deal that closes or by those won.
        order: stages whose first visits must come in this order, where they come at all.
        maximum_days: see `MaximumTime`; in the days that `process.calendar` says.
        four_eyes: pairs of stages that two different people must have moved the deal into.
        allow: what is exempt, and why.
    """

    starts: tuple[str, ...] = ()
    allowed: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    required: tuple[RequiredStep, ...] = ()
    order: tuple[str, ...] = ()
    maximum_days: tuple[MaximumTime, ...] = ()
    four_eyes: tuple[tuple[str, str], ...] = ()
    allow: tuple[Exemption, ...] = ()

    @field_validator("required", mode="before")
    @classmethod
    def _names_alone(cls, value: object) -> object:
        """`- Offer` is short for `- {step: Offer}`."""
        if not isinstance(value, list | tuple):
            return value
        return [{"step": one} if isinstance(one, str) else one for one in value]

    @field_validator("order")
    @classmethod
    def _once_each(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        twice = [name for number, name in enumerate(value) if name in value[:number]]
        if twice:
            raise ValueError(f"`{twice[0]}` stands twice; name each stage once")
        return value

    @field_validator("four_eyes")
    @classmethod
    def _two_stages(cls, value: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        for first, second in value:
            if first == second:
                raise ValueError(f"`{first}` is paired with itself; name two different stages")
        return value

    @property
    def any_rule(self) -> bool:
        """Whether there is anything to hold a deal against."""
        parts = (self.starts, self.allowed, self.required, self.order, self.maximum_days)
        return any(bool(part) for part in (*parts, self.four_eyes))


class Process(Frozen):
    """The agreed sales process: stage order, time allowed, and the calendar that dwell is told in.

    `model` is a BPMN file that draws the process; `unrecorded_tasks` are tasks in it that leave no
    event, and so may be passed unseen. `conformance` are rules, beside the model or instead of it.
    """

    stages: tuple[str, ...] = ()
    expected_days: dict[str, float] = Field(default_factory=dict)
    calendar: Literal["calendar", "working"] = "calendar"
    model: Path | None = None
    unrecorded_tasks: tuple[str, ...] = ()
    conformance: ConformanceRules = ConformanceRules()
