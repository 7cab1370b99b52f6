"""Process of one run or of many.

`python child.py ROOT DIRECTORY NAME THREADS` is the process of one run. It first checks, with the
standard library alone, whether the run is done or another process is working on it, and only then
imports TensorFlow. Its output goes to the log of the run. `python child.py ROOT ANSWERS` imports
TensorFlow once, and makes each of many runs in a fork of itself.
"""

from __future__ import annotations

import importlib.util
import json
import os
import select
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterable
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


def serve(root: str, answers: str) -> int:
    """Make the runs that are asked for on standard input, each in a fork of this process.

    To import TensorFlow can take longer than to train a small network, and a fork has imported it
    already. Nothing of TensorFlow is run in this process before a fork, since a fork would lose the
    threads of TensorFlow's runtime.

    The answers, and the input, are lines of JSON. The first answer, `"ready"`, says that TensorFlow
    is imported. A line of the input is `[number, [directory, name, threads]]`, and its answer
    `[number, exit code]`, with null in place of the code if no process could be made. All runs are
    ended at the end of the input, at a line `null`, and at the end of the process that started this
    one.

    Args:
        root: Directory that contains the package.
        answers: Number of the file to which the answers are written.

    Returns:
        Exit code of the process: in a fork, that of its run.
    """
    parent, nothing = os.getppid(), os.open(os.devnull, os.O_RDWR)
    asked, errors, told = os.dup(0), os.dup(2), int(answers)
    for stream in (0, 1, 2):  # the messages of the import are not for the user
        os.dup2(nothing, stream)

    def tell(answer: Any) -> None:
        os.write(told, json.dumps(answer).encode() + b"\n")

    _find(root)
    importlib.import_module("tf_alignment.studies.training")
    tell("ready")
    text, runs = b"", dict[int, int]()
    while os.getppid() == parent:
        if select.select([asked], [], [], 0.05)[0]:
            new = os.read(asked, 1 << 16)
            *lines, text = (text + new).split(b"\n")
            if not new or b"null" in lines:
                break
            for number, arguments in map(json.loads, lines):
                process = _fork()
                if process == 0:
                    os.dup2(errors, 2)
                    for file in (asked, errors, told, nothing):
                        os.close(file)
                    return main(root, *arguments)
                if process is None:
                    tell([number, None])
                else:
                    runs[process] = number
        for process, code in _ended(runs):
            tell([runs.pop(process), code])
    _end(runs)
    return INTERRUPTED


def _fork() -> int | None:
    """Fork this process; None if the system refuses."""
    try:
        with warnings.catch_warnings():  # threads of linear algebra, which survive a fork
            warnings.simplefilter("ignore", DeprecationWarning)
            process = os.fork()
    except OSError:
        return None
    if not process:
        os.setsid()  # signals to a run's group are for this run alone
        importlib.import_module("numpy").random.seed()  # not the same numbers in all forks
    return process


def _ended(runs: Iterable[int]) -> list[tuple[int, int]]:
    """Processes that have ended, with their exit codes."""
    found = (os.waitpid(process, os.WNOHANG) for process in runs)
    return [(process, os.waitstatus_to_exitcode(status)) for process, status in found if process]


def _end(runs: dict[int, int]) -> None:
    """End processes: all are asked to end, and those that have not done so in 2 s are killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in runs:
            os.kill(process, number)
        for _ in range(40):
            for process, _ in _ended(runs):
                del runs[process]
            if not runs:
                return
            time.sleep(0.05)


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
    if sys.stdout is not None:  # a run that is killed has told what it did
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


if __name__ == "__main__":
    sys.path.pop(0)  # this file's directory, whose modules are no top-level ones
    sys.exit((main if len(sys.argv) > 3 else serve)(*sys.argv[1:]))
