"""Phases that fit feedback kernels to estimated gradients by regression."""
