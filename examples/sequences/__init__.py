"""Sequences without weight transport: characters of a text, and a value to recall."""
