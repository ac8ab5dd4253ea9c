"""A small company whose run folder is laid by hand, so that the report can be read without a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from salesops_ml.app.run_folder import RunFolder
from salesops_ml.settings import parse

AS_OF = pd.Timestamp("2026-11-20")
QUANTILES = {
    "p025": 0.75,
    "p05": 0.8,
    "p10": 0.85,
    "p50": 1.0,
    "p90": 1.15,
    "p95": 1.2,
    "p975": 1.3,
}


def forecast() -> pd.DataFrame:
    """Two regions and the company over them, two months and two quarters."""
    rows = []
    for grain, starts in {
        "month": {"2026-11": "2026-11-01", "2026-12": "2026-12-01"},
        "quarter": {"2026-Q4": "2026-10-01", "2027-Q1": "2027-01-01"},
    }.items():
        for at, (period, start) in enumerate(starts.items()):
            for node, size in {"company": 3.0, "company/EMEA": 2.0, "company/North A": 1.0}.items():
                parts = {
                    "closed": 4e5 * size * (at == 0), "from_open": 6e5 * size,
                    "from_new": 1e5 * size * at, "adjustment": -5e4 * size,
                }  # fmt: skip
                mean = sum(parts.values())
                told = {name: mean * share for name, share in QUANTILES.items()}
                rows.append(
                    {"node": node, "grain": grain, "period": period, "mean": mean, **told, **parts}
                    | {"period_start": pd.Timestamp(start), "method": "combined"}
                )  # fmt: skip
    return pd.DataFrame(rows)


def quotas() -> pd.DataFrame:
    """The chance of each node's quota in the quarter that runs."""
    told = forecast()
    rows = told[told["period"] == "2026-Q4"][["node", "period", "closed", "mean"]]
    rows = rows.assign(quota=rows["mean"] * [1.1, 0.9, 1.4], p_reach=[0.31, 0.84, 0.002])
    return rows.assign(to_go=rows["quota"] - rows["closed"], gap=rows["quota"] - rows["mean"])


def backtest() -> pd.DataFrame:
    """Three origins, each with its own month and the next, by ours and a rule of thumb."""
    rows = []
    months = pd.date_range("2026-07-01", periods=4, freq="MS")
    actual = dict(zip(months, (9e5, 1.1e6, 8e5, 1e6), strict=True))
    for method, miss in {"ours": 0.1, "run_rate": 0.3}.items():
        for place, origin in enumerate(months[:3]):
            for month in months[place : place + 2]:
                mean = actual[month] * (1 + miss * (-1) ** place)
                low, high = (mean * 0.8, mean * 1.2) if method == "ours" else (np.nan, np.nan)
                rows.append({
                    "origin": origin, "node": "company", "level": "company", "grain": "month",
                    "period": f"{month:%Y-%m}", "period_start": month, "method": method,
                    "mean": mean, "p10": low, "p90": high, "actual": actual[month],
                })  # fmt: skip
    return pd.DataFrame(rows)


def scores() -> pd.DataFrame:
    """Eight open deals; the last two are large, one is overdue and unlikely."""
    chance = np.array([0.1, 0.3, 0.5, 0.6, 0.7, 0.9, 0.05, 0.65])
    due = ["2026-12-01"] * 6 + ["2026-10-05", "2026-12-24"]
    middle = [AS_OF + pd.Timedelta(days=30)] * 7 + [pd.Timestamp("2027-03-01")]
    return pd.DataFrame({
        "deal_id": [f"deal-{number}" for number in range(8)], "as_of": AS_OF,
        "p_win": chance, "p_lost": 1 - chance, "p_open": 0.0,
        "p_win_low": chance * 0.8, "p_win_high": chance * 1.05,
        "close_p50_date": middle,
        "band": ["very low", "low", "medium", "medium", "medium", "high", "very low", "medium"],
        "reasons": "For: met twice this month. Against: no quote yet.",
        "model_version": "deal_scores/3", "stage": "Proposal", "rep_id": "rep-1",
        "amount": [1e4, 2e4, 1e4, 3e4, 2e4, 1e4, 9e4, 8e4],
        "expected_close_date": pd.to_datetime(due).date,
    })  # fmt: skip


def bottlenecks() -> pd.DataFrame:
    """One finding in one of two stages."""
    blank = {
        "finding": False, "attribute": None, "value": None, "pace": None, "cost_per_month": 0.0,
        "cost_low": 0.0, "cost_high": 0.0, "wins_per_month": 0.0, "delay_days": 0.0,
        "dwell_p50_days": 9.0, "others_p50_days": None, "target_days": 7.0, "target_from": "agreed",
        "share_past_target": 0.4, "open_now": 3, "amount_now": 6e4,
        "gain_at_target_per_month": 2e4, "cases": 300,
    }  # fmt: skip
    found = {
        "finding": True, "attribute": "discount", "value": "> 20%", "pace": 0.55,
        "cost_per_month": 5.2e4, "cost_low": 2.1e4, "cost_high": 9.7e4, "wins_per_month": 2.3,
        "dwell_p50_days": 21.0, "others_p50_days": 8.0, "gain_at_target_per_month": None,
    }  # fmt: skip
    return pd.DataFrame([
        blank | {"kind": "stage", "rank": 1, "stage": "Legal", **found, "gain_at_target_per_month": 3e4},
        blank | {"kind": "stage", "rank": 2, "stage": "Proposal"},
        blank | {"kind": "segment", "rank": 1, "stage": "Legal"} | found,
    ])  # fmt: skip


def kpis() -> pd.DataFrame:
    """Three quarters, the last in progress, of the company and a region."""
    told = {
        "win_rate": ("%", [24.0, 27.0, 26.0], 25.0, "met"),
        "quota_attainment": ("%", [91.0, 84.0, 40.0], 100.0, "missed"),
        "deal_size_mean": ("EUR", [21e3, 23e3, 22e3], np.nan, ""),
        "stage_conversion:Proposal": ("%", [50.0, 55.0, 52.0], np.nan, ""),
        "stage_dwell_p50:Proposal": ("days", [9.0, 8.0, 8.5], 7.0, "missed"),
        "waterfall:start": ("EUR", [1e6, 1.2e6, 9e5], np.nan, ""),
        "waterfall:created": ("EUR", [3e5, 2e5, 1e5], np.nan, ""),
        "waterfall:won": ("EUR", [-6e5, -7e5, -2e5], np.nan, ""),
        "waterfall:end": ("EUR", [7e5, 7e5, 8e5], np.nan, ""),
    }
    rows = [
        {"metric": metric, "period": period, "node": node, "value": value, "unit": unit}
        | {"target": target, "status": status, "n": 40}
        for metric, (unit, values, target, status) in told.items()
        for period, value in zip(("2026-Q2", "2026-Q3", "2026-Q4"), values, strict=True)
        for node in ("company", "company/EMEA")
    ]
    return pd.DataFrame(rows)


def evaluation() -> dict[str, Any]:
    """Figures as `judge` and `judge_forecast` write them."""
    win = {
        "log_loss": 0.42, "log_loss_interval": [0.40, 0.44], "auc": 0.81, "calibration_slope": 0.97,
        "mean_promised": 0.31, "share_won": 0.30, "rows": 4000, "deals": 600, "horizon_days": 90.0,
    }  # fmt: skip
    ours = {"pairs": 14, "origins": 6, "wape": 0.11, "bias": 0.01, "coverage_80": 0.78}
    segment = {"deals": 400, "log_loss": 0.4, "mean_promised": 0.30, "share_won": 0.31}
    return {
        "win": win,
        "baselines": {"stage_age": win | {"log_loss": 0.47, "log_loss_interval": [0.45, 0.49]}},
        "dates": {"coverage_80": 0.79, "coverage_80_interval": [0.75, 0.83],
                  "mean_width_days": 41.0, "mae_days": 17.2},
        "segments": {"stage": {"Proposal": segment, "Legal": segment | {"share_won": 0.45}}},
        "reliability": [[0.1, 0.12, 800.0], [0.3, 0.29, 800.0], [0.7, 0.66, 790.0]],
        "gain_over_stage_age": 0.106,
        "forecast": {"month": {"company": {
            "ours": ours | {"coverage_80_se": 0.06}, "run_rate": ours | {"wape": 0.21},
        }}},
        "leakage_audit": "ok",
        "gates": [{"metric": "win.log_loss", "value": 0.42, "bound": "at most 0.5", "passed": True}],
    }  # fmt: skip


def dataset() -> pd.DataFrame:
    """A few looks in each block."""
    split = ["train", "calibration", "test"]
    created = pd.to_datetime(["2025-01-05", "2026-01-05", "2026-06-05"])
    return pd.DataFrame({
        "deal_id": ["a", "b", "c"], "as_of": created, "created_at": created, "split": split,
        "days_observed": [50.0, 40.0, 30.1234567], "outcome": "won", "f_age_days": 0.0,
    })  # fmt: skip


def quality() -> dict[str, Any]:
    """One check that found something, one reject, one missing table."""
    return {
        "checks": [
            {"check": "closed before created", "table": "deals", "count": 3, "share": 0.01,
             "verdict": "warn", "cure": "correct the dates in the CRM"},
            {"check": "negative amounts", "table": "deals", "count": 0, "share": 0.0,
             "verdict": "ok", "cure": ""},
        ],
        "rejects": [{"table": "quotes", "reason": "no number", "cure": "write one", "count": 2}],
        "missing_tables": {"quotas": "no quota attainment"},
    }  # fmt: skip


MAP = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 90 30"><script>alert(1)</script>'
    '<a href="https://example.org/x"><text id="t" onclick="alert(2)" y="20">Proposal</text></a></svg>'
)


def lay_run(folder: Path) -> RunFolder:
    """Every file that the report reads."""
    folder.mkdir(parents=True)
    run = RunFolder(folder, "20261120-120000")
    settings = parse({
        "company": {"name": "Small Co", "base_currency": "EUR", "time_zone": "Europe/Amsterdam"},
    })  # fmt: skip
    run.write_text("config.yaml", settings.to_yaml())
    run.write_text("process_map.svg", MAP)
    run.write_text("process_map.html", "<html></html>")
    run.write_json("environment", {
        "python": "3.11.9", "libraries": {"pandas": "2.3.3"}, "seed": 7, "git_revision": "abc123",
        "row_counts": {"deals": 900, "stage_events": 5000},
    })  # fmt: skip
    run.write_json("evaluation", evaluation())
    run.write_json("data_quality", quality())
    finding = {"check": "time travel", "column": "all features", "evidence": "90 looks"}
    run.write_json("leakage_audit", {"verdict": "ok", "findings": [finding | {"verdict": "ok"}]})
    frames = {
        "forecast": forecast, "forecast_backtest": backtest, "scores": scores, "kpis": kpis,
        "bottlenecks": bottlenecks, "dataset": dataset, "quota_chance": quotas,
    }  # fmt: skip
    for name, made in frames.items():
        run.write_frame(name, made())
    return run


def lay_bare(folder: Path) -> RunFolder:
    """A run folder with its settings only."""
    folder.mkdir(parents=True)
    run = RunFolder(folder, "bare")
    run.write_text("config.yaml", parse({"company": {"name": "Bare Co"}}).to_yaml())
    return run


@pytest.fixture
def full_run(tmp_path: Path) -> RunFolder:
    """A run folder with every file."""
    return lay_run(tmp_path / "full")


@pytest.fixture
def bare_run(tmp_path: Path) -> RunFolder:
    """A run folder with its settings only."""
    return lay_bare(tmp_path / "bare")
