"""Gierlich et al. 2026, "Spike-based alignment learning solves the weight transport problem"."""
