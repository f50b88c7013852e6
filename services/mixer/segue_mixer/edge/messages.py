"""Conversion between messages of the contract and the types of the mixer."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from segue.audio.v1 import audio_pb2
from segue.mixer.v1 import mixer_pb2
from segue.music.v1 import music_pb2
from segue_audio.loudness import Loudness
from segue_audio.pcm import encode_pcm
from segue_mixer.master.measure_pass import VERSION, MasterMeasurement
from segue_mixer.master.presets import PARAMETERS, MasterSettings, Preset, complete
from segue_mixer.master.section_gains import MAX_GAIN_DB as MAX_SECTION_GAIN_DB
from segue_mixer.master.tonal_balance import CENTRES_HZ
from segue_mixer.master.tonal_balance import MAX_GAIN_DB as MAX_BAND_GAIN_DB
from segue_runtime import errors
from segue_runtime.rpc.chunks import MESH_CHUNK_BYTES, SAMPLE_FORMATS, cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from google.protobuf.message import Message

    from segue_audio.arrays import Float32
    from segue_mixer.audio_check import MixError
    from segue_mixer.master.section_gains import MasterSection
    from segue_mixer.mix.sections import MixedJoin, MixedSection

MAX_CHANNELS: Final = 6
MAX_TOTAL_GAIN_DB: Final = 120.0
LUFS_RANGE: Final = (-71.0, 60.0)
"""From the absolute gate to the loudest samples that are accepted."""
PRESETS: Final = {
    Preset.STREAMING: mixer_pb2.MASTER_PRESET_STREAMING,
    Preset.BROADCAST: mixer_pb2.MASTER_PRESET_BROADCAST,
    Preset.CLUB: mixer_pb2.MASTER_PRESET_CLUB,
    Preset.NONE: mixer_pb2.MASTER_PRESET_NONE,
}
LOUDNESS: Final = tuple(item.name for item in fields(Loudness))


def encode_chunks(samples: Float32, template: audio_pb2.AudioChunk, first_frame: int) -> Iterator[audio_pb2.AudioChunk]:
    """Encode audio in the template's format, in chunks."""
    kind = SAMPLE_FORMATS[template.format.sample_format]
    content = encode_pcm(samples, kind, first_frame=first_frame)
    return cut(content, template, first_frame, most_bytes=MESH_CHUNK_BYTES)


def mix_error(error: MixError, kind: type[errors.InvalidRequest]) -> errors.InvalidRequest:
    """Convert an error of the mixer to an error of the contract."""
    metadata = {"frame": str(error.frame), "position": str(error.frame)}
    if error.section_id:
        metadata["section_id"] = error.section_id
    return kind(str(error), metadata=metadata)


def loudness_message(loudness: Loudness) -> audio_pb2.Loudness:
    """Encode a loudness measurement; None becomes an absent field."""
    found = {name: getattr(loudness, name) for name in LOUDNESS}
    return audio_pb2.Loudness(**{name: value for name, value in found.items() if value is not None})


def loudness_from(message: audio_pb2.Loudness) -> Loudness:
    """Decode a loudness measurement."""
    return Loudness(**_present(message, LOUDNESS))


def _present(message: Message, names: Iterable[str]) -> dict[str, Any]:
    """Return the fields that are present."""
    return {name: getattr(message, name) for name in names if message.HasField(name)}


def warning_messages(warnings: Iterable[tuple[str, str, str]]) -> list[music_pb2.Warning]:
    """Encode warnings of (code, text, section_id)."""
    return [music_pb2.Warning(code=code, text=text, section_id=section) for code, text, section in warnings]


def mixed_message(mixed: MixedSection) -> mixer_pb2.SectionMixed:
    """Encode the report of a section."""
    message = mixer_pb2.SectionMixed(
        section_id=mixed.section_id,
        gain_db=mixed.gain_db,
        loudness=loudness_message(mixed.loudness),
        warnings=warning_messages((code, text, mixed.section_id) for code, text in mixed.warnings),
        shift_frames=mixed.shift_frames,
    )
    if mixed.join is not None:
        message.join.CopyFrom(_join_message(mixed.join))
    return message


def _join_message(join: MixedJoin) -> mixer_pb2.JoinReport:
    score = join.score
    message = mixer_pb2.JoinReport(
        from_section_id=join.from_section_id,
        to_section_id=join.to_section_id,
        frame=join.frame,
        kind=music_pb2.JOIN_KIND_HARD if join.hard else music_pb2.JOIN_KIND_CROSSFADE,
        frames=join.crossfade_frames,
        click=score.click,
        score=score.score,
        note=join.note,
    )
    measured = {
        "level_jump_lu": score.level_jump_lu,
        "tempo_drift": join.tempo_drift,
        "chroma_distance": score.chroma_distance,
        "spectral_jump_db": score.spectral_jump_db,
    }
    for name, value in measured.items():
        if value is not None:
            setattr(message, name, value)
    return message


def settings_from(message: mixer_pb2.MasterSettings, channels: int) -> MasterSettings:
    """Decode settings; the preset fills in absent ones."""
    preset = Preset(message.preset or mixer_pb2.MASTER_PRESET_STREAMING)
    return complete(preset, _present(message, PARAMETERS), channels)


def settings_message(settings: MasterSettings) -> mixer_pb2.MasterSettings:
    """Encode settings; None becomes an absent field."""
    message = mixer_pb2.MasterSettings(preset=PRESETS[settings.preset])
    for name in PARAMETERS:
        if getattr(settings, name) is not None:
            setattr(message, name, getattr(settings, name))
    return message


def measurement_message(measurement: MasterMeasurement) -> mixer_pb2.MasterMeasurement:
    """Encode the result of pass MEASURE."""
    return mixer_pb2.MasterMeasurement(
        settings=settings_message(measurement.settings),
        loudness=loudness_message(measurement.loudness),
        gain_db=measurement.gain_db,
        section_gains_db=measurement.section_gains_db,
        band_gains_db=measurement.band_gains_db,
        version=VERSION,
    )


def measurement_from(
    message: mixer_pb2.MasterMeasurement, sections: Sequence[MasterSection], channels: int
) -> MasterMeasurement:
    """Decode the result of pass MEASURE; it must come from this version and have as many sections."""
    if message.version != VERSION:
        raise errors.InvalidField(
            f"measurement.version: {message.version!r} comes from another version, this is {VERSION!r}; measure again"
        )
    if len(message.section_gains_db) != len(sections):
        raise errors.InvalidField(
            f"measurement.section_gains_db: {len(message.section_gains_db)} gains for {len(sections)} sections"
        )
    bounds = (
        ("gain_db", [message.gain_db], MAX_TOTAL_GAIN_DB),
        ("section_gains_db", message.section_gains_db, MAX_SECTION_GAIN_DB),
        ("band_gains_db", message.band_gains_db, MAX_BAND_GAIN_DB),
    )
    for name, gains, most in bounds:
        if any(abs(gain) > most for gain in gains):
            raise errors.InvalidField(f"measurement.{name}: a gain exceeds {most:g} dB, the limit of pass MEASURE")
    lowest, highest = LUFS_RANGE
    if message.loudness.HasField("integrated_lufs") and not lowest <= message.loudness.integrated_lufs <= highest:
        raise errors.InvalidField(
            f"measurement.loudness.integrated_lufs: {message.loudness.integrated_lufs:g}; a pass MEASURE gives "
            f"{lowest:g} to {highest:g}"
        )
    if len(message.band_gains_db) != len(CENTRES_HZ):
        raise errors.InvalidField(
            f"measurement.band_gains_db: {len(message.band_gains_db)} gains for {len(CENTRES_HZ)} bands"
        )
    return MasterMeasurement(
        settings=settings_from(message.settings, channels),
        loudness=loudness_from(message.loudness),
        gain_db=message.gain_db,
        section_gains_db=tuple(message.section_gains_db),
        band_gains_db=tuple(message.band_gains_db),
    )
