"""A brief gives the same plan in every process: hash seed, locale, time zone and Python version do not matter."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from segue_music.plan import Brief
from segue_planner.planner import Planner

ROOT = Path(__file__).parents[2]
PACKAGES = ("gen", "libs", "services/planner")
TABLE = tomllib.loads((Path(__file__).parent / "prompts.toml").read_text(encoding="utf-8"))
# Some of the letters and emoji are newer than the Unicode tables of some Python versions.
PROMPTS = (
    "sad piano waltz in F# minor, 84 bpm, two minutes, no drums, big ending", "jazz", "techno loop, 16 bars",
    "pop ballad, gradually speeds up, 3 minutes", "грустное пианино", "悲しいピアノ", "İstanbul'da caz, 90 bpm",
    "\U0001fae8 trembling \U0001fa77 ballad \u0ece \U00011f51\U00011f52 bpm", "a\u0301\u0327 e\u0301tude \u2ffc",
    "reggae with a horn section, 7 minutes", "\x1b[31mred\u202e metal, key change, half-time chorus",
    *(row["text"] for row in TABLE["rows"]),
)  # fmt: skip
PROGRAM = """
import json, sys
from segue_music.plan import Brief
from segue_planner.planner import Planner
prompts = json.load(sys.stdin)
print(json.dumps([Planner(Brief(prompt=prompt)).plan().digest for prompt in prompts]))
"""
# gRPC's compiled module fits one Python version only. The planner needs only the names of its status codes.
GRPC_STUB = """
import enum, sys, types
sys.modules["grpc"] = grpc = types.ModuleType("grpc")
names = "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED "
names += "RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS "
names = (names + "UNAUTHENTICATED").split()
grpc.StatusCode = enum.Enum("StatusCode", {name: (number, name.lower()) for number, name in enumerate(names)})
"""


def digests(command: list[str], program: str = PROGRAM, **environment: str) -> list[str]:
    answer = subprocess.run(
        [*command, "-c", program], input=json.dumps(PROMPTS), env=os.environ | environment, capture_output=True,
        text=True, check=True, timeout=100,
    )  # fmt: skip
    found: list[str] = json.loads(answer.stdout)
    return found


@functools.cache
def here() -> list[str]:
    return [Planner(Brief(prompt=prompt)).plan().digest for prompt in PROMPTS]


@pytest.mark.parametrize(
    ("flags", "environment"),
    [
        ((), {"PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo", "LC_ALL": "C"}),
        (("-X", "utf8=0"), {"PYTHONHASHSEED": "77", "TZ": "America/Lima", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}),
        (("-O", "-X", "utf8=1"), {"PYTHONHASHSEED": "0", "LC_ALL": "tr_TR.UTF-8", "LANGUAGE": "tr"}),
    ],
    ids=["hash seed", "no UTF-8", "Turkish, optimised"],
)
def test_digests_do_not_depend_on_the_process(flags: tuple[str, ...], environment: dict[str, str]) -> None:
    assert digests([sys.executable, *flags], **environment) == here()


@functools.cache
def other_pythons() -> dict[str, str]:
    """Return the interpreters of other Python versions on this machine, by version."""
    places = [shutil.which(f"python3.{minor}") or "" for minor in (11, 12, 13)]
    homes = (Path.home() / ".pyenv" / "versions", Path.home() / ".local" / "share" / "uv" / "python")
    places += [str(path) for home in homes for path in sorted(home.glob("*3.1[123]*/bin/python3"))]
    found: dict[str, str] = {}
    ask = "import sys, tomllib, unicodedata; print('%d.%d' % sys.version_info[:2])"
    for place in filter(None, places):
        answer = subprocess.run([place, "-I", "-c", ask], capture_output=True, text=True, check=False, timeout=60)
        if answer.returncode == 0:
            found.setdefault(answer.stdout.strip(), place)
    found.pop(f"{sys.version_info[0]}.{sys.version_info[1]}", None)
    return found


@pytest.mark.parametrize("version", sorted({"3.11", "3.12", "3.13"} - {f"{sys.version_info[0]}.{sys.version_info[1]}"}))
def test_digests_do_not_depend_on_the_version_of_python(version: str) -> None:
    place = other_pythons().get(version)
    if place is None:
        pytest.skip(f"there is no other interpreter of version {version} here")
    # Packages installed for this Python also work in the other version, except modules compiled for one version.
    path = os.pathsep.join([*(str(ROOT / folder) for folder in PACKAGES), sysconfig.get_path("purelib")])
    assert digests([place, "-s"], GRPC_STUB + PROGRAM, PYTHONPATH=path, PYTHONDONTWRITEBYTECODE="1") == here()
