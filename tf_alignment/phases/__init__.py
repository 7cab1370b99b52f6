"""Phases: learning of feedback weights outside the training step.

Some rules cannot run inside the training step: they need a second, noisy pass, or a simulation of
spikes. They run between training steps, as phases. `tf_alignment.callbacks.FeedbackCallback` says
when.
"""

from tf_alignment.phases.alignment import Alignment
from tf_alignment.phases.base import Phase
from tf_alignment.phases.compiled import CompiledPhase
from tf_alignment.phases.interleave import interleave
from tf_alignment.phases.regression.node_perturbation import NodePerturbation
from tf_alignment.phases.regression.solvers import NormalizedLMS, Ridge
from tf_alignment.phases.regression.synthetic_gradient import SyntheticGradient
from tf_alignment.phases.spiking.rdd import RDD
from tf_alignment.phases.spiking.sal import SAL

__all__ = [
    "RDD",
    "SAL",
    "Alignment",
    "CompiledPhase",
    "NodePerturbation",
    "NormalizedLMS",
    "Phase",
    "Ridge",
    "SyntheticGradient",
    "interleave",
]
