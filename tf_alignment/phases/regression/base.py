"""Feedback kernels as a regression: the error sent down is to predict the loss' gradient.

The base of the phases that fit B by `min_B Σ ‖δ Bᵀ − λ̂‖²`, where λ̂ is an estimate of the gradient
for a layer's input. The phases differ in this estimate.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_alignment._support.arguments import one_of
from tf_alignment.layers.inspection import direct_connections
from tf_alignment.layers.receiver import Receiver
from tf_alignment.phases.compiled import CompiledPhase
from tf_alignment.phases.regression.sites import (
    BlockOutputs,
    ConnectionInputs,
    Pass,
    Perturb,
    Sent,
    Site,
    Sites,
)
from tf_alignment.phases.regression.solvers import Descent, Fit, Solver, solver_of

__all__ = ["GradientRegression"]


class GradientRegression(CompiledPhase):
    """Fits feedback kernels to estimated gradients, by least squares over examples and steps.

    The errors are those of a clean pass, as the feedback network itself sends them. The model is
    called in training mode, and no pass changes anything (moving statistics, random states). A
    subclass gives `targets`.

    Args, Raises:
        See `tf_alignment.phases.SyntheticGradient`, whose constructor this is.
    """

    over_time = False

    def __init__(
        self,
        loss: Any,
        *,
        dataset: Any = None,
        solver: Any = None,
        form: str = "fa",
        steps: int = 100,
        batch_size: int = 32,
        layers: Sequence[str] | None = None,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        one_of("form", form, ("fa", "dfa"))
        solver = solver_of(
            "solver", {"fa": "nlms", "dfa": "ridge"}[form] if solver is None else solver
        )
        learned = isinstance(solver, Solver)
        super().__init__(
            dataset=dataset,
            steps=steps,
            optimizer=None if learned else solver,
            batch_size=batch_size,
            layers=layers,
            seed=seed,
            name=name,
        )
        self.solver = solver if learned else Descent(self._descend)
        if not (self.streams or dataset is None) and not (
            isinstance(dataset, tuple)
            and len(dataset) in (2, 3)
            and all(part is not None for part in dataset)
        ):
            raise TypeError(
                "Argument `dataset` must be (x, y), (x, y, sample_weight), a tf.data.Dataset of "
                f"such or None. Received: dataset of type {type(dataset).__name__}"
            )
        _check_loss(loss)
        self.loss = loss
        self.form = form

    @abc.abstractmethod
    def targets(
        self, data: Any, losses: tf.Tensor, sent: dict[Site, Sent]
    ) -> dict[Site, tf.Tensor]:
        """The estimated gradient λ̂ of every site, shaped like it, float32.

        Args:
            data: The batch.
            losses: Loss of each example in the clean pass, `(batch,)`.
            sent: Predictions of the feedback.
        """

    def noisy_units(self, site: Site, sent: dict[Site, Sent]) -> tf.Tensor:
        """Number of units of an example over which the estimate for a site collects noise."""
        return tf.zeros(())

    def connections(self, model: keras.Model) -> dict[str, Receiver]:
        """The connections that learn: in the DFA form, one for every tapped hidden layer."""
        if self.form == "fa":
            if direct_connections(model):
                raise ValueError(
                    f"Phase '{self.name}' needs form='dfa' for a model with direct feedback. "
                    f"Received: form='fa' and a model named '{model.name}' converted with 'dfa'"
                )
            return super().connections(model)
        found = direct_connections(model)
        if not found:
            raise ValueError(
                f"Phase '{self.name}' with form='dfa' needs a model converted by "
                f"`ta.convert(model, 'dfa')`. Received: a model named '{model.name}' without "
                "direct feedback"
            )
        return self.chosen(found)

    def create(self, model: keras.Model, connections: dict[str, Receiver]) -> list[keras.Variable]:
        """Find the sites; make the running sums of ridge least squares."""
        form = ConnectionInputs if self.form == "fa" else BlockOutputs
        self.network: Sites = form(model, connections)
        own = self.solver.build(connections, self.network.groups())
        return [*own, *super().create(model, connections)]

    def _descend(self, gradients: list[tf.Tensor], kernels: list[keras.Variable]) -> None:
        self.optimizer_for(next(iter(self.network.connections))).apply(gradients, kernels)

    def reset(self) -> None:
        """Forget what the solver keeps from earlier steps; the feedback kernels stay."""
        self.solver.reset()
        if self.optimizer is not None and self.variables:
            kept = self.optimizer_for(next(iter(self.network.connections))).variables
            for variable in [v for v in kept if "learning_rate" not in v.path]:
                variable.assign(keras.ops.zeros_like(variable))

    @property
    def takes_batches(self) -> bool:
        """Whether a step inside training learns from the training batch: without a dataset."""
        return self.dataset is None

    def default_data(self, model: keras.Model) -> Any:
        """Raise: a regression has no data of its own."""
        raise ValueError(
            f"Phase '{self.name}' needs data: give it a `dataset`, or let "
            "`ta.phases.interleave` hand it the training batches. Received: dataset=None"
        )

    def step(self, model: keras.Model, connections: dict[str, Receiver], data: Any) -> None:
        """One batch: estimate the gradients, and move B towards them."""
        sent, targets = self.estimate(data)
        fits = [
            Fit(sent[site].errors, sent[site].total, target, self.noisy_units(site, sent))
            for site, target in targets.items()
        ]
        reached = {path for fit in fits for path in fit.errors}
        missing = set(connections) - reached - self.network.at_input
        if missing:
            raise ValueError(
                f"Phase '{self.name}' needs every layer to be called with the model. Received: "
                f"a model that does not call '{min(missing)}'"
            )
        self.solver.solve(fits)

    def estimate(self, data: Any) -> tuple[dict[Site, Sent], dict[Site, tf.Tensor]]:
        """Predictions of the feedback for one batch, and the estimates that it is fitted to.

        Args:
            data: `(x, y)` or `(x, y, sample_weight)`.

        Returns:
            For every site (path of a connection, number of its call) the errors sent to it with
            their sum, and λ̂.
        """
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            losses, clean = self.losses(data, tape=tape)
            total = tf.reduce_sum(losses)
        if not clean.sites:
            raise ValueError(
                f"Phase '{self.name}' needs a hidden layer: an input of a layer with feedback that "
                f"is not the model's own. Received: '{self.network.model.name}' with "
                f"{sorted(self.network.connections)}"
            )
        sent = self.network.sent(tape, total, clean)
        return sent, self.targets(data, losses, sent)

    def losses(
        self,
        data: Any,
        perturb: Perturb | None = None,
        tape: tf.GradientTape | None = None,
        backprop: bool = False,
    ) -> tuple[tf.Tensor, Pass]:
        """The loss of every example, `(batch,)` in float32, of a pass that changes nothing.

        Args:
            data: The batch.
            perturb: See `tf_alignment.phases.regression.sites.Sites.run`.
            tape: See there.
            backprop: See there.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        # the count too: noise is drawn in here
        variables = [*self.network.model.variables, self._count]
        unchanged = [(v, tf.convert_to_tensor(v)) for v in variables]
        with keras.StatelessScope(unchanged):
            found = self.network.run(x, perturb, tape, backprop)
        y_pred = keras.tree.map_structure(lambda p: tf.cast(p, keras.config.floatx()), found.y_pred)
        names = getattr(self.network.model, "output_names", None)
        losses = []
        for function, y_true, y_hat, weight in _matched(self.loss, y, y_pred, sample_weight, names):
            loss = tf.cast(tf.convert_to_tensor(function(_floating(y_true), y_hat)), tf.float32)
            if loss.shape.rank != 1:
                raise ValueError(
                    "Argument `loss` must give one number per example, of shape (batch,). "
                    f"Received: a loss of shape {tuple(loss.shape)}"
                )
            losses.append(loss if weight is None else loss * _one_each(weight))
        return tf.add_n(losses), found


def _check_loss(loss: Any) -> None:
    functions = keras.tree.flatten(loss)
    for function in functions or [loss]:
        if not callable(function) or isinstance(function, type):
            raise TypeError(
                "Argument `loss` must be a Keras loss object or a function of (y_true, y_pred), "
                f"or a structure of them. Received: loss={loss!r}"
            )
        if getattr(function, "reduction", None) not in (None, "none"):
            raise ValueError(
                "Argument `loss` must give one number per example: create it with "
                f"`reduction=None`. Received: {function.name} with "
                f"reduction={function.reduction!r}"
            )


def _floating(y: Any) -> Any:
    """Floating targets as Keras has them; `fit` casts them too."""
    y = tf.convert_to_tensor(y)
    return tf.cast(y, keras.config.floatx()) if y.dtype.is_floating else y


def _one_each(weight: Any) -> tf.Tensor:
    """Sample weights as `(batch,)`."""
    weight = tf.cast(tf.convert_to_tensor(weight), tf.float32)
    if any(size != 1 for size in weight.shape[1:]):
        raise ValueError(
            "Argument `dataset` must have one sample weight per example, of shape (batch,). "
            f"Received: sample weights of shape {tuple(weight.shape)}"
        )
    return tf.reshape(weight, [-1])


def _matched(
    loss: Any, y: Any, y_pred: Any, weight: Any, names: Sequence[str] | None
) -> list[tuple[Callable[..., Any], Any, Any, Any]]:
    """Each output's loss function, target, prediction and sample weights."""
    predictions = keras.tree.flatten(y_pred)
    count = len(predictions)
    keys = sorted(y_pred) if isinstance(y_pred, dict) else names

    def listed(what: str, structure: Any) -> list[Any]:
        if isinstance(structure, dict):
            if keys is None or set(structure) != set(keys):
                raise ValueError(
                    f"The {what} must be named as the model's outputs: {keys}. "
                    f"Received: {sorted(structure)}"
                )
            return [structure[key] for key in keys]
        found = keras.tree.flatten(structure)
        if count == 1 and len(found) > 1:
            return [structure]  # whatever its loss makes of it
        if len(found) != count:
            raise ValueError(
                f"The {what} must be as many as the outputs, {count}. Received: {len(found)}"
            )
        return found

    functions, targets = listed("functions of `loss`", loss), listed("targets in `dataset`", y)
    shared = weight is None or (not isinstance(weight, dict | list | tuple))
    weights = [weight] * count if shared else listed("sample weights in `dataset`", weight)
    return list(zip(functions, targets, predictions, weights, strict=True))
