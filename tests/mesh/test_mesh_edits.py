"""Edits of a composition: untouched sections keep their takes and bytes, and wrong edits are refused by name."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from google.protobuf import json_format
from tests.mesh.harness import Heard, embedded, hear, spec

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composition_pb2, spec_pb2, stream_pb2
from segue.mixer.v1 import mixer_pb2
from segue.music.v1 import music_pb2
from segue_client import Client, SegueError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

BOTH = stream_pb2.AUDIO_SELECTION_BOTH
DRAFT = stream_pb2.AUDIO_SELECTION_DRAFT
FROZEN = spec_pb2.MASTER_MODE_FROZEN
PROMPT = "funk, 120 bpm, E minor, intro verse chorus bridge outro"
SECONDS = 32.0
BAR = 2 * 48_000

Edit = spec_pb2.Edit
Spec = music_pb2.SectionSpec


def parents_spec(**more: Any) -> spec_pb2.CompositionSpec:
    return spec(PROMPT, seconds=SECONDS, seed=11, **more)


def child_of(parent: Heard | str, *edits: Edit, **more: Any) -> spec_pb2.CompositionSpec:
    name = parent if isinstance(parent, str) else parent.composition.name
    return spec_pb2.CompositionSpec(parent=name, edits=edits, **more)


def redo(section_id: str, **more: Any) -> Edit:
    return Edit(redo=spec_pb2.EditRedo(section_id=section_id, **more))


def names(heard: Heard) -> list[str]:
    return [item.spec.section_id for item in heard.composition.plan.sections]


def pieces(heard: Heard, sound: bytes) -> dict[str, NDArray[np.float32]]:
    """Return the audio of each section."""
    frames = np.frombuffer(sound, np.float32).reshape(-1, 2)
    return {
        item.spec.section_id: frames[item.first_frame : item.first_frame + item.spec.frames]
        for item in heard.composition.plan.sections
    }


def ring_out(*heard: Heard) -> int:
    """Return how far the longest tail of a section reaches into the next ones."""
    ends = [
        update.event.section_finished.rendered.tail_frames
        for each in heard
        for update in each.updates
        if update.kind == "section_finished"
    ]
    return max(ends)


def reused(heard: Heard) -> set[str]:
    return {section.section_id for section in heard.composition.sections if section.reused}


def inserted(section_id: str = "break", **more: Any) -> Spec:
    return Spec(section_id=section_id, role=music_pb2.ROLE_BREAKDOWN, bars=2, **more)


async def read(client: Client, heard: Heard, name: str) -> bytes:
    output = next(each for each in heard.composition.outputs if each.name.endswith(name))
    return b"".join([piece async for piece in client.read(output)])


async def test_an_edit_changes_only_its_section_and_the_joins_at_its_borders(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (_, client):
        parent = await hear(client.compose(parents_spec(), audio=BOTH))
        intro, verse, chorus, bridge, outro = names(parent)
        plans = {
            # The edits, the order after them, and the sections that are rendered again.
            "redo": ([redo(chorus)], [intro, verse, chorus, bridge, outro], {chorus}),
            "replace and end early": (
                [
                    Edit(replace=spec_pb2.EditReplace(section_id=bridge, spec=inserted())),
                    Edit(remove=spec_pb2.EditRemove(section_id=outro)),
                ],
                [intro, verse, chorus, "break"],
                {"break"},
            ),
            "insert and remove": (
                [
                    Edit(insert=spec_pb2.EditInsert(before=bridge, spec=inserted())),
                    Edit(remove=spec_pb2.EditRemove(section_id=verse)),
                ],
                [intro, chorus, "break", bridge, outro],
                {"break"},
            ),
            "move and append": (
                [
                    Edit(move=spec_pb2.EditMove(section_id=bridge, before=chorus)),
                    Edit(insert=spec_pb2.EditInsert(spec=inserted())),
                ],
                [intro, verse, bridge, chorus, outro, "break"],
                # The former ending has no ring-out any more.
                {"break", outro} if parent.composition.plan.sections[-1].spec.tail_frames else {"break"},
            ),
        }
        before = pieces(parent, parent.draft)
        for what, (edits, order, anew) in plans.items():
            child = await hear(client.compose(child_of(parent, *edits), audio=DRAFT))
            piece = child.composition
            assert piece.state == composition_pb2.STATE_SUCCEEDED, what
            assert (piece.parent, piece.plan.version) == (parent.composition.name, 2)
            assert names(child) == order, what
            assert reused(child) == set(order) - anew, what
            assert len(child.draft) == piece.plan.frames * 8
            after = pieces(child, child.draft)
            for index, name in enumerate(order):
                if name in anew:
                    assert not np.array_equal(after[name], before.get(name, before[intro])), (what, name)
                    continue
                old = names(parent).index(name)
                follows_as_before = (index == 0) == (old == 0) and (
                    index == 0 or (order[index - 1] == names(parent)[old - 1] and order[index - 1] not in anew)
                )
                start = 0 if follows_as_before else ring_out(parent, child)
                end = len(before[name])
                if (index == len(order) - 1) != (old == len(names(parent)) - 1):
                    end -= BAR  # one of the two is faded in its last bar
                assert np.array_equal(after[name][start:end], before[name][start:end]), (what, name)
            assert abs(piece.mastered.loudness.integrated_lufs + 14.0) < 0.15


async def test_a_frozen_master_keeps_the_audio_a_second_away_from_the_edit(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (_, client):
        parent = await hear(client.compose(parents_spec(), audio=BOTH))
        chorus = names(parent)[2]
        frozen = await hear(client.compose(child_of(parent, redo(chorus), master_mode=FROZEN), audio=BOTH))
        anew = await hear(client.compose(child_of(parent, redo(chorus)), audio=BOTH))
        manifest = json.loads(await read(client, frozen, "manifest.json"))
        kept, made = parent.composition.master, frozen.composition.master
        assert (made.settings, made.gain_db, list(made.band_gains_db)) == (
            kept.settings,
            kept.gain_db,
            list(kept.band_gains_db),
        )
        place = parent.composition.plan.sections[2]
        first, last = (
            place.first_frame - 48_000,
            place.first_frame + place.spec.frames + ring_out(parent, frozen) + 48_000,
        )
        old, new, other = [np.frombuffer(heard.master, np.float32).reshape(-1, 2) for heard in (parent, frozen, anew)]
        assert np.array_equal(new[:first], old[:first])
        assert np.array_equal(new[last:], old[last:])
        assert not np.array_equal(new[first:last], old[first:last])
        assert not np.array_equal(other[:first], old[:first])
        # The manifest is enough to make the files again, without the parent.
        again = json_format.ParseDict(manifest["spec"], spec_pb2.CompositionSpec())
        json_format.ParseDict(manifest["plan"], again.plan)
        assert not again.parent
        assert not again.edits
    async with embedded(tmp_path / "elsewhere") as (_, client):
        repeated = await hear(client.compose(again, audio=BOTH))
    assert repeated.digests()["master.flac"] == frozen.digests()["master.flac"]


async def test_a_revision_without_edits_makes_other_files_from_the_same_takes(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (_, client):
        parent = await hear(client.compose(parents_spec(), audio=BOTH))
        broadcast = mixer_pb2.MasterSettings(preset=mixer_pb2.MASTER_PRESET_BROADCAST)
        exports = [spec_pb2.Export(file_format=audio_pb2.FILE_FORMAT_WAV)]
        child = await hear(client.compose(child_of(parent, master=broadcast, exports=exports), audio=BOTH))
        assert reused(child) == set(names(parent))
        assert child.draft == parent.draft
        assert child.composition.mastered.loudness.integrated_lufs == pytest.approx(-23.0, abs=0.1)
        wav = soundfile.info(io.BytesIO(await read(client, child, "master.wav")))
        assert wav.frames == parent.composition.plan.frames
        # The child of a child has the same files with the same loudness: settings are inherited in all generations.
        frozen = await hear(client.compose(child_of(child, redo(names(parent)[1]), master_mode=FROZEN), audio=BOTH))
        grandchild = await hear(client.compose(child_of(frozen, redo(names(parent)[1])), audio=BOTH))
        assert [output.name for output in grandchild.composition.outputs if "master." in output.name] == [
            f"{grandchild.composition.name}/outputs/master.wav"
        ]
        assert grandchild.composition.mastered.loudness.integrated_lufs == pytest.approx(-23.0, abs=0.1)
        stems = await hear(client.compose(child_of(parent, stems=True), audio=BOTH))
        # The parent has no stems: its sections are rendered again, with a warning, and sound the same.
        assert {warning.code for warning in stems.composition.warnings} == {"take_gone"}
        assert any(output.kind == composition_pb2.OUTPUT_KIND_STEM for output in stems.composition.outputs)
        assert stems.master == parent.master


async def test_edits_can_be_planned_undone_and_chained(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (_, client):
        parent = await hear(client.compose(parents_spec(private_prompt=True), audio=BOTH))
        chorus = names(parent)[2]
        asked = child_of(parent, redo(chorus))
        planned = (await client.plan(asked)).plan
        one = await hear(client.compose(asked, audio=BOTH))
        assert one.composition.plan == planned
        two = await hear(client.compose(child_of(one, redo(chorus)), audio=BOTH))
        seeds = [heard.composition.plan.sections[2].seed for heard in (one, two)]
        assert seeds[1] == seeds[0] + 1
        assert len({heard.composition.sections[2].take for heard in (parent, one, two)}) == 3
        back = await hear(client.compose(child_of(two, redo(chorus, seed=seeds[0])), audio=BOTH))
        assert reused(back) == set(names(parent))
        assert back.draft == one.draft
        # The prompt stays private.
        assert b"funk, 120" not in await read(client, two, "manifest.json")
        # Children keep their takes when the parent is deleted.
        await client.delete(parent.composition.name)
        await client.delete(one.composition.name)
        last = await hear(client.compose(child_of(two), audio=BOTH))
        assert last.draft == two.draft


async def test_the_planner_reads_the_prompts_of_edited_sections(tmp_path: Path) -> None:
    """Words become layers, instruments, energy and feel of the section; the rest is a warning at acceptance."""
    async with embedded(tmp_path) as (_, client):
        parent = await hear(client.compose(parents_spec(), audio=DRAFT))
        _, verse, chorus, bridge, _ = names(parent)
        new = Spec(section_id=bridge, role=music_pb2.ROLE_BRIDGE, bars=4, prompt="only violins, no drums")
        edits = [
            redo(chorus, prompt="half-time, huge, with a glass harmonica"),
            Edit(replace=spec_pb2.EditReplace(section_id=bridge, spec=new)),
        ]
        accepted = await client.create(child_of(parent, *edits))
        assert [(each.code, each.section_id) for each in accepted.warnings] == [("section_prompt_not_read", chorus)]
        assert "glass" in accepted.warnings[0].text
        child = await hear(client.watch(accepted.name, audio=DRAFT))
        piece = child.composition
        assert list(piece.warnings) == list(accepted.warnings)
        warned = [update.event.warned for update in child.updates if update.kind == "warned"]
        assert warned == list(piece.warnings), "each is sent once"
        before, after = (
            {item.spec.section_id: item.spec for item in each.composition.plan.sections} for each in (parent, child)
        )
        assert after[chorus].groove.feel == music_pb2.FEEL_HALF_TIME
        assert sum(after[chorus].energy) > sum(before[chorus].energy)
        assert after[chorus].chords == before[chorus].chords
        assert [list(layer.instruments) for layer in after[bridge].layers] == [["violin"]]
        assert reused(child) == set(names(parent)) - {chorus, bridge}
        words = {each.words for each in piece.plan.readings if each.section_id}
        assert {"half-time", "huge", "only violins", "no drums"} <= words
        # The next edit reads nothing again: the section is as it is.
        grandchild = (await client.plan(child_of(child, redo(verse)))).plan
        assert {chorus: after[chorus]}.items() <= {
            item.spec.section_id: item.spec for item in grandchild.sections
        }.items()
        assert list(grandchild.warnings) == list(piece.plan.warnings)


async def test_a_renamed_section_is_not_rendered_again(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (_, client):
        parent = await hear(client.compose(parents_spec(), audio=DRAFT))
        _, verse, chorus, *_ = names(parent)
        specs = {item.spec.section_id: item.spec for item in parent.composition.plan.sections}

        def renamed(which: str, **fields: Any) -> Edit:
            new = Spec()
            new.CopyFrom(specs[which])
            new.MergeFrom(Spec(**fields))
            return Edit(replace=spec_pb2.EditReplace(section_id=which, spec=new))

        child = await hear(
            client.compose(
                child_of(
                    parent, renamed(verse, label="The story"), renamed(chorus, section_id="hook", label="The hook")
                ),
                audio=DRAFT,
            )
        )
        assert names(child) == [each if each != chorus else "hook" for each in names(parent)]
        assert [item.spec.label for item in child.composition.plan.sections][1:3] == ["The story", "The hook"]
        assert reused(child) == set(names(child))
        assert child.draft == parent.draft
        takes = [[section.take for section in each.composition.sections] for each in (parent, child)]
        assert takes[0] == takes[1]
        # Another composition finds the take by its key, although the section has another name there.
        own = spec_pb2.CompositionSpec(plan=child.composition.plan)
        own.plan.digest = ""
        own.plan.sections[3].spec.label = "The turn"
        again = await hear(client.compose(own, audio=DRAFT))
        assert reused(again) == set(names(child))
        # A redo of the renamed section starts from the seed of its take.
        redone = (await client.plan(child_of(child, redo("hook")))).plan
        assert redone.sections[2].seed == child.composition.plan.sections[2].seed + 1


async def test_impossible_edits_are_refused_by_name(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (_, client):
        parent = await hear(client.compose(parents_spec()))
        verse = names(parent)[1]
        everything = [Edit(remove=spec_pb2.EditRemove(section_id=name)) for name in names(parent)]
        wrong: list[tuple[spec_pb2.CompositionSpec, str, str]] = [
            (child_of("compositions/none", redo(verse)), "COMPOSITION_NOT_FOUND", ""),
            (child_of(parent, redo("unknown")), "INVALID_FIELD", "spec.edits[0].redo.section_id"),
            (child_of(parent, *everything), "INVALID_FIELD", "spec.edits"),
            (
                child_of(parent, Edit(insert=spec_pb2.EditInsert(spec=inserted(verse)))),
                "INVALID_FIELD",
                "spec.edits[0].insert.spec.section_id",
            ),
            (
                child_of(parent, Edit(move=spec_pb2.EditMove(section_id=verse, before="unknown"))),
                "INVALID_FIELD",
                "spec.edits[0].move.before",
            ),
            (child_of(parent, brief=music_pb2.Brief(prompt="another")), "INVALID_FIELD", "spec.brief"),
            (child_of(parent, plan=parent.composition.plan), "INVALID_FIELD", "spec.plan"),
            (child_of(parent, model="another"), "INVALID_FIELD", "spec.model"),
            (
                child_of(parent, master_mode=FROZEN, master=mixer_pb2.MasterSettings(target_lufs=-10)),
                "INVALID_FIELD",
                "spec.master",
            ),
            (parents_spec(edits=[redo(verse)]), "INVALID_FIELD", "spec.edits"),
            (parents_spec(master_mode=FROZEN), "INVALID_FIELD", "spec.master_mode"),
        ]
        for asked, reason, path in wrong:
            with pytest.raises(SegueError) as caught:
                await client.create(asked)
            assert caught.value.reason == reason, caught.value
            if path:
                assert [each.field for each in caught.value.violations] == [path]
        waiting = await client.create(parents_spec())
        with pytest.raises(SegueError) as caught:
            await client.create(child_of(waiting.name, redo(verse)))
        assert caught.value.reason == "NOT_FINISHED"
        await client.cancel(waiting.name)
