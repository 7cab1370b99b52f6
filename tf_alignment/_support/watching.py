"""Which connections a training step ran, forward and back: noted while the step is traced.

A backward pass can be lost without a word: where Keras maps a layer over a dynamic axis, where a
class does its own matrix product, where a gradient is stopped above. Then the error goes another
way, or none.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

__all__ = ["Seen", "note", "watch"]


@dataclasses.dataclass
class Seen:
    """Connections met in a step.

    Attributes:
        called: Those whose forward pass ran.
        sent: Those that sent an error down.
        aligned: Those whose alignment rule gave a gradient.
    """

    called: set[Any] = dataclasses.field(default_factory=set)
    sent: set[Any] = dataclasses.field(default_factory=set)
    aligned: set[Any] = dataclasses.field(default_factory=set)


_state = threading.local()  # replicas of a strategy are traced by threads of their own


def note(what: str, connection: Any) -> None:
    """Note a connection, if a step is watched.

    Args:
        what: The name of the attribute of `Seen`.
        connection: The connection.
    """
    seen = getattr(_state, "seen", None)
    if seen is not None:
        getattr(seen, what).add(connection)


@contextlib.contextmanager
def watch() -> Iterator[Seen]:
    """Watch what runs, or is traced, inside the block.

    Yields:
        A `Seen`, filled as connections run.
    """
    outer, inner = getattr(_state, "seen", None), Seen()
    _state.seen = inner
    try:
        yield inner
    finally:
        _state.seen = outer
