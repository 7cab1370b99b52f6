"""Phases: learning of feedback weights outside the training step.

What needs a world of its own (noise put into every layer, a perturbed network, spikes) happens
between training steps. `tf_alignment.callbacks.FeedbackCallback` says when.
"""

from tf_alignment.phases.alignment import Alignment
from tf_alignment.phases.base import Phase
from tf_alignment.phases.node_perturbation import NodePerturbation
from tf_alignment.phases.sal import SAL

__all__ = ["SAL", "Alignment", "NodePerturbation", "Phase"]
