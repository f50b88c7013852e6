"""Nothing that is accepted is ignored: every field changes the result, gives a warning that names it, or is refused.

The walk goes by the descriptors of the contract. A new field fails here until it has a change in one of the tables of
changes, and until every backend uses it, warns about it, refuses it, or has a reason in exceptions.py.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from tests.contract.composition_changes import (
    BRIEF,
    MASTER,
    PLAN,
    PROMPT,
    Given,
    base_brief,
    base_composition,
    base_plan,
    composition_changes,
    edit_changes,
    open_plan,
)
from tests.contract.exceptions import EXCEPTIONS, exempt
from tests.contract.fields import Change, paths
from tests.contract.pieces import compose, mesh, plan, uploaded
from tests.contract.renders import render
from tests.contract.section_changes import OWN_CHANGES, SECTION, START, base_section, start_of
from tests.contract.verdicts import IGNORED, verdict
from tests.mesh.harness import hear
from tests.renderer.renderer_server import served

from segue.composer.v1 import composition_pb2, spec_pb2
from segue.mixer.v1 import mixer_pb2
from segue.music.v1 import music_pb2
from segue.renderer.v1 import renderer_pb2
from segue_renderer import registry
from segue_runtime.settings import Settings, load, replace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from tests.contract.verdicts import Result

    from segue_renderer.backend import Backend

WALKED = frozenset(
    {
        "segue.music.v1.SectionSpec", "segue.music.v1.Brief", "segue.music.v1.Plan", "segue.mixer.v1.MasterSettings",
    }
)  # fmt: skip
"""Messages that have a walk of their own."""
WEIGHT_NORM = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
MARKS = {
    "musicgen": (pytest.mark.engine, WEIGHT_NORM),
    "diffusion": (pytest.mark.engine, WEIGHT_NORM),
    "audiocraft": (pytest.mark.audiocraft, pytest.mark.slow, WEIGHT_NORM),
}
"""Of backends that play tiny random checkpoints, in environments with torch."""
BACKENDS = [pytest.param(name, marks=MARKS.get(name, ())) for name in registry.BACKENDS]
WITH_MOTIF = [each for each in BACKENDS if each.values[0] not in {"diffusion", "audiocraft"}]
"""Backends whose models support every continuity of the base plan. The walks over plans are about the planner."""
pytestmark = pytest.mark.timeout(900)


def checkpoint(name: str, folder: Path) -> Path:
    """Write a tiny random MusicGen that follows melodies, or an ACE-Step with guidance, in the backend's layout."""
    import torch

    torch.set_num_threads(1)
    if name == "diffusion":
        from tests.diffusion import tiny_models

        return tiny_models.write_ace_step(folder / "ace-step", is_turbo=False)
    from tests.engine import checkpoints

    model = checkpoints.write(folder / "melody", "melody")
    if name != "audiocraft":
        return folder / "melody"
    checkpoints.to_audiocraft(folder / "melody", folder / "audiocraft", model, "melody")
    return folder / "audiocraft"


def make_backend(name: str, folder: Path) -> tuple[Backend, int, dict[str, bool]]:
    """Return a backend, the sample rate to ask for, and what it gives beside the mix."""
    if name not in MARKS:
        backend = registry.make_backend(replace(Settings(home=folder), renderer__backend=name))
        profile = backend.profiles[0]
        return backend, profile.sample_rate or 22_050, {"stems": bool(profile.layers), "notes": profile.gives_notes}
    return registry.make_backend(load(flags_of(name, folder), environ={}, folder=folder)), 12_800, {}


def flags_of(name: str, folder: Path) -> dict[str, object]:
    """Return the flags of a mesh with a backend."""
    model = {f"renderer.{name}.model": str(checkpoint(name, folder))} if name in MARKS else {}
    steps = {"renderer.diffusion.steps": 2} if name == "diffusion" else {}
    return {"renderer.backend": name, **model, **steps}


async def ignored(
    changes: Mapping[str, Change], make_base: Callable[[], Any], run: Callable[..., Awaitable[Result]]
) -> set[str]:
    """Return the paths whose change has no effect, no warning and no error."""
    results: dict[Callable[[Any], None] | None, Result] = {None: await run(make_base())}
    assert await run(make_base()) == results[None], "the same request must give the same result"
    found = set()
    for path, change in changes.items():
        message = make_base()
        if change.base is not None:
            change.base(message)
            if change.base not in results:
                results[change.base] = await run(message)
        before = results[change.base]
        change.apply(message)
        after = await run(message, *([change.more()] if change.more else []))
        if verdict(path, before, after) == IGNORED:
            found.add(path)
    return found


def decided(message: Any, changes: Mapping[str, Change], whole: frozenset[str] = frozenset()) -> list[str]:
    """Return all paths of a message; each must have a change."""
    found = list(paths(message.DESCRIPTOR, whole))
    assert set(found) == set(changes), "decide how these fields are tested: add a change for each, or remove it"
    return found


@pytest.mark.parametrize("name", BACKENDS)
async def test_every_field_of_a_section_is_used_or_named(name: str, tmp_path: Path) -> None:
    all_paths = decided(music_pb2.SectionSpec, SECTION)
    backend, rate, extras = make_backend(name, tmp_path)
    changes = {**SECTION, **OWN_CHANGES.get(name, {})}
    async with served(backend, tmp_path) as stub:

        async def run(spec: music_pb2.SectionSpec) -> Result:
            return await render(stub, start_of(spec, **extras))

        found = await ignored(changes, lambda: base_section(rate=rate), run)
    assert found == exempt("SectionSpec", name, all_paths)


@pytest.mark.parametrize("name", BACKENDS)
async def test_every_field_of_a_render_start_is_used_or_named(name: str, tmp_path: Path) -> None:
    all_paths = decided(renderer_pb2.RenderStart, START, WALKED)
    backend, rate, _ = make_backend(name, tmp_path)
    async with served(backend, tmp_path) as stub:

        async def run(start: renderer_pb2.RenderStart, more: tuple[Any, ...] = ()) -> Result:
            return await render(stub, start, more)

        found = await ignored(START, lambda: start_of(base_section(rate=rate)), run)
    assert found == exempt("RenderStart", name, all_paths)


def in_plan(change: Change) -> Change:
    """Return a change of a section as one of the first section of a plan."""
    base = change.base
    return Change(
        lambda plan: change.apply(plan.sections[0].spec),
        (lambda plan: base(plan.sections[0].spec)) if base else None,
    )


@pytest.mark.parametrize("name", WITH_MOTIF)
async def test_every_field_of_a_brief_and_of_a_plan_is_used_or_named(name: str, tmp_path: Path) -> None:
    brief_paths, plan_paths = decided(music_pb2.Brief, BRIEF), decided(music_pb2.Plan, PLAN, WALKED)
    section_paths = list(SECTION)
    async with mesh(tmp_path, flags_of(name, tmp_path)) as client:

        async def of_brief(brief: music_pb2.Brief) -> Result:
            return await plan(client, spec_pb2.CompositionSpec(brief=brief))

        async def of_plan(asked: music_pb2.Plan) -> Result:
            return await plan(client, spec_pb2.CompositionSpec(plan=asked), without=())

        assert await ignored(BRIEF, base_brief, of_brief) == exempt("Brief", name, brief_paths)
        assert await ignored(PLAN, base_plan, of_plan) == exempt("Plan", name, plan_paths)

        async def beside_plan(brief: music_pb2.Brief) -> Result:
            return await plan(client, spec_pb2.CompositionSpec(plan=open_plan(), brief=brief))

        found = await ignored(BRIEF, lambda: music_pb2.Brief(prompt=PROMPT), beside_plan)
        assert found == exempt("Brief beside a plan", name, brief_paths)
        sections = {path: in_plan(change) for path, change in SECTION.items()}
        assert await ignored(sections, base_plan, of_plan) == exempt("Plan.sections.spec", name, section_paths)


@pytest.mark.parametrize("name", WITH_MOTIF)
async def test_every_field_of_a_composition_is_used_or_named(name: str, tmp_path: Path) -> None:
    async with mesh(tmp_path, flags_of(name, tmp_path)) as client:

        async def run(spec: spec_pb2.CompositionSpec) -> Result:
            return await compose(client, spec, PROMPT)

        async def planned(spec: spec_pb2.CompositionSpec) -> Result:
            return await plan(client, spec)

        parent = (await hear(client.compose(base_composition()))).composition
        given = Given(parent, await uploaded(client, tmp_path))
        changes, edits = composition_changes(given), edit_changes(given)
        all_paths = decided(spec_pb2.CompositionSpec, {**changes, **edits}, WALKED)
        found = await ignored(edits, base_composition, planned) | await ignored(changes, base_composition, run)
    assert found == exempt("CompositionSpec", name, all_paths)


async def test_every_mastering_setting_is_used_or_named(tmp_path: Path) -> None:
    all_paths = decided(mixer_pb2.MasterSettings, MASTER)
    changes = {path: Change(lambda spec, change=change: change.apply(spec.master)) for path, change in MASTER.items()}  # type: ignore[misc]  # a default argument
    async with mesh(tmp_path) as client:

        async def run(spec: spec_pb2.CompositionSpec) -> Result:
            return await compose(client, spec)

        found = await ignored(changes, base_composition, run)
    assert found == exempt("MasterSettings", "sketch", all_paths)


async def test_other_services_use_what_the_renderers_leave_to_them(tmp_path: Path) -> None:
    async with mesh(tmp_path) as client:
        spec = base_composition()
        spec.midi = spec.stems = True
        before = await compose(client, spec)
        for path, file in (("label", "music.mid"), ("target_lufs", "draft.wav")):
            changed = copy.deepcopy(spec)
            SECTION[path].apply(changed.plan.sections[0].spec)
            assert (await compose(client, changed)).content["files"][file] != before.content["files"][file], path
        for item in spec.plan.sections:
            item.spec.ClearField("chords")
        chords = []
        for cadence in (music_pb2.CADENCE_AUTHENTIC, music_pb2.CADENCE_HALF):
            spec.plan.sections[0].spec.cadence = cadence
            chords.append((await client.plan(spec)).plan.sections[0].spec.chords)
        assert chords[0] != chords[1]


async def test_the_prompt_of_a_section_has_what_musicgen_reads_in_it(tmp_path: Path) -> None:
    wanted = [path for each in EXCEPTIONS if each.in_prompt for path in each.paths]
    assert wanted
    async with mesh(tmp_path) as client:

        async def prompt_of(asked: music_pb2.Plan) -> str:
            for item in asked.sections:
                item.spec.ClearField("prompt")
            return (await client.plan(spec_pb2.CompositionSpec(plan=asked))).plan.sections[0].spec.prompt

        plain = await prompt_of(base_plan())
        for path in wanted:
            asked = base_plan()
            SECTION[path].apply(asked.sections[0].spec)
            assert await prompt_of(asked) != plain, path


def test_every_exception_names_a_field_and_has_a_reason() -> None:
    known = {
        "SectionSpec": list(SECTION),
        "Plan.sections.spec": list(SECTION),
        "RenderStart": list(START),
        "Brief": list(BRIEF),
        "Plan": list(PLAN),
        "MasterSettings": list(MASTER),
        "CompositionSpec": list(composition_changes(Given(composition_pb2.Composition(), ""))),
    }
    for each in EXCEPTIONS:
        assert each.reason
        found = {
            path
            for backend in each.backends or registry.BACKENDS
            for path in exempt(each.message, backend, known[each.message])
        }
        assert found, f"{each.message}: {each.paths} name no field"
