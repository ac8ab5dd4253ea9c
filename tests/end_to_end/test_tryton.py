"""The whole loop on a real Tryton server: read with history, learn, score, write back, read there."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
import yaml

from salesops_ml.crm import ingest
from salesops_ml.crm.delivery import SPOILED
from salesops_ml.crm.limits import Backoff
from salesops_ml.crm.target import GONE, Done
from salesops_ml.crm.targets import check_fields
from salesops_ml.crm.tryton_rpc import Tryton
from salesops_ml.crm.tryton_source import feeds
from salesops_ml.crm.tryton_target import TrytonTarget
from salesops_ml.crm_settings import TrytonSource
from salesops_ml.errors import Refused, SourceError, WriteBackError
from salesops_ml.scoring.fields import Score
from salesops_ml.scoring.plan import Change
from salesops_ml.settings import load
from tests.end_to_end.conftest import Workspace
from tests.end_to_end.tryton_world import ADMIN, DATABASE, TrytonWorld, needs_tryton, story_of

pytestmark = pytest.mark.slow
PASSWORD = "s3cret-of-scorer"
DEALS = 430
BARE = "bare"
ENDS = {"won": "won", "lost": "lost", "cancelled": "lost"}
SMALL = {
    "company": {"name": "Dunder", "base_currency": "EUR", "time_zone": "UTC"},
    "models": {"trees": 20, "max_period_rows": 8_000, "max_classifier_rows": 4_000},
    "snapshots": {"every": "14d"},
    "forecast": {"backtest_origins": 1, "samples": 100},
    "mining": {"bootstrap": 20, "discovery_cases": 100},
    "gates": [{"metric": "win.log_loss", "at_most": 0.8}],
    "threads": 1,
}


class Desk:
    """A workspace whose source is the server, and the story that the server was filled with."""

    def __init__(self, world: TrytonWorld, workspace: Workspace) -> None:
        self.world, self.workspace = world, workspace
        self.story = story_of(DEALS)["deals"]

    def config(
        self, name: str, warehouse: str = "w", connection: dict[str, Any] | None = None, **more: Any
    ) -> str:
        """A configuration; `more` are keys of the source."""
        source = {"type": "tryton", "url": self.world.url, "database": DATABASE,
                  "user": "scorer", "password": "env:TRYTON_PASSWORD", **more}  # fmt: skip
        write_back: dict[str, Any] = {"target": "tryton"}
        if connection is not None:
            write_back["connection"] = {k: v for k, v in source.items() if k != "type"} | connection
        told = {**SMALL, "source": source, "warehouse": f"duckdb:///{self.workspace.path}/store/{warehouse}.duckdb",
                "write_back": write_back}  # fmt: skip
        place = self.workspace.path / "configs" / f"{name}.yaml"
        place.write_text(yaml.safe_dump(told))
        return f"configs/{name}.yaml"

    def ingest(self, config: str) -> None:
        """Load what a configuration names, now."""
        settings = load(self.workspace.path / config)
        ingest(settings, ingested_at=datetime.now(UTC).replace(tzinfo=None))

    def source(self, **more: Any) -> TrytonSource:
        """How the server is reached, for calls without the command line."""
        told = {"type": "tryton", "url": self.world.url, "database": DATABASE, "user": "scorer",
                "password": "env:TRYTON_PASSWORD", **more}  # fmt: skip
        return TrytonSource.model_validate(told)

    def rows(self, table: str, warehouse: str = "w") -> list[tuple[Any, ...]]:
        """A warehouse's table, its columns by name, its rows in order."""
        place = str(self.workspace.path / "store" / f"{warehouse}.duckdb")
        with duckdb.connect(place, read_only=True) as raw:
            found = raw.execute(f"SELECT * FROM {table}").df()
        found = found[sorted(found.columns)].astype(str)
        return sorted(found.itertuples(index=False, name=None))

    def frame(self, table: str, warehouse: str = "w") -> pd.DataFrame:
        place = str(self.workspace.path / "store" / f"{warehouse}.duckdb")
        with duckdb.connect(place, read_only=True) as raw:
            return raw.execute(f"SELECT * FROM {table}").df()

    def seller(self, user: str = "seller") -> AbstractContextManager[Any]:
        """A session of Tryton's own client."""
        from proteus import config

        return config.set_xmlrpc_session(f"{self.world.url}/{DATABASE}/rpc/", user, PASSWORD)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    needs_tryton()
    world = TrytonWorld(tmp_path_factory.mktemp("tryton"))
    world.make("sale_opportunity", "salesops_scores")
    world.copy_without(BARE, "salesops_scores")
    world.fill(story_of(DEALS))
    world.start(DATABASE, BARE)
    workspace = Workspace(tmp_path_factory.mktemp("desk"))
    patch = pytest.MonkeyPatch()
    patch.setenv("TRYTON_PASSWORD", PASSWORD)
    patch.setenv("TRYTON_ADMIN", ADMIN)
    try:
        workspace.salesops("init", ".")
        there = Desk(world, workspace)
        workspace.salesops("run", "--config", there.config("crm"))
        yield there
    finally:
        patch.undo()
        world.stop()


def test_the_history_is_the_story(desk: Desk) -> None:
    """Deals, moves and amounts, against what the server was filled with."""
    moves, amounts, closes = set(), set(), set()
    for number, deal in enumerate(desk.story, 1):
        state = amount = close = None
        for save in deal["saves"]:
            at = pd.Timestamp(save["at"])
            if save["state"] != state:
                moves.add((str(number), at, save["state"]))
            if amount is None or Decimal(save["amount"]) != amount:
                amounts.add((str(number), at, Decimal(save["amount"])))
            if save["end_date"] != close:
                closes.add((str(number), at, save["end_date"]))
            state, amount, close = save["state"], Decimal(save["amount"]), save["end_date"]
    events, changes = desk.frame("stage_events"), desk.frame("deal_changes")
    assert (
        set(events[["deal_id", "entered_at", "stage"]].itertuples(index=False, name=None)) == moves
    )
    columns = ["deal_id", "changed_at", "new_value"]
    found = changes[changes["field"] == "amount"][columns].itertuples(index=False, name=None)
    assert {(deal, at, Decimal(value)) for deal, at, value in found} == amounts
    found = changes[changes["field"] == "expected_close_date"][columns]
    assert set(found.itertuples(index=False, name=None)) == closes
    deals = desk.frame("deals").set_index("deal_id")
    told = {str(n): ENDS.get(deal["saves"][-1]["state"], "open")
            for n, deal in enumerate(desk.story, 1)}  # fmt: skip
    assert deals["status"].to_dict() == told
    assert sum(status != "open" for status in told.values()) >= 400
    abroad = deals[deals["pipeline"] == "Sabre"]
    assert len(abroad) == DEALS // 10
    assert set(abroad["currency"]) == {"USD"}
    before = abroad[
        (abroad["status"] == "won") & (abroad["closed_at"] < pd.Timestamp("2026-01-01"))
    ]
    assert (before["amount_base"] * 1.25 - before["amount"]).abs().max() < 0.01


def test_scores_stand_in_tryton(desk: Desk) -> None:
    from proteus import Model

    scores = pd.read_parquet(desk.workspace.latest / "scores.parquet").set_index("deal_id")
    assert len(scores)
    with desk.seller():
        found = Model.get("sale.opportunity").find([("salesops_win_probability", "!=", None)])
        assert {str(one.id) for one in found} == set(scores.index)
        for one in found:
            score = scores.loc[str(one.id)]
            assert one.salesops_win_probability == pytest.approx(score["p_win"], abs=1e-6)
            assert one.salesops_score_band == score["band"]
            assert one.salesops_model_version.startswith("deal_scores")
            assert one.conversion_probability == 0.5


def test_a_run_is_taken_back_and_tryton_s_own_probability_written_where_it_is_named(
    desk: Desk,
) -> None:
    from proteus import Model

    scored = desk.frame("deals").query("status == 'open'")["deal_id"].tolist()
    told = desk.workspace.salesops("write-back", "status", "--config", "configs/crm.yaml").stdout
    run = next(line.split()[2] for line in told.splitlines() if "confirmed" in line)
    desk.workspace.salesops("write-back", "rollback", run, "--config", "configs/crm.yaml")
    with desk.seller():
        assert not Model.get("sale.opportunity").find([("salesops_win_probability", "!=", None)])
    score = Score(0.123456, date(2026, 12, 1), "low", " because ", datetime(2026, 7, 1, 8), " m/1 ")
    changes = [Change(deal, "insert", None, score, "first score") for deal in scored[:2]]
    for named, chance in ((None, 0.5), ("conversion_probability", 0.1235)):
        target = TrytonTarget(desk.source(probability_field=named))
        assert target.missing_fields() == []
        assert target.send(changes) == [Done(), Done()]
        standing = target.read([*scored[:2], "999999", "no-number"])
        assert standing == {**dict.fromkeys(scored[:2], target.as_stored(score)),
                            "999999": GONE, "no-number": GONE}  # fmt: skip
        with desk.seller():
            found = Model.get("sale.opportunity").find([("id", "in", [int(d) for d in scored[:2]])])
            assert {one.conversion_probability for one in found} == {chance}


def test_one_deal_that_is_gone_spoils_its_chunk_and_nothing_of_it_is_written(desk: Desk) -> None:
    target = TrytonTarget(desk.source())
    open_deal = desk.frame("deals").query("status == 'open'")["deal_id"].iloc[-1]
    before = target.read([open_deal])
    score = Score(win_probability=0.7)
    changes = [Change(deal, "insert", None, score, "") for deal in (open_deal, "999999")]
    with pytest.raises(Refused, match="Tryton says") as refused:
        target.send(changes)
    assert refused.value.status in SPOILED
    assert target.read([open_deal]) == before


def test_a_session_that_ran_out_is_opened_again(desk: Desk) -> None:
    target = TrytonTarget(desk.source())
    before = target.read(["1"])
    with closing(sqlite3.connect(desk.world.folder / "db" / f"{DATABASE}.sqlite")) as raw, raw:
        assert raw.execute("DELETE FROM ir_session").rowcount
    assert target.read(["1"]) == before


def test_who_may_not_write_is_told_before_the_first_write(desk: Desk) -> None:
    with pytest.raises(WriteBackError, match="give user `reader` the right") as refused:
        check_fields(TrytonTarget(desk.source(user="reader")))
    assert refused.value.exit_code == 1
    assert "nothing was written" in str(refused.value)


def test_change_by_change_ends_where_a_full_load_ends(desk: Desk) -> None:
    """People edit by Tryton's own client; what was written by us, and by our user, is no history."""
    before = {name: desk.rows(name) for name in ("stage_events", "deal_changes")}
    crm, fresh = "configs/crm.yaml", desk.config("fresh", warehouse="fresh")
    desk.ingest(crm)
    assert {name: desk.rows(name) for name in before} == before
    edited = _edit(desk)
    desk.ingest(crm)
    desk.ingest(fresh)
    for name in ("deals", "stages", "stage_events", "deal_changes", "accounts", "reps",
                 "exchange_rates", "deal_daily"):  # fmt: skip
        assert desk.rows(name) == desk.rows(name, "fresh"), name
    deals = desk.frame("deals").set_index("deal_id")
    assert edited["gone"] not in deals.index
    assert deals.loc[edited["lost"], "status"] == "lost"
    assert deals.loc[edited["reopened"], "status"] == "open"
    assert deals.loc[edited["new"], "amount"] == 77.5
    changes = desk.frame("deal_changes")
    of_software = changes[
        (changes["deal_id"] == edited["software"]) & (changes["field"] == "amount")
    ]
    assert "123456.00" not in set(of_software["new_value"])
    assert not changes["field"].str.startswith("salesops").any()


def _edit(desk: Desk) -> dict[str, str]:
    """A new deal, a lost one, one opened again, one deleted, and an amount that our user wrote."""
    from proteus import Model

    with desk.seller():
        Opportunity = Model.get("sale.opportunity")
        first, second, third = Opportunity.find([("state", "=", "opportunity")], limit=3)
        first.click("lost")
        closed = Opportunity.find([("state", "=", "lost"), ("id", "!=", first.id)], limit=1)[0]
        closed.click("lead")
        second.click("cancel")
        second.delete()
        new = Opportunity(party=first.party, amount=Decimal("77.50"), employee=first.employee)
        new.end_date = date(2027, 1, 31)
        new.save()
        found = {"lost": first, "reopened": closed, "gone": second, "software": third, "new": new}
        ids = {name: str(one.id) for name, one in found.items()}
    with desk.seller("scorer"):
        one = Model.get("sale.opportunity")(int(ids["software"]))
        one.amount = Decimal("123456.00")
        one.save()
    return ids


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"password": "env:TRYTON_ADMIN"}, "does not know user `scorer` with this password"),
        ({"database": "elsewhere"}, "no database `elsewhere`; check `database`"),
        ({"custom_fields": {"colour": {}}}, "have no field `colour`; correct"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said_in_a_sentence(
    desk: Desk, more: dict[str, Any], told: str
) -> None:
    first = feeds(desk.source(**more))[0]
    with pytest.raises(SourceError, match=told) as refused:
        list(first.read(None))
    assert refused.value.exit_code == 1


def test_a_server_that_is_not_there_is_named(desk: Desk) -> None:
    nowhere = Tryton(desk.source(url="http://127.0.0.1:9"), backoff=Backoff(attempts=1))
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:9: cannot be reached"):
        nowhere.read("model.sale.opportunity.search", [])


@pytest.mark.parametrize(
    ("words", "more", "told"),
    [
        (["ingest"], {"user": "nobody"}, "does not know user `nobody` with this password"),
        (["score", "--write-back"], {}, "-d bare -u salesops_scores --activate-dependencies"),
    ],
)
def test_the_command_line_says_it_too_and_leaves_everything_as_it_is(
    desk: Desk, words: list[str], more: dict[str, Any], told: str
) -> None:
    before = _files(desk.workspace.path / "store")
    bare = {"database": BARE, "user": "admin", "password": "env:TRYTON_ADMIN"}
    config = desk.config("wrong", connection=bare, **more)
    done = desk.workspace.salesops(*words, "--config", config, code=1)
    assert told in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    assert _files(desk.workspace.path / "store") == before


def _files(folder: Path) -> dict[str, bytes]:
    """The warehouses, byte for byte."""
    return {path.name: path.read_bytes() for path in folder.glob("*.duckdb")}


def test_the_password_is_nowhere(desk: Desk) -> None:
    for path in desk.workspace.path.rglob("*"):
        if path.is_file():
            assert PASSWORD.encode() not in path.read_bytes(), path
