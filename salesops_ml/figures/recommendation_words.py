"""Recommendations in plain words: what was found, how sure that is, and what to do.

Each sentence is a template over the facts of its row; a sentence whose facts are not all known is left
out, so that no number is ever made up.
"""

from __future__ import annotations

from collections.abc import Callable
from string import Formatter
from typing import TYPE_CHECKING, Any

from salesops_ml.figures.numbers import count, days, known, money, percent, plain
from salesops_ml.mining.recommendations import AT_STAKE, COUNTED, SHOWN, TESTED, WHAT_IF, WHOLE

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "finding": "what was found, in sentences",
    "confidence": "how sure that is",
    "what_to_do": "what to do about it",
}
MOST_EXAMPLES = 3

FOUND = {
    "slow kind": (
        "In {place}, {who} move at {pace:percent} of the pace of comparable deals.",
        "They stay {delay_days:days} longer.",
        "That costs about {money:money} of won deals a month.",
        "That costs about {wins_per_month:tenths} won deals a month.",
    ),
    "slow": (
        "In {place}, {who} move at {pace:percent} of the pace of comparable deals.",
        "They stay {days_more:days} longer.",
        "{open_now:count} of them are open now, worth {amount_now:money}.",
    ),
    "lost": (
        "From {place} on, {who} are won less often than comparable deals, by {win_points:points} of win"
        " rate.",
        "{win_rate:percent} of them are won, and {others_win_rate:percent} of the others.",
        "{open_now:count} of them are open now, worth {amount_now:money}; times the difference that is"
        " {money:money}.",
    ),
    "rework": (
        "{returned:count} deals came back to {place}.",
        "Deals that come back are won less often: {win_rate_with:percent} of them, and"
        " {win_rate_without:percent} of the others.",
        "The visits after the first took {extra_days:days} in all.",
    ),
    "back and forth": (
        "{deals:count} deals went back and forth between {one} and {other}.",
        "They are won less often: {win_rate_with:percent} of them, and {win_rate_without:percent} of the"
        " others that moved there.",
        "Going back and forth took {extra_days:days} in all.",
    ),
    "skipped stage": (
        "{skipped:count} of {reached_later:count} deals that came further had skipped {place}.",
        "They are won less often: {win_rate_skipped:percent} of them, and {win_rate_visited:percent} of"
        " those that had been there.",
    ),
    "rule broken": (
        "The rule “{place}” was broken {count:times} by {cases:deals}.",
        "They are worth {amount:money}.",
        "Of the closed ones {win_rate_broken:percent} are won, and {win_rate_kept:percent} of those that"
        " kept it.",
    ),
    "deviation": (
        "Off the agreed process, {count:times}, in {cases:deals}: {place}.",
        "They are worth {amount:money}.",
        "Of the closed ones {win_rate_broken:percent} are won, and {win_rate_kept:percent} of those that"
        " kept to it.",
    ),
    "what-if": (
        "In {place}, {share_past_target:percent} of the stays last longer than the agreed"
        " {target_days:days}.",
        "If half of the deals left within them, about {money:money} more would be won a month.",
    ),
    "none": ("Nothing was found.",),
}

SURE = {
    TESTED: (
        "The {level:percent} interval of that cost is {cost_low:money} to {cost_high:money}.",
        "The interval of the difference is {win_points_low:signed} to {win_points_high:signed} points.",
        "The interval of the pace is {pace_low:percent} to {pace_high:percent}.",
        "Tested against chance; of all findings as clear as this one, {q_value:chance} may be false.",
    ),
    SHOWN: (
        "The interval of the difference is {win_rate_difference_low:signed} to"
        " {win_rate_difference_high:signed} points.",
        "The interval of the difference is {low:signed} to {high:signed} points.",
        "It shows what goes together, not what causes what, and is not corrected for the number of"
        " comparisons.",
    ),
    WHAT_IF: (
        "This takes the agreement's word that the stage can be so quick; nothing was tested.",
    ),
    COUNTED: (
        "This is a count; nothing shows that these deals are won less often.",
    ),
    "none": (
        "No kind of deal, way, or rule stood out beyond chance. That is no proof that none is slow:"
        " small differences need many deals to be seen.",
    ),
}  # fmt: skip

DO = {
    "slow kind": (),
    "slow": (),
    "lost": (),
    "rework": (
        "Write down what must be known before a deal leaves {place}, and look at why it was not.",
    ),
    "back and forth": (
        "Agree who decides what between {one} and {other}, so that a deal crosses once.",
    ),
    "skipped stage": (
        "Ask why {place} was left out; make it a condition for going on, or drop it from the process.",
    ),
    "rule broken": (
        "Decide whether the rule stands: then let the CRM enforce it, else put it on the allow-list.",
    ),
    "deviation": (
        "Decide whether that way should be allowed: then put it into the agreed process, else stop it.",
    ),
    "what-if": (
        "Look at the deals there that are past the agreed days and ask what they wait for.",
    ),
    "none": ("Keep recording; look again when more deals have closed.",),
}  # fmt: skip
BY_ATTRIBUTE = {
    "discount": "Settle who may grant such discounts, and approve them before {place}, not in it.",
    "amount": "Give deals of that size their own way through {place}, with named people and days.",
    "rep": "Sit down with them over the deals that wait, and see how others do it.",
    "rep_team": "Compare how this team and the others work in {place}, and take over what is quicker.",
    "rep_load": "Spread new deals by load, and hold none back for want of a free hand.",
    "owner_changed": "Hand deals over with the next step and its day agreed between both.",
    "product": "Find out what this product's deals wait for in {place}, and prepare it beforehand.",
    "lead_source": "Look at what leads of this source lack, and ask for it before {place}.",
    "deal_type": "Check whether this type of deal needs every step of {place}.",
    "account_region": "Check whether the people and hours in {place} suit this region.",
    "industry": "Find out what customers of this industry ask for in {place}, and have it ready.",
    "account_employees": "Check whether {place} asks of these customers what their size makes slow.",
    "entry_weekday": "Have someone look at {place} on the days when these deals arrive.",
    "entry_hour": "Have someone look at {place} at the hours when these deals arrive.",
}
OTHERWISE = "Find out what these deals wait for in {place}."
OF_ALL_STAGES = (
    "Look at the stages in which these deals stay longest, and what they wait for there."
)
IF_LOST = {
    "rep": "Sit down with them over the deals that were lost, and see how others win such deals.",
    "rep_team": "Compare how this team and the others win such deals, and take over what works.",
    "rep_load": BY_ATTRIBUTE["rep_load"],
    "owner_changed": BY_ATTRIBUTE["owner_changed"],
    "lead_source": "Look at what leads of this source lack, and take on those that have it.",
    "discount": "Look at whether such discounts win deals at all, before granting the next.",
}
OTHERWISE_LOST = "Find out why these deals are lost, and decide which of them are worth the time."
BEGIN_WITH = "Begin with {example_ids}."


def worded(recommendations: pd.DataFrame, *, currency: str = "EUR") -> pd.DataFrame:
    """The frame with the columns of `COLUMNS` besides.

    Args:
        recommendations: as `mining.recommendations` gives it.
        currency: ISO code of the company's money.

    Example:
        >>> import pandas as pd
        >>> from salesops_ml.mining.recommendations import recommendations
        >>> broken = pd.DataFrame({"rule": ["Legal before Contract"], "count": [7], "cases": [5],
        ...                        "amount": [90_000.0]})
        >>> worded(recommendations(violations=broken)).finding[0]
        'The rule “Legal before Contract” was broken 7 times by 5 deals. They are worth €90k.'
    """
    rows = [_words(row, currency) for _, row in recommendations.iterrows()]
    return recommendations.assign(
        **{name: [row[turn] for row in rows] for turn, name in enumerate(COLUMNS)}
    )


def _words(row: pd.Series[Any], currency: str) -> tuple[str, str, str]:
    speaker = _Speaker(currency)
    facts = dict(row["facts"])
    if facts.get("examples"):
        facts["example_ids"] = ", ".join(facts["examples"][:MOST_EXAMPLES])
    if row["money"] != row["money"]:
        facts.pop("money", None)
    elif row["kind"] == "slow kind":
        facts.pop("wins_per_month", None)  # the same told twice
    advice = DO[row["kind"]] or (_advice(row["kind"], row["place"], str(facts.get("attribute"))),)
    confidence = speaker.say(SURE[row["certainty"]], facts)
    if row["money_means"] == AT_STAKE and row["certainty"] == TESTED:
        confidence += " What goes together need not cause the loss."
    return (
        speaker.say(FOUND[row["kind"]], facts),
        confidence,
        speaker.say((*advice, BEGIN_WITH), facts),
    )


def _advice(kind: str, place: str, attribute: str) -> str:
    """What to do about deals of which an attribute is told."""
    if kind == "lost":
        return IF_LOST.get(attribute, OTHERWISE_LOST)
    template = BY_ATTRIBUTE.get(attribute, OTHERWISE)
    return OF_ALL_STAGES if place == WHOLE and "{place}" in template else template


class _Speaker(Formatter):
    """Fills templates; a field's format says what kind of number it is."""

    def __init__(self, currency: str) -> None:
        self.formats: dict[str, Callable[[Any], str]] = {
            "money": lambda value: money(value, currency), "percent": percent, "days": days,
            "count": count, "tenths": lambda value: plain(value, 1), "chance": _chance,
            "points": lambda value: f"{_points(abs(value))} points", "signed": _points, "times": _times,
            "deals": lambda value: f"{count(value)} deal{'' if value == 1 else 's'}",
        }  # fmt: skip

    def say(self, templates: tuple[str, ...], facts: dict[str, Any]) -> str:
        """The sentences whose facts are all known."""
        return " ".join(
            self.format(template, **facts)
            for template in templates
            if all(name in facts for _, name, _, _ in self.parse(template) if name is not None)
        )

    def format_field(self, value: Any, format_spec: str) -> str:
        return self.formats[format_spec](value) if format_spec else str(value)


def _chance(q_value: Any) -> str:
    number = known(q_value)
    if number is None:
        return "not known"
    return "fewer than 0.1%" if number < 0.001 else f"up to {percent(number, 1)}"


def _points(difference: float) -> str:
    """A difference of shares, in points."""
    return plain(100 * difference, 1)


def _times(number: float) -> str:
    return "once" if number == 1 else f"{count(number)} times"
