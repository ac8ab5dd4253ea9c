"""Scores reach a SQL database whole or not at all, with a journal, and once."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from salesops_ml.crm.sql_target import JOURNAL, Applied, SqlTarget
from salesops_ml.errors import WriteBackError
from salesops_ml.scoring.fields import FIELDS, Score
from salesops_ml.scoring.plan import Change, WriteBackPlan, plan_write_back
from tests.crm.postgres import PASSWORD, private_cluster

AT = datetime(2026, 3, 1, 12)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with private_cluster() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlTarget]:
    """A target on each kind of database."""
    url = f"sqlite:///{tmp_path}/a place/crm.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres")
    made = SqlTarget(url)
    yield made
    made.scores.metadata.drop_all(made.database.engine)
    made.dispose()


def _scores(**p_win: float) -> pd.DataFrame:
    rows = [
        {
            "deal_id": deal_id,
            "p_win": chance,
            "close_p50_date": pd.Timestamp("2026-04-01"),
            "band": "low",
            "reasons": "For: met; twice. Against: «no quote».",
            "scored_at": pd.Timestamp("2026-03-01 08:30:00.123456"),
            "model_version": "deal_scores/1",
        }
        for deal_id, chance in p_win.items()
    ]
    return pd.DataFrame(rows)


def _write(target: SqlTarget, run_id: str, **p_win: float) -> Applied:
    plan = plan_write_back(target.current(), _scores(**p_win), min_change=0.01)
    return target.apply(plan, run_id=run_id, at=AT)


def _journal(target: SqlTarget) -> list[sa.RowMapping]:
    with target.database.engine.connect() as connection:
        return list(
            connection.execute(sa.select(target.journal).order_by("entry")).mappings().all()
        )


def test_write_read_back_and_write_nothing_more(target: SqlTarget) -> None:
    assert target.current().empty
    assert _write(target, "run-1", d1=0.1234567, d2=0.5) == Applied(2, 0)
    first = target.current().iloc[0]
    assert first[FIELDS[0]] == 0.123457
    assert pd.Timestamp(first["salesops_close_p50"]).date() == date(2026, 4, 1)
    assert first["salesops_reasons"] == "For: met; twice. Against: «no quote»."
    assert first["salesops_scored_at"] == datetime(2026, 3, 1, 8, 30)
    assert _write(target, "run-2", d1=0.1234567, d2=0.5) == Applied(0, 0)
    assert [entry["run_id"] for entry in _journal(target)] == ["run-1", "run-1"]


def test_the_journal_tells_old_new_and_why(target: SqlTarget) -> None:
    _write(target, "run-1", d1=0.1, d2=0.5)
    _write(target, "run-2", d1=0.3, d2=0.5)
    last = _journal(target)[-1]
    assert (last["run_id"], last["deal_id"], last["action"]) == ("run-2", "d1", "update")
    assert '"win_probability": 0.1' in last["old_value"]
    assert '"win_probability": 0.3' in last["new_value"]
    assert last["why"] == "win probability 10.0% -> 30.0%"
    assert last["at"] == AT
    assert len(_journal(target)) == 3


def test_the_same_plan_twice_writes_once(target: SqlTarget) -> None:
    plan = plan_write_back(target.current(), _scores(d1=0.1, d2=0.2), min_change=0.01)
    assert target.apply(plan, run_id="run-1", at=AT) == Applied(2, 0)
    assert target.apply(plan, run_id="run-1", at=AT) == Applied(0, 2)
    assert len(_journal(target)) == 2


def test_withdrawing_empties_our_fields_and_no_others(target: SqlTarget) -> None:
    _write(target, "run-1", d1=0.1, d2=0.2)
    name = target.scores.fullname
    with target.database.engine.begin() as connection:
        connection.execute(sa.text(f"ALTER TABLE {name} ADD COLUMN remark VARCHAR(20)"))
        connection.execute(sa.text(f"UPDATE {name} SET remark = 'call back'"))
    plan = plan_write_back(target.current(), _scores(d2=0.9), min_change=0.01, closed={"d1"})
    assert target.apply(plan, run_id="run-2", at=AT).written == 2
    with target.database.engine.connect() as connection:
        rows = connection.execute(
            sa.text(f"SELECT deal_id, {FIELDS[0]}, remark FROM {name} ORDER BY deal_id")
        ).all()
    assert [tuple(row) for row in rows] == [("d1", None, "call back"), ("d2", 0.9, "call back")]
    again = plan_write_back(target.current(), _scores(d2=0.9), min_change=0.01, closed={"d1"})
    assert again.to_write == ()


def test_a_value_changed_meanwhile_stops_the_whole_plan(target: SqlTarget) -> None:
    _write(target, "run-1", d1=0.1, d2=0.2)
    plan = plan_write_back(target.current(), _scores(d1=0.5, d2=0.6), min_change=0.01)
    _write(target, "other", d2=0.9)
    with pytest.raises(WriteBackError, match=r"`d2` was changed by another"):
        target.apply(plan, run_id="run-2", at=AT)
    assert target.current()[FIELDS[0]].tolist() == [0.1, 0.9]
    assert "run-2" not in {entry["run_id"] for entry in _journal(target)}


def test_a_refused_journal_takes_the_scores_back(target: SqlTarget) -> None:
    _write(target, "run-1", d1=0.1)
    bad = Change("d2", "insert", None, Score(win_probability=0.4), why=None)  # type: ignore[arg-type]
    good = Change("d3", "insert", None, Score(win_probability=0.4), why="first score")
    with pytest.raises(WriteBackError, match="nothing was written"):
        target.apply(WriteBackPlan((good, bad)), run_id="run-2", at=AT)
    assert target.current()["deal_id"].tolist() == ["d1"]


def test_many_deals_at_once(target: SqlTarget) -> None:
    wanted = {f"d{at:05}": at / 5_000 for at in range(5_000)}
    assert _write(target, "run-1", **wanted).written == 5_000
    assert len(target.current()) == 5_000


KILLED = """
    import os, signal, sys
    from datetime import datetime
    import pandas as pd, sqlalchemy as sa
    from salesops_ml.crm.sql_target import SqlTarget
    from salesops_ml.scoring.fields import Score
    from salesops_ml.scoring.plan import Change, WriteBackPlan

    url, fatal = sys.argv[1], sys.argv[2]
    target = SqlTarget(url)

    @sa.event.listens_for(target.database.engine, "after_cursor_execute")
    def die(connection, cursor, statement, *rest):
        if statement.startswith(fatal):
            os.kill(os.getpid(), signal.SIGKILL)

    changes = tuple(
        Change(f"d{at:05}", "insert", None, Score(win_probability=0.5), "first score")
        for at in range(20_000)
    )
    target.apply(WriteBackPlan(changes), run_id="killed", at=datetime(2026, 3, 1))
"""


@pytest.mark.parametrize(
    "fatal", ["INSERT INTO salesops_scores", f"INSERT INTO {JOURNAL}"], ids=["scores", "journal"]
)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_kill_in_the_middle_leaves_nothing_half_written(
    kind: str, fatal: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/crm.db"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres")
    target = SqlTarget(url)
    target.prepare()
    _write(target, "run-1", before=0.1)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), url, fatal], capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert target.current()["deal_id"].tolist() == ["before"]
    assert {entry["run_id"] for entry in _journal(target)} == {"run-1"}
    assert _write(target, "run-2", before=0.1, after=0.2).written == 1
    target.scores.metadata.drop_all(target.database.engine)
    target.dispose()


def test_a_dry_run_makes_no_file(tmp_path: Path) -> None:
    target = SqlTarget(f"sqlite:///{tmp_path}/none/crm.db")
    assert target.current().empty
    assert target.apply(WriteBackPlan(()), run_id="r", at=AT) == Applied(0, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_table_in_a_schema_of_its_own(postgres: str) -> None:
    target = SqlTarget(postgres, "sales.scores")
    with target.database.engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema("sales"))
    assert _write(target, "run-1", d1=0.3).written == 1
    assert target.current()["deal_id"].tolist() == ["d1"]
    target.dispose()


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("hunter2", "no database URL"),
        ("oracle9://ada:hunter2@db/crm", "no database is called `oracle9`"),
        ("mysql://ada:hunter2@db/crm", "driver is not installed"),
        ("postgresql+psycopg://ada@db/crm?password=hunter2", "`password=`"),
    ],
)
def test_a_bad_url_is_named_without_its_password(url: str, what: str) -> None:
    with pytest.raises(WriteBackError, match=what) as caught:
        SqlTarget(url)
    assert "hunter2" not in _whole_story(caught.value)


def test_a_server_that_is_away_is_named_without_its_password() -> None:
    target = SqlTarget("postgresql+psycopg://ada:hunter2@127.0.0.1:1/crm?connect_timeout=2")
    with pytest.raises(WriteBackError, match=r"ada:\*\*\*@127\.0\.0\.1:1/crm") as caught:
        target.current()
    assert "hunter2" not in _whole_story(caught.value)


def _whole_story(error: BaseException) -> str:
    """Every message that a traceback of this error would show."""
    told = str(error)
    if error.__cause__ is not None:
        told += _whole_story(error.__cause__)
    if error.__context__ is not None and not error.__suppress_context__:
        told += _whole_story(error.__context__)
    return told


def test_a_password_with_odd_letters_works(postgres: str) -> None:
    target = SqlTarget(postgres)
    assert PASSWORD not in target.place
    assert target.database.url.password == PASSWORD
    assert target.current().empty
    target.dispose()


@pytest.mark.parametrize("place", ["/proc/none/crm.db", "/dev/null/crm.db"])
def test_a_place_that_cannot_be_written_is_named(place: str) -> None:
    with pytest.raises(WriteBackError, match=place):
        SqlTarget(f"sqlite:///{place}").prepare()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "crm.db").write_text("deal,score\n" * 500)
    with pytest.raises(WriteBackError, match="not a database"):
        SqlTarget(f"sqlite:///{tmp_path}/crm.db").current()


def test_a_locked_database_is_named(tmp_path: Path) -> None:
    target = SqlTarget(f"sqlite:///{tmp_path}/crm.db?timeout=0")
    target.prepare()
    with sqlite3.connect(tmp_path / "crm.db") as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(WriteBackError, match="locked"):
            _write(target, "run-1", d1=0.4)


def test_a_read_only_file_is_named(tmp_path: Path) -> None:
    SqlTarget(f"sqlite:///{tmp_path}/crm.db").prepare()
    target = SqlTarget(f"sqlite:///file:{tmp_path}/crm.db?mode=ro&uri=true")
    with pytest.raises(WriteBackError, match="readonly"):
        _write(target, "run-1", d1=0.4)


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ("salesops_scores (deal_id TEXT PRIMARY KEY, score REAL)", "no column `salesops_win"),
        (
            f"salesops_scores (deal_id TEXT, {', '.join(f'{name} TEXT' for name in FIELDS)})",
            "no key",
        ),
        (f"{JOURNAL} (line TEXT)", "no column `entry`"),
    ],
)
def test_a_table_of_another_shape_is_left_alone(tmp_path: Path, table: str, what: str) -> None:
    with sqlite3.connect(tmp_path / "crm.db") as connection:
        connection.execute(f"CREATE TABLE {table}")
    with pytest.raises(WriteBackError, match=what):
        _write(SqlTarget(f"sqlite:///{tmp_path}/crm.db"), "run-1", d1=0.4)
    with sqlite3.connect(tmp_path / "crm.db") as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    assert names == [(table.split()[0],)]
