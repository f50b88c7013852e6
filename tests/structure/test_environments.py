"""The audiocraft renderer's environment has a lock file of its own, which agrees with the project's."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / "services/renderer/audiocraft-environment"
EXTRAS = ("renderer", "all", "planner", "mixer", "analyzer", "conductor", "gateway", "client")
"""The extras of `segue` that the environment installs, with its tests."""


def packages(lock: Path) -> dict[str, Any]:
    return {each["name"]: each for each in tomllib.loads(lock.read_text())["package"]}


def requirements(package: dict[str, Any]) -> list[str]:
    """Return the requirements that are no extras, and those of the extras above."""
    marker = re.compile(rf"(extra == '({'|'.join(EXTRAS)})')?")
    found = [each for each in package["metadata"]["requires-dist"] if marker.fullmatch(each.get("marker", ""))]
    return sorted(f"{each['name']} {each.get('specifier', '')} {each.get('marker', '')}" for each in found)


def test_both_lock_files_have_one_torch_and_the_same_requirements_of_segue() -> None:
    ours, theirs = packages(ROOT / "uv.lock"), packages(ENVIRONMENT / "uv.lock")
    assert theirs["torch"]["version"] == ours["torch"]["version"], "change the environment's pyproject.toml: make lock"
    assert requirements(theirs["segue"]) == requirements(ours["segue"]), "make lock"


def test_the_image_installs_the_environment_with_the_uv_of_the_makefile() -> None:
    image = (ENVIRONMENT / "Dockerfile").read_text()
    pinned = re.search(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert pinned is not None
    assert f"uv=={pinned[1]}" in image
    assert f"--project {ENVIRONMENT.relative_to(ROOT)}" in image
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    copied = {source for line in re.findall(r"^COPY (?!--from)(.*)$", image, re.MULTILINE) for source in line.split()}
    assert all(any(package.startswith(source) for source in copied) for package in built["packages"])
