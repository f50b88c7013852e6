"""SoundFonts and voice packs as files: what is read, what is refused, and that a pack keeps what was built."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.renderer.tiny_font import TinyFont, TinySample, TinyZone, font_bytes, tone, usual_font

from segue_renderer.sketch.sampled import font as fonts
from segue_renderer.sketch.sampled.build import VELOCITIES, PackBuilder, build_pack
from segue_renderer.sketch.sampled.font import SoundFont
from segue_renderer.sketch.sampled.library import VoiceLibrary, find_fonts
from segue_renderer.sketch.sampled.pack import MAGIC, digest_of, header_of, read_pack, write_pack
from segue_renderer.sketch.sampled.programs import wanted_presets
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from segue_renderer.sketch.sampled.pack import VoicePack

SF2 = font_bytes(usual_font())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[VoicePack, Path]:
    folder = tmp_path_factory.mktemp("voices")
    font = folder / "tiny.sf2"
    font.write_bytes(SF2)
    steps: list[tuple[int, int]] = []
    pack = build_pack(font, "tiny", "CC0", lambda done, total: steps.append((done, total)))
    assert steps[-1][0] == steps[-1][1]
    assert steps == sorted(steps)
    write_pack(pack, folder / "tiny.voices")
    return pack, folder / "tiny.voices"


def font_at(folder: Path, content: bytes) -> Path:
    path = folder / "font.sf2"
    path.write_bytes(content)
    return path


@contextlib.contextmanager
def refused_or_not(name: str) -> Iterator[None]:
    """Allow nothing but the error for files, which names the file and is short."""
    message = f"{name}: "
    with contextlib.suppress(errors.ModelInvalid):
        try:
            yield
        except errors.ModelInvalid as error:
            message = error.message
            raise
    assert message.startswith(f"{name}: ")
    assert len(message) < 300


def collected(path: Path) -> None:
    """Read everything of a font that a build reads."""
    with SoundFont(path) as font:
        font.text("ICMT")
        builder = PackBuilder(font)
        for preset, keys in wanted_presets().items():
            builder.add(preset, keys)


def test_a_pack_keeps_what_was_built(built: tuple[VoicePack, Path]) -> None:
    pack, path = built
    read = read_pack(path, digest=digest_of(path))
    assert header_of(read) == header_of(pack)
    assert np.array_equal(read.pcm, pack.pcm)
    assert read.credits.license == "CC0"
    assert "public domain" in read.credits.text
    assert set(read.presets) == set(usual_font().presets)


def test_equal_fonts_give_equal_packs(built: tuple[VoicePack, Path], tmp_path: Path) -> None:
    font = tmp_path / "tiny.sf2"
    font.write_bytes(SF2)
    write_pack(build_pack(font, "tiny", "CC0", lambda _done, _total: None), tmp_path / "again.voices")
    assert digest_of(tmp_path / "again.voices") == digest_of(built[1])


def test_keys_and_velocities_choose_zones(built: tuple[VoicePack, Path]) -> None:
    pack, _ = built
    soft, hard = (pack.range_of((0, 0), 60, shade) for shade in (0, len(VELOCITIES) - 1))
    high = pack.range_of((0, 0), 80, 0)
    assert soft is not None
    assert hard is not None
    assert high is not None
    cutoffs = [[pack.zones[zone].cutoff_hz for zone in pack.sounds[each.sound]] for each in (soft, hard)]
    assert max(cutoffs[0]) > 0
    assert cutoffs[1] == [0.0, 0.0]
    assert len(pack.sounds[soft.sound]) == 2
    # A modulator lowers the cutoff of soft notes in the last zone.
    assert 0 < pack.zones[pack.sounds[high.sound][0]].cutoff_hz < 10_000
    # The last key with a zone plays the keys above it.
    above = pack.range_of((0, 0), 110, 0)
    assert above is not None
    assert above.sound == high.sound
    assert pack.range_of((128, 0), 60, 0) is None


def test_a_compressed_font_gives_the_same_zones_and_nearly_the_same_samples(
    built: tuple[VoicePack, Path], tmp_path: Path
) -> None:
    path = font_at(tmp_path, font_bytes(usual_font(), compressed=True))
    pack = build_pack(path, "tiny", "", lambda _done, _total: None)
    assert pack.credits.license == "unknown"
    assert pack.zones == built[0].zones
    plain, compressed = (each.stored(each.samples[0]).astype(np.float64) for each in (built[0], pack))
    frames = min(len(plain), len(compressed))
    assert np.corrcoef(plain[:frames], compressed[:frames])[0, 1] > 0.99


def test_a_missing_byte_after_an_odd_chunk_is_no_fault(tmp_path: Path) -> None:
    font = usual_font()
    longer = TinyFont([TinySample("more", tone(60, 0.05), 60), *font.samples], {(0, 0): [TinyZone(1)]})
    for one in (font, longer):
        for padded in (True, False):
            with SoundFont(font_at(tmp_path, font_bytes(one, compressed=True, padded=padded))) as opened:
                assert opened.zones(0, 0)


def test_a_sample_without_usable_loop_is_played_once(tmp_path: Path) -> None:
    sample = TinySample("broken", tone(60, 0.1), 60, (2_000, 1_999))
    font = TinyFont([sample], {(0, 0): [TinyZone(0, ((54, 1),))]})
    pack = build_pack(font_at(tmp_path, font_bytes(font)), "one", "", lambda _done, _total: None)
    assert [each.loop_end for each in pack.samples] == [0]


@settings(max_examples=40)
@given(st.data())
def test_a_damaged_font_is_refused_or_read(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(SF2)
    # The tables are at the end; most damage goes where it can mislead.
    hydra = SF2.index(b"pdta")
    for _ in range(data.draw(st.integers(0, 6))):
        place = data.draw(st.integers(0, 60) | st.integers(hydra, len(content) - 1))
        content[place] = data.draw(st.sampled_from([0, 1, 127, 128, 255]) | st.integers(0, 255))
    end = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    path = font_at(tmp_path_factory.mktemp("damaged"), bytes(content[:end]))
    with refused_or_not("font.sf2"):
        collected(path)


@settings(max_examples=40)
@given(st.data())
def test_a_damaged_pack_is_refused_or_read(
    built: tuple[VoicePack, Path], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(built[1].read_bytes())
    header = len(header_of(built[0]))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, header - 1))] = data.draw(st.sampled_from(list(b'0129-.,]}["e')))
    path = tmp_path_factory.mktemp("damaged") / "pack.voices"
    path.write_bytes(bytes(content[: data.draw(st.just(len(content)) | st.integers(0, len(content)))]))
    with refused_or_not("pack.voices"):
        read_pack(path)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("samples", [0, 1 << 27, 44_100, 0, 0]), ("samples", [0, 100, 44_100, 50, 51]),
        ("samples", [True, 1, 44_100, 0, 0]),
        ("zones", [9_999, *[0] * 15]), ("zones", [0, float("nan"), *[0] * 14]), ("zones", [0, *[1e300] * 15]),
    ],
)  # fmt: skip
def test_values_out_of_bounds_are_refused(
    built: tuple[VoicePack, Path], tmp_path: Path, where: str, value: list[object]
) -> None:
    header = header_of(built[0])
    content = json.loads(header[len(MAGIC) + 4 :])
    content[where]["rows"][0] = value
    text = json.dumps(content).encode()
    path = tmp_path / "bad.voices"
    path.write_bytes(MAGIC + len(text).to_bytes(4, "little") + text + built[0].pcm.tobytes())
    with pytest.raises(errors.ModelInvalid, match=where[:-1]):
        read_pack(path)


def test_a_font_with_too_many_zones_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "MAX_PRESET_ZONES", 3)
    with pytest.raises(errors.ModelInvalid, match="more than 3 zones"):
        collected(font_at(tmp_path, SF2))


def test_a_font_without_the_programs_of_the_band_is_refused(tmp_path: Path) -> None:
    font = TinyFont([TinySample("one", tone(60, 0.1), 60)], {(0, 127): [TinyZone(0)]})
    with pytest.raises(errors.ModelInvalid, match="none of the General MIDI programs"):
        build_pack(font_at(tmp_path, font_bytes(font)), "one", "", lambda _done, _total: None)


def test_packs_are_chosen_by_name_by_file_or_the_newest(built: tuple[VoicePack, Path], tmp_path: Path) -> None:
    library = VoiceLibrary(tmp_path)
    assert library.chosen("none") is None
    assert library.chosen("auto") is None
    write_pack(built[0], tmp_path / "one.voices")
    (tmp_path / ".two.voices.part").write_bytes(b"half")
    for setting in ("auto", "one", str(tmp_path / "one.voices")):
        pack = library.chosen(setting)
        assert pack is not None
        assert pack.digest == digest_of(tmp_path / "one.voices")
    with pytest.raises(errors.ModelNotInstalled, match="packs: one"):
        library.chosen("other")
    with pytest.raises(errors.InvalidField):
        library.chosen("../one")
    assert library.remove("one") > 0
    assert not library.installed()


def test_fonts_are_found_once_and_a_broken_one_says_why(tmp_path: Path) -> None:
    (tmp_path / "good.sf2").write_bytes(SF2)
    (tmp_path / "link.sf2").symlink_to(tmp_path / "good.sf2")
    (tmp_path / "bad.sf3").write_bytes(b"RIFF")
    (tmp_path / "notes.txt").write_text("no font")
    bad, good = sorted(find_fonts([tmp_path, tmp_path / "none"]), key=lambda each: each.path)
    assert (good.name, good.num_presets, good.fault) == ("Tiny", len(usual_font().presets), "")
    assert "bad.sf3: it ends at byte 4" in bad.fault
