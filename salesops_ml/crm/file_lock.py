"""A file that one process holds at a time, by POSIX's `flock`: a crash gives it free, however it comes.

Windows has no such locks; there salesops runs in WSL or in a container.
"""

from __future__ import annotations

from salesops_ml.errors import SalesOpsError


def hold(file: int, *, wait: bool, what: str) -> bool:
    """Hold an open file until it is closed.

    Args:
        file: its descriptor.
        wait: whether to wait where another process holds it.
        what: the file, for messages.

    Returns:
        False where another process holds it and `wait` is false.

    Raises:
        SalesOpsError: this system has no such locks.

    Example:
        >>> import os, tempfile
        >>> place = tempfile.NamedTemporaryFile()
        >>> ours, theirs = (os.open(place.name, os.O_RDWR) for _ in range(2))
        >>> hold(ours, wait=True, what="x"), hold(theirs, wait=False, what="x")
        (True, False)
        >>> os.close(ours)
        >>> hold(theirs, wait=False, what="x")
        True
        >>> os.close(theirs)
    """
    try:
        import fcntl
    except ImportError:
        raise SalesOpsError(
            f"{what}: cannot be locked, since this system has no POSIX file locks; run salesops on "
            "Linux or macOS, in WSL, or in a container"
        ) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
