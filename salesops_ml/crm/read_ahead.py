"""Several readings of one vendor at the same time: a first load is bound by the limit, not by latency.

A *walk* goes through a vendor's lists, one call after the other, and fills one table or several. On a
first load all walks go on at once, each in a thread of its own; later ones are short, and each goes on
where its tables are asked for. What comes before it is asked for waits in a temporary file, so that
memory does not grow with the records. The order of rows within a table is the walk's own, either way.
How many calls are in flight, and how many in a time, is kept by `limits.Pace`, which threads share.
"""

from __future__ import annotations

import pickle
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar

from salesops_ml.crm.landing_run import Page, Read

Step: TypeAlias = Mapping[str, Page]
"""Rows of some of a walk's tables, by table."""
Steps: TypeAlias = Callable[[Any], Iterator[Step]]
"""From how far the last load came (None at first) to what is new."""
IN_MEMORY = 1 << 20
"""Bytes of a table that wait in memory before they wait in a file."""
_In = TypeVar("_In")
_Out = TypeVar("_Out")


class Together:
    """The walks of one load.

    Args:
        at_once: how many walks go on at the same time.

    Example:
        >>> together = Together(2)
        >>> deals = together.walk(["deals"], lambda since: iter([{"deals": [{"id": 1}]}]))
        >>> lines = together.walk(["lines"], lambda since: iter([{"lines": [{"id": 7}]}]))
        >>> [*deals.read(None)], [*lines.read(None)]
        ([[{'id': 1}]], [[{'id': 7}]])
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._walks: list[Walk] = []
        self._due: deque[Walk] = deque()
        self.changed = threading.Condition()
        self.error: BaseException | None = None
        self._closed = False

    @property
    def over(self) -> bool:
        """Whether nobody waits for anything any more."""
        return self._closed or self.error is not None

    def walk(self, tables: Sequence[str], steps: Steps) -> Walk:
        """A walk that fills tables; the first walk is that of deals, which tells a first load.

        Args:
            tables: what it fills; `Walk.read` gives the first, `Walk.beside` the others.
            steps: goes through the lists; called in another thread on a first load.
        """
        made = Walk(self, tables, steps)
        self._walks.append(made)
        return made

    def table(self, name: str, read: Read) -> Read:
        """A walk that fills one table, as the `read` of its feed."""
        return self.walk([name], lambda since: ({name: page} for page in read(since))).read

    def begin(self, walk: Walk, since: Any) -> None:
        """A walk is asked for; where deals are and nothing of them has landed, all walks begin."""
        if walk is not self._walks[0] or since is not None:
            return
        self._due.extend(one for one in self._walks if not one.begun)
        for one in self._due:
            one.begin(None, ahead=True)
        for _ in range(min(self._at_once, len(self._due))):
            threading.Thread(target=self._work, daemon=True).start()

    def closing(self, close: Callable[[], None]) -> Callable[[], None]:
        """The `close` of the load's feeds: no further call is begun, then `close` is called."""

        def both() -> None:
            with self.changed:
                self._closed = True
                for walk in self._walks:
                    walk.close()
            close()

        return both

    def _work(self) -> None:
        try:
            while True:
                with self.changed:
                    if not self._due or self.over:
                        return
                    walk = self._due.popleft()
                walk.go_on()
        except BaseException as error:
            with self.changed:
                self.error = self.error or error
                self.changed.notify_all()


class Walk:
    """One walk through lists; made by `Together.walk`.

    Attributes:
        tables: what it fills.
        begun: whether it was asked for.
    """

    def __init__(self, together: Together, tables: Sequence[str], steps: Steps) -> None:
        self.tables = tuple(tables)
        self._together, self._make = together, steps
        self._waiting = {table: _Waiting() for table in tables}
        self._steps: Iterator[Step] = iter(())
        self._since: Any = None
        self.begun = self._ahead = self._ended = False

    def read(self, since: Any) -> Iterator[Page]:
        """Pages of the first table; begins the walk.

        Raises:
            Exception: what a walk of the same load failed with.
        """
        if not self.begun:
            self._together.begin(self, since)
        if not self.begun or since != self._since:
            self.begin(since, ahead=False)
        yield from self.beside(self.tables[0])

    def beside(self, table: str) -> Iterator[Page]:
        """Pages of another table that the same walk brings; `read` must have begun."""
        while (page := self._next(table)) is not None:
            yield page

    @property
    def first(self) -> bool:
        """Whether nothing has landed of the first table."""
        return self.begun and self._since is None

    def before(self, pages: Iterator[Page]) -> Iterator[Page]:
        """Pages that are asked for only after all that a later load's walk brings was."""
        while (step := next(self._steps, None)) is not None:
            self._keep(step)
        yield from pages

    def begin(self, since: Any, *, ahead: bool) -> None:
        """Start from the beginning, here or in the thread that will call `go_on`."""
        with self._together.changed:
            self._steps, self._since = self._make(since), since
            self._ahead, self.begun, self._ended = ahead, True, False
            for waiting in self._waiting.values():
                waiting.clear()

    def go_on(self) -> None:
        """Go to the end, or until nobody waits for it any more."""
        changed = self._together.changed
        with changed:
            mine: Iterator[Step] = self._steps if self._ahead else iter(())
        for step in mine:
            with changed:
                if self._together.over or self._steps is not mine:
                    return
                self._keep(step)
                changed.notify_all()
        with changed:
            self._ended = self._ended or self._steps is mine
            changed.notify_all()

    def close(self) -> None:
        """Let go of what waits."""
        for waiting in self._waiting.values():
            waiting.close()

    def _next(self, table: str) -> Page | None:
        waiting, together = self._waiting[table], self._together
        if not self._ahead:
            while not waiting and (step := next(self._steps, None)) is not None:
                self._keep(step)
            return waiting.take() if waiting else None
        with together.changed:
            together.changed.wait_for(lambda: waiting or self._ended or together.error)
            if together.error is not None:
                raise together.error
            return waiting.take() if waiting else None

    def _keep(self, step: Step) -> None:
        for table, page in step.items():
            if len(page):
                self._waiting[table].add(page)


class _Waiting:
    """Pages that wait, first come first served."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115
        self._next, self._count = 0, 0

    def __bool__(self) -> bool:
        return self._count > 0

    def close(self) -> None:
        self._file.close()
        self._count = 0

    def add(self, page: Page) -> None:
        self._file.seek(0, 2)
        pickle.dump(page, self._file, pickle.HIGHEST_PROTOCOL)
        self._count += 1

    def take(self) -> Page:
        self._file.seek(self._next)
        page: Page = pickle.load(self._file)
        self._next, self._count = self._file.tell(), self._count - 1
        if not self._count:
            self.clear()
        return page

    def clear(self) -> None:
        self._file.seek(0)
        self._file.truncate(0)
        self._next = self._count = 0


def in_order(call: Callable[[_In], _Out], asked: Iterable[_In], at_once: int) -> Iterator[_Out]:
    """What calls give, in the order in which they were asked for, with some of them under way at once.

    Example:
        >>> list(in_order(lambda number: number * number, [3, 1, 2], 2))
        [9, 1, 4]
    """
    flying: deque[_Call[_Out]] = deque()
    for one in asked:
        flying.append(_Call(partial(call, one)))
        if len(flying) >= at_once:
            yield flying.popleft().result()
    while flying:
        yield flying.popleft().result()


class _Call(Generic[_Out]):
    """A call in a thread that an interrupted process does not wait for."""

    def __init__(self, call: Callable[[], _Out]) -> None:
        self._call = call
        self._done: list[_Out] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def result(self) -> _Out:
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._done[0]

    def _run(self) -> None:
        try:
            self._done.append(self._call())
        except BaseException as error:
            self._error = error
