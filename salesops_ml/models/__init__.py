"""Win, close date and calibration: one distribution per deal."""

from salesops_ml.models.curves import Curves, reporting_days
from salesops_ml.models.deal_scores import DealScores, scores_from
from salesops_ml.models.training import fit_deal_scores

__all__ = ["Curves", "DealScores", "fit_deal_scores", "reporting_days", "scores_from"]
