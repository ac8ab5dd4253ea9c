"""Can you trust this: every figure of the model beside the simple answers, and every warning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from salesops_ml.app.report_files import RunFiles
from salesops_ml.app.report_headline import worse_than_a_rule
from salesops_ml.app.report_parts import Picture, counted, listed, picture
from salesops_ml.figures.numbers import days, known, percent, plain
from salesops_ml.figures.reliability import draw_reliability
from salesops_ml.figures.score_comparison import draw_score_comparison
from salesops_ml.figures.style import NARROW
from salesops_ml.figures.words import model_name, sentence_case

OFF = 0.03
"""Gap between promised and won below which a segment is never called off."""
MOST_CHECKS = 6
TABLES = {"deal_daily": "daily photographs of the pipeline"}
_QUOTED = re.compile(r"`([^`]+)`")
GATES = {
    "win.log_loss": "log-loss",
    "win.auc": "AUC",
    "win.calibration_slope": "calibration slope",
    "win.calibration_error": "calibration error",
    "dates.coverage_80": "coverage of close dates",
    "dates.mae_days": "mean miss of close dates, days",
    "gain_over_stage_age": "gain over stage and age",
}


@dataclass(frozen=True)
class Finding:
    """A line with a verdict: ok, warn or fail, and the words for it."""

    verdict: str
    words: str


@dataclass(frozen=True)
class TrustSection:
    """The verdict, the pictures, and the lists of findings.

    Attributes:
        verdict: ok, warn or fail; title: the verdict in words; reasons: why, where not ok.
    """

    verdict: str
    title: str
    reasons: list[str]
    comparison: Picture | None
    reliability: Picture | None
    scores: list[str]
    dates: list[str]
    segments: list[Finding]
    audit: list[Finding]
    quality: list[Finding]
    gates: list[Finding]


def build_trust(files: RunFiles) -> TrustSection:
    """The section from evaluation.json, leakage_audit.json and data_quality.json."""
    judged = files.evaluation
    win = judged.get("win") or {}
    gates = gate_lines(judged.get("gates") or [])
    audit = audit_lines(files.values("leakage_audit"))
    segments = _segments(judged.get("segments") or {})
    verdict, reasons = _verdict(judged, gates, audit, segments)
    return TrustSection(
        verdict,
        VERDICTS[verdict],
        reasons,
        _comparison(judged),
        _reliability(judged),
        _scores(win, judged),
        _dates(judged.get("dates") or {}),
        segments,
        audit,
        _quality(files.values("data_quality")),
        gates,
    )


VERDICTS = {
    "ok": "Yes, within the limits told here",
    "warn": "With care",
    "fail": "Not yet",
}


def _verdict(
    judged: dict[str, Any], gates: list[Finding], audit: list[Finding], segments: list[Finding]
) -> tuple[str, list[str]]:
    """The worst of what was found, and why."""
    win = judged.get("win") or {}
    if known(win.get("log_loss")) is None:
        return "warn", ["The model could not be judged on deals that it had not seen."]
    grave = [one.words for one in (*gates, *audit) if one.verdict == "fail"]
    mild = [one.words for one in audit if one.verdict == "warn"]
    slope = known(win.get("calibration_slope"))
    if slope is not None and not 0.8 <= slope <= 1.25:
        word = "too sure of itself" if slope < 0.8 else "too timid"
        mild.append(f"The model is {word}: calibration slope {plain(slope, 2)}.")
    gain = known(judged.get("gain_over_stage_age"))
    if gain is not None and gain < 0.01:
        mild.append("It tells hardly more than a table of stage and age would.")
    mild += [sentence for sentence in (_no_better(judged), _worse_total(judged)) if sentence]
    off = [one for one in segments if one.verdict == "warn"]
    if off:
        mild.append(off_words(len(off)))
    return ("fail" if grave else "warn" if mild else "ok"), [*grave, *mild]


def off_words(count: int) -> str:
    """That so many segments promised another share than was won."""
    return f"In {counted(count, 'segment')} it promised another share than was won."


def _no_better(judged: dict[str, Any]) -> str:
    """Which simple answers tell as well who will win."""
    ours = float(judged["win"]["log_loss"])
    told = {n: known(row.get("log_loss")) for n, row in (judged.get("baselines") or {}).items()}
    better = [model_name(n) for n, v in told.items() if v is not None and v <= ours]
    return f"{listed(better)} would tell as well who will win." if better else ""


def _worse_total(judged: dict[str, Any]) -> str:
    if not worse_than_a_rule(judged.get("forecast") or {}):
        return ""
    return "In the past a rule of thumb told the company's total better than the forecast did."


def _comparison(judged: dict[str, Any]) -> Picture | None:
    if not judged.get("win"):
        return None
    scores: Mapping[str, Any] = {"deal_scores": judged["win"], **(judged.get("baselines") or {})}
    return picture(
        "comparison",
        "Log-loss of the model and of simple answers",
        lambda width: draw_score_comparison(scores, width=width),
        widths=(4.4, NARROW),
        caption="Each line: the 95% interval, drawn by deal.",
        shape="half",
    )


def _reliability(judged: dict[str, Any]) -> Picture | None:
    rows = judged.get("reliability")
    if not rows:
        return None
    return picture(
        "reliability",
        "Promised chance against share won",
        lambda width: draw_reliability(rows, width=width),
        widths=(3.7, NARROW),
        caption="On the dashed line what was promised is what happened; above it more was won,"
        " below it less.",
        shape="half",
    )


def _scores(win: dict[str, Any], judged: dict[str, Any]) -> list[str]:
    if known(win.get("log_loss")) is None:
        return ["No deal of the test block was followed for long enough to judge the model by it."]
    low, high = win.get("log_loss_interval") or (None, None)
    text = (
        f"On {counted(win['deals'], 'deal')} that it had never seen, looked at"
        f" {counted(win['rows'], 'time')}, its log-loss is {plain(win['log_loss'])}"
    )
    if known(low) is not None:
        text += f" (95% interval {plain(low)} to {plain(high)})"
    words = [f"{text}, told {days(win['horizon_days'])} ahead, open deals counted as open."]
    words.append(_beside(judged))
    words.append(
        f"It promised {percent(win['mean_promised'], 1)} on average;"
        f" {percent(win['share_won'], 1)} were won."
    )
    slope, auc = known(win.get("calibration_slope")), known(win.get("auc"))
    if slope is not None:
        words.append(f"Calibration slope {plain(slope, 2)}: 1 is exact, below 1 is too sure.")
    if auc is not None:
        words.append(
            f"Of a won and another deal it ranks the won one higher in {percent(auc)} of cases."
        )
    return [sentence for sentence in words if sentence]


def _beside(judged: dict[str, Any]) -> str:
    gain = known(judged.get("gain_over_stage_age"))
    if gain is None:
        return ""
    if gain < 0:
        return f"That is {percent(-gain, 1)} more than a table of stage and age."
    less = percent(gain, 1)
    better = "" if _no_better(judged) else ", and better than every baseline"
    return f"That is {less} less than a table of stage and age{better}."


def _dates(dates: dict[str, Any]) -> list[str]:
    words = []
    share = known(dates.get("coverage_80"))
    if share is not None:
        low, high = dates.get("coverage_80_interval") or (None, None)
        span = "" if known(low) is None else f" (95% interval {percent(low)} to {percent(high)})"
        words.append(
            f"{percent(share)}{span} of the won deals closed within their 80% range of dates,"
            f" which is {days(dates['mean_width_days'])} wide on average."
        )
    if known(dates.get("mae_days")) is not None:
        words.append(f"The day of a deal's end was missed by {days(dates['mae_days'])} on average.")
    return words or ["No deal of the test block was won in time to judge the dates."]


def _segments(segments: dict[str, Any]) -> list[Finding]:
    """Segments where promised and won differ by more than chance explains, widest gap first."""
    off = []
    total = 0
    for column, values in segments.items():
        for value, row in values.items():
            total += 1
            gap = row["mean_promised"] - row["share_won"]
            error = (row["share_won"] * (1 - row["share_won"]) / row["deals"]) ** 0.5
            if abs(gap) > max(OFF, 2.6 * error):
                off.append((abs(gap), _segment_words(column, value, row)))
    if off:
        return [Finding("warn", words) for _, words in sorted(off, reverse=True)]
    if not total:
        return [Finding("ok", "No segment has enough test deals (200) to be judged on its own.")]
    words = f"In all {total} segments with enough deals, what was promised is what was won."
    return [Finding("ok", words)]


def _segment_words(column: str, value: str, row: dict[str, Any]) -> str:
    return (
        f"{sentence_case(column)} {value}: promised {percent(row['mean_promised'])},"
        f" won {percent(row['share_won'])} ({counted(row['deals'], 'deal')})."
    )


def audit_lines(audit: dict[str, Any]) -> list[Finding]:
    """What the leakage audit found; where nothing, what it tried."""
    if not audit:
        return [Finding("warn", "No leakage audit was run: a feature may know the outcome.")]
    return [Finding(str(one["verdict"]), _audit_words(one)) for one in audit.get("findings") or []]


def _audit_words(one: dict[str, Any]) -> str:
    column = str(one["column"]).removeprefix("f_").removeprefix("x_").replace("_", " ")
    return f"{sentence_case(str(one['check']))}, {column}: {one['evidence']}."


def _quality(quality: dict[str, Any]) -> list[Finding]:
    """Checks of the data that did not pass, worst first, then rows turned away and tables missing."""
    checks = quality.get("checks")
    if checks is None:
        return [Finding("warn", "No check of the data was run.")]
    bad = [one for one in checks if one.get("verdict") in ("warn", "fail")]
    bad.sort(key=lambda one: (one["verdict"] != "fail", -int(one["count"])))
    found = [Finding(str(one["verdict"]), _check_words(one)) for one in bad[:MOST_CHECKS]]
    if len(bad) > MOST_CHECKS:
        left = counted(len(bad) - MOST_CHECKS, "smaller finding")
        found.append(Finding("warn", f"{left} more: see data_quality.json."))
    if not bad:
        found.append(Finding("ok", f"{counted(len(checks), 'check')} of the data found nothing."))
    rejects = quality.get("rejects") or []
    found += [Finding("warn", _reject_words(one)) for one in rejects[:MOST_CHECKS]]
    missing = quality.get("missing_tables") or {}
    return found + [Finding("none", f"No {table_name(k)}: {v}.") for k, v in missing.items()]


def _check_words(one: dict[str, Any]) -> str:
    """A check in words, with how much is in fault and the cure."""
    text = (
        f"{sentence_case(str(one['check']))}: {int(one['count']):,} in {table_name(one['table'])}"
    )
    return _with_cure(f"{text} ({percent(one['share'], 1)})", one)


def _reject_words(one: dict[str, Any]) -> str:
    rows = counted(int(one["count"]), "row")
    return _with_cure(f"{rows} of {table_name(one['table'])} turned away: {one['reason']}", one)


def _with_cure(text: str, one: dict[str, Any]) -> str:
    cure = _QUOTED.sub(r"“\1”", str(one.get("cure") or "").rstrip("."))
    return f"{text}. {cure[:1].upper()}{cure[1:]}." if cure else f"{text}."


def table_name(name: str) -> str:
    """What a canonical table, or a column of it, is called."""
    return TABLES.get(name, name.replace("_", " ").replace(".", ": "))


def gate_lines(gates: list[dict[str, Any]]) -> list[Finding]:
    """What each success criterion said."""
    if not gates:
        words = "No gates are configured: any model that trains may be put to use."
        return [Finding("none", words)]
    return [Finding("ok" if gate["passed"] else "fail", _gate_words(gate)) for gate in gates]


def _gate_words(gate: dict[str, Any]) -> str:
    name = GATES.get(gate["metric"], sentence_case(gate["metric"].replace(".", ", ")).lower())
    value = "could not be measured" if gate["value"] is None else f"is {gate['value']:.3g}"
    word = "Passed" if gate["passed"] else "Not passed"
    return f"{word}: {name} {value}, asked for {gate['bound']}."
