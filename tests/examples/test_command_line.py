"""The flags that all scripts share, and the one line where a script cannot go on."""

import argparse
import importlib
import re
import shlex
import sys

import pytest
import scripts

from examples import command_line

MODULES = sorted(
    ".".join(file.relative_to(scripts.ROOT / "examples").with_suffix("").parts)
    for file in (scripts.ROOT / "examples").rglob("*.py")
    if 'if __name__ == "__main__":' in file.read_text("utf-8")
)


def parser(**options):
    options = {"methods": ("backprop", "kp", "rdd"), "seeds": 2, "epochs": "9", **options}
    return command_line.new_parser("What it does.\n\nMore.", "folder", **options)


def test_flags_and_their_defaults():
    given = parser(jobs=True).parse_args([])
    assert str(given.output) == "results/folder" and given.seeds == 2
    assert parser().parse_args(["--quick"]).seeds == 1
    assert parser().parse_args(["--quick", "--seeds", "3"]).seeds == 3
    assert given.methods == ["backprop", "kp", "rdd"]
    some = parser(usual=["kp", "rdd"], quick=["rdd"])
    assert some.parse_args([]).methods == ["kp", "rdd"]
    assert some.parse_args(["--quick"]).methods == ["rdd"]
    assert some.parse_args(["--quick", "--methods", "kp"]).methods == ["kp"]
    for name in ("epochs", "jobs", "data_dir"):
        assert getattr(given, name) is None
    assert given.quick is False and given.strategy == "default"
    assert not hasattr(parser(data=False).parse_args([]), "data_dir")


def test_numbers_have_a_default_and_another_one_with_quick():
    some = parser()
    some.number("--width-of", "how wide", 4, 2)
    some.number("--decay", "how much", 0.5, kind=float)
    some.number("--depth", "how deep")
    given = some.parse_args([])
    assert (given.width_of, given.decay, given.depth) == (4, 0.5, None)
    assert some.parse_args(["--quick"]).width_of == 2
    assert some.parse_args(["--quick", "--width-of", "7", "--decay", "0"]).width_of == 7
    assert some.parse_args(["--decay", "0"]).decay == 0.0
    assert "how wide (4; --quick: 2)" in some.format_help()
    with pytest.raises(SystemExit):
        some.parse_args(["--depth", "0"])


def test_a_flag_with_its_default_value_is_given():
    some = parser()
    some.add_argument("--seed", type=int, default=0)
    some.parse_args(["--seed", "0", "--quick"])
    assert some.given == {"seed", "quick"}
    with pytest.raises(SystemExit):
        some.refuse({"seed"}, "--quick")
    some.parse_args([])
    assert some.given == set()


def test_methods_go_by_their_long_names_too():
    given = parser().parse_args(["--methods", "Kolen-Pollack", "rdd", "back_propagation"])
    assert given.methods == ["kp", "rdd", "backprop"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "sa"], "must be out of backprop, kp, rdd. Received: sa"),
        (["--methods", "magic"], "Received: magic"),
        (["--seeds", "0"], "must be an integer of at least 1. Received: 0"),
        (["--seeds", "x"], "must be an integer of at least 1. Received: x"),
        (["--strategy", "magic"], "magic"),
    ],
)
def test_a_wrong_value_is_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        parser(jobs=True).parse_args(arguments)
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_tpu_has_a_name():
    assert parser(jobs=True).parse_args(["--strategy", "tpu:mine"]).strategy == "tpu:mine"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("no\n  such thing"), 2, "error: no such thing"),
        (FileNotFoundError("no file"), 2, "error: no file"),
        (KeyboardInterrupt(), 130, "Interrupted"),
    ],
)
def test_what_ends_a_script_is_one_line(error, code, said, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as ended:
        command_line.run(main)
    assert ended.value.code == code
    [line] = capsys.readouterr().err.strip().splitlines()
    assert said in line
    with pytest.raises(ZeroDivisionError):  # a mistake in a script is shown whole
        command_line.run(lambda: 1 / 0)


def test_every_script_runs_by_its_module_and_says_so():
    for module in MODULES:
        text = (scripts.ROOT / "examples" / f"{module.replace('.', '/')}.py").read_text("utf-8")
        assert f"python -m examples.{module}" in text, module
        assert "command_line.run(" in text and "sys.path" not in text, module


def test_every_command_of_the_pages_is_a_script():
    pages = [*(scripts.ROOT / "docs").rglob("*.md"), scripts.ROOT / "README.md"]
    pages += [scripts.ROOT / "Makefile", scripts.ROOT / "CHANGELOG.md"]
    named = {
        name
        for page in pages
        for name in re.findall(r"-m examples\.([\w.]+\w)", page.read_text("utf-8"))
    }
    assert named - {"two_routes"} <= set(MODULES)  # a prefix of several commands
    assert len(named) > 15


def commands(text):
    """`(module, arguments)` of every command on a page, with the page's variables."""
    text = re.sub(r"\\\n\s*", " ", text)
    variables = dict(re.findall(r'^ +([A-Z]+)="([^"]*)"$', text, re.MULTILINE))
    for line in text.splitlines():
        for _ in variables:  # one may have another in it
            line = re.sub(r"\$([A-Z]+)", lambda m: variables.get(m[1], m[0]), line)
        found = re.match(r" {4}python -m examples\.(\w[\w.]*)(.*)", line)
        if found:
            yield found[1], shlex.split(found[2], comments=True)


class Parsed(Exception):
    """Raised in the place of what a script does."""


COMMANDS = sorted(
    {
        (module, *arguments)
        for page in (scripts.ROOT / "docs").rglob("*.md")
        for module, arguments in commands(page.read_text("utf-8"))
    }
)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_of_the_pages_is_understood(words, monkeypatch):
    def parse_args(self, *arguments):
        argparse.ArgumentParser.parse_args(self, *arguments)
        raise Parsed

    monkeypatch.setattr(command_line.Parser, "parse_args", parse_args)
    monkeypatch.setattr(sys, "argv", list(words))
    script = importlib.import_module(f"examples.{words[0]}")
    with pytest.raises(Parsed):
        script.main()


def test_commands_are_found():
    assert len(COMMANDS) > 25 and len({words[0] for words in COMMANDS}) > 15
    page = "    A=\"--one 1\"\n    python -m examples.some.script $A \\\n        --two '2 3'\n"
    assert list(commands(page)) == [("some.script", ["--one", "1", "--two", "2 3"])]


# these do not train with `fit`: they measure one phase, or simulate neurons
WITHOUT_STUDY = {"rdd.weights", "rdd.traces", "node_perturbation.fixed_weights"}
WITHOUT_STUDY |= {f"sal.{name}" for name in ("bias", "boltzmann", "microcircuit", "scatter")}


@pytest.mark.parametrize("module", MODULES)
def test_every_script_has_the_same_flags(module, monkeypatch):
    def parse_args(self, *arguments):
        raise Parsed(self)

    monkeypatch.setattr(command_line.Parser, "parse_args", parse_args)
    with pytest.raises(Parsed) as found:
        importlib.import_module(f"examples.{module}").main()
    flags = {flag for action in found.value.args[0]._actions for flag in action.option_strings}
    expected = {"--quick", "--output"}
    if module not in WITHOUT_STUDY:
        expected |= {"--jobs", "--strategy"}
        assert flags & {"--seeds", "--seed"}
    assert expected <= flags
    text = (scripts.ROOT / "examples" / f"{module.replace('.', '/')}.py").read_text("utf-8")
    assert "model.fit(" not in text or module in WITHOUT_STUDY  # what trains is a study


@pytest.mark.parametrize("module", MODULES)
def test_help(module, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"examples.{module}").main()
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith("usage: ")
    for flag in ("--quick", "--output"):
        assert flag in printed


@pytest.mark.slow
def test_a_script_is_named_as_it_is_run():
    done = scripts.attempt("rdd.train", "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: python -m examples.rdd.train")
    assert len(done.stderr.splitlines()) <= 1  # of TensorFlow's messages
