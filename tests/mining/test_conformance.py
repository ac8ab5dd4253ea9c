"""Conformance: what each broken rule cost, and what the allow-list takes out."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from salesops_ml.errors import ConfigError, DataError, UsageError
from salesops_ml.mining.conformance import (
    COLUMNS,
    VIOLATION_COLUMNS,
    Conformance,
    conformance,
)
from salesops_ml.mining.event_log import event_log
from salesops_ml.mining.exemptions import EXEMPTION_COLUMNS
from salesops_ml.mining.steps import as_steps
from salesops_ml.process_settings import Process
from salesops_ml.warehouse import Warehouse
from tests.mining.conftest import tables
from tests.mining.test_model_files import SALES, written

DAY = datetime(2026, 1, 1)
AS_OF = DAY + timedelta(days=20)
NAMES = ["case:concept:name", "concept:name", "time:timestamp"]


def process(stages: tuple[str, ...] = (), model: Path | None = None, **rules: Any) -> Process:
    return Process.model_validate({"stages": stages, "model": model, "conformance": rules})


def rows(found: Conformance) -> pd.DataFrame:
    return found.rules.set_index("name")


def test_the_company_is_held_against_its_process(company: Warehouse) -> None:
    log = event_log(company, as_of=AS_OF)
    agreed = process(
        starts=["Lead"], allowed={"Lead": ["Offer"], "Offer": ["Won", "Lost"]}, required=["Offer"],
        maximum_days=[{"stage": "Lead", "days": 3}, {"stage": "Offer", "days": 5}],
        four_eyes=[["Lead", "Offer"]],
    )  # fmt: skip
    found = conformance(log, agreed)
    table = rows(found)
    told = {name: (row["count"], row["cases"], row["checked"], row["open"], row["example_deals"])
            for name, row in table.iterrows()}  # fmt: skip
    assert told == {
        "start: Lead": (0, 0, 4, 0, []),
        "move: Lead > Lost": (2, 2, 4, 0, ["b", "c"]),
        "move: Offer > Lead": (1, 1, 2, 0, ["c"]),
        "required: Offer": (1, 1, 3, 0, ["b"]),
        "time: Lead": (4, 4, 4, 1, ["a", "d", "b", "c"]),
        "time: Offer": (2, 2, 3, 1, ["a", "d"]),
        "four_eyes: Lead + Offer": (3, 3, 3, 1, ["a", "d", "c"]),
    }
    assert table.loc["time: Lead", "amount"] == 170
    assert np.isnan(table.loc["required: Offer", "amount"])
    assert list(found.rules.columns) == list(COLUMNS)
    assert list(found.violations.columns) == list(VIOLATION_COLUMNS)
    assert list(found.exemptions.columns) == list(EXEMPTION_COLUMNS)
    assert found.violations["times"].sum() == found.rules["count"].sum()
    summary = json.loads(json.dumps(found.summary()))
    assert (summary["rules"], summary["broken"]) == (7, 6)
    assert summary["fitness"]["deals"] == 4
    first = found.violations.set_index(["name", "case_id"]).loc[("move: Offer > Lead", "c")]
    assert first["at"] == pd.Timestamp(DAY + timedelta(days=3))
    assert first["outcome"] == "lost"


def test_broken_rules_come_first_the_costliest_at_the_top(company: Warehouse) -> None:
    found = conformance(event_log(company, as_of=AS_OF), process(
        starts=["Lead"], required=["Offer"], maximum_days=[{"stage": "Offer", "days": 5}],
        order=["Lead", "Offer"],
    ))  # fmt: skip
    assert found.rules["name"].tolist() == [
        "time: Offer", "required: Offer", "order: Lead > Offer", "start: Lead",
    ]  # fmt: skip
    assert found.broken()["name"].tolist() == ["time: Offer", "required: Offer"]


def test_the_allow_list_takes_deals_out_and_tells_what_it_covers(company: Warehouse) -> None:
    agreed = process(
        allowed={"Lead": ["Offer"]}, maximum_days=[{"stage": "Lead", "days": 3}],
        allow=[
            {"deal": "b", "reason": "a friend of the house"},
            {"variant": ["Lead", "Offer", "Won"], "rule": "time", "reason": "renewals"},
            {"rule": "move: Lead", "deal": "c", "reason": "lost at once"},
            {"deal": "nobody", "reason": "left over"},
        ],
    )  # fmt: skip
    found = conformance(event_log(company, as_of=AS_OF), agreed)
    table = rows(found)
    assert table.loc["time: Lead", ["cases", "checked", "allowed"]].tolist() == [2, 2, 2]
    assert table.loc["time: Lead", "example_deals"] == ["d", "c"]
    assert table.loc["move: Lead > Lost", ["count", "cases", "allowed"]].tolist() == [0, 0, 2]
    assert "exempt" in table.loc["move: Lead > Lost", "finding"]
    assert found.exemptions["violations"].tolist() == [2, 1, 1, 0]
    reasons = found.violations.set_index(["name", "case_id"])["reason"]
    assert reasons["time: Lead", "a"] == "renewals"
    assert reasons["time: Lead", "d"] is None
    assert reasons["move: Lead > Lost", "c"] == "lost at once"


def world(deals: int, seed: int, *, effect: float) -> pd.DataFrame:
    """Deals of which a third skips Legal; skipping lowers the chance of winning by `effect`."""
    rng = np.random.default_rng(seed)
    rows = []
    for deal in range(deals):
        moment = DAY + timedelta(days=float(rng.uniform(0, 300)))
        skips = rng.random() < 1 / 3
        won = rng.random() < 0.6 - effect * skips
        path = ["Lead", *([] if skips else ["Legal"]), "Offer", "Won" if won else "Lost"]
        for stage in path:
            rows.append((f"d{deal:05d}", stage, moment))
            moment += timedelta(days=float(rng.exponential(15)))
    frame = pd.DataFrame(rows, columns=NAMES)
    return frame.assign(**{NAMES[2]: pd.to_datetime(frame[NAMES[2]], utc=True)})


@pytest.mark.parametrize("effect", [0.0, 0.3])
def test_the_interval_covers_the_planted_difference_with_deals_still_open(effect: float) -> None:
    agreed = process(
        ("Lead", "Legal", "Offer", "Won", "Lost"), required=["Legal"],
        allowed={"Lead": ["Legal"]},
    )  # fmt: skip
    covered = []
    for seed in range(30):
        log = world(500, seed, effect=effect)
        found = conformance(
            log, agreed, as_of=DAY + timedelta(days=250), won=["Won"], lost=["Lost"]
        )
        table = rows(found)
        for name in ("required: Legal", "move: Lead > Offer"):
            row = table.loc[name]
            assert row["low"] <= row["win_rate_difference"] <= row["high"]
            covered.append(row["low"] <= -effect <= row["high"])
    assert np.mean(covered) >= 0.75


def test_deals_that_closed_early_are_no_evidence_against_a_step() -> None:
    """Those who lose before the step's turn miss it too, but are not compared."""
    log = world(400, 3, effect=0.0)
    early = log.groupby(NAMES[0]).head(1).iloc[:150]
    early = early.assign(**{NAMES[0]: [f"x{number}" for number in range(150)]})
    later = early[NAMES[2]] + pd.Timedelta(days=1)
    closing = early.assign(**{NAMES[1]: "Lost", NAMES[2]: later})
    agreed = process(("Lead", "Legal", "Offer", "Won", "Lost"), required=["Legal"])
    ends: dict[str, Any] = {"as_of": DAY + timedelta(days=800), "won": ["Won"], "lost": ["Lost"]}
    alone = rows(conformance(log, agreed, **ends)).iloc[0]
    both = rows(conformance(pd.concat([log, early, closing]), agreed, **ends)).iloc[0]
    assert both["cases"] == alone["cases"] + 150
    assert both["win_rate_difference"] == pytest.approx(alone["win_rate_difference"])


def test_every_number_of_a_finding_stands_in_its_row() -> None:
    agreed = process(
        ("Lead", "Legal", "Offer", "Won", "Lost"), required=["Legal"], starts=["Lead"],
        maximum_days=[{"stage": "Offer", "days": 20}],
    )  # fmt: skip
    log = world(300, 5, effect=0.3)
    found = conformance(log, agreed, as_of=DAY + timedelta(days=250), won=["Won"], lost=["Lost"])
    for row in found.rules.to_dict("records"):
        facts = [row["cases"], row["checked"], 100 * row["share"], row["allowed"], row["amount"], 20, 90,
                 *(100 * row[name] for name in ("win_rate_difference", "low", "high"))]  # fmt: skip
        known = {f"{abs(fact):.{digits}f}" for fact in facts for digits in (0, 1)}
        for number in re.findall(r"\d[\d,]*\.?\d*", row["finding"].replace(",", "")):
            assert number.rstrip(".") in known, (number, row["finding"])
        assert row["rule"] in row["finding"]


def test_a_log_without_outcomes_is_checked_and_compares_nothing() -> None:
    log = world(60, 1, effect=0.0)
    found = conformance(log, process(required=["Legal"], allowed={"Lead": ["Legal"]}))
    assert rows(found).loc["required: Legal", "checked"] == 60
    assert found.rules["win_rate_difference"].isna().all()
    assert found.fitness is not None


def test_a_drawing_is_an_agreed_process_too(tmp_path: Path) -> None:
    path = written(tmp_path, SALES)
    stories = {"a": "Lead Legal Price Won", "b": "Lead Price Won", "c": "Lead Price Legal",
               "d": "Lead Call Price", "e": "Price Lead Legal Lost"}  # fmt: skip
    log = pd.DataFrame(
        [(deal, stage, DAY + timedelta(days=turn))
         for deal, story in stories.items() for turn, stage in enumerate(story.split())],
        columns=NAMES,
    )  # fmt: skip
    found = conformance(log, process(model=path), as_of=AS_OF, won=["Won"], lost=["Lost"])
    told = {name: (row["cases"], row["example_deals"]) for name, row in rows(found).iterrows()}
    call = told.pop("model: Call out of place")
    assert call == (1, ["d"])
    assert told.pop("model: Legal skipped") == (1, ["b"])
    assert {name for name, (cases, _) in told.items() if cases} in (
        {"model: Price out of place", "model: Price skipped"},
        {"model: Lead out of place", "model: Lead skipped"},
    )
    assert found.fitness is not None
    assert (found.fitness.deals, found.fitness.aligned, found.fitness.fitting) == (5, 5, 0.4)
    assert found.fitness.ended == 3
    assert found.fitness.replay_fitting == pytest.approx(1 / 3)


def test_a_task_that_is_no_stage_is_named(tmp_path: Path) -> None:
    log = world(30, 1, effect=0.0).replace({"Offer": "Price"})
    path = written(tmp_path, SALES.replace('name="Legal"', 'name="Legall"'))
    with pytest.raises(ConfigError, match=r"the task `Legall` is no stage; did you mean `Legal`\?"):
        conformance(log, process(model=path))
    found = conformance(log, Process(model=path, unrecorded_tasks=("Legall",)))
    assert "model: Legal out of place" in set(found.rules["name"])


def test_a_drawing_that_cannot_be_finished_is_named(tmp_path: Path) -> None:
    broken = SALES.replace('<parallelGateway id="split"/>', '<exclusiveGateway id="split"/>')
    path = written(tmp_path, broken)
    log = world(30, 1, effect=0.0).replace({"Offer": "Price"})
    with pytest.raises(
        DataError, match=r"process\.bpmn: the process model has no way from its start"
    ):
        conformance(log, process(model=path))


def test_misspelled_rules_stop_everything(company: Warehouse) -> None:
    with pytest.raises(ConfigError, match="no stage `Ofer`; did you mean `Offer`"):
        conformance(event_log(company, as_of=AS_OF), process(required=["Ofer"]))
    known = conformance(
        event_log(company, as_of=AS_OF), process(required=["Legal"]), stages=["Legal"]
    )
    assert rows(known).loc["required: Legal", "cases"] == 3


def test_steps_alone_do_not_say_who_did_what(company: Warehouse) -> None:
    steps = as_steps(event_log(company, as_of=AS_OF))
    with pytest.raises(UsageError, match="`people`: four-eyes rules need to know who did what"):
        conformance(steps, process(four_eyes=[["Lead", "Offer"]]))


@pytest.mark.parametrize("agreed", [process(), process(required=["Offer"], starts=["Lead"])])
def test_no_rules_and_no_deals_give_empty_frames_that_can_be_written(
    tmp_path: Path, agreed: Process
) -> None:
    with Warehouse.in_memory(tables([], {})) as nothing:
        log = event_log(nothing, as_of=AS_OF)
        found = conformance(log, agreed, stages=["Lead", "Offer"])
    assert found.rules["cases"].sum() == 0
    assert found.violations.empty
    assert found.fitness is None
    for path in found.write(tmp_path):
        assert pd.read_parquet(path) is not None


def test_the_same_log_in_any_order_of_rows_gives_the_same_tables() -> None:
    log = world(200, 8, effect=0.2)
    agreed = process(required=["Legal"], allowed={"Lead": ["Legal"]}, order=["Lead", "Legal"])
    ends: dict[str, Any] = {"as_of": DAY + timedelta(days=250), "won": ["Won"], "lost": ["Lost"]}
    first = conformance(log, agreed, **ends)
    again = conformance(log.sample(frac=1, random_state=4), agreed, **ends)
    pd.testing.assert_frame_equal(first.rules, again.rules)
    pd.testing.assert_frame_equal(first.violations, again.violations)
    assert first.fitness == again.fitness
