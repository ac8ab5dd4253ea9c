"""The tables of the process page: causes, waiting, the agreed process, ways back, and drawn models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from salesops_ml.app.report_parts import Table
from salesops_ml.figures.numbers import UNKNOWN, days, known, money, percent
from salesops_ml.mining.conformance import Conformance
from salesops_ml.mining.discovery import Discovery, quality_table

MOST = 8
KINDS = {
    "batching": "in batches", "unavailability": "off hours", "contention": "rep busy",
    "prioritisation": "others first", "rest": "none of these",
}  # fmt: skip


def told(frame: pd.DataFrame, column: str, most: int = MOST) -> list[str]:
    """The sentences of a frame's findings, the first `most` of them.

    Example:
        >>> told(pd.DataFrame({"finding": ["a", None, "b"]}), "finding", most=1)
        ['a']
    """
    if column not in frame.columns:
        return []
    return [str(text) for text in frame[column].dropna().head(most)]


def cause_sentences(causes: pd.DataFrame, outcome: str) -> list[str]:
    """What goes with slow, or with lost, deals, strongest first; each property once."""
    if causes.empty:
        return []
    found = causes[(causes["outcome"] == outcome) & causes["finding"].astype(bool)]
    return told(found.drop_duplicates(["attribute", "value"]), "text")


def waiting_table(waiting: pd.DataFrame, stages: Sequence[str]) -> Table | None:
    """A row a stage, in their order: how many days of a stay are waiting of each kind."""
    if waiting.empty:
        return None
    wide = waiting.pivot(index="stage", columns="kind", values="days_per_stay")
    share = waiting.pivot(index="stage", columns="kind", values="share")
    kinds = [kind for kind in KINDS if kind in wide.columns]
    rows = [
        [str(stage)]
        + [f"{days(wide.loc[stage, kind])} ({percent(share.loc[stage, kind])})" for kind in kinds]
        for stage in stages
        if stage in wide.index
    ]
    return Table(["A stay in", *(KINDS[kind] for kind in kinds)], rows, range(1, len(kinds) + 1))


def rules_table(held: Conformance | None, currency: str) -> Table | None:
    """The rules that were broken, the dearest first."""
    if held is None or held.broken().empty:
        return None
    heads = (
        "Rule", "deals", "of those checked", "their money", "won, broken", "won, kept",
        "difference", "agreed to",
    )  # fmt: skip
    rows = [_rule_cells(row, currency) for row in held.broken().head(MOST + 4).to_dict("records")]
    return Table(heads, rows, numeric=range(1, len(heads)))


def _rule_cells(row: dict[Any, Any], currency: str) -> list[str]:
    return [
        str(row["rule"]),
        f"{row['cases']:,}",
        percent(row["share"]),
        money(row["amount"], currency),
        *(_rate(row[name]) for name in ("win_rate_broken", "win_rate_kept")),
        points(row["win_rate_difference"], row["low"], row["high"]),
        f"{row['allowed']:,}",
    ]


def _rate(share: Any) -> str:
    return "–" if known(share) is None else percent(share)


def fitness_words(held: Conformance | None) -> str:
    """How well deals keep to the drawing, or to the agreed moves."""
    if held is None:
        return (
            "No process is agreed in the configuration: name stages, moves, times and required steps"
            " under “process.conformance”, or a BPMN drawing under “process.model”."
        )
    fitness = held.fitness
    if fitness is None:
        return ""
    text = (
        f"{percent(fitness.fitting)} of the deals keep to the agreed moves throughout; by alignments"
        f" {percent(fitness.fitness)} of what deals did fits"
    )
    if fitness.replay_fitness is not None:
        text += f", by token replay {percent(fitness.replay_fitness)} of the deals that are over"
    left = fitness.deals - fitness.aligned
    return text + (f". {left:,} deals of rare, long paths were not aligned." if left else ".")


def rework_table(rework: pd.DataFrame, passes: pd.DataFrame, skipped: pd.DataFrame) -> Table | None:
    """A row a stage: how often deals pass at the first attempt, come back, or leave it out."""
    if passes.empty:
        return None
    again = rework.set_index("stage") if len(rework) else pd.DataFrame()
    left_out = skipped.set_index("stage") if len(skipped) else pd.DataFrame()
    rows = []
    for row in passes.to_dict("records"):
        stage = row["stage"]
        rows.append([
            str(stage),
            _ranged(row, "first_pass_yield", "first_pass_low", "first_pass_high"),
            percent(row["rolled_yield"]),
            *_again_cells(again, stage),
            percent(left_out.loc[stage, "skip_rate"]) if stage in left_out.index else "–",
        ])  # fmt: skip
    heads = (
        "Stage", "pass at the first attempt", "through so far", "come back",
        "extra days in all", "won, come back less others", "left out",
    )  # fmt: skip
    return Table(heads, rows, numeric=range(1, len(heads)))


def _again_cells(again: pd.DataFrame, stage: Any) -> list[str]:
    if stage not in again.index:
        return ["–", "–", "–"]
    row: dict[Any, Any] = again.loc[stage].to_dict()
    low, high = row["win_rate_difference_low"], row["win_rate_difference_high"]
    return [
        _ranged(row, "rework_rate", "rework_low", "rework_high"),
        days(row["extra_days"]) if known(row["extra_days"]) is not None else UNKNOWN,
        points(row["win_rate_difference"], low, high),
    ]


def _ranged(row: dict[Any, Any], name: str, low: str, high: str) -> str:
    if known(row[name]) is None:
        return UNKNOWN
    if known(row[low]) is None or known(row[high]) is None:
        return percent(row[name])
    return f"{percent(row[name])} ({percent(row[low])} – {percent(row[high])})"


def points(difference: Any, low: Any, high: Any) -> str:
    """A difference of win rates in points, with its interval.

    Example:
        >>> points(-0.104, -0.129, -0.079)
        '−10 (−13 to −8)'
        >>> points(None, None, None)
        '–'
    """
    if known(difference) is None:
        return "–"
    text = _signed(float(difference))
    if known(low) is None or known(high) is None:
        return text
    return f"{text} ({_signed(float(low))} to {_signed(float(high))})"


def _signed(share: float) -> str:
    whole = round(100 * share)
    return f"{'+' if whole > 0 else '−' if whole < 0 else '±'}{abs(whole)}"


def models_table(models: Sequence[Discovery]) -> Table | None:
    """The models that miners drew, and how good each is."""
    if not models:
        return None
    heads = (
        "Drawn by the", "deals replayed", "by alignments", "precision", "simplicity",
        "boxes", "drawn from",
    )  # fmt: skip
    rows = [
        [
            f"{row['miner']} miner",
            percent(row["fitness"]),
            "–" if known(row["alignment_fitness"]) is None else percent(row["alignment_fitness"]),
            percent(row["precision"]),
            percent(row["simplicity"]),
            f"{row['transitions']:,}",
            f"{row['cases']:,} deals" + (", a sample" if row["sampled"] else ""),
        ]
        for row in quality_table(models).to_dict("records")
    ]
    return Table(heads, rows, numeric=range(1, len(heads)))
