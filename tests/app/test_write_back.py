"""The commands of writing back: what they write, say, restore and refuse, and that they keep secrets."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from salesops_ml import registry
from salesops_ml.app import write_back as commands
from salesops_ml.cli_write_back import app
from salesops_ml.crm.limits import Clock
from salesops_ml.crm.outbox import Outbox
from salesops_ml.crm.rollback import LEFT, RESTORED
from salesops_ml.crm.secrets import read_secret, with_password
from salesops_ml.crm.sql_target import SqlTarget
from salesops_ml.crm.targets import TARGETS, check_fields, connection_of, open_target
from salesops_ml.crm.twin_faults import FaultPlan
from salesops_ml.crm.twin_server import TwinServer
from salesops_ml.crm.twin_vendor import Request, Response
from salesops_ml.errors import ConfigError, UsageError, WriteBackError
from salesops_ml.schema import CanonicalTables, no_rejects
from salesops_ml.scoring.fields import FIELDS, Score
from salesops_ml.settings import Settings, parse
from salesops_ml.warehouse import Warehouse
from salesops_ml.write_back_settings import WriteBack
from tests.crm.postgres import PASSWORD, address, private_cluster
from tests.crm.sample_vendor import TOKEN, SampleTarget, SampleTwin

AT = datetime(2026, 3, 1, 12)
FAST = Clock(factor=200)
OUTBOX = "sqlite:///{}/outbox.db"


def scored(**chances: float) -> pd.DataFrame:
    rows = [
        {
            "deal_id": deal, "p_win": p, "close_p50_date": pd.Timestamp("2026-04-01"), "band": "low",
            "reasons": "For: met.", "scored_at": AT, "model_version": "deal_scores/1",
        }
        for deal, p in chances.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def warehouse(**status: str) -> Any:
    deals = pa.table({"deal_id": list(status), "status": list(status.values())})
    return Warehouse.in_memory(CanonicalTables({"deals": deals}, no_rejects()))


class Desk:
    """A small CRM with three deals, and the commands that write to it."""

    def __init__(self, twin: TwinServer, folder: Path) -> None:
        self.twin, self.vendor, self.folder = twin, twin.vendor, folder
        self.target = SampleTarget(twin.url, clock=FAST)
        self.outbox = Outbox(OUTBOX.format(folder))
        self.settings = Settings()
        self.runs = 0

    def write(self, scores: pd.DataFrame, closed: str = "none", **asked: Any) -> commands.Written:
        self.runs += 1
        at = AT + timedelta(hours=self.runs)
        with warehouse(**{closed: "won"}) as tables:
            return commands.write_to_crm(
                self.target, self.outbox, tables, scores, self.settings, run_id=f"run-{self.runs}",
                at=at, **asked,
            )  # fmt: skip

    def undo(self, run_id: str) -> commands.Told:
        return commands.undo_in(self.target, self.outbox, run_id, at=AT, settings=self.settings)

    def chances(self) -> dict[str, float | None]:
        return {deal: fields.get(FIELDS[0]) for deal, fields in self.vendor.deals.items()}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    twin = SampleTwin()
    twin.deals = {"d1": {}, "d2": {}, "d3": {"remark": "call back"}}
    with TwinServer(twin, clock=FAST) as server:
        yield Desk(server, tmp_path)


def test_write_then_only_what_moved_then_withdraw(desk: Desk) -> None:
    first = desk.write(scored(d1=0.1, d2=0.5, d3=0.9))
    assert (first.written, first.counts["insert"]) == (3, 3)
    assert desk.chances() == {"d1": 10, "d2": 50, "d3": 90}
    assert desk.vendor.deals["d3"]["remark"] == "call back"
    again = desk.write(scored(d1=0.1004, d2=0.7, d3=0.9))
    assert (again.written, again.counts["update"], again.counts["keep"]) == (1, 1, 2)
    last = desk.write(scored(d1=0.1, d3=0.9), closed="d2")
    assert (last.written, last.counts["withdraw"]) == (1, 1)
    assert desk.chances() == {"d1": 10, "d2": None, "d3": 90}


def test_a_dry_run_shows_the_diff_and_writes_nothing(desk: Desk) -> None:
    told = desk.write(scored(d1=0.1), dry_run=True, create_fields=True)
    assert "1 to insert" in told.text
    assert "insert   d1: nothing -> 10.0% low (first score)" in told.text
    assert told.written is None
    assert desk.vendor.ledger == {}
    assert not (desk.folder / "outbox.db").exists()


@pytest.mark.parametrize(
    ("spoiled", "words"),
    [
        (None, "is missing: create a field"),
        ({"kind": "date", "read_only": True}, "cannot be written: allow the integration user"),
        ({"kind": "percent", "read_only": False}, "is of another kind: `salesops_close_p50` is"),
    ],
)
def test_fields_that_are_not_ready_are_found_before_the_first_write(
    desk: Desk, spoiled: dict[str, Any] | None, words: str
) -> None:
    if spoiled is None:
        del desk.vendor.fields["salesops_close_p50"]
    else:
        desk.vendor.fields["salesops_close_p50"] = spoiled
    with pytest.raises(WriteBackError, match=words) as caught:
        desk.write(scored(d1=0.1))
    assert caught.value.exit_code == 1
    assert ("--create-fields" in str(caught.value)) == (spoiled is None)
    assert desk.vendor.ledger == {}
    assert desk.outbox.runs() == []
    if spoiled is None:
        said: list[str] = []
        desk.write(scored(d1=0.1), create_fields=True, say=said.append)
        assert said[0] == "created: salesops_close_p50"
        assert desk.vendor.deals["d1"]["salesops_close_p50"] == "2026-04-01"


def test_fields_are_created_only_with_the_right_to(desk: Desk) -> None:
    del desk.vendor.fields["salesops_reasons"]
    desk.vendor.scopes.remove("fields.write")
    with pytest.raises(WriteBackError, match="scopes"):
        check_fields(desk.target, create=True)


def test_refused_deals_are_told_with_exit_code_1_and_tried_again_on_request(desk: Desk) -> None:
    del desk.vendor.deals["d3"]
    with pytest.raises(
        WriteBackError, match=r"refused 1 deals, the other 2 .*\n.*`d3`.*deleted"
    ) as no:
        desk.write(scored(d1=0.1, d2=0.5, d3=0.9))
    assert no.value.exit_code == 1
    desk.vendor.deals["d3"] = {}
    with pytest.raises(UsageError, match="nothing to resume"):
        commands.resume_in(desk.target, desk.outbox, None)
    told = commands.resume_in(desk.target, desk.outbox, "run-1", failed=True)
    assert "3 deals stand as planned" in told.text
    assert desk.chances()["d3"] == 90


def test_a_refused_score_is_not_tried_again_after_a_later_plan(desk: Desk) -> None:
    del desk.vendor.deals["d2"]
    with pytest.raises(WriteBackError, match="refused 1 deals"):
        desk.write(scored(d1=0.1, d2=0.5))
    desk.vendor.deals["d2"] = {}
    desk.write(scored(d1=0.1, d2=0.9))
    with pytest.raises(UsageError, match="followed by `run-2`"):
        commands.resume_in(desk.target, desk.outbox, "run-1", failed=True)
    assert desk.chances()["d2"] == 90
    assert desk.outbox.counts("run-1")["failed"] == 1


def test_rollback_leaves_what_a_person_changed(desk: Desk) -> None:
    desk.write(scored(d1=0.1, d2=0.5, d3=0.9))
    desk.write(scored(d1=0.2, d2=0.6, d3=0.8))
    desk.vendor.deals["d2"][FIELDS[2]] = "a person's word"
    told = desk.undo("run-2")
    assert told.values["found"] == {RESTORED: 2, LEFT: 1}
    assert told.values["left"] == ["d2"]
    assert desk.chances() == {"d1": 10, "d2": 60, "d3": 90}
    assert desk.vendor.deals["d2"][FIELDS[2]] == "a person's word"
    again = desk.undo("run-2")
    assert "was rolled back before; nothing was sent" in again.text
    assert again.values["found"][RESTORED] == 2
    with pytest.raises(UsageError, match="was rolled back"):
        commands.resume_in(desk.target, desk.outbox, "run-2")
    with pytest.raises(UsageError, match="is a rollback"):
        desk.undo("run-2-rollback")


def test_the_rollback_of_a_first_score_empties_the_fields(desk: Desk) -> None:
    desk.write(scored(d1=0.1, d3=0.9))
    desk.undo("run-1")
    assert desk.target.read(["d1", "d3"]) == {"d1": Score(), "d3": Score()}
    assert desk.vendor.deals["d3"]["remark"] == "call back"


def test_a_rollback_that_stops_is_gone_on_with(desk: Desk) -> None:
    desk.write(scored(d1=0.1, d2=0.5, d3=0.9))
    desk.vendor.refuse_batch = Response(403, {})
    with pytest.raises(WriteBackError, match="resume run-1-rollback"):
        desk.undo("run-1")
    desk.vendor.refuse_batch = None
    desk.undo("run-1")
    assert set(desk.chances().values()) == {None}


def test_a_later_plan_takes_the_place_of_one_that_stopped(desk: Desk) -> None:
    desk.vendor.refuse_batch = Response(403, {})
    with pytest.raises(WriteBackError, match="scopes"):
        desk.write(scored(d1=0.1))
    desk.vendor.refuse_batch = None
    desk.write(scored(d1=0.4))
    with pytest.raises(UsageError, match="followed by a later plan"):
        commands.resume_in(desk.target, desk.outbox, "run-1")
    assert desk.chances()["d1"] == 40


def test_status_tells_each_run(desk: Desk) -> None:
    assert commands.status_of(desk.outbox, None).text == "nothing was written back yet"
    desk.write(scored(d1=0.1))
    desk.vendor.refuse_batch = Response(403, {})
    with pytest.raises(WriteBackError):
        desk.write(scored(d1=0.5))
    told = commands.status_of(desk.outbox, None)
    assert "run-1  finished  sample CRM: 1 confirmed" in told.text
    assert "run-2  stopped  sample CRM: 1 planned" in told.text
    assert "stopped: " in told.text
    assert [run["state"] for run in told.values] == ["stopped", "finished"]
    assert commands.status_of(desk.outbox, "run-1").values[0]["counts"]["confirmed"] == 1


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with private_cluster() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def sql_place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The settings of a database, by kind."""
    if request.param == "sqlite":
        return {"url": f"sqlite:///{tmp_path}/crm.db"}
    monkeypatch.setenv("OUR_CRM", PASSWORD)
    return {"url": address(request.getfixturevalue("postgres")), "password": "env:OUR_CRM"}


def test_a_sql_target_has_status_and_rollback_too(
    tmp_path: Path, sql_place: dict[str, str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"write_back": sql_place}))
    settings = parse({"write_back": sql_place})

    def run(*words: str) -> Any:
        done = CliRunner().invoke(app, [*words, "--config", str(config), "--json", "-"])
        if done.exception:
            raise done.exception
        return json.loads(done.stdout)

    assert run("status") == []
    for number, chances in enumerate([{"d1": 0.1, "d2": 0.5}, {"d1": 0.3, "d2": 0.6, "d3": 0.7}]):
        with warehouse(d9="won") as tables:
            asked: dict[str, Any] = {"run_id": f"run-{number}", "at": AT + timedelta(hours=number)}
            dry = commands.write_scores(
                tables, scored(**chances), settings, dry_run=True, **asked
            )  # fmt: skip
            assert dry.written is None
            done = commands.write_scores(tables, scored(**chances), settings, **asked)
            assert done.written == len(chances)
    assert [(r["run_id"], r["entries"]) for r in run("status")] == [("run-1", 3), ("run-0", 2)]
    target = SqlTarget(with_password(sql_place["url"], sql_place.get("password"), setting="x"))
    with target.database.writing() as connection:
        connection.exec_driver_sql(
            "UPDATE salesops_scores SET salesops_score_band = 'mine' WHERE deal_id = 'd2'"
        )
    told = run("rollback", "run-1")
    assert told["found"] == {RESTORED: 2, LEFT: 1}
    assert told["left"] == ["d2"]
    found = target.current().set_index("deal_id")[FIELDS[0]]
    assert found["d1"] == 0.1
    assert found["d2"] == 0.6
    assert pd.isna(found["d3"])
    assert run("status", "run-1-rollback")[0]["entries"] == 2
    assert set(run("rollback", "run-1")["found"].values()) == {2, 1}
    with pytest.raises(UsageError, match="no run `none`"):
        run("rollback", "none")
    with pytest.raises(UsageError, match="one transaction"):
        run("resume")
    assert run("check")["created"] == []
    target.dispose()


def in_crm(settings: Settings, name: str, folder: Path, **other: Any) -> Settings:
    options = WriteBack.model_validate(
        {"target": name, "outbox": OUTBOX.format(folder), **other}
    )  # fmt: skip
    return settings.model_copy(update={"write_back": options})


def test_the_target_is_named_and_its_connection_configured(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no CRM"):
        open_target(Settings())
    with pytest.raises(ConfigError, match=r"`write_back\.connection`: say how tryton"):
        connection_of(in_crm(Settings(), "tryton", tmp_path))


@pytest.mark.parametrize("key", ["token", "client_secret", "password", "api_key", "webhook"])
def test_a_literal_secret_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(ValidationError, match=f"`{key}` names no place of a secret") as caught:
        WriteBack.model_validate(
            {"target": "hubspot", "connection": {"url": "https://x", key: TOKEN}}
        )
    assert TOKEN not in str(caught.value)
    told = WriteBack.model_validate({"connection": {key: "env:NAME", "layout": "x"}})
    assert told.connection == {key: "env:NAME", "layout": "x"}


PLANTED = TOKEN


class Telltale(SampleTwin):
    """A vendor that repeats the token in what it answers."""

    def update(self, request: Request, version: str) -> Response:
        response = super().update(request, version)
        if response.status == 207:
            told = f"refused for {request.headers['authorization']}"
            return Response(400, {"message": told, "echo": dict(request.headers)})
        return response


def test_a_planted_secret_is_in_nothing_that_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_book: Path,
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Outbox, pace, log, console, run folder's configuration, run book: none holds the token."""
    monkeypatch.setenv("SAMPLE_TOKEN", PLANTED)
    monkeypatch.setitem(TARGETS, "hubspot", f"{__name__}:open_planted")
    monkeypatch.setenv("SAMPLE_PLACE", str(tmp_path))
    log = logging.FileHandler(tmp_path / "debug.log")
    logging.getLogger().addHandler(log)
    caplog.set_level(logging.DEBUG)
    twin = Telltale(deals=3)
    book = tmp_path / "mlflow.db"
    book.write_bytes(empty_book.read_bytes())
    faults = FaultPlan({"drop_after": 0.3}, seed=3, paths=".*read")
    with TwinServer(twin, clock=FAST, faults=faults) as server:
        (tmp_path / "url").write_text(server.url)
        base = parse({"registry": {"tracking_uri": f"sqlite:///{book}", "experiment": "another"}})
        connection = {"token": "env:SAMPLE_TOKEN"}
        settings = in_crm(base, "hubspot", tmp_path, connection=connection)
        (tmp_path / "config.yaml").write_text(settings.to_yaml())
        scores = scored(d000000=0.1, d000001=0.2, d000002=0.3, gone=0.5)
        told = []
        with warehouse(none="won") as tables, pytest.raises(WriteBackError) as caught:
            commands.write_scores(tables, scores, settings, run_id="run", at=AT)
        told.append(str(caught.value))
        twin.deals["gone"] = {}
        told.append(commands.status(settings).text)
        told.append(commands.resume(settings, "run", failed=True).text)
        told.append(commands.undo(settings, "run").text)
    with registry.run(settings, name="run", git_revision=None) as entry:
        entry.log_settings(settings)
    logging.getLogger().removeHandler(log)
    log.close()
    assert "refused for Bearer ***" in told[0]
    assert "refused for Bearer ***" in told[1]
    assert "4 deals stand as planned" in told[2]
    everything = "\n".join([*told, caplog.text, *capsys.readouterr()])
    assert "***" in everything
    assert PLANTED not in everything
    written = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"outbox.db", "pace", "debug.log", "config.yaml", "mlflow.db"} <= set(written)
    assert [name for name, content in written.items() if PLANTED.encode() in content] == []


def open_planted(settings: Any) -> SampleTarget:
    """The sample CRM as a connector opens it: its token by reference."""
    token = read_secret(settings.write_back.connection["token"])
    place = Path(os.environ["SAMPLE_PLACE"])
    url = (place / "url").read_text()
    return SampleTarget(url, token=token.reveal(), clock=FAST, pace_book=place / "pace")
