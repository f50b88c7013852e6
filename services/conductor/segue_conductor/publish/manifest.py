"""The manifest: everything needed to make the same bytes again. It contains no clock, id or attempt."""

from __future__ import annotations

import json
import platform
from importlib import metadata
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format

from segue.composer.v1 import spec_pb2
from segue.renderer.v1 import renderer_pb2
from segue_conductor.publish.source_type import source_type
from segue_conductor.render.degradation import left_out_sections

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

    from segue.mixer.v1.mixer_pb2 import MasterMeasurement
    from segue.renderer.v1.renderer_pb2 import ModelProfile
    from segue_conductor.composition_job import CompositionJob
    from segue_conductor.render.take_store import Take

SCHEMA = "segue/manifest/1"


def manifest(job: CompositionJob, measurement: MasterMeasurement, takes: Mapping[str, Take]) -> str:
    """Return the manifest of a composition as JSON."""
    section_ids = [item.spec.section_id for item in job.plan.sections]
    exact = all(profile.determinism == renderer_pb2.DETERMINISM_BIT_EXACT for profile in job.players)
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "spec": _json(_public(job, measurement)),
        "plan": _json(job.plan),
        "model": _model(job.profile),
        "digital_source_type": source_type(job.players),
        "takes": [{"section_id": each, "take": takes[each].key if each in takes else ""} for each in section_ids],
        "master": _json(measurement),
        "degradations": [_json(item) for item in job.composition.degradations],
        "software": {"segue": version("segue"), "numpy": version("numpy"), "machine": platform.machine()},
        "promise": (
            "The same request gives the same bytes with the same release, numpy and CPU level."
            if exact
            else "The same request gives the same music; bytes may differ between machines and batches."
        ),
    }
    sung = [item.spec.lyrics for item in job.plan.sections if item.spec.HasField("lyrics")]
    if sung:
        content["lyrics"] = {"language": sung[0].language, "lines": sum(len(each.lines) for each in sung)}
    if job.players != [job.profile]:
        content["models"] = [_model(profile) for profile in job.players]
    leading = [each for each in section_ids if each in takes and _leads(takes[each])]
    if leading:
        content["led_into_kept_takes"] = leading
        content["promise"] = "A section led into an existing take; of the request comes another take of that section."
    if job.spec.melody.source:
        content["melody_was_a_file"] = True
        content["promise"] = "The sections followed a melody in a file, which must be given again."
    if job.spec.timbre_source:
        content["timbre_was_a_file"] = True
        content["promise"] = "The sections imitated the sound of a file, which must be given again."
    if job.spec.private_prompt:
        _hide_prompts(content["plan"])
        if job.spec.HasField("plan"):
            # The plan was given or edited. It is incomplete without its prompts, and the prompt gives another plan.
            content["promise"] = "Its plan was handed in and its prompts are private: only its owner can make it again."
            content["plan_was_given"] = True
        elif any(each.failed_model for each in job.composition.degradations):
            content["promise"] = (
                "A section failed, and the plan changed: of the prompt comes the piece as it was planned."
            )
        elif job.plan.version > 1:
            content["promise"] = "A section was tried again with another seed: of the prompt comes another take of it."
    return json.dumps(content, sort_keys=True, ensure_ascii=False)


def _leads(take: Take) -> bool:
    """Return whether a take was made with the start of the next section's take, which existed before it."""
    return take.finished is not None and take.finished.following_applied


def _model(profile: ModelProfile) -> dict[str, str]:
    return {
        "name": profile.model,
        "backend": profile.backend,
        "digest": profile.model_digest,
        "engine": profile.engine_version,
        "weights_license": profile.weights_license,
        "determinism": "BIT_EXACT" if profile.determinism == renderer_pb2.DETERMINISM_BIT_EXACT else "SEEDED",
    }


def _public(job: CompositionJob, measurement: MasterMeasurement) -> spec_pb2.CompositionSpec:
    """Return the public part of the spec: without labels, session and priority, and without a private prompt or lyrics.

    The plan and the frozen master contain the effect of edits, so that neither parent nor edits are needed again. The
    plan's seeds contain the effect of bounds: they are those of the takes that were used.
    """
    public = spec_pb2.CompositionSpec()
    public.CopyFrom(job.spec)
    public.model = job.profile.model
    public.labels.clear()
    for field in ("session", "parent", "edits", "master_mode", "plan", "priority", "take_bounds"):
        public.ClearField(field)
    # The plan has the words of every section, and times for them.
    public.brief.ClearField("lyrics")
    if left_out_sections(job.composition) and not job.spec.private_prompt:
        # The plan has become shorter than the brief says.
        public.brief.ClearField("duration")
        for contradicted in (public.brief.form, public.brief.include_layers, public.brief.instruments):
            contradicted.clear()
    if public.melody.source:
        # Other owners cannot read the upload.
        public.ClearField("melody")
    public.ClearField("timbre_source")
    if public.HasField("frozen_master"):
        public.frozen_master.measurement.CopyFrom(measurement)
        names = [item.spec.section_id for item in job.plan.sections]
        public.frozen_master.section_ids[:] = names[: len(measurement.section_gains_db)]
    if job.spec.private_prompt:
        public.brief.prompt = ""
        public.brief.negative_prompt = ""
    return public


def _hide_prompts(plan: dict[str, Any]) -> None:
    for quoting in ("readings", "title", "warnings"):
        plan.pop(quoting, None)
    for section in plan.get("sections", []):
        section["spec"].pop("prompt", None)
        section["spec"].pop("negative_prompt", None)
        section["spec"].pop("lyrics", None)


def _json(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def version(package: str) -> str:
    """Return the version of a package; empty when it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
