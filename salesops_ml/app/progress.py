"""Telling how far a run is: a bar on a terminal, plain lines elsewhere.

The bar moves by what is done, not by hope: each step has a weight, its usual share of the time, and
the bar stands still until the step has ended.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO


@dataclass
class Progress:
    """Steps with weights, told to `out`; `seconds` holds how long each finished step took."""

    steps: Sequence[tuple[str, float]]
    out: TextIO = field(default_factory=lambda: sys.stderr)
    seconds: dict[str, float] = field(default_factory=dict)
    _bar: Any = None
    _task: Any = None

    @contextmanager
    def shown(self) -> Iterator[Progress]:
        """Show the bar for the length of the block, on a terminal."""
        if not self.out.isatty():
            yield self
            return
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        columns = (
            TextColumn("{task.description:<34}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
        )
        with RichProgress(*columns, console=Console(file=self.out)) as bar:
            self._bar = bar
            self._task = bar.add_task("", total=sum(weight for _, weight in self.steps))
            yield self
            bar.update(self._task, description="done")
        self._bar = None

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """One step; its weight is added to the bar when it ends."""
        weight = dict(self.steps)[name]
        if self._bar is not None:
            self._bar.update(self._task, description=name)
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
        if self._bar is not None:
            self._bar.advance(self._task, weight)
        else:
            done = sum(w for n, w in self.steps if n in self.seconds)
            share = done / sum(w for _, w in self.steps)
            self.say(f"[{share:4.0%}] {name} ({self.seconds[name]:.1f} s)")

    def say(self, line: str) -> None:
        """A line for the reader."""
        if self._bar is not None:
            self._bar.console.print(line, highlight=False)
        else:
            self.out.write(line + "\n")
            self.out.flush()
