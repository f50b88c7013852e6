"""The life of one mastering under one claim: a file that somebody sent is read, mastered, and written to files."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composition_pb2, mastering_pb2, spec_pb2, stream_pb2
from segue.mixer.v1 import mixer_pb2
from segue.music.v1 import music_pb2
from segue_audio.decoder.decoded_file import DecodedFile
from segue_audio.errors import AudioError
from segue_audio.files import read_tags
from segue_composition.artifact_keys import artifact_key
from segue_conductor.backoff import patiently
from segue_conductor.composition_job import Bench
from segue_conductor.mix.segments import Recorder, places_of, recorded
from segue_conductor.publish.audio_files import SoundFiles
from segue_conductor.publish.exports import Exports
from segue_conductor.publish.manifest import version
from segue_conductor.publish.master import Mastering
from segue_conductor.publish.metadata import Labels
from segue_runtime import errors, logs

if TYPE_CHECKING:
    from pathlib import Path

    from segue_composition.peers import Peers
    from segue_conductor.journal import Journal
    from segue_runtime.artifacts import ArtifactStore
    from segue_runtime.store import Store

PIECE: Final = "piece"
"""The name of the one section that a file has."""
UNTRUE: Final = ("REPLAYGAIN_", "R128_", "LOUDNESS_", "ENCODER", "CHAPTER", "CUE_")
"""Tags that say what holds no longer, by their beginnings."""
MAX_TAG_BYTES: Final = 4_096
log = logs.get("conductor")


@dataclass(kw_only=True)
class UploadBench(Bench):
    """A file has no plan; for the stages of the master it is one section from its first frame to its last."""

    timeline: music_pb2.Plan = field(default_factory=music_pb2.Plan)

    @property
    def plan(self) -> music_pb2.Plan:
        """The file's length and rate."""
        return self.timeline

    def set_shape(self, sample_rate: int, channels: int, frames: int) -> None:
        """Say what the file is like."""
        self.channels = channels
        self.timeline = music_pb2.Plan(sample_rate=sample_rate, frames=frames)
        self.timeline.sections.add(spec=music_pb2.SectionSpec(section_id=PIECE, frames=frames))


class MasteringRun:
    """Drives one mastering."""

    def __init__(
        self,
        journal: Journal,
        store: Store,
        artifacts: ArtifactStore,
        peers: Peers,
        request: mastering_pb2.CreateMasterRequest,
        time_limit_s: float,
        claims: int,
    ) -> None:
        self._journal = journal
        self._store = store
        self._artifacts = artifacts
        self._source = artifact_key(request.source)
        self._claims = claims
        self._time_limit_s = time_limit_s
        self._tags: dict[str, str] = {}
        self._bench = UploadBench(
            journal=journal,
            store=store,
            artifacts=artifacts,
            peers=peers,
            spec=spec_pb2.CompositionSpec(exports=request.exports, master=request.settings),
            deadline=time.monotonic() + time_limit_s,
        )

    async def run(self) -> None:
        """Drive it to its end. Cancelling this task leaves it for another claim; Fenced means another has it."""
        try:
            async with asyncio.timeout(self._time_limit_s):
                await self._run()
        except TimeoutError:
            await self.end(composition_pb2.STATE_FAILED, errors.TimeLimit("mastering it took too long"))
        except AudioError as error:
            await self.end(composition_pb2.STATE_FAILED, errors.InvalidAudio(str(error)))
        except errors.SegueError as error:
            await self.end(composition_pb2.STATE_FAILED, error)
        except Exception as error:
            log.exception("the mastering failed", exc_info=error)
            inside = errors.InternalError(f"something went wrong inside; the log has it under {self._journal.name}")
            await self.end(composition_pb2.STATE_FAILED, inside)

    async def end(self, state: composition_pb2.State.ValueType, error: errors.SegueError | None) -> None:
        """Say the terminal event."""
        ended = composition_pb2.Composition()
        ended.CopyFrom(self._journal.composition)
        ended.state = state
        ended.queue_position = 0
        if error is not None:
            ended.error.CopyFrom(errors.to_status(error, ""))
        await self._journal.finish(ended)
        log.info("ended", composition=self._journal.name, state=composition_pb2.State.Name(state))

    async def _run(self) -> None:
        await self._journal.say(stream_pb2.CompositionEvent(started=stream_pb2.Started(claims=self._claims)))
        await self._read()
        made = await patiently(self._master)
        await self._journal.say(*(stream_pb2.CompositionEvent(output_ready=output) for output in made))
        await self.end(composition_pb2.STATE_SUCCEEDED, None)

    async def _read(self) -> None:
        """Decode the file into the draft. It may be hostile: that is done by a child process with little rights."""
        async with self._artifacts.local_copy(self._source) as path:
            self._tags = await asyncio.to_thread(_tags_of, path)
            if self._journal.checkpoint.draft_finished:
                draft = await recorded(self._store, self._journal.name, audio_pb2.STAGE_DRAFT)
                self._bench.set_shape(draft[0].sample_rate, draft[0].channels, draft[-1].end_frame)
            else:
                await self._decode(path)

    async def _decode(self, path: Path) -> None:
        async with DecodedFile(path) as sound:
            self._bench.set_shape(sound.sample_rate, sound.channels, sound.frames)
            recorder = Recorder(
                self._journal,
                self._artifacts,
                audio_pb2.STAGE_DRAFT,
                places_of(self._bench.plan),
                {},
                await recorded(self._store, self._journal.name, audio_pb2.STAGE_DRAFT),
                sample_rate=sound.sample_rate,
                channels=sound.channels,
            )
            recorder.open_section(0)
            async for block in sound.blocks():
                await recorder.write(block.tobytes())
        mixed = mixer_pb2.MixFinished(frames=self._bench.plan.frames)
        await self._journal.say(
            stream_pb2.CompositionEvent(draft_finished=stream_pb2.DraftFinished(mixed=mixed)),
            checkpoint=replace(self._journal.checkpoint, draft_finished=True),
        )

    async def _master(self) -> list[composition_pb2.Output]:
        """Make the master and its files; done again from its start, it comes out the same."""
        tags = {**self._tags, "ENCODER": f"Segue {version('segue')}"}
        async with SoundFiles.opened(self._artifacts) as files:
            exports = Exports(self._bench, files, Labels(tags))
            finished = await Mastering(self._bench, {}).run(exports)
            return await exports.finish(finished)


def _tags_of(path: Path) -> dict[str, str]:
    """What the file says about itself and still holds after mastering."""
    try:
        found = read_tags(path).tags
    except AudioError:
        return {}
    return {
        name: text
        for name, text in found.items()
        if name.isascii()
        and name.isprintable()
        and "=" not in name
        and name
        and len(text.encode()) <= MAX_TAG_BYTES
        and not name.startswith(UNTRUE)
    }
