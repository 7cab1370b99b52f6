"""Optimizers for forward and feedback weights, built on Keras' own."""

from tf_alignment.optimizers.noisy import NoisyUpdates
from tf_alignment.optimizers.replicated import ReplicatedSGD
from tf_alignment.optimizers.sgd import SGD
from tf_alignment.optimizers.split import ALIGNED, check, split

__all__ = ["ALIGNED", "SGD", "NoisyUpdates", "ReplicatedSGD", "check", "split"]
