"""Forks of one process: exit codes, and what happens when one of the processes is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tf_alignment.studies import child, executors

ROOT = str(Path(child.__file__).parents[2])
SERVER = f"""\
import importlib.util, os, signal, sys, time

sys.modules["tf_alignment.studies.training"] = os  # is not imported then
spec = importlib.util.spec_from_file_location("child", {child.__file__!r})
child = importlib.util.module_from_spec(spec)
spec.loader.exec_module(child)


def main(root, what, file, *_):
    if what == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open(file, "w") as written:
        written.write(str(os.getpid()))
    if what in ("sleep", "stubborn"):
        time.sleep(600)
    if what == "kill":
        os.kill(os.getpid(), 9)
    if what == "kill the group":
        os.killpg(os.getpgrp(), 9)
    return int(what)


child.main = main
sys.exit((main if len(sys.argv) > 3 else child.serve)(*sys.argv[1:]))
"""


@pytest.fixture
def command(tmp_path):
    server = tmp_path / "server.py"
    server.write_text(SERVER)

    def command(what, name="pid", before=""):
        if before:
            server.write_text(SERVER.replace("sys.exit", f"{before}\nsys.exit"))
        return [sys.executable, str(server), ROOT, what, str(tmp_path / name)]

    return command


def pid(file):
    """Number of the process that has written to a file."""
    for _ in range(200):
        if file.exists() and file.read_text():
            return int(file.read_text())
        time.sleep(0.05)
    raise AssertionError(f"{file} was not written")


def runs(process):
    """Whether a process is there, and not only its exit code."""
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
class TestForks:
    def test_the_exit_code_of_a_fork_is_that_of_its_run(self, command):
        local = executors.LocalProcesses(2, forks=True)
        asked = ["0", "75", "kill", "1", "0"]
        futures = [local.submit(subprocess.call, command(what)) for what in asked]
        assert [future.result() for future in futures] == [0, 75, -9, 1, 0]
        local.shutdown()

    def test_all_forks_are_of_one_process_until_it_is_killed(self, command, tmp_path):
        start = executors._Forks()
        assert start(command("0")) == 0
        first = start._server.pid
        assert start(command("1")) == 1 and start._server.pid == first
        local = executors.LocalProcesses(1)
        local._start = start
        lost = local.submit(subprocess.call, command("sleep", "asleep"))
        sleeper = pid(tmp_path / "asleep")
        os.kill(first, signal.SIGKILL)
        assert lost.result() == -9
        os.kill(sleeper, signal.SIGKILL)  # a run ends itself, see `child._end_with_parent`
        assert start(command("3")) == 3 and start._server.pid != first
        local.shutdown()

    @pytest.mark.parametrize(
        "before",
        ["if len(sys.argv) == 3: sys.exit('no license')", "os.fork = lambda: os.stat('/nowhere')"],
    )
    def test_without_forks_there_are_new_interpreters(self, command, before):
        local = executors.LocalProcesses(2, forks=True)
        futures = [local.submit(subprocess.call, command(w, before=before)) for w in ("75", "kill")]
        assert [future.result() for future in futures] == [75, -9]
        local.shutdown()

    def test_a_run_that_kills_its_group_kills_no_other_run(self, command, tmp_path):
        local = executors.LocalProcesses(2, forks=True)
        local.submit(subprocess.call, command("sleep", "asleep"))
        sleeper = pid(tmp_path / "asleep")
        assert local.submit(subprocess.call, command("kill the group")).result() == -9
        assert runs(sleeper)
        local.shutdown()
        assert not runs(sleeper)

    @pytest.mark.parametrize("repetition", range(5))
    def test_a_request_to_a_server_that_is_gone_is_answered(self, command, repetition):
        start = executors._Forks()
        assert start(command("0")) == 0
        os.kill(start._server.pid, signal.SIGKILL)
        assert start(command("3")) in (3, -9)
        assert start(command("4")) == 4
        start.stop()

    def test_shutdown_ends_all_forks(self, command, tmp_path):
        local = executors.LocalProcesses(2, forks=True)
        names = ["one", "two", "never"]
        kinds = ["stubborn", "sleep", "sleep"]
        futures = [
            local.submit(subprocess.call, command(kind, name))
            for kind, name in zip(kinds, names, strict=True)
        ]
        asleep = [pid(tmp_path / name) for name in names[:2]]
        local.shutdown()
        assert [future.result() for future in futures[:2]] == [child.INTERRUPTED] * 2
        assert futures[2].cancelled() or futures[2].result() == child.INTERRUPTED
        assert not any(map(runs, asleep))
        assert not (tmp_path / "never").exists()

    def test_forks_end_with_the_process_that_asked_for_them(self, command, tmp_path):
        text = f"from tf_alignment.studies import executors; executors._Forks()({command('sleep')})"
        environment = {**os.environ, "PYTHONPATH": ROOT, "TF_CPP_MIN_LOG_LEVEL": "3"}
        process = subprocess.Popen([sys.executable, "-c", text], env=environment)
        for _ in range(60):
            if (tmp_path / "pid").exists():
                break
            time.sleep(1.0)
        asleep = pid(tmp_path / "pid")
        assert runs(asleep)
        process.kill()
        process.wait()
        for _ in range(100):
            if not runs(asleep):
                return
            time.sleep(0.05)
        raise AssertionError("the run goes on")
