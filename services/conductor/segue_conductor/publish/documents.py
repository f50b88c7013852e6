"""The small files of a composition: MIDI, lyrics and manifest."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from segue.composer.v1 import composition_pb2
from segue_conductor.publish.manifest import version
from segue_music import codec, lrc, midi
from segue_music.elements import Note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segue.analyzer.v1.analyzer_pb2 import Separator
    from segue_conductor.claim import Claim
    from segue_conductor.composition_job import CompositionJob
    from segue_conductor.render.take_store import Take


async def write_midi(job: CompositionJob, takes: Mapping[str, Take]) -> composition_pb2.Output:
    """Write the notes of all sections as a MIDI file."""
    notes = {
        section_id: tuple(codec.from_message(Note, note) for note in take.notes) for section_id, take in takes.items()
    }
    content = midi.midi_file(codec.plan_from_message(job.plan), notes)
    return await _write(job.claim, "music.mid", composition_pb2.OUTPUT_KIND_MIDI, "audio/midi", content)


async def write_lrc(job: CompositionJob) -> composition_pb2.Output:
    """Write the lyrics with their planned times as an LRC file."""
    content = lrc.lrc_file(codec.plan_from_message(job.plan), f"Segue {version('segue')}")
    return await _write(job.claim, "lyrics.lrc", composition_pb2.OUTPUT_KIND_LRC, "text/x-lrc", content.encode())


async def write_manifest(
    job: CompositionJob, content: str, separator: Separator | None = None
) -> composition_pb2.Output:
    """Write the manifest as a file of its own, with what separated the stems, which were made after the master."""
    kind = composition_pb2.OUTPUT_KIND_MANIFEST
    if separator is not None:
        named = {"name": separator.name, "digest": separator.digest, "stems": list(separator.stems)}
        content = json.dumps(json.loads(content) | {"stems_separator": named}, sort_keys=True, ensure_ascii=False)
    return await _write(job.claim, "manifest.json", kind, "application/json", content.encode())


async def _write(
    claim: Claim, name: str, kind: composition_pb2.OutputKind.ValueType, media_type: str, content: bytes
) -> composition_pb2.Output:
    key = claim.key(f"outputs/{name}")
    await claim.artifacts.put(key, content, replace=True)
    return composition_pb2.Output(
        name=key,
        kind=kind,
        media_type=media_type,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
