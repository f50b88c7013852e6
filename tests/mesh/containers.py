"""The services of docker-compose.yml as local processes: names are loopback, ports are free, volumes are folders."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from tests.mesh.harness import free_port

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
TOKEN = "a token that make up would have written"
ROLE_TOKEN = "another-token-that-it-would-have-written"
STORAGE_SECRET = "a_secret-that-make-up-cluster-would-have-written"
MESH: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = MESH["services"]
OWN_PORTS = {"redis": 6379, "s3": 7070}
"""Ports of the services that are not ours."""
READY_S = 60.0


def interpolated(value: str) -> str:
    """Replace variables as compose does with the .env of `make up-cluster`; the file may need no other one."""
    value = value.replace("${SEGUE_STORAGE_SECRET:-}", STORAGE_SECRET)
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


class Container:
    """One container of a service, as a process."""

    def __init__(self, service: str, number: int, others: Containers) -> None:
        self.of = SERVICES[service]
        self.service = service
        self.name = f"{service}-{number}"
        self.port = free_port()
        self._others = others
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def is_ours(self) -> bool:
        return "build" in self.of

    @property
    def inner_port(self) -> int:
        """The port at which it listens inside its network."""
        if not self.is_ours:
            return OWN_PORTS.get(self.service, 0)
        command = self.of["command"]
        host, _, port = command[command.index("--listen") + 1].rpartition(":")
        assert host == "0.0.0.0"  # noqa: S104 - inside a container
        return int(port)

    def here(self, value: str) -> str:
        """Replace addresses, and the folders of volumes, by those of this machine."""
        value = self._others.here(interpolated(value))
        value = re.sub(rf"\b(?:0\.0\.0\.0|127\.0\.0\.1):{self.inner_port}\b", f"127.0.0.1:{self.port}", value)
        value = re.sub(rf"^:{self.inner_port}$", f"127.0.0.1:{self.port}", value)
        volumes = self.volumes
        paths = "|".join(map(re.escape, volumes))
        return re.sub(rf"^({paths})(?=/|$)", lambda found: str(volumes[found[1]]), value) if paths else value

    @property
    def volumes(self) -> dict[str, Path]:
        """The folders that are its volumes: a named one is shared, another one is its own."""
        found = {}
        for volume in self.of.get("volumes", []):
            name, _, path = volume.rpartition(":")
            found[path] = self._others.folder / (f"volume-{name}" if name else f"{self.name}{path.replace('/', '-')}")
            found[path].mkdir(exist_ok=True)
        return found

    def environment(self) -> dict[str, str]:
        given = self.of.get("environment", {})
        outside = {key: value for key, value in os.environ.items() if not key.startswith("SEGUE_")}
        if not self.is_ours:
            return outside | {key: self.here(value) for key, value in given.items()}
        inside = {**Image.of(self.of).environment, **given}
        inside.pop("PATH")
        (secret,) = self.of["secrets"]
        assert inside["SEGUE_POOL_TOKEN_FILE"] == f"/run/secrets/{secret}"
        (self._others.folder / secret).write_text(ROLE_TOKEN)
        found = {key: self.here(value) for key, value in inside.items()}
        if inside["SEGUE_HOME"] not in self.volumes:
            found["SEGUE_HOME"] = str(self._others.folder / f"{self.name}-home")
        return outside | found | {"SEGUE_POOL_TOKEN_FILE": str(self._others.folder / secret)}

    def command(self, words: Sequence[str]) -> list[str]:
        found = [self.here(word) for word in words]
        if self.is_ours:
            assert found[0] == "segued"
            return [sys.executable, "-m", *found]
        if found[0] == "redis-server":
            return [*found, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.volumes["/data"])]
        if found[0] == "redis-cli":
            return [found[0], "-p", str(self.port), *found[1:]]
        return found

    def start(self) -> None:
        words: list[str] = self.of.get("entrypoint") or self.of["command"]
        if self.of.get("image", "").startswith("versity/versitygw:") and "entrypoint" not in self.of:
            words = ["versitygw", *words]  # the entry point of the image
        with (self._others.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(words),
                env=self.environment(),
                stdout=subprocess.PIPE if self.is_ours else log,
                stderr=log,
                cwd=self._others.folder,
                start_new_session=True,
            )
        if "entrypoint" in self.of:
            assert self.process.wait(30) == 0

    def wait_until_ready(self) -> None:
        assert self.process is not None
        if self.is_ours:
            assert self.process.stdout is not None
            line = self.process.stdout.readline().decode()
            assert "ready on" in line, (self.name, (self._others.folder / f"{self.name}.log").read_text()[-3000:])
        elif "healthcheck" in self.of:
            end = time.monotonic() + READY_S
            while self.check_health().returncode:
                assert self.process.poll() is None, self.name
                assert time.monotonic() < end, self.name
                time.sleep(0.05)

    def check_health(self) -> subprocess.CompletedProcess[str]:
        kind, *words = self.of["healthcheck"]["test"]
        assert kind == "CMD"
        return subprocess.run(
            self.command(words), env=self.environment(), capture_output=True, text=True, timeout=60, check=False
        )

    def stop(self) -> int:
        """End the process as `docker stop` does; return its exit code."""
        assert self.process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(40)
        if self.process.poll() is None:
            self.process.kill()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return self.process.wait(10)


class Containers:
    """Some services, and those that they depend on."""

    def __init__(self, folder: Path, services: Sequence[str]) -> None:
        self.folder = folder
        self.all: list[Container] = []
        for name in services:
            self._add(name)

    def _add(self, service: str) -> None:
        of = SERVICES[service]
        for needed in of.get("depends_on", []):
            self._add(needed)
        if not self.of(service):
            num_replicas = of.get("deploy", {}).get("replicas", 1)
            self.all += [Container(service, number + 1, self) for number in range(num_replicas)]

    def of(self, service: str) -> list[Container]:
        return [each for each in self.all if each.service == service]

    def here(self, value: str) -> str:
        """Replace the address of a service by those of its containers, as the resolution of its name does."""

        def addresses(found: re.Match[str]) -> str:
            return ",".join(f"127.0.0.1:{each.port}" for each in self.of(found[1]) if each.inner_port == int(found[2]))

        names = "|".join(sorted({re.escape(each.service) for each in self.all}, key=len, reverse=True))
        return re.sub(rf"(?<![\w-])({names}):(\d+)\b", addresses, value)

    def start(self) -> None:
        for each in self.all:
            each.start()
            if not each.is_ours:
                each.wait_until_ready()
        for each in self.all:
            if each.is_ours:
                each.wait_until_ready()

    def stop(self) -> dict[str, int]:
        """End all, and return the exit codes of ours."""
        running = [each for each in self.all if each.process is not None]
        codes: dict[str, int] = {}
        for ours in (True, False):
            for each in running:
                if each.is_ours is ours and each.process is not None:
                    each.process.terminate()
            codes |= {each.name: each.stop() for each in running if each.is_ours is ours}
        return {each.name: codes[each.name] for each in running if each.is_ours}
