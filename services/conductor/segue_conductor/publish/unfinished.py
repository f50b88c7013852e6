"""The draft of a composition that ends without a master, as a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segue.composer.v1 import composition_pb2
from segue_audio.files import AudioFileSettings, FileFormat
from segue_conductor.publish.audio_outputs import open_audio_outputs
from segue_conductor.publish.metadata import cues, tags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue.composer.v1.spec_pb2 import CompositionSpec
    from segue.renderer.v1.renderer_pb2 import ModelProfile
    from segue_composition.log_rows import Segment
    from segue_conductor.claim import Claim


async def write_unfinished_draft(
    claim: Claim, spec: CompositionSpec, players: Sequence[ModelProfile], draft: Sequence[Segment]
) -> list[composition_pb2.Output]:
    """Write the finished part of a draft; no file if there is none."""
    if not draft:
        return []
    settings = AudioFileSettings(
        file_format=FileFormat.FLAC,
        channels=draft[0].channels,
        sample_rate=draft[0].sample_rate,
        cues=tuple(cue for cue in cues(claim.composition.plan) if cue.first_frame < draft[-1].end_frame),
        tags=tags(claim.composition, spec, players) | {"COMMENT": "an unfinished draft"},
    )
    async with open_audio_outputs(claim.artifacts) as files:
        file = await files.open(
            composition_pb2.Output(
                name=claim.key("outputs/draft.flac"),
                kind=composition_pb2.OUTPUT_KIND_DRAFT,
                media_type=FileFormat.FLAC.media_type,
                sample_rate=settings.sample_rate,
                channels=settings.channels,
                bit_depth=24,
            ),
            settings,
        )
        for segment in draft:
            await files.write(await claim.artifacts.read(segment.ref), file)
        return await files.finish()
