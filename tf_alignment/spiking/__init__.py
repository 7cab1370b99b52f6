"""Networks of spiking neurons, and what their spikes tell about their weights.

`sampling` holds stochastic neurons in discrete time, whose network samples from a Boltzmann
distribution; `pairs` sums over pairs of spikes; `alignment` is spike-based alignment learning (SAL)
of feedback synapses; `layered` is a network of layers with synapses both ways; `learning` lets its
feedback learn.
"""

from tf_alignment.spiking.alignment import SpikeAlignment
from tf_alignment.spiking.layered import LayeredNetwork
from tf_alignment.spiking.learning import FeedbackLearning, LearningState
from tf_alignment.spiking.pairs import (
    chance,
    exponential,
    filtered,
    hebbian,
    pair_sums,
    traces,
    triangular,
)
from tf_alignment.spiking.sampling import (
    SamplingParameters,
    SamplingState,
    initial_state,
    sampling_step,
    simulate,
    uniforms,
)

__all__ = [
    "FeedbackLearning",
    "LayeredNetwork",
    "LearningState",
    "SamplingParameters",
    "SamplingState",
    "SpikeAlignment",
    "chance",
    "exponential",
    "filtered",
    "hebbian",
    "initial_state",
    "pair_sums",
    "sampling_step",
    "simulate",
    "traces",
    "triangular",
    "uniforms",
]
