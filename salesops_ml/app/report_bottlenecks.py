"""Where deals get stuck, in words and money, beside the map."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from salesops_ml.app.report_advice import Advice, advice
from salesops_ml.app.report_files import RunFiles
from salesops_ml.app.report_map import embedded_map
from salesops_ml.app.report_parts import Table, counted
from salesops_ml.figures.numbers import UNKNOWN, days, known, money, percent, plain

MOST = 5


@dataclass(frozen=True)
class Stuck:
    """One finding: its price, its headline, and the sentences about it."""

    price: str
    span: str
    title: str
    words: str


@dataclass(frozen=True)
class BottleneckSection:
    """The findings, what to do about them, the map and the stages."""

    summary: str
    found: list[Stuck]
    advice: list[Advice]
    stages: Table | None
    map: Markup
    has_page: bool
    has_process: bool


def build_bottlenecks(files: RunFiles) -> BottleneckSection:
    """The section from bottlenecks.parquet and the process map."""
    frame = files.frame("bottlenecks")
    kinds = frame["kind"] if "kind" in frame.columns else pd.Series(dtype=object)
    segments = frame[(kinds == "segment") & frame["finding"].astype(bool)] if len(frame) else frame
    stages = frame[kinds == "stage"] if len(frame) else frame
    return BottleneckSection(
        _summary(segments, stages, files.currency),
        [_stuck(row, files.currency) for _, row in segments.head(MOST).iterrows()],
        _advice(files),
        _stages(_in_turn(stages, files), files.currency) if len(stages) else None,
        embedded_map(files.text("process_map.svg")),
        files.folder.has("process_map.html"),
        files.folder.has("process.html"),
    )


def _advice(files: RunFiles) -> list[Advice]:
    """What to do first; what the findings above say already is not said again."""
    ranked = files.frame("recommendations")
    if ranked.empty:
        return []
    return advice(ranked[ranked["kind"] != "slow kind"], files.currency, most=MOST)


def _summary(segments: pd.DataFrame, stages: pd.DataFrame, currency: str) -> str:
    if stages.empty:
        return (
            "No stages could be followed: this run has no history of stages, so that nobody can say"
            " where deals wait."
        )
    if segments.empty:
        return (
            "In no stage does some kind of deal wait longer than comparable deals by more than"
            " chance explains. Stages can still be long for everyone: see how long deals stay, below."
        )
    total = known(segments["cost_per_month"].sum(min_count=1))
    where = counted(segments["stage"].nunique(), "stage")
    kinds = counted(len(segments), "kind of deal waits", "kinds of deals wait")
    text = f"{kinds} longer than comparable deals do, in {where}."
    if total is None:
        return text + " Amounts are not known, so that the wait has no price."
    return f"Waiting costs about {money(total, currency)} of won business a month: {text}"


def _stuck(row: pd.Series, currency: str) -> Stuck:
    cost = known(row["cost_per_month"])
    price = money(cost, currency) if cost is not None else f"{plain(row['wins_per_month'], 1)} wins"
    span = ""
    if known(row["cost_low"]) is not None:
        span = f"{money(row['cost_low'], currency)} to {money(row['cost_high'], currency)}"
    return Stuck(
        f"{price} a month", span, f"{row['stage']}: {condition_words(row)}", _words(row, currency)
    )


def condition_words(row: pd.Series) -> str:
    """What kind of deal a finding speaks of.

    Example:
        >>> condition_words(pd.Series({"attribute": "discount", "value": "> 20%"}))
        'discount above 20%'
        >>> condition_words(pd.Series({"attribute": "x_segment", "value": "Public"}))
        'segment Public'
    """
    name = str(row["attribute"]).removeprefix("x_").replace("_", " ")
    value = str(row["value"])
    if value.startswith("> "):
        return f"{name} above {value[2:]}"
    if value.startswith("<= "):
        return f"{name} up to {value[3:]}"
    return f"{name} {value}"


def _words(row: pd.Series, currency: str) -> str:
    parts = [
        f"Half of these deals stay {days(row['dwell_p50_days'])} or longer; half of the others are"
        f" gone after {days(row['others_p50_days'])}."
    ]
    if known(row["dwell_p50_days"]) is None:
        parts = ["Half of these deals have not left the stage yet."]
    pace = known(row["pace"])
    if pace is not None:
        parts.append(f"Like for like they move at {percent(pace)} of the usual pace.")
    wins = known(row["wins_per_month"])
    if wins is not None:
        parts.append(f"That loses or puts off about {plain(wins, 1)} wins a month.")
    waiting = int(known(row["open_now"]) or 0)
    if waiting:
        parts.append(
            f"{counted(waiting, 'such deal')} worth {money(row['amount_now'], currency)} wait there now."
        )
    return " ".join(parts)


def _in_turn(stages: pd.DataFrame, files: RunFiles) -> pd.DataFrame:
    """Stages in the order of the process, where it is known."""
    place = files.stage_places
    turn = stages["stage"].map(lambda stage: place.get(stage, len(place)))
    return stages.assign(_turn=turn).sort_values(["_turn", "stage"])


def _stages(stages: pd.DataFrame, currency: str) -> Table:
    heads = (
        "stage", "there now", "their money", "median stay", "target", "stay longer",
        "cost of delay", "if half met the target",
    )  # fmt: skip
    rows = [_stage_cells(row, currency) for _, row in stages.iterrows()]
    return Table(heads, rows, numeric=range(1, len(heads)))


def _gain_words(gain: float | None, currency: str) -> str:
    if gain is None:
        return "–"
    return f"+{money(gain, currency)} a month" if gain >= 1 else "met already"


def _stage_cells(row: pd.Series, currency: str) -> list[str]:
    agreed = {"agreed": " (agreed)", "quantile": " (quickest quarter)"}
    target = known(row["target_days"])
    cost, gain = known(row["cost_per_month"]), known(row["gain_at_target_per_month"])
    return [
        str(row["stage"]),
        f"{known(row['open_now']) or 0:,.0f}",
        money(row["amount_now"], currency),
        days(row["dwell_p50_days"]) if known(row["dwell_p50_days"]) is not None else UNKNOWN,
        "none" if target is None else days(target) + agreed.get(str(row["target_from"]), ""),
        percent(row["share_past_target"]) if target is not None else "–",
        "none found" if not cost else f"{money(cost, currency)} a month",
        _gain_words(gain, currency),
    ]
