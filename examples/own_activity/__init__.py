"""Alignment that learns from the activity of a layer, without noise."""
