"""The messages of a call to the mixer: the plan of the mix, its state, and one take after another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue.audio.v1 import audio_pb2
from segue.mixer.v1 import mixer_pb2
from segue_composition.section_models import WHOLE
from segue_conductor.draft.beats import BeatPlacement, TakeBeats, continues_previous
from segue_conductor.render.take_store import MIX
from segue_runtime.rpc.chunks import MESH_CHUNK_BYTES, chunk_frames, fill

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from segue.music.v1.music_pb2 import PlannedSection
    from segue_conductor.composition_job import CompositionJob
    from segue_conductor.render.take_store import Take

STATE_PIECE_BYTES: Final = 256 * 1024


def mix_start(job: CompositionJob, resume_after: str = "", layers: Sequence[str] = ()) -> mixer_pb2.MixRequest:
    """Return the first message: all sections, and the last one that an earlier call has joined."""
    return mixer_pb2.MixRequest(
        start=mixer_pb2.MixStart(
            format=job.timeline.audio_format,
            sections=[_mix_section(job, section) for section in job.plan.sections],
            layers=layers,
            resume_after=resume_after,
        )
    )


def _mix_section(job: CompositionJob, section: PlannedSection) -> mixer_pb2.MixSection:
    spec = section.spec
    timing = job.timings[spec.section_id]
    return mixer_pb2.MixSection(
        section_id=spec.section_id,
        first_frame=section.first_frame,
        frames=spec.frames,
        tail_frames=spec.tail_frames,
        join=section.join,
        beat_frames=timing.first_beat_frames,
        bar_frames=timing.last_bar_frames,
    )


def mixer_state(section_id: str, content: bytes) -> Iterator[mixer_pb2.MixRequest]:
    """Yield the mixer's state after a section, in pieces."""
    for offset in range(0, max(1, len(content)), STATE_PIECE_BYTES):
        piece = content[offset : offset + STATE_PIECE_BYTES]
        yield mixer_pb2.MixRequest(
            checkpoint=mixer_pb2.Checkpoint(
                section_id=section_id, offset=offset, data=piece, last=offset + len(piece) == len(content)
            )
        )


async def take_requests(
    section: PlannedSection, take: Take, placement: BeatPlacement, layers: Sequence[str] = ("",)
) -> AsyncIterator[mixer_pb2.MixRequest]:
    """Yield the messages of one take; wait for its audio while it is rendered."""
    yield mixer_pb2.MixRequest(section_start=await _section_start(section, take, placement))
    async for audio in _section_audio(section, take, layers):
        yield mixer_pb2.MixRequest(audio=audio)
    yield mixer_pb2.MixRequest(section_end=await _section_end(section, take, placement))


async def _section_start(section: PlannedSection, take: Take, placement: BeatPlacement) -> mixer_pb2.MixSectionStart:
    accepted = await take.wait_accepted()
    beats = TakeBeats()
    if placement.measure is not None and not placement.measure_last:
        beats = await placement.measure()
    start = mixer_pb2.MixSectionStart(
        section_id=section.spec.section_id,
        take=take.key,
        format=accepted.format,
        sample_locked=accepted.sample_locked,
        continuous=continues_previous(section, accepted),
        beats=beats.beats,
        downbeats=beats.downbeats,
        tail_frames=beats.tail_frames,
    )
    if placement.shift_frames is not None and not accepted.sample_locked:
        start.shift_frames = placement.shift_frames
        # The tail limits how far the section may be moved towards its start.
        start.tail_frames = (await take.wait_finished()).tail_frames
    if accepted.HasField("declared_lufs"):
        start.declared_lufs = accepted.declared_lufs
    if section.spec.HasField("target_lufs"):
        start.target_lufs = section.spec.target_lufs
    return start


async def _section_audio(
    section: PlannedSection, take: Take, layers: Sequence[str]
) -> AsyncIterator[audio_pb2.AudioChunk]:
    accepted = await take.wait_accepted()
    # The mixer takes layers that differ by a second at most.
    step = min(chunk_frames(accepted.format, MESH_CHUNK_BYTES), accepted.format.sample_rate)
    position = 0
    while True:
        pieces = [await take.read(position, step, _name_in_take(take, layer)) for layer in layers]
        whole = len(pieces[0])
        if not whole:
            return
        for layer, piece in zip(layers, pieces, strict=True):
            template = audio_pb2.AudioChunk(
                format=accepted.format,
                stage=audio_pb2.STAGE_TAKE,
                section_id=section.spec.section_id,
                take=take.key,
                layer=layer,
            )
            # A layer that does not play in this section is silent.
            yield fill(template, piece or bytes(whole), position)
        position += whole // take.frame_bytes


def _name_in_take(take: Take, layer: str) -> str:
    """Return the audio of a take that a layer of the mix plays: a take without layers plays whole."""
    return MIX if not layer or (layer == WHOLE and not take.layers) else layer


async def _section_end(section: PlannedSection, take: Take, placement: BeatPlacement) -> mixer_pb2.MixSectionEnd:
    finished = await take.wait_finished()
    beats = TakeBeats()
    if placement.measure is not None and placement.measure_last:
        beats = await placement.measure()
    return mixer_pb2.MixSectionEnd(
        section_id=section.spec.section_id,
        frames=finished.frames,
        tail_frames=finished.tail_frames,
        ending=finished.ending,
        beats=beats.beats,
        downbeats=beats.downbeats,
    )
