"""The life of one composition under one claim, from wherever the checkpoint says to its one terminal event."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composition_pb2, spec_pb2, stream_pb2
from segue_composition import log_rows
from segue_composition.plan_request import plan_request
from segue_conductor.analyzer_call import analyze_master
from segue_conductor.backoff import patiently
from segue_conductor.composition_job import Bench, Context
from segue_conductor.mix.draft_mixer import Mixing
from segue_conductor.mix.segments import recorded
from segue_conductor.publish import exports
from segue_conductor.publish.audio_files import SoundFiles
from segue_conductor.publish.master import Mastering
from segue_conductor.publish.metadata import labels
from segue_conductor.render.section_renderer import Band
from segue_conductor.render.take_store import Shelf
from segue_runtime import errors, failpoints, logs
from segue_runtime.store import Fenced

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segue.renderer.v1.renderer_pb2 import ModelProfile
    from segue_composition.peers import ModelRoute, Peers
    from segue_conductor.journal import Journal
    from segue_conductor.render.take_store import Take
    from segue_runtime.artifacts import ArtifactStore
    from segue_runtime.settings.sections import ConductorSettings
    from segue_runtime.store import Store

AFTER_PLAN = failpoints.declare("conductor.after_plan", "the plan is committed")
BEFORE_FINISH = failpoints.declare("conductor.before_finish", "all files are there, the end is not in the log")
PROGRESS_EVERY_S = 0.5
log = logs.get("conductor")


class CompositionRun:
    """Drives one composition."""

    def __init__(
        self,
        journal: Journal,
        store: Store,
        artifacts: ArtifactStore,
        peers: Peers,
        spec: spec_pb2.CompositionSpec,
        settings: ConductorSettings,
        claims: int,
    ) -> None:
        self._journal = journal
        self._store = store
        self._artifacts = artifacts
        self._peers = peers
        self._spec = spec
        self._settings = settings
        self._claims = claims
        self._player: ModelRoute | None = None
        limit_s = spec.time_limit.ToNanoseconds() / 1e9 if spec.HasField("time_limit") else settings.time_limit_s
        began = journal.composition.start_time.ToNanoseconds() / 1e9 or time.time()
        self._deadline = time.monotonic() + max(0.0, limit_s - (time.time() - began))

    async def run(self) -> None:
        """Drive it to its end. Cancelling this task leaves it for another claim; Fenced means another has it."""
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + self._deadline - time.monotonic()):
                await self._run()
        except TimeoutError:
            await self.end(
                composition_pb2.STATE_FAILED, errors.TimeLimit("the composition's time_limit has passed; give it more")
            )
        except Fenced:
            raise  # whatever this claim would still write is another's by now
        except errors.SegueError as error:
            await self.end(composition_pb2.STATE_FAILED, error)
        except Exception as error:
            log.exception("the composition failed", exc_info=error)
            await self.end(
                composition_pb2.STATE_FAILED,
                errors.InternalError(f"something went wrong inside; the log has it under {self._journal.name}"),
            )

    async def end(self, state: composition_pb2.State.ValueType, error: errors.SegueError | None) -> None:
        """Say the terminal event; what is finished stays as a draft that can be downloaded."""
        ended = composition_pb2.Composition()
        if error is not None:
            await self._keep_draft()
        ended.CopyFrom(self._journal.composition)
        ended.state = state
        ended.queue_position = 0
        if error is not None:
            ended.error.CopyFrom(errors.to_status(error, ""))
        await failpoints.reach(BEFORE_FINISH)
        await self._journal.finish(ended)
        log.info("ended", composition=self._journal.name, state=composition_pb2.State.Name(state))

    async def _run(self) -> None:
        await self._journal.say(stream_pb2.CompositionEvent(started=stream_pb2.Started(claims=self._claims)))
        player = self._player = await patiently(lambda: self._peers.route(self._journal.composition.model))
        context = Context(
            journal=self._journal,
            store=self._store,
            artifacts=self._artifacts,
            peers=self._peers,
            spec=self._spec,
            player=player,
            shelf=Shelf(self._artifacts, self._journal.composition.owner),
            deadline=self._deadline,
            stall_limit_s=self._settings.stall_limit_s,
        )
        if not self._journal.composition.HasField("plan"):
            await self._plan(context)
        takes = await self._draft(context)
        await self._finish(context, takes)

    async def _plan(self, context: Context) -> None:
        request = plan_request(self._spec, context.player.profile)
        answer = await patiently(lambda: self._peers.create_plan(request))
        answer.plan.version = answer.plan.version or 1
        answer.estimate.model = answer.estimate.model or context.player.profile.model
        await self._journal.say(
            stream_pb2.CompositionEvent(planned=stream_pb2.Planned(plan=answer.plan, estimate=answer.estimate))
        )
        await failpoints.reach(AFTER_PLAN)

    async def _draft(self, context: Context) -> Mapping[str, Take]:
        band = Band(context)
        async with asyncio.TaskGroup() as group:
            progress = group.create_task(self._send_progress(context))
            rendering = group.create_task(_flat(band.run()))
            mixing = group.create_task(_flat(Mixing(context, band).run()))
            try:
                failure = await _first_failure(rendering, mixing)
            finally:
                for task in (rendering, mixing, progress):
                    task.cancel()
        if failure is not None:
            raise failure
        return band.takes

    async def _send_progress(self, context: Context) -> None:
        while True:
            await asyncio.sleep(PROGRESS_EVERY_S)
            newest = context.progress.take()
            if newest:
                said = log_rows.pack(stream_pb2.CompositionEvent(section_progress=each) for each in newest)
                try:
                    await self._store.set_progress(self._journal.name, self._journal.epoch, said)
                except errors.SegueError as error:
                    # Progress is no part of the piece; who writes what counts will meet the same fault.
                    log.warning("progress was not written", reason=error.reason)

    async def _finish(self, context: Context, takes: Mapping[str, Take]) -> None:
        manifest, made = await patiently(lambda: self._master(context, takes))
        if self._spec.stems:
            made += await patiently(lambda: exports.write_stems(context, takes))
        if self._spec.midi:
            made.append(
                await exports.small_file(
                    context,
                    "music.mid",
                    composition_pb2.OUTPUT_KIND_MIDI,
                    "audio/midi",
                    exports.midi_content(context, takes),
                )
            )
        made.append(
            await exports.small_file(
                context,
                "manifest.json",
                composition_pb2.OUTPUT_KIND_MANIFEST,
                "application/json",
                manifest.encode(),
            )
        )
        await self._journal.say(*(stream_pb2.CompositionEvent(output_ready=output) for output in made))
        await self._analyze(context)
        degraded = bool(self._journal.composition.degradations)
        await self.end(composition_pb2.STATE_DEGRADED if degraded else composition_pb2.STATE_SUCCEEDED, None)

    @staticmethod
    async def _master(context: Context, takes: Mapping[str, Take]) -> tuple[str, list[composition_pb2.Output]]:
        """Make the master and its files; done again from its start, it comes out the same."""
        keys = {section_id: take.key for section_id, take in takes.items()}
        async with SoundFiles.opened(context.artifacts) as files:
            made = exports.Exports(context, files, labels(context, keys))
            finished = await Mastering(context, takes).run(made)
            return made.manifest, await made.finish(finished)

    async def _analyze(self, context: Context) -> None:
        try:
            report = await patiently(lambda: analyze_master(context))
        except errors.Unavailable as error:
            if self._spec.degradation_policy != spec_pb2.DEGRADATION_POLICY_ALLOW:
                raise
            await self._journal.say(
                stream_pb2.CompositionEvent(
                    degraded=composition_pb2.Degradation(
                        code="not_analyzed", text=f"the master was not measured: {error}"
                    )
                )
            )
        else:
            await self._journal.say(stream_pb2.CompositionEvent(analyzed=report))

    async def _keep_draft(self) -> None:
        composition = self._journal.composition
        if not composition.HasField("plan") or any(
            output.kind == composition_pb2.OUTPUT_KIND_MASTER for output in composition.outputs
        ):
            return
        try:
            draft = await recorded(self._store, self._journal.name, audio_pb2.STAGE_DRAFT)
            bench = Bench(
                journal=self._journal,
                store=self._store,
                artifacts=self._artifacts,
                peers=self._peers,
                spec=self._spec,
                deadline=self._deadline,
            )
            made = await exports.write_draft(bench, await self._profile(), draft)
            if made:
                await self._journal.say(*(stream_pb2.CompositionEvent(output_ready=output) for output in made))
        except Exception as error:  # noqa: BLE001 - the reason for the end must be told, whatever became of the draft
            log.warning("the draft could not be kept", error=str(error))

    async def _profile(self) -> ModelProfile | None:
        """Return the model's profile, if anybody can be asked: the piece may end because nobody can."""
        with contextlib.suppress(errors.SegueError):
            self._player = self._player or await self._peers.route(self._journal.composition.model)
        return self._player.profile if self._player else None


async def _first_failure(*stages: asyncio.Task[BaseException | None]) -> BaseException | None:
    """Wait until all stages are through, or one has failed: the others would work for nobody."""
    for stage in asyncio.as_completed(stages):
        failure = await stage
        if failure is not None:
            return failure
    return None


async def _flat(work: object) -> BaseException | None:
    """Run a stage and return its error: inside a TaskGroup it would come back wrapped."""
    try:
        await work  # type: ignore[misc]  # a coroutine of ours
    except errors.SegueError as error:
        return error
    return None
