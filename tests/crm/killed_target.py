"""A vendor's target that is killed again and again, on a bad network, before its twin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from salesops_ml.crm.limits import Clock
from salesops_ml.crm.outbox import Outbox
from salesops_ml.crm.target import Target
from salesops_ml.crm.twin_faults import FaultPlan
from salesops_ml.crm.twin_server import TwinServer
from salesops_ml.crm.twin_vendor import TwinVendor
from tests.crm import killed_delivery
from tests.crm.killed_delivery import AT, Plug

FACTOR = 20.0


def refuse_unplanned(
    vendor: TwinVendor, plug: str, open_target: Callable[..., Target], folder: Path, *, scores: int
) -> None:
    """Every deal must stand as planned after kills with faults.

    Args:
        vendor: the twin, with as many deals as there are scores.
        plug: `module:function` of the target that is killed, for `killed_delivery`.
        open_target: makes the target that looks at the end.
        folder: for outbox and pace book.
        scores: how many are written.
    """
    clock = Clock(FACTOR)
    with TwinServer(vendor, clock=clock, faults=FaultPlan.of_every_kind(0.1, seed=9)) as twin:
        asked = Plug(plug, twin.url, f"sqlite:///{folder}/o.db", "run", FACTOR,
                     str(folder / "pace"), kills=6, longest=0.5, seed=4)  # fmt: skip
        outbox = Outbox(asked.outbox)
        target = open_target(twin.url, clock=clock, pace_book=folder / "pace")
        outbox.plan("run", target.place, killed_delivery.scores(scores), at=AT)
        assert killed_delivery.run_killed(asked) >= 2
        report = twin.report()
        twin.faults = FaultPlan()
        assert killed_delivery.problems(target, outbox, "run", report) == []
