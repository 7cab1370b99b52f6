"""Strategies of `tf.distribute` by name, and corrections of `fit` for several workers.

    with ta.distribute.strategy("auto").scope():
        model = ta.convert(stock_model(), "sa")
        model.compile("sgd", "mse")
    model.fit(dataset)

Everything else is done as in Keras: layers, callbacks and phases of this library find the model's
strategy by themselves.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import keras
import tensorflow as tf

from tf_alignment._support.arguments import instance

__all__ = ["NAMES", "strategy", "worker"]

NAMES = ("auto", "default", "mirrored", "multi_worker", "tpu")
"""Names that `strategy` knows, besides `"tpu:NAME"`."""


def strategy(name: str = "auto") -> tf.distribute.Strategy:
    """Make a strategy of `tf.distribute` by name.

    Args:
        name: Name of the strategy.

            * `"default"`: one device.
            * `"mirrored"`: a replica on every GPU of this machine (or on its CPU).
            * `"multi_worker"`: a replica on every GPU (or the CPU) of several machines. Each
              machine runs the same script, either with the environment variable TF_CONFIG or as a
              task of a Slurm job step.
            * `"tpu"` or `"tpu:NAME"`: all cores of this machine's TPU, or of the TPU with the name.
            * `"auto"`: the first of these that the environment offers: a TPU (TPU_NAME), several
              workers, several GPUs, or else one device.

    Returns:
        Strategy; `"multi_worker"` and TPUs wait until all machines have started.

    Raises:
        ValueError: If the name is unknown, or `"multi_worker"` finds no description of a cluster.

    Example:
    >>> import tf_alignment as ta
    >>> ta.distribute.strategy("default").num_replicas_in_sync
    1
    """
    kind, _, address = name.partition(":") if isinstance(name, str) else ("", "", "")
    if kind not in NAMES or (address and kind != "tpu"):
        raise ValueError(
            f"Argument `name` must be one of {NAMES} or 'tpu:NAME'. Received: name={name!r}"
        )
    if kind == "auto":
        kind, address = found()
    if kind == "default":
        return tf.distribute.get_strategy()
    if kind == "mirrored":
        return tf.distribute.MirroredStrategy()
    if kind == "tpu":
        tpu = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=address)
        tf.config.experimental_connect_to_cluster(tpu)
        tf.tpu.experimental.initialize_tpu_system(tpu)
        return tf.distribute.TPUStrategy(tpu)
    resolver = cluster()
    _mend_fit()
    return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)


def cluster() -> tf.distribute.cluster_resolver.ClusterResolver:
    """Cluster of which this process is a worker.

    Raises:
        ValueError: If the environment describes none.
    """
    resolver = _cluster()
    if resolver is None:
        raise ValueError(
            "Strategy 'multi_worker' needs the environment variable TF_CONFIG, e.g. "
            '\'{"cluster": {"worker": ["host0:1234", "host1:1234"]}, '
            '"task": {"type": "worker", "index": 0}}\', or a Slurm job step with several tasks. '
            "Received: neither"
        )
    return resolver


def worker(of: tf.distribute.Strategy) -> tuple[int, int]:
    """Number of this machine among the machines of a strategy, and their count.

    Args:
        of: Strategy of any kind.

    Returns:
        Pair of the number of this machine, counted from 0, and the number of machines.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> ta.distribute.worker(tf.distribute.get_strategy())
    (0, 1)
    """
    instance("of", of, tf.distribute.Strategy, "a strategy")
    if not isinstance(of, tf.distribute.MultiWorkerMirroredStrategy):
        return 0, 1
    resolver = of.cluster_resolver
    tasks = resolver.cluster_spec().as_dict()
    chiefs, workers = len(tasks.get("chief", ())), len(tasks.get("worker", ()))
    number = resolver.task_id if resolver.task_type == "chief" else chiefs + resolver.task_id
    return int(number), max(1, chiefs + workers)


def found() -> tuple[str, str]:
    """Kind of strategy that the environment offers, and the name of the TPU."""
    # no logical devices are listed here: that starts them, after which no worker can join others
    if "TPU_NAME" in os.environ or tf.config.list_physical_devices("TPU"):
        return "tpu", os.environ.get("TPU_NAME", "")
    if _cluster() is not None:
        return "multi_worker", ""
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return "mirrored", ""
    return "default", ""


def _cluster() -> tf.distribute.cluster_resolver.ClusterResolver | None:
    """Cluster of which this process is a worker, if there is one."""
    if os.environ.get("TF_CONFIG"):
        return tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return tf.distribute.cluster_resolver.SlurmClusterResolver()
    return None


def _mend_fit() -> None:
    """Let `fit` train with several workers, which fails in Keras 3.15 for two reasons.

    To learn the shapes, Keras averages the first batch over the workers, which is impossible
    outside a function; here each worker uses its own batch. Keras also averages the loss, a scalar,
    over its first axis. Keras has no public hook for either. Other strategies are not changed.
    """
    if not keras.__version__.startswith("3.15."):
        return
    # here, not above: other versions may have it elsewhere
    trainer: Any = importlib.import_module("keras.src.backend.tensorflow.trainer")
    if hasattr(trainer, "_mended"):
        return
    trainer._mended = True
    build, reduce = trainer.TensorFlowTrainer._maybe_symbolic_build, trainer.reduce_per_replica

    def build_from_own_batch(self: Any, iterator: Any = None, data_batch: Any = None) -> None:
        if not _several(self._distribute_strategy) or iterator is None:
            build(self, iterator, data_batch)
            return
        _, _, batches = next(iter(iterator))
        own = self._distribute_strategy.experimental_local_results
        with self._distribute_strategy.scope():
            self._symbolic_build(
                data_batch=tf.nest.map_structure(lambda x: own(x)[0], next(batches))
            )

    def reduce_scalars(values: Any, strategy: Any, reduction: str) -> Any:
        if not _several(strategy) or reduction not in ("auto", "mean"):
            return reduce(values, strategy, reduction)

        def mean(v: Any) -> Any:
            own = strategy.experimental_local_results(v)[0]
            return strategy.reduce("MEAN", v, axis=0 if own.shape.rank else None)

        return keras.tree.map_structure(mean, values)

    trainer.TensorFlowTrainer._maybe_symbolic_build = build_from_own_batch
    trainer.reduce_per_replica = reduce_scalars


def _several(strategy: Any) -> bool:
    return strategy is not None and worker(strategy)[1] > 1
