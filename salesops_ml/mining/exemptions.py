"""The allow-list: deviations that were agreed to, and which deals each of them covers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from salesops_ml.mining.process_rules import Rule
from salesops_ml.mining.rule_checks import Verdicts
from salesops_ml.mining.steps import Ints, Mask, Steps
from salesops_ml.process_settings import Exemption

if TYPE_CHECKING:
    import pandas as pd

NOT_EXEMPT = -1

EXEMPTION_COLUMNS = {
    "deal": "the deal that it covers; null: any",
    "variant": "the path that it covers, as a list of stages; null: any",
    "rule": "the rule or kind of rule that it covers; null: any",
    "reason": "why it was agreed to",
    "violations": "how many pairs of a deal and a rule broken it covers; 0 where it is no longer needed",
}


def exemptions_of(
    steps: Steps, allow: Sequence[Exemption], verdicts: Sequence[Verdicts]
) -> list[Ints]:
    """For each rule, (n,) the number of the first exemption of each of its deals, or `NOT_EXEMPT`.

    Deals that kept the rule need none, and have none.
    """
    covered = [_covered(steps, one) for one in allow]
    found = []
    for one in verdicts:
        number = np.full(len(one.case), NOT_EXEMPT)
        for turn in range(len(allow))[::-1]:
            if speaks_of(allow[turn], one.rule):
                number[one.broken & covered[turn][one.case]] = turn
        found.append(number)
    return found


def speaks_of(exemption: Exemption, rule: Rule) -> bool:
    """Whether an exemption covers a rule: all rules, all of its kind, or it by name.

    Example:
        >>> rule = Rule("move", "Lead > Won", "Lead was followed by Won")
        >>> [speaks_of(Exemption(rule=name, reason="agreed"), rule)
        ...     for name in ("move", "move: Lead", "move: Lead > Won", "time", "move: Offer")]
        [True, True, True, False, False]
    """
    told = exemption.rule
    return told is None or told in (rule.kind, rule.name) or rule.name.startswith(f"{told} > ")


def exemption_table(allow: Sequence[Exemption], numbers: Sequence[Ints]) -> pd.DataFrame:
    """Each exemption and how much it covers; see `EXEMPTION_COLUMNS`."""
    import pandas as pd

    every = np.concatenate([np.zeros(0, dtype=np.int64), *numbers])
    used = np.bincount(every[every != NOT_EXEMPT], minlength=len(allow))
    rows = [
        (one.deal, list(one.variant) if one.variant else None, one.rule, one.reason, int(count))
        for one, count in zip(allow, used, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(EXEMPTION_COLUMNS))


def _covered(steps: Steps, exemption: Exemption) -> Mask:
    """(m,) whether the exemption speaks of the deal, by its id and its path."""
    deals = np.ones(len(steps.case_ids), dtype=bool)
    if exemption.deal is not None:
        deals &= steps.case_ids.astype(object) == exemption.deal
    if exemption.variant is not None:
        deals &= _took(steps, exemption.variant)
    return deals


def _took(steps: Steps, path: Sequence[str]) -> Mask:
    """(m,) whether the deal took exactly this path so far."""
    starts = np.flatnonzero(steps.first)
    length = np.diff(np.append(starts, len(steps.case)))
    same = length == len(path)
    names = {name: code for code, name in enumerate(steps.activities)}
    for turn, name in enumerate(path):
        rows = np.minimum(starts + turn, max(len(steps.case) - 1, 0))
        same &= steps.activity[rows] == names.get(name, -1)
    return np.asarray(same)
