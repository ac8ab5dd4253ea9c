"""A real Tryton server: all that was read equal to its own rows, and what one deal in a hundred costs.

Run from the project's root: `python benchmarks/ingest_tryton.py [deals]`. The server runs in a process
of its own on SQLite, whose tables are filled with rows, history among them, since saving by its client
takes milliseconds a save. Costs are processor seconds of the reading side and of the server, and
seconds on the wall; reading alone is told apart from landing and mapping. Before any figure is
printed, every field of every row that landed must be the one in the server's database.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TESTS = ModuleType("tests")
TESTS.__path__ = [str(ROOT / "tests")]
sys.path.insert(0, str(ROOT))
sys.modules["tests"] = TESTS

from salesops_ml.crm.ingest import ingest  # noqa: E402
from salesops_ml.crm.landing import landed_tables, landing_path  # noqa: E402
from salesops_ml.crm.tryton_history import history_rows  # noqa: E402
from salesops_ml.crm.tryton_rpc import OPPORTUNITY, Tryton  # noqa: E402
from salesops_ml.crm.tryton_source import HISTORY_FIELDS, feeds  # noqa: E402
from salesops_ml.crm_settings import TrytonSource  # noqa: E402
from salesops_ml.settings import parse  # noqa: E402
from tests.end_to_end.tryton_world import DATABASE, TrytonWorld, story_of  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "ingest_tryton.json"
PASSWORD = "s3cret-of-scorer"
BY_MOMENTS = 40
"""Opportunities whose history is read without our module too, to compare."""
SAVED = ("create_date", "create_uid", "write_date", "write_uid")
TABLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "opportunities": ("sale_opportunity", (
        "number", "party", "employee", "company", "currency", "amount", "start_date", "end_date",
        "state", "lost_reason", *SAVED)),
    "opportunity_history": ("sale_opportunity__history", (
        "employee", "company", "currency", "amount", "end_date", "state", *SAVED)),
    "lines": ("sale_opportunity_line__history", ("opportunity", "product", "sequence", *SAVED)),
    "sales": ("sale_sale", ("origin", "state", "quotation_date", "currency", "create_date",
                            "write_date")),
    "notes": ("ir_note", ("resource", *SAVED)),
    "parties": ("party_party", ("name", "create_date", "write_date")),
}  # fmt: skip
"""Landed table -> the server's own, and its columns that land."""


def main() -> None:
    deals = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    os.environ["TRYTON_PASSWORD"] = PASSWORD
    told: dict[str, Any] = {"deals": deals, "python": platform.python_version(),
                            "cores": os.cpu_count(),
                            "measured": f"{datetime.now():%Y-%m-%d}"}  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        world = TrytonWorld(folder / "tryton")
        world.make("sale_opportunity", "salesops_scores")
        begun = time.perf_counter()
        world.fill(story_of(deals) | {"belongings": True})
        told["fill_seconds"] = time.perf_counter() - begun
        world.start(DATABASE)
        try:
            measure(world, folder, told)
        finally:
            world.stop()
    told["peak_megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    RESULTS.write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(told, indent=1))


def measure(world: TrytonWorld, folder: Path, told: dict[str, Any]) -> None:
    """Reading alone; a full load, one without changes, three of a changed hundredth each."""
    source = source_of(world)
    cost = Cost(world)
    told["read"] = read_alone(source, cost)
    told["by_moments"] = by_moments(source, cost)
    settings = parse({"source": source.model_dump(mode="json"),
                      "warehouse": f"duckdb:///{folder}/w.duckdb"})  # fmt: skip
    at = datetime.now(UTC).replace(tzinfo=None)
    spent: dict[str, list[dict[str, float]]] = {}
    for n, name in enumerate(["full", "idle", "changed", "changed", "changed"]):
        if name == "changed":
            change(world, told["deals"], n)
        with cost.of(spent.setdefault(name, [])):
            ingest(settings, ingested_at=at + timedelta(hours=n))
    for name, runs in spent.items():
        told[name] = sorted(runs, key=lambda run: run["reader_seconds"])[len(runs) // 2]
    for kind in ("reader_seconds", "server_seconds"):
        told[f"share_{kind}"] = told["changed"][kind] / told["full"][kind]
    told["equal_rows"] = compared(world, settings.warehouse)


class Cost:
    """Processor seconds of this process and of the server, and seconds on the wall."""

    def __init__(self, world: TrytonWorld) -> None:
        assert world.server is not None
        self._stat = Path(f"/proc/{world.server.pid}/stat")

    @contextmanager
    def of(self, found: list[dict[str, float]]) -> Iterator[None]:
        before = self._now()
        yield
        names = ("reader_seconds", "server_seconds", "wall_seconds")
        spent = [late - early for early, late in zip(before, self._now(), strict=True)]
        found.append(dict(zip(names, spent, strict=True)))

    def _now(self) -> tuple[float, float, float]:
        user, system = self._stat.read_text().rpartition(")")[2].split()[11:13]
        ticks = os.sysconf("SC_CLK_TCK")
        return time.process_time(), (int(user) + int(system)) / ticks, time.perf_counter()


def source_of(world: TrytonWorld, user: str = "scorer") -> TrytonSource:
    return TrytonSource.model_validate({
        "type": "tryton", "url": world.url, "database": DATABASE, "user": user,
        "password": "env:TRYTON_PASSWORD",
    })  # fmt: skip


def read_alone(source: TrytonSource, cost: Cost) -> dict[str, Any]:
    """Every feed read to its end, and nothing else."""
    rows: dict[str, int] = {}
    spent: list[dict[str, float]] = []
    with cost.of(spent):
        for feed in feeds(source):
            rows[feed.name] = sum(len(page) for page in feed.read(None))
    return {"rows": rows, **spent[0]}


def by_moments(source: TrytonSource, cost: Cost) -> dict[str, Any]:
    """The history of a few opportunities as it is read where our module is not installed."""
    tryton = Tryton(source)
    ids = list(range(1, BY_MOMENTS + 1))
    spent: list[dict[str, float]] = []
    with cost.of(spent):
        saves = sum(len(p) for p in history_rows(tryton, ids, HISTORY_FIELDS, since=None))
    return {"opportunities": len(ids), "saves": saves, **spent[0]}


def change(world: TrytonWorld, deals: int, n: int) -> None:
    """A seller writes into one opportunity in a hundred, what may be written in every state."""
    tryton = Tryton(source_of(world, "seller"))
    ids = tryton.read(f"model.{OPPORTUNITY}.search", [], n * deals // 10, deals // 100)
    pairs = [part for one in ids for part in ([one], {"reference": f"looked at {n}"})]
    for start in range(0, len(pairs), 200):
        tryton.write(f"model.{OPPORTUNITY}.write", *pairs[start : start + 200])


def compared(world: TrytonWorld, warehouse: str) -> dict[str, int]:
    """Rows by table, each field that landed being the server's own; an error where one is unlike."""
    counts = {}
    place = world.folder / "db" / f"{DATABASE}.sqlite"
    with landed_tables(landing_path(warehouse)) as tables, closing(sqlite3.connect(place)) as raw:
        for name, (table, columns) in TABLES.items():
            landed = tables[name].to_pyarrow().to_pylist()
            mine = {own_key(row): row for row in landed}
            raw.row_factory = sqlite3.Row
            theirs = {key(row): row for row in raw.execute(f"SELECT * FROM {table}")}
            assert mine.keys() == theirs.keys(), (name, len(mine), len(theirs))
            for at, row in theirs.items():
                for column in columns:
                    if column != "write_date":
                        assert same(mine[at][column], row[column]), (name, at, column)
            counts[name] = len(theirs)
    return counts


def own_key(row: dict[str, Any]) -> tuple[int, datetime]:
    return int(row["id"]), datetime.fromisoformat(row["modified"])


def key(row: sqlite3.Row) -> tuple[int, datetime]:
    return row["id"], datetime.fromisoformat(row["write_date"] or row["create_date"])


def same(landed: str | None, stored: Any) -> bool:
    """Whether a value landed is the one stored, whatever its spelling."""
    if landed is None or stored is None:
        return landed is None and stored is None
    for read in (Decimal, datetime.fromisoformat, date.fromisoformat):
        try:
            return bool(read(landed) == read(str(stored)))
        except (ValueError, ArithmeticError):
            continue
    return landed == str(stored)


if __name__ == "__main__":
    main()
