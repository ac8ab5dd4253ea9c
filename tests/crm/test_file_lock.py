"""Locks of files end with their process, and a system without them is told so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from salesops_ml.crm.file_lock import hold
from salesops_ml.errors import SalesOpsError

HOLDS = """
import os, sys
from salesops_ml.crm.file_lock import hold
hold(os.open(sys.argv[1], os.O_RDWR), wait=True, what="x")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_killed_process_gives_its_lock_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    file = os.open(path, os.O_RDWR)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    ) as other:  # fmt: skip
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert hold(file, wait=False, what="x") is False
        other.kill()
        other.wait()
    assert hold(file, wait=False, what="x") is True
    os.close(file)


def test_a_system_without_locks_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with pytest.raises(SalesOpsError, match=r"store/calls: cannot be locked.*WSL") as no:
        hold(0, wait=True, what="store/calls")
    assert no.value.exit_code == 1
