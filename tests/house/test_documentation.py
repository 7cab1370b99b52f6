"""The site: every page runs, every link leads somewhere, every public name says what it has to."""

import ast
import importlib
import inspect
import re
import textwrap
from pathlib import Path

import keras
import pytest
import yaml

import tf_alignment as ta

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
RUN = [*PAGES, ROOT / "CONTRIBUTING.md"]
MARKDOWN = [*PAGES, *sorted(ROOT.glob("*.md"))]
NAMESPACES = ["", *(n for n in ta.__all__ if inspect.ismodule(getattr(ta, n)))]
NAMESPACES += ["spiking.lif", "spiking.sampling"]


def name_of(path):
    return str(path.relative_to(ROOT))


# --- pages run ---------------------------------------------------------------------------------


# 5 to 15 s each
SLOW = ("own_rules", "studies", "two_routes", "product_feedback", "node_perturbation", "rdd", "sal")


def blocks(path, language):
    """Contents of a page's fenced blocks of one language."""
    fence = rf"^```{language}(?: title=.*)?\n(.*?)^```"
    return re.findall(fence, path.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def running(page):
    marks = [pytest.mark.slow] if page.stem in SLOW else []
    return pytest.param(page, id=name_of(page), marks=marks)


@pytest.mark.parametrize("page", [running(page) for page in RUN if blocks(page, "python")])
def test_page_runs(page, tmp_path, monkeypatch, capsys):
    """A page is one script; where it shows the output, that is what comes out, or close to it."""
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "page.py"  # for AutoGraph, which reads the source of compiled functions
    script.write_text("\n".join(blocks(page, "python")), "utf-8")
    exec(compile(script.read_text("utf-8"), str(script), "exec"), {"__name__": "page"})
    shown, printed = "".join(blocks(page, "text")), capsys.readouterr().out
    if shown:
        assert not list(differences(shown, printed)), printed


NUMBER = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)(°?)")


def differences(shown, printed):
    """Pairs of what differs: words at all, numbers by more than machines do.

    Integers are counts and have to be the same. Angles may differ by 5°, other numbers by 0.05 or
    5 %: more than what comes of it if the weights at the start differ by rounding. A run that is
    lost ends at an angle that differs by as much between processors.
    """
    words = [" ".join(NUMBER.sub("#", text).split()) for text in (shown, printed)]
    if words[0] != words[1]:
        yield tuple(words)
        return
    for one, other in zip(NUMBER.finditer(shown), NUMBER.finditer(printed), strict=True):
        a, b = float(one[1]), float(other[1])
        if one[2]:
            close = abs(a - b) <= 5
        elif "." in one[1]:
            close = abs(a - b) <= max(0.05, 0.05 * a)
        else:
            close = a == b
        if not close:
            yield one[0], other[0]


def test_the_rule_of_the_page_on_studies_passes_its_checks():
    """It is a file of the reader's, which he is told elsewhere to check."""
    rule = blocks(DOCS / "studies.md", "py")[0]
    assert "class HalfSign" in rule
    names = {}
    exec(rule, names)
    report = ta.testing.check_rule(names["HalfSign"](), layers=["dense"])
    assert str(report).startswith("HalfSign(): ")


def test_stale_numbers_are_found():
    shown = "epoch 1  accuracy 0.894  norm 8.40  angle 10.3°\n"
    assert not list(differences(shown, "epoch 1  accuracy 0.922  norm 8.70  angle 12.9°\n"))
    assert list(differences(shown, "epoch 1  accuracy 0.894  norm 8.40  angle 16.6°\n")) == [
        ("10.3°", "16.6°")
    ]
    assert list(differences(shown, "epoch 2  accuracy 0.994  norm 7.40  angle 10.3°\n")) == [
        ("1", "2"),
        ("0.894", "0.994"),
        ("8.40", "7.40"),
    ]
    assert list(differences(shown, "epoch 1  loss 0.894  norm 8.40  angle 10.3°\n"))


# --- links -------------------------------------------------------------------------------------


def prose(path):
    """A page without its code."""
    text = re.sub(
        r"^(```.*?^```|(?<=\n\n)(    .*\n)+)", "", path.read_text("utf-8"), flags=re.S | re.M
    )
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(path):
    """Of the headings, as Markdown's table of contents and code hosts both make them."""
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.S | re.M)
    headings = re.findall(r"^#+ +(.*)$", text, re.M)
    plain = [re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings]
    return {re.sub(r"\s", "-", heading) for heading in plain}


def dead_links(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        if not there.is_file() or (anchor and anchor not in anchors(there)):
            yield target


@pytest.mark.parametrize("page", MARKDOWN, ids=name_of)
def test_links(page):
    assert not list(dead_links(page))


def test_dead_links_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One\n\n[a](#one) [b](#two) [c](no.md) ![d](no.png) [e](https://x.org) `[f](g)`\n"
    )
    assert list(dead_links(page)) == ["#two", "no.md", "no.png"]


def test_every_page_is_in_the_navigation():
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))

    def listed(entry):
        if isinstance(entry, str):
            return [entry]
        values = entry.values() if isinstance(entry, dict) else entry
        return [page for value in values for page in listed(value)]

    assert sorted(listed(config["nav"])) == sorted(str(page.relative_to(DOCS)) for page in PAGES)


def test_pages_load_nothing_from_elsewhere():
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    assert config["theme"]["font"] is False
    scripts = [*config["extra"]["polyfills"], *config["extra_css"]]
    assert all((DOCS / script).is_file() for script in scripts)
    # in place of the script that the plugin "offline" would load from the network
    assert any("iframe-worker" in script for script in scripts)
    for page in PAGES:
        assert not re.search(r"!\[[^]]*\]\(https?:|src=\"https?:", page.read_text("utf-8")), page


def test_every_namespace_has_a_page():
    assert {name for name in NAMESPACES if name and "." not in name} == {
        page.stem for page in DOCS.glob("api/*.md") if page.stem != "index"
    }


# --- docstrings --------------------------------------------------------------------------------


def public():
    """`(name, object)` of every public class and function, each once."""
    found = {}
    for namespace in NAMESPACES:
        module = importlib.import_module(".".join(["tf_alignment", namespace]).rstrip("."))
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                found.setdefault(thing, f"{namespace}.{name}".lstrip("."))
    return [(name, thing) for thing, name in found.items()]


def section(doc, title):
    found = re.search(rf"^{title}:\n((?:(?: +.*)?\n)*)", doc + "\n", re.MULTILINE)
    return found[1] if found else ""


def documented(doc):
    """Names in `Args` or `Attributes`; `units, ...: Arguments of X` stands for all those of X."""
    text = section(doc, "Args") or section(doc, "Attributes")
    entries = re.findall(r"^    (\S[^:]*):", text, re.MULTILINE)
    names = {name for entry in entries for name in re.findall(r"\w+", entry)}
    for parent in re.findall(r"\.\.\.: Arguments of `keras\.(\w+\.\w+)`", text):
        kind, name = parent.split(".")
        names |= set(inspect.signature(getattr(getattr(keras, kind), name)).parameters)
    return names


def parameters(thing):
    star = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return []  # they are raised, not called
    given = inspect.signature(thing).parameters.values()
    return [parameter.name for parameter in given if parameter.kind not in star]


def raises(thing):
    """Whether the function, or the class' own constructor, has a `raise`."""
    function = vars(thing).get("__init__") if inspect.isclass(thing) else thing
    own = getattr(function, "__module__", None) == thing.__module__  # a protocol's is not
    if not inspect.isfunction(function) or not own or function.__code__.co_filename[0] == "<":
        return False  # what `dataclass` writes
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return any(isinstance(node, ast.Raise) for node in ast.walk(tree))


def takes_tensors(thing):
    if inspect.isclass(thing):
        return issubclass(thing, keras.layers.Layer)
    return any(kind in str(thing.__annotations__) for kind in ("Tensor", "ndarray"))


def needs_a_source(name, thing):
    """Methods, phases, metrics and theory come from papers; bases and helpers do not."""
    space = name.split(".")[0]
    if inspect.isclass(thing):
        bases = {"feedback": ta.feedback.Feedback, "phases": ta.phases.Phase}
        base = bases.get(space)
        is_base = thing is base or inspect.isabstract(thing)
        return base is not None and issubclass(thing, base) and not is_base
    return space in ("metrics", "analysis")


def missing(name, thing):
    """What the docstring of a public name lacks."""
    doc = inspect.cleandoc(thing.__doc__ or "")
    lacks = [f"argument {p}" for p in parameters(thing) if p not in documented(doc)]
    if raises(thing) and "Raises:" not in doc:
        lacks.append("Raises")
    if not re.search(r"^ *(>>>|```python)", doc, re.MULTILINE):
        lacks.append("Example")
    if takes_tensors(thing) and not re.search(r"[Ss]hape|[Ss]calar|`\(\w[\w ,.·+]*\)`", doc):
        lacks.append("shapes")
    if needs_a_source(name, thing) and not re.search(r"(Source|Reference)s?:", doc):
        lacks.append("Source or Reference")
    return lacks


@pytest.mark.parametrize(("name", "thing"), public(), ids=[name for name, _ in public()])
def test_docstring(name, thing):
    assert not missing(name, thing)


def test_a_poor_docstring_is_found():
    import tensorflow as tf

    def poor(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """Adds.

        Args:
            x: One.
        """
        if y is None:
            raise ValueError
        return x + y

    assert missing("metrics.poor", poor) == [
        "argument y",
        "Raises",
        "Example",
        "shapes",
        "Source or Reference",
    ]
