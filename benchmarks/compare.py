"""Compare the numbers of `make bench-quick` with stored numbers, and fail if a ratio is worse.

    python benchmarks/compare.py results/bench-quick
    python benchmarks/compare.py results/bench-quick --keep

The numbers are ratios of the processor time of a training step or of a phase to that of stock Keras
in the same round. A ratio has become worse if it exceeds the stored ratio by more than the spread
of both over the rounds, and by more than 5 %. Times depend on the processor and are not compared.
Ratios differ between processors too, and the output says if the processors are different.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import files

KEPT = Path(__file__).with_name("kept.json")
LEAST = 0.05  # differences below this fraction of a ratio are ignored
Kept = dict[str, dict[str, Any]]


def ratios(directory: Path) -> Kept:
    """Read the ratios of processor time from the files of the benchmarks.

    Args:
        directory: Directory of `step_time.json` and `phase_time.json`.

    Returns:
        `{"model, mode, method or phase": {"ratio": r, "range": [low, high]}}`.
    """
    found: Kept = {}
    for kind in ("step_time", "phase_time"):
        path = directory / f"{kind}.json"
        for row in json.loads(path.read_text())["rows"] if path.exists() else []:
            names = (row["model"], row.get("mode"), row.get("method", row.get("phase")))
            ratio = row["processor_ratio"]
            found[", ".join(name for name in names if name)] = {
                "ratio": ratio,
                "range": row.get("processor_ratio_range", [ratio, ratio]),
            }
    return found


def worse(kept: Kept, found: Kept) -> dict[str, str]:
    """Find the ratios that have become worse by more than the spread.

    Args:
        kept: Stored ratios, in the form of `ratios`.
        found: New ratios, in the form of `ratios`.

    Returns:
        `{name of the ratio: text with both ratios and the spread}`.
    """
    texts = {}
    for what, now in found.items():
        before = kept.get(what)
        if before is None:
            continue
        spread = max(
            before["range"][1] - before["ratio"],
            now["ratio"] - now["range"][0],
            LEAST * before["ratio"],
        )
        if now["ratio"] > before["ratio"] + spread:
            texts[what] = f"{now['ratio']:.2f}, kept {before['ratio']:.2f} (spread {spread:.2f})"
    return texts


def main() -> None:
    """Compare the new ratios with the stored ones, or store the new ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="where the JSON files are")
    parser.add_argument("--keep", action="store_true", help="keep these numbers instead")
    parser.add_argument("--kept", type=Path, default=KEPT, help="the file of kept numbers")
    arguments = parser.parse_args()
    found = ratios(arguments.directory)
    if arguments.keep:
        files.write(arguments.kept, {**files.circumstances(), "ratios": found})
        return
    if not arguments.kept.exists():
        print(f"No numbers are kept in {arguments.kept}; keep these with --keep.")
        return
    kept = json.loads(arguments.kept.read_text())
    if kept["processor"] != files.processor():
        print(f"Kept on another processor: {kept['processor']}; here: {files.processor()}")
    slower = worse(kept["ratios"], found)
    for what, text in slower.items():
        print(f"slower: {what}: {text}")
    print(f"{len(slower)} of {len(kept['ratios'].keys() & found.keys())} ratios are worse.")
    sys.exit(bool(slower))


if __name__ == "__main__":
    main()
