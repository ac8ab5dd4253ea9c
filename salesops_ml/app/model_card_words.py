"""The card in sentences: what the model is for, where it ends, and what its figures mean.

Every sentence is made from facts of `model_card.json`; none is there that the run does not bear out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from salesops_ml.app.report_parts import counted, listed
from salesops_ml.app.report_trust import table_name
from salesops_ml.evaluation.measure import LEAST_DEALS
from salesops_ml.figures.numbers import day, days, known, percent, plain
from salesops_ml.figures.words import model_name, sentence_case

Facts = Mapping[str, Any]
MOST_FEW = 6
VOICES = {
    "hazards": "the hazard curves", "timing": "the hazard curves",
    "classifier": "a boosted classifier", "logistic": "a logistic regression",
    "stage_age": "the stage and age table", "attributes": "a model of attributes",
}  # fmt: skip


def intended_use(facts: Facts) -> list[str]:
    """What the model may be used for."""
    data = facts["data"]
    uses = [
        f"Saying of each open deal of {data['company']} how likely it is won {_when(facts)}, so"
        " that people look first where it matters.",
        "Adding up: amount times chance, over many deals"
        + (", as a part of the revenue forecast." if data["dated"] else "."),
    ]
    if facts["dates"]:
        uses.append("Saying in which range of days a deal closes if it is won.")
    return uses


def _when(facts: Facts) -> str:
    horizon = facts["label"]["horizon_days"]
    return "in the end" if horizon is None else f"within {days(horizon)}"


def limits(facts: Facts) -> list[str]:
    """What it is not for, and what it cannot know."""
    data, told = facts["data"], []
    if data["dated"]:
        horizon = days(facts["label"]["horizon_days"])
        told.append(f"It says nothing of wins later than {horizon} after the day of the score.")
        told.append(
            f"It has seen deals begun {day(data['first_deal'])} to {day(data['last_deal'])}. New"
            " products, stages, teams or markets are strange to it: it treats them as an average other."
        )
    else:
        told.append(
            "No deal in this data is dated: it learned from attributes alone, knows nothing of what"
            " happens to a deal on its way, and tells no dates."
        )
    told += _reps(facts) + _missing(facts) + _better_rule(facts)
    told.append(
        "Its reasons and its chances describe what goes together, not what causes what: changing a"
        " field to please the model does not win a deal."
    )
    told.append(
        "One deal's chance is no verdict on that deal: of deals with 70%, three in ten are lost."
    )
    return told


def _reps(facts: Facts) -> list[str]:
    if not facts["model"]["uses_reps"]:
        return []
    return [
        "It looks at who owns a deal and how that person's earlier deals ended. It is not made for"
        " judging, paying or ranking people."
    ]


def _missing(facts: Facts) -> list[str]:
    names = [table_name(name) for name in facts["missing_tables"] if "." not in name]
    if not names:
        return []
    return [
        f"It was made without {listed(names, last='or')}: what they would tell, it cannot know."
    ]


def _better_rule(facts: Facts) -> list[str]:
    ours = known((facts["scores"].get("deal_scores") or {}).get("log_loss"))
    told = {
        n: known(row.get("log_loss")) for n, row in facts["scores"].items() if n != "deal_scores"
    }
    better = [
        model_name(n) for n, v in told.items() if ours is not None and v is not None and v <= ours
    ]
    if not better:
        return []
    return [
        f"On the test deals {listed(better)} told as well who wins: use the simpler answer there."
    ]


def label_words(facts: Facts) -> str:
    """What is promised, and how open deals are counted."""
    label = facts["label"]
    horizon, judged = label["horizon_days"], known(label["judged_at_days"])
    if horizon is None:
        return (
            "“Won” means: won in the end. Nothing is dated, so there is no horizon, and it is not known"
            " how long open deals have been watched."
        )
    text = (
        f"“Won” means: entered a won stage within {days(horizon)} of the look. A deal that was lost, or"
        " is open on that day, was not won; a deal that is open when the record ends before that day"
        " is neither: it counts by the weight of deals that were followed for longer (IPCW)."
    )
    if judged is not None and judged < horizon:
        text += f" The record is short, so the figures here are judged at {days(judged)}."
    if label["known_at"]:
        border = day(label["known_at"])
        text += f" Outcomes to learn from are those known on {border}, where the test begins."
    return text


def split_words(facts: Facts) -> str:
    """Which deals learn, and which judge."""
    by = facts["split"]["by"]
    if by.startswith("column "):
        return f"The {by} of the source names the blocks."
    if not facts["data"]["dated"]:
        return "Nothing is dated, so blocks are drawn by a digest of the deal's name."
    return (
        "By time: deals are ordered by when they began, and the last ones judge. No deal is in two"
        " blocks, and looks on or after the border do not learn."
    )


def coverage_words(facts: Facts) -> list[str]:
    """Close dates: what was promised, and what was measured."""
    dates = facts["dates"]
    if not dates:
        return ["No deal of the test block was won in time to judge dates."]
    ours = dates["models"]["deal_scores"]
    share = known(ours.get("coverage_80"))
    words = []
    if share is not None:
        words.append(
            f"The range of dates promises {percent(dates['promised'])}; {percent(share, 1)} of won deals"
            f" closed within it: {_held(share, dates['promised'], ours)}."
        )
    if known(ours.get("mae_days")) is not None:
        words.append(f"The day of a deal's end was missed by {days(ours['mae_days'])} on average.")
    return words


def _held(share: float, promised: float, row: Facts) -> str:
    """Whether the coverage measured is the one promised, as far as its interval can tell."""
    low, high = (known(edge) for edge in row.get("coverage_80_interval") or (None, None))
    if low is not None and high is not None and low <= promised <= high:
        return "as promised, within chance"
    if share > promised:
        return "more than promised, so the ranges are wider than need be"
    return "fewer than promised, so the ranges are too narrow"


def calibration_words(facts: Facts) -> list[str]:
    """How the chances were made honest, and whether they are."""
    told = facts["calibration"]
    words = []
    if told["method"]:
        words.append(f"{sentence_case(_method(told['method']))}.")
    voices = {k: w for k, w in told["voices"].items() if known(w) and abs(w) > 1e-3}
    if voices:
        parts = [f"{VOICES.get(name, name)} {plain(weight, 2)}" for name, weight in voices.items()]
        words.append(f"Weights of its voices on the log-odds: {listed(parts)}.")
    if known(told["slope"]) is not None:
        words.append(
            f"On the test deals: slope {plain(told['slope'], 2)} (1 is exact, below 1 is too sure),"
            f" intercept {plain(told['intercept'], 2)} (0 is exact), mean distance between promised and"
            f" won {percent(told['error'], 1)}."
        )
    return words or ["Nothing is told of how the chances were calibrated."]


def _method(method: Any) -> str:
    """The method's name or sentence; of a mapping, its `sentence` or `method`."""
    if isinstance(method, Mapping):
        method = method.get("sentence") or method.get("method") or method.get("chosen") or ""
    return str(method).rstrip(".").replace("_", " ")


def sufficiency_words(facts: Facts) -> str:
    """The verdict on whether there are deals enough."""
    told = facts["sufficiency"]
    sentence = told.get("sentence") if isinstance(told, Mapping) else told
    return str(sentence) if sentence else "This run did not ask how much more deals would help."


def reasons(facts: Facts) -> list[str]:
    """Why the verdict is what it is, with the parts in which the chances do not hold."""
    parts = facts["parts"]
    off = sum(part["trusted"] == "no" for part in parts)
    told = list(facts["verdict"]["reasons"])
    if off:
        judged = sum(part["trusted"] != "too few" for part in parts)
        told.append(
            f"In {off:,} of {counted(judged, 'part')} of the deals, such as a stage or a region, the"
            " chance promised lies outside the 95% interval of the share won."
        )
    return told


def distrust_words(facts: Facts) -> list[tuple[str, str]]:
    """Where not to trust it: (verdict, sentence)."""
    parts = facts["parts"]
    off = [part for part in parts if part["trusted"] == "no"]
    judged = [part for part in parts if part["trusted"] != "too few"]
    words = [("warn", _off_words(part)) for part in sorted(off, key=_gap, reverse=True)]
    if judged:
        by_chance = max(round(0.05 * len(judged)), 1)
        words.append(
            (
                "none" if off else "ok",
                f"{counted(len(judged), 'part')} could be judged; of so many about {by_chance} would"
                " fall outside its 95% interval by chance alone.",
            )
        )
    words += [("none", sentence) for sentence in _few_words(parts)]
    return words or [("none", "No part of the deals could be judged on its own.")]


def _gap(part: Facts) -> float:
    return abs(float(part["mean_promised"]) - float(part["share_won"]))


def _off_words(part: Facts) -> str:
    low, high = part["interval"]
    name = f"{sentence_case(part['dimension'])} {part['value']}"
    return (
        f"{name}: promised {percent(part['mean_promised'], 1)},"
        f" won {percent(part['share_won'], 1)} (95% interval {percent(low, 1)} to {percent(high, 1)},"
        f" {counted(part['deals'], 'deal')})."
    )


def _few_words(parts: list[Facts]) -> list[str]:
    """By dimension, the values that too few deals speak for, the largest first."""
    told = []
    for dimension in dict.fromkeys(part["dimension"] for part in parts):
        few = [p for p in parts if p["dimension"] == dimension and p["trusted"] == "too few"]
        few.sort(key=lambda part: (-part["deals"], part["value"]))
        if few:
            names = [f"{part['value']} ({part['deals']:,})" for part in few[:MOST_FEW]]
            rest = [f"{len(few) - MOST_FEW:,} more"] if len(few) > MOST_FEW else []
            told.append(
                f"Too few test deals (under {LEAST_DEALS}) to tell, {sentence_case(dimension).lower()}:"
                f" {listed([*names, *rest])}."
            )
    return told
