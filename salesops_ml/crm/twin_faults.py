"""What goes wrong between us and a vendor's twin, by a seeded plan."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Fault = Literal[
    "429", "503", "timeout_before", "timeout_after", "drop_before", "drop_after", "truncate",
    "slow", "expired_token",
]  # fmt: skip
FAULTS: tuple[Fault, ...] = (
    "429", "503", "timeout_before", "timeout_after", "drop_before", "drop_after", "truncate",
    "slow", "expired_token",
)  # fmt: skip
"""What can go wrong on demand; `before` and `after` the call took effect."""
WITHOUT_EFFECT = ("429", "503", "timeout_before", "drop_before", "expired_token")


@dataclass(frozen=True)
class FaultPlan:
    """Which calls fail, and how; the n-th call's fate depends on seed and n alone.

    Args:
        rates: share of the calls that meets each fault.
        seed: of the draws.
        paths: pattern of the paths that may fail.
        first: how many calls at the start are left alone.
        at_most: how many faults in all.

    Example:
        >>> plan = FaultPlan({"503": 0.5}, seed=1)
        >>> [plan.fault(n, "/deals") for n in range(4)] == [plan.fault(n, "/x") for n in range(4)]
        True
    """

    rates: Mapping[Fault, float] = field(default_factory=dict)
    seed: int = 7
    paths: str = ".*"
    first: int = 0
    at_most: int | None = None

    def fault(self, number: int, path: str) -> Fault | None:
        """What goes wrong with that call."""
        if number < self.first or not re.fullmatch(self.paths, path):
            return None
        draw = random.Random(f"{self.seed}:{number}").random()
        for kind, rate in self.rates.items():
            if draw < rate:
                return kind
            draw -= rate
        return None

    @classmethod
    def of_every_kind(cls, share: float, *, seed: int, paths: str = ".*") -> FaultPlan:
        """That share of the calls fails, each kind as often as the others."""
        return cls(dict.fromkeys(FAULTS, share / len(FAULTS)), seed=seed, paths=paths)
