"""Process of one run: `python child.py ROOT DIRECTORY NAME THREADS`.

The process first checks, with the standard library alone, whether the run is done or another
process is working on it, and only then imports TensorFlow. Its output goes to the log of the run.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

DONE, FAILED, BUSY, INTERRUPTED = 0, 1, 75, 130
"""Exit codes."""


def main(root: str, directory: str, name: str, threads: str) -> int:
    """Make a run, unless it is done or another process is working on it.

    Args:
        root: Directory that contains the package.
        directory: Directory of the study.
        name: Name of the run.
        threads: Number of TensorFlow's threads; "0" for TensorFlow's default.

    Returns:
        Exit code of the process.
    """
    module = _store_module()
    store = module.Store(directory)
    task = module.read_json(store.file("tasks", name))
    store.worker = module.worker_number(task["strategy"])
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    with store.lock(name) as free:
        if store.result(name) is not None:
            return DONE
        if not free:
            return BUSY
        _redirect(store.file("logs", store.own(name), ".txt"))
        if not root.endswith("-packages"):  # not installed: the same copy as the study's
            sys.path.insert(0, root)
        if threads != "0":
            os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = threads
        try:
            from tf_alignment.studies.training import make

            make(store, name)
        except KeyboardInterrupt:
            return INTERRUPTED
        except BaseException as error:  # noqa: BLE001 - whatever it is, the study has a row for it
            traceback.print_exc()
            message = f"{type(error).__name__}: {error}"
            store.keep("failed", name, {"error": message, "traceback": traceback.format_exc()})
            return FAILED
        store.forget_failure(name)
    return DONE


def _store_module() -> Any:
    """Module `store`, imported without the package."""
    spec = importlib.util.spec_from_file_location("_store", Path(__file__).with_name("store.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _end_with_parent(parent: int) -> None:
    """End this process when the process that started the run has ended."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(INTERRUPTED)


def _redirect(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


if __name__ == "__main__":
    sys.path.pop(0)  # this file's directory, whose modules are no top-level ones
    sys.exit(main(*sys.argv[1:]))
