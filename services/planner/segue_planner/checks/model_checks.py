"""Checks of sections against the models that play them: known, able to continue and to groove, and long enough."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

from segue_music.plan import Continuity
from segue_music.timing import NANOSECONDS
from segue_planner.profiles import profile_of
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segue_music.plan import ModelProfile, Plan, SectionSpec

ALWAYS: Final = (Continuity.UNSPECIFIED, Continuity.NONE)
"""Every model can render a section by itself."""


def check_models(plan: Plan, profiles: Sequence[ModelProfile]) -> Iterator[FieldViolation]:
    """Find models that are not among the profiles, and continuities and grooves that a section's model lacks."""
    for index, item in enumerate(plan.sections):
        path, spec, profile = f"plan.sections[{index}].spec", item.spec, profile_of(item.spec, profiles)
        if profile is None and profiles:
            names = ", ".join(each.model for each in profiles)
            yield FieldViolation(
                f"{path}.model", f"{spec.model!r} is not among the profiles: {names}", profiles[0].model
            )
        elif profile is not None and spec.continuity not in {*ALWAYS, *profile.continuities}:
            supported = [each.name for each in profile.continuities]
            yield FieldViolation(
                f"{path}.continuity",
                f"{profile.model} does not support {spec.continuity.name}",
                supported[0] if supported else "leave it out; the planner fills it in",
            )
        if profile is not None:
            yield from _check_groove(f"{path}.groove.name", spec, profile)


def _check_groove(path: str, spec: SectionSpec, profile: ModelProfile) -> Iterator[FieldViolation]:
    """Find a groove that a model which reads grooves by name does not know."""
    known, name = profile.grooves, spec.groove.name if spec.groove else ""
    if known and name and name not in known:
        text = f"{profile.model} does not know the groove {name!r}; it plays: {', '.join(known)}"
        yield FieldViolation(path, text, difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0])


def check_lengths(specs: Sequence[SectionSpec], profiles: Sequence[ModelProfile]) -> Iterator[FieldViolation]:
    """Find sections that are longer than their model plays."""
    for index, spec in enumerate(specs):
        profile = profile_of(spec, profiles)
        if profile is None or profile.max_duration_ns is None:
            continue
        length_ns = (spec.frames + spec.tail_frames) * NANOSECONDS // spec.sample_rate
        if length_ns > profile.max_duration_ns:
            yield FieldViolation(
                f"plan.sections[{index}].spec.bars",
                f"it takes {length_ns / NANOSECONDS:.1f} s; {profile.model} plays "
                f"{profile.max_duration_ns / NANOSECONDS:g} s at most",
                str(max(1, spec.bars * profile.max_duration_ns // length_ns)),
            )
