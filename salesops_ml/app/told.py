"""What a command has to say: for people, and for machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Told:
    """A result: for people, and for machines."""

    text: str
    values: Any
