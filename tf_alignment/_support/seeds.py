"""Seeds of feedback initializers, and of random numbers on replicas.

A Keras initializer fixes its seed when it is made, and draws the same numbers at every call. If one
initializer draws a kernel and its feedback kernel, B equals W, and feedback alignment is silently
backprop. So every feedback weight is drawn with a different seed.
"""

from __future__ import annotations

import random
import zlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf

__all__ = ["derived_seed", "named_initializer", "per_replica", "reseeded"]


def derived_seed(*sources: int | str) -> int:
    """Derive a seed from sources; different sources give different seeds.

    Args:
        *sources: Integers and strings.
    """
    entropy = [zlib.crc32(s.encode()) if isinstance(s, str) else abs(int(s)) for s in sources]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)


def reseeded(initializer: Any, *sources: int | str, **config: Any) -> Any:
    """Copy an initializer with a seed derived from the initializer's seed, if any, and `sources`.

    Args:
        initializer: Keras initializer, or a function of shape and dtype, which is returned
            unchanged.
        *sources: Integers and strings, see `derived_seed`.
        **config: Further arguments of the initializer, which are set if they are None.
    """
    if not isinstance(getattr(initializer, "seed", None), int):  # a constant, or a function
        return initializer
    given = initializer.get_config()
    # without a seed of the user's, the one that Keras drew is none to keep
    own = [] if given["seed"] is None and sources else [initializer.seed]
    given["seed"] = derived_seed(*own, *sources)
    given.update({name: v for name, v in config.items() if given.get(name, v) is None})
    return type(initializer).from_config(given)


def named_initializer(argument: str, value: Any) -> Any:
    """Get an initializer as `keras.initializers.get` does, without drawing a seed.

    Args:
        argument: Name of the argument, for the error message.
        value: Value of the argument.

    Raises:
        ValueError: If `value` is no initializer. Arrays are refused too: Keras accepts them, but
            cannot load a model that was saved with one.
    """
    if isinstance(value, np.ndarray | np.generic | keras.Variable) or tf.is_tensor(value):
        raise ValueError(
            f"Argument `{argument}` must be a Keras initializer, its id or its config. To begin "
            "with given numbers, assign them to the weights of the built layer. "
            f"Received: {argument} of type {type(value).__name__} and shape {tuple(value.shape)}"
        )
    state = random.getstate()  # an unused seed must not shift the seeds of later layers
    try:
        return keras.initializers.get(value)
    except (TypeError, ValueError):
        raise ValueError(
            f"Argument `{argument}` must be a Keras initializer, its id or its config. "
            f"Received: {argument}={value!r}"
        ) from None
    finally:
        random.setstate(state)


def per_replica(seed: tf.Tensor) -> tf.Tensor:
    """Change a seed on every replica except the first; outside replicas it is unchanged.

    Args:
        seed: Two int32 numbers, for `tf.random.stateless_*`.
    """
    context = tf.distribute.get_replica_context()
    if context is None:
        return seed
    replica = tf.cast(context.replica_id_in_sync_group, tf.int32)
    return tf.stack([seed[0], seed[1] + replica * 0x3C6EF35F])
