"""What the first load of a company leaves: made once, copied for every test that goes on from it."""

from __future__ import annotations

import random
import shutil
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from salesops_ml.crm.twin_server import TwinServer
from salesops_ml.crm.twin_vendor import TwinVendor

_OF_NO_CLIENT = range(20_000, 30_000)
"""Ports below those that systems give to sockets which ask for any."""


class FirstLoad:
    """A company at a vendor, and the folder of a desk that has loaded it as it is at first.

    A landing belongs to the address that it was read from: all twins of the company, each with a
    state of its own, listen where the first one did.

    Args:
        folder: an empty one.
        vendor: makes the company, the same each time.
        desk: the class of the vendor's desks; called with a folder and a twin.
    """

    def __init__(
        self, folder: Path, vendor: Callable[[], TwinVendor], desk: Callable[..., Any]
    ) -> None:
        self._folder, self._vendor, self._desk = folder, vendor, desk
        self._port = _free_port()
        with self.twin() as twin:
            desk(folder, twin).ingest()

    def twin(self) -> TwinServer:
        """The company as it was before the first load."""
        return TwinServer(self._vendor(), port=self._port)

    def desk(self, folder: Path, twin: TwinServer) -> Any:
        """A desk in `folder` where the first load has been done."""
        shutil.copytree(self._folder, folder, dirs_exist_ok=True)
        return self._desk(folder, twin)


def _free_port() -> int:
    for port in random.SystemRandom().sample(_OF_NO_CLIENT, 100):
        with suppress(OSError), socket.socket() as found:
            found.bind(("127.0.0.1", port))
            return port
    raise AssertionError("none of a hundred ports is free")
