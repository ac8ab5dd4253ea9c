"""The model card: every fact from the run, in words that hold, on a page that asks for nothing."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score
from typer.testing import CliRunner

from pipelines.phases import run_phases
from salesops_ml.app.deal_model import judge, predict_test, prepare_dataset, train
from salesops_ml.app.model_card import render_card, write_model_card
from salesops_ml.app.model_card_facts import card_facts
from salesops_ml.app.model_card_parts import parts_of_deals
from salesops_ml.app.model_card_scores import savings
from salesops_ml.app.model_card_words import (
    coverage_words,
    distrust_words,
    limits,
    reasons,
    sufficiency_words,
)
from salesops_ml.app.report_files import RunFiles
from salesops_ml.app.run_folder import RunFolder
from salesops_ml.cli import app
from salesops_ml.quality.leakage import audit
from salesops_ml.settings import Settings, parse
from salesops_ml.snapshots import learn_spec, record_end
from salesops_ml.synthetic import WorldParameters, generate
from salesops_ml.warehouse import Warehouse
from tests.app.page import HOSTILE, Page, broken, raw

SECTIONS = {"use", "data", "scores", "reliability", "dates", "audit", "made"}
NAMES = {"deal_scores", "model_card"}


def undated(folder: Path) -> Settings:
    """Deals without dates, whose size tells a good deal of how they end."""
    random = np.random.default_rng(4)
    size = random.normal(size=900)
    won = random.random(900) < 1 / (1 + np.exp(-2 * size))
    part = np.where(np.arange(900) % 3 == 0, "test", "train")
    table = pd.DataFrame({"deal_id": [f"d{n:03}" for n in range(900)], "size": size, "part": part})
    table["status"] = np.where(won, "won", "lost")
    table.to_csv(folder / "deals.csv", index=False)
    deals = {
        "path": str(folder / "deals.csv"), "columns": {"deal_id": "deal_id", "status": "status"},
        "attributes": {"size": {"kind": "float", "known": "at_creation"}},
    }  # fmt: skip
    return parse(
        {
            "source": {"type": "files", "tables": {"deals": deals}},
            "warehouse": f"duckdb:///{folder / 'w.duckdb'}", "runs": str(folder / "runs"),
            "split": {"column": "part"}, "models": {"trees": 20},
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run as far as the evaluation, of a table without dates."""
    settings = undated(tmp_path_factory.mktemp("undated"))
    phases = ["business_understanding", "data_understanding", "data_preparation", "modeling"]
    place = run_phases(settings, phases=[*phases, "evaluation"])
    return RunFolder(place, place.name)


@pytest.fixture(scope="module")
def dated(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The files of a small company's run that the card reads, made by the steps of a run."""
    run = RunFolder(tmp_path_factory.mktemp("dated"), "20260101-000000")
    settings = parse({"company": {"name": "Small Co"}, "models": {"trees": 20, "horizon_days": 60}})
    run.write_text("config.yaml", settings.to_yaml())
    with Warehouse.in_memory(generate(WorldParameters(deals=1000, years=2, seed=5))) as warehouse:
        end = record_end(warehouse)
        spec = learn_spec(warehouse, settings, as_of=end)
        prepared = prepare_dataset(warehouse, spec, settings, as_of=end)
        blocks = dict(list(prepared.data.groupby("split")))
        found = audit(warehouse, blocks["train"], spec, settings, days=[], test=blocks["test"])
    model = train(prepared, spec, settings)
    predictions, _ = predict_test(prepared, model, settings)
    assert prepared.borders is not None
    borders = {name: day.isoformat() for name, day in vars(prepared.borders).items()}
    run.write_frame("dataset", prepared.data)
    run.write_frame("predictions", predictions)
    run.write_json("borders", borders)
    run.write_json("feature_spec", json.loads(spec.to_json()))
    run.write_json("leakage_audit", found)
    model.save(run.folder("models") / "deal_scores")
    judged = judge(prepared, predictions, settings)
    run.write_json("evaluation", {**judged, "leakage_audit": found["verdict"], "gates": []})
    return run


def facts_of(run: RunFolder) -> Any:
    return card_facts(RunFiles(run))


def test_the_evaluation_writes_the_card(evaluated: RunFolder) -> None:
    facts = evaluated.read_json("model_card")
    page = Page((evaluated.path / "model_card.html").read_text(encoding="utf-8"))
    assert facts["model"]["run"] == evaluated.run_id
    assert set(facts["scores"]) >= {"deal_scores", "base_rate"}
    assert facts["split"]["by"] == "column part"
    assert facts["split"]["blocks"]["test"]["deals"] == 300
    assert facts["audit"]["verdict"] == "ok"
    assert page.said("No deal in this data is dated")
    assert page.said("how likely it is won in the end")
    assert not page.said("90 days")
    assert not page.said("judging, paying or ranking")
    assert facts["dates"] is None
    assert page.said("The column part of the source names the blocks.")


def test_evaluate_names_the_card_for_people_and_machines(
    evaluated: RunFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    config = tmp_path / "undated.yaml"
    config.write_text((evaluated.path / "config.yaml").read_text(encoding="utf-8"))
    told = CliRunner().invoke(app, ["evaluate", "--config", str(config)])
    card = re.search(r"^model card: (.*model_card\.html)$", told.stdout, flags=re.MULTILINE)
    assert card
    assert Path(card[1]).exists()
    told = CliRunner().invoke(app, ["evaluate", "--config", str(config), "--json", "-"])
    values = json.loads(told.stdout[told.stdout.index("{") :])
    assert Path(values["model_card"]).parent == Path(values["run"])


def test_the_page_says_what_the_json_says(evaluated: RunFolder) -> None:
    facts = evaluated.read_json("model_card")
    assert render_card(facts) == (evaluated.path / "model_card.html").read_text(encoding="utf-8")
    page = Page(render_card(facts))
    ours = facts["scores"]["deal_scores"]
    low, high = ours["log_loss_interval"]
    assert page.said(f"{ours['log_loss']:.3f} ({low:.3f} to {high:.3f})")
    for row in facts["scores"].values():
        low, high = row["auc_interval"]
        assert page.said(f"({low:.3f} to {high:.3f})")


def test_intervals_grow_with_fewer_deals(evaluated: RunFolder) -> None:
    files = RunFiles(evaluated)
    data = files.frame("dataset")
    told = savings(files, data)
    some = data[(data["split"] != "test") | (data["deal_id"].str[-1] == "3")]
    fewer = savings(files, some)
    assert set(told) == set(fewer) == set(evaluated.read_json("evaluation")["baselines"])
    for name in told:
        widths = [np.ptp(rows[name]["saved_interval"]) for rows in (fewer, told)]
        assert widths[0] > widths[1]


def test_figures_agree_with_another_library_where_nothing_is_censored(evaluated: RunFolder) -> None:
    said = evaluated.read_frame("predictions")
    data = evaluated.read_frame("dataset").set_index("deal_id")
    ours = said[said["model"] == "deal_scores"].set_index("deal_id")
    won = data.loc[ours.index, "outcome"] == "won"
    scores = facts_of(evaluated)["scores"]["deal_scores"]
    assert scores["auc"] == pytest.approx(roc_auc_score(won, ours["p_win"]))
    assert scores["brier"] == pytest.approx(brier_score_loss(won, ours["p_win"]))


def test_what_ours_saves_is_the_difference_of_the_losses(evaluated: RunFolder) -> None:
    scores = facts_of(evaluated)["scores"]
    for name, row in scores.items():
        if name != "deal_scores":
            gap = row["log_loss"] - scores["deal_scores"]["log_loss"]
            assert row["saved"] == pytest.approx(gap)
            assert row["saved_interval"][0] <= gap <= row["saved_interval"][1]


def test_past_days_stand_in_a_table_with_every_baseline(full_run: RunFolder) -> None:
    def judged(loss: float) -> dict[str, Any]:
        ours = {"log_loss": loss, "log_loss_interval": [loss - 0.02, loss + 0.02], "auc": 0.8}
        models = {"deal_scores": ours, "stage_age": {"log_loss": loss + 0.1}}
        return {"judged_deals": 1_234, "judged_rows": 5_678, "models": models}

    day = {"origin": "2026-01-05T00:00:00", "judged_until": "2026-04-05T00:00:00", **judged(0.412)}
    assert not Page(render_card(facts_of(full_run))).said("On past days")
    found = {"groups": "account", "folds": [day], "pooled": judged(0.431)}
    page = Page(render_card(with_evaluation(full_run, validation=found)))
    for words in (
        "On past days",
        "0.412 (0.392 to 0.432)",
        "0.512",
        "0.431 (0.411 to 0.451)",
        "0.531",
    ):
        assert page.said(words), words
    refused = {"not_possible": "the record has no past day to judge"}
    assert with_evaluation(full_run, validation=refused)["validation"] is None


@pytest.mark.slow
def test_a_dated_run_tells_its_period_borders_dates_and_calibration(dated: RunFolder) -> None:
    write_model_card(dated)
    facts, files = dated.read_json("model_card"), RunFiles(dated)
    page = Page((dated.path / "model_card.html").read_text(encoding="utf-8"))
    begun = files.dataset["created_at"]
    assert pd.Timestamp(facts["data"]["first_deal"]) == begun.min()
    assert pd.Timestamp(facts["data"]["last_deal"]) == begun.max()
    assert facts["split"]["borders"]["test_from"] == facts["label"]["known_at"]
    blocks = facts["split"]["blocks"]
    assert blocks["train"]["to"] <= blocks["calibration"]["from"] <= blocks["test"]["from"]
    assert sum(blocks["test"][name] for name in ("won", "lost", "open")) == blocks["test"]["deals"]
    assert facts["dates"]["models"]["deal_scores"]["coverage_80"] is not None
    assert facts["calibration"]["method"]
    assert facts["audit"]["findings"]
    for words in (
        "Where not to trust it", "within 60 days of the look", "The range of dates promises 80%",
        "By time: deals are ordered by when they began", "judging, paying or ranking people",
        "Too few test deals (under 200) to tell",
    ):  # fmt: skip
        assert page.said(words), words
    text = render_card(facts)
    assert broken(text, sections=SECTIONS) == []
    assert raw(text, allowed=NAMES) == set()


@pytest.mark.parametrize("which", ["full_run", "bare_run", "evaluated"])
def test_the_page_is_whole_and_asks_for_nothing(which: str, request: pytest.FixtureRequest) -> None:
    text = render_card(facts_of(request.getfixturevalue(which)))
    assert broken(text, sections=SECTIONS) == []
    assert raw(text, allowed=NAMES) == set()


def test_what_a_run_does_not_hold_is_told(bare_run: RunFolder) -> None:
    page = Page(render_card(facts_of(bare_run)))
    for words in (
        "The model could not be judged on deals that it had not seen.",
        "This run holds no data set.",
        "No deal of the test block was followed for long enough",
        "Nothing could be held against what happened.",
        "No part of the deals could be judged on its own.",
        "No leakage audit was run",
        "No gates are configured",
    ):
        assert page.said(words), words


def with_evaluation(run: RunFolder, **changes: Any) -> Any:
    """The facts of the run with parts of its evaluation replaced."""
    run.write_json("evaluation", {**run.read_json("evaluation"), **changes})
    return facts_of(run)


def part(deals: int, promised: float, won: float, **more: Any) -> dict[str, Any]:
    return {"deals": deals, "rows": 3 * deals, "mean_promised": promised, "share_won": won, **more}


def test_parts_are_trusted_by_their_interval_and_by_their_number(full_run: RunFolder) -> None:
    by = {
        "stage": {
            "Legal": part(400, 0.30, 0.33, interval=[0.31, 0.35]),
            "Proposal": part(400, 0.30, 0.31),
            "Demo": part(120, 0.30, 0.60),
        },
        "deal_size": {"above 100k": part(900, 0.30, 0.20, share_won_interval=[0.17, 0.23])},
    }
    facts = with_evaluation(full_run, reliability_by=by)
    told = {part["value"]: part["trusted"] for part in facts["parts"]}
    assert told == {"Legal": "no", "Proposal": "yes", "Demo": "too few", "above 100k": "no"}
    lines = distrust_words(facts)
    assert [verdict for verdict, _ in lines] == ["warn", "warn", "none", "none"]
    assert lines[0][1].startswith("Deal size above 100k: promised 30.0%, won 20.0%")
    assert "stage: Demo (120)." in lines[3][1]
    assert "In 2 of 3 parts of the deals" in reasons(facts)[-1]
    page = Page(render_card(facts))
    assert page.said("Legal (400)")
    assert page.said("Deal size")


def test_without_an_interval_a_share_of_deals_has_wilsons(full_run: RunFolder) -> None:
    facts = with_evaluation(full_run, reliability_by={"stage": {"Legal": part(250, 0.1, 0.0)}})
    low, high = facts["parts"][0]["interval"]
    assert low == 0.0
    assert high == pytest.approx(1.96**2 / (250 + 1.96**2))


def test_segments_stand_in_where_no_reliability_by_part_is_told(full_run: RunFolder) -> None:
    told = parts_of_deals(RunFiles(full_run), full_run.read_frame("dataset"))
    assert {part["value"] for part in told} == {"Proposal", "Legal"}


def test_a_simpler_answer_that_is_as_good_is_named(full_run: RunFolder) -> None:
    judged = full_run.read_json("evaluation")
    good = {"stage_age": {**judged["baselines"]["stage_age"], "log_loss": 0.41}}
    assert not any("simpler answer" in sentence for sentence in limits(facts_of(full_run)))
    told = limits(with_evaluation(full_run, baselines=good))
    assert any(s.startswith("On the test deals Stage and age told as well") for s in told)


@pytest.mark.parametrize(
    ("share", "span", "words"),
    [
        (0.79, [0.75, 0.83], "as promised, within chance"),
        (0.91, [0.88, 0.93], "wider than need be"),
        (0.62, [0.58, 0.66], "too narrow"),
    ],
)
def test_coverage_is_held_against_the_promise(
    share: float, span: list[float], words: str, full_run: RunFolder
) -> None:
    dates = {"coverage_80": share, "coverage_80_interval": span, "mean_width_days": 41.0}
    assert words in coverage_words(with_evaluation(full_run, dates=dates))[0]


def test_the_verdict_on_the_number_of_deals_is_shown(full_run: RunFolder) -> None:
    sentence = "With your 300 closed deals, expect log-loss 0.61; 900 would give 0.58."
    facts = with_evaluation(full_run, sufficiency={"sentence": sentence, "deals": 300})
    assert sufficiency_words(facts) == sentence
    assert Page(render_card(facts)).said(sentence)


def test_findings_of_the_audit_are_told_by_column(full_run: RunFolder) -> None:
    finding = {
        "check": "knows too much", "column": "f_x_close_value", "verdict": "fail",
        "evidence": "at the first look ranks won above lost with AUC 1.000, 5,218 deals",
    }  # fmt: skip
    full_run.write_json("leakage_audit", {"verdict": "fail", "findings": [finding]})
    facts = facts_of(full_run)
    assert facts["verdict"]["verdict"] == "fail"
    assert facts["audit"]["findings"] == [finding]
    assert Page(render_card(facts)).said("Knows too much, close value: at the first look")


def test_names_from_the_data_stay_words(full_run: RunFolder) -> None:
    full_run.write_text("config.yaml", parse({"company": {"name": HOSTILE}}).to_yaml())
    by = {HOSTILE: {HOSTILE: part(400, 0.3, 0.6)}}
    text = render_card(
        with_evaluation(full_run, reliability_by=by, sufficiency={"sentence": HOSTILE})
    )
    assert "<script" not in text
    assert Page(text).said(HOSTILE)


def test_the_card_is_the_same_twice(full_run: RunFolder) -> None:
    first = write_model_card(full_run).read_text(encoding="utf-8")
    assert write_model_card(full_run).read_text(encoding="utf-8") == first
    assert isinstance(datetime.fromisoformat(facts_of(full_run)["data"]["as_of"]), datetime)
