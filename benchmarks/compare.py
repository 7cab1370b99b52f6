"""Hold what `make bench-quick` measured against kept numbers, and fail where it is slower.

    python benchmarks/compare.py results/bench-quick
    python benchmarks/compare.py results/bench-quick --keep

Compared are ratios of processor time to stock Keras in the same rounds, of a training step and of
the phases. A ratio has become worse if it lies above the kept one by more than the spread that both
showed from round to round, and by more than 5 %. Times themselves belong to a processor and are not
compared; between two processors ratios differ too, and the answer says when they are two.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import files

KEPT = Path(__file__).with_name("kept.json")
LEAST = 0.05  # differences below this part of a ratio are none
Kept = dict[str, dict[str, Any]]


def ratios(directory: Path) -> Kept:
    """`{what: {"ratio": r, "range": [low, high]}}` of the files that the benchmarks wrote.

    Args:
        directory: Where `step_time.json` and `phase_time.json` are.
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
    """What has become slower beyond the spread of both, with the numbers.

    Args:
        kept: Of `ratios`, earlier.
        found: Of `ratios`, now.
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
    """Compare, or keep."""
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
