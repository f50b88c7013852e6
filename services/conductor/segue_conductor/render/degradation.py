"""Lesser results for a section that failed for good: another model plays it, or the piece goes on without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue.composer.v1 import composition_pb2, spec_pb2, stream_pb2
from segue.music.v1 import music_pb2
from segue_composition.section_models import can_follow, can_imitate, model_of
from segue_music import codec
from segue_runtime import errors, failpoints, logs
from segue_runtime.tenants import may_use

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from segue.composer.v1.composition_pb2 import Composition, Degradation
    from segue.composer.v1.spec_pb2 import CompositionSpec
    from segue.music.v1.music_pb2 import Plan, SectionSpec
    from segue.renderer.v1.renderer_pb2 import ModelProfile
    from segue_conductor.composition_job import CompositionJob

AFTER_DEGRADED: Final = failpoints.declare("conductor.after_degraded", "a section's lesser result is in the log")
log = logs.get("conductor")
MODEL_REPLACED: Final = "section_model_replaced"
LEFT_OUT: Final = "section_left_out"
MAX_REPLACEMENTS: Final = 3
"""How many other models try a section, so that a fault of all models ends soon."""
MAX_REASON: Final = 400
SECTION_FAULTS: Final = frozenset(
    each.reason
    for each in (
        errors.RenderInvalid,
        errors.InternalError,
        errors.OutOfMemory,
        errors.TooManyTries,
        errors.OptionNotSupported,
        errors.InvalidField,
    )
)
"""Faults that may be the section's own: the others of the same model can be played."""
MODEL_FAULTS: Final = (errors.Unavailable, errors.ModelNotFound)
"""Faults of the model or its renderers: only another model helps."""
SKETCH: Final = "sketch"


def left_out_sections(composition: Composition) -> set[str]:
    """Return the sections that were given up; the plan loses them when the draft reaches them."""
    return {each.section_id for each in composition.degradations if each.code == LEFT_OUT}


async def degrade(job: CompositionJob, section: SectionSpec, error: errors.SegueError) -> None:
    """Decide how a piece goes on after a section's last attempt, and write it down; raise an error if it must not."""
    served = await job.claim.services.models.served()
    profiles = {each.model: each for each in served if may_use(job.claim.allowed_models, each.model)}
    found = degradation_of(job.composition, job.spec, section, error, list(profiles.values()))
    if found is None:
        raise error
    if job.spec.degradation_policy != spec_pb2.DEGRADATION_POLICY_ALLOW:
        metadata = error.metadata | {"degradation": found.code, "reason": error.reason}
        message = f"{error.message}; the degradation policy is REFUSE"
        raise errors.DegradationRefused(message, metadata=metadata) from error
    log.warning("degraded", section=section.section_id, code=found.code, reason=error.reason)
    events = [stream_pb2.CompositionEvent(degraded=found)]
    if found.model:
        job.models[found.model] = profiles[found.model]
        plan = with_model(job.plan, section.section_id, profiles[found.model])
        events.append(stream_pb2.CompositionEvent(replanned=stream_pb2.Replanned(plan=plan)))
    await job.journal.append(*events)
    await failpoints.reach(AFTER_DEGRADED)


def degradation_of(
    composition: Composition, spec: CompositionSpec, section: SectionSpec, error: errors.SegueError,
    models: Sequence[ModelProfile],
) -> Degradation | None:  # fmt: skip
    """Return the least degradation with which the piece can go on; None if there is none.

    `models` are those that renderers serve at the moment.
    """
    failed, reason = model_of(section, composition.model), error.message[:MAX_REASON]
    found = composition_pb2.Degradation(section_id=section.section_id, failed_model=failed)
    name = section.label or section.section_id
    replaced = [each for each in composition.degradations if each.section_id == section.section_id]
    tried = {failed, *(each.failed_model for each in replaced)}
    candidates = [profile for profile in models if profile.model not in tried and _is_long_enough(section, profile)]
    is_degradable = error.reason in SECTION_FAULTS or isinstance(error, MODEL_FAULTS)
    if is_degradable and candidates and len(replaced) < MAX_REPLACEMENTS:
        best = max(candidates, key=lambda profile: (_num_abilities(spec, section, profile), profile.backend != SKETCH))
        found.code, found.model = MODEL_REPLACED, best.model
        found.text = f"{name} is played by {best.model} instead of {failed}, which failed: {reason}"
        if section.HasField("lyrics") and not best.uses_lyrics:
            found.text += f"; {best.model} sings no lyrics"
        return found
    num_left = len(composition.plan.sections) - len(
        left_out_sections(composition) & {item.spec.section_id for item in composition.plan.sections}
    )
    if error.reason in SECTION_FAULTS and num_left > 1:
        found.code, found.text = LEFT_OUT, f"{name} is left out, because {failed} failed: {reason}"
        return found
    return None


def _is_long_enough(section: SectionSpec, profile: ModelProfile) -> bool:
    length_ns = (section.frames + section.tail_frames) * 1_000_000_000 // section.sample_rate
    return not profile.HasField("max_duration") or length_ns <= profile.max_duration.ToNanoseconds()


def _num_abilities(spec: CompositionSpec, section: SectionSpec, profile: ModelProfile) -> int:
    """Return how many of the requested things a model can give."""
    follows = spec.HasField("melody") and can_follow(spec, profile)
    sings = section.HasField("lyrics") and profile.uses_lyrics
    imitates = bool(spec.timbre_source or section.timbre_section) and can_imitate(profile)
    return sum((spec.stems and bool(profile.layers), spec.midi and profile.gives_notes, follows, sings, imitates))


def with_model(plan: Plan, section_id: str, profile: ModelProfile) -> Plan:
    """Return a plan in which another model plays a section."""
    changed = _next_version(plan)
    item = next(each for each in changed.sections if each.spec.section_id == section_id)
    item.spec.model = profile.model
    if item.spec.continuity not in profile.continuities:
        if item.spec.continuity == music_pb2.CONTINUITY_TAIL:
            del item.waits_for[:]
        item.spec.continuity = music_pb2.CONTINUITY_NONE
    return _with_digest(changed)


def without_section(plan: Plan, section_id: str) -> Plan:
    """Return a plan without a section: the later ones begin earlier. All takes of the others stay usable."""
    changed = _next_version(plan)
    del changed.sections[:]
    frame = bar = 0
    for item in (each for each in plan.sections if each.spec.section_id != section_id):
        placed = changed.sections.add()
        placed.CopyFrom(item)
        placed.first_frame, placed.first_bar = frame, bar
        if placed.spec.timbre_section == section_id:
            placed.spec.ClearField("timbre_section")
        if section_id in item.waits_for:
            del placed.waits_for[:]
            placed.waits_for.extend(_waits(item.waits_for, section_id, changed))
            if item.spec.continuity == music_pb2.CONTINUITY_TAIL and len(changed.sections) == 1:
                placed.spec.continuity = music_pb2.CONTINUITY_NONE
        if len(changed.sections) == 1:
            placed.ClearField("join")
        frame += item.spec.frames
        bar += item.spec.bars
    changed.frames = frame + changed.sections[-1].spec.tail_frames
    return _with_digest(changed)


def _waits(waits_for: Iterable[str], left_out: str, placed: Plan) -> list[str]:
    """Return what a section waits for when it waited for one that is left out: for the one that is before it now."""
    before = placed.sections[-2].spec.section_id if len(placed.sections) > 1 else ""
    return [each for each in dict.fromkeys(before if each == left_out else each for each in waits_for) if each]


def _next_version(plan: Plan) -> Plan:
    changed = music_pb2.Plan()
    changed.CopyFrom(plan)
    changed.version += 1
    return changed


def _with_digest(plan: Plan) -> Plan:
    plan.digest = codec.plan_digest(codec.plan_from_message(plan))
    return plan
