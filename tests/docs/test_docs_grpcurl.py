"""docs/grpcurl.md is correct: each command runs and prints what the page shows."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.docs.recipes import ROOT, Session, check, recipes_of
from tests.mesh.harness import Segued

from segue.analyzer.v1 import analyzer_pb2
from segue.composer.v1 import composer_pb2
from segue.mixer.v1 import mixer_pb2
from segue.planner.v1 import planner_pb2
from segue.renderer.v1 import pool_pb2, renderer_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = ROOT / "docs" / "grpcurl.md"
MESH = (composer_pb2, planner_pb2, renderer_pb2, pool_pb2, mixer_pb2, analyzer_pb2)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Yield the page's variables with the addresses of a mesh in one process, and of four roles."""
    roles = {"HERE": "all", "PLANNER": "planner", "RENDERER": "renderer", "MIXER": "mixer", "ANALYZER": "analyzer"}
    started = {variable: Segued(tmp_path / role, role=role) for variable, role in roles.items()}
    try:
        yield {variable: one.start().address for variable, one in started.items()}
    finally:
        for one in started.values():
            one.stop()


def test_there_is_a_recipe_for_every_call_of_every_service() -> None:
    commands = "\n".join(recipe.command for recipe in recipes_of(PAGE))
    for module in MESH:
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                assert f"{service.full_name}/{method.name}" in commands
    for method in ("Check", "List", "Watch"):
        assert f"grpc.health.v1.Health/{method}" in commands


@pytest.mark.reference("grpcurl")
def test_every_command_prints_what_the_page_shows(servers: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "shell"
    folder.mkdir()
    session = Session(folder, [str(Path(sys.executable).parent)], **servers)
    recipes = recipes_of(PAGE)
    assert len(recipes) > 30
    own = Path(sys.executable).parent
    has_buf = (own / "buf").exists() or shutil.which("buf")
    for recipe in recipes:
        if has_buf or not recipe.command.startswith("buf "):
            check(recipe, session.run(recipe.command))
    if not has_buf:
        pytest.skip("grpcurl's commands passed; buf's were not run: run `make setup-dev`")
