"""What is left of a composition: audio to render and to mix, and the time of the stages after the draft."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from segue.composer.v1 import composition_pb2, spec_pb2
from segue.renderer.v1.renderer_pb2 import ModelProfile
from segue_composition import log_rows
from segue_composition.log_rows import Segment
from segue_composition.section_models import made_s, model_of
from segue_composition.stages import RENDERED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from segue.composer.v1.composition_pb2 import Composition
    from segue.music.v1.music_pb2 import Plan
    from segue_runtime.store.pool.records import ModelKey
    from segue_runtime.store.pool.workload import UnfinishedJob

PLAN: Final = "plan"
MIX: Final = "mix"
MASTER: Final = "master"
"""The master with its files."""
STEMS: Final = "stems"
ANALYZE: Final = "analyze"
CHECK: Final = "check"
"""Measuring takes beside the bounds of the request."""
START_COSTS: Final = {PLAN: 0.005, CHECK: 0.03, MIX: 0.03, MASTER: 0.05, STEMS: 0.05, ANALYZE: 0.03}
"""The cost of each stage until one was measured, in seconds of work for a second of audio."""
DEFAULT_S: Final = 60.0
"""The length of a piece that names none, until it is planned."""
MEASURED_PART: Final = 1 / 3
"""The part of a mastering before its audio comes."""
LEAST_LEFT: Final = 0.1
"""A stage that takes longer than expected has this part of it left until it ends."""


@dataclass(frozen=True, slots=True)
class PricedModel:
    """A model as estimates need it."""

    key: ModelKey | None
    profile: ModelProfile


@dataclass(slots=True)
class PieceWork:
    """What is left of a composition."""

    plan_s: float = 0.0
    mix_s: float = 0.0
    """The time to mix what is not mixed yet."""
    rest_s: float = 0.0
    """The time that all stages after the draft take."""
    audio_s: dict[ModelKey | None, float] = field(default_factory=dict)
    """The audio to render, by model; None is a model that no renderer offers."""
    num_parallel: float = math.inf
    """How many of its sections can be rendered at once, on average."""

    @property
    def is_drafting(self) -> bool:
        """Whether audio is to be rendered or mixed."""
        return self.mix_s > 0 or any(left > 0 for left in self.audio_s.values())


def work_left(
    job: UnfinishedJob, costs: Mapping[str, float], models: Mapping[str, PricedModel], now: float
) -> PieceWork:
    """Return what is left of a composition; `models` are those that are offered, by name."""
    composition = composition_pb2.Composition.FromString(job.resource)
    spec = spec_pb2.CompositionSpec.FromString(job.spec)
    plan = composition.plan if composition.HasField("plan") else spec.plan
    if not plan.frames or not plan.sample_rate or any(not item.spec.frames for item in plan.sections):
        length_s = spec.brief.duration.ToNanoseconds() / 1e9 or DEFAULT_S
        work = PieceWork(costs[PLAN] * length_s, costs[MIX] * length_s)
        work.audio_s[_priced(composition.model, models).key] = length_s
    else:
        length_s = plan.frames / plan.sample_rate
        work = PieceWork(0.0 if composition.HasField("plan") else costs[PLAN] * length_s)
        if composition.state != composition_pb2.STATE_MASTERING:
            # With bounds each section is measured before it is mixed; redos are not foreseen.
            cost = costs[MIX] + (costs[CHECK] if spec.HasField("take_bounds") else 0.0)
            work.mix_s = cost * max(0.0, length_s - composition.draft_frames / plan.sample_rate)
            _add_sections(work, job, composition, plan, models)
            work.rest_s = _late_mix_s(composition, plan, costs, models)
    work.rest_s += sum(_stages_left(job, composition, spec, costs, length_s, now))
    return work


def _add_sections(
    work: PieceWork, job: UnfinishedJob, composition: Composition, plan: Plan, models: Mapping[str, PricedModel]
) -> None:
    known = {section.section_id: section for section in composition.sections}
    progress = [each.section_progress for each in log_rows.unpack(job.progress) if each.HasField("section_progress")]
    fractions = {each.section_id: each.fraction_done for each in progress}
    chains: dict[str, float] = {}
    audio_s: defaultdict[ModelKey | None, float] = defaultdict(float)
    for item in plan.sections:
        section_id = item.spec.section_id
        section = known.get(section_id)
        # A take of the parent, or of an earlier claim, is not rendered again.
        is_done = section is not None and (section.state in RENDERED or (section.take and not section.attempt))
        heard = (composition.draft_frames - item.first_frame) / item.spec.frames
        fraction = min(1.0, max(0.0, heard, fractions.get(section_id, 0.0)))
        model = _priced(model_of(item.spec, composition.model), models)
        left_s = 0.0 if is_done else (1 - fraction) * made_s(item.spec, model.profile)
        audio_s[model.key] += left_s
        chains[section_id] = left_s + max((chains.get(other, 0.0) for other in item.waits_for), default=0.0)
    work.audio_s = {key: left_s for key, left_s in audio_s.items() if left_s > 0}
    longest_s = max(chains.values(), default=0.0)
    work.num_parallel = sum(audio_s.values()) / longest_s if longest_s else math.inf


def _late_mix_s(
    composition: Composition, plan: Plan, costs: Mapping[str, float], models: Mapping[str, PricedModel]
) -> float:
    """Return the time to mix the last section, if its audio comes only when everything is rendered."""
    last = plan.sections[-1].spec
    is_late = _priced(model_of(last, composition.model), models).profile.audio_at_end
    return costs[MIX] * last.frames / plan.sample_rate if is_late else 0.0


def _stages_left(
    job: UnfinishedJob,
    composition: Composition,
    spec: spec_pb2.CompositionSpec,
    costs: Mapping[str, float],
    length_s: float,
    now: float,
) -> Iterator[float]:
    """Yield the time that each stage after the draft takes; the first one may have begun."""
    is_mastering = composition.state == composition_pb2.STATE_MASTERING
    since_s = max(0.0, now - job.row_time) if is_mastering else 0.0
    stages = [MASTER, *([STEMS] if spec.stems else []), ANALYZE]
    if composition.HasField("master"):
        stages.remove(MASTER)
    if composition.HasField("report"):
        stages.clear()
    for index, stage in enumerate(stages):
        whole_s = left_s = costs[stage] * length_s
        if index == 0 and is_mastering:
            if stage == MASTER:
                left_s *= 1 - _mastered(job, length_s)
            left_s = max(LEAST_LEFT * whole_s, left_s - since_s)
        yield left_s


def _mastered(job: UnfinishedJob, length_s: float) -> float:
    """Return the finished part of a mastering: its audio comes in the second pass."""
    if job.row_kind != log_rows.SEGMENT:
        return 0.0
    segment = Segment.decode(job.row)
    done = segment.end_frame / max(1, segment.sample_rate) / length_s
    return min(1.0, MEASURED_PART + (1 - MEASURED_PART) * done)


def _priced(model: str, models: Mapping[str, PricedModel]) -> PricedModel:
    """Return a model, without a key if it is not offered; the default model is the first."""
    found = models.get(model) if model else next(iter(models.values()), None)
    return found or PricedModel(None, ModelProfile())
