"""Record of the connections that a training step uses, made while the step is traced.

A backward pass can be lost without a warning: if Keras maps a layer over a dynamic axis, if a class
computes its own matrix product, or if a gradient is stopped above. The error then takes another
path, or none.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

__all__ = ["Seen", "active", "note", "watch"]


@dataclasses.dataclass
class Seen:
    """Connections that a step used.

    Attributes:
        called: Connections whose forward pass ran.
        sent: Connections that sent an error down.
        aligned: Connections whose alignment rule gave a gradient.
    """

    called: set[Any] = dataclasses.field(default_factory=set)
    sent: set[Any] = dataclasses.field(default_factory=set)
    aligned: set[Any] = dataclasses.field(default_factory=set)


_state = threading.local()  # replicas of a strategy are traced by threads of their own


def active() -> bool:
    """Whether a step is watched."""
    return getattr(_state, "seen", None) is not None


def note(what: str, connection: Any) -> None:
    """Note a connection, if a step is watched.

    Args:
        what: Name of an attribute of `Seen`.
        connection: Connection to be noted.
    """
    seen = getattr(_state, "seen", None)
    if seen is not None:
        getattr(seen, what).add(connection)


@contextlib.contextmanager
def watch(merge: bool = True) -> Iterator[Seen]:
    """Watch what runs, or is traced, inside the block.

    Args:
        merge: Whether a block around it sees the same.

    Yields:
        `Seen` object, which is filled as connections run.
    """
    outer, inner = getattr(_state, "seen", None), Seen()
    _state.seen = inner
    try:
        yield inner
    finally:
        _state.seen = outer
        if outer is not None and merge:
            for name, connections in vars(inner).items():
                getattr(outer, name).update(connections)
