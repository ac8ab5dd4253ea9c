"""Success criteria from the configuration: a metric's name and the bound that it must keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from salesops_ml.errors import ConfigError
from salesops_ml.settings import Gate


@dataclass(frozen=True)
class Verdict:
    """What one gate said: the metric, its value, the bound, and whether it passed."""

    metric: str
    value: float | None
    bound: str
    passed: bool

    def sentence(self) -> str:
        """The verdict in words."""
        word = "passed" if self.passed else "said no"
        value = "is not known" if self.value is None else f"is {self.value:.4g}"
        return f"gate {word}: {self.metric} {value}, must be {self.bound}"


def check_gates(gates: Sequence[Gate], metrics: dict[str, Any]) -> list[Verdict]:
    """Hold `metrics` (nested, addressed by dotted names) against each gate.

    A metric that could not be measured (None or NaN) does not pass.

    Raises:
        ConfigError: a gate names a metric that does not exist.

    Example:
        >>> check_gates([Gate(metric="win.log_loss", at_most=0.5)], {"win": {"log_loss": 0.4}})
        [Verdict(metric='win.log_loss', value=0.4, bound='at most 0.5', passed=True)]
    """
    return [_check(gate, metrics) for gate in gates]


def _check(gate: Gate, metrics: dict[str, Any]) -> Verdict:
    value = _find(gate.metric, metrics)
    bounds = []
    if gate.at_most is not None:
        bounds.append(f"at most {gate.at_most:g}")
    if gate.at_least is not None:
        bounds.append(f"at least {gate.at_least:g}")
    known = value is not None and value == value
    low = gate.at_least is None or (known and value is not None and value >= gate.at_least)
    high = gate.at_most is None or (known and value is not None and value <= gate.at_most)
    return Verdict(
        gate.metric, value if known else None, " and ".join(bounds), known and low and high
    )


def _find(name: str, metrics: dict[str, Any]) -> float | None:
    place: Any = metrics
    for part in name.split("."):
        if not isinstance(place, dict) or part not in place:
            here = ", ".join(sorted(place)) if isinstance(place, dict) else "a number"
            raise ConfigError(f"`gates`: no metric `{name}`; at `{part}` there is: {here}")
        place = place[part]
    return None if place is None else float(place)
