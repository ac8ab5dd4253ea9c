"""The facts of a model card as plain values, each from a file of the run; what is not there is null.

`model_card.json` holds them, and the page is laid out from nothing else.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from salesops_ml.app.model_card_parts import parts_of_deals
from salesops_ml.app.model_card_scores import OURS, savings
from salesops_ml.app.report_files import RunFiles
from salesops_ml.app.report_trust import build_trust, off_words

BLOCKS = ("train", "calibration", "test", "unused")
PROMISED_COVERAGE = 0.8
MEASURES = ("log_loss", "brier", "auc", "calibration_slope", "calibration_error")


def card_facts(files: RunFiles) -> dict[str, Any]:
    """Everything that the card says, before it is put in words.

    Raises:
        ConfigError: the run's config.yaml cannot be read.
    """
    trust = build_trust(files)
    off = sum(one.verdict == "warn" for one in trust.segments)
    judged, data = files.evaluation, files.frame("dataset")
    return {
        "model": _model(files, data),
        "verdict": {
            "verdict": trust.verdict,
            "title": trust.title,
            "reasons": [reason for reason in trust.reasons if reason != off_words(off)],
        },
        "data": _data(files),
        "label": _label(files),
        "split": _split(files),
        "scores": _scores(files, data),
        "validation": _validation(judged),
        "gain_over_stage_age": judged.get("gain_over_stage_age"),
        "dates": _dates(judged) if _is_dated(files) else None,
        "reliability": judged.get("reliability") or [],
        "parts": parts_of_deals(files, data),
        "calibration": _calibration(files),
        "insights": files.values("insights") or None,
        "sufficiency": judged.get("sufficiency"),
        "audit": files.values("leakage_audit") or None,
        "gates": judged.get("gates") or [],
        "missing_tables": files.values("data_quality").get("missing_tables") or {},
    }


def _model(files: RunFiles, data: pd.DataFrame) -> dict[str, Any]:
    made, scores = files.values("environment"), files.scores
    spec = files.values("feature_spec")
    named = [str(name) for name in data.columns if str(name).startswith("f_")]
    features = [name for name in named if data[name].notna().any()]
    return {
        "name": OURS,
        "version": str(scores["model_version"].iloc[0]) if len(scores) else None,
        "run": files.folder.run_id,
        "seed": made.get("seed", files.settings.seed),
        "git_revision": made.get("git_revision"),
        "python": made.get("python"),
        "libraries": made.get("libraries") or {},
        "features": len(features),
        "uses_reps": any(name.startswith("f_rep") for name in features),
        "feature_version": spec.get("version"),
    }


def _data(files: RunFiles) -> dict[str, Any]:
    data = files.dataset
    begun = (
        data["created_at"].dropna() if "created_at" in data else pd.Series(dtype="datetime64[us]")
    )
    return {
        "company": files.settings.company.name,
        "source": files.settings.source.type,
        "as_of": None if files.as_of is None else files.as_of.isoformat(),
        "dated": _is_dated(files),
        "first_deal": _moment(begun.min()) if len(begun) else None,
        "last_deal": _moment(begun.max()) if len(begun) else None,
        "deals": int(data["deal_id"].nunique()) if "deal_id" in data else 0,
        "looks": len(data),
        "looks_every": files.settings.snapshots.every,
        "looks_at": files.settings.snapshots.anchor,
        "rows_read": files.values("environment").get("row_counts") or {},
    }


def _is_dated(files: RunFiles) -> bool:
    """Whether any deal says when it began."""
    data = files.dataset
    return bool("created_at" in data and data["created_at"].notna().any())


def _label(files: RunFiles) -> dict[str, Any]:
    win = files.evaluation.get("win") or {}
    dated = _is_dated(files)
    within = "within the horizon, counted from the look" if dated else "in the end"
    return {
        "event": f"the deal is won {within}",
        "horizon_days": files.settings.models.horizon_days if dated else None,
        "judged_at_days": win.get("horizon_days") if dated else None,
        "open_deals": "open when the record ends: censored, weighted by IPCW, never counted as lost",
        "known_at": files.values("borders").get("test_from"),
    }


def _split(files: RunFiles) -> dict[str, Any]:
    settings, data = files.settings.split, files.dataset
    blocks = {}
    if "split" in data.columns:
        for name in BLOCKS:
            rows = data[data["split"] == name]
            if len(rows):
                blocks[name] = _block(rows)
    return {
        "by": f"column {settings.column}" if settings.column else settings.by,
        "borders": files.values("borders") or None,
        "blocks": blocks,
    }


def _block(rows: pd.DataFrame) -> dict[str, Any]:
    deals = rows.drop_duplicates("deal_id")
    begun = deals["created_at"].dropna() if "created_at" in deals else deals["deal_id"].head(0)
    outcomes = deals["outcome"].value_counts() if "outcome" in deals else pd.Series(dtype=int)
    return {
        "deals": len(deals),
        "looks": len(rows),
        "from": _moment(begun.min()) if len(begun) else None,
        "to": _moment(begun.max()) if len(begun) else None,
        **{name: int(outcomes.get(name, 0)) for name in ("won", "lost", "open")},
    }


def _scores(files: RunFiles, data: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Ours first, then each baseline: figures with their intervals; what the evaluation knows wins."""
    judged = files.evaluation
    if not judged.get("win"):
        return {}
    models = {OURS: judged["win"], **(judged.get("baselines") or {})}
    more = savings(files, data)
    keep = (*MEASURES, *(f"{name}_interval" for name in MEASURES))
    keep += ("mean_promised", "share_won", "rows", "deals")
    return {
        name: {**more.get(name, {}), **{k: row[k] for k in keep if row.get(k) is not None}}
        for name, row in models.items()
    }


def _validation(judged: dict[str, Any]) -> dict[str, Any] | None:
    """Each past day on which the model was trained and judged anew, and all of them together."""
    found = judged.get("validation") or {}
    if "folds" not in found:
        return None
    keep = ("log_loss", "log_loss_interval")
    rows = [*found["folds"], found["pooled"]]
    return {
        "groups": found["groups"],
        "origins": [
            {
                "origin": row.get("origin"),
                "judged_until": row.get("judged_until"),
                "deals": row["judged_deals"],
                "looks": row["judged_rows"],
                "models": {
                    name: {key: figures.get(key) for key in keep}
                    for name, figures in row["models"].items()
                },
            }
            for row in rows
        ],
    }


def _dates(judged: dict[str, Any]) -> dict[str, Any] | None:
    """Coverage of the 80 % range of close dates: promised, and measured by model."""
    ours = judged.get("dates") or {}
    if ours.get("coverage_80") is None and ours.get("mae_days") is None:
        return None
    rows = {OURS: ours, **(judged.get("baseline_dates") or {})}
    return {"promised": PROMISED_COVERAGE, "models": rows}


def _calibration(files: RunFiles) -> dict[str, Any]:
    """How the chances were calibrated, as the model itself tells, and what the test rows say of it."""
    path = files.folder.path / "models" / "deal_scores" / "deal_scores.json"
    told = files.values("models/deal_scores/deal_scores") if path.exists() else {}
    facts, stack = told.get("facts") or {}, told.get("stack") or {}
    method = files.evaluation.get("calibration") or facts.get("calibration")
    voices = dict(zip(stack.get("voices") or (), stack.get("weights") or (), strict=False))
    win = files.evaluation.get("win") or {}
    return {
        "method": method,
        "voices": voices,
        "slope": win.get("calibration_slope"),
        "intercept": win.get("calibration_intercept"),
        "error": win.get("calibration_error"),
    }


def _moment(value: Any) -> str:
    return str(pd.Timestamp(value).isoformat())
