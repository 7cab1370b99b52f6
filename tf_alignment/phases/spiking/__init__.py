"""Phases that simulate dense layers as networks of spiking neurons."""
