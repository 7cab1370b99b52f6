"""No network, nothing heavy at import, and nothing loaded that could run code."""

import ast
import json
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    file
    for directory in ("tf_alignment", "examples", "benchmarks", "tests")
    for file in (ROOT / directory).rglob("*.py")
)


def test_tests_reach_this_machine_and_no_other():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()[:2], timeout=5).close()
    with socket.socket() as outside, pytest.raises(RuntimeError, match=r"192\.0\.2\.1"):
        outside.connect(("192.0.2.1", 80))
    with socket.socket() as outside, pytest.raises(RuntimeError, match=r"192\.0\.2\.1"):
        outside.connect_ex(("192.0.2.1", 80))
    with pytest.raises(RuntimeError, match=r"example\.org"):
        urllib.request.urlopen("http://example.org")


IMPORT = """
import importlib.abc, json, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in sys.argv[1:]:
            asked.append(name)
            raise ModuleNotFoundError(name)

asked, events = [], []
sys.meta_path.insert(0, Absent())
sys.addaudithook(lambda event, args: events.append(event) if event.startswith("socket.") else None)
import keras, tensorflow
asked.clear()  # Keras imports scikit-learn and matplotlib where they are
import tf_alignment
print(json.dumps([asked, sorted(set(events))]))
"""
HEAVY = ("tensorflow_probability", "tensorflow_datasets", "sklearn", "matplotlib", "optuna")


def test_the_import_connects_to_nothing_and_asks_for_nothing_heavy():
    command = [sys.executable, "-c", IMPORT, *HEAVY]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    asked, events = json.loads(run.stdout.splitlines()[-1])
    assert not asked
    # urllib3, which Keras imports, looks by these whether the machine has IPv6
    assert set(events) <= {"socket.__new__", "socket.bind"}


def unsafe(source):
    """Lines that load what may run code: pickles, and models without safe mode."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {a.name for a in node.names} | {getattr(node, "module", None)}
            bad = names & {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib"}
        elif isinstance(node, ast.keyword):
            value = node.value
            right = {"safe_mode": True, "allow_pickle": False}.get(node.arg)
            bad = right is not None and not (
                isinstance(value, ast.Constant) and value.value is right
            )
        else:
            bad = isinstance(node, ast.Attribute | ast.Name) and (
                getattr(node, "attr", getattr(node, "id", None))
                in ("enable_unsafe_deserialization", "read_pickle")
            )
        if bad:
            found.append(node.value.lineno if isinstance(node, ast.keyword) else node.lineno)
    return found


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("import pickle", [1]),
        ("from joblib import load", [1]),
        ("keras.models.load_model(path, safe_mode=False)", [1]),
        ("keras.models.load_model(path, safe_mode=mode)", [1]),
        ("\nnp.load(path, allow_pickle=True)", [2]),
        ("keras.config.enable_unsafe_deserialization()", [1]),
        ("np.load(path); np.load(path, allow_pickle=False)", []),
        ("keras.models.load_model(path, safe_mode=True); load_model(path)", []),
    ],
)
def test_what_may_run_code_is_seen(source, lines):
    assert unsafe(source) == lines


def test_nothing_is_loaded_that_could_run_code():
    assert len(SOURCES) > 100
    assert {
        str(f.relative_to(ROOT)): unsafe(f.read_text()) for f in SOURCES if unsafe(f.read_text())
    } == {}


def test_the_import_leaves_tensorflow_unstarted():
    """Several workers can be configured only before the first operation runs."""
    code = (
        "import tf_alignment\n"
        "from tensorflow.python.eager import context\n"
        "assert not context.context()._initialized"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
