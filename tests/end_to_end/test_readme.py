"""What the README shows is what happens: its commands, and the lines that they print."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from tests.end_to_end.conftest import Workspace
from tests.needs import ROOT

TINY = {"type": "synthetic", "deals": 500, "seed": 5}
QUICK = {"trees": 10, "max_period_rows": 6_000, "max_classifier_rows": 3_000, "horizon_days": 60}
ROUGH = {"bootstrap": 20, "discovery_cases": 50}
NO_BACKTEST = {"backtest_origins": 0, "samples": 200}
README = (ROOT / "README.md").read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    lines = [line for block in blocks("console") for line in block.splitlines()]
    return [line[2:].split("#")[0].strip() for line in lines if line.startswith("$ ")]


def masked(text: str) -> list[str]:
    """Lines with their numbers out of sight: seconds and scores differ between machines."""
    text = text.replace(", nothing new", "")
    return [re.sub(r"[ \d.,:-]*\d[\d.,:-]*", " N", line).strip() for line in text.splitlines()]


def test_it_shows_the_two_commands_and_the_map() -> None:
    assert commands()[:2] == ["make demo", "make test"]
    assert (ROOT / "docs" / "bottleneck_map.svg").read_text().startswith("<svg")
    assert "docs/bottleneck_map.svg" in README


@pytest.mark.slow
def test_make_demo_prints_what_the_readme_shows() -> None:
    alone = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    done = subprocess.run(
        ["make", "demo"], cwd=ROOT, capture_output=True, text=True, check=False, env=alone
    )
    assert done.returncode == 0, done.stderr
    shown = blocks("text")[0]
    assert set(masked(shown)) == set(masked(done.stderr + done.stdout))


@pytest.mark.slow
def test_its_other_commands_run_in_a_workspace_of_their_own(workspace: Workspace) -> None:
    told = [line for line in commands() if line.startswith("salesops ")]
    assert [line.split()[1] for line in told] == [
        "init", "ingest", "profile", "run", "score", "score",
    ]  # fmt: skip
    place = workspace.path / "readme"
    place.mkdir()
    Workspace(place).salesops("init", "acme")
    acme = Workspace(place / "acme")
    acme.config("acme", source=TINY, models=QUICK, forecast=NO_BACKTEST, mining=ROUGH,
                snapshots={"every": "14d"})  # fmt: skip
    for line in told[1:]:
        acme.salesops(*line.split()[1:])
