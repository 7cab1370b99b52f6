"""Helpers of the other modules: checks of arguments, seeds, noise, tracing, optional imports."""
