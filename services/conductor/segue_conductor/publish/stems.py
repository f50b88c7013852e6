"""The stems: one file for each layer, with the joins and gains of the mix, and one file of the mix itself.

Models without layers give stems that are separated from the mix.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from segue.analyzer.v1 import analyzer_pb2
from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composition_pb2
from segue_audio.files import AudioFileSettings, FileFormat
from segue_composition import state
from segue_composition.section_models import WHOLE
from segue_conductor.analyzer_call import request_stems
from segue_conductor.draft.beats import BeatPlacement
from segue_conductor.draft.requests import mix_start, take_requests
from segue_conductor.draft.segments import recorded_segments
from segue_conductor.publish.audio_outputs import open_audio_outputs
from segue_conductor.publish.metadata import cues, tags
from segue_conductor.publish.separated_stems import SeparatedStems
from segue_runtime.rpc.chunks import MESH_CHUNK_BYTES, cut, f32le
from segue_runtime.rpc.duplex import exchange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from segue.analyzer.v1.analyzer_pb2 import Separator
    from segue.mixer.v1 import mixer_pb2
    from segue_composition.log_rows import Segment
    from segue_conductor.composition_job import CompositionJob
    from segue_conductor.render.take_store import Take

WHOLE_MIX = ""
"""The layer name of the mix in calls to the mixer."""


async def write_stems(job: CompositionJob, takes: Mapping[str, Take]) -> list[composition_pb2.Output]:
    """Mix the layers again and write each to a file.

    The files are 32 bit float, because a stem may be louder than the mix. Their sum is the draft, within rounding:
    takes without layers are in a stem of their own.
    """
    layers = (WHOLE_MIX, *sorted({layer for take in takes.values() for layer in take.layers or (WHOLE,)}))
    async with open_audio_outputs(job.claim.artifacts) as files:
        opened = {layer: await files.open(_output(job, layer), _settings(job)) for layer in layers}
        answers = exchange(
            job.claim.peers.mixer.Mix,
            _requests(job, takes, layers),
            service="mixer",
            timeout_s=job.claim.remaining_s(),
        )
        async with contextlib.aclosing(answers):
            async for response in answers:
                if response.WhichOneof("message") == "audio":
                    await files.write(response.audio.data, opened[response.audio.layer])
        return await files.finish()


async def write_separated_stems(job: CompositionJob) -> tuple[list[composition_pb2.Output], Separator]:
    """Separate the draft, whose models give no layers, and write it and its stems; return what separated it.

    The sum of the files is the draft, within half a step of 24 bits.
    """
    segments = await recorded_segments(job.claim, audio_pb2.STAGE_DRAFT)
    used = analyzer_pb2.Separator()

    async def started(answer: analyzer_pb2.SeparateStarted) -> None:
        used.CopyFrom(answer.separator)

    async def progress(_fraction: float) -> None:
        pass

    own_tags = tags(job.composition, job.spec, job.players)
    artifacts = job.claim.artifacts
    async with SeparatedStems(artifacts, job.claim.key("outputs"), audio_pb2.FILE_FORMAT_WAV, own_tags) as stems:
        requests = _draft_requests(job, segments)
        outputs = await stems.write(
            request_stems(job.claim.peers, requests, job.claim.remaining_s()), started, progress
        )
    async with open_audio_outputs(artifacts) as files:
        draft = await files.open(_output(job, WHOLE_MIX), _settings(job))
        for segment in segments:
            await files.write(await artifacts.read(segment.ref), draft)
        return outputs + await files.finish(), used


async def _draft_requests(
    job: CompositionJob, segments: Sequence[Segment]
) -> AsyncIterator[analyzer_pb2.SeparateRequest]:
    yield analyzer_pb2.SeparateRequest(start=analyzer_pb2.SeparateStart(format=job.timeline.audio_format))
    sound = f32le(job.timeline.sample_rate, job.timeline.channels)
    for segment in segments:
        audio = await job.claim.artifacts.read(segment.ref)
        for piece in cut(audio, sound, segment.first_frame, most_bytes=MESH_CHUNK_BYTES):
            yield analyzer_pb2.SeparateRequest(audio=piece)


def _output(job: CompositionJob, layer: str) -> composition_pb2.Output:
    return composition_pb2.Output(
        name=job.claim.key(f"outputs/stem-{layer}.wav" if layer else "outputs/draft.wav"),
        kind=composition_pb2.OUTPUT_KIND_STEM if layer else composition_pb2.OUTPUT_KIND_DRAFT,
        media_type=FileFormat.WAV.media_type,
        sample_rate=job.timeline.sample_rate,
        channels=job.timeline.channels,
        bit_depth=32,
        layer=layer,
    )


def _settings(job: CompositionJob) -> AudioFileSettings:
    return AudioFileSettings(
        file_format=FileFormat.WAV,
        channels=job.timeline.channels,
        sample_rate=job.timeline.sample_rate,
        bit_depth=32,
        cues=cues(job.plan),
        tags=tags(job.composition, job.spec, job.players),
        quarters_per_minute=job.plan.quarters_per_minute,
        # Workstations place the file at this frame.
        time_reference_frames=0,
    )


async def _requests(
    job: CompositionJob, takes: Mapping[str, Take], layers: Sequence[str]
) -> AsyncIterator[mixer_pb2.MixRequest]:
    yield mix_start(job, layers=[layer for layer in layers if layer != WHOLE_MIX])
    for section in job.plan.sections:
        known = state.section_of(job.composition, section.spec.section_id)
        # Every section stays where the draft has it.
        placement = BeatPlacement(shift_frames=known.shift_frames)
        async for request in take_requests(section, takes[section.spec.section_id], placement, layers):
            yield request
