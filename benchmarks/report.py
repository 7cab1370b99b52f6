"""Print tables and draw a figure from the files that the benchmarks have written.

python benchmarks/report.py results/bench

`make bench` and `make bench-quick` run this script at the end.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from files import markdown

Rows = list[dict[str, Any]]


def read(directory: Path, kind: str) -> Rows:
    """Read the rows of all JSON files in a directory whose names start with `kind`."""
    found = sorted(directory.glob(f"{kind}*.json"))
    return [row for path in found for row in json.loads(path.read_text())["rows"]]


def table(times: Rows, memory: Rows) -> str:
    """Return a Markdown table with a row per method and four columns per network.

    Times are ratios to stock Keras, with the ratio of processor time in parentheses.

    Args:
        times: Rows of `step_time.py`.
        memory: Rows of `memory.py`; methods without such a row get a dash.
    """
    names = list(dict.fromkeys(row["model"] for row in times))
    time = {(row["model"], row["mode"], row["method"]): row for row in times}
    peak = {(row["model"], row["method"]): f"{row['peak_ratio']:.2f}" for row in memory}
    columns = ("function", "operations", "memory")
    head = ["method", *(text for n in names for text in (f"{n}: `fit`", *columns))]
    lines = []
    for method in dict.fromkeys(row["method"] for row in times):
        cells = [f"`{method}`"]
        for name in names:
            rows = [time.get((name, mode, method)) for mode in ("fit", "function")]
            cells += [_time(row, method) if row else "–" for row in rows]
            cells += [f"{rows[0]['flops_ratio']:.2f}" if rows[0] else "–"]
            cells += [peak.get((name, method), "–")]
        lines.append(cells)
    return markdown(head, lines)


def _time(row: dict[str, Any], method: str) -> str:
    if method == "stock":
        return f"{row['milliseconds']:.1f} ms"
    return f"{row['time_ratio']:.2f} ({row['processor_ratio']:.2f})"


def phases(rows: Rows) -> str:
    """Return a Markdown table of `phase_time.py`: steps of phases relative to the reference."""
    return markdown(
        ("network", "phase", "ms per step", "time", "operations"),
        (
            (
                row["model"],
                row["phase"],
                f"{row['milliseconds']:.2f}",
                f"{row['time_ratio']:.2f} ({row['processor_ratio']:.2f})",
                f"{row['flops_ratio']:.2f}",
            )
            for row in rows
        ),
    )


def spikes(rows: Rows) -> str:
    """Return a Markdown table of `spiking.py`: speed of simulations with and without XLA."""
    return markdown(
        ("simulation", "XLA", "s", "simulated per second", "compile s"),
        (
            (
                row["phase"],
                "yes" if row["xla"] else "no",
                f"{row['seconds']:.2f}",
                f"{row['simulated_a_second']:,.0f}",
                f"{row['compile_seconds']:.1f}",
            )
            for row in rows
        ),
    )


def compiling(times: Rows) -> str:
    """Return a Markdown table of the time of tracing and compiling, in seconds.

    This is the time of the first step of `fit` minus that of a later step.
    """
    rows = [row for row in times if row["mode"] == "fit" and "compile_seconds" in row]
    names = list(dict.fromkeys(row["model"] for row in rows))
    seconds = {(row["model"], row["method"]): f"{row['compile_seconds']:.1f}" for row in rows}
    methods = dict.fromkeys(row["method"] for row in rows)
    return markdown(
        ("method", *names),
        ((f"`{method}`", *(seconds.get((n, method), "–") for n in names)) for method in methods),
    )


def parts(rows: Rows) -> str:
    """Return a Markdown table of `ablation.py`: steps without a part relative to the whole step."""
    names = list(dict.fromkeys(row["model"] for row in rows))
    ratios = {(row["model"], row["variant"]): row for row in rows}

    def cell(name: str, variant: str) -> str:
        row = ratios.get((name, variant))
        if row is None:
            return "–"
        low, high = row["processor_ratio_range"]
        return f"{row['processor_ratio']:.2f} ({low:.2f}-{high:.2f})"

    variants = dict.fromkeys(row["variant"] for row in rows)
    return markdown(("step", *names), ((v, *(cell(n, v) for n in names)) for v in variants))


def draw(times: Rows, rounds: int, path: Path) -> None:
    """Draw processor time and operations of each method, with a panel per network.

    Args:
        times: Rows of `step_time.py`.
        rounds: Number of rounds, for the caption.
        path: File of the figure.
    """
    from tf_alignment.plots.style import caption, new_figure, save

    shown = [row for row in times if row["mode"] == "fit" and row["method"] != "stock"]
    names = list(dict.fromkeys(row["model"] for row in shown))
    columns = min(2, len(names))
    figure, axes = new_figure(-(-len(names) // columns), columns)
    for panel in axes.flat[len(names) :]:
        panel.remove()
    for panel, name in zip(axes.flat, names, strict=False):
        rows = [row for row in shown if row["model"] == name]
        places = range(len(rows))
        panel.bar(places, [row["processor_ratio"] for row in rows], label="processor time")
        panel.plot(places, [row["flops_ratio"] for row in rows], "k_", ms=10, label="operations")
        panel.axhline(1.0, color="gray", lw=0.5)
        panel.set_xticks(places, [row["method"] for row in rows], rotation=90)
        panel.set_title(name, fontsize=10)
        panel.set_ylabel("over stock Keras")
        panel.grid(visible=False, axis="x")
        panel.set_axisbelow(True)
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=2, fontsize=8)
    caption(figure, f"processor time: median of {rounds} rounds")
    save(figure, path)


def main() -> None:
    """Print the tables, and write the figure to the directory of the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="where the JSON files are")
    directory = parser.parse_args().directory
    times = read(directory, "step_time")
    for name in sorted(
        {json.loads(p.read_text()).get("processor", "unknown") for p in directory.glob("*.json")}
    ):
        print(f"Processor: {name}")
    print("A training step: time over stock Keras' (of processor time), operations, peak memory\n")
    print(table(times, read(directory, "memory")))
    print(f"\nTracing and compiling, seconds\n\n{compiling(times)}")
    for title, kind in (
        ("With `ta.optimizers.SGD`, over stock Keras with Keras' SGD", "fused_sgd"),
        ("In mixed_bfloat16", "bfloat16"),
    ):
        if read(directory, kind):
            print(f"\n{title}\n\n{table(read(directory, kind), [])}")
    for title, kind, shown in (
        ("A step of a phase over two forward and one backward pass", "phase_time", phases),
        ("Simulated spikes", "spiking", spikes),
        ("Processor time of a step, over the whole step", "ablation", parts),
    ):
        rows = read(directory, kind)
        if rows:
            print(f"\n{title}\n\n{shown(rows)}")
    for row in read(directory, "import_time"):
        print(
            f"\n{row['what']}: {row['seconds']:.3f} s; of processor time "
            f"{row['processor_seconds']:.3f} s, limit {row['limit']} s"
        )
    rounds = json.loads((directory / "step_time.json").read_text())["rounds"]
    draw(times, rounds, directory / "step_time.png")
    print(f"\nFigure: {directory / 'step_time.png'}")


if __name__ == "__main__":
    main()
