"""Spiking networks, as graph code: what the phases that learn from spikes simulate.

`lif` has leaky integrate-and-fire units, `discontinuity` the windows around their threshold,
`paradigm` how a layer is driven, and `estimators` how feedback weights follow from what is seen;
`tf_alignment.phases.RDD` puts them together.
"""

from tf_alignment.spiking import estimators
from tf_alignment.spiking.discontinuity import Events, Window, WindowState, window_step
from tf_alignment.spiking.lif import (
    LIF,
    LIFState,
    SynapseState,
    lif_step,
    membrane_step,
    respond,
    scaled_kernel,
    simulate,
    synapse_step,
)
from tf_alignment.spiking.paradigm import Drive, Paradigm, poisson

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
    "respond",
    "scaled_kernel",
    "simulate",
    "synapse_step",
    "window_step",
]
