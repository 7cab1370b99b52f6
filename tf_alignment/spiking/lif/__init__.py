"""Leaky integrate-and-fire units, and what their spikes tell of the weights to the layer above.

`neuron` has the units and their synapses, `windows` the windows around their threshold, `paradigm`
how a layer is driven, and `estimators` how feedback weights follow from what is seen; `plan` says
how much is simulated at a time.
"""

from tf_alignment.spiking.lif import estimators
from tf_alignment.spiking.lif.neuron import (
    Neuron,
    State,
    SynapseState,
    membrane_step,
    respond,
    scaled_kernel,
    simulate,
    step,
    synapse_step,
)
from tf_alignment.spiking.lif.paradigm import (
    AboveState,
    Drive,
    DrivenState,
    Paradigm,
    poisson,
)
from tf_alignment.spiking.lif.windows import Events, Window, WindowState, window_step

__all__ = [
    "AboveState",
    "Drive",
    "DrivenState",
    "Events",
    "Neuron",
    "Paradigm",
    "State",
    "SynapseState",
    "Window",
    "WindowState",
    "estimators",
    "membrane_step",
    "poisson",
    "respond",
    "scaled_kernel",
    "simulate",
    "step",
    "synapse_step",
    "window_step",
]
