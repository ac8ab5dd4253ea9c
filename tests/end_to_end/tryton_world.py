"""A Tryton server on SQLite in a folder of its own, with a company's sale opportunities in it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from salesops_ml.source_settings import SyntheticSource
from salesops_ml.synthetic import generate, parameters_from
from tests.needs import ROOT, missing

DATABASE = "crm"
ADMIN = "admin-passw0rd"
_HERE = Path(__file__).parent
_MADE: dict[tuple[str, ...], bytes] = {}
"""Databases without a company, by their modules: making one takes Tryton as long as filling it."""
_STATES = {"Lead": "lead", "Negotiation": "converted", "Contract": "converted", "Won": "won"}


class TrytonWorld:
    """The server, its database, and the story that it was filled with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = folder / "trytond.conf"
        (folder / "db").mkdir(parents=True)
        self.config.write_text(
            f"[database]\nuri = sqlite://\npath = {folder}/db\n"
            f"[web]\nlisten = 127.0.0.1:{self.port}\n[session]\nmax_attempt = 50\n"
        )
        (folder / "pass").write_text(ADMIN + "\n")
        self.environment = os.environ | {
            "TRYTONPASSFILE": str(folder / "pass"),
            "PYTHONPATH": os.pathsep.join([str(_plugged(folder)), str(ROOT)]),
        }
        self.server: subprocess.Popen[bytes] | None = None

    def make(self, *modules: str) -> None:
        """Create the database with these modules, or copy one that was created so."""
        place = self.folder / "db" / f"{DATABASE}.sqlite"
        if modules in _MADE:
            place.write_bytes(_MADE[modules])
            return
        place.touch()
        self._run(
            [self._program("trytond-admin"), "-c", str(self.config), "-d", DATABASE,
             "--activate-dependencies", "--email", "a@example.com", "-u", *modules]
        )  # fmt: skip
        _MADE[modules] = place.read_bytes()

    def fill(self, story: dict[str, Any]) -> None:
        """Fill the database with a company, by Tryton's own client."""
        (self.folder / "story.json").write_text(json.dumps(story))
        script = [str(_HERE / "tryton_company.py"), str(self.config), DATABASE]
        self._run([sys.executable, *script, str(self.folder / "story.json")])

    def copy_without(self, database: str, module: str) -> None:
        """Another database, the same but for a module that is not activated there."""
        place = self.folder / "db" / f"{database}.sqlite"
        shutil.copyfile(self.folder / "db" / f"{DATABASE}.sqlite", place)
        with closing(sqlite3.connect(place)) as raw, raw:
            raw.execute("UPDATE ir_module SET state = 'not activated' WHERE name = ?", [module])

    def start(self, *databases: str) -> None:
        """Start the server; wait until it answers."""
        log = (self.folder / "server.log").open("ab")
        self.server = subprocess.Popen(
            [self._program("trytond"), "-c", str(self.config), "-d", *databases],
            env=self.environment, stdout=log, stderr=log,
        )  # fmt: skip
        asked = json.dumps({"id": 1, "method": "common.server.version", "params": []}).encode()
        head = {"content-type": "application/json"}
        while True:
            with suppress(OSError):
                request = urllib.request.Request(f"{self.url}/rpc/", asked, head)
                with urllib.request.urlopen(request, timeout=5):
                    return
            assert self.server.poll() is None, (self.folder / "server.log").read_text()[-2000:]
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop the server."""
        if self.server is not None:
            self.server.terminate()
            self.server.wait()

    def _program(self, name: str) -> str:
        return str(Path(sys.executable).with_name(name))

    def _run(self, words: list[str]) -> None:
        done = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def needs_tryton() -> None:
    """Skip the test where Tryton is not installed."""
    for name in ("trytond", "proteus", "trytond.modules.sale_opportunity"):
        try:
            found = importlib.util.find_spec(name)
        except ModuleNotFoundError:
            found = None
        if found is None:
            missing(f"{name} is not installed: pip install trytond_sale_opportunity proteus")


def _plugged(folder: Path) -> Path:
    """Where Tryton finds our module, unless the package that is installed announces it."""
    known = importlib.metadata.entry_points(group="trytond.modules")
    place = folder / "plug"
    if "salesops_scores" not in {entry.name for entry in known}:
        info = place / "salesops_scores-0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: salesops-scores\nVersion: 0\n")
        (info / "entry_points.txt").write_text(
            "[trytond.modules]\nsalesops_scores = salesops_ml.tryton_module\n"
        )
    return place


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def story_of(deals: int, seed: int = 7) -> dict[str, Any]:
    """A synthetic company as opportunities with their saves, in Tryton's states.

    Every tenth belongs to the second company, which reckons in dollars; every fifth lost one was
    cancelled.
    """
    world = generate(parameters_from(SyntheticSource(deals=deals, seed=seed)))
    tables = {name: table.to_pylist() for name, table in world.tables.items()}
    names = {row["account_id"]: row["name"] for row in tables["accounts"]}
    reps = sorted({row["rep_id"] for row in tables["reps"]})
    told = defaultdict(list)
    for row in tables["stage_events"]:
        told[row["deal_id"]].append((row["entered_at"], "state", row["stage"]))
    for row in tables["deal_changes"]:
        if row["field"] in ("amount", "expected_close_date", "rep_id") and row["new_value"]:
            told[row["deal_id"]].append((row["changed_at"], row["field"], row["new_value"]))
    done = []
    for n, deal in enumerate(tables["deals"]):
        saves = _saves(sorted(told[deal["deal_id"]]), deal, reps, cancelled=n % 5 == 0)
        account = names.get(deal["account_id"]) or "Nobody"
        done.append({"name": deal["deal_id"], "account": account, "abroad": n % 10 == 9,
                     "saves": saves})  # fmt: skip
    accounts = sorted({deal["account"] for deal in done})
    return {"reps": [f"Rep {name}" for name in reps], "accounts": accounts, "deals": done}


def _saves(
    changes: list[tuple[datetime, str, str]],
    deal: dict[str, Any],
    reps: list[str],
    *,
    cancelled: bool,
) -> list[dict[str, Any]]:
    """What each save left: one a moment."""
    first = {field: value for _, field, value in reversed(changes)}
    now: dict[str, Any] = {
        "state": "lead", "amount": first.get("amount", "0"),
        "end_date": first.get("expected_close_date", "2026-12-31"),
        "rep": reps.index(first.get("rep_id", deal["rep_id"])),
    }  # fmt: skip
    moments: dict[str, dict[str, Any]] = {}
    for at, field, value in changes:
        if field == "state":
            lost = "cancelled" if cancelled else "lost"
            now["state"] = lost if value == "Lost" else _STATES.get(value, "opportunity")
        elif field == "rep_id":
            now["rep"] = reps.index(value)
        else:
            now["amount" if field == "amount" else "end_date"] = value
        stamp = at.isoformat(sep=" ", timespec="microseconds")
        moments[stamp] = {**now, "at": stamp}
    return list(moments.values())
