"""Experiments of Ji-An & Benna 2024, "Deep Learning without Weight Symmetry"."""
