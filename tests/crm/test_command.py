"""`salesops ingest` as a user meets it: exit code, a sentence instead of a traceback, Ctrl-C."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.crm.desk import DEALS, Desk
from tests.needs import ROOT
from tests.ready_commands import ready_command

COMMAND = [sys.executable, "-m", "salesops_ml.cli", "ingest"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def configured(desk: Desk, tables: dict[str, Any], **more: Any) -> Path:
    """A configuration file that maps `tables`."""
    return desk.write("config.yaml", desk.settings(tables, **more).to_yaml())


def edited(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    values = yaml.safe_load(path.read_text())
    change(values)
    path.write_text(yaml.safe_dump(values))
    return path


def salesops_ingest(
    desk: Desk, *words: str, typed: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run `salesops ingest` beside the files; `typed` starts from nothing, as a shell does."""
    if not typed:
        return ready_command(["ingest", *words], desk.folder, desk.folder)
    return subprocess.run(
        [*COMMAND, *words], cwd=desk.folder, env=ENVIRONMENT, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip


def with_good_load(desk: Desk) -> bytes:
    """The warehouse file after a good load."""
    desk.ingest({"deals": desk.deals(), "stage_events": desk.events()})
    return (desk.folder / "store" / "w.duckdb").read_bytes()


def test_a_load_tells_its_rows_and_a_second_one_that_nothing_is_new(desk: Desk) -> None:
    path = configured(desk, {"deals": desk.deals(), "stage_events": desk.events()})
    first = salesops_ingest(desk, "--config", str(path), "--json", "told.json", typed=True)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.split()[:4] == ["deals", "5", "stage_events", "7"]
    told = json.loads((desk.folder / "told.json").read_text())
    assert (told["changed"], told["rejects"], told["rows"]["stage_events"]) == (True, 0, 7)
    second = salesops_ingest(desk, "--config", str(path), typed=True)
    assert second.returncode == 0
    assert second.stdout.splitlines()[-1] == "nothing new: the warehouse is as it was"


def unknown_key(desk: Desk) -> Path:
    return edited(configured(desk, {"deals": desk.deals()}), lambda c: c.update(warehose="x"))


def unknown_column(desk: Desk) -> Path:
    return configured(desk, {"deals": desk.deals(columns={"deal_id": "id", "state": "state"})})


def other_engine(desk: Desk) -> Path:
    path = configured(desk, {"deals": desk.deals()})
    return edited(path, lambda c: c.update(warehouse="oracle://there"))


def missing_column(desk: Desk) -> Path:
    return configured(desk, {"deals": desk.deals(DEALS.replace("state", "stat"))})


def empty_file(desk: Desk) -> Path:
    return configured(desk, {"deals": desk.deals("")})


def wrong_encoding(desk: Desk) -> Path:
    return configured(desk, {"deals": desk.deals(DEALS.replace("ann", "änn").encode("cp1252"))})


def unwritable_folder(desk: Desk) -> Path:
    wall = desk.write("wall", "a file where a folder should be")
    path = configured(desk, {"deals": desk.deals()})
    return edited(path, lambda c: c.update(warehouse=f"duckdb:///{wall}/deep/w.duckdb"))


def event_log(desk: Desk, name: str, content: bytes) -> Path:
    path = configured(desk, {"deals": desk.deals()})
    source = {"type": "event_log", "path": str(desk.write(name, content))}
    return edited(path, lambda c: c.update(source=source))


def truncated_gzip(desk: Desk) -> Path:
    return event_log(desk, "log.xes.gz", gzip.compress(b"<log>" + os.urandom(4000))[:-900])


def entity_bomb(desk: Desk) -> Path:
    levels = "".join(f'<!ENTITY e{n} "&e{n - 1};&e{n - 1};">' for n in range(1, 40))
    bomb = f'<!DOCTYPE log [<!ENTITY e0 "ha">{levels}]><log>&e39;</log>'
    return event_log(desk, "bomb.xes", bomb.encode())


def outside_entity(desk: Desk) -> Path:
    secret = desk.write("secret", "hunter2")
    text = f'<!DOCTYPE log [<!ENTITY s SYSTEM "file://{secret}">]><log>&s;</log>'
    return event_log(desk, "thief.xes", text.encode())


BAD: dict[str, tuple[Callable[[Desk], Path], int, str]] = {
    "unknown key": (unknown_key, 2, "config.yaml: `warehose` is not a setting; check its spelling"),
    "unknown column": (
        unknown_column,
        2,
        "`source.tables.deals.columns`: there is no column `state`",
    ),
    "other engine": (other_engine, 2, "`oracle://there` is not a DuckDB file; write duckdb:///"),
    "missing column": (missing_column, 1, "deals.csv: has no column `state`"),
    "empty file": (empty_file, 1, "deals.csv: the file is empty"),
    "wrong encoding": (wrong_encoding, 1, "deals.csv: line 2 is not utf-8"),
    "unwritable folder": (unwritable_folder, 1, "wall/deep/w.duckdb: cannot be written"),
    "truncated gzip": (truncated_gzip, 1, "log.xes.gz: "),
    "entity bomb": (entity_bomb, 1, "bomb.xes: line 1: declares a document type"),
    "outside entity": (outside_entity, 1, "thief.xes: line 1: declares a document type"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_with_a_sentence_and_the_last_good_warehouse(desk: Desk, name: str) -> None:
    make, code, said = BAD[name]
    before = with_good_load(desk)
    done = salesops_ingest(desk, "--config", str(make(desk)))
    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr.startswith("salesops: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr
    assert (desk.folder / "store" / "w.duckdb").read_bytes() == before
    assert os.listdir(desk.folder / "store") == ["w.duckdb"]


def test_a_pipe_is_told_to_be_none_that_can_be_read_twice(desk: Desk) -> None:
    path = configured(desk, {"deals": desk.deals()})
    pipe = desk.folder / "deals.csv"
    pipe.unlink()
    os.mkfifo(pipe)
    child = started(path)
    pipe.write_text(DEALS)
    assert "deals.csv: is no plain file but a pipe; save it" in child.communicate(timeout=120)[1]
    assert child.returncode == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--config", "none.yaml"], "none.yaml: no such file"), (["--confg", "x"], "--confg")],
)
def test_a_wrong_call_is_told(desk: Desk, words: list[str], said: str) -> None:
    done = salesops_ingest(desk, *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_ctrl_c_while_the_file_is_read_leaves_the_last_good_warehouse(desk: Desk) -> None:
    """The source is a pipe that nothing comes out of: the load is surely waiting for it."""
    before = with_good_load(desk)
    path = configured(desk, {"deals": desk.deals(), "stage_events": desk.events()})
    pipe = desk.folder / "deals.csv"
    pipe.unlink()
    os.mkfifo(pipe)
    child = started(path)
    with pipe.open("w"):
        child.send_signal(signal.SIGINT)
        told = child.communicate(timeout=120)
    assert_interrupted(desk, child, told, before)


@pytest.mark.slow
def test_ctrl_c_while_the_warehouse_is_written_leaves_the_last_good_one(desk: Desk) -> None:
    before = with_good_load(desk)
    rows = "".join(f"d{n},ann,New,2026-01-05,,{n}.00\n" for n in range(60_000))
    head = DEALS.splitlines()[0]
    path = configured(desk, {"deals": desk.deals(f"{head}\n{rows}")})
    child = started(path)
    while child.poll() is None and not desk.left_overs():
        time.sleep(0.001)
    child.send_signal(signal.SIGINT)
    assert_interrupted(desk, child, child.communicate(timeout=120), before)
    assert salesops_ingest(desk, "--config", str(path)).returncode == 0
    assert len(desk.stored("deals")) == 60_000


def started(config: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "--config", str(config)], cwd=config.parent, env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def assert_interrupted(
    desk: Desk, child: subprocess.Popen[str], told: tuple[str, str], before: bytes
) -> None:
    assert told == ("", "salesops: interrupted; nothing half-written was left\n")
    assert child.returncode == 1
    assert (desk.folder / "store" / "w.duckdb").read_bytes() == before
    assert os.listdir(desk.folder / "store") == ["w.duckdb"]
