"""Execution of runs as processes, on this machine or by a `concurrent.futures.Executor`."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

from tf_alignment.studies import child
from tf_alignment.studies.plan import Plan, Task
from tf_alignment.studies.store import Store

__all__ = ["LocalProcesses", "carry_out"]

_POLL = 1.0  # seconds between looks at runs that other processes are at


class LocalProcesses(futures.Executor):
    """Executor that runs commands as processes of this machine.

    Args:
        jobs: Number of processes at the same time.
        forks: Whether the processes are forks of one that has imported TensorFlow, see
            `child.serve`, instead of new interpreters.
    """

    def __init__(self, jobs: int, forks: bool = False) -> None:
        self._pool = futures.ThreadPoolExecutor(jobs)
        self._start = _Forks() if forks else _Interpreters()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> futures.Future[Any]:
        """Run a command; `fn` is `subprocess.call`, as for other executors."""
        return self._pool.submit(self._start, *args)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End all processes that run, and start no further process."""
        self._start.stop()
        self._pool.shutdown(wait=wait, cancel_futures=True)


class _Interpreters:
    """Function that runs a command in a new interpreter and returns the exit code."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def __call__(self, command: list[str]) -> int:
        with self._lock:
            if self._stopped:
                return child.INTERRUPTED
            process = _popen(command, stdin=subprocess.DEVNULL)
            self._running.add(process)
        try:
            return process.wait()
        finally:
            with self._lock:
                self._running.discard(process)

    def stop(self) -> None:
        """End the processes that run; commands that come later end at once."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()


class _Forks:
    """Function that runs a command in a fork of `child.serve` and returns the exit code.

    Where that process ends before it has imported TensorFlow, or cannot make a fork, the command is
    run in a new interpreter, whose message says why.
    """

    def __init__(self) -> None:
        self._interpreters = _Interpreters()
        self._server: subprocess.Popen[bytes] | None = None
        self._listener: threading.Thread | None = None
        self._waiting: dict[int, futures.Future[int | None]] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._ready = self._stopped = self._useless = False

    def __call__(self, command: list[str]) -> int:
        interpreter, file, root, *arguments = command
        answer: futures.Future[int | None] = futures.Future()
        with self._lock:
            if self._stopped:
                return child.INTERRUPTED
            useless = self._useless
            if not useless:
                server = self._server or self._begin([interpreter, file, root])
                number = next(self._numbers)
                self._waiting[number] = answer
                self._ask(server, [number, arguments])
        code = None if useless else answer.result()
        return self._interpreters(command) if code is None else code

    def _begin(self, command: list[str]) -> subprocess.Popen[bytes]:
        answers, told = os.pipe()
        try:
            # without a buffer, nothing is left to be written when the process has ended
            server = _popen(
                [*command, str(told)], stdin=subprocess.PIPE, pass_fds=[told], bufsize=0
            )
        except OSError:
            os.close(answers)
            raise
        finally:
            os.close(told)
        self._ready = False
        self._listener = threading.Thread(target=self._listen, args=(server, answers), daemon=True)
        self._listener.start()
        self._server = server
        return server

    def _ask(self, server: subprocess.Popen[bytes], what: Any) -> None:
        assert server.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it has ended, and `_listen` answers
            server.stdin.write(json.dumps(what).encode() + b"\n")

    def _listen(self, server: subprocess.Popen[bytes], answers: int) -> None:
        with server, open(answers, encoding="utf-8") as lines:
            for line in lines:
                found = json.loads(line)
                if found == "ready":
                    self._ready = True
                else:
                    self._waiting.pop(found[0]).set_result(found[1])
        with self._lock:
            self._server = None
            code = server.returncode if self._ready or self._stopped else None
            self._useless = code is None
            lost, self._waiting = list(self._waiting.values()), {}
        for answer in lost:
            answer.set_result(code)

    def stop(self) -> None:
        """End the processes that run; commands that come later end at once."""
        with self._lock:
            self._stopped = True
            server = self._server
            if server is not None:
                self._ask(server, None)
                if not self._ready:
                    server.terminate()
        self._interpreters.stop()
        if self._listener is not None:
            self._listener.join()


def _popen(command: list[str], **streams: Any) -> subprocess.Popen[bytes]:
    # a session of its own: Ctrl-C is for the study, which then ends its runs
    return subprocess.Popen(command, start_new_session=True, **streams)


def carry_out(
    plan: Plan,
    store: Store,
    executor: futures.Executor,
    threads: int | None,
    report: Callable[[Task, str], None],
    shard: tuple[int, int] = (1, 1),
) -> None:
    """Make all runs of a plan that have no result.

    If another process is working on a run, its result is waited for.

    Args:
        plan: Plan of the study.
        store: Files of the study.
        executor: Executor that starts the processes of the runs.
        threads: Number of TensorFlow's threads in a run; None for TensorFlow's default.
        report: Function that is called with each task that ended, and `"done"`, `"failed"` or
            `"elsewhere"`.
        shard: Pair `(i, n)` to make only the i-th of n parts, counted from 1.
    """
    part, parts = shard
    pending: dict[futures.Future[int], Task] = {}
    submitted: set[str] = set()
    elsewhere: dict[str, Task] = {}
    try:
        while True:
            for name, task in list(elsewhere.items()):
                if plan.result(task) is not None:
                    report(task, "elsewhere")
                    del elsewhere[name]
            for task in plan.ready():
                if task.share % parts != part - 1 or task.name in submitted:
                    continue
                if store.busy(task.name):
                    elsewhere[task.name] = task
                    continue
                elsewhere.pop(task.name, None)
                store.forget_failure(task.name)
                submitted.add(task.name)
                command = _command(store.directory, task.name, threads)
                pending[executor.submit(subprocess.call, command)] = task
            if not pending and not elsewhere:
                return
            if pending:
                ended, _ = futures.wait(
                    pending, _POLL if elsewhere else None, futures.FIRST_COMPLETED
                )
            else:
                time.sleep(_POLL)
                ended = set()
            for future in ended:
                task = pending.pop(future)
                outcome = _outcome(future, task, plan, store)
                if outcome == "busy":
                    submitted.discard(task.name)
                    elsewhere[task.name] = task
                else:
                    report(task, outcome)
    finally:
        for future in pending:
            future.cancel()


def _outcome(future: Any, task: Task, plan: Plan, store: Store) -> str:
    try:
        code: Any = future.result()
    except Exception as error:  # noqa: BLE001 - an executor's own, as a worker that was lost
        code = f"{type(error).__name__}: {error}"
    if plan.result(task) is not None:
        return "done"
    if code == child.BUSY:
        return "busy"
    plan.given_up.add(task.name)
    if store.failure(task.name) is None:
        store.keep("failed", task.name, {"error": f"The process ended: {_meaning(code)}"})
    return "failed"


def _meaning(code: Any) -> str:
    if isinstance(code, int) and code < 0:
        return f"signal {-code}" + (" (out of memory?)" if code == -9 else "")
    return f"exit code {code}" if isinstance(code, int) else str(code)


def _command(directory: Path, name: str, threads: int | None) -> list[str]:
    root = str(Path(__file__).resolve().parents[2])
    arguments = [root, os.fspath(directory.resolve()), name, str(threads or 0)]
    return [sys.executable, child.__file__, *arguments]
