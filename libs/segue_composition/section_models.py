"""The models of a piece: which one plays each section, and what they cannot do of the request together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue.music.v1 import music_pb2
from segue.renderer.v1 import renderer_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from segue.composer.v1.spec_pb2 import CompositionSpec
    from segue.music.v1.music_pb2 import Plan, PlannedSection, SectionSpec
    from segue.renderer.v1.renderer_pb2 import ModelProfile

WHOLE: Final = "whole"
"""The stem of the sections whose model gives no layers."""


def model_of(spec: SectionSpec, piece_model: str) -> str:
    """Return the name of the model that plays a section: its own, else the piece's."""
    return spec.model or piece_model


def models_of(sections: Iterable[PlannedSection], piece_model: str) -> list[str]:
    """Return the names of a piece's models, each once, the piece's own first."""
    return list(dict.fromkeys([piece_model, *(model_of(item.spec, piece_model) for item in sections)]))


def players_of(sections: Iterable[PlannedSection], profiles: Sequence[ModelProfile]) -> list[ModelProfile]:
    """Return the models that sections are played by, each once. Of a piece without sections, it is its own: the first.

    `profiles` are those of `models_of`; sections of other models are left out.
    """
    by_name = {profile.model: profile for profile in profiles}
    names = [model_of(item.spec, profiles[0].model) for item in sections] or [profiles[0].model]
    return [by_name[name] for name in dict.fromkeys(names) if name in by_name]


def made_s(spec: SectionSpec, profile: ModelProfile) -> float:
    """Return how many seconds of audio a model makes for a section: its length, or the model's shortest window."""
    return max(spec.frames / max(1, spec.sample_rate), profile.min_window.ToNanoseconds() / 1e9)


def can_follow(spec: CompositionSpec, profile: ModelProfile) -> bool:
    """Return whether a model can follow the melody of a request."""
    wanted = {"source": renderer_pb2.GUIDE_MELODY_AUDIO, "band": renderer_pb2.GUIDE_NOTES}
    melody = spec.melody.WhichOneof("melody")
    return melody is None or wanted[melody] in profile.guides


def can_imitate(profile: ModelProfile) -> bool:
    """Return whether a model can imitate the sound of other audio."""
    return renderer_pb2.GUIDE_TIMBRE_AUDIO in profile.guides


def follows_file(spec: CompositionSpec, profile: ModelProfile) -> bool:
    """Return whether a model follows a melody in a file: then it gets no other audio as guide."""
    return bool(spec.melody.source) and can_follow(spec, profile)


def add_option_warnings(plan: Plan, spec: CompositionSpec, profiles: Sequence[ModelProfile]) -> None:
    """Add to a plan what its models, or those of some sections, cannot do of a request."""
    by_name = {profile.model: profile for profile in profiles}
    players = players_of(plan.sections, profiles)
    found = [each for profile in players for each in _advisory_values(profile)]
    is_separated = spec.stems and not any(profile.layers for profile in players)
    if is_separated:
        text = f"{_listed([each.model for each in players])} gives no layers: the stems are separated from the draft"
        found.append(music_pb2.Warning(code="stems_separated", text=text))
    for item in plan.sections:
        profile = by_name[model_of(item.spec, profiles[0].model)]
        if spec.stems and not profile.layers and not is_separated:
            text = f"{profile.model} gives no layers: the section is in the stem {WHOLE!r}"
            found.append(music_pb2.Warning(code="stems_not_given", text=text, section_id=item.spec.section_id))
        found += _option_warnings(spec, item, profile)
    for each in found:
        # A plan that was handed in may have them already.
        if each not in plan.warnings:
            plan.warnings.append(each)


def _advisory_values(profile: ModelProfile) -> Iterator[music_pb2.Warning]:
    """Yield a warning that names what a model may deviate from."""
    values = {"tempo": profile.honours_tempo, "key": profile.honours_key, "metre": profile.honours_metre}
    names = [name for name, honours in values.items() if honours == renderer_pb2.HONOURS_ADVISORY]
    if names:
        text = f"{profile.model} takes {_listed(names)} as advice: its audio may differ"
        yield music_pb2.Warning(code="advisory_values", text=text)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _option_warnings(spec: CompositionSpec, item: PlannedSection, profile: ModelProfile) -> Iterator[music_pb2.Warning]:
    name, section_id = profile.model, item.spec.section_id
    if spec.midi and not profile.gives_notes:
        text = f"{name} gives no notes: the section is empty in the MIDI file"
        yield music_pb2.Warning(code="notes_not_given", text=text, section_id=section_id)
    if item.spec.HasField("lyrics"):
        yield from _lyrics_warnings(item.spec, profile)
    if not can_follow(spec, profile):
        text = f"{name} cannot follow the melody: the section is played without it"
        yield music_pb2.Warning(code="melody_not_followed", text=text, section_id=section_id)
    if spec.timbre_source or spec.brief.same_timbre or item.spec.timbre_section:
        yield from _timbre_warnings(spec, item.spec, profile)


def _timbre_warnings(spec: CompositionSpec, section: SectionSpec, profile: ModelProfile) -> Iterator[music_pb2.Warning]:
    if not can_imitate(profile):
        text = f"{profile.model} imitates no sound: the section is played without it"
    elif follows_file(spec, profile):
        text = f"{profile.model} follows the melody's file, and takes no other audio"
    else:
        return
    yield music_pb2.Warning(code="timbre_not_imitated", text=text, section_id=section.section_id)


def _lyrics_warnings(spec: SectionSpec, profile: ModelProfile) -> Iterator[music_pb2.Warning]:
    """Yield what a model cannot do with lyrics; what holds for all its sections is said without a section."""
    name, language = profile.model, spec.lyrics.language
    if not profile.uses_lyrics:
        text = f"{name} sings no lyrics: the section is played without them"
        yield music_pb2.Warning(code="lyrics_not_sung", text=text, section_id=spec.section_id)
        return
    if profile.sings_vowels:
        text = f"{name} sings the syllables of the lyrics on vowels: no words are understood"
        yield music_pb2.Warning(code="lyrics_as_vowels", text=text)
    if language and profile.lyric_languages and language.partition("-")[0] not in profile.lyric_languages:
        known = ", ".join(profile.lyric_languages[:16])
        text = f"{name} may not sing {language!r} well: it knows {known}"
        yield music_pb2.Warning(code="lyrics_language", text=text)
