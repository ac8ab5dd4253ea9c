"""`salesops` forked from a process that has imported what commands need.

Every command is a process of its own, with the folder, variables, streams and exit code of one that
was typed. What it does not do again is import: two to five seconds of a processor each time.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import subprocess
import sys
import traceback
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

IMPORTED = (
    "salesops_ml.cli", "salesops_ml.app.commands", "salesops_ml.app.deployment",
    "salesops_ml.app.leaders", "salesops_ml.app.time_machine", "salesops_ml.app.tuning",
    "salesops_ml.app.write_back", "salesops_ml.mining.run", "ibis.backends.duckdb", "lightgbm",
    "sqlalchemy",
)  # fmt: skip
"""Beside MLflow; never `pipelines`, which each workspace has of its own."""


def ready_command(
    words: list[str], folder: Path, streams: Path
) -> subprocess.CompletedProcess[str]:
    """Run `salesops` with `words` in `folder`; its streams pass through files in `streams`."""
    told = [streams / name for name in ("stdout", "stderr")]
    asked = {"words": words, "folder": str(folder), "streams": [str(one) for one in told],
             "environment": dict(os.environ)}  # fmt: skip
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps(asked) + "\n")
    server.stdin.flush()
    answer = server.stdout.readline()
    assert answer, "the process that commands are forked from has ended"
    return subprocess.CompletedProcess(words, int(answer), *(one.read_text() for one in told))


@cache
def _server() -> subprocess.Popen[str]:
    server = subprocess.Popen(
        [sys.executable, "-P", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip

    @atexit.register
    def _end() -> None:
        assert server.stdin is not None
        server.stdin.close()
        server.wait()

    return server


def _serve() -> None:
    """Fork for each line that is read; answer with the exit code."""
    for name in IMPORTED:
        importlib.import_module(name)
    importlib.import_module("salesops_ml.registry.tracking").mlflow_module()
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _become(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 - the answer


def _become(asked: dict[str, Any]) -> NoReturn:
    """This process is the command from here on.

    It ends as Python does, but for taking two thousand modules apart: that costs as much as importing
    half of them.
    """
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate(asked["streams"], 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    sys.argv = ["salesops", *asked["words"]]
    code = _code()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _code() -> int:
    """The exit code of the command line, as Python gives it to what ends otherwise."""
    from salesops_ml.cli import main

    try:
        main()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    _serve()
