"""Batch scores with reasons, and the plan of what to write back to the CRM."""

from salesops_ml.scoring.batch import BANDS, Scorer, band_of, score_open_deals
from salesops_ml.scoring.fields import FIELDS, Score, score_of
from salesops_ml.scoring.plan import Change, WriteBackPlan, plan_write_back, render_plan

__all__ = [
    "BANDS",
    "FIELDS",
    "Change",
    "Score",
    "Scorer",
    "WriteBackPlan",
    "band_of",
    "plan_write_back",
    "render_plan",
    "score_of",
    "score_open_deals",
]
