"""Fits that do not wait for each other: two at once, each on half of the threads.

The threads of one booster meet after every split, and much around it runs on one thread alone; two
boosters side by side keep both processors busy. The numbers are the same: LightGBM is asked to agree bit
for bit on one thread and many.

LightGBM keeps the number of threads for the whole process. So while fits run side by side every booster,
whoever fits or asks it, has to take the same; `threads_now` tells how many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock, get_ident
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
AT_ONCE = 2
"""More would hold more rows in memory than they save time."""


class Start:
    """Starts fits; where there is no pool, each is done before the next."""

    def __init__(self, pool: ThreadPoolExecutor | None, each: int = 1) -> None:
        self._pool, self.each = pool, each

    def __call__(self, fit: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start `fit(*args, **kwargs)`; `.result()` waits for it, and raises its error."""
        if self._pool is not None:
            return self._pool.submit(fit, *args, **kwargs)
        done: Future[T] = Future()
        done.set_result(fit(*args, **kwargs))
        return done


_ONE_AFTER_THE_OTHER = Start(None)
_lock = Lock()
_running: dict[int, Start] = {}
"""The open blocks, by the thread that opened them."""


@contextmanager
def side_by_side(threads: int) -> Iterator[Start]:
    """A block in which fits run two at once; a block inside it starts fits beside those of the outer.

    Args:
        threads: of all fits together; with one, each fit is done before the next.

    Example:
        >>> with side_by_side(2) as start:
        ...     parts = [start(pow, 2, 5), start(pow, 3, 3)]
        >>> [part.result() for part in parts]
        [32, 27]
    """
    mine = get_ident()
    pool = ThreadPoolExecutor(AT_ONCE, "fit")
    with _lock:
        outer = threads < 2 or bool(_running)
        if not outer:
            _running[mine] = Start(pool, threads // AT_ONCE)
    if outer:  # a fit's own block runs on the fit's thread
        yield _running.get(mine, _ONE_AFTER_THE_OTHER)
        return
    try:
        yield _running[mine]
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)  # nobody will ask for what has not begun
        raise
    finally:
        pool.shutdown(wait=True)
        with _lock:
            del _running[mine]


def threads_now(threads: int) -> int:
    """How many threads a booster may take that could have `threads`: fewer while fits run at once."""
    return next((block.each for block in list(_running.values())), threads)
