"""Report of a study on one page: HTML that loads nothing from elsewhere, or Markdown."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tf_alignment import plots
from tf_alignment._support.statistics import padded
from tf_alignment.plots.style import styles
from tf_alignment.studies.store import Store, read_json

__all__ = ["write_report"]

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
  max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; margin-bottom: 0; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
p.note, figcaption { color: #555; font-size: .87rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .86rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #ddd; text-align: right;
  white-space: nowrap; }
.words td, .words th { text-align: left; white-space: normal; overflow-wrap: anywhere; }
th { border-bottom: 2px solid #888; } th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; height: auto; } figure { margin: 1rem 0; }
ul.warnings li { color: #8a3b00; } pre { font-size: .8rem; background: #f6f6f6; padding: .6rem;
  white-space: pre-wrap; }
.key { display: inline-block; width: .8em; height: .8em; margin-right: .5em; }
"""


def write_report(results: Any, file: Path, spread: str = "deviation") -> Path:
    """Write the report of a study.

    Args:
        results: `Results` of the study.
        file: File to write; Markdown if it ends in `.md`, with its figures in a folder beside it.
        spread: Spread behind ±, see `Results.table`.

    Returns:
        Path of the file.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    page: Any = _Markdown(file) if file.suffix == ".md" else _Html()
    description = results.description
    page.title(description["title"], _sentence(results))
    page.heading("Results")
    head, rows = results.rows(spread)
    page.table(head, rows, styles(results.variants))
    page.note(results.notes(spread))
    for name, figure, text in _figures(results):
        page.figure(name, figure, text)
    _warnings(page, results)
    _tuning(page, results)
    page.heading("Settings")
    page.table(["setting", "value"], _settings(results))
    page.heading("Versions")
    versions = description["versions"]
    page.table(["package", "version"], [[k, v] for k, v in versions.items()])
    file.write_text(page.text(), encoding="utf-8")
    return file


def _sentence(results: Any) -> str:
    description = results.description
    seeds, cases = description["seeds"], results.cases
    models = f"{len(cases)} models, " if len(cases) > 1 else ""
    text = (
        f"{models}{len(results.variants)} methods, seeds {', '.join(map(str, seeds))}; "
        f"{len(results.runs)} runs"
    )
    return f"{text}, {len(results.missing)} not made yet." if results.missing else f"{text}."


def _figures(results: Any) -> Iterator[tuple[str, Any, str]]:
    """Name, figure and caption of each figure for which there are data."""
    several = len(results.cases) > 1
    scores = [r for r in results.runs if r["curves"].get(results.metric)]
    if not scores:
        return
    label = results.label(results.metric)
    yield "curves", results.plot(), "Over the epochs, each method in its colour."
    sweep = results.sweep()
    if several and sweep:
        yield "sweep", plots.sweep(sweep, setting="model", label=label), "Over the models."
    for i, case in enumerate(results.cases):
        suffix, title = (f"-{i}", case) if several else ("", None)
        values = {v: list(results.values(v, case=case).values()) for v in results.variants}
        yield (
            f"final{suffix}",
            plots.final_values(values, label=label, title=title),
            "The last epoch.",
        )
        costs = {v: results.cost(v, case).get("step_time") for v in results.variants}
        costs = {v: cost for v, cost in costs.items() if cost is not None}
        if any(mean is not None for v in costs for mean in values[v]):
            yield (
                f"cost{suffix}",
                plots.cost_against(costs, values, label=label, title=title),
                ("What each method reaches, and how long its training step takes."),
            )
        layers = _layers(results, case)
        if layers:
            yield (
                f"layers{suffix}",
                plots.layer_curves(layers, title=title),
                (
                    "Angle between the update of each layer's weights and backpropagation's; mean "
                    "over seeds, the lowest layer dark."
                ),
            )
        weights = {v: _weights(results, v, case) for v in results.variants}
        if any(weights.values()):
            yield (
                f"weights{suffix}",
                plots.weight_scatter(weights, title=title),
                (
                    "Entries of the feedback weights B against the forward weights W after "
                    "training, of the first seed; the line is B = W."
                ),
            )


def _layers(results: Any, case: str) -> dict[str, Any]:
    """Gradient angles of the layers of methods that are not backpropagation."""
    found = {}
    for variant in results.variants:
        runs = [r for r in results.of(variant, case) if r["status"] == "done"]
        names = [n for n in (runs[0]["curves"] if runs else ()) if n.endswith("/gradient_angle")]
        curves = {
            name: padded([r["curves"][name] for r in runs if name in r["curves"]]) for name in names
        }
        if any(np.any(values > 0.01) for values in curves.values()):
            found[variant] = curves
    return found


def _weights(results: Any, variant: str, case: str) -> dict[str, Any]:
    run: dict[str, Any] = next((r for r in results.of(variant, case) if r["status"] == "done"), {})
    if run.get("feedback") == "backprop":
        return {}
    return run.get("weights") or {}


def _warnings(page: Any, results: Any) -> None:
    lines: dict[str, list[str]] = {}
    for run in results.runs:
        where = f"{run['variant']}, seed {run['seed']}"
        where = f"{run['case']}, {where}" if len(results.cases) > 1 else where
        texts = run["warnings"] + ([run["error"]] if run["status"] == "failed" else [])
        for text in texts:
            lines.setdefault(text, []).append(where)
    texts = [f"{'; '.join(places)}: {text}" for text, places in lines.items()]
    texts = [*results.description.get("warnings", ()), *texts]
    if texts:
        page.heading("Warnings")
        page.list(texts)


def _tuning(page: Any, results: Any) -> None:
    description = results.description
    tuning = description["tuning"]
    if not tuning["trials"]:
        return
    chosen = {(c["variant"], c["case"]): c["values"] for c in tuning["chosen"]}
    page.heading("Tuning")
    page.note(
        "Scores on data held out from training, with seeds of their own; the test data play no "
        "part. Every method had as many trials."
    )
    rows = []
    for trial in tuning["trials"]:
        best = chosen.get((trial["variant"], trial["case"])) == trial["values"]
        values = ", ".join(f"{k} = {v}" for k, v in trial["values"].items())
        rows.append(
            [
                *([trial["case"]] if len(results.cases) > 1 else []),
                trial["variant"],
                values,
                _score(trial, description["maximize"]),
                "chosen" if best else "",
            ]
        )
    head = ["method", "values", "score", ""]
    page.table(["model", *head] if len(results.cases) > 1 else head, rows)


def _score(trial: dict[str, Any], maximize: bool) -> str:
    """Value of the metric in a trial, whose score is negative where smaller is better."""
    if not trial.get("made", True):  # older studies do not say
        return "not made yet"
    score = trial["score"]
    return "diverged or failed" if score is None else f"{score if maximize else -score:.4f}"


def _settings(results: Any) -> list[list[str]]:
    description = results.description
    rows = [[name, _shown(value)] for name, value in description["settings"].items()]
    rows += [[f"method {v['name']}", v["feedback"]] for v in description["variants"]]
    rows.append(["seeds", ", ".join(map(str, description["seeds"]))])
    store = Store(results.directory)
    sizes = {
        run["case"]: run.get("parameters")
        for run in results.runs
        if run.get("feedback") in (None, "backprop") and "parameters" in run
    }
    rows += [[f"weights of {case}", f"{count:,}"] for case, count in sizes.items()]
    task = read_json(store.file("tasks", results.runs[0]["name"])) if results.runs else None
    if task is not None and task["files"]:
        rows.append(["files", ", ".join(sorted(set(task["files"].values())))])
    return rows


def _shown(value: Any) -> str:
    """Setting in readable form, without the parts that only other processes need."""
    if isinstance(value, dict):
        if "<function>" in value:
            keywords = value.get("keywords") or {}
            inner = ", ".join(f"{k}={_shown(v)}" for k, v in keywords.items())
            return f"{value['<function>'].rpartition(':')[2]}({inner})"
        if "<keras>" in value:
            config = value["<keras>"]
            options = {k: v for k, v in config["config"].items() if v not in (None, False)}
            inner = ", ".join(f"{k}={_shown(v)}" for k, v in options.items())
            return f"{config['class_name']}({inner})"
        if "class_name" in value:
            return f"{value['class_name']}({_shown(value.get('config', {}))})"
    return value if isinstance(value, str) else json.dumps(value)


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


class _Html:
    """Builder of an HTML page that contains its style and figures."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.name = ""

    def title(self, text: str, sentence: str) -> None:
        self.name = html.escape(text)
        self.parts.append(f"<h1>{self.name}</h1>\n<p>{html.escape(sentence)}</p>")

    def heading(self, text: str) -> None:
        self.parts.append(f"<h2>{html.escape(text)}</h2>")

    def note(self, text: str) -> None:
        self.parts.append(f'<p class="note">{html.escape(text)}</p>')

    def table(self, head: list[str], rows: list[list[str]], key: Any = None) -> None:
        def cells(row: list[str], tag: str) -> str:
            marked = []
            for cell in row:
                square = ""
                if tag == "td" and key and cell in key and cell == row[head.index("method")]:
                    square = f'<span class="key" style="background:{key[cell].colour}"></span>'
                marked.append(f"<{tag}>{square}{html.escape(cell)}</{tag}>")
            return f"<tr>{''.join(marked)}</tr>"

        body = "\n".join(cells(row, "td") for row in rows)
        kind = "numbers" if key else "words"
        self.parts.append(
            f'<div class="scroll"><table class="{kind}">\n<thead>{cells(head, "th")}</thead>\n'
            f"<tbody>\n{body}\n</tbody></table></div>"
        )

    def list(self, lines: list[str]) -> None:
        items = "\n".join(f"<li>{html.escape(line)}</li>" for line in lines)
        self.parts.append(f'<ul class="warnings">\n{items}\n</ul>')

    def figure(self, name: str, figure: Any, text: str) -> None:
        data = base64.b64encode(_png(figure)).decode()
        self.parts.append(
            f'<figure><img alt="{html.escape(name)}" src="data:image/png;base64,{data}">\n'
            f"<figcaption>{html.escape(text)}</figcaption></figure>"
        )

    def text(self) -> str:
        head = (
            f'<meta charset="utf-8"><title>{self.name}</title>\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<style>{_STYLE}</style>"
        )
        body = "\n".join(self.parts)
        page = f'<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>'
        return f"<!doctype html>\n{page}\n"


class _Markdown:
    """Builder of a Markdown page whose figures are files in a folder beside it.

    Args:
        file: File of the page.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.parts: list[str] = []

    def title(self, text: str, sentence: str) -> None:
        self.parts += [f"# {text}", sentence]

    def heading(self, text: str) -> None:
        self.parts.append(f"## {text}")

    def note(self, text: str) -> None:
        self.parts.append(text)

    def table(self, head: list[str], rows: list[list[str]], key: Any = None) -> None:
        lines = [head, ["---"] * len(head), *rows]
        shown = ("| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines)
        self.parts.append("\n".join(shown))

    def list(self, lines: list[str]) -> None:
        self.parts.append("\n".join(f"- {line}" for line in lines))

    def figure(self, name: str, figure: Any, text: str) -> None:
        folder = self.file.with_suffix("")
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.png").write_bytes(_png(figure))
        self.parts.append(f"![{text}]({folder.name}/{name}.png)\n\n{text}")

    def text(self) -> str:
        return "\n\n".join(self.parts) + "\n"
