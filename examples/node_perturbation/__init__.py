"""Experiments of Lansdell et al. 2020.

Paper: "Learning to solve the credit assignment problem".
"""
