"""Experiments of four papers before those of the other folders, each in minutes on one core."""
