"""What a code host and an editor read: it is well-formed, and runs what CI runs."""

import json
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB = sorted((ROOT / ".github").rglob("*.yml"))


def test_the_workflow_runs_what_ci_runs():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    [job] = workflow["jobs"].values()
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


@pytest.mark.parametrize("file", GITHUB, ids=lambda file: file.stem)
def test_forms_are_well_formed(file):
    form = yaml.safe_load(file.read_text("utf-8"))
    if file.parent.name == "ISSUE_TEMPLATE" and file.stem != "config":
        assert {"name", "description", "body"} <= form.keys()
        kinds = {part["type"] for part in form["body"]}
        assert kinds <= {"input", "textarea", "dropdown", "checkboxes", "markdown"}
        names = [part["id"] for part in form["body"]]
        assert len(names) == len(set(names))


def test_the_container_makes_the_environment_that_make_uses():
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text("utf-8"))
    assert container["postCreateCommand"].startswith("make ")
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert f"\n{container['postCreateCommand'].split()[1]}:" in makefile
