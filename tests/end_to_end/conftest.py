"""A workspace as a user lays one, with a small company in it and one finished run."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.ready_commands import ready_command

SALESOPS = Path(sys.executable).with_name("salesops")
CONFIG = {
    "company": {"name": "Small Co", "base_currency": "EUR", "time_zone": "Europe/Amsterdam"},
    "source": {"type": "synthetic", "deals": 700, "seed": 5},
    "warehouse": "duckdb:///store/small.duckdb",
    "models": {"trees": 25, "max_period_rows": 15_000, "max_classifier_rows": 8_000},
    "forecast": {"backtest_origins": 3, "samples": 300},
    "mining": {"bootstrap": 40, "discovery_cases": 200},
    "gates": [{"metric": "win.log_loss", "at_most": 0.65}],
    "threads": 1,
}
"""Small: what is asserted of runs are laws, contracts and words, which hold of a company of any size."""
_TYPED: set[str] = set()
"""The commands that have been run as one types them."""


@dataclass(frozen=True)
class Workspace:
    """A folder with configs, pipelines, notebooks, and what runs leave in it."""

    path: Path

    def salesops(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run the command line here; the exit code must be `code`.

        The first of each command is the installed program, later ones are forked from a process
        that has imported what it imports.
        """
        if words[0] in _TYPED:
            with tempfile.TemporaryDirectory() as streams:
                done = ready_command([*words], self.path, Path(streams))
        else:
            _TYPED.add(words[0])
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            done = subprocess.run(
                [SALESOPS, *words], cwd=self.path, capture_output=True, text=True, env=environment,
                check=False,
            )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def config(self, name: str, **changes: object) -> str:
        """Write a variation of the small company's configuration; its path."""
        path = self.path / "configs" / f"{name}.yaml"
        path.write_text(yaml.safe_dump(CONFIG | changes))
        return f"configs/{name}.yaml"

    @property
    def latest(self) -> Path:
        return (self.path / "runs" / "latest").resolve()


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    place = Workspace(tmp_path_factory.mktemp("workspace") / "sales ops")
    place.path.parent.mkdir(exist_ok=True)
    place.path.mkdir()
    place.salesops("init", ".")
    place.salesops("run", "--config", place.config("small"))
    return place
