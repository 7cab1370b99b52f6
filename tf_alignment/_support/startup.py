"""Suppression of TensorFlow's messages at the start of a command.

`TF_CPP_MIN_LOG_LEVEL` does not silence TensorFlow 2.21, since the messages come before its logging
is set up. So the standard error output is redirected during the import.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import tempfile
from collections.abc import Iterator

__all__ = ["is_command", "quiet"]


def is_command() -> bool:
    """Whether the process is `python -m tf_alignment ...` or `python -m examples....`."""
    modules = [name for flag, name in itertools.pairwise(sys.orig_argv) if flag == "-m"]
    return any(name == "tf_alignment" or name.startswith("examples.") for name in modules)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hold back the standard error output, and show it only if an import fails."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        except BaseException:
            file.seek(0)
            os.write(kept, file.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
