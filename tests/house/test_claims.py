"""The table of claims: each row has a status, leads to what it says, and names a command."""

import re
from pathlib import Path

import pytest
import test_documentation as documentation

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "claims.md"
STATUSES = {"reproduced", "in kind", "not found", "script only", "missing"}


def rows(text):
    """Claim, status, result and command of every row below a head of these columns."""
    tables = re.findall(r"^\| claim.*\n\|[-| ]+\n((?:\|.*\n)+)", text, re.M)
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for table in tables
        for line in table.splitlines()
    ]


def script(command):
    """The file that a command runs, and its text with that of what it imports for its flags."""
    module = re.match(r"python -m ((?:examples|pytest|benchmarks)\S*) ?(\S*)", command)
    assert module, command
    name, first = module.groups()
    if name == "pytest":
        return ROOT / first, ""
    file = ROOT.joinpath(*name.split(".")).with_suffix(".py")
    beside = [file, *file.parent.glob("*.py"), *(ROOT / "examples").glob("*.py")]
    return file, "".join(path.read_text("utf-8") for path in beside if path.is_file())


def problems(page):
    """What is wrong with the rows of a page."""
    dead = set(documentation.dead_links(page))
    for claim, status, result, command in rows(page.read_text("utf-8")):
        links = re.findall(r"\]\(([^)\s]+)\)", result)
        if status not in STATUSES:
            yield f"{claim}: no status: {status!r}"
        if not links or dead.intersection(links):
            yield f"{claim}: no link, or dead ones: {links}"
        if "results/" in result and not all("#" in link for link in links if "results" in link):
            yield f"{claim}: a link without a section"
        if status in ("reproduced", "in kind", "not found") and not (
            "n = " in result or "test" in command
        ):
            yield f"{claim}: does not say how often it was measured"
        if status == "missing":
            if command:
                yield f"{claim}: a command for what is missing"
            continue
        file, text = script(command.strip("`"))
        if not file.is_file():
            yield f"{claim}: no such file: {file}"
        for flag in re.findall(r"--[\w-]+", command):
            field = flag[2:].replace("-", "_")  # some flags are the fields of a dataclass
            if f'"{flag}"' not in text and not re.search(rf"^    {field}: ", text, re.M):
                yield f"{claim}: {file.name} does not know {flag}"


def test_rows():
    assert len(rows(PAGE.read_text("utf-8"))) > 40
    assert not list(problems(PAGE))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("| a | done | n = 1 ([a](#claims)) | `python -m examples.quickstart` |", "no status"),
        ("| a | in kind | n = 1 ([a](#b)) | `python -m examples.quickstart` |", "dead ones"),
        ("| a | in kind | ([a](#claims)) | `python -m examples.quickstart` |", "how often"),
        ("| a | in kind | n = 1 ([a](#claims)) | `python -m examples.nothing` |", "no such file"),
        (
            "| a | in kind | n = 1 ([a](#claims)) | `python -m examples.quickstart --x` |",
            "does not know --x",
        ),
        ("| a | missing | ([a](#claims)) | `python -m examples.quickstart` |", "a command"),
    ],
)
def test_poor_rows_are_found(row, problem, tmp_path):
    page = tmp_path / "page.md"
    head = "# Claims\n\n| claim | status | what came out | command |\n|---|---|---|---|\n"
    page.write_text(f"{head}{row}\n", "utf-8")
    assert any(problem in found for found in problems(page))
