"""A real Tryton server: what belongs to opportunities, two ways to their history, and taking back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from salesops_ml.crm import ingest
from salesops_ml.crm.delivery import Delivery
from salesops_ml.crm.limits import Clock
from salesops_ml.crm.outbox import Outbox
from salesops_ml.crm.rollback import RESTORED, roll_back
from salesops_ml.crm.tryton_history import LINE, history_rows, told_rows
from salesops_ml.crm.tryton_pages import stamped
from salesops_ml.crm.tryton_rpc import OPPORTUNITY, Tryton
from salesops_ml.crm.tryton_source import HISTORY_FIELDS, feeds
from salesops_ml.crm.tryton_target import TrytonTarget
from salesops_ml.crm.twin_faults import FaultPlan
from salesops_ml.crm.twin_server import TwinServer
from salesops_ml.crm_settings import TrytonSource
from salesops_ml.errors import SourceError
from salesops_ml.scoring.fields import Score
from salesops_ml.scoring.plan import Change
from salesops_ml.settings import parse
from tests.crm.killed_delivery import AT, Plug, problems, run_killed, scores
from tests.crm.tryton_plug import TrytonProxy, open_target
from tests.end_to_end.tryton_world import ADMIN, DATABASE, TrytonWorld, needs_tryton, story_of

pytestmark = pytest.mark.slow
DEALS = 120
BARE = "bare"
PASSWORD = "s3cret-of-scorer"
TABLES = ("deals", "stages", "stage_events", "deal_changes", "activities", "quotes", "accounts",
          "reps", "exchange_rates", "deal_daily", "rejects")  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrytonWorld]:
    needs_tryton()
    made = TrytonWorld(tmp_path_factory.mktemp("tryton"))
    made.make("sale_opportunity", "salesops_scores")
    made.fill(story_of(DEALS))
    made.copy_without(BARE, "salesops_scores")
    made.start(DATABASE, BARE)
    patch = pytest.MonkeyPatch()
    patch.setenv("TRYTON_PASSWORD", PASSWORD)
    try:
        with session(made, "admin", ADMIN):
            _products("Paper", "Printer")
        yield made
    finally:
        patch.undo()
        made.stop()


def session(
    world: TrytonWorld, user: str = "seller", password: str = PASSWORD
) -> AbstractContextManager[Any]:
    from proteus import config

    return config.set_xmlrpc_session(f"{world.url}/{DATABASE}/rpc/", user, password)


def _products(*names: str) -> None:
    from proteus import Model

    Unit, Template = Model.get("product.uom"), Model.get("product.template")
    (unit,) = Unit.find([("name", "=", "Unit")], limit=1)
    for name in names:
        made = Template(name=name, default_uom=unit, type="service", salable=True)
        made.list_price = Decimal("10")
        made.save()


def source(world: TrytonWorld, **more: Any) -> dict[str, Any]:
    return {"type": "tryton", "url": world.url, "database": DATABASE, "user": "scorer",
            "password": "env:TRYTON_PASSWORD", **more}  # fmt: skip


def load(world: TrytonWorld, place: Path, **more: Any) -> dict[str, list[dict[str, Any]]]:
    """A warehouse's tables after a load, rows in order."""
    told = {"source": source(world, **more), "warehouse": f"duckdb:///{place}/w.duckdb"}
    ingest(parse(told), ingested_at=datetime.now(UTC).replace(tzinfo=None))
    found = {}
    with duckdb.connect(str(place / "w.duckdb"), read_only=True) as raw:
        here = {name for (name,) in raw.execute("SHOW TABLES").fetchall()}
        for name in here & set(TABLES):
            rows = raw.execute(f"SELECT * FROM {name}").to_arrow_table().to_pylist()
            found[name] = sorted(rows, key=str)
    return found


class Edits:
    """What people do with opportunities, by Tryton's own client."""

    def __init__(self) -> None:
        from proteus import Model, config

        config.get_config()._context["company"] = 1
        self.get = Model.get
        found = self.get("sale.opportunity").find(
            [("company", "=", 1), ("state", "in", ["lead", "opportunity"])], order=[("id", "ASC")]
        )
        self.first, self.second, self.third = found[:3]
        self.paper, self.printer = self.get("product.product").find(order=[("id", "ASC")])

    def lines(self) -> None:
        """Paper; then a printer before it; then paper alone again."""
        deal = self.first
        paper = deal.lines.new(product=self.paper, quantity=3.0)
        deal.save()
        deal.reload()
        paper = deal.lines[0]
        paper.sequence = 5
        deal.lines.new(product=self.printer, quantity=1.0)
        deal.save()
        deal.reload()
        deal.lines.remove(next(one for one in deal.lines if one.product == self.printer))
        deal.save()

    def passing(self) -> None:
        """A line that comes and goes between two loads."""
        deal = self.second
        deal.lines.new(product=self.printer, quantity=1.0)
        deal.save()
        deal.reload()
        self.get("sale.opportunity.line").delete(list(deal.lines))

    def sale(self) -> Any:
        """An opportunity converted into a sale, which is offered to the customer."""
        deal = self.third
        if deal.state == "lead":
            deal.click("opportunity")
        address = self.get("party.address")(party=deal.party, city="Scranton")
        address.save()
        deal.click("convert")
        (sale,) = deal.sales
        line = sale.lines.new(description="work", quantity=2.0)
        line.unit_price = Decimal("150.50")
        sale.invoice_address = sale.shipment_address = address
        sale.save()
        sale.click("quote")
        return sale

    def hang(self) -> Any:
        """Two notes and an attachment."""
        for text in ("called", "called again"):
            note = self.get("ir.note")(resource=self.first, message=text)
            note.save()
        paper = self.get("ir.attachment")(resource=self.first, name="offer", data=b"offer")
        paper.save()
        return note


def test_products_quotes_and_notes_load_by_load_and_at_once(
    world: TrytonWorld, tmp_path: Path
) -> None:
    bit, fresh = tmp_path / "bit", tmp_path / "fresh"
    before = load(world, bit)
    assert "quotes" not in before
    with session(world):
        edits = Edits()
        edits.lines()
        edits.passing()
        sale, note = edits.sale(), edits.hang()
        first, second, third = (str(one.id) for one in (edits.first, edits.second, edits.third))
    between = load(world, bit)
    (sent,) = between["quotes"]
    assert (sent["deal_id"], sent["amount"], sent["status"]) == (third, Decimal("301.00"), "sent")
    assert sent["recorded_at"] > sent["sent_at"]
    assert sorted(row["kind"] for row in between["activities"]) == ["attachment", "note", "note"]
    with session(world, "scorer"):
        Edits().hang()
    with session(world):
        again = Edits()
        again.get("sale.sale")(sale.id).click("confirm")
        again.get("ir.note")(note.id).delete()
    loaded, once = load(world, bit), load(world, fresh)
    for name in TABLES:
        assert loaded.get(name) == once.get(name), name
    deals = {row["deal_id"]: row for row in loaded["deals"]}
    assert (deals[first]["product"], deals[second]["product"]) == ("Paper", None)
    assert deals[third]["status"] == "won"
    products = sorted(
        (row for row in loaded["deal_changes"] if row["field"] == "product"),
        key=lambda row: (row["deal_id"] != first, row["changed_at"]),
    )
    assert [(row["deal_id"], row["old_value"], row["new_value"]) for row in products] == [
        (first, None, "Paper"), (first, "Paper", "Printer"), (first, "Printer", "Paper"),
        (second, None, "Printer"), (second, "Printer", None),
    ]  # fmt: skip
    assert {(row["status"], row["amount"]) for row in loaded["quotes"]} == {
        ("sent", Decimal("301.00")), ("accepted", Decimal("301.00")),
    }  # fmt: skip
    assert [(row["deal_id"], row["kind"]) for row in loaded["activities"]] == [
        (first, "attachment"), (first, "note"),
    ]  # fmt: skip


def test_a_line_moved_to_another_opportunity_ends_at_the_first(
    world: TrytonWorld, tmp_path: Path
) -> None:
    bit, fresh = tmp_path / "bit", tmp_path / "fresh"
    with session(world):
        edits = Edits()
        edits.second.lines.new(product=edits.printer, quantity=1.0)
        edits.second.save()
    second, third = str(edits.second.id), str(edits.third.id)
    load(world, bit)
    with session(world):
        (line,) = edits.get("sale.opportunity.line").find([("opportunity", "=", int(second))])
        line.opportunity = edits.third
        line.save()
    loaded, once = load(world, bit), load(world, fresh)
    for name in TABLES:
        assert loaded.get(name) == once.get(name), name
    products = {row["deal_id"]: row["product"] for row in loaded["deals"]}
    assert (products[second], products[third]) == (None, "Printer")


def test_told_by_our_module_or_found_out_moment_by_moment_the_history_is_one(
    world: TrytonWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    tryton = Tryton(TrytonSource.model_validate(source(world)))
    ids = tryton.read(f"model.{OPPORTUNITY}.search", [])
    told = _by_save(told_rows(tryton, OPPORTUNITY, HISTORY_FIELDS))
    assert told == _by_save(history_rows(tryton, ids, HISTORY_FIELDS, since=None))
    assert len(told) > 2 * len(ids)
    since = sorted(at for _, at in told)[len(told) // 2]
    late = _by_save(
        told_rows(tryton, OPPORTUNITY, HISTORY_FIELDS, since=datetime.fromisoformat(since))
    )
    assert late == {key: row for key, row in told.items() if key[1] >= since}


def test_without_our_module_the_history_is_read_and_what_it_tells_is_left_out(
    world: TrytonWorld, caplog: pytest.LogCaptureFixture
) -> None:
    found = {
        feed.name: feed for feed in feeds(TrytonSource.model_validate(source(world, database=BARE)))
    }
    bare = {(row["id"], row["modified"]): row
            for page in found["opportunity_history"].read(None) for row in page}  # fmt: skip
    assert "from moment to moment" in caplog.text
    assert len(bare) == sum(len(deal["saves"]) for deal in story_of(DEALS)["deals"])
    tryton = Tryton(TrytonSource.model_validate(source(world)))
    assert bare.items() <= _by_save(told_rows(tryton, OPPORTUNITY, HISTORY_FIELDS)).items()
    for name in ("lines", "notes", "notes_ids"):
        assert list(found[name].read(None)) == []
        assert f"`{name}` are left out" in caplog.text
    with pytest.raises(SourceError, match=r"could be read before.*does not run `salesops_scores`"):
        list(found["lines"].read("2026-01-01T00:00:00.000000"))


def _by_save(pages: Iterator[list[dict[str, Any]]]) -> dict[tuple[int, str], dict[str, Any]]:
    rows = [stamped(row) for page in pages for row in page]
    return {(row["id"], row["modified"]): row for row in rows}


def test_nobody_is_told_more_than_tryton_shows(world: TrytonWorld) -> None:
    everybody = Tryton(TrytonSource.model_validate(source(world)))
    abroad = Tryton(TrytonSource.model_validate(source(world, user="abroad")))
    shown = set(abroad.read(f"model.{OPPORTUNITY}.search", []))
    told = {row["id"] for page in told_rows(abroad, OPPORTUNITY, ["state"]) for row in page}
    assert told == shown
    assert shown < {row["id"] for p in told_rows(everybody, OPPORTUNITY, []) for row in p}
    lines = {row["opportunity"] for p in told_rows(abroad, LINE, ["opportunity"]) for row in p}
    assert lines <= shown


def test_who_may_not_see_sales_reads_the_rest(
    world: TrytonWorld, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = load(world, tmp_path, user="opener")
    assert len(found["deals"]) == DEALS
    assert "quotes" not in found
    assert "`sales` are left out" in caplog.text
    assert 'not allowed to access "Sale"' in caplog.text


def test_tryton_s_own_probability_goes_back_unless_a_person_changed_it(
    world: TrytonWorld, tmp_path: Path
) -> None:
    from proteus import Model

    with session(world):
        Opportunity = Model.get("sale.opportunity")
        deals = Opportunity.find([("company", "=", 1), ("state", "=", "lost")], limit=6)
        for deal, chance in zip(deals, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6), strict=True):
            deal.click("lead")
            deal.conversion_probability = chance
            deal.save()
    ids = [str(deal.id) for deal in deals]
    named = TrytonSource.model_validate(
        source(world, probability_field="conversion_probability")
    )  # fmt: skip
    target, outbox = TrytonTarget(named), Outbox(f"sqlite:///{tmp_path}/outbox.db")
    at = datetime(2026, 7, 1, 8)
    scores = [Score(share / 10 + 0.012345, date(2026, 12, 1), "low", "because", at, f"m/{share}")
              for share in (6, 7)]  # fmt: skip
    plans = {
        "one": [Change(deal, "insert", None, scores[0], "first score") for deal in ids],
        "two": [Change(deal, "update", scores[0], scores[1], "moved") for deal in ids[:2]],
    }
    for run, changes in plans.items():
        outbox.plan(run, target.place, changes, at=at)
        Delivery(outbox, target).run(run)
    assert _chances(world, ids) == [0.7123, 0.7123, 0.6123, 0.6123, 0.6123, 0.6123]
    with session(world):
        person = Model.get("sale.opportunity")(int(ids[3]))
        person.conversion_probability = 0.9
        person.save()
        other = Model.get("sale.opportunity")(int(ids[4]))
        other.comment = "a person wrote something else"
        other.save()
        Model.get("sale.opportunity")(int(ids[5])).click("lost")
    done = roll_back(outbox, Delivery(outbox, target), "two", at=at)
    assert done.found == {RESTORED: 2}
    assert _chances(world, ids) == [0.6123, 0.6123, 0.6123, 0.9, 0.6123, 0.6123]
    roll_back(outbox, Delivery(outbox, target), "one", at=at)
    assert _chances(world, ids) == [0.1, 0.2, 0.3, 0.9, 0.5, 0.6123]
    assert set(target.read(ids).values()) == {Score()}


def test_write_backs_that_are_killed_on_a_bad_network_end_as_planned(
    world: TrytonWorld, tmp_path: Path
) -> None:
    clock = Clock(4.0)
    plan = FaultPlan.of_every_kind(0.2, seed=3)
    with TwinServer(TrytonProxy(world.url), clock=clock, faults=plan) as twin:
        asked = Plug(
            target="tryton_plug:open_target", url=twin.url, outbox=f"sqlite:///{tmp_path}/o.db",
            run_id="run", factor=clock.factor, pace_book=str(tmp_path / "pace"), kills=4,
            longest=1.0, seed=1,
        )  # fmt: skip
        outbox = Outbox(asked.outbox)
        target = open_target(twin.url, clock=clock, pace_book=tmp_path / "pace")
        outbox.plan("run", target.place, scores(DEALS), at=AT)
        assert run_killed(asked) >= 2
        report = twin.report()
        twin.faults = FaultPlan()
        assert problems(target, outbox, "run", report) == []
    assert report["deals_written"] == DEALS


def _chances(world: TrytonWorld, ids: list[str]) -> list[float]:
    from proteus import Model

    with session(world):
        Opportunity = Model.get("sale.opportunity")
        return [Opportunity(int(one)).conversion_probability for one in ids]
