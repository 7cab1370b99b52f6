"""Stochastic neurons in discrete time, and feedback synapses that learn from the order of spikes.

`neuron` has neurons whose network samples from a Boltzmann distribution; `pairs` sums over pairs of
spikes, `alignment` is the rule of feedback synapses, `layered` a network of layers with synapses
both ways, and `learning` lets its feedback learn.
"""

from tf_alignment.spiking.sampling.alignment import SpikeAlignment
from tf_alignment.spiking.sampling.layered import LayeredNetwork
from tf_alignment.spiking.sampling.learning import FeedbackLearning, LearningState
from tf_alignment.spiking.sampling.neuron import (
    Neuron,
    Potential,
    State,
    initial_state,
    sample,
    step,
    uniforms,
)
from tf_alignment.spiking.sampling.pairs import (
    chance,
    exponential,
    hebbian,
    pair_sums,
    triangular,
)

__all__ = [
    "FeedbackLearning",
    "LayeredNetwork",
    "LearningState",
    "Neuron",
    "Potential",
    "SpikeAlignment",
    "State",
    "chance",
    "exponential",
    "hebbian",
    "initial_state",
    "pair_sums",
    "sample",
    "step",
    "triangular",
    "uniforms",
]
