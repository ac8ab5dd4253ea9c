"""One finding of the leakage audit: which check, which column, what was seen, and the verdict.

`ok` is said where a check looked at everything and found nothing; `warn` asks a person to look;
`fail` stops promotion, for the model could have learned from what nobody can know in time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

VERDICTS = ("ok", "warn", "fail")


@dataclass(frozen=True)
class Finding:
    """One result of the audit.

    Attributes:
        check: the check's name.
        column: the column it speaks of; `all features` where a check found nothing in any.
        evidence: what was seen, with its figures.
        verdict: ok, warn or fail.
    """

    check: str
    column: str
    evidence: str
    verdict: str


def summary(findings: Iterable[Finding]) -> dict[str, Any]:
    """The audit as plain values: the worst verdict, and every finding, the worst first.

    Example:
        >>> summary([Finding("a", "f_x", "-", "ok"), Finding("b", "f_y", "-", "warn")])["verdict"]
        'warn'
    """
    ordered = sorted(findings, key=lambda finding: -VERDICTS.index(finding.verdict))
    worst = ordered[0].verdict if ordered else "ok"
    return {"verdict": worst, "findings": [asdict(finding) for finding in ordered]}
