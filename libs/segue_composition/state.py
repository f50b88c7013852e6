"""A composition as the fold of its log: `apply` and `apply_segment` are the only places that change one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composition_pb2, spec_pb2, stream_pb2
from segue.music.v1 import music_pb2
from segue_composition.log_rows import set_time
from segue_composition.stages import RENDERED, failure_of
from segue_music import codec
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from segue.composer.v1.composition_pb2 import Composition
    from segue.composer.v1.stream_pb2 import CompositionEvent
    from segue_composition.log_rows import Segment

TERMINAL: Final = frozenset(
    {
        composition_pb2.STATE_SUCCEEDED,
        composition_pb2.STATE_DEGRADED,
        composition_pb2.STATE_FAILED,
        composition_pb2.STATE_CANCELLED,
    }
)


def new_composition(
    name: str,
    owner: str,
    spec: spec_pb2.CompositionSpec,
    created: float,
    kept: Iterable[composition_pb2.Section] = (),
) -> Composition:
    """Return a queued composition; `kept` are the parent's sections with takes to reuse."""
    composition = composition_pb2.Composition(
        name=name,
        owner=owner,
        parent=spec.parent,
        session=spec.session,
        labels=dict(spec.labels),
        kind=spec.brief.kind,
        state=composition_pb2.STATE_QUEUED,
        degradation_policy=spec.degradation_policy or spec_pb2.DEGRADATION_POLICY_REFUSE,
        model=spec.model,
    )
    set_time(composition.create_time, created)
    for section in kept:
        _add_section(composition, section.section_id, section)
    return composition


def is_terminal(composition: Composition) -> bool:
    """Return whether the composition has ended."""
    return composition.state in TERMINAL


def section_of(composition: Composition, section_id: str) -> composition_pb2.Section:
    """Return a section of a planned composition."""
    return next(section for section in composition.sections if section.section_id == section_id)


def audio_seconds(composition: Composition) -> float:
    """Return the length of the draft so far; 0 for a mastering, whose draft is its caller's file."""
    plan = composition.plan
    return composition.draft_frames / plan.sample_rate if plan.sample_rate else 0.0


def brief_view(composition: Composition) -> Composition:
    """Return the composition as lists show it: without plan, sections, joins, report and estimate."""
    view = composition_pb2.Composition()
    view.CopyFrom(composition)
    for field in ("plan", "sections", "joins", "report", "estimate"):
        view.ClearField(field)
    return view


def finished_event(
    composition: Composition,
    final: composition_pb2.State.ValueType,
    error: errors.SegueError | None,
    ended: float,
    stage: composition_pb2.WorkStage.ValueType = composition_pb2.WORK_STAGE_UNSPECIFIED,
) -> CompositionEvent:
    """Return the only terminal event of a composition: the composition in its final state.

    `stage` is the part of the work in which the error occurred; by default the first that is not complete.
    """
    last = composition_pb2.Composition()
    last.CopyFrom(composition)
    last.state = final
    last.queue_position = 0
    if error is not None:
        last.error.CopyFrom(errors.to_status(error, ""))
        last.failure.CopyFrom(failure_of(composition, error, stage))
        for section in last.sections:
            if section.section_id == last.failure.section_id and section.state not in RENDERED:
                section.state = composition_pb2.SECTION_STATE_FAILED
    set_time(last.end_time, ended)
    return stream_pb2.CompositionEvent(
        finished=stream_pb2.Finished(composition=last), plan_version=composition.plan_version
    )


def apply(composition: Composition, event: CompositionEvent) -> None:
    """Change a composition by an event of its log."""
    kind = event.WhichOneof("event")
    change = _CHANGES.get(kind or "")
    if change is not None:
        change(composition, event)


def apply_segment(composition: Composition, segment: Segment) -> None:
    """Change a composition by a segment of its log."""
    if segment.stage == audio_pb2.STAGE_DRAFT:
        composition.draft_frames = segment.end_frame


def _started(composition: Composition, event: CompositionEvent) -> None:
    composition.claims = event.started.claims
    composition.queue_position = 0
    if not composition.HasField("start_time"):
        composition.start_time.CopyFrom(event.event_time)
        composition.state = composition_pb2.STATE_PLANNING


def _replanned(composition: Composition, event: CompositionEvent) -> None:
    before = composition_pb2.Composition()
    before.CopyFrom(composition)
    composition.plan.CopyFrom(event.replanned.plan)
    composition.plan_version = composition.plan.version
    models = {item.spec.section_id: item.spec.model for item in before.plan.sections}
    known = {section.section_id: section for section in before.sections}
    is_shorter = len(composition.plan.sections) < len(known)
    if is_shorter:  # the draft is mixed again
        del composition.joins[:]
    del composition.sections[:]
    for item in composition.plan.sections:
        section_id = item.spec.section_id
        section = composition.sections.add()
        section.CopyFrom(known[section_id])
        if item.spec.model != models[section_id]:
            section.Clear()
            section.section_id, section.state = section_id, composition_pb2.SECTION_STATE_WAITING
        elif is_shorter and section.state == composition_pb2.SECTION_STATE_JOINED:
            section.state = composition_pb2.SECTION_STATE_RENDERED


def _planned(composition: Composition, event: CompositionEvent) -> None:
    plan = event.planned.plan
    composition.plan.CopyFrom(plan)
    composition.plan_version = plan.version
    composition.kind = plan.kind or music_pb2.KIND_PIECE
    composition.seed = plan.seed
    composition.title = plan.title
    composition.estimate.CopyFrom(event.planned.estimate)
    composition.model = event.planned.estimate.model or composition.model
    for warning in plan.warnings:
        _warn(composition, warning)
    composition.state = composition_pb2.STATE_RENDERING
    known = composition_pb2.Composition(sections=composition.sections)
    kept = {section.section_id: section for section in known.sections}
    del composition.sections[:]
    for item in plan.sections:
        _add_section(composition, item.spec.section_id, kept.get(item.spec.section_id))


def _add_section(composition: Composition, section_id: str, kept: composition_pb2.Section | None) -> None:
    section = composition.sections.add(section_id=section_id, state=composition_pb2.SECTION_STATE_WAITING)
    if kept is not None:
        section.take, section.kept = kept.take, True
        if kept.HasField("shift_frames"):
            section.shift_frames = kept.shift_frames


def _section_started(composition: Composition, event: CompositionEvent) -> None:
    section = section_of(composition, event.section_started.section_id)
    section.state = composition_pb2.SECTION_STATE_RENDERING
    section.attempt = event.section_started.attempt
    section.model = event.section_started.model


def _section_finished(composition: Composition, event: CompositionEvent) -> None:
    section = section_of(composition, event.section_finished.section_id)
    if section.state != composition_pb2.SECTION_STATE_JOINED:  # the mixer may report the join first
        section.state = composition_pb2.SECTION_STATE_RENDERED
    finished = event.section_finished
    # The parent's take may be gone; then another one was made.
    section.kept = section.kept and finished.reused and section.take == finished.take
    section.take, section.reused = finished.take, finished.reused
    for warning in event.section_finished.rendered.warnings:
        _warn(composition, warning)


def _section_retried(composition: Composition, event: CompositionEvent) -> None:
    retried = event.section_retried
    if retried.redo:
        section_of(composition, retried.section_id).redos += 1
    if not retried.HasField("seed"):
        return
    # Reproductions and edits start from the seed that the section was really made with.
    plan = composition.plan
    next(item for item in plan.sections if item.spec.section_id == retried.section_id).seed = retried.seed
    plan.version += 1
    plan.digest = codec.plan_digest(codec.plan_from_message(plan))
    composition.plan_version = plan.version


def _section_mixed(composition: Composition, event: CompositionEvent) -> None:
    mixed = event.section_mixed
    section = section_of(composition, mixed.section_id)
    section.state = composition_pb2.SECTION_STATE_JOINED
    section.shift_frames = mixed.shift_frames
    if mixed.HasField("join"):
        composition.joins.add().CopyFrom(mixed.join)
    for warning in mixed.warnings:
        _warn(composition, warning)


def _draft_rewound(composition: Composition, event: CompositionEvent) -> None:
    if event.draft_rewound.stage == audio_pb2.STAGE_DRAFT:
        composition.draft_frames = event.draft_rewound.first_frame


def _draft_finished(composition: Composition, event: CompositionEvent) -> None:
    composition.draft_frames = event.draft_finished.mixed.frames
    composition.state = composition_pb2.STATE_MASTERING
    for warning in event.draft_finished.mixed.warnings:
        _warn(composition, warning)


def _master_made(composition: Composition, event: CompositionEvent) -> None:
    composition.master.CopyFrom(event.master_made.measurement)
    composition.mastered.CopyFrom(event.master_made.finished)
    for warning in event.master_made.finished.warnings:
        _warn(composition, warning)


def _analyzed(composition: Composition, event: CompositionEvent) -> None:
    composition.report.CopyFrom(event.analyzed)
    composition.report.ClearField("peaks")


def _output_ready(composition: Composition, event: CompositionEvent) -> None:
    # A stage that is repeated after a crash makes the same files again.
    kept = [output for output in composition.outputs if output.name != event.output_ready.name]
    del composition.outputs[:]
    composition.outputs.extend([*kept, event.output_ready])


def _degraded(composition: Composition, event: CompositionEvent) -> None:
    composition.degradations.add().CopyFrom(event.degraded)


def _warned(composition: Composition, event: CompositionEvent) -> None:
    _warn(composition, event.warned)


def _warn(composition: Composition, warning: music_pb2.Warning) -> None:
    if warning not in composition.warnings:
        composition.warnings.add().CopyFrom(warning)


_CHANGES: dict[str, Callable[[Composition, CompositionEvent], None]] = {
    "started": _started,
    "planned": _planned,
    "replanned": _replanned,
    "section_started": _section_started,
    "section_finished": _section_finished,
    "section_retried": _section_retried,
    "section_mixed": _section_mixed,
    "draft_rewound": _draft_rewound,
    "draft_finished": _draft_finished,
    "master_made": _master_made,
    "analyzed": _analyzed,
    "output_ready": _output_ready,
    "degraded": _degraded,
    "warned": _warned,
}
