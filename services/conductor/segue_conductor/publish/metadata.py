"""The metadata of a composition's files: tags, cues, tempo, and the manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from segue_audio.files import AI_SYSTEM_TAG, SOURCE_TYPE_TAG, Cue
from segue_composition.section_models import models_of
from segue_conductor.publish.manifest import manifest, version
from segue_conductor.publish.source_type import has_weights, source_type
from segue_music import codec, theory, timing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from segue.composer.v1.composition_pb2 import Composition
    from segue.composer.v1.spec_pb2 import CompositionSpec
    from segue.mixer.v1 import mixer_pb2
    from segue.music.v1.music_pb2 import Plan
    from segue.renderer.v1.renderer_pb2 import ModelProfile
    from segue_conductor.composition_job import CompositionJob
    from segue_conductor.render.take_store import Take


@dataclass(frozen=True)
class FileMetadata:
    """The metadata in the files of a master."""

    tags: Mapping[str, str]
    cues: tuple[Cue, ...] = ()
    quarters_per_minute: float | None = None
    manifest: Callable[[mixer_pb2.MasterMeasurement], str] = lambda _: ""


def master_metadata(job: CompositionJob, takes: Mapping[str, Take]) -> FileMetadata:
    """Return the metadata of a composition's master."""
    return FileMetadata(
        tags(job.composition, job.spec, job.players),
        cues(job.plan),
        job.plan.quarters_per_minute,
        lambda measurement: manifest(job, measurement, takes),
    )


def cues(plan: Plan) -> tuple[Cue, ...]:
    """Return a cue for each section."""
    return tuple(Cue(item.first_frame, item.spec.label or item.spec.section_id) for item in plan.sections)


def tags(composition: Composition, spec: CompositionSpec, players: Sequence[ModelProfile]) -> dict[str, str]:
    """Return the tags of a composition's files; `players` is empty if no renderer could be asked for the models."""
    plan = codec.plan_from_message(composition.plan)
    found = {
        "TITLE": plan.title,
        "BPM": f"{timing.bpm_from_quarters(plan.quarters_per_minute, plan.metre):g}",
        "KEY": theory.key_name(plan.key),
        "INITIALKEY": theory.key_name(plan.key),
        "GENRE": plan.genre,
        "ENCODER": f"Segue {version('segue')}",
        "SEED": str(plan.seed),
    }
    if spec.private_prompt:
        found.pop("TITLE")
    elif spec.brief.prompt:
        found["COMMENT"] = spec.brief.prompt
    found["LICENSE"] = _licences(composition, players)
    if players:
        found[SOURCE_TYPE_TAG] = source_type(players)
        found[AI_SYSTEM_TAG] = ", ".join(profile.model for profile in players if has_weights(profile))
    if composition.degradations:
        found["DEGRADED"] = "; ".join(item.text for item in composition.degradations)
    return {name: text for name, text in found.items() if text}


def _licences(composition: Composition, players: Sequence[ModelProfile]) -> str:
    """Name every model with its weights' licence: the strictest one counts for the whole file."""
    if not players:
        models = " and ".join(models_of(composition.plan.sections, composition.model))
        return f"made with {models}, which could not be asked for its weights' licence"
    licensed = [profile for profile in players if profile.weights_license]
    if not licensed:
        return ""
    if len(players) == 1:
        return f"made with {players[0].model}, whose weights are licensed {players[0].weights_license}"
    models = " and ".join(profile.model for profile in players)
    licences = ", ".join(f"the weights of {each.model} are licensed {each.weights_license}" for each in licensed)
    return f"made with {models}; {licences}"
