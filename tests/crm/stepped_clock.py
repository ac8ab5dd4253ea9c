"""A clock that stands still while one calculates: what it tells depends on no machine's speed."""

from __future__ import annotations

from salesops_ml.crm.limits import Clock


class Stepped(Clock):
    """A clock that goes on by what is slept, and by what is told to take time."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "at", 0.0)

    def now(self) -> float:
        return self.at  # type: ignore[attr-defined, no-any-return]

    def sleep(self, seconds: float) -> None:
        object.__setattr__(self, "at", self.now() + seconds)
