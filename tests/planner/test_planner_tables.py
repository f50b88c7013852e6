"""Every entry of the data files is valid, can be reached by its words, and is used."""

from __future__ import annotations

import pytest

from segue_music.plan import Cadence, Key, LayerKind, Metre, Mode, Role
from segue_planner.form import MOTIF_USES, PATIENCE
from segue_planner.genres import forms, genres, usual_bars
from segue_planner.harmony import fill_chords
from segue_planner.lexicon import instrument_of, instruments, table, whole_parts, words
from segue_planner.prompt import read_prompt

GENRES = table("genres.toml")
KEYS = {
    "words", "hints", "tempo", "swing", "groove", "feel", "form", "phrase", "chord_bars", "closes", "modes", "minor",
    "major", "layers", "moods",
}  # fmt: skip


def test_there_are_genres_and_instruments_enough() -> None:
    assert len(genres()) >= 24
    assert len(instruments()) >= 120


@pytest.mark.parametrize("name", GENRES)
def test_a_genre_is_valid(name: str) -> None:
    genre = genres()[name]
    assert set(GENRES[name]) <= KEYS
    low, high = genre.tempo_bpm
    assert 40 <= low < high <= 200
    assert 0.5 <= genre.swing <= 0.75
    assert genre.phrase_bars in {4, 8, 12, 16}
    assert genre.form in forms()
    assert all(mood in words()["moods"] for mood in genre.moods)
    for kind, names in genre.layers.items():
        for instrument in names:
            assert instrument_of(instrument) == (instrument, instruments()[instrument]), f"{kind.name}: {instrument}"
    for mode in Mode:
        if mode == Mode.UNSPECIFIED:
            continue
        for progression in genre.progressions(mode):
            for cadence in Cadence:
                chords = fill_chords(progression, Key("Eb", mode), Metre(4, 4), 13, cadence, genre.chord_bars)
                assert sum(chord.ticks for chord in chords) == 13 * 3840


@pytest.mark.parametrize("name", GENRES)
def test_a_genre_is_reached_by_all_its_words(name: str) -> None:
    for phrase in (*GENRES[name]["words"], *GENRES[name].get("hints", ())):
        genre = read_prompt(f"some {phrase} please").genre
        assert genre is not None, phrase
        assert genre.value == name, phrase


def test_an_instrument_is_reached_by_all_its_words() -> None:
    for kind, names in table("instruments.toml").items():
        for name, phrases in names.items() if kind != "whole" else ():
            for phrase in phrases:
                read = read_prompt(f"some {phrase} please")
                assert name in read.instruments, f"{phrase} is read as {read.instruments}"
                assert instruments()[name] == LayerKind[kind]


def test_whole_parts_are_instruments_of_their_part() -> None:
    for name, kind in whole_parts().items():
        assert instruments()[name] == kind


@pytest.mark.parametrize("section", ["tempo", "moods", "clips"])
def test_words_of_tempo_mood_and_clips_are_reached(section: str) -> None:
    for name, entry in words()[section].items():
        for phrase in entry["words"]:
            read = read_prompt(f"some {phrase} please")
            found = {
                "tempo": [read.tempo_word.value] if read.tempo_word else [],
                "moods": list(read.moods),
                "clips": [read.clip.value] if read.clip else [],
            }[section]
            assert name in found, phrase


def test_words_of_course_and_roles_are_reached() -> None:
    for name, phrases in words()["course"].items():
        for phrase in phrases:
            assert name in read_prompt(f"some {phrase} please").course, phrase
    for name, phrases in words()["roles"].items():
        for phrase in phrases:
            assert Role[name.upper()] in read_prompt(f"some {phrase} please").has, phrase


def test_moods_and_tempos_are_in_range() -> None:
    for entry in words()["moods"].values():
        assert -1 <= entry["valence"] <= 1
        assert -1 <= entry["arousal"] <= 1
    for entry in words()["tempo"].values():
        low, high = entry["range"]
        assert 20 <= low < high <= 266


def test_every_role_has_its_length_and_patience() -> None:
    roles = {role for role in Role if role}
    assert set(usual_bars()) == set(PATIENCE) == set(MOTIF_USES) == roles
    assert {genre.form for genre in genres().values()} == set(forms()), "every form is some genre's"
