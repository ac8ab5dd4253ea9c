"""What each picture says, and what it says when it has nothing to show."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from salesops_ml.figures.forecast_fan import draw_forecast_fan
from salesops_ml.figures.forecast_record import draw_forecast_record, miss
from salesops_ml.figures.kpi_tiles import draw_kpi_tiles
from salesops_ml.figures.numbers import count, day, days, measure, money, percent, plain
from salesops_ml.figures.reliability import draw_reliability
from salesops_ml.figures.score_bands import band_table, draw_score_bands
from salesops_ml.figures.score_comparison import draw_score_comparison
from salesops_ml.figures.style import NARROW
from salesops_ml.figures.svg import svg
from salesops_ml.figures.waterfall import draw_waterfall, told_steps
from salesops_ml.figures.win_curve import draw_win_curve
from salesops_ml.figures.words import METRICS
from salesops_ml.kpis.definitions import DEFINITIONS


def words(figure: Any) -> list[str]:
    """The texts of a figure's SVG."""
    return [text for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg(figure)) if text.strip()]


def frame_forecast() -> pd.DataFrame:
    base = {"node": "company", "grain": "month", "closed": 1e5, "from_open": 2e5, "from_new": 0.0}
    spread = {"p025": 2e5, "p10": 2.5e5, "p90": 3.5e5, "p975": 4e5, "mean": 3e5, "adjustment": 0.0}
    starts = {"2026-11": "2026-11-01", "2026-12": "2026-12-01", "2027-01": "2027-01-01"}
    return pd.DataFrame(
        [{"period": k, "period_start": pd.Timestamp(v)} | base | spread for k, v in starts.items()]
    )


def test_the_fan_names_its_periods_amounts_and_parts() -> None:
    figure = draw_forecast_fan(frame_forecast(), currency="USD")
    said = words(figure)
    assert {"By month", "Nov", "Dec", "Jan", "2026", "2027", "already won"} <= set(said)
    assert [text.get_text() for text in figure.axes[0].texts] == ["$300k"] * 3
    assert "corrected by the trend" not in said


def test_the_fan_names_months_of_weeks_by_their_number() -> None:
    rows = frame_forecast().assign(period=["2026-P11", "2026-P12", "2027-P01"])
    said = words(draw_forecast_fan(rows))
    assert {"P11", "P12", "P01", "2026", "2027"} <= set(said)
    assert "Nov" not in said


def test_the_fan_tells_of_a_correction_only_where_there_is_one() -> None:
    said = words(draw_forecast_fan(frame_forecast().assign(adjustment=-1e4)))
    assert "corrected by the trend" in said


def test_the_record_puts_ours_first_and_tells_the_miss() -> None:
    months = pd.date_range("2026-01-01", periods=2, freq="MS")
    rows = [
        {"origin": months[0], "node": "company", "grain": "month", "method": method, "mean": mean,
         "period": f"{month:%Y-%m}", "period_start": month, "p10": 80.0, "p90": 120.0,
         "actual": 100.0}
        for method, mean in (("run_rate", 130.0), ("ours", 90.0))
        for month in months
    ]  # fmt: skip
    said = words(draw_forecast_record(pd.DataFrame(rows)))
    assert said.index("This forecast") < said.index("12-month average")
    assert {"missed by 10%", "missed by 30%"} <= set(said)
    assert np.isnan(miss(pd.DataFrame({"mean": [1.0], "actual": [0.0]})))


def test_the_comparison_orders_by_score_and_leaves_out_the_unscored() -> None:
    scores = {
        "deal_scores": {"log_loss": 0.4},
        "base_rate": {"log_loss": 0.6, "log_loss_interval": None},
        "stage_age": {"log_loss": None},
    }
    figure = draw_score_comparison(scores)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "Average of all deals", "This model",
    ]  # fmt: skip
    assert {"0.400", "0.600"} <= set(words(figure))


def test_reliability_tells_how_many_looks_a_group_holds() -> None:
    said = words(draw_reliability([[0.1, 0.2, 50.0], [0.4, 0.3, 1200.0]]))
    assert "2 groups of 50 to 1,200 looks" in said


def test_bands_count_deals_and_expect_amount_times_chance() -> None:
    scores = pd.DataFrame(
        {"band": ["high", "high", "low"], "p_win": [0.9, 0.8, 0.3], "amount": [1e6, np.nan, 2e6]}
    )
    table = band_table(scores)
    assert table.loc["high"].tolist() == [2, 1e6, 9e5]
    assert table.loc["very low"].tolist() == [0, 0, 0]
    said = words(draw_score_bands(scores))
    assert {"€1.00M, €900k expected", "€2.00M, €600k expected", "none"} <= set(said)


def test_the_waterfall_drops_empty_steps_and_keeps_its_ends() -> None:
    steps = {"end": 0.0, "start": 100.0, "currency": 0.0, "lost": -40.0, "won": -60.0}
    assert list(told_steps(steps)) == ["start", "won", "lost", "end"]
    said = words(draw_waterfall(steps, width=NARROW))
    assert {"Due at start", "Won", "Lost", "Due at end", "−€60", "−€40"} <= set(said)
    assert "Currency" not in said


def test_tiles_tell_value_target_and_status() -> None:
    row = {"metric": "win_rate", "period": "2026-Q3", "node": "company", "value": 21.0, "unit": "%"}
    said = words(draw_kpi_tiles(pd.DataFrame([row | {"target": 25.0, "status": "missed"}])))
    assert said == ["Win rate, deals", "21.0%", "off target (25%)"]


@pytest.mark.parametrize(("won", "lost"), [(0.97, 0.02), (0.01, 0.98), (0.02, 0.03), (0.5, 0.5)])
def test_a_curve_names_its_ends_apart(won: float, lost: float) -> None:
    figure = draw_win_curve([30.0], [won], [lost], as_of=datetime(2026, 11, 20))
    heights = sorted(text.xy[1] for text in figure.axes[0].texts)
    assert len(heights) == 3
    assert min(np.diff(heights)) > 0.1
    assert 0 <= heights[0] <= heights[-1] <= 1


def test_a_picture_without_data_says_so() -> None:
    none = pd.DataFrame(columns=["node", "grain", "period_start", "method", "metric", "period"])
    assert words(draw_forecast_fan(none)) == ["no forecast"]
    assert words(draw_forecast_record(none)) == ["no past forecast to judge by"]
    assert words(draw_kpi_tiles(none)) == ["no KPI could be told"]
    assert words(draw_score_comparison({"deal_scores": {"log_loss": None}})) != []
    assert words(draw_reliability([])) == ["no deal could be judged yet"]
    assert words(draw_waterfall({})) == ["nothing was due in this period"]


def test_every_kpi_has_a_name_for_people() -> None:
    assert set(DEFINITIONS) - {"waterfall"} - set(METRICS) - {
        "open_pipeline", "open_deals", "sales_velocity", "pipeline_efficiency", "forecast_accuracy",
        "forecast_bias",
    } == set()  # fmt: skip


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (money(999_499), "€999k"),
        (money(999_500), "€1.00M"),
        (money(9_999.6), "€10k"),
        (money(12_345_678, "GBP"), "£12.3M"),
        (money(999_600_000), "€1.00B"),
        (money(2.5), "€2.50"),
        (money(float("nan")), "not known"),
        (money(0), "€0"),
        (money(1, "XYZ"), "XYZ 1"),
        (percent(-0.031), "−3%"),
        (percent(-0.001), "0%"),
        (percent(0.0004, 1), "<0.1%"),
        (percent(1.0), "100%"),
        (count(None), "not known"),
        (days(0.96), "1.0 days"),
        (days(0.94), "23 hours"),
        (days(9.97), "10 days"),
        (days(1 / 24), "1 hour"),
        (days(0.0104), "15 minutes"),
        (days(0.0005), "43 seconds"),
        (days(0), "0 days"),
        (plain(-0.5, 1), "−0.5"),
        (day(None), "not known"),
        (day(pd.NaT), "not known"),
        (measure(250.0, "EUR/h"), "€250 an hour"),
        (measure(30.0, "%", trim=True), "30%"),
        (measure(1.25, "hours"), "1.2 hours"),
        (measure(None, "days"), "not known"),
        (measure(4.0, "count"), "4"),
    ],
)
def test_numbers_as_people_say_them(said: str, wanted: str) -> None:
    assert said == wanted


def test_two_dollar_signs_are_no_formula() -> None:
    frame = frame_forecast().assign(period=["$a$", "$b$", "$c$"], grain="quarter")
    assert {"$a$", "$b$", "$c$"} <= set(words(draw_forecast_fan(frame)))
