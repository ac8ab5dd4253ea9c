"""The report as a page: whole, self-contained, safe, and plain about what is missing."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from salesops_ml.app.report import render, write_report
from salesops_ml.app.run_folder import RunFolder
from salesops_ml.settings import parse
from tests.app.conftest import lay_bare, lay_run
from tests.app.page import HOSTILE, Page, broken, raw

SECTIONS = ("forecast", "bottlenecks", "pipeline", "kpis", "trust", "method")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The page of a whole run and of one with settings only, laid out once."""
    folder = tmp_path_factory.mktemp("texts")
    return {"full": render(lay_run(folder / "full")), "bare": render(lay_bare(folder / "bare"))}


@pytest.fixture(scope="module")
def full(texts: dict[str, str]) -> Page:
    return Page(texts["full"])


@pytest.fixture(scope="module")
def bare(texts: dict[str, str]) -> Page:
    return Page(texts["bare"])


def test_the_page_is_written_into_the_run(full_run: RunFolder) -> None:
    path = write_report(full_run)
    assert path == full_run.path / "report.html"
    assert path.read_text(encoding="utf-8") == render(full_run)
    assert path.stat().st_size < 2_000_000


@pytest.mark.parametrize("which", ["full", "bare"])
def test_the_page_is_whole_and_asks_for_nothing(which: str, texts: dict[str, str]) -> None:
    assert broken(texts[which], sections=SECTIONS, files=["process_map.html"]) == []


@pytest.mark.parametrize("which", ["full", "bare"])
def test_no_column_names_no_endless_decimals(which: str, texts: dict[str, str]) -> None:
    assert raw(texts[which], allowed={"deal_scores"}) == set()


def test_every_section_speaks(full: Page) -> None:
    for words in (
        "We expect to book €2.85M this quarter and €1.95M the next.",
        "80% range €2.42M to €3.28M",
        "the forecast missed what a month brought by 11% on average",
        "On the same days the best simple rule (12-month average) missed by 21%.",
        "The 80% range held in 78% of 14 forecasts (give or take 12%).",
        "Waiting costs about €52k of won business a month: 1 kind of deal waits longer",
        "Legal: discount above 20%",
        "Half of these deals stay 21 days or longer; half of the others are gone after 8 days.",
        "8 deals are open, worth €270k. Within 90 days about 4 of them should be won, for €110k.",
        "was due 46 days ago; only 5% likely",
        "due 24 Dec 2026, but if won, likely 67 days later",
        "Figures of 2026-Q3: 1 of 3 targets met.",
        "off target (100%)",
        "On 600 deals that it had never seen",
        "Stage Legal: promised 30%, won 45% (400 deals).",
        "79% (95% interval 75% to 83%) of the won deals closed within their 80% range",
        "Passed: log-loss is 0.42, asked for at most 0.5.",
        "Closed before created: 3 in deals (1.0%). Correct the dates in the CRM.",
        "2 rows of quotes turned away: no number. Write one.",
        "20261120-120000",
        "abc123",
        "deal_scores/3",
    ):
        assert full.said(words), words


def test_the_forecast_adds_up_by_part_of_the_company(full: Page) -> None:
    assert full.said("EMEA €800k €1.90M €1.62M – €2.18M €1.30M")
    assert full.said("Company €1.20M €2.85M")


def test_the_chance_of_each_quota_stands_beside_what_is_missing(full: Page, bare: Page) -> None:
    assert full.said("Will the quota be made?")
    assert full.said("Company 2026-Q4 €3.14M €1.20M €2.85M €285k 31%")
    assert full.said("EMEA 2026-Q4 €1.71M €800k €1.90M surplus €190k 84%")
    assert full.said("North A 2026-Q4 €1.33M €400k €950k €380k <1%")
    assert not bare.said("Will the quota be made?")


def test_on_the_last_day_of_a_quarter_it_is_told_as_booked(full_run: RunFolder) -> None:
    last = pd.Timestamp("2026-12-31 18:00")
    full_run.write_frame("scores", full_run.read_frame("scores").assign(as_of=last))
    page = Page(render(full_run))
    assert page.said("We booked €2.85M in the quarter that ends and expect €1.95M in the next.")
    assert page.said("as of 31 December 2026")
    assert page.said("Figures of 2026-Q4")


def test_stages_stand_in_the_order_of_the_process(full_run: RunFolder) -> None:
    turns = pd.DataFrame({"stage": ["Proposal", "Legal"], "position": [0, 1]})
    full_run.write_frame("stages", turns)
    words = Page(render(full_run)).words
    table = words[words.index("If half met the target") :]
    assert table.index("Proposal") < table.index("Legal")


def test_missing_parts_are_told_in_words(bare: Page) -> None:
    for words in (
        "This run holds no forecast, so there is no figure to plan with.",
        "No past forecast could be replayed",
        "No past day could be replayed yet",
        "No stages could be followed",
        "This run holds no process map.",
        "No open deal has been scored in this run",
        "No KPI could be told",
        "The model could not be judged on deals that it had not seen.",
        "No leakage audit was run",
        "No check of the data was run.",
        "No gates are configured",
        "none: the run stopped before its models were promoted",
    ):
        assert bare.said(words), words


def test_a_company_without_levels_is_told_so(full_run: RunFolder) -> None:
    forecast = full_run.read_frame("forecast")
    full_run.write_frame("forecast", forecast[forecast["node"] == "company"])
    page = Page(render(full_run))
    assert page.said("The company is forecast as one: no levels such as region or team")


def test_no_finding_is_good_news_in_words(full_run: RunFolder) -> None:
    frame = full_run.read_frame("bottlenecks")
    stages = frame[frame["kind"] == "stage"].assign(finding=False, cost_per_month=0.0)
    full_run.write_frame("bottlenecks", stages)
    page = Page(render(full_run))
    assert page.said("In no stage does some kind of deal wait longer than comparable deals")
    assert page.said("none found")


def test_names_from_the_data_stay_words(full_run: RunFolder) -> None:
    run = full_run
    settings = parse({"company": {"name": HOSTILE}})
    run.write_text("config.yaml", settings.to_yaml())
    run.write_frame("scores", run.read_frame("scores").assign(
        deal_id=HOSTILE, stage=HOSTILE, rep_id=HOSTILE, reasons=f"For: {HOSTILE}.",
        model_version=HOSTILE,
    ))  # fmt: skip
    hostile = dict.fromkeys(("stage", "attribute", "value"), HOSTILE)
    run.write_frame("bottlenecks", run.read_frame("bottlenecks").assign(**hostile))
    kpis = run.read_frame("kpis")
    run.write_frame("kpis", kpis.assign(metric=kpis["metric"].str.replace("Proposal", HOSTILE)))
    node = "company/" + HOSTILE.replace("/", "%2F")
    for name in ("kpis", "forecast"):
        run.write_frame(name, run.read_frame(name).replace({"node": {"company/EMEA": node}}))
    run.write_json("data_quality", {"checks": [
        {"check": HOSTILE, "table": HOSTILE, "count": 1, "share": 1, "verdict": "fail", "cure": HOSTILE},
    ]})  # fmt: skip
    text = render(run)
    assert "<script" not in text
    assert Page(text).words.count(HOSTILE) > 10


def test_ids_do_not_break_at_their_hyphens(full_run: RunFolder) -> None:
    run = full_run
    scores = run.read_frame("scores")
    run.write_frame("scores", scores.assign(deal_id=[f"D-{k:06}" for k in range(len(scores))]))
    text = render(run)
    shown = set(re.findall(r"D-\d{6}", text))
    assert shown
    for name in shown:
        assert text.count(name) == text.count(f'<span class="whole">{name}</span>')
    assert re.search(r"[tT][hd] \.whole \{[^}]*nowrap", text)


def test_a_hostile_map_is_disarmed(full_run: RunFolder, texts: dict[str, str]) -> None:
    assert Page(texts["full"]).said("Proposal")
    assert "example.org" not in texts["full"]
    full_run.write_text("process_map.svg", "<svg><g>")
    assert Page(render(full_run)).said("This run holds no process map.")


def test_a_refused_model_is_told_first(full_run: RunFolder) -> None:
    figures = full_run.read_json("evaluation")
    figures["gates"][0] |= {"passed": False, "value": 0.61}
    full_run.write_json("evaluation", figures)
    (full_run.path / "scores.parquet").unlink()
    page = Page(render(full_run))
    assert page.said("The model of this run was not put to use")
    assert page.said("as of 5 July 2026")
    assert page.said("Not yet Not passed: log-loss is 0.61, asked for at most 0.5.")
    assert page.said("No open deal has been scored in this run")


def test_a_forecast_no_better_than_a_rule_of_thumb_says_so(full_run: RunFolder) -> None:
    figures = full_run.read_json("evaluation")
    figures["forecast"]["month"]["company"]["run_rate"]["wape"] = 0.1
    figures["forecast"]["month"]["company"]["ours"] |= {"coverage_80": 0.4, "bias": 0.2}
    full_run.write_json("evaluation", figures)
    page = Page(render(full_run))
    assert page.said("That is worse than a rule of thumb")
    assert page.said("the range has been too narrow")
    assert page.said("and promised 20% too much")


def test_deals_without_amounts_or_dates_are_counted(full_run: RunFolder) -> None:
    scores = full_run.read_frame("scores")
    blank = scores.assign(
        amount=np.nan,
        expected_close_date=None,
        rep_id=None,
        close_p50_date=pd.NaT,
        p_win_low=np.nan,
    )
    full_run.write_frame("scores", blank)
    page = Page(render(full_run))
    assert page.said("8 deals are open. Their amounts are not known.")
    assert page.said("Amounts are not known, so that no deal can be called large.")
    assert page.said("By chance, as amounts are not known.")
    assert not page.said("Their money, and the part we expect")


def test_the_verdict_tells_of_simple_answers_that_do_as_well(full_run: RunFolder) -> None:
    figures = full_run.read_json("evaluation")
    figures["baselines"]["stage_age"]["log_loss"] = 0.41
    figures["gain_over_stage_age"] = -0.02
    figures["forecast"]["month"]["company"]["run_rate"]["wape"] = 0.05
    full_run.write_json("evaluation", figures)
    page = Page(render(full_run))
    assert page.said("Stage and age would tell as well who will win.")
    assert page.said("That is 2.0% more than a table of stage and age.")
    assert page.said("In the past a rule of thumb told the company's total better")


def test_kpis_over_all_time_need_no_periods(full_run: RunFolder) -> None:
    kpis = full_run.read_frame("kpis")
    full_run.write_frame("kpis", kpis[kpis["period"] == "2026-Q2"].assign(period="all"))
    page = Page(render(full_run))
    assert page.said("Deals carry no dates, so that each figure is over all of them.")


def test_the_same_run_gives_the_same_page(full_run: RunFolder, texts: dict[str, str]) -> None:
    assert render(full_run) == texts["full"]
