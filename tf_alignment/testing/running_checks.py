"""The checks of `check_rule` in graphs, under XLA, in half precision and on replicas."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_alignment.testing.numbers import as_float, close, compare, well_formed
from tf_alignment.testing.report import Mismatch, NotApplicable
from tf_alignment.testing.table import gradients
from tf_alignment.testing.trial import Trial, needs

__all__ = [
    "compiled",
    "precision",
    "replicas",
    "split_cpu",
]

Gradients = Sequence[tf.Tensor | None]


def compiled(trial: Trial, jit: bool) -> None:
    """A compiled pass against an eager one, on two batches with one trace."""
    _ = trial.formed
    layer = trial.rewind()
    function = tf.function(lambda x: gradients(layer, x)[1], jit_compile=jit, autograph=False)
    exact = not (jit and trial.rule.random)  # XLA draws other random numbers
    for batch in range(2):
        x = tf.constant(trial.case.inputs(trial.seed + 10 * batch))
        expected = gradients(trial.rewind(), x)[1]
        trial.rewind()
        for name, own, eager in zip(trial.weight_names(layer), function(x), expected, strict=True):
            if eager is None:
                continue  # reported by another check
            well_formed(name, own, tuple(eager.shape))
            if exact and not close(own, eager, 1e-3):
                raise Mismatch(
                    f"for {name} what eager mode gives, at call {batch + 1}", compare(own, eager)
                )


def precision(trial: Trial, policy: str) -> None:
    """Dtypes, and numbers about as near those of float32 as the Keras layer's are."""
    layer = trial.case.stock(name="stock", dtype=policy)
    _, stock = needs(trial, lambda: _in_half(trial, layer, trial.stock))
    # a unit near its threshold switches in both layers
    allowed = max(0.1, *(3.0 * _error(a, b) for a, b in zip(stock, trial.expected[1], strict=True)))
    _ = trial.formed
    reference = trial.rewind()
    own_layer = trial.build(dtype=policy)
    y, found = _in_half(trial, own_layer, reference)
    if y.dtype.name != own_layer.compute_dtype:
        raise Mismatch(f"an output in {own_layer.compute_dtype}", y.dtype.name)
    dtypes = [own_layer.compute_dtype, *(w.dtype for w in own_layer.trainable_weights)]
    names, expected = trial.weight_names(own_layer), trial.found[1]
    for name, dtype, own, full in zip(names, dtypes, found, expected, strict=True):
        well_formed(name, own, tuple(np.shape(full)))
        if own is not None and own.dtype.name != dtype:
            raise Mismatch(f"for {name} the dtype {dtype}", own.dtype.name)
        if not trial.rule.random and _error(own, full) > allowed:
            raise Mismatch(f"for {name} about what float32 gives", compare(own, full))


def _in_half(trial: Trial, layer: Any, reference: Any) -> tuple[tf.Tensor, Gradients]:
    """Output and gradients of a layer with the variables of a float32 layer."""
    if not layer.built:
        layer.build(trial.case.input_shape)
    for source, target in zip(reference.variables, layer.variables, strict=True):
        target.assign(source)
    return gradients(layer, tf.cast(trial.x, layer.compute_dtype))


def _error(found: Any, expected: Any) -> float:
    """Norm of the difference over that of what was expected."""
    a, b = as_float(found), as_float(expected)
    return float(np.linalg.norm(a - b) / (0.01 + np.linalg.norm(b)))


def split_cpu() -> None:
    """Make one CPU two logical devices, if TensorFlow has not started yet."""
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return
    devices = tf.config.list_physical_devices("CPU")
    try:
        if not tf.config.get_logical_device_configuration(devices[0]):
            parts = [tf.config.LogicalDeviceConfiguration()] * 2
            tf.config.set_logical_device_configuration(devices[0], parts)
    except RuntimeError:
        pass  # TensorFlow has started: what devices there are shows the check itself


@functools.cache
def _mirrored() -> tf.distribute.Strategy:
    """A strategy of two replicas."""
    for kind in ("GPU", "CPU"):
        devices = [device.name for device in tf.config.list_logical_devices(kind)[:2]]
        if len(devices) == 2:
            # no collectives: another strategy of the process may use them on the same devices
            return tf.distribute.MirroredStrategy(
                devices, cross_device_ops=tf.distribute.ReductionToOneDevice()
            )
    raise NotApplicable(
        "there is one logical device, and TensorFlow had already started. Two are made by calling, "
        "before anything runs, tf.config.set_logical_device_configuration(cpu, [...] * 2) with "
        'cpu = tf.config.list_physical_devices("CPU")[0]'
    )


def replicas(trial: Trial) -> None:
    """Each replica against one device on its share; random numbers shared or not, as declared."""
    strategy = trial.strategy or _mirrored()
    if strategy.num_replicas_in_sync < 2:
        raise NotApplicable("the strategy has one replica")
    _ = trial.formed
    with strategy.scope():
        layer = trial.build(dtype="float32")
    reference = trial.rewind()
    for source, target in zip(reference.variables, layer.variables, strict=True):
        target.assign(source)
    if trial.rule.random:
        _shared_or_not(trial, strategy, layer)
        return
    count = strategy.num_replicas_in_sync
    shares = [tf.constant(trial.case.inputs(trial.seed + 20 * i)) for i in range(count)]
    names = trial.weight_names(layer)
    for i, found in enumerate(_on_replicas(strategy, layer, shares)):
        expected = gradients(trial.rewind(), shares[i])[1]
        for name, own, one in zip(names, found, expected, strict=True):
            if one is not None and not close(own, one, 1e-4):
                raise Mismatch(
                    f"on replica {i} for {name} what one device gives", compare(own, one)
                )


def _shared_or_not(trial: Trial, strategy: tf.distribute.Strategy, layer: Any) -> None:
    """Whether two replicas with the same share draw the same numbers."""
    found = _on_replicas(strategy, layer, [trial.x] * strategy.num_replicas_in_sync)
    equal = all(close(a, b, 1e-6) for a, b in zip(found[0], found[1], strict=True))
    if equal != (trial.rule.random == "shared"):
        kind = "the same" if trial.rule.random == "shared" else "its own"
        raise Mismatch(
            f"each replica to draw {kind} random numbers, since random = {trial.rule.random!r}",
            "the same on both replicas" if equal else "others on each replica",
        )


def _on_replicas(
    strategy: tf.distribute.Strategy, layer: Any, shares: Sequence[tf.Tensor]
) -> list[list[tf.Tensor | None]]:
    """The gradients of each replica for its share."""
    values = strategy.experimental_distribute_values_from_function(
        lambda context: shares[context.replica_id_in_sync_group]
    )
    step = tf.function(lambda x: gradients(layer, x)[1], autograph=False)
    per_replica = strategy.run(step, args=(values,))
    local = [strategy.experimental_local_results(value) for value in per_replica]
    return [list(replica) for replica in zip(*local, strict=True)]
