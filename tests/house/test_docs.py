"""Every public name is documented, and the examples in the documentation do what they say."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import tf_alignment as ta

ROOT = Path(__file__).parents[2]
MODULES = ["tf_alignment"] + [
    module.name for module in pkgutil.walk_packages(ta.__path__, "tf_alignment.")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert not failed


@pytest.mark.parametrize("name", MODULES)
def test_public_names_are_documented(name):
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    missing = []
    for public in getattr(module, "__all__", ()):
        thing = getattr(module, public)
        if not getattr(thing, "__module__", name).startswith("tf_alignment"):
            continue  # Keras' own, where Keras has it
        if inspect.isclass(thing) or inspect.isfunction(thing):
            members = vars(thing).items() if inspect.isclass(thing) else ()
            own = [(f"{public}.{key}", value) for key, value in members if not key.startswith("_")]
            missing += [
                full
                for full, value in [(public, thing), *own]
                if (inspect.isclass(value) or inspect.isfunction(value))
                and not inspect.getdoc(value)
            ]
    assert not missing


@pytest.mark.parametrize("page", ["README.md", "docs/api/feedback.md"])
def test_readme_lists_every_method(page):
    table = (ROOT / page).read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \| `(\w+)", table, flags=re.MULTILINE)
    assert [name for name, _ in listed] == list(ta.feedback.METHODS)
    for name, class_name in listed:
        assert isinstance(ta.feedback.get(name), getattr(ta.feedback, class_name))
    recurrent = re.findall(r"^\| `(\w+)` \(recurrent layers\) \| `(\w+)", table, flags=re.MULTILINE)
    assert [name for name, _ in recurrent] == list(ta.feedback.RECURRENT_METHODS)
    for name, class_name in recurrent:
        assert type(ta.feedback.get(name)) is getattr(ta.feedback, class_name)
    assert "| | `Imperfect(method)` |" in table


def test_readme_example(capsys):
    """It runs on what the first line of README installs. The first page has it too, with output."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    [code], [shown] = (
        re.findall(rf"```{kind}\n(.*?)```", text, flags=re.DOTALL) for kind in ("python", "text")
    )
    exec(code, {})
    printed = capsys.readouterr().out
    assert printed.count("gradient") == shown.count("gradient") == 4
    first = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert code in first and shown in first
