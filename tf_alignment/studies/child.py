"""Process of one run, `python child.py ROOT DIRECTORY NAME THREADS`, or of many, `child.py ROOT`.

The process of one run first checks, with the standard library alone, whether the run is done or
another process is working on it, and only then imports TensorFlow. Its output goes to the log of
the run. The process of many runs imports TensorFlow once, and makes each run in a fork of itself.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import select
import signal
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
        _find(root)
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


def serve(root: str) -> int:
    """Make the runs that are asked for on standard input, each in a fork of this process.

    To import TensorFlow can take longer than to train a small network, and a fork has imported it
    already. Nothing of TensorFlow is run in this process before a fork, since a fork would lose the
    threads of TensorFlow's runtime.

    A line of the input is the JSON list `[number, [directory, name, threads]]`, and the answer on
    standard output, when this run has ended, is the JSON list `[number, exit code]`. At the end of
    the input, or of the process that started this one, all runs are ended.

    Args:
        root: Directory that contains the package.

    Returns:
        Exit code of the process: in a fork, that of its run.
    """
    parent, nothing = os.getppid(), os.open(os.devnull, os.O_RDWR)
    asked, answers, errors = os.dup(0), os.dup(1), os.dup(2)
    for stream in (0, 1, 2):  # the messages of the import are not for the user
        os.dup2(nothing, stream)
    _find(root)
    with contextlib.suppress(Exception):  # the run tries again, and says what is wrong
        importlib.import_module("tf_alignment.studies.training")
    text, runs = b"", dict[int, int]()
    while os.getppid() == parent:
        if select.select([asked], [], [], 0.05)[0]:
            new = os.read(asked, 1 << 16)
            if not new:
                break
            *lines, text = (text + new).split(b"\n")
            for number, arguments in map(json.loads, lines):
                process = os.fork()
                if not process:
                    os.dup2(errors, 2)
                    for file in (asked, answers, errors, nothing):
                        os.close(file)
                    return main(root, *arguments)
                runs[process] = number
        for process, number in list(runs.items()):
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                del runs[process]
                code = os.waitstatus_to_exitcode(status)
                os.write(answers, json.dumps([number, code]).encode() + b"\n")
    for process in runs:
        os.kill(process, signal.SIGTERM)
        os.waitpid(process, 0)
    return INTERRUPTED


def _find(root: str) -> None:
    """Let imports find the package in a directory, if the package is not installed."""
    if not root.endswith("-packages") and root not in sys.path:  # the same copy as the study's
        sys.path.insert(0, root)


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
    sys.exit(main(*sys.argv[1:]) if sys.argv[2:] else serve(*sys.argv[1:]))
