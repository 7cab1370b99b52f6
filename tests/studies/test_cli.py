"""The command line: what it makes of its arguments, and what it says of wrong ones."""

import pytest

import tf_alignment as ta
from tf_alignment.studies import cli
from tf_alignment.studies.study import Study


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What a study is made and run with, without any run."""
    found = {}

    class Results:
        runs, failures = [], {}

        def table(self, spread):
            return f"table of {spread}s"

    def run(self, output, **options):
        found.update(study=self, output=output, **options)
        return Results()

    monkeypatch.setattr(Study, "run", run)
    monkeypatch.chdir(tmp_path)
    return found


def test_defaults(asked, capsys):
    assert cli.main(["study"]) == 0
    study = asked["study"]
    assert [variant.name for variant in study.variants] == ["backprop", "fa", "kp", "sa"]
    assert (study.seeds, study.epochs, study.tuning) == ([0, 1, 2], 10, None)
    assert "table of deviations" in capsys.readouterr().out


def test_arguments(asked, rule_file):
    words = (
        f"study --model small perceptron --methods fa {rule_file}:HalfSign --seeds 2 --epochs 4 "
        "--learning-rate 0.05 --tune learning-rate=0.1,0.2 --tune momentum=0,0.9 --shard 2/3 "
        "--jobs 4 --interval"
    )
    assert cli.main(words.split()) == 0
    study = asked["study"]
    assert [case.name for case in study.cases] == ["small", "perceptron"]
    assert study.tuning.space == {"learning_rate": [0.1, 0.2], "momentum": [0.0, 0.9]}
    assert study.compile["optimizer"].keywords == {"learning_rate": 0.05}
    assert (asked["shard"], asked["jobs"]) == ((2, 3), 4)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.toml", 'methods = ["fa", "kp"]\nepochs = 7\nseeds = 1\n[tune]\nlearning_rate = [1, 2]'),
        ("s.yaml", "methods: [fa, kp]\nepochs: 7\nseeds: 1\ntune: {learning_rate: [1, 2]}"),
    ],
)
def test_a_file_says_the_same_and_the_command_line_goes_first(asked, tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert cli.main(["study", "--config", name, "--seeds", "2"]) == 0
    study = asked["study"]
    assert [variant.name for variant in study.variants] == ["fa", "kp"]
    assert (study.epochs, study.seeds) == (7, [0, 1])
    assert study.tuning.space == {"learning_rate": [1, 2]}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("study --methods nothing", "Received: feedback='nothing'"),
        ("study --methods nothing.py:Rule", "no file"),
        ("study --model nothing", "Received: model='nothing'"),
        ("study --model convnet", "at least 16x16"),
        ("study --dataset nothing", "Received: name='nothing'"),
        ("study --dataset mnist --data-dir /nowhere", "must hold the TensorFlow dataset"),
        ("study --epochs 0", "Received: epochs=0"),
        ("study --seeds 0", "Received: seeds=0"),
        ("study --tune rate", "--tune must be"),
        ("study --tune lr=1,2", "Received: ['lr']"),
        ("study --shard 3", "--shard must be"),
        ("study --config nowhere.toml", "--config must be a file"),
        ("report nowhere", "has no study.json"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_two(asked, capsys, words, message):
    with pytest.raises(SystemExit) as caught:
        cli.main(words.split())
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_unknown_names_in_a_file(asked, tmp_path, capsys):
    (tmp_path / "s.toml").write_text("epoch = 3")
    with pytest.raises(SystemExit):
        cli.main(["study", "--config", "s.toml"])
    assert "Received: ['epoch']" in capsys.readouterr().err


def test_list(capsys):
    assert cli.main(["list"]) == 0
    out = capsys.readouterr().out
    assert "backprop" in out and "resnet<depth>" in out and "cifar10" in out
    assert "s.a" not in out
    methods = out.partition("models:")[0].splitlines()[1:]
    assert len({line[12:] for line in methods}) == len(ta.feedback.METHODS)  # no two say the same


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["study", "--help"])
    assert caught.value.code == 0
    assert "--methods backprop fa sa mymodule:MyRule" in capsys.readouterr().out
