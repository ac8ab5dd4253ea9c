"""A synthetic B2B company whose truth is known: what a model could know at best, what each
bottleneck costs, and which column leaks."""

from salesops_ml.synthetic.parameters import (
    Bottleneck,
    FaultRates,
    WorldParameters,
    parameters_from,
)
from salesops_ml.synthetic.truth import TrueCurves, true_curves, true_probabilities
from salesops_ml.synthetic.world import generate

__all__ = [
    "Bottleneck",
    "FaultRates",
    "TrueCurves",
    "WorldParameters",
    "generate",
    "parameters_from",
    "true_curves",
    "true_probabilities",
]
