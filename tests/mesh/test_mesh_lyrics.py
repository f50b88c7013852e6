"""Lyrics through the whole mesh: sung, written as an LRC file, edited, and kept private."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest
from tests.mesh.faulty_renderer import faulty_renderer
from tests.mesh.harness import embedded, hear, spec
from tests.mesh.test_mesh_abilities import scripted
from tests.mesh.test_mesh_degradations import failing
from tests.mesh.test_mesh_section_models import files_of, two_models
from tests.mesh.two_models import HUM, TwoModels

from segue.composer.v1 import composition_pb2, spec_pb2
from segue.music.v1 import music_pb2
from segue_client import SegueError

if TYPE_CHECKING:
    from pathlib import Path

PROMPT = "calm pop, 120 bpm, C major"
SONG = "[verse]\nZebra winter window\nI can hear you\n[chorus]\nStay with me\nStay"
LINES = ["Zebra winter window", "I can hear you", "Stay with me", "Stay"]


def song(text: str = SONG, **more: bool) -> spec_pb2.CompositionSpec:
    made = spec(PROMPT, seconds=16.0)
    made.brief.lyrics.text = text
    made.brief.lyrics.language = "en"
    for name, value in more.items():
        setattr(made, name, value)
    return made


def words(plan: music_pb2.Plan) -> dict[str, list[str]]:
    return {item.spec.section_id: [line.text for line in item.spec.lyrics.lines] for item in plan.sections}


async def test_a_song_is_sung_and_its_words_can_be_changed(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (_, client):
        heard = await hear(client.compose(song(stems=True, lrc=True)))
        made, files = heard.composition, await files_of(client, heard.composition)
        assert made.state == composition_pb2.STATE_SUCCEEDED
        assert words(made.plan) == {"verse": LINES[:2], "chorus": LINES[2:]}
        assert [each.code for each in made.warnings] == ["lyrics_as_vowels"]
        (output,) = [each for each in made.outputs if each.kind == composition_pb2.OUTPUT_KIND_LRC]
        assert output.name.endswith("outputs/lyrics.lrc")
        times = [line.partition("]") for line in files["lyrics.lrc"].decode().splitlines() if line[1].isdigit()]
        assert [text for _, _, text in times if text] == LINES
        assert [first for first, _, _ in times] == sorted(first for first, _, _ in times)
        assert "stem-vocals.wav" in files or any("vocals" in name for name in files)
        manifest = json.loads(files["manifest.json"])
        assert manifest["lyrics"] == {"language": "en", "lines": 4}
        assert "lyrics" not in manifest["spec"]["brief"]

        # A redo keeps the words, a replacement changes them, and nothing else is rendered again.
        redo = spec_pb2.Edit(redo=spec_pb2.EditRedo(section_id="chorus"))
        again = await hear(client.compose(spec_pb2.CompositionSpec(parent=made.name, edits=[redo])))
        assert again.composition.plan.sections[1].spec.lyrics == made.plan.sections[1].spec.lyrics
        other = music_pb2.SectionSpec()
        other.CopyFrom(made.plan.sections[1].spec)
        other.lyrics.CopyFrom(music_pb2.Lyrics(text="Go away\nfrom here", language="en"))
        replace = spec_pb2.Edit(replace=spec_pb2.EditReplace(section_id="chorus", spec=other))
        child = (await hear(client.compose(spec_pb2.CompositionSpec(parent=made.name, edits=[replace])))).composition
        assert words(child.plan) == {"verse": LINES[:2], "chorus": ["Go away", "from here"]}
        assert [section.reused for section in child.sections] == [True, False]
        assert child.sections[1].take != made.sections[1].take


async def test_a_new_section_with_nothing_but_words_is_sung(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (_, client):
        made = (await hear(client.compose(spec("calm piano, 120 bpm, verse chorus", seconds=8)))).composition
        new = music_pb2.SectionSpec(section_id="chorus", role=music_pb2.ROLE_CHORUS, bars=2)
        new.lyrics.text = "Go away"
        replace = spec_pb2.Edit(replace=spec_pb2.EditReplace(section_id="chorus", spec=new))
        asked = spec_pb2.CompositionSpec(parent=made.name, edits=[replace], lrc=True)
        plan = (await client.plan(asked)).plan
        assert words(plan) == {"verse": [], "chorus": ["Go away"]}
        assert music_pb2.LAYER_KIND_VOCALS in {layer.kind for layer in plan.sections[1].spec.layers}
        files = await files_of(client, (await hear(client.compose(asked))).composition)
    assert "]Go away" in files["lyrics.lrc"].decode()


async def test_a_piece_without_words_has_no_lrc_file(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (_, client):
        for wrong in (
            spec(PROMPT, lrc=True),
            spec_pb2.CompositionSpec(plan=(await client.plan(spec(PROMPT))).plan, lrc=True),
        ):
            with pytest.raises(SegueError) as caught:
                await client.plan(wrong)
            assert caught.value.violations[0].field == "spec.lrc"


@pytest.mark.parametrize("text", ["x" * 100_000, "la \x07", "la \u2066la", " \n", "[verse]", "y" * 600])
async def test_impossible_lyrics_are_refused_before_the_queue(tmp_path: Path, text: str) -> None:
    async with embedded(tmp_path) as (_, client):
        with pytest.raises(SegueError) as caught:
            await hear(client.compose(song(text)))
        assert "lyrics.text" in caught.value.violations[0].field
        assert "yy" not in str(caught.value)
        assert not [each async for each in client.compositions()]


async def test_private_lyrics_are_in_no_manifest_and_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    async with embedded(tmp_path, {"log.level": "debug"}) as (_, client):
        heard = await hear(client.compose(song(private_prompt=True)))
        files = await files_of(client, heard.composition)
    manifest = json.loads(files["manifest.json"])
    assert manifest["lyrics"]["lines"] == 4
    assert "Zebra" not in json.dumps(manifest)
    assert b"Zebra" not in files["master.flac"]
    assert "Zebra" not in caplog.text + "".join(capfd.readouterr())


async def test_models_say_what_they_cannot_sing(tmp_path: Path) -> None:
    async with two_models(tmp_path) as (client, backend):
        made = song()
        made.model = HUM.model
        plan = (await client.plan(made)).plan
        assert {each.code for each in plan.warnings} == {"lyrics_not_sung"}
        assert {each.section_id for each in plan.warnings} == {"verse", "chorus"}
        assert all(layer.kind != music_pb2.LAYER_KIND_VOCALS for item in plan.sections for layer in item.spec.layers)
        heard = await hear(client.compose(made))
        assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
        assert words(heard.composition.plan)["verse"] == LINES[:2]
        assert all(request.spec.lyrics is None for request in backend.hummed)


async def test_a_language_that_the_model_does_not_sing_is_one_warning(tmp_path: Path) -> None:
    async with scripted(tmp_path, uses_lyrics=True, lyric_languages=("de", "fr")) as (client, backend):
        plan = (await client.plan(song())).plan
        assert [(each.code, each.section_id) for each in plan.warnings] == [("lyrics_language", "")]
        made = song()
        made.brief.lyrics.language = "de-AT"
        heard = await hear(client.compose(made))
    assert not {each.code for each in heard.composition.warnings if each.code.startswith("lyrics")}
    first = backend.requests[0].spec.lyrics
    assert first is not None
    assert (first.language, [line.text for line in first.lines]) == ("de-AT", LINES[:2])


async def test_a_model_without_voice_that_takes_over_is_named(tmp_path: Path) -> None:
    async with (
        faulty_renderer(tmp_path, failing("chorus", "sketch"), TwoModels()) as renderer,
        embedded(tmp_path, {"renderer.addresses": renderer.address}) as (_, client),
    ):
        made = song(lrc=True)
        made.degradation_policy = spec_pb2.DEGRADATION_POLICY_ALLOW
        heard = await hear(client.compose(made))
        files = await files_of(client, heard.composition)
    (degradation,) = heard.composition.degradations
    assert degradation.text.endswith("hum sings no lyrics")
    assert words(heard.composition.plan)["chorus"] == LINES[2:]
    assert "Stay with me" in files["lyrics.lrc"].decode()
