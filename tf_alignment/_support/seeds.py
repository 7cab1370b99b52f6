"""Seeds: of feedback initializers, and of what replicas draw.

A Keras initializer fixes its seed when it is made, and draws the same numbers at every call. Used
for a kernel and for its feedback kernel it would make B equal to W: feedback alignment would
silently be backprop. So every feedback weight draws with a seed of its own.
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
    """A seed that follows from the sources, and differs where they differ.

    Args:
        *sources: Integers and names.
    """
    entropy = [zlib.crc32(s.encode()) if isinstance(s, str) else abs(int(s)) for s in sources]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)


def reseeded(initializer: Any, *sources: int | str, **config: Any) -> Any:
    """A copy of an initializer with a seed that follows from its own, if it has one, and `sources`.

    Args:
        initializer: A Keras initializer, or a function of shape and dtype, which is returned as it
        is.
        *sources: See `derived_seed`.
        **config: Further arguments of the initializer to set where they are None.
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
    """`keras.initializers.get` with the argument's name in the error, and no draw of a seed.

    Args:
        argument: Name of the argument.
        value: What the user gave.

    Raises:
        ValueError: If `value` is no initializer. Keras takes arrays too, and cannot load what it
            saves of them.
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
    """The seed, made another on every replica; itself on the first, and outside of replicas.

    Args:
        seed: Two int32 numbers, for `tf.random.stateless_*`.
    """
    context = tf.distribute.get_replica_context()
    if context is None:
        return seed
    replica = tf.cast(context.replica_id_in_sync_group, tf.int32)
    return tf.stack([seed[0], seed[1] + replica * 0x3C6EF35F])
