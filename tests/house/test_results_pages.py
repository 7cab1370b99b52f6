"""Numbers with ± in the pages of results are means and deviations, with n − 1, of the kept runs."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).parents[2] / "docs"


def kept(name):
    return json.loads((DOCS / "results" / f"{name}.json").read_text(encoding="utf-8"))


def rows(page, heading=""):
    """Cells of the rows that have ±, of a page or of one of its sections."""
    text = (DOCS / page).read_text(encoding="utf-8")
    if heading:
        text = text[text.index(heading) + len(heading) :]
        level = len(heading.split()[0])
        text = re.split(rf"^#{{2,{level}}} ", text, maxsplit=1, flags=re.MULTILINE)[0]
    for line in text.splitlines():
        if line.startswith("|") and "±" in line:
            yield [c.strip().strip("`") for c in line.split("|")[1:-1]]


def assert_rows(cells, expected, errors=False):
    """Each `mean ± deviation`, or error, among the cells against the values of its runs."""
    shown = [cell for cell in cells if "±" in cell]
    assert len(shown) == len(expected), cells
    for cell, values in zip(shown, expected, strict=True):
        mean, deviation = cell.split(" ± ")
        digits = len(mean.partition(".")[2])
        values = np.asarray(values, float)
        assert mean == f"{values.mean():.{digits}f}", cells
        spread = values.std(ddof=1) / (len(values) ** 0.5 if errors else 1.0)
        assert deviation == f"{spread:.{digits}f}", cells


def last(runs, curve, scale=1.0):
    return [scale * run["curves"][curve][-1] for run in runs if curve in run["curves"]]


def columns(runs, curves):
    """Accuracy and those of the curves that the runs have."""
    found = [last(runs, "accuracy", 100.0), *(last(runs, curve) for curve in curves)]
    return [values for values in found if values]


PUBLISHED = [f"{layer}/angle" for layer in ("layer2", "layer3")]
PUBLISHED += [f"{layer}/gradient_angle" for layer in ("layer1", "layer2")]
PUBLISHED += [f"{layer}/norm_ratio" for layer in ("layer2", "layer3")]
CIFAR10 = [
    f"{layer}/angle" for layer in ("conv3_block1_1_conv", "conv4_block1_1_conv", "predictions")
]
CIFAR10 += [f"conv{i}_conv/gradient_angle" for i in ("1", "3_block1_1", "4_block1_1")]
CIFAR10 += [name.replace("/angle", "/norm_ratio") for name in CIFAR10[:3]]
FORGOTTEN = [f"layer{i}/{measure}" for measure in ("angle", "norm_ratio") for i in (1, 2, 3)]


@pytest.mark.parametrize(
    ("name", "heading", "curves"),
    [
        ("mnist-published", "## MNIST, the published", PUBLISHED),
        ("mnist-forgotten", "## MNIST, with the start", FORGOTTEN),
        ("cifar10", "## CIFAR-10 (figure 4)", CIFAR10),
    ],
)
def test_product_feedback(name, heading, curves):
    runs = kept(f"product_feedback/{name}")["runs"]
    seen = 0
    for cells in rows("results/product_feedback.md", heading):
        own = [run for run in runs if run["method"] == cells[0]]
        if cells[1].startswith("layer"):  # the angle over time
            epochs = (1, 2, 5, 10, 20, 40)
            angles = [[run["curves"][f"{cells[1]}/angle"][e - 1] for run in own] for e in epochs]
            assert_rows(cells, angles)
        else:
            assert_rows(cells, columns(own, curves))
        seen += 1
    assert seen >= 4


@pytest.mark.parametrize(
    ("name", "heading", "count"),
    [
        ("autoencoder", "### 200 hidden units", 6),
        ("autoencoder-50", "### 50 hidden units", 13),
    ],
)
def test_autoencoders(name, heading, count):
    runs = kept(f"node_perturbation/{name}")["runs"]
    pages = list(rows("results/node_perturbation.md", heading))
    for method, seeds, *cells, _ in pages:  # the last is the paper's
        own = [run for run in runs if run["settings"]["row"] == method]
        assert len(own) == int(seeds)
        lowest = [min(run["curves"]["test_loss"]) for run in own]
        if len(own) > 1:
            assert_rows(cells, [lowest, [run["latent_accuracy"] for run in own]], errors=True)
    assert len(pages) == count


def test_expansion():
    found = kept("product_feedback/expansion")
    drawn = {one["expansion"]: one["angle"] for one in found["ten_outputs"]}
    pages = list(rows("results/product_feedback.md", "## Expansion"))
    for cells in pages:
        own = [run for run in found["runs"] if run["expansion"] == float(cells[0])]
        settled = [run["settled_angle"]["layer3"] for run in own]
        values = [last(own, "layer2/angle"), last(own, "layer3/angle"), settled]
        values += [drawn[float(cells[0])], last(own, "layer2/norm_ratio")]
        assert_rows(cells, [*values, last(own, "accuracy", 100.0)])
    assert len(pages) == 6


def test_mixtures():
    runs = kept("product_feedback/brain-digits")["runs"]
    pages = list(rows("results/product_feedback.md", "## How symmetric"))
    for cells in pages:
        kp, fixed, _ = cells[0].split(" / ")
        own = [run for run in runs if run["study"] == f"brain-digits-{kp}-{fixed}"]
        r = np.array([run["correlation"]["layer2"]["all"] for run in own])
        values = [last(own, "accuracy", 100.0), r, np.degrees(np.arccos(np.clip(r, -1, 1)))]
        if "±" in cells[4]:
            values.append([run["correlation"]["layer2"]["reciprocal"] for run in own])
        assert_rows(cells, [*values, last(own, "layer2/angle"), last(own, "layer1/gradient_angle")])
    assert len(pages) == 10


def test_two_routes_on_digits():
    first = kept("two_routes/depth-digits-v1")["runs"]
    first += kept("two_routes/aa-adam-digits-v1")["runs"]
    second = kept("two_routes/depth-digits-v2")["runs"]
    names = {"AA on activity, Adam on B": "aa-adam"}
    pages = list(rows("results/two_routes.md", "### Digits"))
    for i, cells in enumerate(pages):
        method = names.get(cells[0], cells[0].split("`")[0])
        own = [run for run in (first if i < 9 else second) if run["settings"]["method"] == method]
        by_depth = [[r for r in own if r["settings"]["depth"] == depth] for depth in (8, 14, 20)]
        assert_rows(cells, [last(some, "val_accuracy", 100.0) for some in by_depth])
    assert len(pages) == 9 + 6


def test_noise_on_updates():
    pages = list(rows("results/two_routes.md", "## Noise on updates"))
    names = {f"sa`, {rate}": f"sa-{rate}" for rate in ("1", "0.1", "0.01", "0.001")}
    names["backprop"] = "backprop"
    for own, name, variances in (
        (pages[:5], "digits-v1", (0.0, 1e-3, 1e-2)),
        (pages[5:8], "digits-240", (0.0, 1e-3, 1e-2)),
        (pages[8:], "digits-depth20", (0.0, 1e-2)),
    ):
        runs = kept(f"two_routes/noise-{name}")["runs"]
        for cells in own:
            mine = [r for r in runs if r["settings"]["method"] == names[cells[0]]]
            groups = [[r for r in mine if r["settings"]["noise"] == v] for v in variances]
            shown = [cell.split(",")[0] for cell in cells[1:]]
            assert_rows(shown, [last(some, "val_accuracy", 100.0) for some in groups])
    assert len(pages) == 11


def test_two_routes_at_full_width():
    runs = kept("two_routes/depth-full-width")["runs"]
    pages = list(rows("results/two_routes.md", "### At full width"))
    for cells in pages:
        method, forgetting = cells[0].split("`")[0], 3.0 * ("forgetting" in cells[0])
        own = [run for run in runs if run["settings"]["method"] == method]
        own = [run for run in own if run["settings"]["forgetting"] == forgetting]
        expected = []
        for depth in (8, 14, 20):
            here = [run for run in own if run["settings"]["depth"] == depth]
            angles = [last(here, "mean/gradient_angle")] if method != "backprop" else []
            found = [last(here, "val_accuracy", 100.0), *angles]
            expected += [values for values in found if len(values) > 1]
        assert_rows(cells, expected)
    assert len(pages) == 10


def test_regression_discontinuity():
    errors = [f"{split}_error" for split in ("train", "test")]
    layers = ("dense1", "dense2", "output")
    seen = 0
    for name, heading in (
        ("fashion_mnist", "### Fashion-MNIST"),
        ("cifar10-narrow", "### CIFAR-10"),
    ):
        runs = kept(f"rdd/{name}")["runs"]
        for cells in rows("results/rdd.md", heading):
            own = [run for run in runs if run["method"] == cells[0]]
            expected = [last(own, curve) for curve in errors]
            for measure, scale in (("sign_agreement", 100.0), ("R_self", 1.0)):
                found = [last(own, f"{layer}/{measure}", scale) for layer in layers]
                expected += [values for values in found if values]
            assert_rows([part for cell in cells for part in cell.split(" / ")], expected)
            seen += len(own)
    assert seen == 36


@pytest.mark.parametrize(
    ("name", "heading"),
    [("narrow", "### What the convolution"), ("decay", "### Kolen-Pollack's decay")],
)
def test_controls_of_spike_based_alignment(name, heading):
    runs = kept(f"sal/deep-conv-cifar10-{name}")["runs"]
    pages = list(rows("results/sal.md", heading))
    for cells in pages:
        angles = [last(runs[cells[0]], f"conv{i}/gradient_angle") for i in (2, 1)]
        assert_rows(cells, [last(runs[cells[0]], "val_accuracy", 100.0), *angles])
    assert len(pages) == len(runs) == 5


def test_predictivity_of_neurons_and_its_share_of_the_noise_ceiling():
    networks = kept("two_routes/neural-predictivity")["networks"]
    pages = list(rows("results/two_routes.md", "## Neural predictivity"))
    for name, median, _, share in pages:
        own = networks["random" if name == "untrained" else f"cifar10-v1-8-{name}-0"]
        for cell, found in ((median, own), (share, own["of_ceiling"])):
            assert cell == f"{found['median']:.3f} ± {found['standard_error']:.3f}"
    assert len(pages) == len(networks)


def test_tuned_rules_on_digits():
    names = {"WM": "wm", "WM, Adam": "wm-adam"}
    names |= {f"{rule}, Adam, operations": f"{rule.lower()}-adam-ops" for rule in ("WM", "IA")}
    first, second, together = (
        kept(f"two_routes/tuned-digits-{name}")["runs"] for name in ("v1", "v2", "together")
    )
    searches = kept("two_routes/search-digits")["searches"]
    pages = list(rows("results/two_routes.md", "## The search"))
    for cells in pages:
        expected = []
        for runs, depths in ((first, (8, 14, 20)), (second, (8, 14, 20)), (together, (8,))):
            own = [run for run in runs if run["settings"]["method"] == names[cells[0]]]
            by_depth = [[r for r in own if r["settings"]["depth"] == depth] for depth in depths]
            expected += [last(some, "val_accuracy", 100.0) for some in by_depth]
        assert_rows(cells, expected)
        trials = [trial["accuracy"] for trial in searches[names[cells[0]]]["trials"]]
        assert cells[1:3] == [f"{100 * max(trials):.1f}", f"{trials.count(0.0)} of {len(trials)}"]
    assert len(pages) == 4


@pytest.mark.parametrize("page", ["choosing.md", "results/quickstart.md"])
def test_methods_on_mnist(page):
    methods = kept("quickstart/mnist")["methods"]
    pages = list(rows(page))
    for cells in pages:
        assert_rows(
            [cell for cell in cells if "±" in cell][:1],
            [100 * np.array(methods[cells[0]]["accuracy"])[:, -1]],
        )
    assert len(pages) == len(methods)


def test_own_activity():
    names = {"AA, own activity, covariance (`aa`)": "aa, covariance", "AA, noise": "aa, noise"}
    names |= {"WM, own activity, covariance": "wm, covariance", "WM, noise (`wm`)": "wm, noise"}
    names |= {"SA (`sa`)": "sa", "backprop": "backprop"}
    names |= {"AA, own activity, Adam(0.01) on B": "aa, Adam"}
    names |= {"AA, own activity, SGD(0.5) on B": "aa, SGD"}
    for dataset, heading in (("mnist", "784-256-256-10"), ("digits", "64-256-256-10 on hand")):
        text = (DOCS / "results" / "own_activity.md").read_text(encoding="utf-8")
        table = text[text.index(heading) :].split("\n\n")[1]
        runs = kept(f"own_activity/{dataset}")
        for line in (line for line in table.splitlines() if "±" in line):
            cells = [cell.strip() for cell in line.split("|")[1:-1]]
            own = [100 * run["accuracy"] for run in runs if run["variant"] == names[cells[0]]]
            assert_rows(cells, [own])
    table = (DOCS / "results" / "own_activity.md").read_text(encoding="utf-8")
    lines = [line for line in table.splitlines() if line[:5] in ("| 8 |", "| 14 ", "| 20 ")]
    for line in lines:
        depth, name, *cells = [cell.strip() for cell in line.split("|")[1:-1]]
        runs = [r for r in kept(f"own_activity/resnet{depth}") if r["variant"] == names[name]]
        columns = [[s * r[key] for r in runs] for key, s in (("loss", 1.0), ("accuracy", 100.0))]
        assert_rows([name, *cells], columns)
    assert len(lines) == 11
