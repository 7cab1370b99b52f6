"""Spiking networks, as graph code: what the phases that learn from spikes simulate.

`lif` has leaky integrate-and-fire units, `discontinuity` what a spike does to the layer above, and
`estimators` how feedback weights follow from it; `tf_alignment.phases.RDD` puts them together.
"""

from tf_alignment.spiking import estimators
from tf_alignment.spiking.discontinuity import (
    Drive,
    Events,
    Paradigm,
    Window,
    WindowState,
    poisson,
    window_step,
)
from tf_alignment.spiking.lif import (
    LIF,
    LIFState,
    SynapseState,
    lif_step,
    membrane_step,
    scaled_kernel,
    simulate,
    synapse_step,
)

__all__ = [
    "LIF",
    "Drive",
    "Events",
    "LIFState",
    "Paradigm",
    "SynapseState",
    "Window",
    "WindowState",
    "estimators",
    "lif_step",
    "membrane_step",
    "poisson",
    "scaled_kernel",
    "simulate",
    "synapse_step",
    "window_step",
]
