"""Sung sections: one note for each syllable, on its vowel, in time, audible, and bit-exact."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import sosfilt
from tests.renderer.rig import MIX, play, renderer, requests, section, start_of

from segue_audio.loudness import k_weighting
from segue_music import codec
from segue_music.elements import Layer, LayerKind
from segue_music.plan import LyricLine, Lyrics, Role, SectionSpec
from segue_music.singing import VOWELS, lines_of, sung_vowels
from segue_renderer.sketch.band import SketchBand
from segue_runtime import errors

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PROMPT = "calm pop song with vocals, 96 bpm, 4/4, C major"
BAR = 3840
RATE = 48_000


def plain_section() -> SectionSpec:
    return section(PROMPT, "verse", seed=3, form=(Role.VERSE, Role.CHORUS), duration_ns=20 * 10**9)


def sung(text: str, language: str = "", **more: object) -> SectionSpec:
    """Return a verse with words, a bar for each line."""
    spec = plain_section()
    if all(layer.kind != LayerKind.VOCALS for layer in spec.layers):
        spec = dataclasses.replace(spec, layers=(*spec.layers, Layer(LayerKind.VOCALS, ("vocals",), 0.7)))
    lines = tuple(LyricLine(line, index * BAR, BAR) for index, line in enumerate(lines_of(text)))
    assert len(lines) <= spec.bars
    return dataclasses.replace(spec, lyrics=Lyrics(text, language, lines), **more)  # type: ignore[arg-type]  # fields of the spec


def samples_of(band: SketchBand) -> dict[str, NDArray[np.float32]]:
    found: dict[str, list[NDArray[np.float32]]] = {}
    for _, sounds in band.blocks():
        for name, sound in sounds.items():
            found.setdefault(name, []).append(sound)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def level_db(sound: NDArray[np.float32]) -> float:
    weighted = sosfilt(k_weighting(RATE), sound.astype(np.float64), axis=0)
    return float(10 * np.log10((weighted**2).sum(axis=1).mean() + 1e-12))


def test_syllables_are_counted_in_every_script() -> None:
    counted = {
        ("Hello darkness my old friend", ""): "eoaeioi", ("love me like fire", "en"): "oeii",
        ("Я люблю тебя", ""): "auuea", ("사랑해", ""): "aae", ("きょう", ""): "ou", ("愛してる", ""): None,
        ("naïve", "fr"): "ai", ("hmm", ""): "u", ("... !", ""): "", ("🎵", ""): "", ("", ""): "",
    }  # fmt: skip
    for (text, language), vowels in counted.items():
        found = sung_vowels(text, language)
        assert set(found) <= set(VOWELS)
        assert vowels is None or "".join(found) == vowels, text
    assert len(sung_vowels("愛してる")) == 4


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=512))
def test_any_text_has_no_more_syllables_than_characters(text: str) -> None:
    assert len(sung_vowels(text)) <= 2 * len(text)
    assert sung_vowels(text) == sung_vowels(" ".join(text.split()))


async def test_each_syllable_is_a_note_within_its_line(tmp_path: Path) -> None:
    text = "Rain is falling on the window\nstay\nfar away\ngo"
    async with renderer(tmp_path) as (stub, _):
        rendered = await play(stub, start_of(sung(text, "en"), notes=True, stems=True))
        again = await play(stub, start_of(sung(text, "en"), notes=True, stems=True))
        plain = await play(stub, start_of(plain_section(), stems=True))
    assert rendered.digests() == again.digests(), "bit-exact"
    assert rendered.finished is not None
    assert rendered.finished.lyrics_applied
    assert not rendered.finished.warnings
    assert plain.finished is not None
    assert not plain.finished.lyrics_applied
    notes = [note for note in rendered.notes if note.layer == LayerKind.VOCALS]
    counts = [len(sung_vowels(line, "en")) for line in text.split("\n")]
    for index, count in enumerate(counts):
        inside = [note for note in notes if index * BAR <= note.start_tick < (index + 1) * BAR]
        assert len(inside) == count, text.split("\n")[index]
        assert all(note.start_tick + note.ticks <= (index + 1) * BAR for note in inside)
    assert len(notes) == sum(counts)
    assert rendered.samples("bass").shape == plain.samples("bass").shape
    stems = sum(rendered.samples(layer).astype(np.float64) for layer in rendered.content if layer != MIX)
    assert np.abs(stems - rendered.samples()).max() < 1e-5


def test_the_voice_is_louder_than_the_lead_and_nothing_clips() -> None:
    for genre in ("pop", "house", "metal", "lofi"):
        spec = sung("Rain is falling on the window\nI can hear you\nstay with me\nnow", "en", genre=genre)
        found = samples_of(SketchBand(spec, 7))
        others = sum(sound for name, sound in found.items() if name != "vocals")
        assert isinstance(others, np.ndarray)
        voice, lead = level_db(found["vocals"]), level_db(found.get("lead", np.zeros_like(others)))
        assert voice > lead + 2.0, genre
        assert -14.0 < voice - level_db(others) < 3.0, genre
        assert np.abs(others + found["vocals"]).max() < 0.9, genre


def test_vowels_sound_different() -> None:
    """The first resonance tells open from closed vowels, the second one front from back vowels."""

    def shares(vowel: str) -> tuple[float, float]:
        found = samples_of(SketchBand(sung(f"{vowel} {vowel} {vowel} {vowel}"), 7))["vocals"][: 4 * RATE, 0]
        power = np.abs(np.fft.rfft(found)) ** 2
        hertz = np.fft.rfftfreq(len(found), 1 / RATE)
        bands = [power[(hertz >= low) & (hertz < high)].sum() for low, high in ((0, 400), (400, 1500), (1500, 2500))]
        return float(bands[1] / bands[0]), float(bands[2] / (bands[0] + bands[1]))

    found = {vowel: shares(vowel) for vowel in VOWELS}
    assert found["a"][0] > 2 * max(found["o"][0], found["e"][0]) > 2 * max(found["u"][0], found["i"][0]), found
    assert min(found["e"][1], found["i"][1]) > 3 * max(found["o"][1], found["u"][1]), found


def test_a_section_without_a_theme_is_sung_on_its_chords() -> None:
    band = SketchBand(sung("sing a song of nothing", motif=None), 7)
    assert sum(note.layer == LayerKind.VOCALS for note in band.notes) == 6


async def test_what_is_not_sung_is_named(tmp_path: Path) -> None:
    silent = sung("stay with me")
    silent = dataclasses.replace(silent, layers=tuple(each for each in silent.layers if each.kind != LayerKind.VOCALS))
    async with renderer(tmp_path) as (stub, _):
        for spec, code in ((silent, "lyrics_not_sung"), (sung("la " * 150), "lyrics_crowded")):
            finished = (await play(stub, start_of(spec))).finished
            assert finished is not None
            assert code in {each.code for each in finished.warnings}
            assert all("stay" not in each.text for each in finished.warnings)


@pytest.mark.parametrize(
    "lyrics",
    [
        Lyrics("la la"),
        Lyrics("la", lines=(LyricLine("lo", 0, BAR),)),
        Lyrics("la", lines=(LyricLine("la", 0, 10**9),)),
        Lyrics("la", lines=(LyricLine("la", 0, 0),)),
        Lyrics("la\nle", lines=(LyricLine("la", 0, BAR), LyricLine("le", 480, BAR))),
        Lyrics("", "en"),
    ],
    ids=range(6),
)
async def test_lines_that_do_not_fit_are_refused(tmp_path: Path, lyrics: Lyrics) -> None:
    spec = dataclasses.replace(sung("la"), lyrics=lyrics)
    async with renderer(tmp_path) as (stub, _):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(aiter(stub.RenderSection(requests(start_of(spec)))))
    error = errors.from_rpc_error(caught.value)
    assert error.violations[0].field.startswith("spec.lyrics"), error


def test_the_words_are_in_the_message() -> None:
    spec = sung("la la", "en")
    assert codec.section_from_message(codec.section_to_message(spec)) == spec
