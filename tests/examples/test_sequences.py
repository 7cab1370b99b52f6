"""The scripts of examples/sequences, on data that needs no network."""

import argparse
import functools
import inspect
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from examples import common
from examples.sequences import delay, networks
from examples.sequences.data import source_text, store_recall
from examples.sequences.train import main, table, variant

RESULTS = Path(__file__).parents[2] / "docs" / "results"


def test_windows_hold_the_text_and_the_character_that_follows():
    text = source_text(16, windows=5)
    for x, y in (text.train, text.validation):
        assert x.shape == y.shape == (5, 16)
        np.testing.assert_array_equal(x.ravel()[1:], y.ravel()[:-1])
    start = "".join(text.characters[i] for i in text.train[0].ravel())
    assert inspect.getsource(argparse).startswith(start)


def test_a_value_is_shown_at_the_first_step_and_asked_for_at_the_last():
    x, y = store_recall(50, 7, seed=1)
    np.testing.assert_array_equal(x[:, 0, 0], 2 * y - 1)
    assert not np.any(x[:, 1:, 0]) and not np.any(x[:, :-1, 1])
    np.testing.assert_array_equal(x[:, -1, 1], 1)
    assert not np.any(x[:, [0, -1], 2]) and 0.4 < x[:, 1:-1, 2].std() < 0.6


def test_e_prop_is_built_with_the_weights_of_the_stock_network():
    text = source_text(8, windows=4)
    models = []
    stock = functools.partial(networks.lstm, len(text.characters), 8, units=5, embedding=4)
    for build in (stock, variant("lstm", "eprop-adaptive", stock).build):
        keras.utils.set_random_seed(3)
        models.append(build())
    np.testing.assert_array_equal(*(model(text.train[0]) for model in models))
    assert models[1].layers[1].feedback.id == "eprop" and models[1].layers[2].feedback.id == "kp"
    with pytest.raises(ValueError, match="recurrent"):
        variant("transformer", "eprop-random", stock)


@pytest.mark.slow
# the transformer's own layer adds vectors to positions, which the verdict cannot see from outside
@pytest.mark.filterwarnings("ignore:The error still passes:UserWarning")
@pytest.mark.parametrize("network", ["lstm", "transformer", "hub_transformer"])
def test_the_script_trains_and_finds_its_runs_again(network, tmp_path, capsys):
    if network.startswith("hub"):
        pytest.importorskip("keras_hub", reason="needs KerasHub: pip install keras-hub")
    arguments = ["--quick", "--network", network, "--methods", "fa", "--output", str(tmp_path)]
    main(arguments)
    first = capsys.readouterr().out
    assert "[1/1] fa" in first and f"| {network} | fa |" in first
    assert tmp_path.with_name(f"{tmp_path.name}-{network}.png").stat().st_size > 5_000
    main(arguments)
    assert capsys.readouterr().out in first


def test_seeds_that_have_files_are_not_made_again(tmp_path, monkeypatch):
    wanted = []

    def study(given, folder, network, data, variants, *, seeds, **_):
        wanted.append(([variant.name for variant in variants], seeds))
        raise InterruptedError

    monkeypatch.setattr(common, "study", study)
    arguments = ["--quick", "--methods", "fa", "pfa-collapsed", "--output", str(tmp_path)]
    kept = {"network": "lstm", "epochs": 1, "rate": 0.01, "decay": 0.1, "batch": 32}
    kept |= {"sizes": {"units": 8, "embedding": 8}, "length": 16}
    for seed in (0, 1):
        with pytest.raises(InterruptedError):
            main([*arguments, "--seeds", str(seed + 1)])
        for method in ("fa", "pfa-collapsed"):
            file = tmp_path / f"lstm-{method}-0.01-0.1-{seed}.json"
            common.write_json(file, {**kept, "method": method, "seed": seed})
    assert wanted == [(["fa", "pfa-collapsed"], [0]), (["fa", "pfa-collapsed"], [1])]


def test_the_page_shows_what_the_kept_runs_say(tmp_path, capsys):
    page = (RESULTS / "sequences.md").read_text("utf-8")
    for folder in ("text", "text_tuning"):
        assert table(RESULTS / "sequences" / folder) in page, folder
    shutil.copy(RESULTS / "sequences" / "delay.json", tmp_path)
    delay.main(["--output", str(tmp_path)])  # finds all its runs
    assert capsys.readouterr().out.strip() in page
