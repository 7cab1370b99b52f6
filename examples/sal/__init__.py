"""Experiments of Gierlich et al. 2026.

Paper: "Spike-based alignment learning solves the weight transport problem".
"""
