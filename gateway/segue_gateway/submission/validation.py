"""Checks of a request before it is accepted, beyond the rules of the contract.

No option is accepted and then ignored: an option that the chosen model or this release does not support is an error.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composition_pb2, mastering_pb2, separation_pb2, spec_pb2
from segue.music.v1 import music_pb2
from segue_audio.formats import DEFAULT_BIT_DEPTH, FileFormat
from segue_composition import state
from segue_composition.plan_request import plan_request
from segue_composition.section_models import can_follow, can_imitate, models_of, players_of
from segue_music.codec import canonical_json
from segue_runtime import errors
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from segue.composer.v1.composition_pb2 import Composition
    from segue.composer.v1.spec_pb2 import CompositionSpec
    from segue.renderer.v1.renderer_pb2 import ModelProfile
    from segue_composition.model_catalog import ModelCatalog
    from segue_composition.peers import Peers

FORMATS = {audio_pb2.FileFormat.Value(kind.contract_name): kind for kind in FileFormat}


def spec_digest(spec: CompositionSpec) -> bytes:
    """Return a digest that is equal for equal specs."""
    return hashlib.sha256(canonical_json(spec)).digest()


@dataclass(frozen=True)
class Acceptance:
    """The models that will render an accepted spec, and what the planner says about the caller's plan."""

    profiles: Sequence[ModelProfile] = ()
    """The piece's own model is the first."""
    warnings: Sequence[music_pb2.Warning] = ()


async def check_composition(
    spec: CompositionSpec, models: ModelCatalog, peers: Peers, fields: Mapping[str, str] | None = None
) -> Acceptance:
    """Check a spec against this release, the known models and the planner.

    `fields` name the fields that name models; by default they are those of the spec.
    """
    violations = [*export_violations(spec.exports, "spec."), *_master_violations(spec)]
    if not spec.HasField("plan") and not spec.brief.prompt.strip():
        violations.append(FieldViolation("spec.brief.prompt", "it is blank", "calm piano, 80 bpm"))
    if spec.lrc and not _has_lyrics(spec):
        violations.append(FieldViolation("spec.lrc", "the piece has no lyrics", "set brief.lyrics, or leave it out"))
    if violations:
        first = violations[0]
        raise errors.InvalidField(f"{first.field}: {first.description}", violations=violations)
    names = models_of(spec.plan.sections, spec.model)
    profiles = await models.find_all(names, model_fields(spec) if fields is None else fields)
    check_options(spec, profiles)
    is_limited = (
        spec.brief.tail == music_pb2.TAIL_POLICY_FORBID
        or spec.brief.HasField("lyrics")
        or profiles[0].HasField("max_duration")
    )
    if not (spec.HasField("plan") or is_limited):
        return Acceptance(profiles)
    # In these cases only the planner can find errors: the caller gets them now and not after the queue.
    answer = await peers.create_plan(plan_request(spec, profiles))
    return Acceptance(profiles, answer.plan.warnings if spec.HasField("plan") else ())


def model_fields(spec: CompositionSpec) -> dict[str, str]:
    """Return the field that names each model of a request."""
    named = [
        (item.spec.model, f"spec.plan.sections[{index}].spec.model") for index, item in enumerate(spec.plan.sections)
    ]
    for index, edit in enumerate(spec.edits):
        kind = edit.WhichOneof("edit")
        if kind == "redo":
            named.append((edit.redo.model, f"spec.edits[{index}].redo.model"))
        elif kind in {"replace", "insert"}:
            named.append((getattr(edit, kind).spec.model, f"spec.edits[{index}].{kind}.spec.model"))
    named.append((spec.model, "spec.model"))
    return {model: field for model, field in reversed(named) if model}


def needs_renderer(spec: CompositionSpec) -> bool:
    """Return whether a spec has an option that not every model supports, or that the planner checks for a model."""
    return bool(
        spec.stems
        or spec.midi
        or spec.brief.continuity
        or spec.melody.WhichOneof("melody")
        or spec.timbre_source
        or spec.brief.same_timbre
        or spec.HasField("plan")
        or spec.brief.tail == music_pb2.TAIL_POLICY_FORBID
        or spec.brief.HasField("lyrics")
    )


def _has_lyrics(spec: CompositionSpec) -> bool:
    return spec.brief.HasField("lyrics") or any(item.spec.HasField("lyrics") for item in spec.plan.sections)


def _master_violations(spec: CompositionSpec) -> Iterator[FieldViolation]:
    if spec.HasField("frozen_master") and spec.HasField("master"):
        yield FieldViolation("spec.master", "frozen_master contains its own settings", "leave it out")
    if not spec.parent:
        if spec.edits:
            yield FieldViolation("spec.edits", "edits need a parent", "the name of the composition to edit")
        if spec.master_mode == spec_pb2.MASTER_MODE_FROZEN:
            yield FieldViolation("spec.master_mode", "FROZEN needs a parent", "REMASTER")


def check_retry(failed: Composition, *, is_composition: bool) -> None:
    """Check that a composition can be retried: it has failed or was cancelled, and was not a mastering."""
    if not state.is_terminal(failed):
        raise errors.NotFinished(f"{failed.name} has not ended", metadata={"name": failed.name})
    if not is_composition or failed.state not in {composition_pb2.STATE_FAILED, composition_pb2.STATE_CANCELLED}:
        text = "it did not fail" if is_composition else "a mastering is created again with CreateMaster"
        raise errors.InvalidField(f"name: {text}", violations=[FieldViolation("name", text)])


def request_digest(request: mastering_pb2.CreateMasterRequest | separation_pb2.CreateSeparationRequest) -> bytes:
    """Return a digest that is equal for equal requests, whatever their request ids."""
    asked = copy.deepcopy(request)
    asked.request_id = ""
    return hashlib.sha256(canonical_json(asked)).digest()


def check_master(request: mastering_pb2.CreateMasterRequest) -> None:
    """Check a mastering without opening its file."""
    violations = list(export_violations(request.exports))
    if violations:
        first = violations[0]
        raise errors.InvalidField(f"{first.field}: {first.description}", violations=violations)


def check_separation(request: separation_pb2.CreateSeparationRequest) -> None:
    """Check that the files of a separation can add up to its source."""
    kind = FORMATS[request.file_format or audio_pb2.FILE_FORMAT_FLAC]
    if not kind.is_lossless:
        problem = "a lossy format changes each stem, so that their sum is not the source"
        raise errors.InvalidField(
            f"file_format: {problem}", violations=[FieldViolation("file_format", problem, "FLAC or WAV")]
        )


def check_options(spec: CompositionSpec, profiles: Sequence[ModelProfile]) -> None:
    """Refuse options that none of a piece's models supports; `profiles` has the piece's own first."""
    players = players_of(spec.plan.sections, profiles)
    name = " or ".join(profile.model for profile in players)
    if spec.midi and not any(profile.gives_notes for profile in players):
        text = f"{name} does not give notes; leave midi out, or choose another model"
        raise _not_supported("spec.midi", text, name)
    wanted = spec.brief.continuity
    if wanted and not any(wanted in profile.continuities for profile in players):
        text = f"{name} does not support {music_pb2.Continuity.Name(wanted)}"
        raise _not_supported("spec.brief.continuity", text, name)
    if not any(can_follow(spec, profile) for profile in players):
        raise _not_supported("spec.melody", f"{name} cannot follow a melody; choose a melody model", name)
    wanted_timbre = {"spec.timbre_source": spec.timbre_source, "spec.brief.same_timbre": spec.brief.same_timbre}
    for option in [option for option, is_wanted in wanted_timbre.items() if is_wanted]:
        if not any(can_imitate(profile) for profile in players):
            raise _not_supported(option, f"{name} imitates no sound; choose a model that does", name)


def _not_supported(option: str, text: str, model: str) -> errors.SegueError:
    return errors.OptionNotSupported(f"{option}: {text}", metadata={"option": option, "model": model})


def export_violations(exports: Sequence[spec_pb2.Export], prefix: str = "") -> Iterator[FieldViolation]:
    """Yield the options that no file format supports."""
    seen: set[tuple[int, int, int]] = set()
    for index, export in enumerate(exports):
        path = f"{prefix}exports[{index}]"
        number = export.file_format or audio_pb2.FILE_FORMAT_FLAC
        kind = FORMATS[number]
        if export.bit_depth and not kind.is_lossless:
            yield FieldViolation(f"{path}.bit_depth", "a lossy format has no bit depth", "0")
        elif export.bit_depth and export.bit_depth not in kind.value.bit_depths:
            depths = " or ".join(map(str, kind.value.bit_depths))
            yield FieldViolation(f"{path}.bit_depth", f"{kind.name} has {depths} bits", str(DEFAULT_BIT_DEPTH))
        if export.sample_rate and not kind.has_sample_rate(export.sample_rate):
            highest = max(kind.value.sample_rates)
            text = f"{kind.name} does not have {export.sample_rate}; its highest rate is {highest}"
            yield FieldViolation(f"{path}.sample_rate", text, str(highest))
        same = (number, export.sample_rate, export.bit_depth)
        if same in seen:
            yield FieldViolation(path, "the same file is asked for twice")
        seen.add(same)
