"""Refusals of the engine, in calls and settings: the code, the remedy, and no effect on other sections."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tests.engine.serving import RATE, SPEC, noise, play, serving, sound_messages, start_of

from segue_music.plan import Lyrics
from segue_renderer.registry import make_backend
from segue_runtime import errors
from segue_runtime.settings import load

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.conftest import Checkpoint


REFUSED: dict[str, tuple[Any, tuple[Any, ...], grpc.StatusCode, type[errors.SegueError]]] = {
    "another rate": (
        start_of(conditioning_frames=4000),
        tuple(sound_messages("conditioning", noise(4000 / RATE), 48_000)),
        grpc.StatusCode.INVALID_ARGUMENT,
        errors.InvalidAudio,
    ),
    "other channels": (
        start_of(conditioning_frames=4000),
        tuple(sound_messages("conditioning", noise(4000 / RATE, 2))),
        grpc.StatusCode.INVALID_ARGUMENT,
        errors.InvalidAudio,
    ),
    "no length": (start_of(replace(SPEC, frames=0)), (), grpc.StatusCode.INVALID_ARGUMENT, errors.InvalidField),
    "stems": (start_of(stems=True), (), grpc.StatusCode.INVALID_ARGUMENT, errors.OptionNotSupported),
    "notes": (start_of(notes=True), (), grpc.StatusCode.INVALID_ARGUMENT, errors.OptionNotSupported),
    "a guide": (start_of(guide_frames=9), (), grpc.StatusCode.INVALID_ARGUMENT, errors.OptionNotSupported),
    "lyrics": (
        start_of(replace(SPEC, lyrics=Lyrics("la"))),
        (),
        grpc.StatusCode.INVALID_ARGUMENT,
        errors.OptionNotSupported,
    ),
    "endless lyrics": (
        start_of(replace(SPEC, lyrics=Lyrics("la " * 33_000))),
        (),
        grpc.StatusCode.INVALID_ARGUMENT,
        errors.InvalidField,
    ),
    "another model": (start_of(model="bark"), (), grpc.StatusCode.NOT_FOUND, errors.ModelNotFound),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_impossible_requests_are_refused(what: str, checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    start, more, code, kind = REFUSED[what]
    async with serving(checkpoints["mono"].folder, tmp_path) as (stub, _):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await play(stub, start, *more)
        assert (caught.value.code(), type(errors.from_rpc_error(caught.value))) == (code, kind)
        assert len((await play(stub, start_of())).samples) == RATE, "others are served"


SETTINGS: dict[str, tuple[dict[str, Any], type[errors.SegueError], str]] = {
    "no model": ({}, errors.ModelNotInstalled, "give the folder"),
    "no such GPU": ({"model": "x", "device": "cuda:7"}, errors.DeviceRequired, "not available; use cpu"),
    "an unknown device": ({"model": "x", "device": "tpu"}, errors.DeviceRequired, "use cpu"),
    "fp16 on the CPU": ({"model": "x", "device": "cpu", "precision": "fp16"}, errors.DeviceRequired, "bf16 or int8"),
}


@pytest.mark.parametrize("what", SETTINGS)
def test_impossible_settings_name_a_remedy(what: str, tmp_path: Path) -> None:
    given, kind, said = SETTINGS[what]
    with pytest.raises(kind, match=said):
        make_backend(
            load({"home": tmp_path, "renderer.backend": "musicgen", **_named(given)}, environ={}, folder=tmp_path)
        )


def _named(given: dict[str, Any]) -> dict[str, Any]:
    return {f"renderer.musicgen.{name}": value for name, value in given.items()}


async def test_more_slots_than_memory_are_refused_at_load(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    with pytest.raises(errors.OutOfMemory, match="do not fit"):
        async with serving(checkpoints["mono"].folder, tmp_path, slots=256, window=2_000_000, stride=900):
            pass
