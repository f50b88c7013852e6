"""Base requests and a change for every field of Brief, Plan and CompositionSpec.

A field that is new in the contract needs an entry here, or a reason in exceptions.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.duration_pb2 import Duration
from tests.contract.fields import Change, put, setting
from tests.contract.section_changes import SECTION, base_section, on, one_tempo

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import spec_pb2
from segue.mixer.v1 import mixer_pb2
from segue.music.v1 import music_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from segue.composer.v1 import composition_pb2

PROMPT: Final = "bright pop, 160 bpm"


def base_brief() -> music_pb2.Brief:
    """Return a brief whose seed is set: else every change would draw another one."""
    return music_pb2.Brief(prompt=PROMPT, seed=3, duration=Duration(seconds=7), sample_rate=22_050)


def base_plan() -> music_pb2.Plan:
    """Return a complete plan of two sections."""
    first, second = base_section("verse"), base_section("chorus")
    plan = music_pb2.Plan(
        title="Base",
        kind=music_pb2.KIND_PIECE,
        sample_rate=first.sample_rate,
        quarters_per_minute=160.0,
        metre=first.metre,
        key=first.key,
        genre="pop",
        moods=["bright"],
        motif=first.motif,
        seed=5,
    )
    for spec in (first, second):
        plan.sections.add(spec=spec)
    return plan


def open_plan() -> music_pb2.Plan:
    """Return a plan that the brief beside it can complete or contradict."""
    plan = base_plan()
    for item in plan.sections:
        item.spec.ClearField("prompt")
        item.spec.layers.pop()
    plan.sections[-1].spec.tail_frames = 4_410
    return plan


def base_composition(model: str = "") -> spec_pb2.CompositionSpec:
    """Return a composition of two short sections."""
    return spec_pb2.CompositionSpec(brief=music_pb2.Brief(prompt=PROMPT), plan=base_plan(), model=model)


def _metre(brief: music_pb2.Brief) -> None:
    brief.metre.beats = brief.metre.unit = 4


def _key(brief: music_pb2.Brief) -> None:
    brief.key.tonic, brief.key.mode = "C", music_pb2.MODE_MAJOR


BRIEF: Final[Mapping[str, Change]] = {
    "prompt": setting("prompt", "dark ambient, 160 bpm"),
    "negative_prompt": setting("negative_prompt", "drums"),
    "kind": setting("kind", music_pb2.KIND_LOOP),
    "duration": setting("duration", Duration(seconds=9)),
    "quarters_per_minute": setting("quarters_per_minute", 140.0),
    "metre.beats": on(_metre, "metre.beats", 3),
    "metre.unit": on(_metre, "metre.unit", 8),
    "key.tonic": on(_key, "key.tonic", "D"),
    "key.mode": on(_key, "key.mode", music_pb2.MODE_MINOR),
    "genre": setting("genre", "house"),
    "form": setting("form", [music_pb2.ROLE_CHORUS, music_pb2.ROLE_OUTRO]),
    "include_layers": setting("include_layers", [music_pb2.LAYER_KIND_VOCALS]),
    "exclude_layers": setting("exclude_layers", [music_pb2.LAYER_KIND_BASS]),
    "instruments": setting("instruments", ["cello"]),
    "seed": setting("seed", 4),
    "sample_rate": setting("sample_rate", 32_000),
    "tail": setting("tail", music_pb2.TAIL_POLICY_FORBID),
    "title": setting("title", "Another title"),
    "continuity": setting("continuity", music_pb2.CONTINUITY_NONE),
    "sampling.temperature": setting("sampling.temperature", 2.0),
    "sampling.top_k": setting("sampling.top_k", 5),
    "sampling.top_p": setting("sampling.top_p", 0.1),
    "sampling.guidance": setting("sampling.guidance", 10.0),
    "sampling.steps": setting("sampling.steps", 20),
    "lyrics.text": setting("lyrics.text", "la la"),
    "lyrics.language": setting("lyrics.language", "en"),
    "lyrics.lines.text": setting("lyrics.lines.text", "la la"),
    "lyrics.lines.start_tick": setting("lyrics.lines.start_tick", 480),
    "lyrics.lines.ticks": setting("lyrics.lines.ticks", 960),
    "same_timbre": setting("same_timbre", True),
}


def _without(*names: str) -> Callable[[music_pb2.Plan], None]:
    """Leave fields out of the sections, so that those of the plan fill them."""

    def base(plan: music_pb2.Plan) -> None:
        for item in plan.sections:
            one_tempo(item.spec)
            for name in ("frames", *names):
                item.spec.ClearField(name)  # type: ignore[arg-type]  # names of fields

    return base


PLAN: Final[Mapping[str, Change]] = {
    "version": setting("version", 4),
    "digest": setting("digest", "00"),
    "title": setting("title", "Another title"),
    "kind": setting("kind", music_pb2.KIND_LOOP),
    "sample_rate": on(_without("sample_rate"), "sample_rate", 32_000),
    "frames": setting("frames", 7),
    "quarters_per_minute": setting("quarters_per_minute", 150.0),
    "metre.beats": on(_without("metre", "energy", "chords"), "metre.beats", 3),
    "metre.unit": on(_without("metre", "energy", "chords"), "metre.unit", 8),
    "key.tonic": setting("key.tonic", "D"),
    "key.mode": setting("key.mode", music_pb2.MODE_MINOR),
    "genre": setting("genre", "house"),
    "moods": setting("moods", ["dark"]),
    "motif.notes.start_tick": on(_without("motif"), "motif.notes.start_tick", 240),
    "motif.notes.ticks": on(_without("motif"), "motif.notes.ticks", 240),
    "motif.notes.degree": on(_without("motif"), "motif.notes.degree", 5),
    "motif.notes.alteration": on(_without("motif"), "motif.notes.alteration", 1),
    "motif.ticks": on(_without("motif"), "motif.ticks", 7680),
    "sections.spec": Change(lambda plan: SECTION["energy"].apply(plan.sections[0].spec)),
    "sections.first_frame": setting("sections.first_frame", 7),
    "sections.first_bar": setting("sections.first_bar", 7),
    "sections.waits_for": Change(lambda plan: plan.sections[1].waits_for.append("verse")),
    "sections.join.kind": Change(lambda plan: put(plan.sections[1], "join.kind", music_pb2.JOIN_KIND_CROSSFADE)),
    "sections.join.beats": Change(lambda plan: put(plan.sections[1], "join.beats", 2.0)),
    "sections.seed": setting("sections.seed", 9),
    "seed": setting("seed", 6),
    "readings.field": setting("readings.field", "mood"),
    "readings.value": setting("readings.value", "sad"),
    "readings.origin": setting("readings.origin", music_pb2.ORIGIN_CALLER),
    "readings.words": setting("readings.words", "sad"),
    "readings.section_id": setting("readings.section_id", "verse"),
    "warnings.code": setting("warnings.code", "own"),
    "warnings.text": setting("warnings.text", "own"),
    "warnings.section_id": setting("warnings.section_id", "verse"),
}


MASTER: Final[Mapping[str, Change]] = {
    name: setting(name, value)
    for name, value in {
        "preset": mixer_pb2.MASTER_PRESET_BROADCAST,
        "target_lufs": -20.0,
        "ceiling_dbtp": -6.0,
        "high_pass_hz": 150.0,
        "balance": 1.0,
        "glue_ratio": 6.0,
        "glue_threshold_lu": -6.0,
        "glue_attack_ms": 1.0,
        "glue_release_ms": 1000.0,
        "width": 0.0,
        "mono_below_hz": 400.0,
        "saturation": 1.0,
        "lookahead_ms": 12.0,
        "limiter_release_ms": 800.0,
        "section_leveling": False,
    }.items()
}


@dataclass(frozen=True)
class Given:
    """Resources of earlier requests, which changes of a composition refer to."""

    parent: composition_pb2.Composition
    upload: str


def composition_changes(given: Given) -> dict[str, Change]:
    """Return a change for every field of CompositionSpec that has no walk of its own."""
    return {
        "brief": Change(lambda spec: put(spec, "brief.title", "Another title"), _briefly),
        "plan": Change(lambda spec: SECTION["energy"].apply(spec.plan.sections[0].spec)),
        "model": setting("model", "unknown-model"),
        "stems": setting("stems", True),
        "midi": setting("midi", True),
        "lrc": on(_sung, "lrc", True),
        "exports.file_format": setting("exports.file_format", audio_pb2.FILE_FORMAT_WAV),
        "exports.sample_rate": setting("exports.sample_rate", 48_000),
        "exports.bit_depth": setting("exports.bit_depth", 16),
        "master": setting("master.target_lufs", -20.0),
        "master_mode": setting("master_mode", spec_pb2.MASTER_MODE_FROZEN),
        "degradation_policy": setting("degradation_policy", spec_pb2.DEGRADATION_POLICY_ALLOW),
        "time_limit": Change(_too_long, fails=True),
        "labels": setting("labels", {"album": "rain"}),
        "session": setting("session", "evening"),
        "parent": Change(lambda spec: spec.CopyFrom(_child(spec.model, given))),
        "private_prompt": setting("private_prompt", True),
        "melody.source": setting("melody.source", given.upload),
        "melody.band": setting("melody.band", True),
        "timbre_source": setting("timbre_source", given.upload),
        "priority": setting("priority", spec_pb2.PRIORITY_LOW),
        "take_bounds.tempo_percent": setting("take_bounds.tempo_percent", 1.0),
        "take_bounds.key": setting("take_bounds.key", True),
        "take_bounds.level_lu": Change(_bounded),
        "take_bounds.most_redos": on(_bounded, "take_bounds.most_redos", 3),
        **_frozen_changes(given),
    }


def _briefly(spec: spec_pb2.CompositionSpec) -> None:
    spec.ClearField("plan")
    spec.brief.CopyFrom(base_brief())


def _sung(spec: spec_pb2.CompositionSpec) -> None:
    _briefly(spec)
    spec.brief.lyrics.text = "la la la"


def _too_long(spec: spec_pb2.CompositionSpec) -> None:
    """Ask for half an hour of music in a second."""
    _briefly(spec)
    spec.brief.duration.seconds = 1800
    spec.time_limit.seconds = 1


def _bounded(spec: spec_pb2.CompositionSpec) -> None:
    """Ask for a level that no take has."""
    spec.take_bounds.level_lu = 1e-6
    spec.take_bounds.most_redos = 1


def _child(model: str, given: Given) -> spec_pb2.CompositionSpec:
    return spec_pb2.CompositionSpec(model=model, parent=given.parent.name)


def _frozen_changes(given: Given) -> dict[str, Change]:
    def frozen(spec: spec_pb2.CompositionSpec) -> None:
        spec.frozen_master.measurement.CopyFrom(given.parent.master)
        spec.frozen_master.section_ids.extend(["verse", "chorus"])

    values = {
        "measurement.settings": mixer_pb2.MasterSettings(
            **{**_settings(given.parent.master.settings), "saturation": 1.0}
        ),
        "measurement.loudness.integrated_lufs": -30.0,
        "measurement.loudness.max_momentary_lufs": -30.0,
        "measurement.loudness.max_short_term_lufs": -30.0,
        "measurement.loudness.range_lu": 9.0,
        "measurement.loudness.true_peak_dbtp": -9.0,
        "measurement.loudness.sample_peak_dbfs": -9.0,
        "measurement.gain_db": given.parent.master.gain_db - 6.0,
        "measurement.section_gains_db": [-6.0, 0.0],
        "measurement.band_gains_db": [3.0] * len(given.parent.master.band_gains_db),
        "measurement.version": "another-chain",
        "section_ids": ["chorus", "verse"],
    }
    return {f"frozen_master.{name}": on(frozen, f"frozen_master.{name}", value) for name, value in values.items()}


def _settings(settings: mixer_pb2.MasterSettings) -> dict[str, Any]:
    return {field.name: value for field, value in settings.ListFields()}


def edit_changes(given: Given) -> dict[str, Change]:
    """Return a change for every field of an edit; their base is a composition with a parent."""

    def base(spec: spec_pb2.CompositionSpec) -> None:
        spec.CopyFrom(_child(spec.model, given))

    def edit(path: str, value: Any, **first: Any) -> Change:
        def with_first(spec: spec_pb2.CompositionSpec) -> None:
            base(spec)
            for name, each in first.items():
                put(spec, "edits." + name.replace("__", "."), each)

        return on(with_first, f"edits.{path}", value)

    def whole(**fields: Any) -> Change:
        return Change(lambda spec: spec.edits.add(**fields), base)

    other = base_section("verse")
    other.energy[:] = [0.9, 0.9]
    extra = base_section("extra")
    replace = spec_pb2.EditReplace(section_id="verse", spec=other)
    return {
        "edits.redo.section_id": whole(redo=spec_pb2.EditRedo(section_id="verse")),
        "edits.redo.seed": edit("redo.seed", 99, redo__section_id="verse"),
        "edits.redo.prompt": edit("redo.prompt", "louder", redo__section_id="verse"),
        "edits.redo.model": edit("redo.model", "unknown-model", redo__section_id="verse"),
        "edits.replace.section_id": whole(replace=replace),
        "edits.replace.spec": whole(replace=replace),
        "edits.insert.before": edit("insert.before", "chorus", insert__spec=extra),
        "edits.insert.spec": whole(insert=spec_pb2.EditInsert(spec=extra)),
        "edits.remove.section_id": whole(remove=spec_pb2.EditRemove(section_id="verse")),
        "edits.move.section_id": whole(move=spec_pb2.EditMove(section_id="verse")),
        "edits.move.before": edit("move.before", "verse", move__section_id="chorus"),
    }
