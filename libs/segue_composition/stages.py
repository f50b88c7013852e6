"""The stages of the work on a composition: which ones are complete, and where it failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue.composer.v1 import composition_pb2

if TYPE_CHECKING:
    from segue.composer.v1.composition_pb2 import Composition
    from segue_runtime import errors

RENDERED: Final = frozenset({composition_pb2.SECTION_STATE_RENDERED, composition_pb2.SECTION_STATE_JOINED})
"""The states of a section whose take is in the store."""
STAGES: Final = (
    composition_pb2.WORK_STAGE_PLAN,
    composition_pb2.WORK_STAGE_RENDER,
    composition_pb2.WORK_STAGE_MIX,
    composition_pb2.WORK_STAGE_MASTER,
    composition_pb2.WORK_STAGE_FILES,
    composition_pb2.WORK_STAGE_ANALYZE,
)


def failure_of(
    composition: Composition, error: errors.SegueError, stage: composition_pb2.WorkStage.ValueType
) -> composition_pb2.Failure:
    """Return the failure of a composition that ends now."""
    completed = _completed(composition)
    has_begun = composition.HasField("start_time")
    if not stage and has_begun:
        stage = next((each for each in STAGES if each not in completed), STAGES[-1])
    drafts = [output for output in composition.outputs if output.kind == composition_pb2.OUTPUT_KIND_DRAFT]
    return composition_pb2.Failure(
        stage=stage,
        section_id=error.metadata.get("section_id", ""),
        completed_stages=completed,
        kept_section_ids=[section.section_id for section in composition.sections if section.state in RENDERED],
        draft=drafts[0].name if drafts else "",
    )


def _completed(composition: Composition) -> list[composition_pb2.WorkStage.ValueType]:
    is_rendered = all(section.state in RENDERED for section in composition.sections)
    kinds = {output.kind for output in composition.outputs}
    done = {
        composition_pb2.WORK_STAGE_PLAN: composition.HasField("plan"),
        composition_pb2.WORK_STAGE_RENDER: composition.HasField("plan") and is_rendered,
        composition_pb2.WORK_STAGE_MIX: composition.state == composition_pb2.STATE_MASTERING,
        composition_pb2.WORK_STAGE_MASTER: composition.HasField("mastered"),
        composition_pb2.WORK_STAGE_FILES: composition_pb2.OUTPUT_KIND_MANIFEST in kinds,
        composition_pb2.WORK_STAGE_ANALYZE: composition.HasField("report"),
    }
    return [stage for stage in STAGES if done[stage]]
