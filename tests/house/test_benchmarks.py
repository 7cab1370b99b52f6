"""The benchmarks count right, and run."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import pytest
import tensorflow as tf

import tf_alignment as ta

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def step_flops(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from tf_alignment.studies import operations as flops

    return flops.step_flops


def compiled(model):
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def dense(method):
    layers = [keras.Input((7,)), keras.layers.Dense(5, "relu"), keras.layers.Dense(3)]
    return compiled(ta.convert(keras.Sequential(layers), method))


class TestFlops:
    """Batches of four. The first layer sends no error down."""

    x, y = tf.zeros((4, 7)), tf.zeros((4,), tf.int32)
    one, two = 2 * 4 * 7 * 5, 2 * 4 * 5 * 3  # a product with the first, the second kernel

    @pytest.mark.parametrize("method", ["backprop", "fa", "usf", "brsf", "frsf", "kp", "sa"])
    def test_as_many_as_backprop(self, step_flops, method):
        assert step_flops(dense(method), self.x, self.y) == 2 * self.one + 3 * self.two

    @pytest.mark.parametrize(
        ("rule", "products"),
        [("WeightMirror", 1), ("InformationAlignment", 2), ("ActivationAlignment", 2)],
    )
    def test_alignment_needs_products_of_its_own(self, step_flops, rule, products):
        method = getattr(ta.feedback, rule)(noise=None, normalize="input")
        expected = 2 * self.one + (3 + products) * self.two
        assert step_flops(dense(method), self.x, self.y) == expected

    def test_a_least_squares_step_solves_a_system(self, step_flops):
        # 4 rows of 5 inputs: x B; x xᵀ, its factor, two triangular solves, and a product with xᵀ
        solved = 2 * 4 * 4 * 5 + 4**3 // 3 + 2 * (4 * 3) * 4 + self.two
        expected = 2 * self.one + 4 * self.two + solved
        assert step_flops(dense("aa"), self.x, self.y) == expected

    def test_branches_without_products_are_passed_over(self, step_flops):
        # of gradients that are gathered over some steps
        model = dense("backprop")
        model.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2), model.loss)
        assert step_flops(model, self.x, self.y) == 2 * self.one + 3 * self.two

    def test_branches_with_products_are_refused(self, step_flops):
        from tf_alignment.studies.operations import graph_flops

        def branch(a):
            return tf.cond(
                a[0, 0] > 0, lambda: tf.cond(a[0, 1] > 0, lambda: a @ a, lambda: a), lambda: a
            )

        with pytest.raises(NotImplementedError, match="branch"):
            graph_flops(branch, tf.zeros((3, 3)))

    def test_noise_needs_its_own_forward_product(self, step_flops):
        method = ta.feedback.WeightMirror(noise="gaussian")
        assert step_flops(dense(method), self.x, self.y) == 2 * self.one + 5 * self.two

    def test_the_noise_goes_through_the_difference_of_two_kernels_at_once(self, step_flops):
        method = ta.feedback.ActivationAlignment(noise="gaussian")
        assert step_flops(dense(method), self.x, self.y) == 2 * self.one + 5 * self.two

    def test_product_feedback(self, step_flops):
        # so few outputs go through the path kernel: it is composed from both kernels, and the
        # gradient of the forward kernel spread over the plastic one
        path = 2 * 5 * (10 * 3) * 3
        expected = 2 * self.one + 3 * self.two + 2 * path
        assert step_flops(dense("pfa"), self.x, self.y) == expected

    def test_convolution(self, step_flops):
        layers = [
            keras.Input((8, 8, 2)),
            keras.layers.Conv2D(3, 3, padding="same"),
            keras.layers.Conv2D(5, 3, strides=2, groups=1, padding="same"),
            keras.layers.GlobalAveragePooling2D(),
        ]
        one, two = 2 * 4 * 64 * 9 * 2 * 3, 2 * 4 * 16 * 9 * 3 * 5
        model = compiled(keras.Sequential(layers))
        counted = step_flops(model, tf.zeros((4, 8, 8, 2)), self.y)
        assert counted == 2 * one + 3 * two


@pytest.mark.parametrize("method", ["sa", "kp", "wm", "ia", "aa", "dfa", "pfa"])
def test_costs_from_shapes_are_those_of_graph_and_variables(step_flops, method):
    import scale

    layers = [
        keras.Input((6, 6, 2)),
        keras.layers.Conv2D(3, 3, padding="same"),
        keras.layers.Conv2D(4, 3, strides=2, use_bias=False),
        keras.layers.Flatten(),
        keras.layers.Dense(40),  # so many that product feedback takes the way of each example
        keras.layers.Dense(3),
    ]
    stock = keras.Sequential(layers)
    cost = scale.cost(stock, method, 4)
    model = compiled(ta.convert(stock, method))
    assert cost.operations == step_flops(model, tf.zeros((4, 6, 6, 2)), tf.zeros((4,), tf.int32))
    assert cost.reduced == 4 * sum(v.value.shape.num_elements() for v in model.trainable_variables)
    stored = {
        id(weight): 4 * weight.value.shape.num_elements()
        for layer in ta.layers.feedback_layers(model)
        for weight in layer.feedback_weights.values()
    }
    if method != "dfa":  # its matrices belong to the model
        assert cost.feedback == sum(stored.values())


def test_bounds_on_times(step_flops):
    import scale

    chip = scale.Chip(cores=2, rate=100.0, memory=50.0, links=10.0, used=0.5)
    cost = scale.Cost(
        "sa", operations=1000, weights=20, feedback=15, trained=15, states=20, alike=15
    )
    assert cost.arithmetic(chip) == 40.0 and cost.reduced == 35
    assert cost.update(chip) == pytest.approx(2 * (3 * 35 + 40) / 50)
    assert cost.all_reduce(chip, 2) == 0.0
    assert cost.all_reduce(chip, 8) == pytest.approx(2 * 3 / 4 * 35 / 10)
    assert cost.all_reduce(chip, 8, spared=True) == pytest.approx(2 * 3 / 4 * 20 / 10)


@pytest.mark.slow
def test_costs_are_those_of_two_replicas():
    script = [sys.executable, str(BENCHMARKS / "scale.py"), "--check", "--models", "mlp"]
    run = subprocess.run(script, check=True, capture_output=True, text=True)
    assert "Largest difference (without dfa): 0.00 %" in run.stdout


@pytest.mark.slow
def test_step_time_runs(tmp_path):
    output = tmp_path / "step_time.json"
    script = [
        sys.executable,
        str(BENCHMARKS / "step_time.py"),
        "--models",
        "mlp",
        "--methods",
        "fa",
    ]
    script += ["--rounds", "2", "--seconds", "0.05", "--output", str(output)]
    run = subprocess.run(script, check=True, capture_output=True, text=True)
    assert "operations" in run.stdout
    rows = json.loads(output.read_text())["rows"]
    assert [(row["mode"], row["method"]) for row in rows] == [
        ("fit", "stock"),
        ("fit", "fa"),
        ("function", "stock"),
        ("function", "fa"),
    ]
    for stock in rows[::2]:
        assert (stock["time_ratio"], stock["processor_ratio"], stock["flops_ratio"]) == (1, 1, 1)
    assert rows[1]["flops_ratio"] == 1.0
    assert all(0 < row["compile_seconds"] < 120 for row in rows)
    script = [sys.executable, str(BENCHMARKS / "report.py"), str(tmp_path)]
    report = subprocess.run(script, check=True, capture_output=True, text=True).stdout
    assert "| `fa` |" in report and (tmp_path / "step_time.png").stat().st_size > 5000


@pytest.mark.slow
def test_ablation_runs(tmp_path):
    output = tmp_path / "ablation.json"
    script = [sys.executable, str(BENCHMARKS / "ablation.py"), "--models", "mlp"]
    script += ["--rounds", "2", "--seconds", "0.02", "--output", str(output)]
    subprocess.run(script, check=True, capture_output=True, text=True)
    rows = {row["variant"]: row for row in json.loads(output.read_text())["rows"]}
    assert rows["the whole step"]["processor_ratio"] == 1.0
    assert rows["forward pass"]["processor_ratio"] < 1.0
    products = (rows[f"products alone{end}"]["processor_ratio"] for end in ("", ", in bfloat16"))
    assert all(0.01 < ratio < 1.0 for ratio in products)


def test_layers_are_left_out_of_a_network(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import ablation

    model = ta.models.resnet(8, width=2)
    left = ablation.without(model, keras.layers.BatchNormalization)
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in left.layers)
    assert len(left.layers) == len(model.layers)
    assert left(tf.ones((2, 32, 32, 3))).shape == (2, 10)


def test_phases_are_timed(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import phase_time

    rows = phase_time.measure("perceptron", 1, 0.01, list(phase_time.PHASES))
    assert [row["phase"] for row in rows] == ["reference", *phase_time.PHASES]
    for row in rows:
        assert 0 < row["processor_ratio"] < 100 and 0.5 < row["flops_ratio"] <= 1.0


@pytest.mark.slow
def test_parts_run(tmp_path):
    output = tmp_path / "parts.json"
    script = [sys.executable, str(BENCHMARKS / "parts.py"), "--rounds", "3", "--output", output]
    subprocess.run(script, check=True, capture_output=True, text=True)
    found = json.loads(output.read_text())
    assert found["noise"]["ratio"] < 0.5
    assert all(0.1 < row["ratio"] < 10.0 for row in found["input_gradient"])


def quick(directory, ratio, low=None, high=None):
    row = {"model": "mlp", "mode": "fit", "method": "fa", "processor_ratio": ratio}
    row["processor_ratio_range"] = [low or ratio, high or ratio]
    (directory / "step_time.json").write_text(json.dumps({"rows": [row]}))


def test_kept_numbers_are_compared_beyond_their_spread(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import compare

    kept = tmp_path / "kept.json"

    def run(*arguments):
        command = ["compare.py", str(tmp_path), "--kept", str(kept), *arguments]
        monkeypatch.setattr(sys, "argv", command)
        compare.main()

    quick(tmp_path, 1.0, 0.95, 1.1)
    run()
    assert "No numbers are kept" in capsys.readouterr().out
    run("--keep")
    for ratio, low, fails in ((0.5, 0.5, False), (1.09, 1.08, False), (1.2, 1.15, True)):
        quick(tmp_path, ratio, low)
        with pytest.raises(SystemExit) as end:
            run()
        assert bool(end.value.code) == fails
    assert "slower: mlp, fit, fa: 1.20, kept 1.00 (spread 0.10)" in capsys.readouterr().out
    kept.write_text(kept.read_text().replace('"processor": "', '"processor": "Another '))
    with pytest.raises(SystemExit):
        run()
    assert "Kept on another processor: Another" in capsys.readouterr().out


@pytest.mark.slow
def test_memory_runs(tmp_path):
    output = tmp_path / "memory.json"
    script = [sys.executable, str(BENCHMARKS / "memory.py"), "--models", "mlp"]
    script += ["--methods", "fa", "--runs", "1", "--output", str(output)]
    run = subprocess.run(script, check=True, capture_output=True, text=True)
    assert "MB" in run.stdout
    stock, fa = json.loads(output.read_text())["rows"]
    assert stock["peak_ratio"] == 1.0 and 0.5 < fa["peak_ratio"] < 2.0
    assert fa["training_megabytes"] > 0.0


@pytest.mark.slow
def test_the_import_is_fast():
    # twice the goal: processors differ by as much, and other tests run beside this one
    script = [sys.executable, str(BENCHMARKS / "import_time.py"), "--runs", "3", "--limit", "0.3"]
    subprocess.run(script, check=True)


@pytest.mark.slow
def test_spiking_runs(tmp_path):
    output = tmp_path / "spiking.json"
    script = [sys.executable, str(BENCHMARKS / "spiking.py"), "--duration", "2", "--runs", "2"]
    script += ["--steps", "1000"]
    run = subprocess.run(
        [*script, "--output", str(output)], check=True, capture_output=True, text=True
    )
    assert "processor s" in run.stdout
    rows = json.loads(output.read_text())["rows"]
    assert [(row["phase"], row["xla"]) for row in rows] == [
        (phase, xla) for phase in ("rdd 2 s", "rdd 20 s", "sal") for xla in (True, False)
    ]
    for row in rows:
        assert 0.0 < row["fastest_seconds"] <= row["seconds"]
        simulated = {"rdd 2 s": 6.0, "rdd 20 s": 60.0, "sal": 64_000.0}[row["phase"]]
        assert row["simulated_a_second"] * row["seconds"] == pytest.approx(simulated)
