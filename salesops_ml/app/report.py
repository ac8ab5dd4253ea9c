"""The report for leaders: one self-contained page, written from the files of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from salesops_ml.app.report_bottlenecks import build_bottlenecks
from salesops_ml.app.report_change import build_change
from salesops_ml.app.report_files import RunFiles
from salesops_ml.app.report_forecast import build_forecast
from salesops_ml.app.report_headline import build_headline
from salesops_ml.app.report_kpis import build_kpis
from salesops_ml.app.report_leaders import build_leaders
from salesops_ml.app.report_method import build_method
from salesops_ml.app.report_parts import whole
from salesops_ml.app.report_pipeline import build_pipeline
from salesops_ml.app.report_trees import build_trees
from salesops_ml.app.report_trust import build_trust
from salesops_ml.app.run_folder import RunFolder
from salesops_ml.figures.numbers import day
from salesops_ml.figures.style import DARK, ROLES


def write_report(folder: RunFolder) -> Path:
    """Write `report.html` from the other files of the run; its path.

    What a run does not hold is said in words in its place.

    Raises:
        ConfigError: the run's config.yaml cannot be read.
    """
    folder.write_text("report.html", render(folder))
    return folder.path / "report.html"


def render(folder: RunFolder) -> str:
    """The report as HTML: no part of it is loaded from elsewhere; all data is escaped."""
    template = page_environment().get_template("report.html.jinja")
    return template.render(**_sections(RunFiles(folder)))


def page_environment() -> Environment:
    """How pages are made of templates: everything is escaped, and a name without a value is an error."""
    environment = Environment(
        loader=PackageLoader("salesops_ml.app"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["whole"] = whole
    return environment


def _sections(files: RunFiles) -> dict[str, Any]:
    return {
        "company": files.settings.company.name,
        "today": day(files.today, short=False),
        "run_id": files.folder.run_id,
        "light": ROLES,
        "dark": DARK,
        "headline": build_headline(files),
        "forecast": build_forecast(files),
        "trees": build_trees(files),
        "change": build_change(files),
        "leaders": build_leaders(files),
        "bottlenecks": build_bottlenecks(files),
        "pipeline": build_pipeline(files),
        "kpis": build_kpis(files),
        "trust": build_trust(files),
        "method": build_method(files),
    }
