"""Conformance: which deals broke the rules of the agreed process, and what became of them.

The agreed process is the rules of `process.conformance`, a BPMN drawing (`process.model`), or both. Each
rule becomes a row: how often it was broken, by how many deals and how much money, and how their chance
of winning and their remaining time compare with those of deals that kept it, open deals censored. Both
groups are followed from the same point of their lives on, see `rule_checks`. These are comparisons, no
proof of a cause: who skips a step may differ in other ways too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from salesops_ml.errors import ConfigError, DataError, UsageError
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.dwell import stage_quantiles
from salesops_ml.mining.exemptions import NOT_EXEMPT, exemption_table, exemptions_of
from salesops_ml.mining.fitness import AlignedCases, Fitness, align_cases, fitness_of
from salesops_ml.mining.model_checks import check_model, net_of_rules
from salesops_ml.mining.model_files import read_bpmn
from salesops_ml.mining.petri_net import Net
from salesops_ml.mining.process_rules import check_names
from salesops_ml.mining.resources import people_of
from salesops_ml.mining.rule_checks import Followed, Verdicts, check_rules
from salesops_ml.mining.steps import ENDED, LOST, OPEN, WON, Ints, Steps, as_steps
from salesops_ml.mining.visits import Endings, endings_after
from salesops_ml.mining.win_rate_difference import win_rate, win_rate_difference
from salesops_ml.process_settings import Process

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = 5
_OUTCOMES = {OPEN: "open", WON: "won", LOST: "lost", ENDED: "ended"}

COLUMNS = {
    "rule": "the rule, or how it was broken, in plain words",
    "kind": "start, move, required, order, time, four_eyes, or model (a deviation from the drawing)",
    "name": "how the allow-list names it, such as `required: Offer`",
    "count": "how often it was broken, exempt deals left out",
    "cases": "by how many deals",
    "checked": "deals for which it is decided whether they kept or broke it, exempt ones left out",
    "share": "cases / checked, 0..1; null where none is decided",
    "open": "of the deals that broke it, how many are still open",
    "amount": "sum over the deals that broke it, company currency; null where no amount is known",
    "win_rate_broken": "share won of those that close, of deals that broke it; open deals censored",
    "win_rate_kept": "the same of deals that kept it",
    "win_rate_difference": "broken minus kept, in shares: -0.1 is ten points less; null where breaking "
    "is the outcome itself, or where one of the two has no closed deal",
    "low": "lower end of the 90% interval of that difference (Newcombe)",
    "high": "its upper end",
    "days_broken": "median days until the closing, of deals that broke it (Kaplan-Meier); null where "
    "the median is not reached",
    "days_kept": "the same of deals that kept it",
    "days_difference": "broken minus kept",
    "allowed": "deals that broke it and are exempt by the allow-list",
    "unknown": "deals that it applies to, but of which the log does not tell enough",
    "example_deals": "up to five deals that broke it, the largest first",
    "finding": "the row in plain words",
}

VIOLATION_COLUMNS = {
    "case_id": "the deal",
    "rule": "the rule that it broke, in plain words",
    "kind": "see the table of rules",
    "name": "see the table of rules",
    "times": "how often it did",
    "at": "the event that first broke it, or began the time that grew too long; naive UTC",
    "amount": "of the deal, company currency; null where it is not known",
    "outcome": "open, won, lost or ended",
    "reason": "why that was agreed to, where the allow-list exempts it; else null",
}


@dataclass(frozen=True)
class Conformance:
    """What became of the rules.

    Attributes:
        rules: a row a rule, the costliest broken one first; see `COLUMNS`.
        violations: a row a deal and rule that it broke, exempt ones marked; see `VIOLATION_COLUMNS`.
        exemptions: the allow-list and what it covers; see `exemptions.EXEMPTION_COLUMNS`.
        fitness: against the drawing, else against the agreed moves; None where there is neither.
    """

    rules: pd.DataFrame
    violations: pd.DataFrame
    exemptions: pd.DataFrame
    fitness: Fitness | None

    def broken(self) -> pd.DataFrame:
        """The rules that were broken, ranked by the amount of the deals that did: rows for a report."""
        return self.rules[self.rules["cases"] > 0].reset_index(drop=True)

    def summary(self) -> dict[str, Any]:
        """How many rules there are and how many were broken, and the fitness; fit for JSON."""
        return {
            "rules": len(self.rules),
            "broken": int((self.rules["cases"] > 0).sum()),
            "fitness": self.fitness.to_dict() if self.fitness is not None else None,
        }

    def write(self, folder: Path | str) -> list[Path]:
        """Write the three frames as Parquet; the paths written."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        frames = {"conformance": self.rules, "violations": self.violations,
                  "exemptions": self.exemptions}  # fmt: skip
        written = [folder / f"{name}.parquet" for name in frames]
        for path, frame in zip(written, frames.values(), strict=True):
            frame.to_parquet(path, index=False)
        return written


def conformance(
    log: Any,
    process: Process,
    *,
    as_of: datetime | None = None,
    won: Sequence[str] = (),
    lost: Sequence[str] = (),
    clock: Clock | None = None,
    people: Ints | None = None,
    stages: Sequence[str] = (),
) -> Conformance:
    """Hold every deal against the agreed process.

    Args:
        log: an `event_log`, or a pandas, Arrow or Ibis table with pm4py's columns, or its `Steps`.
        process: the rules, the drawing, and the order of stages.
        as_of, won, lost: for a log with pm4py's columns, see `as_steps`.
        clock: calendar days (default) or working days.
        people: (n,) who did each event of `Steps`, see `people_of`; read from any other log.
        stages: stages that exist besides those of the log, such as those of the CRM.

    Raises:
        ConfigError: a rule or a task of the drawing speaks of a stage that there is not.
        SourceError: the drawing cannot be read. DataError: it cannot be followed. SchemaError: a
            four-eyes rule meets a log that does not say who did what.

    Example:
        >>> import pandas as pd
        >>> log = pd.DataFrame({"case:concept:name": ["a", "a", "a", "b", "b"],
        ...     "concept:name": ["Lead", "Offer", "Won", "Lead", "Won"],
        ...     "time:timestamp": pd.date_range("2026-01-01", periods=5)})
        >>> process = Process.model_validate({"conformance": {"required": ["Offer"]}})
        >>> found = conformance(log, process)
        >>> found.rules[["rule", "cases", "checked", "example_deals"]].values.tolist()
        [['No deal is closed without Offer', 1, 2, ['b']]]
    """
    steps = as_steps(log, as_of=as_of, won=won, lost=lost)
    known = list(dict.fromkeys((*process.stages, *stages, *steps.activities)))
    check_names(process, known)
    rules, clock = process.conformance, clock or Clock()
    if rules.four_eyes and people is None:
        people = _people(log, steps)
    verdicts = check_rules(steps, rules, people=people, clock=clock, order=process.stages)
    net = _reference(process, steps, known)
    fitness = None
    if net is not None and len(steps.case):
        aligned = _aligned(steps, net, process)
        fitness = fitness_of(steps, net, aligned)
        verdicts += check_model(steps, net, aligned) if process.model is not None else []
    exempt = exemptions_of(steps, rules.allow, verdicts)
    return Conformance(
        rules=_rule_table(steps, verdicts, exempt, clock),
        violations=_violation_table(steps, verdicts, exempt, process),
        exemptions=exemption_table(rules.allow, exempt),
        fitness=fitness,
    )


def _people(log: Any, steps: Steps) -> Ints:
    if isinstance(log, Steps):
        raise UsageError("`people`: four-eyes rules need to know who did what; give `people_of(log, "
                         "steps)[0]`, or the log itself")  # fmt: skip
    return people_of(log, steps)[0]


def _reference(process: Process, steps: Steps, known: list[str]) -> Net | None:
    """What fitness is held against: the drawing, else the agreed moves."""
    rules = process.conformance
    if process.model is None:
        closing = [name for name, ends in zip(steps.activities, steps.closing, strict=True) if ends]
        agreed = bool(rules.allowed or rules.starts)
        return net_of_rules(rules, known, closing) if agreed else None
    net = read_bpmn(process.model, unrecorded=process.unrecorded_tasks)
    for task in net.labels:
        if task not in known:
            near = get_close_matches(task, known, n=1)
            hint = f"did you mean `{near[0]}`? " if near else ""
            raise ConfigError(
                f"`process.model`: {process.model}: the task `{task}` is no stage; {hint}Name it as the "
                "stage is named, or list it under `process.unrecorded_tasks` if it leaves no event"
            )
    return net


def _aligned(steps: Steps, net: Net, process: Process) -> AlignedCases:
    try:
        return align_cases(steps, net)
    except DataError as error:
        place = f"{process.model}" if process.model is not None else "`process.conformance`"
        raise DataError(f"{place}: {error}") from error


def _rule_table(
    steps: Steps, verdicts: Sequence[Verdicts], exempt: Sequence[Ints], clock: Clock
) -> pd.DataFrame:
    """A row a rule; broken ones first, by amount, then by deals."""
    import pandas as pd

    rows = [
        _rule_row(steps, one, number != NOT_EXEMPT, clock)
        for one, number in zip(verdicts, exempt, strict=True)
    ]
    frame = pd.DataFrame(rows, columns=[name for name in COLUMNS if name != "finding"])
    frame["finding"] = [_in_words(row) for row in frame.to_dict("records")]
    frame["is_broken"] = frame["cases"] > 0
    frame = frame.sort_values(
        ["is_broken", "amount", "cases", "name"], ascending=[False, False, False, True],
        na_position="last", ignore_index=True,
    )  # fmt: skip
    return frame[list(COLUMNS)]


def _rule_row(
    steps: Steps, one: Verdicts, exempt: np.ndarray[Any, Any], clock: Clock
) -> dict[str, Any]:
    broke = one.case[one.broken & ~exempt]
    checked = int((~exempt).sum())
    amount = steps.amount[broke]
    return {
        "rule": one.rule.text,
        "kind": one.rule.kind,
        "name": one.rule.name,
        "count": int(one.times[~exempt].sum()),
        "cases": len(broke),
        "checked": checked,
        "share": len(broke) / checked if checked else np.nan,
        "open": int((steps.outcome[broke] == OPEN).sum()),
        "amount": float(np.nansum(amount)) if (~np.isnan(amount)).any() else np.nan,
        "allowed": int(exempt.sum()),
        "unknown": one.unknown,
        "example_deals": _largest(steps, broke),
        **_fates(steps, one.followed, one.case[exempt], clock),
    }


def _largest(steps: Steps, cases: Ints) -> list[str]:
    """Ids of the largest of these deals; those of unknown amount last, equal ones by id."""
    order = np.lexsort((cases, -np.nan_to_num(steps.amount[cases], nan=-np.inf)))
    return [str(name) for name in steps.case_ids[cases[order[:EXAMPLES]]]]


def _fates(steps: Steps, followed: Followed | None, exempt: Ints, clock: Clock) -> dict[str, float]:
    """What became of deals that broke a rule and of those that kept it; exempt ones are in neither."""
    if followed is None or (steps.outcome == ENDED).any():
        return {}
    counted = ~np.isin(followed.case, exempt)
    after = endings_after(steps, followed.case[counted], followed.since[counted], clock)
    broken = followed.broken[counted]
    groups = [
        Endings(after.days[group], after.known[group], after.won[group])
        for group in (broken, ~broken)
    ]
    rates = [win_rate(group) for group in groups]
    apart = win_rate_difference(rates[0], rates[1])
    days = stage_quantiles((~broken).astype(np.int64), after.days, after.known, 2, (0.5,))[:, 0]
    return {
        "win_rate_broken": rates[0].share,
        "win_rate_kept": rates[1].share,
        "win_rate_difference": apart.value,
        "low": apart.low,
        "high": apart.high,
        "days_broken": float(days[0]),
        "days_kept": float(days[1]),
        "days_difference": float(days[0] - days[1]),
    }


def _in_words(row: Mapping[Any, Any]) -> str:
    """A row as a sentence, from its own numbers."""
    if not row["cases"]:
        exempt = f", {_deals(row['allowed'])} exempt" if row["allowed"] else ""
        return (
            f"{row['rule']}: kept by all {_deals(row['checked'])} that it is decided for{exempt}."
        )
    by = "in" if row["kind"] in ("move", "model") else "broken by"
    words = f"{row['rule']}: {by} {_deals(row['cases'])} ({row['share']:.1%} of {row['checked']:,})"
    if not np.isnan(row["amount"]):
        words += f" worth {row['amount']:,.0f}"
    if not np.isnan(row["win_rate_difference"]):
        points, low, high = (100 * row[name] for name in ("win_rate_difference", "low", "high"))
        words += (f"; they are won {abs(points):.0f} points {'less' if points < 0 else 'more'} often "
                  f"than deals that kept it (90% interval {low:+.0f} to {high:+.0f})")  # fmt: skip
    return words + "."


def _deals(count: int) -> str:
    return f"{count:,} deal{'' if count == 1 else 's'}"


def _violation_table(
    steps: Steps, verdicts: Sequence[Verdicts], exempt: Sequence[Ints], process: Process
) -> pd.DataFrame:
    """A row a deal and rule that it broke, by rule, then deal."""
    import pandas as pd

    reasons = np.array([one.reason for one in process.conformance.allow] + [None], dtype=object)
    parts = []
    for one, number in zip(verdicts, exempt, strict=True):
        case = one.case[one.broken]
        parts.append(pd.DataFrame({
            "case_id": steps.case_ids[case].astype(str),
            "rule": one.rule.text,
            "kind": one.rule.kind,
            "name": one.rule.name,
            "times": one.times[one.broken],
            "at": one.at[one.broken].astype("datetime64[us]"),
            "amount": steps.amount[case],
            "outcome": [_OUTCOMES[code] for code in steps.outcome[case].tolist()],
            "reason": reasons[number[one.broken]],
        }))  # fmt: skip
    kept = [part for part in parts if len(part)]
    if not kept:
        return pd.DataFrame({name: [] for name in VIOLATION_COLUMNS})
    return pd.concat(kept, ignore_index=True)[list(VIOLATION_COLUMNS)]
