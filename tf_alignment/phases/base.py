"""The base of all phases."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import keras

from tf_alignment import metrics
from tf_alignment._support import arguments
from tf_alignment._support.seeds import derived_seed
from tf_alignment.errors import DivergenceError
from tf_alignment.layers.connection import Connection
from tf_alignment.layers.direct import DirectConnection
from tf_alignment.layers.inspection import connections
from tf_alignment.layers.receiver import Receiver
from tf_alignment.phases.state import state_variable

__all__ = ["Phase", "Results", "measures"]

Results = dict[str, dict[str, float]]
"""`{connection path: {quantity: value}}`."""


class Phase:
    """Base class of phases: learning of feedback kernels between training steps.

    A phase changes no other weight.

    A subclass overrides `update`. One that keeps something from run to run (running sums, an
    optimizer) makes its variables in `create`; `tf_alignment.callbacks.Resume` stores them.

    A phase works with every layer whose method stores a feedback kernel. With `"fa"` the kernel
    does not change between runs.

    Args:
        layers: Names of the layers, or paths of the connections, whose feedback kernels are
            changed, or None for all that have one.
        seed: Integer from which all random numbers of the phase follow, or None for a random one.
        name: Name of the results in `History`: `<name>/<path>/<quantity>`. By default the class'
            attribute `name`. Phases that run in the same `fit` need names that differ.

    Raises:
        TypeError: If `layers` is neither a list of names nor None, or `name` no string.
        ValueError: If `layers` or `name` is empty, or `seed` no integer of at least 0.

    Example:
    >>> import keras, tf_alignment as ta
    >>> class Transport(ta.phases.Phase):
    ...     \"\"\"Copies W into B: the very thing that brains cannot do.\"\"\"
    ...     name = "transport"
    ...     def update(self, model, connections, verbose=0):
    ...         for connection in connections.values():
    ...             connection.weights["feedback_kernel"].assign(connection.kernel)
    >>> layer = ta.layers.Dense(3, feedback="fa", name="top")
    >>> model = keras.Sequential([keras.Input((4,)), layer], name="net")
    >>> results = Transport().run(model)
    >>> print(f"{results['net/top']['norm_ratio']:.1f}")
    1.0
    """

    name = "phase"
    over_time = True  # whether connections inside the loop of a recurrent layer can receive
    _receivers: tuple[Callable[[], keras.Model | None], dict[str, Receiver]] | None = None
    _model: Callable[[], keras.Model | None] | None = None

    def __init__(
        self,
        *,
        layers: Sequence[str] | None = None,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        if not (
            layers is None
            or (
                isinstance(layers, Sequence | Set)
                and not isinstance(layers, str)
                and all(isinstance(name, str) for name in layers)
            )
        ):
            raise TypeError(
                f"Argument `layers` must be a list of names or None. Received: layers={layers!r}"
            )
        if layers is not None and not layers:
            raise ValueError(
                "Argument `layers` must name at least one layer, or be None for all. "
                f"Received: layers={layers!r}"
            )
        self.layers = None if layers is None else tuple(layers)
        self.seed = arguments.seed(seed)
        if name is not None:
            if not arguments.instance("name", name, str, "a string or None"):
                raise ValueError("Argument `name` must not be empty. Received: name=''")
            self.name = name

    def run(self, model: keras.Model, verbose: int = 0) -> Results:
        """Change the model's feedback kernels.

        Args:
            model: A built model with feedback.
            verbose: 1 shows a progress bar.

        Returns:
            `{path: {"weight_angle": degrees, "norm_ratio": ratio}}`, measured afterwards, with
            further quantities that the phase reports, for every connection that it may change.

        Raises:
            ValueError: If the model has no feedback kernel to change, or none of a name in
                `layers`.
            DivergenceError: If a feedback kernel is not finite afterwards.
        """
        return self.report(model, self.advance(model, verbose))

    def advance(self, model: keras.Model, verbose: int = 0) -> Results:
        """Change the model's feedback kernels, and measure nothing: `run` without its report.

        Args:
            model: A built model with feedback.
            verbose: 1 shows a progress bar.

        Returns:
            The quantities that `update` reports.
        """
        connections = self._receiving(model)
        self.build(model)
        return self.update(model, connections, verbose) or {}

    def report(self, model: keras.Model, extra: Results | None = None) -> Results:
        """Measure the alignment of all connections of the phase.

        Args:
            model: A built model with feedback.
            extra: Quantities to add.

        Raises:
            DivergenceError: If a feedback kernel is not finite.
        """
        extra = extra or {}
        results = {
            path: {**measures(connection), **extra.get(path, {})}
            for path, connection in self._receiving(model).items()
        }
        for path, connection in self._receiving(model).items():
            if not _finite(connection.weights["feedback_kernel"]):
                raise DivergenceError(
                    f"Phase '{self.name}' diverged: the feedback kernel of '{path}' contains NaN "
                    "or infinity. Lower the phase's learning rate."
                )
        return results

    def check_finite(self, path: str, **weights: Any) -> None:
        """Raise unless the weights that a run begins with are finite.

        Args:
            path: Path of the connection.
            weights: Tensors or variables; their names are for the message, with spaces for
                underscores.

        Raises:
            DivergenceError: If an entry is NaN or infinite.
        """
        for name, weight in weights.items():
            if not _finite(weight):
                raise DivergenceError(
                    f"Phase '{self.name}' cannot run: the {name.replace('_', ' ')} of '{path}' "
                    "contains NaN or infinity. Training diverged; lower its learning rate."
                )

    def create(self, model: keras.Model, connections: dict[str, Receiver]) -> list[keras.Variable]:
        """Create the variables of the phase, in the scope of the model's strategy.

        Args:
            model: A built model with feedback.
            connections: `{path: connection}`, the connections that the phase changes.

        Returns:
            The phase's own variables besides the count of its steps, which is 0 then.
        """
        return []

    def build(self, model: keras.Model) -> None:
        """Create the variables for `model`, if this has not been done, and set the step count to 0.

        They are created anew if the connections were replaced, as by `convert(..., inplace=True)`.

        Args:
            model: A built model with feedback.
        """
        receivers = self._receiving(model)
        if self._model is not None and self._model() is model:
            return
        # by order, not by path: Keras counts up the names of equal models
        self._seeds = {path: derived_seed(self.seed, i) for i, path in enumerate(receivers)}
        with model.distribute_strategy.scope():
            self._count = state_variable((), "count", "int32")
            self._own = self.create(model, receivers)
        self._model = weakref.ref(model)

    @property
    def variables(self) -> list[keras.Variable]:
        """The count of steps and the phase's own variables; empty before the phase is built."""
        built = self._model is not None and self._model() is not None
        return [self._count, *self._own] if built else []

    def update(
        self, model: keras.Model, connections: dict[str, Receiver], verbose: int = 0
    ) -> Results | None:
        """Change the feedback kernels of `connections`.

        Args:
            model: A built model with feedback.
            connections: `{path: connection}`; B is `connection.weights["feedback_kernel"]`.
            verbose: Whether to show a progress bar.

        Returns:
            Quantities to report besides angle and norm ratio, or None.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `update`.")

    def _receiving(self, model: keras.Model) -> dict[str, Receiver]:
        """`connections`, found once per model: looking through all layers takes time.

        They are looked for again if a layer has other connections by now.
        """
        found = self._held(model)
        if found is None:
            found = self.connections(model)
            self._receivers = weakref.ref(model), found
            self._model = None  # what was made is for other connections
        return found

    def _held(self, model: keras.Model) -> dict[str, Receiver] | None:
        """The connections found before, or None if they are not those of the model now."""
        if self._receivers is None:
            return None
        of, found = self._receivers
        return found if of() is model and all(map(_in_use, found.values())) else None

    def connections(self, model: keras.Model) -> dict[str, Receiver]:
        """The connections whose feedback kernel the phase changes, by path, in the model's order.

        Paths are named as by `tf_alignment.metrics.gradient_angle`: where connections of nested
        models have the same path, the names of these models come first.

        Args:
            model: A built model with feedback.

        Raises:
            ValueError: If no connection stores a feedback kernel, if a name in `layers` is unknown,
                or if a chosen connection is inside a recurrent layer and the phase needs its input.
        """
        found = {p: c for p, c in connections(model).items() if "feedback_kernel" in c.weights}
        if not found:
            raise ValueError(
                f"Phase '{self.name}' needs a built model with layers that store a feedback "
                f"kernel, e.g. `ta.convert(model, 'fa')`. Received: a model named '{model.name}' "
                "without one"
            )
        chosen = self.chosen(found)
        inside = [path for path, c in chosen.items() if c.over_time]
        if inside and not self.over_time:
            raise ValueError(
                f"Phase '{self.name}' needs what connections receive at every call, and cannot "
                "look into the loop over time of a recurrent layer. Name the other layers in "
                f"`layers`. Received: {inside}"
            )
        return chosen

    def chosen(self, found: Mapping[str, Receiver]) -> dict[str, Receiver]:
        """The connections of `found` that `layers` names.

        Args:
            found: `{path: connection}`.

        Raises:
            ValueError: If `layers` names one that is not there.
        """
        if self.layers is None:
            return dict(found)
        names = {path: {path, c.path, c.layer_name} for path, c in found.items()}
        chosen = {p: c for p, c in found.items() if names[p] & set(self.layers)}
        known = set().union(*(names[path] for path in chosen))
        unknown = [name for name in self.layers if name not in known]
        if unknown:
            raise ValueError(
                f"Argument `layers` must name layers with a feedback kernel, out of "
                f"{sorted(found)}. Received: layers={unknown}"
            )
        return chosen


def _in_use(connection: Receiver) -> bool:
    """Whether the layer still has the connection; that of direct feedback cannot be taken out."""
    if isinstance(connection, DirectConnection):
        return True
    present = getattr(connection.layer, "connections", ())  # a stock layer has none
    return any(connection is one for one in present)


def _finite(weight: Any) -> bool:
    return bool(keras.ops.all(keras.ops.isfinite(weight)))


@functools.singledispatch
def measures(connection: Receiver) -> dict[str, float]:
    """Measure how well the feedback kernel of a connection is aligned.

    Args:
        connection: A connection; direct feedback has no forward kernel to compare with, and only
            the norm of the feedback kernel is measured.

    Returns:
        `{quantity: value}`.
    """
    return {"norm": float(keras.ops.norm(connection.weights["feedback_kernel"]))}


@measures.register
def _(connection: Connection) -> dict[str, float]:
    kernel, feedback = connection.kernel, connection.weights["feedback_kernel"]
    return {
        "weight_angle": float(metrics.weight_angle(kernel, feedback)),
        "norm_ratio": float(metrics.norm_ratio(kernel, feedback)),
    }
