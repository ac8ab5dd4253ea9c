"""An environment of their own for the peers, outside the repository, made once from pinned versions."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
LOCAL = ("aalen_johansen", "logistic", "lightgbm", "lightgbm_hazards", "lightgbm_l1", "cox")
"""Peers that the project's own environment can run where no other can be made."""


def peers_python(requirements: Path = REQUIREMENTS) -> Path | None:
    """The interpreter of the peers' environment; None where it cannot be made."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "salesops-ml"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    folder = cache / f"peers-{digest}"
    python = folder / "bin" / "python"
    if (folder / ".ready").exists():
        return python
    print(f"making the peers' environment in {folder}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    command = [python, "-m", "pip", "install", "--quiet", "--requirement", requirements]
    if subprocess.run(command, check=False).returncode != 0:
        return None
    (folder / ".ready").touch()
    return python


def run_peer(
    name: str,
    folder: Path,
    python: Path | None,
    *,
    most_seconds: float,
    script: str = "deal_peers.py",
) -> dict[str, Any]:
    """Fit one peer in a process of its own; the reason why, where it said nothing."""
    if python is None and name not in LOCAL:
        return {"missing": "its environment could not be made"}
    command = [str(python or sys.executable), str(HERE / script), str(folder), name]
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    start = time.perf_counter()
    try:
        done = subprocess.run(
            command, env={**os.environ, **threads}, timeout=most_seconds, check=False,
            capture_output=True, text=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"missing": f"no answer within {most_seconds:.0f} s"}
    if done.returncode < 0:
        return {"missing": f"ended by signal {-done.returncode}"}
    if done.returncode != 0:
        return {"missing": (done.stderr.strip().splitlines() or ["no reason given"])[-1]}
    return {"whole_seconds": round(time.perf_counter() - start, 1)}
