"""As fast as the vendor allows, never faster; and no more memory for more deals."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from salesops_ml.crm.delivery import Delivery
from salesops_ml.crm.limits import Clock, Limits
from salesops_ml.crm.outbox import Outbox
from salesops_ml.crm.sql_target import Applied, SqlTarget
from salesops_ml.crm.target import Done, FieldProblem, Outcome, Standing
from salesops_ml.crm.twin_server import TwinServer
from salesops_ml.scoring.fields import Score
from salesops_ml.scoring.plan import Change
from tests.crm.killed_delivery import AT, scores
from tests.crm.sample_vendor import AT_ONCE, WINDOW, SampleTarget, SampleTwin


def seconds_unlimited(folder: Path, deals: int) -> float:
    """What this machine takes for so many deals where windows pass at once and answers come at once."""
    folder.mkdir()
    clock = Clock(factor=10_000)
    with TwinServer(SampleTwin(deals), clock=clock) as twin:
        patient = SampleTarget(twin.url, clock=clock, timeout=60 * clock.factor)
        outbox = Outbox(f"sqlite:///{folder}/outbox.db")
        outbox.plan("run", patient.place, scores(deals), at=AT)
        start = time.monotonic()
        assert Delivery(outbox, patient, clock=clock).run("run").confirmed == deals
        return time.monotonic() - start


@pytest.mark.slow
def test_the_limit_is_used_to_nine_tenths_and_never_passed(tmp_path: Path) -> None:
    """The least time for so many calls, by the vendor's window alone, against the time taken.

    The clock runs three times as fast, less where this machine would be slower than the vendor.
    """
    deals = 6_100
    clock = Clock(factor=min(3.0, 3.0 / seconds_unlimited(tmp_path / "unlimited", deals)))
    with TwinServer(SampleTwin(deals), clock=clock, latency=0.1) as twin:
        target = SampleTarget(twin.url, clock=clock, pace_book=tmp_path / "pace")
        outbox = Outbox(f"sqlite:///{tmp_path}/outbox.db")
        outbox.plan("run", target.place, scores(deals), at=AT)
        assert Delivery(outbox, target, clock=clock).run("run").confirmed == deals
        report = twin.report()
    least = (report["calls"] - 1) // WINDOW.calls * WINDOW.seconds
    assert least == 3 * WINDOW.seconds
    assert report["seconds"] >= least
    assert least / report["seconds"] >= 0.9
    assert (report["above_limit"], report["above_calls_at_once"]) == (0, 0)
    assert 1 < report["most_in_flight"] <= AT_ONCE


class Sink:
    """A target that takes everything, and knows each score from the deal's name."""

    place = "sink"
    limits = Limits(records_a_call=100)

    def as_stored(self, score: Score) -> Score:
        return score

    def missing_fields(self) -> list[FieldProblem]:
        return []

    def create_fields(self, problems: Sequence[FieldProblem]) -> None:
        raise NotImplementedError

    def read(self, deal_ids: Sequence[str]) -> dict[str, Standing]:
        return {deal_id: Score(reasons=deal_id * 20) for deal_id in deal_ids}

    def send(self, changes: Sequence[Change]) -> list[Outcome]:
        return [Done()] * len(changes)


def changes(count: int) -> Iterator[Change]:
    for number in range(count):
        deal_id = f"d{number:06}"
        yield Change(deal_id, "insert", None, Score(reasons=deal_id * 20), "first score")


def peak(tmp_path: Path, count: int, *, sql: bool) -> int:
    """The most memory that planning and delivering so many changes took, in bytes."""
    tracemalloc.start()
    if sql:
        target = SqlTarget(f"sqlite:///{tmp_path}/crm-{count}.db")
        done = target.apply_planned(lambda _standing: changes(count), run_id="run", at=AT)
        assert done == Applied(count, 0)
    else:
        outbox = Outbox(f"sqlite:///{tmp_path}/outbox-{count}.db")
        assert outbox.plan("run", "sink", changes(count), at=AT) == count
        assert Delivery(outbox, Sink()).run("run").confirmed == count
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


@pytest.mark.slow
@pytest.mark.parametrize("sql", [True, False], ids=["sql", "outbox"])
def test_three_times_the_deals_take_no_more_memory(tmp_path: Path, sql: bool) -> None:
    peak(tmp_path, 10, sql=sql)
    assert peak(tmp_path, 7_500, sql=sql) < 1.4 * peak(tmp_path, 2_500, sql=sql)
