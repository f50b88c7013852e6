"""What a home contains can be read by its owner only, also when the folders and the database were there before."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from tests.mesh.harness import embedded

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.only_shape("embedded", "it is about the files of a home")


def rights(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.skipif(sys.platform == "win32", reason="rights of POSIX")
@pytest.mark.parametrize("existing", [False, True])
async def test_other_users_cannot_read_the_files_of_a_home(tmp_path: Path, *, existing: bool) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    if existing:
        async with embedded(home):
            pass
        home.joinpath("segue.db").chmod(0o644)
        home.joinpath("artifacts").chmod(0o755)
    async with embedded(home):
        # Nobody else can pass the folder of the artifacts, whatever the rights of the files below.
        assert rights(home / "artifacts") == 0o700
        for name in ("segue.db", "segue.db-wal", "segue.db-shm"):
            assert rights(home / name) == 0o600, name
