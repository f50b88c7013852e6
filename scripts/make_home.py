"""Make the home of a release as a test fixture: tests/fixtures/home-VERSION.tar.xz and .json.

Usage, in the root of a checkout: .venv/bin/python scripts/make_home.py

The home contains one finished piece, one failed piece, and one that was running when its process was killed. The JSON
file records their names and the digests of what they must give. tests/mesh/test_home_0_1_0.py starts a server on it.

Compressed audio is almost as large as audio, so the pieces are as small as a piece of two sections can be: one second
at 22050 Hz. Each section is a loop, which has no tail. All pieces have the same plan and share their takes.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tarfile
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.mesh.harness import Heard, Segued, hear, sha256  # noqa: E402

from segue.composer.v1 import composition_pb2, spec_pb2, stream_pb2  # noqa: E402
from segue.music.v1 import music_pb2  # noqa: E402
from segue_client import Client, SegueError  # noqa: E402

FOLDER: Final = ROOT / "tests" / "fixtures"
BOTH: Final = stream_pb2.AUDIO_SELECTION_BOTH
TIME_LIMIT_S: Final = 20
KEPT_FOR: Final = "3650d"
"""The retention: the pieces must not expire before the tests of later releases."""


async def planned(client: Client) -> spec_pb2.CompositionSpec:
    """Return a spec with a plan of two short sections without tails."""
    brief = music_pb2.Brief(
        prompt="calm piano, 240 bpm, 2/4, C major, verse chorus", seed=3, sample_rate=22_050, kind=music_pb2.KIND_LOOP
    )
    brief.duration.FromNanoseconds(1_000_000_000)
    plan = (await client.plan(spec_pb2.CompositionSpec(brief=brief))).plan
    for section in plan.sections:
        section.spec.loop = True
    plan.digest = ""
    return spec_pb2.CompositionSpec(plan=plan)


async def make_finished(home: Path) -> tuple[spec_pb2.CompositionSpec, Heard]:
    """Compose a piece to its end."""
    server = Segued(home, "--store-retention", KEPT_FOR).start()
    try:
        async with Client(server.address) as client:
            spec = await planned(client)
            heard = await hear(client.compose(spec, audio=BOTH))
            assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
            server.terminate()
            return spec, heard
    finally:
        server.stop()


async def make_failed(home: Path, spec: spec_pb2.CompositionSpec) -> Heard:
    """Compose a piece whose time limit passes after its first join, so that a part of its draft is kept."""
    flags = ("--store-retention", KEPT_FOR)
    server = Segued(home, *flags).start(failpoints=f"conductor.after_join=sleep({TIME_LIMIT_S + 5}s)")
    limited = spec_pb2.CompositionSpec()
    limited.CopyFrom(spec)
    limited.time_limit.FromSeconds(TIME_LIMIT_S)
    heard = Heard()
    try:
        async with Client(server.address) as client:
            try:
                await hear(client.compose(limited, audio=BOTH), heard)
            except SegueError as error:
                assert error.reason == "TIME_LIMIT", error  # noqa: PT017 - not a test
            server.terminate()
            return heard
    finally:
        server.stop()


async def make_running(home: Path, spec: spec_pb2.CompositionSpec) -> str:
    """Begin a piece and kill the server after the first join; return the piece's name."""
    server = Segued(home, "--store-retention", KEPT_FOR).start(failpoints="conductor.after_join=kill")
    try:
        async with Client(server.address) as client:
            name = (await client.create(spec)).name
            assert await server.ended() == -9
            return name
    finally:
        server.stop()


def pack(home: Path, target: Path) -> None:
    """Write the store and the artifacts into an archive. The WAL stays: it is what the kill has left."""

    def cleaned(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if entry.name.endswith((".log", "-shm")):
            return None
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return entry

    with tarfile.open(target, "w:xz", preset=9) as archive:
        archive.add(home, "home", filter=cleaned)


async def main() -> None:
    """Make the fixture of this version."""
    version = metadata.version("segue")
    with tempfile.TemporaryDirectory(prefix="segue-home-") as folder:
        home = Path(folder) / "home"
        spec, finished = await make_finished(home)
        failed = await make_failed(home, spec)
        running = await make_running(home, spec)
        takes = {section.section_id: section.take for section in finished.composition.sections}
        expected = {
            "finished": {
                "name": finished.composition.name,
                "files": finished.digests(),
                "draft": sha256(finished.draft),
                "master": sha256(finished.master),
                "takes": takes,
            },
            "failed": {
                "name": failed.composition.name,
                "reason": "TIME_LIMIT",
                "message": failed.composition.error.message,
                "files": failed.digests(),
            },
            # The running piece has the plan of the finished one, and with it the same takes and draft.
            "running": {"name": running, "draft": sha256(finished.draft), "takes": takes},
        }
        FOLDER.mkdir(exist_ok=True)
        archive = FOLDER / f"home-{version}.tar.xz"
        pack(home, archive)
        (FOLDER / f"home-{version}.json").write_text(json.dumps(expected, indent=2) + "\n")
        print(f"{archive.relative_to(ROOT)}: {archive.stat().st_size:,} bytes")


if __name__ == "__main__":
    asyncio.run(main())
