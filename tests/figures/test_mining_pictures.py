"""The pictures of mining: they say what the frames say, whatever the log is like."""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from lxml import etree

from salesops_ml.figures.dotted_chart import MARKS, draw_dotted_chart
from salesops_ml.figures.handover_network import draw_handover_network
from salesops_ml.figures.map_colours import contrast
from salesops_ml.figures.numbers import money
from salesops_ml.figures.performance_spectrum import (
    CLASSES,
    draw_performance_spectrum,
    draw_spectrum_lines,
)
from salesops_ml.figures.plot_room import date_ticks, shortened
from salesops_ml.figures.rep_load import draw_rep_load
from salesops_ml.figures.style import DARK, NARROW, ROLES
from salesops_ml.figures.svg import svg
from salesops_ml.figures.variant_paths import FILLS, draw_variant_paths
from salesops_ml.mining.dotted_chart import dotted_chart
from salesops_ml.mining.variants import variants
from tests.figures.mined import DAY, DRAWN, KNOWN, LOGS, LONG, drawing, frames, log
from tests.figures.word_boxes import lying_over, outside

NOTHING = {
    "variants": "no deal has a path yet", "dots": "the log holds no events",
    "spectrum": "no deal has gone", "spectrum-lines": "no deal has gone",
    "handovers": "no deal has been handed", "load": "no rep has held a deal yet",
}  # fmt: skip


def words(figure: object) -> list[str]:
    texts = etree.fromstring(svg(figure).encode()).iter("{http://www.w3.org/2000/svg}text")
    return ["".join(text.itertext()) for text in texts]


@pytest.mark.parametrize("kind", ["long", "many", "one"])
@pytest.mark.parametrize("name", [name for name in DRAWN if name != "dots-since-start"])
def test_no_words_leave_or_lie_over_others_whatever_the_log(name: str, kind: str) -> None:
    for width in ({}, {"width": NARROW}) if kind == "long" else ({},):
        figure = drawing(name, kind, **width)()
        assert outside(figure) == []
        assert lying_over(figure) == []


@pytest.mark.parametrize("kind", LOGS)
@pytest.mark.parametrize("name", DRAWN)
def test_every_coordinate_is_a_number_and_the_file_is_small(name: str, kind: str) -> None:
    if kind == "long":
        return  # drawn above, with the same marks
    text = svg(drawing(name, kind)())
    assert not re.search(r"\b(nan|inf)\b", text.lower().replace("financial", ""))
    assert len(text.encode()) < 300_000


@pytest.mark.parametrize("name", NOTHING)
def test_an_empty_log_gives_a_picture_that_says_so(name: str) -> None:
    assert NOTHING[name] in " ".join(words(DRAWN[name](frames("empty"))))


@pytest.mark.parametrize("theme", [ROLES, DARK])
def test_words_on_chevrons_can_be_read_light_and_dark(theme: dict[str, str]) -> None:
    role = {colour: name for name, colour in ROLES.items()}
    for fill, _, ink in FILLS.values():
        assert contrast(theme[role[fill]], theme[role[ink]]) > 4.5


@pytest.mark.parametrize("theme", [ROLES, DARK])
def test_quarters_of_durations_are_told_apart_by_lightness_alone(theme: dict[str, str]) -> None:
    role = {colour: name for name, colour in ROLES.items()}
    quarters = [theme[role[colour]] for _, colour, _ in CLASSES[:3]]
    steps = [contrast(a, b) for a, b in pairwise(quarters)]
    assert min(steps) > 1.5
    against_paper = [contrast(colour, theme["paper"]) for colour in quarters]
    assert against_paper == sorted(against_paper)
    assert CLASSES[4][2]


def test_outcomes_have_shapes_of_their_own() -> None:
    shapes = {name: shape for name, (shape, _, _) in MARKS.items()}
    assert len({shapes[name] for name in ("won", "lost", "open")}) == 3


def test_variants_say_share_count_win_rate_and_time() -> None:
    told = frames("usual")
    first = told["variants"].iloc[0]
    said = words(draw_variant_paths(told["variants"], told["stages"]))
    assert f"{first.share:.0%}" in said
    assert f"{first['count']}" in said
    assert {"won", "median time", "✓\u00a0Won", "✕\u00a0Lost"} <= set(said)
    top = told["variants"].head(10)
    assert said[-1] == f"{top.share.sum():.0%} of all deals take these 10 paths"
    shown = sum(map(len, top.steps))
    names = {"Lead", "Demo", "Offer", "Contract", "✓\u00a0Won", "✕\u00a0Lost"}
    assert sum(text in names for text in said) == shown


def test_a_path_that_is_too_long_says_how_much_is_left_out() -> None:
    rows = [("a", f"S{k}", DAY + timedelta(days=k), "r") for k in range(60)]
    made = pd.DataFrame(rows, columns=["case:concept:name", "concept:name", "time:timestamp", "x"])
    said = words(draw_variant_paths(variants(made)))
    shown = sum(bool(re.fullmatch(r"S\d+", text)) for text in said)
    assert f"+{60 - shown}\u00a0more" in said


def test_dots_are_drawn_as_many_as_events() -> None:
    told = frames("usual")["dots"]
    figure = draw_dotted_chart(told)
    marks = list(figure.axes[0].patches)
    assert sum(len(patch.get_path()) // 2 for patch in marks) == len(told)
    x = np.concatenate([patch.get_path().vertices[:, 0] for patch in marks])
    span = (told["at"].max() - told["at"].min()) / timedelta(days=1)
    assert x.min() == pytest.approx(0, abs=span / 50)
    assert x.max() == pytest.approx(span, abs=span / 50)


def test_a_thinned_chart_says_so() -> None:
    made = log(220, ["Lead", "Demo"], ["Ann"])
    said = words(draw_dotted_chart(dotted_chart(made, most_cases=50, **KNOWN)))
    assert "50 of 220 deals, evenly by their begin" in said
    assert "220 deals, by their begin" in words(draw_dotted_chart(dotted_chart(made, **KNOWN)))


def test_the_bars_of_the_spectrum_are_its_counts() -> None:
    told = frames("usual")["spectrum"]
    figure = draw_performance_spectrum(told)
    first = told.iloc[0]
    rows = told[(told.source == first.source) & (told.target == first.target)]
    drawn = sum(
        float(np.sum(patch.get_data().values - patch.get_data().baseline))
        for patch in figure.axes[0].patches
    )
    assert drawn == rows["count"].sum() + rows.waiting.sum()
    title = figure.axes[0].get_title(loc="left")
    assert title.startswith(f"{first.source} → {first.target}\n{first.passings}")


def test_lines_run_from_entering_to_leaving_and_say_what_is_left_out() -> None:
    told = frames("usual")["passings"]
    many = pd.concat([told.assign(case_id=told.case_id + f"-{k}") for k in range(4)])
    many = many.sort_values("entered_at", kind="stable")
    figure = draw_spectrum_lines(many, most=1)
    title = figure.axes[0].get_title(loc="left")
    source, target = title.split("\n")[0].split(" → ")
    every = int(((many.source == source) & (many.target == target)).sum())
    assert title.endswith(f"last 250 of {every:,} passings")
    paths = [patch.get_path().vertices.reshape(-1, 2, 2) for patch in figure.axes[0].patches]
    lines = np.concatenate(paths)
    assert len(lines) == 250
    assert (lines[:, 1, 0] >= lines[:, 0, 0]).all()
    assert (lines[:, 0, 1] == 1).all()
    assert (lines[:, 1, 1] == 0).all()


def test_the_network_shows_the_busiest_and_says_how_much_that_is() -> None:
    told = frames("many")["handovers"]
    figure = draw_handover_network(told)
    said = words(figure)
    first = told.iloc[0]
    assert any(text == f"{first.source} → {first.target}" for text in said)
    reps = {text for text in said if re.fullmatch(r"Rep no\. \d+", text)}
    assert len(reps) == 12
    inside = told[told.source.isin(reps) & told.target.isin(reps)].head(24)
    total, shown = int(told["count"].sum()), int(inside["count"].sum())
    assert f"{shown:,} of {total:,} hand-overs shown; dashed: longest waits" in said
    arrows = [
        patch for patch in figure.axes[0].patches if type(patch).__name__ == "FancyArrowPatch"
    ]
    assert len(arrows) == len(inside)
    assert max(arrow.get_linewidth() for arrow in arrows) == pytest.approx(5.0)


def test_the_load_shows_who_has_most_now_first() -> None:
    told = frames("usual")["load"]
    last = told.sort_values("week_start").groupby("rep").tail(1)
    latest = last[last.week_start == last.week_start.max()]
    most = latest.sort_values(["open_deals", "rep"], ascending=[False, True]).iloc[0]
    figure = draw_rep_load(told)
    assert figure.axes[0].get_title(loc="left").startswith(f"{most.rep}\n{most.open_deals} open")
    line = figure.axes[0].lines[0]
    assert line.get_ydata().tolist() == told[told.rep == most.rep].open_deals.tolist()
    marks = figure.axes[0].collections[-1].get_offsets()
    assert len(marks) == int(told[told.rep == most.rep].above_usual.sum())


@pytest.mark.parametrize("days", [0, 1, 20, 75, 400, 4000, 40_000])
@pytest.mark.parametrize("inches", [0.5, 1.9, 6.5])
def test_dates_are_few_enough_for_their_room(days: int, inches: float) -> None:
    last = DAY + timedelta(days=days)
    ticks, labels = date_ticks(DAY, last, inches)
    assert 1 <= len(ticks) == len(labels) <= max(int(inches / 0.62), 1)
    assert all(pd.Timestamp(DAY) <= tick <= pd.Timestamp(last) for tick in ticks)
    assert ticks == sorted(set(ticks))


def test_names_are_cut_to_their_room_and_lose_what_cannot_be_shown() -> None:
    assert shortened(LONG, 1.0).endswith("…")
    assert shortened("Lead\x07\nin", 3.0) == "Lead  in"


@pytest.mark.parametrize(
    ("amount", "said"),
    [(9_850_005.0, "€9.85M"), (9.996e6, "€10.0M"), (99.96e6, "€100M"), (9.5e9, "€9.50B")],
)
def test_amounts_below_a_power_of_ten_keep_three_figures(amount: float, said: str) -> None:
    assert money(amount) == said
