"""What the files of a composition say besides their sound: tags, cues, tempo, and how to make them again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from segue_audio.files import Cue
from segue_conductor.publish.manifest import manifest, version
from segue_music import codec, theory, timing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from segue.mixer.v1 import mixer_pb2
    from segue.renderer.v1.renderer_pb2 import ModelProfile
    from segue_conductor.composition_job import Bench, Context


@dataclass(frozen=True)
class Labels:
    """What the files of a master say besides their sound."""

    tags: Mapping[str, str]
    cues: tuple[Cue, ...] = ()
    quarters_per_minute: float | None = None
    manifest: Callable[[mixer_pb2.MasterMeasurement], str] = lambda _: ""


def labels(context: Context, takes: Mapping[str, str]) -> Labels:
    """Return what the files of a composition say."""
    return Labels(
        tags(context, context.player.profile),
        cues(context),
        context.plan.quarters_per_minute,
        lambda measurement: manifest(context, measurement, takes),
    )


def cues(context: Bench) -> tuple[Cue, ...]:
    """Return a cue for each section."""
    return tuple(Cue(item.first_frame, item.spec.label or item.spec.section_id) for item in context.plan.sections)


def tags(context: Bench, profile: ModelProfile | None) -> dict[str, str]:
    """Return what players show."""
    plan = codec.plan_from_message(context.plan)
    found = {
        "TITLE": plan.title,
        "BPM": f"{timing.bpm_from_quarters(plan.quarters_per_minute, plan.metre):g}",
        "KEY": theory.key_name(plan.key),
        "INITIALKEY": theory.key_name(plan.key),
        "GENRE": plan.genre,
        "ENCODER": f"Segue {version('segue')}",
        "SEED": str(plan.seed),
    }
    if context.spec.private_prompt:
        found.pop("TITLE")
    elif context.spec.brief.prompt:
        found["COMMENT"] = context.spec.brief.prompt
    if profile is None:
        found["LICENSE"] = f"made with {context.composition.model}, which could not be asked for its weights' licence"
    elif profile.weights_license:
        found["LICENSE"] = f"made with {profile.model}, whose weights are licensed {profile.weights_license}"
    if context.composition.degradations:
        found["DEGRADED"] = "; ".join(item.text for item in context.composition.degradations)
    return {name: text for name, text in found.items() if text}
