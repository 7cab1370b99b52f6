"""Print the coverage of modules that the tests do not execute completely, and fail if it is low.

    python tools/coverage_table.py build/coverage.json

A module must reach `MINIMUM` percent, or the lower bound that `JUSTIFIED` gives with a reason.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

__all__ = ["JUSTIFIED", "MINIMUM", "failures", "table"]

MINIMUM = 90.0
JUSTIFIED: dict[str, tuple[float, str]] = {
    "tf_alignment/__init__.py": (85.0, "messages to interpreters without TensorFlow"),
}


def table(percent: Mapping[str, float]) -> str:
    """Return a table of the modules that are not executed completely, the lowest coverage first.

    Args:
        percent: `{file of the module: executed lines in percent}`.
    """
    rows = sorted((value, name) for name, value in percent.items() if value < 100)
    lines = [f"{value:6.1f} %  {name}" for value, name in rows]
    return "\n".join([*lines, f"100.0 %  the other {len(percent) - len(rows)} modules"])


def failures(percent: Mapping[str, float]) -> list[str]:
    """Return a sentence per module that is below its bound, or justified without need.

    Args:
        percent: `{file of the module: executed lines in percent}`.
    """
    found = []
    for name, value in percent.items():
        bound, why = JUSTIFIED.get(name, (MINIMUM, ""))
        if value < bound:
            found.append(f"{name}: {value:.1f} % is below {bound:g} %.")
        elif why and value >= MINIMUM:
            found.append(f"{name}: {value:.1f} % needs no justification.")
    return found + [f"{name}: is no module." for name in JUSTIFIED if name not in percent]


def main() -> None:
    """Read the report, print the table, and exit with the failures if there are any."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path, help="what `coverage json` writes")
    files = json.loads(parser.parse_args().report.read_text())["files"]
    percent = {name: file["summary"]["percent_covered"] for name, file in files.items()}
    print(table(percent))
    found = failures(percent)
    if found:
        raise SystemExit("\n".join(["", *found]))


if __name__ == "__main__":
    main()
