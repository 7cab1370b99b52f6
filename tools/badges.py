"""Draw README's badges from the table of docs/compatibility.md, so that they need no network.

python tools/badges.py
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["TARGET", "badges"]

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "assets" / "badges"

_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{text}">
<title>{text}</title>
<rect width="{width}" height="20" rx="3" fill="#555"/>
<path d="M{left} 0h{edge}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{edge}z" fill="#3f51b5"/>
<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="{first}" y="14">{name}</text><text x="{second}" y="14">{value}</text>
</g>
</svg>
"""


def badges() -> dict[str, str]:
    """Return the badges of Python, Keras, TensorFlow and the licence, `{file name: SVG}`."""
    table = (ROOT / "docs" / "compatibility.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| (Python|Keras|TensorFlow) \| (.+) \|$", table, re.MULTILINE))
    rows = {name: value.replace(" to ", "–") for name, value in rows.items()}
    rows["Python"] = "–".join(rows["Python"].split(", ")[:: len(rows["Python"].split(", ")) - 1])
    return {
        f"{name.lower()}.svg": _badge(name, value)
        for name, value in {**rows, "licence": "Apache 2.0"}.items()
    }


def _badge(name: str, value: str) -> str:
    left, right = (round(6.6 * len(text) + 12) for text in (name, value))
    return _SVG.format(
        name=name,
        value=value,
        text=f"{name}: {value}",
        width=left + right,
        left=left,
        edge=right - 3,
        first=left / 2,
        second=left + right / 2,
    )


if __name__ == "__main__":
    TARGET.mkdir(parents=True, exist_ok=True)
    for file, content in badges().items():
        (TARGET / file).write_text(content, "utf-8")
