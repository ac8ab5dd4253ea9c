"""The rules of the agreed process, held against the stages that there are and told in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from salesops_ml.errors import ConfigError
from salesops_ml.process_settings import (
    ANY_STAGE,
    RULE_KINDS,
    ConformanceRules,
    Exemption,
    MaximumTime,
    Process,
)

PLACE = "process.conformance"


@dataclass(frozen=True)
class Rule:
    """One rule that a deal keeps or breaks.

    Attributes:
        kind: one of `RULE_KINDS`.
        subject: what it speaks of, such as `Offer` or `Lead > Won`; `kind: subject` is its name.
        text: the rule, or how it is broken, in plain words.
    """

    kind: str
    subject: str
    text: str

    @property
    def name(self) -> str:
        """How the allow-list names it."""
        return f"{self.kind}: {self.subject}"


def start_rule(starts: Sequence[str]) -> Rule:
    return Rule("start", either(starts), f"A deal begins in {either(starts)}")


def move_rule(source: str, targets: Sequence[str]) -> Rule:
    """What may follow a stage."""
    goes = f"only {either(targets)} may follow" if targets else "nothing may follow"
    return Rule("move", source, f"After {source} {goes}")


def forbidden_move_rule(source: str, target: str, targets: Sequence[str]) -> Rule:
    """A move that was made, though it was not agreed."""
    goes = f"agreed is {either(targets)}" if targets else "agreed is no move at all"
    return Rule("move", f"{source} > {target}", f"{source} was followed by {target}; {goes}")


def required_rule(step: str, of: str) -> Rule:
    which = "won" if of == "won" else "closed"
    return Rule("required", step, f"No deal is {which} without {step}")


def order_rule(order: Sequence[str]) -> Rule:
    """Which stages come in which order."""
    return Rule("order", " > ".join(order), f"First visits come in the order {', '.join(order)}")


def time_rule(limit: MaximumTime, unit: str) -> Rule:
    """`unit` is what days are counted in: days or working days."""
    span = f"{limit.days:g} {unit}"
    if limit.stage is not None:
        return Rule("time", limit.stage, f"A stay in {limit.stage} lasts at most {span}")
    return Rule("time", f"{limit.start} > {limit.end}",
                f"From {limit.start} to {limit.end} it takes at most {span}")  # fmt: skip


def four_eyes_rule(pair: tuple[str, str]) -> Rule:
    first, second = pair
    return Rule("four_eyes", f"{first} + {second}",
                f"{first} and {second} are done by two different people")  # fmt: skip


def allowed_moves(rules: ConformanceRules) -> dict[str, tuple[str, ...]]:
    """For each stage that is ruled, the stages that may follow, those for every stage included."""
    everywhere = rules.allowed.get(ANY_STAGE, ())
    return {
        source: tuple(dict.fromkeys((*targets, *everywhere)))
        for source, targets in rules.allowed.items()
        if source != ANY_STAGE
    }


def check_names(process: Process, stages: Sequence[str]) -> None:
    """Refuse rules that speak of stages that there are not, or exempt from rules that there are not.

    Args:
        process: the agreed process.
        stages: every stage known: of the log, of the CRM.

    Raises:
        ConfigError: names the setting, the unknown stage or rule, and the nearest known one.

    Example:
        >>> process = Process.model_validate({"conformance": {"required": ["Ofer"]}})
        >>> try:
        ...     check_names(process, ["Lead", "Offer"])
        ... except ConfigError as error:
        ...     print(error)
        `process.conformance.required`: there is no stage `Ofer`; did you mean `Offer`?
    """
    known = list(dict.fromkeys((*process.stages, *stages)))
    for place, stage in _named_stages(process.conformance):
        if stage not in known:
            raise ConfigError(f"`{PLACE}.{place}`: there is no stage `{stage}`; "
                              f"{nearest(stage, known)}")  # fmt: skip
    rules = process.conformance
    for exemption in rules.allow:
        _refuse_unknown_rule(exemption, rules, known)


def nearest(name: str, known: Sequence[str]) -> str:
    """What the writer may have meant."""
    near = get_close_matches(name, known, n=1)
    return f"did you mean `{near[0]}`?" if near else f"known are: {', '.join(known)}"


def either(names: Sequence[str]) -> str:
    """Names as a choice: `A`, `A or B`, `A, B or C`."""
    return " or ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def _named_stages(rules: ConformanceRules) -> Iterator[tuple[str, str]]:
    """Where in the rules which stage is named."""
    yield from (("starts", stage) for stage in rules.starts)
    for source, targets in rules.allowed.items():
        if source != ANY_STAGE:
            yield "allowed", source
        yield from ((f"allowed.{source}", target) for target in targets)
    yield from (("required", one.step) for one in rules.required)
    yield from (("order", stage) for stage in rules.order)
    for limit in rules.maximum_days:
        named = (limit.stage, limit.start, limit.end)
        yield from (("maximum_days", stage) for stage in named if stage is not None)
    yield from (("four_eyes", stage) for pair in rules.four_eyes for stage in pair)
    for exemption in rules.allow:
        yield from (("allow", stage) for stage in exemption.variant or ())


def _refuse_unknown_rule(
    exemption: Exemption, rules: ConformanceRules, stages: Sequence[str]
) -> None:
    rule = exemption.rule
    if rule is None:
        return
    kind, _, subject = rule.partition(": ")
    if kind not in RULE_KINDS:
        raise ConfigError(f"`{PLACE}.allow`: there is no kind of rule `{kind}`; "
                          f"{nearest(kind, RULE_KINDS)}")  # fmt: skip
    if not subject or kind == "model":
        return
    names = rule_names(rules)
    source, arrow, target = subject.partition(" > ")
    if kind == "move" and arrow:  # any move may be exempt, agreed or not
        near = [[name, *get_close_matches(name, stages, n=1)][-1] for name in (source, target)]
        names += [f"move: {near[0]} > {near[1]}"] if set(near) <= set(stages) else []
    if rule not in names:
        alike = [name for name in names if name.startswith(f"{kind}: ")] or names
        raise ConfigError(f"`{PLACE}.allow`: there is no rule `{rule}`; {nearest(rule, alike)}")


def rule_names(rules: ConformanceRules) -> list[str]:
    """The name of each rule, as the allow-list gives it."""
    found = [start_rule(rules.starts)] if rules.starts else []
    found += [move_rule(source, targets) for source, targets in allowed_moves(rules).items()]
    found += [required_rule(one.step, one.of) for one in rules.required]
    found += [order_rule(rules.order)] if rules.order else []
    found += [time_rule(limit, "days") for limit in rules.maximum_days]
    found += [four_eyes_rule(pair) for pair in rules.four_eyes]
    return [rule.name for rule in found]
