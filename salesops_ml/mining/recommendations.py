"""Recommendations: everything that mining found, as one ranked list of facts.

Nothing is found here. Each row is a finding of another frame with the numbers that may be said of it;
`figures.recommendation_words` says them by templates. Findings stand in the order of what they rest
on: first what was tested and has a price a month, then what was tested, then what an interval shows,
then what holds if an agreement is kept, then what was only counted; within each by money.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from salesops_ml.errors import SchemaError

if TYPE_CHECKING:
    import pandas as pd

TESTED, SHOWN, WHAT_IF, COUNTED, NOTHING = "tested", "interval", "what-if", "counted", "none"
A_MONTH = "won amount a month"
AT_STAKE = "amount of the deals times the difference in win rate"
CONCERNED = "amount of the deals concerned"
COST_LEVEL = 0.9
"""What the interval of a delay's cost promises, see `bottlenecks`."""

COLUMNS = {
    "rank": "1 for what to look at first",
    "kind": "slow kind, slow, lost, rework, back and forth, skipped stage, rule broken, deviation "
    "(from the agreed model), what-if, or none where nothing was found",
    "place": "the stage, the two sides, or the rule",
    "who": "the deals concerned, by what is true of them; empty where that is every deal there",
    "certainty": "tested: false findings are bounded, see q_value; interval: its interval leaves out "
    "zero, one comparison at a time; what-if: holds if the agreed days can be kept; counted: as it is",
    "money": "what it is worth, company currency; null where no amount is known",
    "money_means": "what that amount is",
    "money_low": "lower end of its interval; null where there is none",
    "money_high": "upper end",
    "q_value": "adjusted for all tests of its kind; null where nothing was tested",
    "cases": "deals concerned",
    "examples": "ids of some of them, the ones to look at first",
    "facts": "every number and name that may be said of it, by name",
}
_EXAMPLES = ("examples", "example_deals")
_SAID = (*_EXAMPLES, "finding", "text", "cause")
"""Columns that are no facts: ids that are told apart, and sentences of other frames."""
_ORDER = (TESTED, SHOWN, WHAT_IF, COUNTED, NOTHING)
_MEANS = (A_MONTH, AT_STAKE, CONCERNED)
_NEEDED = {
    "bottlenecks": ("kind", "finding", "stage", "attribute", "value", "cost_per_month", "q_value"),
    "causes": ("outcome", "finding", "stage", "attribute", "value", "q_value", "cases"),
    "rework": ("stage", "returned", "win_rate_difference", "win_rate_difference_high"),
    "ping_pong": ("one", "other", "deals", "win_rate_difference", "win_rate_difference_high"),
    "skipped": ("stage", "skipped", "win_rate_difference", "win_rate_difference_high"),
    "violations": ("rule", "count", "cases"),
}
WHOLE_DEAL = "whole deal"
"""The stage of a cause that works through all stages."""
START, WHOLE = "the start", "the whole process"
"""What such a cause is told of: deals lost from the start on, or slow in the whole process."""
Row = dict[str, Any]


def recommendations(
    bottlenecks: pd.DataFrame | None = None,
    *,
    causes: pd.DataFrame | None = None,
    rework: pd.DataFrame | None = None,
    ping_pong: pd.DataFrame | None = None,
    skipped: pd.DataFrame | None = None,
    violations: pd.DataFrame | None = None,
    limit: int | None = None,
) -> pd.DataFrame:
    """The findings of the frames that are given, ranked; one row of kind `none` where there is none.

    Args:
        bottlenecks: see `mining.bottlenecks`; its slow kinds, and stages slower than agreed.
        causes: see `mining.causes`; a slow kind that `bottlenecks` has told already is left out.
        rework, ping_pong, skipped: see these modules; rows in which fewer deals are won, the upper end
            of the difference's interval being below zero.
        violations: rules broken, a row each, as `conformance` gives them: columns `rule`, `count`,
            `cases` and, if there, `kind`, `amount`, `win_rate_difference`, `low`, `high`, `examples` or
            `example_deals`.
        limit: keep the first ones.

    Returns:
        A frame with the columns of `COLUMNS`.

    Raises:
        SchemaError: a frame lacks a column that is needed.

    Example:
        >>> import pandas as pd
        >>> broken = pd.DataFrame({"rule": ["Legal before Contract"], "count": [7], "cases": [5],
        ...                        "amount": [90_000.0]})
        >>> recommendations(violations=broken)[["rank", "kind", "place", "certainty"]].values.tolist()
        [[1, 'rule broken', 'Legal before Contract', 'counted']]
        >>> recommendations(violations=broken.head(0)).kind.tolist()
        ['none']
    """
    import pandas as pd

    given = {
        "bottlenecks": bottlenecks, "causes": causes, "rework": rework, "ping_pong": ping_pong,
        "skipped": skipped, "violations": violations,
    }  # fmt: skip
    rows: list[Row] = []
    for name, frame in given.items():
        if frame is not None:
            _refuse_missing(frame, name)
            rows += [told for one in _records(frame) for told in _BUILDERS[name](one)]
    rows = _without_repeats(rows) or [_nothing([name for name in given if given[name] is not None])]
    rows = sorted(rows, key=_turn)[:limit]
    table = pd.DataFrame([row | {"rank": turn} for turn, row in enumerate(rows, 1)])
    return _typed(table.reindex(columns=list(COLUMNS)))


def _slow_kind(row: Row) -> Iterable[Row]:
    """A kind of deal that is slow in a stage, or a stage slower than agreed."""
    if row["kind"] == "segment" and row["finding"]:
        yield _told(
            row, "slow kind", row["stage"], TESTED, who=_who(row), money=row["cost_per_month"],
            means=A_MONTH, low=row.get("cost_low"), high=row.get("cost_high"), level=COST_LEVEL,
        )  # fmt: skip
    gain = _number(row.get("gain_at_target_per_month"))
    if row["kind"] == "stage" and gain is not None and gain >= 1:
        yield _told(row, "what-if", row["stage"], WHAT_IF, money=gain, means=A_MONTH)


def _cause(row: Row) -> Iterable[Row]:
    """What makes deals slow, or lost."""
    if not row["finding"]:
        return
    amount, points = _number(row.get("amount_now")), _number(row.get("win_points"))
    whole, who = row["stage"] == WHOLE_DEAL, _who(row)
    if row["outcome"] == "lost":
        where = START if whole else row["stage"]
        worth = None if amount is None or points is None else -points * amount
        yield _told(row, "lost", where, TESTED, who=who, money=worth, means=AT_STAKE)
    else:
        where = WHOLE if whole else row["stage"]
        yield _told(row, "slow", where, TESTED, who=who, money=amount, means=CONCERNED)


def _returns(row: Row) -> Iterable[Row]:
    if _is_worse(row):
        yield _told(row, "rework", row["stage"], SHOWN, cases=row["returned"])


def _back_and_forth(row: Row) -> Iterable[Row]:
    if _is_worse(row):
        where = f"{row['one']} ⇄ {row['other']}"
        yield _told(row, "back and forth", where, SHOWN, cases=row["deals"])


def _skips(row: Row) -> Iterable[Row]:
    if _is_worse(row):
        yield _told(row, "skipped stage", row["stage"], SHOWN, cases=row["skipped"])


def _broken(row: Row) -> Iterable[Row]:
    if not row["count"]:
        return
    amount, change = _number(row.get("amount")), _number(row.get("win_rate_difference"))
    kind = "deviation" if row.get("kind") == "model" else "rule broken"
    worse = (_number(row.get("high")) or 0.0) < 0
    if worse and change is not None:
        worth = None if amount is None else -change * amount
        yield _told(row, kind, row["rule"], SHOWN, money=worth, means=AT_STAKE)
    else:
        yield _told(row, kind, row["rule"], COUNTED, money=amount, means=CONCERNED)


_BUILDERS: Mapping[str, Callable[[Row], Iterable[Row]]] = {
    "bottlenecks": _slow_kind, "causes": _cause, "rework": _returns, "ping_pong": _back_and_forth,
    "skipped": _skips, "violations": _broken,
}  # fmt: skip


def _told(
    row: Row, kind: str, where: Any, certainty: str, *, who: str = "", money: Any = None,
    means: str = "", low: Any = None, high: Any = None, cases: Any = None, **more: Any,
) -> Row:  # fmt: skip
    """One finding with everything that its frame knows of it."""
    examples = next((row[name] for name in _EXAMPLES if name in row), None)
    ids = [str(one) for one in examples] if isinstance(examples, (list, tuple, np.ndarray)) else []
    worth = _number(money)
    worth = None if worth is None else round(worth, 2)
    facts: dict[str, Any] = {
        "place": str(where),
        "who": who,
        "money": worth,
        "examples": ids,
    } | more
    facts = {name: _fact(value) for name, value in row.items() if name not in _SAID} | facts
    number = cases if cases is not None else row.get("cases", 0)
    return {
        "kind": kind, "place": str(where), "who": who, "certainty": certainty, "money": worth,
        "money_means": means if worth is not None else "", "money_low": _number(low),
        "money_high": _number(high), "examples": ids, "cases": int(number),
        "q_value": _number(row.get("q_value")) if certainty == TESTED else None,
        "facts": {name: value for name, value in facts.items() if value is not None},
    }  # fmt: skip


def _nothing(looked: list[str]) -> Row:
    """The row that says that nothing was found, and where one has looked."""
    return _told({"looked": looked}, "none", "", NOTHING)


def _who(row: Row) -> str:
    """The deals of which an attribute and its value are true.

    Example:
        >>> _who({"attribute": "x_segment", "value": "Public"})
        'deals with segment Public'
        >>> _who({"attribute": "discount", "value": "> 20%"})
        'deals with discount above 20%'
        >>> _who({"attribute": "owner_changed", "value": "yes"})
        'deals that changed hands'
    """
    attribute, value = str(row["attribute"]), str(row["value"])
    for sign, words in (("> ", "above "), ("<= ", "up to ")):
        if value.startswith(sign):
            value = words + value[len(sign) :]
    told = {
        "owner_changed": "deals that changed hands"
        if value == "yes"
        else "deals that never changed hands",
        "entry_weekday": f"deals that entered on {value.capitalize()}",
        "entry_hour": f"deals that entered {value}",
    }
    name = attribute.removeprefix("x_").replace("_", " ")
    return told.get(attribute, f"deals with {name} {value}")


def _without_repeats(rows: list[Row]) -> list[Row]:
    """The rows without what another row says already.

    A slow kind that has a price is not told again as a cause without one. Of causes that speak of the
    same deals at several stages one is told: that of the whole deal, else the one with most money.
    """
    priced = {(row["place"], row["who"]) for row in rows if row["kind"] == "slow kind"}
    kept = [
        row for row in rows if row["kind"] != "slow" or (row["place"], row["who"]) not in priced
    ]
    told: dict[tuple[str, str], Row] = {}
    for row in sorted(kept, key=lambda row: (row["place"] not in (START, WHOLE), *_turn(row))):
        if row["kind"] in ("slow", "lost"):
            told.setdefault((row["kind"], row["who"]), row)
    return [row for row in kept if told.get((row["kind"], row["who"]), row) is row]


def _turn(row: Row) -> tuple[Any, ...]:
    money = row["money"]
    means = _MEANS.index(row["money_means"]) if money is not None else len(_MEANS)
    return (
        _ORDER.index(row["certainty"]), means, -(money or 0.0), -row["cases"], row["kind"],
        row["place"], row["who"],
    )  # fmt: skip


def _is_worse(row: Row) -> bool:
    """Whether fewer of the deals are won, beyond the interval."""
    high = _number(row["win_rate_difference_high"])
    return high is not None and high < 0


def _refuse_missing(frame: pd.DataFrame, name: str) -> None:
    missing = [column for column in _NEEDED[name] if column not in frame.columns]
    if missing:
        raise SchemaError(
            f"`{name}` has no column `{missing[0]}`; give the frame as `salesops_ml.mining` returns it"
        )


def _records(frame: pd.DataFrame) -> list[Row]:
    return [dict(zip(frame.columns, row, strict=True)) for row in frame.itertuples(index=False)]


def _number(value: Any) -> float | None:
    """The value as a finite number, or None."""
    if value is None or isinstance(value, str):
        return None
    number = float(value)
    return number if np.isfinite(number) else None


def _fact(value: Any) -> str | float | list[str] | None:
    """A cell as text, number, or list of texts; None where it holds nothing that could be said."""
    if isinstance(value, (list, tuple, np.ndarray)):
        return [str(one) for one in value]
    if isinstance(value, str):
        return value
    return None if isinstance(value, (bool, np.bool_)) or _is_missing(value) else _number(value)


def _is_missing(value: Any) -> bool:
    import pandas as pd

    return value is None or value is pd.NA


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    kinds = dict.fromkeys(("money", "money_low", "money_high", "q_value"), "float64")
    return frame.astype(kinds | dict.fromkeys(("rank", "cases"), "int64"))
