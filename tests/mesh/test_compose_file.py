"""docker-compose.yml without Docker: its commands, environments and health checks run as local processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import yaml
from tests.mesh.harness import free_port, hear, spec

from segue.composer.v1 import stream_pb2
from segue_client import Access, Client, SegueError
from segue_runtime.settings import load

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
TOKEN = "a token that make up would have written"
ROLE_TOKEN = "another-token-that-it-would-have-written"
MESH: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
ALWAYS: dict[str, dict[str, Any]] = {name: of for name, of in MESH["services"].items() if "profiles" not in of}
OWN_IMAGES = {name: of for name, of in MESH["services"].items() if "build" in of}


def interpolated(value: str) -> str:
    """Replace ${SEGUE_TOKEN:?…} and ${NAME:-default} as compose does; the file may need no other variable."""
    value = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)
    return re.sub(r"\$\{SEGUE_TOKEN:\?[^}]*\}", TOKEN, value)


@dataclass(frozen=True)
class Image:
    """The parts of a Dockerfile that matter at run time."""

    text: str

    @classmethod
    def of(cls, service: dict[str, Any]) -> Image:
        text = (ROOT / service["build"].get("dockerfile", "Dockerfile")).read_text()
        return cls(text.replace("$ROLE", service["build"].get("args", {}).get("ROLE", "all")))

    @property
    def environment(self) -> dict[str, str]:
        last = self.text.rpartition("\nFROM ")[2]
        lines = re.findall(r"^ENV (.*)$", last, re.MULTILINE)
        return dict(part.split("=", 1) for line in lines for part in shlex.split(line))

    def only(self, instruction: str) -> str:
        (found,) = re.findall(rf"^{instruction} (.*)$", self.text, re.MULTILINE)
        return str(found)


class Containers:
    """The services as processes: names are loopback, ports are free ones, volumes are folders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {self._port(name): free_port() for name in ALWAYS}
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    @staticmethod
    def _port(name: str) -> int:
        command = ALWAYS[name]["command"]
        host, _, port = command[command.index("--listen") + 1].rpartition(":")
        assert host == "0.0.0.0"  # noqa: S104 - inside a container
        return int(port)

    def here(self, value: str) -> str:
        """Replace the address of a service by one of this machine."""
        names = "|".join([*ALWAYS, re.escape("0.0.0.0"), re.escape("127.0.0.1")])  # noqa: S104
        return re.sub(rf"\b(?:{names}):(\d+)\b", lambda found: f"127.0.0.1:{self.ports[int(found[1])]}", value)

    def environment(self, name: str) -> dict[str, str]:
        service = ALWAYS[name]
        inside = {**Image.of(service).environment, **service["environment"]}
        mounts = dict(reversed(volume.split(":")) for volume in service.get("volumes", []))
        home = inside["SEGUE_HOME"]
        inside["SEGUE_HOME"] = str(self.folder / mounts.get(home, f"own-{name}"))
        inside.pop("PATH")
        (self.folder / "role-token").write_text(ROLE_TOKEN)
        (secret,) = service["secrets"]
        assert inside["SEGUE_POOL_TOKEN_FILE"] == f"/run/secrets/{secret}"
        inside["SEGUE_POOL_TOKEN_FILE"] = str(self.folder / secret)
        outside = {key: value for key, value in os.environ.items() if not key.startswith("SEGUE_")}
        return {**outside, **{key: self.here(interpolated(value)) for key, value in inside.items()}}

    def command(self, words: list[str]) -> list[str]:
        assert words[0] == "segued"
        return [sys.executable, "-m", "segued", *(self.here(word) for word in words[1:])]

    def start(self, name: str) -> None:
        log = (self.folder / f"{name}.log").open("ab")
        self.running[name] = subprocess.Popen(
            self.command(ALWAYS[name]["command"]),
            env=self.environment(name),
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=self.folder,
        )
        log.close()

    def wait_until_ready(self) -> None:
        for name, process in self.running.items():
            assert process.stdout is not None
            line = process.stdout.readline().decode()
            assert "ready on" in line, (name, (self.folder / f"{name}.log").read_text()[-3000:])

    def check_health(self, name: str) -> subprocess.CompletedProcess[str]:
        kind, *words = ALWAYS[name]["healthcheck"]["test"]
        assert kind == "CMD"
        return subprocess.run(
            self.command(words), env=self.environment(name), capture_output=True, text=True, timeout=60, check=False
        )

    def stop(self) -> dict[str, int]:
        for process in self.running.values():
            process.terminate()
        codes = {}
        for name, process in self.running.items():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(40)
            if process.poll() is None:
                process.kill()
            codes[name] = process.wait(10)
            assert process.stdout is not None
            process.stdout.close()
        return codes


@pytest.fixture
def containers(tmp_path: Path) -> Iterator[Containers]:
    found = Containers(tmp_path)
    for name in ALWAYS:
        found.start(name)
    try:
        found.wait_until_ready()
        yield found
    finally:
        found.stop()


@pytest.mark.timeout(240)
async def test_the_services_of_the_file_compose_a_piece_through_the_gateway(containers: Containers) -> None:
    published = ALWAYS["gateway"]["ports"]
    assert published == ["127.0.0.1:7300:7300"]
    address = containers.here("gateway:7300")

    for name in ALWAYS:
        answer = await asyncio.to_thread(containers.check_health, name)
        assert (answer.returncode, answer.stderr) == (0, ""), name
        assert "SERVING" in answer.stdout

    async with Client(Access(address), patience_s=0) as stranger:
        with pytest.raises(SegueError) as refused:
            await stranger.models()
        assert refused.value.code is grpc.StatusCode.UNAUTHENTICATED
    async with Client(Access(address, token=TOKEN), patience_s=10) as client:
        heard = await hear(client.compose(spec(seconds=8), audio=stream_pb2.AUDIO_SELECTION_DRAFT))
    assert heard.composition.plan.frames == 8 * heard.composition.plan.sample_rate
    assert len(heard.draft) == heard.composition.plan.frames * 8

    codes = await asyncio.to_thread(containers.stop)
    assert codes == dict.fromkeys(ALWAYS, 0)


def test_only_the_gateway_can_be_reached_from_outside_and_only_from_this_machine() -> None:
    for name, service in MESH["services"].items():
        ports = service.get("ports", [])
        assert all(port.startswith("127.0.0.1:") for port in ports), name
        assert bool(ports) == (name == "gateway"), name
        if name not in {
            "gateway",
            "ollama",
        }:  # ollama downloads its models, but cannot be reached from outside
            assert service["networks"] == ["inner"], name
    assert MESH["networks"]["inner"]["internal"] is True


def test_roles_that_keep_long_sound_in_files_have_a_disk_for_them_and_not_memory() -> None:
    for name in ("mixer", "analyzer", "conductor"):
        assert "/tmp" not in MESH["services"][name].get("tmpfs", []), name  # noqa: S108 - a container's own
        assert "scratch:/tmp" in MESH["services"][name]["volumes"], name
    assert "scratch" in MESH["volumes"]


def test_the_gateway_does_not_start_without_a_token() -> None:
    assert re.fullmatch(r"\$\{SEGUE_TOKEN:\?.+\}", ALWAYS["gateway"]["environment"]["SEGUE_SERVER_TOKEN"])


@pytest.mark.parametrize("name", sorted(OWN_IMAGES))
def test_an_image_is_small_and_its_process_nobody(name: str) -> None:
    service = OWN_IMAGES[name]
    image = Image.of(service)
    assert int(image.only("USER")) >= 1000
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    if name in ALWAYS:
        assert re.findall(r"--extra \"(\S+)\"", image.only("RUN uv")) == [name]
        assert image.environment["SEGUE_SERVER_ROLE"] == name
        words = re.search(r"CMD (\[.*\])", image.only("HEALTHCHECK"))
        assert words is not None
        assert yaml.safe_load(words[1]) == ["segued", "health"]
    pinned = re.search(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert pinned is not None
    assert f"uv=={pinned[1]}" in image.text


def test_an_image_has_every_package_that_the_project_builds() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for service in OWN_IMAGES.values():
        copied = re.findall(r"^COPY (?!--from)(.*)$", Image.of(service).text, re.MULTILINE)
        sources = {source for line in copied for source in line.split()[:-1]}
        for package in packages["packages"]:
            assert any(package == source or package.startswith(source + "/") for source in sources), package
            allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
            assert any(package.startswith(each) for each in allowed), package


def test_the_language_model_comes_with_a_profile_only_and_the_planner_finds_it(tmp_path: Path) -> None:
    model, fetched = MESH["services"]["ollama"], MESH["services"]["ollama-model"]
    assert model["profiles"] == fetched["profiles"] == ["ollama"]
    assert "ports" not in model
    assert re.fullmatch(r"ollama/ollama:[\d.]+", model["image"])
    assert fetched["image"] == model["image"]
    planner = ALWAYS["planner"]["environment"]
    found = load({}, environ={key: interpolated(value) for key, value in planner.items()}, folder=tmp_path).planner
    assert found.backend == "rules"
    assert found.ollama_url == "http://ollama:11434"
    assert fetched["command"] == ["pull", found.ollama_model]
    assert "inner" in model["networks"]
