"""Measures of the alignment between forward and feedback weights, and between gradients.

The measures of `tf_alignment.metrics.measures` compare a forward kernel with a feedback kernel.
`gradient_angle` compares the gradient that a model computes in each layer with true
backpropagation on the same batch; `GradientProbe` is its compiled form, for repeated use.
"""

from tf_alignment.metrics.gradients import GradientProbe, gradient_angle
from tf_alignment.metrics.measures import (
    alignment_cost,
    correlation,
    norm_ratio,
    path_angle,
    relative_error,
    sign_agreement,
    weight_angle,
)

__all__ = [
    "GradientProbe",
    "alignment_cost",
    "correlation",
    "gradient_angle",
    "norm_ratio",
    "path_angle",
    "relative_error",
    "sign_agreement",
    "weight_angle",
]
