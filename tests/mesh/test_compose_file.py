"""docker-compose.yml without Docker: its commands, environments and health checks run as local processes."""

from __future__ import annotations

import asyncio
import re
import tomllib
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import yaml
from tests.mesh.containers import MESH, ROOT, SERVICES, TOKEN, Containers, Image, interpolated
from tests.mesh.harness import hear, spec

from segue.composer.v1 import composition_pb2, stream_pb2
from segue_client import Access, Client, SegueError
from segue_runtime.settings import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.only_shape("embedded", "it starts the services of the compose file")
ALWAYS: dict[str, dict[str, Any]] = {name: of for name, of in SERVICES.items() if "profiles" not in of}
OWN_IMAGES = {name: of for name, of in SERVICES.items() if "build" in of}
GATEWAYS = {"gateway": 7300, "gateway-1": 7310, "gateway-2": 7320}
"""The ports of this machine at which callers reach them."""


@pytest.fixture
def containers(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Containers]:
    found = Containers(tmp_path, request.param)
    try:
        found.start()
        yield found
    finally:
        found.stop()


async def check_health(containers: Containers) -> None:
    for each in containers.all:
        if "healthcheck" in each.of:
            answer = await asyncio.to_thread(each.check_health)
            assert (answer.returncode, answer.stderr) == (0, ""), each.name
            assert not each.is_ours or "SERVING" in answer.stdout


@pytest.mark.timeout(240)
@pytest.mark.parametrize("containers", [sorted(ALWAYS)], indirect=True, ids=["default"])
async def test_the_services_of_the_file_compose_a_piece_through_the_gateway(containers: Containers) -> None:
    address = containers.here("gateway:7300")
    await check_health(containers)
    async with Client(Access(address), patience_s=0) as stranger:
        with pytest.raises(SegueError) as refused:
            await stranger.models()
        assert refused.value.code is grpc.StatusCode.UNAUTHENTICATED
    async with Client(Access(address, token=TOKEN), patience_s=10) as client:
        heard = await hear(client.compose(spec(seconds=8), audio=stream_pb2.AUDIO_SELECTION_DRAFT))
    assert heard.composition.plan.frames == 8 * heard.composition.plan.sample_rate
    assert len(heard.draft) == heard.composition.plan.frames * 8

    codes = await asyncio.to_thread(containers.stop)
    assert codes == dict.fromkeys((f"{name}-1" for name in ALWAYS), 0)


@pytest.mark.timeout(240)
@pytest.mark.reference("redis-server", "redis-cli", "versitygw", "wget")
@pytest.mark.parametrize("containers", [["gateway-1", "gateway-2"]], indirect=True, ids=["cluster"])
async def test_the_profile_cluster_serves_a_piece_at_both_gateways(containers: Containers, tmp_path: Path) -> None:
    instances = {name: len(containers.of(name)) for name in SERVICES}
    assert {name for name, num in instances.items() if not num} == {
        "gateway", "conductor", "renderer", "renderer-gpu", "ollama", "ollama-model",
    }  # fmt: skip
    assert (instances["cluster-renderer"], instances["cluster-conductor"]) == (3, 2)
    await check_health(containers)
    one, two = (Access(containers.here(f"{name}:7300"), token=TOKEN) for name in ("gateway-1", "gateway-2"))
    async with Client(one, patience_s=10) as first, Client(two, patience_s=10) as second:
        created = await first.create(spec(seconds=8))
        heard = await hear(second.watch(created.name, audio=stream_pb2.AUDIO_SELECTION_DRAFT))
        assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
        assert len((await second.stats()).renderers) == 3
        for client in (first, second):
            (master,) = [each for each in heard.composition.outputs if each.name.endswith(".flac")]
            assert sum([len(block) async for block in client.read(master)]) == master.size_bytes
    # Only the storage has volumes that several containers see.
    shared = {path.name for path in tmp_path.glob("volume-*")}
    assert shared == {"volume-redis", "volume-objects", "volume-scratch"}
    assert not list(tmp_path.rglob("segue.db"))
    codes = await asyncio.to_thread(containers.stop)
    assert set(codes.values()) == {0}


def test_only_gateways_can_be_reached_from_outside_and_only_from_this_machine() -> None:
    for name, service in SERVICES.items():
        published = [f"127.0.0.1:{GATEWAYS[name]}:7300"] if name in GATEWAYS else []
        assert service.get("ports", []) == published, name
        if name == "s3-bucket":
            assert service["network_mode"] == "none"
        elif name not in {*GATEWAYS, "ollama"}:  # ollama downloads its models, but cannot be reached from outside
            assert service["networks"] == ["inner"], name
    assert MESH["networks"]["inner"]["internal"] is True


def test_roles_that_keep_long_sound_in_files_have_a_disk_for_them_and_not_memory() -> None:
    for name in ("mixer", "analyzer", "conductor"):
        assert "/tmp" not in MESH["services"][name].get("tmpfs", []), name  # noqa: S108 - a container's own
        assert "scratch:/tmp" in MESH["services"][name]["volumes"], name
    assert "scratch" in MESH["volumes"]
    assert "/tmp" in SERVICES["cluster-conductor"]["volumes"]  # noqa: S108 - the same, of each of them


@pytest.mark.parametrize("name", GATEWAYS)
def test_a_gateway_does_not_start_without_a_token(name: str) -> None:
    assert re.fullmatch(r"\$\{SEGUE_TOKEN:\?.+\}", SERVICES[name]["environment"]["SEGUE_SERVER_TOKEN"])


def test_foreign_images_are_named_without_a_registry_and_with_a_version() -> None:
    foreign = [service["image"] for service in SERVICES.values() if "image" in service]
    assert len(foreign) == 5
    assert all(re.fullmatch(r"[a-z]+(/[a-z]+)?:v?\d+\.\d+[\w.-]*", image) for image in foreign), foreign
    makefile = (ROOT / "Makefile").read_text()
    built = re.search(r"^VERSITYGW_VERSION := (\S+)$", makefile, re.MULTILINE)
    assert built is not None
    assert SERVICES["s3"]["image"] == f"versity/versitygw:v{built[1]}"  # the tests run on the same


@pytest.mark.parametrize("name", sorted(OWN_IMAGES))
def test_an_image_is_small_and_its_process_nobody(name: str) -> None:
    service = OWN_IMAGES[name]
    image = Image.of(service)
    assert int(image.only("USER")) >= 1000
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    if name != "renderer-gpu":
        role = service["build"]["args"]["ROLE"]
        assert role in name
        assert role == service["command"][service["command"].index("--role") + 1]
        assert re.findall(r"--extra \"(\S+)\"", image.only("RUN uv")) == [role]
        assert image.environment["SEGUE_SERVER_ROLE"] == role
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
