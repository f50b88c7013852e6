"""Edits of a parent's plan. Untouched sections keep their specs, and with them their takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue.composer.v1 import composition_pb2, spec_pb2
from segue.music.v1 import music_pb2
from segue_composition import state
from segue_composition.section_models import model_of
from segue_composition.stages import RENDERED
from segue_music import codec
from segue_runtime import errors
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from segue.composer.v1.composition_pb2 import Composition
    from segue.composer.v1.spec_pb2 import CompositionSpec, Edit
    from segue.music.v1.music_pb2 import Plan, PlannedSection, SectionSpec

MOST_SEEDS: Final = 2**32


@dataclass(frozen=True)
class Revision:
    """The result of edits: a complete spec with its own plan, and the sections with takes to reuse."""

    spec: CompositionSpec
    kept: Mapping[str, str]
    """The sections whose takes can be used unchanged, each with its id in the parent."""
    prompted: tuple[str, ...]
    """The sections with a new prompt, which the planner reads for models that read none."""


def revise(spec: CompositionSpec, parent: Composition, parents_spec: CompositionSpec) -> Revision:
    """Apply a spec's edits to its parent's plan. The planner completes the touched sections."""
    _check_parent(spec, parent)
    editor = _PlanEditor(parent.plan, parent.model)
    for index, edit in enumerate(spec.edits):
        editor.apply(edit, f"spec.edits[{index}]")
    if not editor.sections:
        raise _wrong("spec.edits", "the edits remove all sections", "keep one")
    revised = spec_pb2.CompositionSpec()
    revised.CopyFrom(spec)
    # Length, form and key come from the parent's plan; new sections need the words of its prompt.
    revised.brief.prompt = parents_spec.brief.prompt
    revised.brief.negative_prompt = parents_spec.brief.negative_prompt
    if parents_spec.brief.HasField("sampling"):
        revised.brief.sampling.CopyFrom(parents_spec.brief.sampling)
    if not revised.HasField("melody") and parents_spec.HasField("melody"):
        revised.melody.CopyFrom(parents_spec.melody)
    revised.timbre_source = revised.timbre_source or parents_spec.timbre_source
    revised.brief.same_timbre = parents_spec.brief.same_timbre
    if not revised.exports:
        revised.exports.extend(parents_spec.exports)
    revised.model = parent.model
    revised.private_prompt |= parents_spec.private_prompt
    revised.plan.CopyFrom(editor.plan())
    kept = editor.untouched()
    if spec.master_mode == spec_pb2.MASTER_MODE_FROZEN:
        revised.frozen_master.CopyFrom(_frozen(parent, kept))
    elif not (revised.HasField("master") or revised.HasField("frozen_master")):
        _use_masters_settings(revised, parents_spec)
    return Revision(revised, kept, tuple(editor.prompted))


def restore_untouched(filled: Plan, parent: Composition, kept: Mapping[str, str]) -> Plan:
    """Return a completed plan with the parent's specs for untouched sections, and its new digest.

    The planner updates what each section knows of its neighbours. An untouched section would have to be rendered again
    for that.
    """
    plan = music_pb2.Plan()
    plan.CopyFrom(filled)
    before = {item.spec.section_id: item.spec for item in parent.plan.sections}
    for item in plan.sections:
        if item.spec.section_id in kept:
            section_id, label, imitated = item.spec.section_id, item.spec.label, item.spec.timbre_section
            item.spec.CopyFrom(before[kept[section_id]])
            item.spec.section_id, item.spec.label, item.spec.timbre_section = section_id, label, imitated
    plan.digest = codec.plan_digest(codec.plan_from_message(plan))
    return plan


def kept_sections(parent: Composition, kept: Mapping[str, str]) -> list[composition_pb2.Section]:
    """Return the sections with reusable takes, under their new ids."""
    found: list[composition_pb2.Section] = []
    before = {section.section_id: section for section in parent.sections}
    for section_id, parents_id in kept.items():
        section = before[parents_id]
        if section.take and section.state in RENDERED:
            found.append(composition_pb2.Section())
            found[-1].CopyFrom(section)
            found[-1].section_id = section_id
    return found


class _PlanEditor:
    """A plan that is being edited."""

    def __init__(self, plan: Plan, piece_model: str) -> None:
        self._parent = plan
        self._piece_model = piece_model
        self._before = [item.spec.section_id for item in plan.sections]
        self._touched: set[str] = set()
        self._remodelled: set[str] = set()
        self._placed: set[str] = set()
        """The sections that an edit brought."""
        self._former: dict[str, str] = {}
        """The ids in the parent of the sections that were only renamed."""
        self.prompted: list[str] = []
        self.sections: list[PlannedSection] = []
        for item in plan.sections:
            copy = music_pb2.PlannedSection()
            copy.CopyFrom(item)
            self.sections.append(copy)

    def apply(self, edit: Edit, path: str) -> None:
        """Apply one edit."""
        kind = edit.WhichOneof("edit") or ""
        steps: dict[str, Callable[[str], None]] = {
            "redo": lambda at: self._redo(edit.redo, at),
            "replace": lambda at: self._replace(edit.replace, at),
            "insert": lambda at: self._insert(edit.insert, at),
            "remove": lambda at: self._remove(edit.remove, at),
            "move": lambda at: self._move(edit.move, at),
        }
        steps[kind](f"{path}.{kind}")

    def plan(self) -> Plan:
        """Return the plan without the values that depend on the order of its sections."""
        plan = music_pb2.Plan()
        plan.CopyFrom(self._parent)
        plan.version = self._parent.version + 1
        plan.digest, plan.frames = "", 0
        del plan.sections[:]
        untouched = self.untouched()
        for index, item in enumerate(self.sections):
            placed = plan.sections.add(spec=item.spec)
            if item.HasField("seed"):
                placed.seed = item.seed
            if index and item.HasField("join") and not self._changes_model(index):
                placed.join.CopyFrom(item.join)
            if placed.spec.section_id not in untouched:
                placed.spec.tail_frames = placed.spec.tail_frames if index == len(self.sections) - 1 else 0
            elif index and self._has_new_predecessor(index):
                # Its take continues audio that is no longer before it.
                placed.join.CopyFrom(music_pb2.Join(kind=music_pb2.JOIN_KIND_CROSSFADE))
        self._forget_later_timbres(plan)
        self._keep_remarks(plan)
        return plan

    def _forget_later_timbres(self, plan: Plan) -> None:
        """Let sections imitate no section that an edit removed, or moved behind them.

        What an edit brings is checked by the planner.
        """
        earlier: set[str] = set()
        for item in plan.sections:
            if item.spec.timbre_section not in earlier and item.spec.section_id not in self._placed:
                item.spec.ClearField("timbre_section")
            earlier.add(item.spec.section_id)

    def _keep_remarks(self, plan: Plan) -> None:
        """Keep the readings and warnings of the piece, and of the sections that are still there."""
        names = {self._former_id(item): item for item in self.sections if item.spec.section_id not in self._placed}
        for remarks in (plan.readings, plan.warnings):
            kept = [each for each in remarks if not each.section_id or each.section_id in names]
            for each in kept:
                if each.section_id:
                    each.section_id = names[each.section_id].spec.section_id
            copies = [type(each).FromString(each.SerializeToString()) for each in kept]
            del remarks[:]
            remarks.extend(copies)  # type: ignore[arg-type]  # readings to readings, warnings to warnings

    def untouched(self) -> dict[str, str]:
        """Return the sections with takes that can be used unchanged, each with its id in the parent."""
        last = len(self.sections) - 1
        return {
            item.spec.section_id: self._former_id(item)
            for index, item in enumerate(self.sections)
            # A take with the ring-out of the ending cannot precede another section.
            if item.spec.section_id not in self._touched and (index == last or not item.spec.tail_frames)
        }

    def _former_id(self, item: PlannedSection) -> str:
        return self._former.get(item.spec.section_id, item.spec.section_id)

    def _has_new_predecessor(self, index: int) -> bool:
        if self.sections[index].spec.continuity != music_pb2.CONTINUITY_TAIL:
            return False
        predecessor = self.sections[index - 1]
        position = self._before.index(self._former_id(self.sections[index]))
        return (
            predecessor.spec.section_id in self._touched
            or position == 0
            or self._before[position - 1] != self._former_id(predecessor)
        )

    def _changes_model(self, index: int) -> bool:
        """Return whether a section or the one before it got another model: their join is chosen again."""
        return any(item.spec.section_id in self._remodelled for item in self.sections[max(0, index - 1) : index + 1])

    def _redo(self, redo: spec_pb2.EditRedo, path: str) -> None:
        item = self.sections[self._find(redo.section_id, f"{path}.section_id")]
        item.seed = redo.seed if redo.HasField("seed") else (self._seed_of(item) + 1) % MOST_SEEDS
        if redo.prompt:
            item.spec.prompt = redo.prompt
            self.prompted.append(item.spec.section_id)
        if redo.model and redo.model != model_of(item.spec, self._piece_model):
            # The planner chooses again what depends on the model.
            item.spec.model = redo.model
            item.spec.ClearField("continuity")
            self._remodelled.add(item.spec.section_id)
        self._touch(item.spec)

    def _replace(self, replace: spec_pb2.EditReplace, path: str) -> None:
        index = self._find(replace.section_id, f"{path}.section_id")
        if replace.spec.section_id != replace.section_id:
            self._need_free(replace.spec.section_id, f"{path}.spec.section_id")
        if _is_renamed(self.sections[index].spec, replace.spec):
            self._rename(self.sections[index], replace.spec)
            return
        del self.sections[index]
        self._put(index, replace.spec)

    def _insert(self, insert: spec_pb2.EditInsert, path: str) -> None:
        self._need_free(insert.spec.section_id, f"{path}.spec.section_id")
        self._put(self._index_before(insert.before, f"{path}.before"), insert.spec)

    def _remove(self, remove: spec_pb2.EditRemove, path: str) -> None:
        del self.sections[self._find(remove.section_id, f"{path}.section_id")]

    def _move(self, move: spec_pb2.EditMove, path: str) -> None:
        if move.before == move.section_id:
            raise _wrong(f"{path}.before", "a section cannot stand before itself", "")
        item = self.sections.pop(self._find(move.section_id, f"{path}.section_id"))
        self.sections.insert(self._index_before(move.before, f"{path}.before"), item)

    def _rename(self, item: PlannedSection, spec: SectionSpec) -> None:
        """Give a section another id and label. Its music, and with it its take, stays."""
        item.seed = self._seed_of(item)  # it would follow from the new id
        renamed = {item.spec.section_id: spec.section_id}
        for names in (self._touched, self._placed):
            if item.spec.section_id in names:
                names.add(spec.section_id)
        self._former[spec.section_id] = self._former.pop(item.spec.section_id, item.spec.section_id)
        self.prompted = [renamed.get(each, each) for each in self.prompted]
        item.spec.CopyFrom(spec)
        for other in self.sections:
            other.spec.timbre_section = renamed.get(other.spec.timbre_section, other.spec.timbre_section)

    def _seed_of(self, item: PlannedSection) -> int:
        return item.seed if item.HasField("seed") else codec.section_seed(self._parent.seed, item.spec.section_id)

    def _put(self, index: int, spec: SectionSpec) -> None:
        item = music_pb2.PlannedSection()
        item.spec.CopyFrom(spec)
        if spec.model:
            self._remodelled.add(spec.section_id)
        self._touch(item.spec)
        self.sections.insert(index, item)

        self._placed.add(spec.section_id)

    def _touch(self, spec: SectionSpec) -> None:
        self._touched.add(spec.section_id)

    def _find(self, section_id: str, path: str) -> int:
        names = [item.spec.section_id for item in self.sections]
        if section_id not in names:
            raise _wrong(path, f"there is no section {section_id!r}; there are: {', '.join(names)}", names[0])
        return names.index(section_id)

    def _index_before(self, before: str, path: str) -> int:
        return self._find(before, path) if before else len(self.sections)

    def _need_free(self, section_id: str, path: str) -> None:
        if any(item.spec.section_id == section_id for item in self.sections):
            raise _wrong(path, f"there is a section {section_id!r} already", f"{section_id[:61]}-2")


def no_plan(name: str) -> errors.SegueError:
    """Return the error for a parent without a plan."""
    return _wrong("spec.parent", f"{name} has no plan and cannot be edited", "")


def _check_parent(spec: CompositionSpec, parent: Composition) -> None:
    if not state.is_terminal(parent):
        raise errors.NotFinished(f"{parent.name} has not ended; edit it after its end", metadata={"name": parent.name})
    if not parent.HasField("plan"):
        raise no_plan(parent.name)
    if spec.HasField("plan"):
        raise _wrong("spec.plan", "the plan comes from the parent; change it with edits", "leave it out")
    if spec.brief != music_pb2.Brief():
        raise _wrong("spec.brief", "the brief comes from the parent", "leave it out")
    if spec.model not in {"", parent.model}:
        raise _wrong(
            "spec.model", f"{parent.name} was made with {parent.model}; its edits use the same model", parent.model
        )
    if spec.master_mode == spec_pb2.MASTER_MODE_FROZEN:
        if not parent.HasField("master"):
            raise _wrong("spec.master_mode", f"{parent.name} was not mastered: there is no master to keep", "REMASTER")
        if spec.HasField("master") or spec.HasField("frozen_master"):
            raise _wrong("spec.master", "FROZEN uses the parent's settings", "leave it out")


def _use_masters_settings(revised: CompositionSpec, parents_spec: CompositionSpec) -> None:
    if parents_spec.HasField("frozen_master"):
        revised.master.CopyFrom(parents_spec.frozen_master.measurement.settings)
    elif parents_spec.HasField("master"):
        revised.master.CopyFrom(parents_spec.master)


def _is_renamed(before: SectionSpec, after: SectionSpec) -> bool:
    """Return whether two specs differ in id and label only."""
    same = music_pb2.SectionSpec()
    same.CopyFrom(after)
    same.section_id, same.label = before.section_id, before.label
    return same == before and (after.section_id, after.label) != (before.section_id, before.label)


def _frozen(parent: Composition, kept: Mapping[str, str]) -> spec_pb2.FrozenMaster:
    """Return the parent's measurement with the gains of the untouched sections."""
    frozen = spec_pb2.FrozenMaster(measurement=parent.master)
    del frozen.measurement.section_gains_db[:]
    names: Sequence[str] = [item.spec.section_id for item in parent.plan.sections]
    now = {former: section_id for section_id, former in kept.items()}
    for former, gain_db in zip(names, parent.master.section_gains_db, strict=False):
        section_id = now.get(former)
        if section_id:
            frozen.section_ids.append(section_id)
            frozen.measurement.section_gains_db.append(gain_db)
    return frozen


def _wrong(path: str, deeditorion: str, suggestion: str) -> errors.SegueError:
    return errors.InvalidField(f"{path}: {deeditorion}", violations=[FieldViolation(path, deeditorion, suggestion)])
