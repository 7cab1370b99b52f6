"""Theory, to hold measurements against, and measures of a whole network.

| module | subject |
|---|---|
| `product_feedback` | spectra, angles and norms at which product feedback ends |
| `stability` | whether an alignment rule makes weights diverge or collapse, in the scalar case |
| `predictivity` | how well a network's layers predict the responses of neurons |
"""

from tf_alignment.analysis.predictivity import (
    Predictivity,
    layer_activations,
    neural_predictivity,
)
from tf_alignment.analysis.product_feedback import (
    marchenko_pastur_density,
    marchenko_pastur_support,
    product_norm_ratio,
    product_path_angle,
    reciprocal_correlation,
)
from tf_alignment.analysis.stability import (
    FlowEigenvalues,
    flow_eigenvalues,
    flow_field,
    flow_fixed_points,
    flow_matrix,
    flow_verdict,
)

__all__ = [
    "FlowEigenvalues",
    "Predictivity",
    "flow_eigenvalues",
    "flow_field",
    "flow_fixed_points",
    "flow_matrix",
    "flow_verdict",
    "layer_activations",
    "marchenko_pastur_density",
    "marchenko_pastur_support",
    "neural_predictivity",
    "product_norm_ratio",
    "product_path_angle",
    "reciprocal_correlation",
]
