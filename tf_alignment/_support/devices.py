"""Devices that TensorFlow sees."""

from __future__ import annotations

import functools

import tensorflow as tf

__all__ = ["on_cpu"]


@functools.cache
def on_cpu() -> bool:
    """Whether there is no accelerator."""
    return {device.device_type for device in tf.config.list_logical_devices()} == {"CPU"}
