"""Every entry of the tables is valid, is found by its words, and is used."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from segue_music.elements import Feel, Key, LayerKind, Metre, Mode
from segue_music.plan import Brief, Cadence, Role
from segue_planner.form.bars import GROWTH_ORDER
from segue_planner.form.outline import MOTIF_USES
from segue_planner.form.roles import choose_roles
from segue_planner.genres.forms import form_templates, usual_bars
from segue_planner.genres.genre import genres
from segue_planner.parts.chords import choose_progression, chord_of, fill_chords
from segue_planner.planner import Planner
from segue_planner.prompt.reader import read_prompt
from segue_planner.prompt.word_list.instruments import instruments, whole_layers
from segue_planner.prompt.word_list.phrases import tokenise
from segue_planner.prompt.word_list.words import find_instrument, word_list
from segue_planner.tables import load_table
from segue_renderer.sketch.score.grooves import GROOVES
from segue_renderer.sketch.tables.styles import STYLES

if TYPE_CHECKING:
    from collections.abc import Callable

INSTRUMENTS, WORDS, FORMS = "prompt/word_list/instruments.toml", "prompt/word_list/words.toml", "genres/forms.toml"
GENRES = load_table("genres/genres.toml")
REQUIRED = {"words", "tempo", "groove", "form", "modes", "minor", "major", "layers", "moods"}
# The fields of an entry in genres.toml: the type and the condition of each value.
SCHEMA: dict[str, tuple[type, Callable[[Any], bool]]] = {
    "words": (list, lambda found: all(_is_phrase(each) for each in found) and bool(found)),
    "hints": (list, lambda found: all(_is_phrase(each) for each in found)),
    "tempo": (list, lambda found: len(found) == 2 and 40 <= found[0] < found[1] <= 200),
    "swing": (float, lambda found: 0.5 <= found <= 0.75),
    "groove": (str, lambda found: found in {*GROOVES, "none"}),
    "feel": (str, lambda found: found in Feel.__members__),
    "form": (str, lambda found: found in form_templates()),
    "phrase": (int, lambda found: found in {4, 8, 12, 16}),
    "chord_bars": (int, lambda found: found in {1, 2, 4}),
    "closes": (str, lambda found: found in Cadence.__members__),
    "modes": (list, lambda found: bool(found) and all(each in Mode.__members__ for each in found)),
    "minor": (list, lambda found: 1 <= len(found) <= 3 and all(_is_progression(each) for each in found)),
    "major": (list, lambda found: 1 <= len(found) <= 3 and all(_is_progression(each) for each in found)),
    "layers": (dict, lambda found: len(found) >= 3 and all(kind in LayerKind.__members__ for kind in found)),
    "moods": (list, lambda found: bool(found) and all(each in word_list()["moods"] for each in found)),
}


def _is_phrase(text: object) -> bool:
    return isinstance(text, str) and text == text.lower().strip() and bool(tokenise(text))


def _is_progression(numerals: list[str]) -> bool:
    return len(numerals) in {4, 8, 12} and all(chord_of(each, Key("C", Mode.MAJOR), 0, 1) for each in numerals)


@pytest.mark.parametrize("name", GENRES)
def test_a_genre_follows_the_schema(name: str) -> None:
    entry = GENRES[name]
    assert set(entry) >= REQUIRED
    for key, value in entry.items():
        kind, is_good = SCHEMA[key]
        assert isinstance(value, kind), key
        assert is_good(value), f"{key} = {value}"


@pytest.mark.parametrize("name", GENRES)
def test_a_genre_has_a_style_in_the_sketch_backend(name: str) -> None:
    assert name in STYLES, f"add {name!r} to STYLES in segue_renderer/sketch/tables/styles.py"


def test_no_phrase_belongs_to_two_genres_or_two_instruments() -> None:
    of_genres = Counter(phrase for entry in GENRES.values() for phrase in (*entry["words"], *entry.get("hints", ())))
    content = {kind: names for kind, names in load_table(INSTRUMENTS).items() if kind != "whole"}
    of_instruments = Counter(phrase for names in content.values() for phrases in names.values() for phrase in phrases)
    for counts in (of_genres, of_instruments):
        assert not [phrase for phrase, count in counts.items() if count > 1]


@pytest.mark.parametrize("name", GENRES)
def test_every_value_of_a_genre_is_used(name: str) -> None:
    genre = genres()[name]
    for progressions in (genre.minor, genre.major):
        taken = {choose_progression(progressions, role) for role in Role if role}
        assert taken >= set(progressions), "each progression has a role"
    plan = Planner(Brief(prompt="x", genre=name, duration_ns=300 * 10**9)).plan()
    heard = {(layer.kind, name) for item in plan.sections for layer in item.spec.layers for name in layer.instruments}
    assert {(kind, each) for kind, names in genre.layers.items() for each in names} <= heard
    keys = {Planner(Brief(prompt="x", genre=name, seed=seed)).plan().key.mode for seed in range(60)}
    assert keys == set(genre.modes), "each mode is drawn"
    assert plan.moods == genre.moods
    assert {item.spec.groove.name for item in plan.sections if item.spec.groove} == {genre.groove}


@pytest.mark.parametrize("name", list(form_templates()))
def test_every_form_is_used_at_some_length(name: str) -> None:
    made = {
        tuple(choose_roles(bars, genre)) for genre in genres().values() if genre.form == name for bars in range(1, 161)
    }
    assert set(form_templates()[name].lists) <= made


def test_no_table_has_an_unknown_key() -> None:
    assert set(load_table(WORDS)) == {
        "tempo", "moods", "roles", "letters", "numbers", "units", "negation", "course", "clips", "ignored", "silenced",
        "opening", "metres", "energy", "section", "fillers", "groups", "ensemble_of", "spelled", "places", "ordinals",
    }  # fmt: skip
    assert set(load_table(INSTRUMENTS)) == {kind.name for kind in LayerKind if kind} | {"whole"}
    for section, keys in {
        "tempo": {"range", "words", "weak"},
        "moods": {"valence", "arousal", "words"},
        "energy": {"change", "words"},
    }.items():
        for entry in word_list()[section].values():
            assert set(entry) <= keys
    for name, content in load_table(FORMS).items():
        assert set(content) == ({role.name.lower() for role in Role if role} if name == "bars" else {"lists", "long"})


def test_there_are_enough_genres_and_instruments() -> None:
    assert len(genres()) >= 24
    assert len(instruments()) >= 120


@pytest.mark.parametrize("name", GENRES)
def test_a_genres_instruments_are_known_and_its_chords_fill_any_bars(name: str) -> None:
    genre = genres()[name]
    for kind, names in genre.layers.items():
        for instrument in names:
            assert instrument in instruments(), f"{kind.name}: {instrument}"
            assert find_instrument(instrument) == instrument
    for mode in Mode:
        if mode == Mode.UNSPECIFIED:
            continue
        for progression in genre.progressions(mode):
            for cadence in Cadence:
                chords = fill_chords(progression, Key("Eb", mode), Metre(4, 4), 13, cadence, genre.chord_bars)
                assert sum(chord.ticks for chord in chords) == 13 * 3840


@pytest.mark.parametrize("name", GENRES)
def test_all_words_of_a_genre_are_read(name: str) -> None:
    for phrase in (*GENRES[name]["words"], *GENRES[name].get("hints", ())):
        genre = read_prompt(f"some {phrase} please").genre
        assert genre is not None, phrase
        assert genre.value == name, phrase


def test_all_words_of_an_instrument_are_read() -> None:
    for kind, names in load_table(INSTRUMENTS).items():
        for name, phrases in names.items() if kind != "whole" else ():
            for phrase in phrases:
                read = read_prompt(f"some {phrase} please")
                assert name in read.instruments, f"{phrase} is read as {read.instruments}"
                assert instruments()[name] == LayerKind[kind]


def test_names_of_whole_layers_are_instruments_of_that_layer() -> None:
    for name, kind in whole_layers().items():
        assert instruments()[name] == kind


@pytest.mark.parametrize("section", ["tempo", "moods", "clips"])
def test_all_words_for_tempo_mood_and_clips_are_read(section: str) -> None:
    for name, entry in word_list()[section].items():
        for phrase in entry["words"]:
            read = read_prompt(f"some {phrase} please")
            found = {
                "tempo": [read.tempo_word.value] if read.tempo_word else [],
                "moods": list(read.moods),
                "clips": [read.clip.value] if read.clip else [],
            }[section]
            assert name in found, phrase


def test_all_words_for_course_and_roles_are_read() -> None:
    for name, phrases in word_list()["course"].items():
        for phrase in phrases:
            assert name in read_prompt(f"some {phrase} please").course, phrase
    for name, phrases in word_list()["roles"].items():
        for phrase in phrases:
            assert Role[name.upper()] in read_prompt(f"some {phrase} please").has, phrase


def test_moods_and_tempos_are_in_range() -> None:
    for entry in word_list()["moods"].values():
        assert -1 <= entry["valence"] <= 1
        assert -1 <= entry["arousal"] <= 1
    for entry in word_list()["tempo"].values():
        low, high = entry["range"]
        assert 20 <= low < high <= 266


def test_every_role_has_a_length_a_growth_order_and_a_motif_use() -> None:
    roles = {role for role in Role if role}
    assert set(usual_bars()) == set(GROWTH_ORDER) == set(MOTIF_USES) == roles
    assert {genre.form for genre in genres().values()} == set(form_templates()), "every form is some genre's"
