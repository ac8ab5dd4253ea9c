"""The process page: everything that mining found, with pictures, for those who mend the process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from salesops_ml.app.process_tables import (
    cause_sentences,
    fitness_words,
    models_table,
    rework_table,
    rules_table,
    told,
    waiting_table,
)
from salesops_ml.app.report import page_environment
from salesops_ml.app.report_advice import advice
from salesops_ml.app.report_map import embedded_map
from salesops_ml.app.report_parts import Picture, picture
from salesops_ml.figures.difference_map import draw_difference_map
from salesops_ml.figures.dotted_chart import draw_dotted_chart
from salesops_ml.figures.handover_network import draw_handover_network
from salesops_ml.figures.performance_spectrum import draw_performance_spectrum
from salesops_ml.figures.process_map import draw_map, map_page
from salesops_ml.figures.rep_load import draw_rep_load
from salesops_ml.figures.style import DARK, ROLES
from salesops_ml.figures.variant_paths import draw_variant_paths
from salesops_ml.mining.run import MiningResult
from salesops_ml.settings import Settings

MOST_DIFFERENCES = 10


def write_pages(found: MiningResult, settings: Settings, folder: Path) -> Path:
    """Write `process_map.svg`, `process_map.html` and `process.html`; the path of the last."""
    words: dict[str, Any] = {
        "title": f"How deals move at {settings.company.name}",
        "currency": settings.company.base_currency,
    }
    shown = (found.transitions, found.stages, found.bottlenecks)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "process_map.svg").write_text(draw_map(*shown, **words), encoding="utf-8")
    (folder / "process_map.html").write_text(map_page(*shown, **words), encoding="utf-8")
    page = folder / "process.html"
    page.write_text(render_process(found, settings), encoding="utf-8")
    return page


def render_process(found: MiningResult, settings: Settings) -> str:
    """The page as HTML: no part of it is loaded from elsewhere; all data is escaped."""
    currency = settings.company.base_currency
    more = found.more
    template = page_environment().get_template("process.html.jinja")
    return template.render(
        company=settings.company.name,
        light=ROLES,
        dark=DARK,
        cases=f"{found.cases:,}",
        events=f"{found.events:,}",
        advice=advice(more["recommendations"], currency),
        slow=cause_sentences(more["causes"], "slow"),
        lost=cause_sentences(more["causes"], "lost"),
        rules=told(more["cause_rules"], "text", most=10),
        waiting=waiting_table(more["waiting"], list(found.stages["stage"])),
        fitness=fitness_words(found.conformance),
        broken=rules_table(found.conformance, currency),
        ways=rework_table(more["rework"], more["first_pass"], more["skipped_stages"]),
        back=told(more["ping_pong"], "finding"),
        names=found.compared,
        difference=_difference(found),
        differences=_differences(more["comparison"]),
        drift=told(more["drift"], "finding"),
        recent=told(more["recent"], "finding"),
        models=models_table(found.models),
        **_pictures(found, currency),
    )


def _difference(found: MiningResult) -> Markup:
    """The map of what differs, made fit to stand in the page."""
    comparison = found.more["comparison"]
    if comparison.empty:
        return Markup()
    title = f"Where {found.compared[0]} and {found.compared[1]} deals differ"
    drawn = draw_difference_map(
        comparison, found.transitions, found.stages, names=found.compared, title=title
    )
    return embedded_map(drawn)


def _differences(comparison: pd.DataFrame) -> list[str]:
    """The clearest differences; those that the outcome itself makes are left out."""
    if comparison.empty:
        return []
    own = comparison[~comparison["by_outcome"].astype(bool)]
    return told(own.sort_values("q_value", kind="stable"), "finding", MOST_DIFFERENCES)


def _pictures(found: MiningResult, currency: str) -> dict[str, Picture | None]:
    more = found.more
    return {
        "variants": _shown(
            found.variants, "variants", "The usual paths of deals",
            lambda width: draw_variant_paths(found.variants, found.stages, width=width),
        ),
        "handovers": _shown(
            more["handovers"], "handovers", "Who passes deals to whom",
            lambda width: draw_handover_network(more["handovers"], width=width),
        ),
        "load": _shown(
            more["rep_load"], "load", "Open deals of each rep, week by week",
            lambda width: draw_rep_load(more["rep_load"], currency=currency, width=width),
        ),
        "spectrum": _shown(
            more["performance_spectrum"], "spectrum", "How quickly deals passed, over time",
            lambda width: draw_performance_spectrum(more["performance_spectrum"], width=width),
        ),
        "dots": _shown(
            more["dotted_chart"], "dots", "Every event of every deal",
            lambda width: draw_dotted_chart(more["dotted_chart"], width=width),
        ),
    }  # fmt: skip


def _shown(frame: pd.DataFrame, name: str, title: str, draw: Any) -> Picture | None:
    return None if frame.empty else picture(name, title, draw)
