"""Lansdell et al. 2020, "Learning to solve the credit assignment problem"."""
