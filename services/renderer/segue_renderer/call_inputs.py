"""What a call of RenderSection brings: checks of its options against the profile, and its announced audio and notes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_music import codec
from segue_music.elements import LayerKind, Note
from segue_music.plan import GuideKind, LayerTask, Warning  # noqa: A004  the contract's word
from segue_renderer.backend import AudioClip, RenderRequest
from segue_runtime import errors
from segue_runtime.rpc.chunks import samples_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from segue.audio.v1 import audio_pb2
    from segue.renderer.v1 import renderer_pb2
    from segue_music.plan import ModelProfile, SamplingHints

CLIPS: Final = ("conditioning", "following", "guide", "mix")
"""The kinds of audio that a start may announce, each as KIND_frames."""
USUAL_SAMPLING: Final = ("temperature", "top_k", "top_p", "guidance")
"""The hints of models with `uses_sampling` that name none."""


def check_options(start: renderer_pb2.RenderStart, profile: ModelProfile) -> None:
    """Refuse options that the model does not support, and options that contradict each other."""
    if start.guide_band and start.guide_notes:
        raise errors.InvalidField("start.guide_band: guide_notes is set, too; leave one of them out")
    audio_kind = GuideKind(start.guide_kind or GuideKind.MELODY_AUDIO)
    if audio_kind == GuideKind.NOTES:
        raise errors.InvalidField("start.guide_kind: guide audio is GUIDE_MELODY_AUDIO or GUIDE_TIMBRE_AUDIO")
    if start.guide_kind and not start.guide_frames:
        raise errors.InvalidField("start.guide_kind: it describes guide audio, and guide_frames is 0")
    for option, is_wanted, is_supported, lack in (
        ("stems", start.stems, profile.layers, "gives no stems"),
        ("notes", start.notes, profile.gives_notes, "gives no notes"),
        (
            "conditioning_frames",
            start.conditioning_frames,
            profile.conditioning_ns is not None,
            "does not continue the audio of an earlier section",
        ),
        (
            "following_frames",
            start.following_frames,
            profile.following_ns is not None,
            "does not lead into the audio of a later section",
        ),
        ("guide_kind", start.guide_kind, audio_kind in profile.guides, "does not take this guide"),
        ("guide_frames", start.guide_frames, audio_kind in profile.guides, "does not take this guide"),
        ("guide_notes", start.guide_notes, GuideKind.NOTES in profile.guides, "does not take this guide"),
        ("guide_band", start.guide_band, GuideKind.NOTES in profile.guides, "does not take this guide"),
        ("spec.lyrics", start.spec.HasField("lyrics"), profile.uses_lyrics, "sings no lyrics"),
        ("layer_task", start.layer_task, start.layer_task in profile.layer_tasks, _lacking_task(start)),
        ("more_seeds", start.more_seeds, len(start.more_seeds) < profile.max_takes, _lacking_takes(profile)),
    ):
        if is_wanted and not is_supported:
            raise errors.OptionNotSupported(f"{profile.model} {lack}", metadata={"option": option})
    _check_task(start, profile)
    if start.seed in start.more_seeds:
        raise errors.InvalidField("start.more_seeds: it contains the seed of the first take")


def _lacking_task(start: renderer_pb2.RenderStart) -> str:
    return "adds no layer to a mix" if LayerTask(start.layer_task) is LayerTask.ADD else "takes no layer out of a mix"


def _lacking_takes(profile: ModelProfile) -> str:
    return f"makes at most {max(1, profile.max_takes)} takes in one call"


def _check_task(start: renderer_pb2.RenderStart, profile: ModelProfile) -> None:
    """Refuse a task for a layer that lacks a part, and what contradicts it."""
    task = ("layer_task", "task_layer", "mix_frames")
    absent = [name for name in task if not getattr(start, name)]
    if len(absent) == len(task):
        return
    if absent:
        raise errors.InvalidField(f"start.{absent[0]}: layer_task, task_layer and mix_frames are set together")
    for option in ("stems", "notes", "conditioning_frames", "following_frames"):
        if getattr(start, option):
            raise errors.InvalidField(f"start.{option}: layer_task is set, too; leave one of them out")
    if not (start.spec.frames and start.spec.sample_rate):
        return  # the backend says what is missing
    scale = (profile.sample_rate or start.spec.sample_rate) / start.spec.sample_rate
    least = round(start.spec.frames * scale)
    most = least + round(start.overlap_frames * scale)
    if not least <= start.mix_frames <= most:
        raise errors.InvalidField(f"start.mix_frames: it is {start.mix_frames}; layer_task needs {least} to {most}")


def check_mix(request: RenderRequest, profile: ModelProfile) -> None:
    """Refuse a mix that the model cannot read."""
    if request.mix is None:
        return
    rate, channels = profile.sample_rate or request.spec.sample_rate, request.mix.samples.shape[1]
    if request.mix.sample_rate != rate:
        raise errors.InvalidAudio(f"mix: its sample rate is {request.mix.sample_rate} Hz; resample it to {rate} Hz")
    if channels not in {1, 2}:
        raise errors.InvalidAudio(f"mix: it has {channels} channels; send 1 or 2")


async def read_call(
    messages: AsyncIterator[renderer_pb2.RenderSectionRequest], check: Callable[[renderer_pb2.RenderStart], None]
) -> tuple[renderer_pb2.RenderStart, RenderRequest]:
    """Read the start and everything that it announces. `check` raises for a start that cannot be rendered."""
    incoming = _Incoming(check)
    async for message in messages:
        incoming.add(message)
    start = incoming.complete()
    guide = incoming.clip("guide")
    request = RenderRequest(
        spec=codec.section_from_message(start.spec),
        model=start.model,
        seed=start.seed,
        stems=start.stems,
        notes=start.notes,
        overlap_frames=start.overlap_frames,
        conditioning=incoming.clip("conditioning"),
        following=incoming.clip("following"),
        guide=guide,
        guide_kind=GuideKind(start.guide_kind or GuideKind.MELODY_AUDIO) if guide else GuideKind.UNSPECIFIED,
        guide_notes=tuple(incoming.notes),
        owner=start.owner,
        layer_task=LayerTask(start.layer_task),
        task_layer=LayerKind(start.task_layer),
        mix=incoming.clip("mix"),
    )
    return start, request


def unread_hints(request: RenderRequest, profile: ModelProfile) -> tuple[Warning, ...]:
    """Return a warning that names the sampling hints of a section that the model does not read."""
    read = (profile.sampling or USUAL_SAMPLING) if profile.uses_sampling else ()
    unread = [f"sampling.{name}" for name in _given(request.spec.sampling) if name not in read]
    if not unread:
        return ()
    text = f"{profile.model} does not read {', '.join(unread)}; it has no effect"
    return (Warning("sampling_not_used", text, request.spec.section_id),)


def _given(hints: SamplingHints | None) -> list[str]:
    if hints is None:
        return []
    return [field.name for field in dataclasses.fields(hints) if getattr(hints, field.name) is not None]


class _Incoming:
    """Collects the start and everything that it announces."""

    def __init__(self, check: Callable[[renderer_pb2.RenderStart], None]) -> None:
        self._check = check
        self.start: renderer_pb2.RenderStart | None = None
        self.chunks: dict[str, list[audio_pb2.AudioChunk]] = {kind: [] for kind in CLIPS}
        self.frames = dict.fromkeys(CLIPS, 0)
        self.notes: list[Note] = []

    def add(self, message: renderer_pb2.RenderSectionRequest) -> None:
        """Add one message."""
        kind = message.WhichOneof("message")
        if kind == "start":
            if self.start is not None:
                raise errors.OutOfOrder("start comes once", metadata={"position": "start"})
            # Checked at once: the server neither waits for data that it cannot use nor keeps it in memory.
            self._check(message.start)
            self.start = message.start
        elif self.start is None:
            raise errors.OutOfOrder(f"{kind} came before start", metadata={"position": "start"})
        elif kind == "notes":
            self.notes.extend(codec.from_message(Note, note) for note in message.notes.notes)
            if len(self.notes) > self.start.guide_notes:
                raise errors.InvalidField(f"notes: start announced {self.start.guide_notes}, more came")
        elif kind is not None:
            self._add_audio(kind, getattr(message, kind), getattr(self.start, f"{kind}_frames"))

    def complete(self) -> renderer_pb2.RenderStart:
        """Return the start; raise if announced data is missing."""
        start = self.start
        if start is None:
            raise errors.OutOfOrder("the stream ended before start", metadata={"position": "start"})
        announced = {kind: getattr(start, f"{kind}_frames") for kind in CLIPS}
        if self.frames != announced or len(self.notes) != start.guide_notes:
            raise errors.InvalidAudio("the stream ended before all data that start announced had come")
        return start

    def clip(self, kind: str) -> AudioClip | None:
        """Return the audio of one kind; None if none was announced."""
        chunks = self.chunks[kind]
        if not chunks:
            return None
        first = chunks[0].format
        samples = np.concatenate([samples_of(chunk, first, kind) for chunk in chunks])
        if not np.isfinite(samples).all():
            raise errors.InvalidAudio(f"{kind}: some samples are not finite")
        return AudioClip(samples, first.sample_rate)

    def _add_audio(self, kind: str, chunk: audio_pb2.AudioChunk, announced: int) -> None:
        if chunk.first_frame != self.frames[kind] or self.frames[kind] + chunk.frames > announced:
            raise errors.OutOfOrder(
                f"{kind}: frame {chunk.first_frame} came, frame {self.frames[kind]} of {announced} was due",
                metadata={"position": str(self.frames[kind])},
            )
        self.chunks[kind].append(chunk)
        self.frames[kind] += chunk.frames
