"""Checks of GetStatus, ListModels and the profile."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from segue.music.v1 import music_pb2
from segue.renderer.v1 import renderer_pb2
from segue_renderer.conformance.check import Check
from segue_renderer.conformance.outcome import require, require_none

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration

    from segue_renderer.conformance.target import Target

RATES: Final = range(8_000, 192_001)
SHA_256: Final = re.compile(r"[0-9a-f]{64}")


async def status(target: Target) -> str:
    """Slots, queue, device, models and their states fit together."""
    found = target.status
    require(found.slots >= 1, "slots is 0")
    require(found.busy_slots <= found.slots, f"{found.busy_slots} of {found.slots} slots are busy")
    require(found.device, "device is empty")
    require(found.models, "there are no models")
    require(list(found.models) == target.models, "GetStatus and ListModels list other models")
    require(
        0 <= found.device_memory_used_bytes <= found.device_memory_bytes or not found.device_memory_bytes,
        f"{found.device_memory_used_bytes} of {found.device_memory_bytes} bytes of memory are in use",
    )
    require_none(model_states(found))
    return f"{found.slots} slots on {found.device}, {len(target.models)} model(s)"


async def names(target: Target) -> str:
    """Each model has a name of its own, a backend and an engine version."""
    models = [profile.model for profile in target.models]
    require(all(models), "a model has no name")
    require(len(set(models)) == len(models), "two models have one name")
    require(target.profile.backend, "backend is empty")
    require(target.profile.engine_version, "engine_version is empty: it must change whenever the bytes change")
    return f"{target.profile.model}, backend {target.profile.backend}, {target.profile.engine_version}"


async def audio_format(target: Target) -> str:
    """Sample rate and channels are possible."""
    profile = target.profile
    require(not profile.sample_rate or profile.sample_rate in RATES, f"sample_rate is {profile.sample_rate}")
    require(profile.channels in {1, 2}, f"channels is {profile.channels}; the mesh takes 1 or 2")
    rate = f"{profile.sample_rate} Hz" if profile.sample_rate else "the rate of the timeline"
    return f"{rate}, {profile.channels} channel(s)"


async def capabilities(target: Target) -> str:
    """Layers, guides, continuities and tasks are known, listed once, and agree with the other fields; so do words."""
    profile = target.profile
    problems = []
    for field, kinds in (
        ("layers", music_pb2.LayerKind),
        ("guides", renderer_pb2.Guide),
        ("continuities", music_pb2.Continuity),
        ("layer_tasks", renderer_pb2.LayerTask),
    ):
        values = list(getattr(profile, field))
        problems += [f"{field} holds {value}, which is unknown" for value in values if value not in kinds.values()]
        problems += [f"{field} holds UNSPECIFIED"] * (0 in values)
        problems += [f"{field} lists a value twice"] * (len(set(values)) < len(values))
    stems = [*layer_names(profile), *profile.extra_stems]
    problems += ["a stem has no name, or two have one"] * (len(set(stems)) < len(stems) or "" in stems)
    has_tail = music_pb2.CONTINUITY_TAIL in profile.continuities
    if has_tail != profile.HasField("conditioning"):
        problems.append("continuities and conditioning disagree about the audio of an earlier section")
    require_none(problems + _words(profile))
    return f"stems: {', '.join(stems) or 'none'}"


def _words(profile: renderer_pb2.ModelProfile) -> list[str]:
    """Return contradictions about lyrics and sampling."""
    problems = [
        f"{field} is set without uses_lyrics"
        for field in ("sings_vowels", "lyric_languages")
        if getattr(profile, field) and not profile.uses_lyrics
    ]
    problems += ["sampling is set without uses_sampling"] * (bool(profile.sampling) and not profile.uses_sampling)
    unknown = [name for name in profile.sampling if name not in music_pb2.SamplingHints.DESCRIPTOR.fields_by_name]
    return problems + [f"sampling holds {name!r}, which SamplingHints does not have" for name in unknown]


async def numbers(target: Target) -> str:
    """Window, stride, speed, memory and weights are possible values."""
    profile = target.profile
    problems = []
    window, stride = seconds(profile.window), seconds(profile.stride)
    if profile.HasField("stride") and not 0 < stride <= window:
        problems.append(f"stride is {stride:g} s, window {window:g} s")
    problems += [
        f"{field} is present and not positive"
        for field in ("window", "conditioning", "max_duration", "min_window", "grid", "following")
        if profile.HasField(field) and seconds(getattr(profile, field)) <= 0
    ]
    if profile.HasField("window") and seconds(profile.min_window) > window:
        problems.append(f"min_window is {seconds(profile.min_window):g} s, window {window:g} s")
    if not (math.isfinite(profile.real_time_factor) and profile.real_time_factor >= 0):
        problems.append(f"real_time_factor is {profile.real_time_factor}")
    if profile.memory_bytes < 0:
        problems.append(f"memory_bytes is {profile.memory_bytes}")
    if profile.model_digest and not SHA_256.fullmatch(profile.model_digest):
        problems.append("model_digest is not a SHA-256 in lower-case hex")
    if profile.model_digest and not profile.weights_license:
        problems.append("the model has weights, and weights_license is empty")
    require_none(problems)
    return f"real time factor {profile.real_time_factor:.2f}"


def model_states(status: renderer_pb2.GetStatusResponse) -> list[str]:
    """Return what is wrong with the states of the models."""
    states = status.model_statuses
    if not states:
        return []
    problems = []
    if [each.model for each in states] != [each.model for each in status.models]:
        problems.append("model_statuses are not in the order of models")
    for each in states:
        known = each.state in renderer_pb2.ModelState.values()
        problems += [] if known else [f"{each.model} has the state {each.state}, which is unknown"]
        if each.busy_slots > each.slots:
            problems.append(f"{each.busy_slots} of {each.slots} slots of {each.model} are busy")
        has_failed = each.state == renderer_pb2.MODEL_STATE_FAILED
        if has_failed != bool(each.reason):
            problems.append(f"{each.model}: a reason is given exactly with the state FAILED")
        if each.loading_step and each.state != renderer_pb2.MODEL_STATE_LOADING:
            problems.append(f"{each.model}: a loading_step is given with a state other than LOADING")
        problems += [f"{each.model} has no slots"] * (not each.slots and not has_failed)
    return problems


def without_measurements(profile: renderer_pb2.ModelProfile) -> renderer_pb2.ModelProfile:
    """Return a profile without the values that are measured when the model is loaded."""
    copy = renderer_pb2.ModelProfile()
    copy.CopyFrom(profile)
    copy.ClearField("real_time_factor")
    copy.ClearField("memory_bytes")
    return copy


def layer_names(profile: renderer_pb2.ModelProfile) -> list[str]:
    """Return the layers as stems are named: "bass"."""
    known = music_pb2.LayerKind.values()
    return [music_pb2.LayerKind.Name(each)[len("LAYER_KIND_") :].lower() for each in profile.layers if each in known]


def seconds(duration: Duration) -> float:
    """Return a duration in seconds."""
    return duration.seconds + duration.nanos / 1e9


CHECKS: Final = (
    Check("status", "GetStatus and ListModels agree, and their values are possible", status),
    Check("names", "every model has a unique name, a backend and an engine version", names),
    Check("format", "the profile's sample rate and channels are possible", audio_format),
    Check("capabilities", "layers, guides, continuities and words are known and consistent", capabilities),
    Check("numbers", "window, speed, memory and weights are possible values", numbers),
)
