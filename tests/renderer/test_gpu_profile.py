"""The compose file's profile `gpu`, by parsing: a device, the engine, and a model from the host's folder."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from segue_runtime.settings import load

ROOT = Path(__file__).parents[2]
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def interpolated(value: str, **given: str) -> str:
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: given.get(found[1], found[2]), value)


def test_the_profile_reserves_a_gpu_and_plays_the_model_of_the_hosts_folder(tmp_path: Path) -> None:
    service = SERVICES["renderer-gpu"]
    assert service["profiles"] == ["gpu"]
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "device_ids": ["${SEGUE_GPU:-0}"], "capabilities": ["gpu"]}
    (volume,) = service["volumes"]
    assert interpolated(volume) == "./models:/models:ro"
    environ = {key: interpolated(value, SEGUE_RENDERER="renderer-gpu") for key, value in service["environment"].items()}
    settings = load({}, environ=environ, folder=tmp_path)
    renderer = settings.renderer
    assert renderer.backend == "musicgen"
    assert (renderer.musicgen.model, renderer.musicgen.device) == ("musicgen-small", "cuda")
    assert settings.model_folder == Path("/models")
    assert renderer.addresses == ("renderer-gpu:7302",)
    assert service["build"]["dockerfile"] == "services/renderer/Dockerfile.cuda"
    image = (ROOT / service["build"]["dockerfile"]).read_text()
    assert re.findall(r"--extra (\S+)", image) == ["musicgen"]
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in image


def test_the_image_of_diffusion_models_has_their_extra_and_serves_their_backend() -> None:
    image = (ROOT / "services/renderer/Dockerfile.diffusion").read_text()
    assert re.findall(r"--extra (\S+)", image) == ["diffusion"]
    assert "-f services/renderer/Dockerfile.diffusion" in image
    command = re.findall(r"^CMD (\[.*\])$", image, re.MULTILINE)[-1]
    assert json.loads(command) == ["segued", "serve", "--role", "renderer", "--renderer", "diffusion"]


def test_without_the_profile_the_band_is_found_where_it_was() -> None:
    assert "profiles" not in SERVICES["renderer"]
    for name in ("gateway", "conductor"):
        assert interpolated(SERVICES[name]["environment"]["SEGUE_RENDERER_ADDRESSES"]) == "renderer:7302"
