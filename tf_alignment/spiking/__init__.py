"""Spiking networks, as graph code: what the phases that learn from spikes simulate.

`lif` has leaky integrate-and-fire units and regression discontinuity, which
`tf_alignment.phases.RDD` runs; `sampling` stochastic neurons in discrete time and spike-based
alignment, which `tf_alignment.phases.SAL` runs.

For both, `loops` has loops over time, and `rates` finds silent and saturated units.
"""

from tf_alignment.spiking import lif, sampling

__all__ = ["lif", "sampling"]
