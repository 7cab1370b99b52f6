"""Experiments of Guerguiev et al. 2020, "Spike-based causal inference for weight alignment"."""
