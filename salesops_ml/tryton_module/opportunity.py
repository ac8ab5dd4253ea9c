"""The fields of scores, shown to people and written by software.

Only the form makes them read-only: Tryton lets nobody write a field that is so itself, the connector's
user neither. Whoever else must not write them is kept out by a field access rule of Tryton's.
"""

# mypy: ignore-errors
from __future__ import annotations

from trytond.model import fields
from trytond.pool import PoolMeta

from .history import ToldHistory, ToldResources


class SaleOpportunity(ToldHistory, ToldResources, metaclass=PoolMeta):
    """A sale opportunity with its score; its history, and what hangs on it, told page by page."""

    __name__ = "sale.opportunity"

    salesops_win_probability = fields.Float(
        "Win Probability", digits=(1, 6),
        help="Chance of winning within the model's horizon, 0 to 1.",
    )  # fmt: skip
    salesops_close_p50 = fields.Date(
        "Likely Close", help="Median day of winning, given that it is won."
    )
    salesops_score_band = fields.Char("Score Band", help="Very low, low, medium or high.")
    salesops_reasons = fields.Text("Reasons", help="Why the chance is what it is.")
    salesops_scored_at = fields.DateTime("Scored At", help="When it was scored, UTC.")
    salesops_model_version = fields.Char("Model Version", help="The model that scored it.")

    @classmethod
    def copy(cls, opportunities, default=None):
        """A copy has no score."""
        default = {} if default is None else default.copy()
        for name in _FIELDS:
            default.setdefault(name, None)
        return super().copy(opportunities, default=default)


class SaleOpportunityLine(ToldHistory, metaclass=PoolMeta):
    """A line of an opportunity: its history is told with the opportunity's."""

    __name__ = "sale.opportunity.line"
    _told_parent = "opportunity"


_FIELDS = (
    "salesops_win_probability",
    "salesops_close_p50",
    "salesops_score_band",
    "salesops_reasons",
    "salesops_scored_at",
    "salesops_model_version",
)
