"""Settings as JSON and back."""

import functools
import json
import sys

import keras
import pytest

import tf_alignment as ta
from tf_alignment.studies.encoding import Encoder, decode, digest, load_reference

TOP = 3


def helper(x):
    return x + TOP


def scale(run, factor):
    """A function of a module."""
    return helper(factor)


def through_json(value):
    return decode(json.loads(json.dumps(Encoder().encode("value", value))))


def test_numbers_and_containers():
    value = {"a": [1, 2.5, None, True], "b": {"c": "text"}}
    assert through_json(value) == value
    assert through_json((1, 2)) == [1, 2]


def test_functions_and_partials():
    assert through_json(scale) is scale
    partial = through_json(functools.partial(scale, factor=4))
    assert partial.func is scale and partial(None) == 7
    made = through_json(functools.partial(ta.phases.SAL, 2000, rate=0.1))
    assert made.func is ta.phases.SAL and made.args == (2000,)


def test_keras_objects():
    optimizer = through_json(keras.optimizers.SGD(0.25, momentum=0.5))
    assert float(optimizer.learning_rate) == 0.25 and optimizer.momentum == 0.5
    assert through_json(ta.feedback.WeightMirror(1e-3, 1e-3)) == ta.feedback.WeightMirror(
        1e-3, 1e-3
    )


def test_automatic_names_are_numbered_anew_and_others_are_kept():
    made = [keras.optimizers.SGD(), keras.optimizers.SGD(), keras.optimizers.SGD(name="mine_7")]
    before = [optimizer.name for optimizer in made]
    names = [part["<keras>"]["config"]["name"] for part in Encoder().encode("value", made)]
    assert names == ["sgd", "sgd_1", "mine_7"]
    assert [optimizer.name for optimizer in made] == before


@pytest.mark.parametrize("value", [lambda run: 3, object(), {1: 2}, b"bytes"])
def test_what_another_process_cannot_read_is_refused(value):
    with pytest.raises(TypeError, match="Argument `hook` must be"):
        Encoder().encode("hook", value)


def sources(tmp_path, name, text):
    file = tmp_path / f"{name}.py"
    file.write_text(text)
    encoder = Encoder()
    encoder.encode("f", load_reference(f"{file}:f"))
    return next(iter(encoder.sources.values()))


def test_the_code_counts_and_its_comments_do_not(tmp_path):
    first = sources(
        tmp_path, "code_a", "K = 1\ndef g(x):\n    return x\ndef f(run):\n    return g(K)\n"
    )
    same = sources(
        tmp_path,
        "code_b",
        "K = 1\ndef g(x): return x  # so\n\ndef f(run):\n    'Why.'\n    return g(K)\n",
    )
    constant = sources(
        tmp_path, "code_c", "K = 2\ndef g(x):\n    return x\ndef f(run):\n    return g(K)\n"
    )
    called = sources(
        tmp_path, "code_d", "K = 1\ndef g(x):\n    return -x\ndef f(run):\n    return g(K)\n"
    )
    assert first == same
    assert len({first, constant, called}) == 3


CODE = """
import functools, numpy as np
OPTIONS = {"scale": VALUE}
LISTED = [VALUE]
TABLE = np.array([VALUE])
PAIR = (VALUE,)
NAMES = {"inner": PAIR}
@functools.lru_cache
def cached(n):
    return n * VALUE
def plain(n):
    return n
part = functools.partial(plain, VALUE)
if OPTIONS:
    LATER = dict(OPTIONS)
"""


@pytest.mark.parametrize(
    "body",
    [
        "OPTIONS['scale']",
        "LISTED[0]",
        "TABLE[0]",
        "PAIR[0]",
        "NAMES['inner'][0]",
        "cached(1)",
        "part()",
        "LATER['scale']",
    ],
)
def test_whatever_code_refers_to_counts(tmp_path, body):
    names = (f"referred_{abs(hash(body))}_{v}" for v in "abc")
    texts = (CODE.replace("VALUE", v) + f"def f(run):\n    return {body}\n" for v in "112")
    one, same, other = (sources(tmp_path, *pair) for pair in zip(names, texts, strict=True))
    assert one == same != other


INSIDE = "def f(run):\n    import {0}\n    return {0}.K\n"


def test_modules_imported_inside_of_a_function_count(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "package_of_mine"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('not to be imported')\n")
    text = "def f(run):\n    from package_of_mine import deep\n    import scipy.stats, no_such\n"
    found = []
    for i, value in enumerate((1, 1, 2)):
        (package / "deep.py").write_text(f"K = {value}\n")
        found.append(sources(tmp_path, f"imports_{i}", text))
    assert found[0] == found[1] != found[2]


DESCRIBED = '"""Module."""\nK = 1  # constant\n"""Constant."""\n\n\nclass A:\n    """Class."""\n'


@pytest.mark.parametrize("text", ["import {0}\ndef f(run):\n    return {0}.K\n", INSIDE])
def test_the_words_of_a_module_do_not_count(tmp_path, monkeypatch, text):
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for i, code in enumerate((DESCRIBED, "K = 1\nclass A:\n    pass\n", "K = 2\n")):
        (tmp_path / "words_of_mine.py").write_text(code)
        monkeypatch.delitem(sys.modules, "words_of_mine", raising=False)
        found.append(sources(tmp_path, f"words_{len(text)}_{i}", text.format("words_of_mine")))
    assert found[0] == found[1] != found[2]


def test_references(tmp_path):
    assert load_reference("math:sqrt")(4) == 2
    for wrong in ("math", "math:nothing", "no_such_module:f", f"{tmp_path}/none.py:f"):
        with pytest.raises(ValueError, match="Received"):
            load_reference(wrong)


def test_a_digest_is_of_the_content():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 2, "b": 2})
