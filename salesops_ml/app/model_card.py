"""The model card: one page for whoever must decide whether to lean on the scores.

What the model was made from, what it promises, how well it kept that on deals it had never seen,
beside every simple answer; where it should not be trusted; and what it is not for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salesops_ml.app import model_card_words as words
from salesops_ml.app.model_card_facts import PROMISED_COVERAGE, card_facts
from salesops_ml.app.model_card_insights import bent_by, leaned_on
from salesops_ml.app.report import page_environment
from salesops_ml.app.report_files import RunFiles
from salesops_ml.app.report_method import SOURCES
from salesops_ml.app.report_parts import Picture, Table, counted, picture
from salesops_ml.app.report_trust import Finding, audit_lines, gate_lines
from salesops_ml.app.run_folder import RunFolder
from salesops_ml.figures.numbers import UNKNOWN, day, days, known, percent, plain
from salesops_ml.figures.promised_and_won import draw_promised_and_won
from salesops_ml.figures.reliability import draw_reliability
from salesops_ml.figures.score_comparison import draw_score_comparison
from salesops_ml.figures.style import DARK, NARROW, ROLES
from salesops_ml.figures.words import model_name, sentence_case

Facts = Mapping[str, Any]
KINDS = {
    "train": "To learn", "calibration": "To calibrate", "test": "To judge", "unused": "Not used",
}  # fmt: skip
MOST_LINES = 14
HALF = 3.9


@dataclass(frozen=True)
class Part:
    """One dimension of the deals, such as stage: its picture."""

    title: str
    picture: Picture


def write_model_card(folder: RunFolder) -> Path:
    """Write `model_card.json` and `model_card.html` from the other files of the run; the page's path.

    Raises:
        ConfigError: the run's config.yaml cannot be read.
    """
    facts = card_facts(RunFiles(folder))
    folder.write_json("model_card", facts)
    folder.write_text("model_card.html", render_card(facts))
    return folder.path / "model_card.html"


def render_card(facts: Facts) -> str:
    """The card as HTML, from its facts alone; nothing is loaded from elsewhere, all data is escaped."""
    template = page_environment().get_template("model_card.html.jinja")
    return template.render(light=ROLES, dark=DARK, facts=facts, **_sections(facts))


def _sections(facts: Facts) -> dict[str, Any]:
    data = facts["data"]
    return {
        "company": data["company"],
        "today": day(data["as_of"], short=False),
        "verdict": {**facts["verdict"], "reasons": words.reasons(facts)},
        "uses": words.intended_use(facts),
        "limits": words.limits(facts),
        "data": _data(facts),
        "blocks": _blocks(facts),
        "label": words.label_words(facts),
        "split": words.split_words(facts),
        "scores": _scores(facts),
        "validation": _validation(facts),
        "comparison": _comparison(facts),
        "reliability": _reliability(facts),
        "parts": _parts(facts),
        "distrust": [Finding(verdict, text) for verdict, text in words.distrust_words(facts)],
        "leans": leaned_on(facts["insights"]),
        "bends": bent_by(facts["insights"]),
        "coverage": words.coverage_words(facts),
        "dates": _dates(facts),
        "calibration": words.calibration_words(facts),
        "sufficiency": words.sufficiency_words(facts),
        "audit": audit_lines(facts["audit"] or {}),
        "gates": gate_lines(facts["gates"]),
        "made": _made(facts),
    }


def _data(facts: Facts) -> dict[str, str]:
    data = facts["data"]
    looks = {
        "deal_start": f"every {days(int(data['looks_every'].rstrip('d')))} of a deal's own life",
        "calendar": f"every {days(int(data['looks_every'].rstrip('d')))}, all deals on the same days",
        "every_event": "whenever a stage changes",
    }
    told = {"Source": SOURCES.get(data["source"], data["source"]), "As of": day(data["as_of"])}
    if data["dated"]:
        told["Deals begun"] = f"{day(data['first_deal'])} to {day(data['last_deal'])}"
        told["Looked at"] = looks[data["looks_at"]]
    else:
        told["Looked at"] = "once a deal: nothing is dated"
    told["Size"] = f"{counted(data['deals'], 'deal')}, {counted(data['looks'], 'look')}"
    told["Features"] = (
        f"{facts['model']['features']:,}, each as it was known on the day of the look"
    )
    return told


def _blocks(facts: Facts) -> Table | None:
    blocks = facts["split"]["blocks"]
    if not blocks:
        return None
    rows = [
        [
            KINDS[name], f"{day(block['from'])} to {day(block['to'])}" if block["from"] else UNKNOWN,
            *(f"{block[key]:,}" for key in ("deals", "looks", "won", "lost", "open")),
        ]
        for name, block in blocks.items()
    ]  # fmt: skip
    heads = ["Block", "Deals begun", "Deals", "Looks", "Won", "Lost", "Open"]
    return Table(heads, rows, numeric=(2, 3, 4, 5, 6))


def _scores(facts: Facts) -> Table | None:
    """Every figure with its interval, ours first."""
    models = {
        n: row for n, row in facts["scores"].items() if known(row.get("log_loss")) is not None
    }
    if not models:
        return None
    rows = [
        [
            model_name(name),
            *(
                _figure(row, key, digits)
                for key, digits in (("log_loss", 3), ("brier", 3), ("auc", 3))
            ),
            _figure(row, "calibration_slope", 2),
            percent(row.get("calibration_error"), 1),
            _figure(row, "saved", 3) if "saved" in row else "–",
        ]
        for name, row in models.items()
    ]
    heads = [
        "",
        "Log-loss",
        "Brier score",
        "AUC",
        "Slope",
        "Calibration error",
        "Saved by this model",
    ]
    return Table(heads, rows, numeric=(1, 2, 3, 4, 5, 6))


def _figure(row: Facts, key: str, digits: int) -> str:
    low, high = (known(edge) for edge in row.get(f"{key}_interval") or (None, None))
    value = plain(row.get(key), digits)
    if low is None or high is None:
        return value
    return f"{value} ({plain(low, digits)}\u00a0to\u00a0{plain(high, digits)})"


def _validation(facts: Facts) -> Table | None:
    """Log-loss at each past day, ours beside every baseline."""
    found = facts["validation"]
    if not found:
        return None
    names = list(found["origins"][0]["models"])
    rows = []
    for row in found["origins"]:
        until = (
            f"{day(row['origin'])} to {day(row['judged_until'])}" if row["origin"] else "Together"
        )
        models = row["models"]
        figures = [plain(models.get(name, {}).get("log_loss"), 3) for name in names[1:]]
        rows.append(
            [until, f"{row['deals']:,}", _figure(models[names[0]], "log_loss", 3), *figures]
        )
    heads = ["Judged from", "Deals", *map(model_name, names)]
    return Table(heads, rows, numeric=tuple(range(1, len(heads))))


def _comparison(facts: Facts) -> Picture | None:
    if not facts["scores"]:
        return None
    return picture(
        "comparison",
        "Log-loss of the model and of simple answers",
        lambda width: draw_score_comparison(facts["scores"], width=width),
        widths=(4.4, NARROW),
        caption="Each line: the 95% interval, drawn by deal.",
    )


def _reliability(facts: Facts) -> Picture | None:
    if not facts["reliability"]:
        return None
    return picture(
        "reliability",
        "Promised chance against share won",
        lambda width: draw_reliability(facts["reliability"], width=width),
        widths=(HALF, NARROW),
        caption="On the dashed line what was promised is what happened.",
    )


def _parts(facts: Facts) -> list[Part]:
    """A picture for each dimension: promised beside won, by value."""
    judged = [part for part in facts["parts"] if part["share_won"] is not None]
    found = []
    for dimension in dict.fromkeys(part["dimension"] for part in judged):
        rows = [
            {**part, "outside": part["trusted"] == "no"}
            for part in judged
            if part["dimension"] == dimension
        ]
        if len(rows) > MOST_LINES:
            rows = sorted(rows, key=lambda row: -row["deals"])[:MOST_LINES]
        found.append(Part(sentence_case(dimension), _part_picture(dimension, rows)))
    return found


def _part_picture(dimension: str, rows: list[dict[str, Any]]) -> Picture:
    name = "".join(letter if letter.isalnum() else "-" for letter in dimension)
    return picture(
        f"part-{name}",
        f"Promised and won by {sentence_case(dimension).lower()}",
        lambda width: draw_promised_and_won(rows, width=width),
        widths=(HALF, NARROW),
    )


def _dates(facts: Facts) -> Table | None:
    """Coverage of the range of close dates by model: promised beside measured."""
    if not facts["dates"]:
        return None
    rows = [
        [
            model_name(name), percent(PROMISED_COVERAGE), _coverage(row),
            days(row.get("mean_width_days")), days(row.get("mae_days")),
        ]
        for name, row in facts["dates"]["models"].items()
    ]  # fmt: skip
    heads = ["", "Promised", "Measured", "Mean width", "End missed by"]
    return Table(heads, rows, numeric=(1, 2, 3, 4))


def _coverage(row: Facts) -> str:
    low, high = (known(edge) for edge in row.get("coverage_80_interval") or (None, None))
    value = percent(row.get("coverage_80"), 1)
    return value if low is None else f"{value} ({percent(low, 1)} to {percent(high, 1)})"


def _made(facts: Facts) -> dict[str, str]:
    model = facts["model"]
    libraries = [f"{name} {number}" for name, number in model["libraries"].items()]
    return {
        "Model": str(model["version"] or f"{model['name']}, not registered yet"),
        "Run": str(model["run"]),
        "Seed": str(model["seed"]),
        "Feature version": str(model["feature_version"] or UNKNOWN),
        "Git revision": str(model["git_revision"] or UNKNOWN),
        "Python": str(model["python"] or UNKNOWN),
        "Libraries": ", ".join(libraries) or UNKNOWN,
    }
