"""The reproduction manifest: what is needed to make the same bytes again. No clock, no id, no attempt stands in it."""

from __future__ import annotations

import json
import platform
from importlib import metadata
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format

from segue.composer.v1 import spec_pb2
from segue.renderer.v1 import renderer_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

    from segue.mixer.v1.mixer_pb2 import MasterMeasurement
    from segue_conductor.composition_job import Context

SCHEMA = "segue/manifest/1"


def manifest(context: Context, measurement: MasterMeasurement, takes: Mapping[str, str]) -> str:
    """Write the manifest of a composition as JSON."""
    profile = context.player.profile
    exact = profile.determinism == renderer_pb2.DETERMINISM_BIT_EXACT
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "spec": _json(_public(context, measurement)),
        "plan": _json(context.plan),
        "model": {
            "name": profile.model,
            "backend": profile.backend,
            "digest": profile.model_digest,
            "engine": profile.engine_version,
            "weights_license": profile.weights_license,
            "determinism": "BIT_EXACT" if exact else "SEEDED",
        },
        "takes": [
            {"section_id": item.spec.section_id, "take": takes.get(item.spec.section_id, "")}
            for item in context.plan.sections
        ],
        "master": _json(measurement),
        "degradations": [_json(item) for item in context.composition.degradations],
        "software": {"segue": version("segue"), "numpy": version("numpy"), "machine": platform.machine()},
        "promise": (
            "The same request gives the same bytes with the same release, numpy and CPU level."
            if exact
            else "The same request gives the same music; bytes may differ between machines and batches."
        ),
    }
    if context.spec.melody.source:
        content["melody_was_a_file"] = True
        content["promise"] = "The sections followed a melody in a file, which must be given again."
    if context.spec.private_prompt:
        _hide_prompts(content["plan"])
        if context.spec.HasField("plan"):
            # It was handed in or edited: without its prompts it is not whole, and of the prompt comes another one.
            content["promise"] = "Its plan was handed in and its prompts are private: only its owner can make it again."
            content["plan_was_given"] = True
        elif context.plan.version > 1:
            content["promise"] = "A section was tried again with another seed: of the prompt comes another take of it."
    return json.dumps(content, sort_keys=True, ensure_ascii=False)


def _public(context: Context, measurement: MasterMeasurement) -> spec_pb2.CompositionSpec:
    """Return the spec as another may read it: without labels and session, and the prompt only if it may be shown.

    What an edit made of its parent is in the plan and in the frozen master: neither parent nor edits are needed again.
    """
    public = spec_pb2.CompositionSpec()
    public.CopyFrom(context.spec)
    public.model = context.player.profile.model
    public.labels.clear()
    for field in ("session", "parent", "edits", "master_mode", "plan"):
        public.ClearField(field)
    if public.melody.source:
        # An upload's name says nothing to another.
        public.ClearField("melody")
    if public.HasField("frozen_master"):
        public.frozen_master.measurement.CopyFrom(measurement)
        names = [item.spec.section_id for item in context.plan.sections]
        public.frozen_master.section_ids[:] = names[: len(measurement.section_gains_db)]
    if context.spec.private_prompt:
        public.brief.prompt = ""
        public.brief.negative_prompt = ""
    return public


def _hide_prompts(plan: dict[str, Any]) -> None:
    plan.pop("readings", None)
    plan.pop("title", None)
    for section in plan.get("sections", []):
        section["spec"].pop("prompt", None)
        section["spec"].pop("negative_prompt", None)


def _json(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def version(package: str) -> str:
    """Return the version of a package; empty when it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
