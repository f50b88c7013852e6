"""The state of a composition so far, from its events."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from segue.composer.v1 import composition_pb2, stream_pb2
from segue_music import codec, theory, timing
from segued.exits import print_note
from segued.output.terminal import clock, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from segue.composer.v1.analysis_pb2 import Analysis
    from segue.composer.v1.composition_pb2 import Composition
    from segue.composer.v1.separation_pb2 import Separation
    from segue.music.v1 import music_pb2
    from segue_client import Update


STAGE_WORDS: Final = {
    composition_pb2.WORK_STAGE_PLAN: "planning",
    composition_pb2.WORK_STAGE_RENDER: "rendering",
    composition_pb2.WORK_STAGE_MIX: "mixing",
    composition_pb2.WORK_STAGE_MASTER: "mastering",
    composition_pb2.WORK_STAGE_FILES: "writing files",
    composition_pb2.WORK_STAGE_ANALYZE: "measuring",
}


class CompositionProgress:
    """The state of a composition as far as events have arrived."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.first_audio_s: float | None = None
        self.state = composition_pb2.STATE_UNSPECIFIED
        self.queue_position = 0
        self.waiting_for = ""
        self.ready_at: float | None = None
        """When the composition will probably be complete, in seconds of time.monotonic()."""
        self.heading = ""
        self.labels: dict[str, str] = {}
        self.lengths: dict[str, int] = {}
        self.fractions: dict[str, float] = {}
        self.waits: dict[str, str] = {}
        """What is known about the wait of each section in the line."""
        self.joined: set[str] = set()
        self.rate = 48_000
        self.notes: list[str] = []
        self._warnings: dict[tuple[str, str], bool] = {}
        """Sections and texts of warnings, and whether each was shown."""

    def add(self, update: Update) -> str:
        """Apply an update; returns a line about it, or nothing when it needs none."""
        event = update.event
        apply = getattr(self, f"_{update.kind}", None)
        return apply(event) if apply else ""

    def _checkpoint(self, event: stream_pb2.CompositionEvent) -> str:
        self.state = event.checkpoint.state
        self.queue_position = event.checkpoint.queue_position
        estimated = self._set_ready(event.checkpoint)
        waits_anew = event.checkpoint.waiting_for != self.waiting_for
        self.waiting_for = event.checkpoint.waiting_for
        if self.waiting_for:
            return waiting_line(self.waiting_for) if waits_anew else ""
        return queue_line(self.queue_position, self.seconds_left) if self.queue_position else estimated

    @property
    def seconds_left(self) -> float | None:
        """The time until the composition will probably be complete."""
        return None if self.ready_at is None else max(0.0, self.ready_at - time.monotonic())

    def _set_ready(self, content: stream_pb2.Checkpoint | stream_pb2.SectionProgress) -> str:
        """Apply an estimate; the first one gives a line."""
        was_known, known = self.ready_at is not None, content.HasField("ready_in")
        self.ready_at = time.monotonic() + content.ready_in.ToNanoseconds() / 1e9 if known else None
        return ready_text(self.seconds_left) if known and not was_known else ""

    def _accepted(self, _event: stream_pb2.CompositionEvent) -> str:
        self.state = composition_pb2.STATE_QUEUED
        return ""

    def _started(self, _event: stream_pb2.CompositionEvent) -> str:
        self.state, self.queue_position = composition_pb2.STATE_PLANNING, 0
        return ""

    def _planned(self, event: stream_pb2.CompositionEvent) -> str:
        plan = codec.plan_from_message(event.planned.plan)
        self.state, self.rate = composition_pb2.STATE_RENDERING, plan.sample_rate
        bpm = timing.bpm_from_quarters(plan.quarters_per_minute, plan.metre)
        self.heading = plain(
            f"{plan.title or 'A piece'}: {clock(plan.frames / plan.sample_rate)}, {bpm:g} bpm, "
            f"{plan.metre.beats}/{plan.metre.unit}, {theory.key_name(plan.key)}, {plan.genre}, seed {plan.seed}"
        )
        specs = [item.spec for item in plan.sections]
        # Another thread may be drawing: each dictionary is replaced as a whole, the lengths before the labels.
        self.lengths = {spec.section_id: spec.frames + spec.tail_frames for spec in specs}
        self.labels = {spec.section_id: plain(spec.label) or spec.section_id for spec in specs}
        return self.heading

    def _replanned(self, event: stream_pb2.CompositionEvent) -> str:
        heading, notes = self.heading, list(self.notes)
        self._planned(stream_pb2.CompositionEvent(planned=stream_pb2.Planned(plan=event.replanned.plan)))
        self.notes, self.joined = notes, self.joined & set(self.labels)
        return "" if self.heading == heading else self.heading

    def _section_progress(self, event: stream_pb2.CompositionEvent) -> str:
        progress = event.section_progress
        self.fractions[progress.section_id] = progress.fraction_done
        self.waits = {**self.waits, progress.section_id: section_wait(progress)}
        return self._set_ready(progress)

    def section_text(self, section_id: str) -> str:
        """Return what a section waits for, or how much of it is made; empty before its work and after it."""
        fraction = self.fractions.get(section_id, 0.0)
        return self.waits.get(section_id, "") or (f"{fraction:.0%}" if 0 < fraction < 1 else "")

    def _section_started(self, event: stream_pb2.CompositionEvent) -> str:
        self.waits = {**self.waits, event.section_started.section_id: ""}
        return ""

    def _section_finished(self, event: stream_pb2.CompositionEvent) -> str:
        self.fractions[event.section_finished.section_id] = 1.0
        return ""

    def _section_retried(self, event: stream_pb2.CompositionEvent) -> str:
        retried = event.section_retried
        text = f"{self.labels.get(retried.section_id, retried.section_id)} is retried: {retried.error.message}"
        self.notes.append(text)
        return text

    def _section_mixed(self, event: stream_pb2.CompositionEvent) -> str:
        section_id = event.section_mixed.section_id
        self.joined.add(section_id)
        done = sum(self.lengths.get(each, 0) for each in self.joined) / self.rate
        return f"{self.labels.get(section_id, section_id)} is mixed ({clock(done)} so far)"

    def _audio(self, _event: stream_pb2.CompositionEvent) -> str:
        if self.first_audio_s is None:
            self.first_audio_s = time.monotonic() - self.began
            return f"first sound after {self.first_audio_s:.2f} s"
        return ""

    def _draft_finished(self, _event: stream_pb2.CompositionEvent) -> str:
        self.state = composition_pb2.STATE_MASTERING
        return "mastering"

    def _warned(self, event: stream_pb2.CompositionEvent) -> str:
        self._add_warnings([event.warned])
        return ""

    def _finished(self, event: stream_pb2.CompositionEvent) -> str:
        self.state = event.finished.composition.state
        # Older servers send no event for most warnings.
        self._add_warnings(event.finished.composition.warnings)
        return ""

    def _add_warnings(self, warnings: Iterable[music_pb2.Warning]) -> None:
        for each in warnings:
            self._warnings.setdefault((each.section_id, each.text), False)

    def new_warnings(self) -> list[str]:
        """Return a line for each warning that was not returned before."""
        new = [each for each, is_shown in self._warnings.items() if not is_shown]
        self._warnings.update(dict.fromkeys(new, True))
        return [f"warning: {self._about(section_id, text)}" for section_id, text in new]

    def _about(self, section_id: str, text: str) -> str:
        label = self.labels.get(section_id, section_id)
        return f"{label}: {text}" if label else text

    def _degraded(self, event: stream_pb2.CompositionEvent) -> str:
        self.notes.append(event.degraded.text)
        return f"degraded: {event.degraded.text}"


def queue_line(position: int, seconds_left: float | None) -> str:
    """Return the line for a composition that waits in the queue."""
    ready = ready_text(seconds_left)
    return f"waiting, position {position} in the queue{', ' if ready else ''}{ready}"


def section_wait(progress: stream_pb2.SectionProgress) -> str:
    """Return how long a section waits for a slot; empty if it does not wait."""
    if not progress.queue_position:
        return ""
    wait = clock(progress.queue_wait.ToNanoseconds() / 1e9) if progress.HasField("queue_wait") else ""
    return f"position {progress.queue_position} in the queue{', begins in about ' if wait else ''}{wait}"


def ready_text(seconds_left: float | None) -> str:
    """Return when a composition will be complete; empty if that is unknown."""
    return "" if seconds_left is None else f"ready in about {clock(seconds_left)}"


class ReadyNote:
    """Writes the first known estimate of a mastering, an analysis or a separation to standard error."""

    def __init__(self, *, is_shown: bool) -> None:
        self._is_shown = is_shown

    def note(self, state: Composition | Analysis | Separation | stream_pb2.Checkpoint) -> None:
        """Write its estimate, if it has one and none was written."""
        if self._is_shown and state.HasField("ready_in"):
            self._is_shown = False
            print_note(ready_text(state.ready_in.ToNanoseconds() / 1e9))


def waiting_line(role: str) -> str:
    """Return the line for a composition that waits for a role."""
    return f"waiting for the {role}, which does not answer"


def failure_lines(composition: Composition) -> list[str]:
    """Return where a composition failed or was cancelled, and what is left of it."""
    failure = composition.failure
    if not failure.stage:
        return []
    names = {item.spec.section_id: item.spec.label or item.spec.section_id for item in composition.plan.sections}
    section = f" {names.get(failure.section_id, failure.section_id)}" if failure.section_id else ""
    complete = ", ".join(STAGE_WORDS.get(stage, "other work") for stage in failure.completed_stages)
    lines = [f"it ended while {STAGE_WORDS.get(failure.stage, 'working')}{section}; complete: {complete or 'nothing'}"]
    if failure.kept_section_ids:
        kept = ", ".join(names.get(section_id, section_id) for section_id in failure.kept_section_ids)
        lines.append(f"a retry does not render again: {kept}")
    if failure.draft:
        lines.append(f"the finished part is kept: {failure.draft}")
    return lines


def result_lines(
    composition: Composition, written: Sequence[Path], seconds: float, progress: CompositionProgress
) -> list[str]:
    """Return what was made, its files, and every difference from the request."""
    frames, rate = composition.plan.frames, composition.plan.sample_rate or 48_000
    loudness = composition.mastered.loudness
    parts = [clock(frames / rate)]
    if loudness.HasField("integrated_lufs"):
        parts.append(f"{loudness.integrated_lufs:.1f} LUFS")
    if loudness.HasField("true_peak_dbtp"):
        parts.append(f"{loudness.true_peak_dbtp:.1f} dBTP")
    parts.append(f"made in {seconds:.1f} s")
    if progress.first_audio_s is not None:
        parts.append(f"first sound after {progress.first_audio_s:.2f} s")
    lines = [f"{', '.join(str(path) for path in written)}: {', '.join(parts)}"]
    lines += [f"note: {text}" for text in dict.fromkeys(progress.notes)]
    lines += [f"degraded: {each.text}" for each in composition.degradations]
    return lines
