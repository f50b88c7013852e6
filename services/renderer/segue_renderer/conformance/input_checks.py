"""Checks of neighbours' audio, guides, lyrics and hints: the renderer uses them, warns about them, or refuses them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import grpc
import numpy as np

from segue.audio.v1 import audio_pb2
from segue.music.v1 import music_pb2
from segue.renderer.v1 import renderer_pb2
from segue_music.plan import Continuity, LyricLine, Lyrics, SamplingHints
from segue_music.timing import ticks_per_bar
from segue_renderer.conformance import examples
from segue_renderer.conformance.check import Check
from segue_renderer.conformance.outcome import CheckSkipped, require
from segue_renderer.conformance.profile_checks import seconds
from segue_renderer.conformance.rendering import MIX
from segue_runtime import errors
from segue_runtime.rpc.chunks import cut

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_audio.arrays import Float32
    from segue_music.plan import SectionSpec
    from segue_renderer.conformance.rendering import Rendering
    from segue_renderer.conformance.target import Target

REFUSED: Final = (grpc.StatusCode.INVALID_ARGUMENT, "OPTION_NOT_SUPPORTED")
USUAL_SAMPLING: Final = ("temperature", "top_k", "top_p", "guidance")
"""What models with uses_sampling read that name nothing in sampling."""
TUNE: Final = (60, 64, 67, 72)


async def conditioning(target: Target) -> str:
    """The end of an earlier section is used, or named in a warning; models without conditioning refuse it."""
    profile = target.profile
    spec = replace(examples.section(), continuity=Continuity.TAIL)
    if not profile.HasField("conditioning"):
        start = target.start_of(spec, conditioning_frames=1024)
        return f"refused: {await target.require_refusal(target.call(start), *REFUSED)}"
    base = (await target.base()).samples()
    clip = base[-round(seconds(profile.conditioning) * target.sample_rate) :]
    start = target.start_of(spec, conditioning_frames=len(clip))
    messages = audio_messages("conditioning", clip, target.sample_rate)
    return await _applied(target, "conditioning", start, *messages)


async def following(target: Target) -> str:
    """The start of a later section is used, or named in a warning; models without following refuse it."""
    profile, spec = target.profile, examples.section()
    if not profile.HasField("following"):
        start = target.start_of(spec, following_frames=1024)
        return f"refused: {await target.require_refusal(target.call(start), *REFUSED)}"
    clip = (await target.base()).samples()[: round(seconds(profile.following) * target.sample_rate)]
    start = target.start_of(spec, following_frames=len(clip))
    return await _applied(target, "following", start, *audio_messages("following", clip, target.sample_rate))


async def guide_audio(target: Target) -> str:
    """A melody in audio is used, or named in a warning; models without this guide refuse it."""
    spec = examples.section()
    clip = tone(spec.frames / spec.sample_rate, target.sample_rate)
    start = target.start_of(spec, guide_frames=len(clip))
    if renderer_pb2.GUIDE_MELODY_AUDIO not in target.profile.guides:
        return f"refused: {await target.require_refusal(target.call(start), *REFUSED)}"
    return await _applied(target, "guide", start, *audio_messages("guide", clip, target.sample_rate))


async def guide_timbre(target: Target) -> str:
    """Audio whose sound is to be imitated is used, or named in a warning; models without this guide refuse it."""
    clip = tone(1.0, target.sample_rate)
    start = target.start_of(examples.section(), guide_frames=len(clip), guide_kind=renderer_pb2.GUIDE_TIMBRE_AUDIO)
    if renderer_pb2.GUIDE_TIMBRE_AUDIO not in target.profile.guides:
        return f"refused: {await target.require_refusal(target.call(start), *REFUSED)}"
    return await _applied(target, "guide", start, *audio_messages("guide", clip, target.sample_rate))


async def guide_notes(target: Target) -> str:
    """A melody in notes is used, or named in a warning; models without this guide refuse it."""
    quarter = ticks_per_bar(examples.METRE) // 4
    tune = [
        music_pb2.Note(
            layer=music_pb2.LAYER_KIND_LEAD, start_tick=index * quarter, ticks=quarter, pitch=pitch, velocity=90
        )
        for index, pitch in enumerate(TUNE)
    ]
    start = target.start_of(examples.section(), guide_notes=len(tune))
    if renderer_pb2.GUIDE_NOTES not in target.profile.guides:
        return f"refused: {await target.require_refusal(target.call(start), *REFUSED)}"
    return await _applied(
        target, "guide", start, renderer_pb2.RenderSectionRequest(notes=renderer_pb2.Notes(notes=tune))
    )


async def guide_band(target: Target) -> str:
    """The melody of the sketch band is used, or named in a warning; models that take no notes refuse it."""
    start = target.start_of(examples.section(), guide_band=True)
    if renderer_pb2.GUIDE_NOTES not in target.profile.guides:
        return f"refused: {await target.require_refusal(target.call(start), *REFUSED)}"
    return await _applied(target, "guide", start)


async def layer_tasks(target: Target) -> str:
    """Each declared task makes one layer as long as the section, and another mix is heard or warned about."""
    spec, found = examples.section(bars=1), []
    mix = (await target.render(target.start_of(spec))).samples()[: frames_of(spec, target)]
    for task in (renderer_pb2.LAYER_TASK_ADD, renderer_pb2.LAYER_TASK_EXTRACT):
        name = renderer_pb2.LayerTask.Name(task).removeprefix("LAYER_TASK_").lower()
        start = target.start_of(
            spec, layer_task=task, task_layer=music_pb2.LAYER_KIND_BASS, mix_frames=len(mix), overlap_frames=0
        )
        if task not in target.profile.layer_tasks:
            refused = await target.require_refusal(target.call(start), *REFUSED)
            found.append(f"{name} refused: {refused}")
            continue
        one, other = [
            await target.render(start, *audio_messages("mix", clip, target.sample_rate)) for clip in (mix, mix[::-1])
        ]
        require(one.layers == [MIX], f"{name}: layers {one.layers} came, not one layer alone")
        require(one.finished.frames == len(mix), f"{name}: it has {one.finished.frames} frames; the mix has {len(mix)}")
        warned = [code for code in one.warning_codes() if code.startswith("mix")]
        heard = one.content() != other.content()
        require(heard or warned, f"{name}: another mix gives the same bytes, and no warning says so")
        found.append(f"{name} {'heard the mix' if heard else f'warned: {warned[0]}'}")
    return ", ".join(found)


async def _applied(target: Target, what: str, start: renderer_pb2.RenderStart, *more: Any) -> str:
    """Render with an input; fail unless the result says that it was used, or a warning says that it was not."""
    rendering = await target.render(start, *more)
    warned = await _new_warnings(target, rendering)
    is_applied = getattr(rendering.finished, f"{what}_applied")
    require(is_applied or warned, "it was not used, and no warning says so")
    return "used" if is_applied else f"warned: {', '.join(warned)}"


async def _new_warnings(target: Target, rendering: Rendering) -> list[str]:
    """Return the codes of the warnings that the example section does not have."""
    plain = (await target.base()).warning_codes()
    return [code for code in rendering.warning_codes() if code not in plain]


async def sampling(target: Target) -> str:
    """Sampling hints are used, named in a warning, or refused."""
    hints = {"temperature": 0.9, "top_k": 50, "steps": 8}
    spec = examples.section(bars=1, sampling=SamplingHints(**hints))  # type: ignore[arg-type]  # each has its type
    read = (target.profile.sampling or USUAL_SAMPLING) if target.profile.uses_sampling else ()
    return await _hint(target, spec, used=set(hints) <= set(read))


async def lyrics(target: Target) -> str:
    """Lyrics are sung, or named in a warning; models that do not sing may refuse them."""
    language = (target.profile.lyric_languages or ["en"])[0]
    words = Lyrics("la la la", language, (LyricLine("la la la", 0, ticks_per_bar(examples.METRE)),))
    spec = examples.section(lyrics=words)
    if not target.profile.uses_lyrics:
        return await _hint(target, spec, used=False)
    return await _applied(target, "lyrics", target.start_of(spec))


async def negative_prompt(target: Target) -> str:
    """A negative prompt is used, named in a warning, or refused."""
    spec = examples.section(bars=1, negative_prompt="distorted guitars")
    return await _hint(target, spec, used=target.profile.uses_negative_prompt)


async def _hint(target: Target, spec: Any, *, used: bool) -> str:
    try:
        rendering = await target.render(target.start_of(spec))
    except grpc.aio.AioRpcError as error:
        refusal = errors.from_rpc_error(error)
        require(refusal.code is REFUSED[0] and not used, f"{refusal.code.name} {refusal.reason}: {refusal.message}")
        return f"refused: {refusal.reason}"
    warned = await _new_warnings(target, rendering)
    require(used or warned, "the profile does not use it, and no warning says so")
    return "used" if used else f"warned: {', '.join(warned)}"


async def announced(target: Target) -> str:
    """A stream that ends before the announced audio is refused."""
    if renderer_pb2.GUIDE_MELODY_AUDIO in target.profile.guides:
        start = target.start_of(examples.section(), guide_frames=4096)
    elif target.profile.HasField("conditioning"):
        start = target.start_of(examples.section(), conditioning_frames=4096)
    elif target.profile.HasField("following"):
        start = target.start_of(examples.section(), following_frames=4096)
    else:
        raise CheckSkipped("the model takes no audio")
    return await target.require_refusal(
        target.call(start), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_AUDIO", "OUT_OF_ORDER"
    )


def frames_of(spec: SectionSpec, target: Target) -> int:
    """Return the length of a section at the model's rate."""
    return round(spec.frames * target.sample_rate / spec.sample_rate)


def tone(length_s: float, sample_rate: int) -> Float32:
    """Return a mono melody of sines."""
    times = np.arange(round(length_s * sample_rate)) / sample_rate
    pitches = np.array(TUNE)[np.minimum((times * 2).astype(int), len(TUNE) - 1)]
    frequencies = 440.0 * 2.0 ** ((pitches - 69) / 12)
    return (0.3 * np.sin(2 * np.pi * np.cumsum(frequencies) / sample_rate)).astype(np.float32)[:, None]


def audio_messages(kind: str, clip: Float32, sample_rate: int) -> Iterator[renderer_pb2.RenderSectionRequest]:
    """Cut audio into the messages of `conditioning`, `following`, `guide` or `mix`."""
    form = audio_pb2.AudioFormat(
        sample_rate=sample_rate, channels=clip.shape[1], sample_format=audio_pb2.SAMPLE_FORMAT_F32LE
    )
    content = np.ascontiguousarray(clip, "<f4").tobytes()
    for chunk in cut(content, audio_pb2.AudioChunk(format=form)):
        message = renderer_pb2.RenderSectionRequest()
        getattr(message, kind).CopyFrom(chunk)
        yield message


CHECKS: Final = (
    Check("conditioning", "an earlier section's audio is used, warned about, or refused", conditioning),
    Check("following", "a later section's audio is used, warned about, or refused", following),
    Check("guide-audio", "a melody in audio is used, warned about, or refused", guide_audio),
    Check("guide-timbre", "audio as a model of the sound is used, warned about, or refused", guide_timbre),
    Check("guide-notes", "a melody in notes is used, warned about, or refused", guide_notes),
    Check("guide-band", "the sketch band's melody is used, warned about, or refused", guide_band),
    Check("layer-tasks", "a layer is added to a mix or taken out of it, or the task is refused", layer_tasks),
    Check("sampling", "sampling hints are used, warned about, or refused", sampling),
    Check("lyrics", "lyrics are sung, warned about, or refused", lyrics),
    Check("negative-prompt", "a negative prompt is used, warned about, or refused", negative_prompt),
    Check("announced", "a stream without the audio that start announced is refused", announced),
)
