"""A write-back that is killed again and again, on a bad network, ends as planned."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from salesops_ml.crm.limits import Clock
from salesops_ml.crm.outbox import Outbox
from salesops_ml.crm.twin_faults import FaultPlan
from salesops_ml.crm.twin_server import TwinServer
from tests.crm.killed_delivery import AT, Plug, problems, run_killed, scores
from tests.crm.postgres import private_cluster
from tests.crm.sample_vendor import SampleTarget, SampleTwin

DEALS = 1_500
FACTOR = 40.0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_killed_at_random_moments_with_faults_every_deal_stands_as_planned(
    tmp_path: Path, kind: str
) -> None:
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path}/outbox.db"
        if kind == "postgresql":
            url = stack.enter_context(private_cluster())
        kill_and_look(tmp_path, url)


def kill_and_look(tmp_path: Path, url: str) -> None:
    clock = Clock(FACTOR)
    outbox = Outbox(url)
    outbox.plan("run", "sample CRM", scores(DEALS), at=AT)
    faults = FaultPlan.of_every_kind(0.25, seed=3, paths=".*deals.*")
    with TwinServer(SampleTwin(DEALS), clock=clock, faults=faults) as twin:
        plug = Plug(
            "sample_vendor:SampleTarget", twin.url, url, "run", FACTOR,
            str(tmp_path / "pace"), kills=6, longest=0.6, seed=3,
        )  # fmt: skip
        hits = run_killed(plug)
        report = twin.report()
        twin.faults = FaultPlan()
        target = SampleTarget(twin.url, clock=clock, pace_book=tmp_path / "pace")
        assert problems(target, outbox, "run", report) == []
        assert len(twin.vendor.ledger) == DEALS
    outbox.dispose()
    assert hits >= 3
    assert sum(report["faults"].values()) >= 5
