"""Experiments on sequences: predict the characters of a text, and recall a value after a delay."""
