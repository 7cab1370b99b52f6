"""Experiments of Kunin et al. 2020.

Paper: "Two Routes to Scalable Credit Assignment without Weight Symmetry".
"""
