"""Summary of a model: the method of each layer, and whether weight transport remains."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import keras

from tf_alignment.conversion.inplace import has_dynamic_time
from tf_alignment.conversion.registry import is_ours, overridden, version
from tf_alignment.conversion.sites import Site, matrices, own_weights, sites
from tf_alignment.layers.direct import OutputTap
from tf_alignment.layers.inspection import output_taps, walk

__all__ = [
    "LayerReport",
    "check_model",
    "listed",
    "lossy_time",
    "stays",
    "summary",
    "transported",
    "why_stock",
]

_NOT_LEARNED = "nothing below it learns"


@dataclasses.dataclass(frozen=True)
class LayerReport:
    """One row of `summary`.

    Attributes:
        path: Names of the nested models and of the layer, separated by slashes.
        kind: Class name of the layer.
        method: Id of the layer's method, or `"stock"`.
        weights: Shapes of the feedback weights, `{name: shape}`.
        why: Reason why the layer is stock, or `""`.
    """

    path: str
    kind: str
    method: str
    weights: dict[str, tuple[int, ...]]
    why: str


def summary(model: keras.Model, print_fn: Callable[[str], Any] | None = print) -> list[LayerReport]:
    """Print the method of each layer of a model, or the reason why the layer is stock.

    The table has a row for every layer with weights that could learn, including layers inside other
    layers. The last line is a verdict: whether the error still passes forward weights anywhere
    (weight transport), where, and why.

    Args:
        model: Built Keras model.
        print_fn: Function that is called with each line of the table, or `None` to print nothing.

    Returns:
        List with a `LayerReport` for each layer with weights that could learn, in the order of
        calls where it is known.

    Raises:
        TypeError: If `model` is no Keras model, or `print_fn` no function.
        ValueError: If the model is not built.

    Example:
    >>> import keras, tf_alignment as ta
    >>> layers = [keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(3)]
    >>> rows = ta.summary(ta.convert(keras.Sequential(layers), "sa"), print_fn=None)
    >>> [(row.method, row.why) for row in rows]
    [('stock', 'nothing below it learns'), ('sa', '')]
    """
    check_model(model)
    if not (print_fn is None or callable(print_fn)):
        raise TypeError(
            f"Argument `print_fn` must be a function or None. Received: print_fn={print_fn!r}"
        )
    found = sites(model)
    taps = output_taps(model)
    rows = [_report(site, bool(taps)) for site in found if _has_row(site)]
    rows += [_report(Site(tap, (), True), True) for tap in taps]
    if print_fn is not None:
        _print_table(rows, print_fn)
        print_fn(verdict(found, taps))
    return rows


def verdict(found: list[Site], taps: list[OutputTap]) -> str:
    """Sentence that says whether weight transport remains.

    Args:
        found: Sites of the model.
        taps: Layers of direct feedback in the model.
    """
    left = transported(found, bool(taps))
    copies = {method.unwrapped.id for method in _methods(found)}
    signs = sorted(copies & {"usf", "brsf", "frsf"})
    parts = []
    if left:
        some = listed([f"'{site.path}' ({why})" for site, why in left])
        parts.append(f"Weight transport remains: the error passes the forward weights of {some}")
    else:
        parts.append("No weight transport remains: no error passes a forward kernel")
    if signs:
        parts.append(f"{listed(signs)} copies the signs of the forward weights")
    scales = [site.path for site in found if site.fed and _scales(site.layer) and not taps]
    if scales:
        parts.append(
            f"the scales (gamma) of {listed([repr(s) for s in scales])} act on the error as they "
            "do in backprop, each on its own unit"
        )
    return "; ".join(parts) + "."


def transported(found: Iterable[Site], direct: bool = False) -> list[tuple[Site, str]]:
    """Layers whose forward kernels still send an error down, each with the reason.

    Args:
        found: Sites of the model.
        direct: Whether the model has direct feedback.
    """
    left = []
    for site in found:
        if site.elsewhere is not None:
            left.append((site, _elsewhere(site)))
            continue
        method = getattr(site.layer, "feedback", None) if is_ours(type(site.layer)) else None
        if method is not None and method.unwrapped.id == "backprop":
            left.append((site, "its method is backprop"))
        elif method is None and site.fed and site.matrices:
            left.append((site, why_stock(site, direct)))
    return left


def _elsewhere(site: Site) -> str:
    return f"'{site.elsewhere}' uses its kernel outside of its call"


def why_stock(site: Site, direct: bool = False) -> str:
    """Reason why a layer has no method.

    Args:
        site: Site of the layer.
        direct: Whether the model has direct feedback.
    """
    layer = site.layer
    if site.elsewhere is not None:
        return _elsewhere(site)
    if direct:
        return _why_direct(site)
    if not site.matrices:
        if isinstance(layer, keras.layers.Embedding):
            return "looks rows up, and sends no error"
        return "the error passes none of its weights" if matrices(layer) else "has no kernel"
    if not site.fed:
        return _NOT_LEARNED
    mapped = lossy_time(site)
    if mapped is not None:
        return (
            f"lies in '{mapped.name}', a subclass of TimeDistributed with a dynamic time axis, "
            "which loses the method's backward pass"
        )
    if version(type(layer)) is not None:
        return "excluded, or never converted"
    own = ", ".join(repr(w.name) for w in site.matrices)
    names = overridden(type(layer))
    if names:
        return f"its class overrides {' and '.join(f'`{n}`' for n in names)}; holds {own}"
    if type(layer).__module__.startswith("keras."):
        return f"keras.layers.{type(layer).__name__} has no version with feedback; holds {own}"
    if site.read is not None:
        return f"custom layer; the error passes its {own}"
    return f"custom layer, whose call cannot be seen into; holds {own}"


def _why_direct(site: Site) -> str:
    if _several(site):
        return "inside a layer with several kernels the error passes as in backprop"
    if site.fed and any(not isinstance(holder, keras.Model) for holder in site.holders):
        return "inside a layer that uses it repeatedly the error passes as in backprop"
    if site.fed and site.matrices:
        return "what is below it was frozen when the graph was cut, and learns now"
    return "the output error comes from the output tap, its own input is cut"


def stays(site: Site) -> str | None:
    """Reason why a layer cannot be converted, or None if it can, or need not, be converted."""
    if site.elsewhere is not None:
        return _elsewhere(site)
    convertible = version(type(site.layer)) is not None and lossy_time(site) is None
    if convertible or not site.fed or not site.matrices:
        return None
    return why_stock(site)


def lossy_time(site: Site) -> Any | None:
    """Holder of a layer that loses its backward pass and cannot be exchanged, or None.

    It is a `TimeDistributed` with a dynamic time axis, of a class of the user's own.
    """
    for holder in site.holders:
        if has_dynamic_time(holder) and type(holder) is not keras.layers.TimeDistributed:
            return holder
    return None


def check_model(model: Any) -> None:
    """Raise an error if an object is no Keras model, or a model that is not built."""
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"Argument `model` must be a Keras model. Received: {model!r} of type "
            f"{type(model).__name__}"
        )
    if not model.built or (isinstance(model, keras.Sequential) and not model.inputs):
        raise ValueError(
            f"The model must be built before it is converted. Received: model '{model.name}' with "
            f"built={model.built}. Start it with `keras.Input(shape)`, call it on an example, or "
            "call `model.build(...)`."
        )


def _report(site: Site, direct: bool) -> LayerReport:
    layer = site.layer
    ours = is_ours(type(layer)) or isinstance(layer, OutputTap)
    method = getattr(layer, "feedback", None) if ours else None
    weights = layer.feedback_weights if method is not None else {}
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    why = why_stock(site, direct) if method is None else ""
    name = "stock" if method is None else method.id
    return LayerReport(site.path, type(layer).__name__, name, shapes, why)


def _has_row(site: Site) -> bool:
    """Whether a layer has a row in the table: it has weights, and no holder reports them."""
    inside = any(is_ours(type(h)) and hasattr(h, "feedback") for h in site.holders)
    return not inside and bool(own_weights(site.layer) or _holds_feedback(site.layer))


def _holds_feedback(layer: Any) -> bool:
    return is_ours(type(layer)) and getattr(layer, "feedback", None) is not None


def _several(site: Site) -> bool:
    """Whether a layer has several kernels, or lies in one layer together with other kernels."""
    outer = next((h for h in site.holders if not isinstance(h, keras.Model)), site.layer)
    return sum(len(matrices(layer)) for layer, _ in walk(outer)) > 1


def _methods(found: Iterable[Site]) -> list[Any]:
    held = [s.layer.feedback for s in found if _holds_feedback(s.layer)]
    return [method for method in held if method is not None]


def _scales(layer: Any) -> bool:
    return any(w.name in ("gamma", "scale") for w in own_weights(layer))


def listed(names: list[str]) -> str:
    """Names separated by commas; only the first six if there are many."""
    shown = ", ".join(names[:6])
    return shown + (f" and {len(names) - 6} more" if names[6:] else "")


def _print_table(rows: list[LayerReport], print_fn: Callable[[str], Any]) -> None:
    header = ("layer", "kind", "method", "feedback weights, or why stock")
    cells = [header]
    for row in rows:
        weights = ", ".join(f"{name} {shape}" for name, shape in row.weights.items())
        cells.append((row.path, row.kind, row.method, weights or row.why))
    widths = [max(len(line[i]) for line in cells) for i in range(3)]
    for line in cells:
        start = "  ".join(text.ljust(width) for text, width in zip(line[:3], widths, strict=True))
        print_fn(f"{start}  {line[3]}".rstrip())
