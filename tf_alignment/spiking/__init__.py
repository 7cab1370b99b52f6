"""Spiking networks, as graph code: what the phases that learn from spikes simulate.

For regression discontinuity (`tf_alignment.phases.RDD`): `lif` has leaky integrate-and-fire units,
`windows` the windows around their threshold, `paradigm` how a layer is driven, and
`estimators` how feedback weights follow from what is seen.

For spike-based alignment (`tf_alignment.phases.SAL`): `sampling` has stochastic neurons in discrete
time, whose network samples from a Boltzmann distribution; `pairs` sums over pairs of spikes,
`alignment` is the rule of feedback synapses, `layered` a network of layers with synapses both ways,
and `learning` lets its feedback learn.

`plan` says how much of a drive is simulated at a time. For both, `loops` has loops over time,
`rates` finds silent and saturated units, and `arguments` checks numbers.
"""

from tf_alignment.spiking import estimators
from tf_alignment.spiking.alignment import SpikeAlignment
from tf_alignment.spiking.layered import LayeredNetwork
from tf_alignment.spiking.learning import FeedbackLearning, LearningState
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
from tf_alignment.spiking.pairs import (
    chance,
    exponential,
    hebbian,
    pair_sums,
    triangular,
)
from tf_alignment.spiking.paradigm import Drive, Paradigm, poisson
from tf_alignment.spiking.sampling import (
    Potential,
    SamplingParameters,
    SamplingState,
    initial_state,
    sample,
    sampling_step,
    uniforms,
)
from tf_alignment.spiking.windows import Events, Window, WindowState, window_step

__all__ = [
    "LIF",
    "Drive",
    "Events",
    "FeedbackLearning",
    "LIFState",
    "LayeredNetwork",
    "LearningState",
    "Paradigm",
    "Potential",
    "SamplingParameters",
    "SamplingState",
    "SpikeAlignment",
    "SynapseState",
    "Window",
    "WindowState",
    "chance",
    "estimators",
    "exponential",
    "hebbian",
    "initial_state",
    "lif_step",
    "membrane_step",
    "pair_sums",
    "poisson",
    "respond",
    "sample",
    "sampling_step",
    "scaled_kernel",
    "simulate",
    "synapse_step",
    "triangular",
    "uniforms",
    "window_step",
]
