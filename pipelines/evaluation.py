"""Phase 5, evaluation: is it good enough, by figures beside their baselines and by the gates.

A gate that says no stops the run here (exit 3); the run folder stays, so that one can see why.
"""

from __future__ import annotations

from typing import Any

from pipelines import data_preparation
from pipelines.job import Job
from salesops_ml.app.deal_model import Prepared, judge
from salesops_ml.app.deployment import model_folder
from salesops_ml.app.insights import write_insights
from salesops_ml.app.model_card import write_model_card
from salesops_ml.app.report import write_report
from salesops_ml.app.revenue import judge_forecast
from salesops_ml.app.run_folder import KeepRun
from salesops_ml.errors import DataError, GateError, ModelError
from salesops_ml.evaluation.gates import Verdict, check_gates
from salesops_ml.models import DealScores
from salesops_ml.snapshots import FeatureSpec

STEPS = (("evaluation", 4.0),)


def run(job: Job) -> None:
    """Write evaluation.json, hold it against the gates, and lay out the model card."""
    with job.progress.step("evaluation"):
        prepared, spec = data_preparation.load(job)
        model = DealScores.load(model_folder(job.folder), threads=job.settings.threads)
        figures = judge(prepared, job.folder.read_frame("predictions"), job.settings)
        if job.folder.has("forecast_backtest.parquet"):
            figures["forecast"] = judge_forecast(job.folder.read_frame("forecast_backtest"))
        if job.settings.models.validation_origins:
            figures["validation"] = _validate(job, prepared, spec)
        figures |= told_by_model(model)
        figures["leakage_audit"] = job.folder.read_json("leakage_audit")["verdict"]
        verdicts = check_gates(job.settings.gates, figures)
        figures["gates"] = [vars(verdict) for verdict in verdicts]
        job.folder.write_json("evaluation", figures)
        write_insights(job.folder, prepared, model, job.settings)
        win, table = figures["win"], figures["baselines"].get("stage_age", {})
        job.progress.say(
            f"log-loss {_told(win['log_loss'])} (stage x age {_told(table.get('log_loss'))}),"
            f" AUC {_told(win.get('auc'))}, calibration slope {_told(win.get('calibration_slope'))}"
        )
        job.progress.say(f"model card: {write_model_card(job.folder).name}")
    for verdict in verdicts:
        job.progress.say(verdict.sentence())
    check(job)


def told_by_model(model: DealScores) -> dict[str, Any]:
    """What training decided: how the score was calibrated, whether there is signal, enough deals."""
    facts, rehearsal = model.facts, model.facts["rehearsal"]
    return {
        "training": {key: facts[key] for key in ("answer", "calibration", "voices")} | rehearsal,
        "sufficiency": rehearsal.get("sufficiency"),
    }


def _validate(job: Job, prepared: Prepared, spec: FeatureSpec) -> dict[str, Any]:
    """Ours and every baseline on past days; where the record has none, the reason."""
    from salesops_ml.app.tuning import validate_prepared

    try:
        found = validate_prepared(prepared, spec, job.settings)
    except (DataError, ModelError) as error:
        job.progress.say(f"no validation: {error}")
        return {"not_possible": str(error)}
    figures = found["pooled"]["models"]["deal_scores"]
    job.progress.say(
        f"validation on {len(found['folds'])} past days: log-loss {_told(figures['log_loss'])}"
    )
    return found


def check(job: Job) -> None:
    """Stop the run where the audit failed or a gate said no; the report then tells why.

    Raises:
        KeepRun: with the `GateError` that tells why.
    """
    figures = job.folder.read_json("evaluation")
    verdicts = [Verdict(**verdict) for verdict in figures["gates"]]
    reasons = refusals(figures["leakage_audit"], verdicts)
    if reasons:
        write_report(job.folder)
        place = job.settings.runs / job.folder.run_id / "evaluation.json"
        raise KeepRun(GateError("\n".join([*reasons, f"nothing was promoted; see {place}"])))


def refusals(audit: str, verdicts: list[Verdict]) -> list[str]:
    """Why the run must not be promoted; empty where nothing stands against it."""
    reasons = [verdict.sentence() for verdict in verdicts if not verdict.passed]
    if audit == "fail":
        reasons.append("the leakage audit failed: see leakage_audit.json for the columns")
    return reasons


def _told(value: float | None) -> str:
    return "not known" if value is None else f"{value:.3f}"
