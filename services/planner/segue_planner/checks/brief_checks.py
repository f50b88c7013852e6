"""Checks of the brief: fields beside a plan must agree with it, and texts must fit into the message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from segue_music import timing
from segue_music.plan import TailPolicy
from segue_music.theory import key_name
from segue_planner.checks.plan_checks import SAME_TEMPO
from segue_planner.names import bpm_name, layer_names, metre_name
from segue_planner.text import clean
from segue_runtime import errors
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from segue_music.plan import Brief, Plan, Role

    Difference = tuple[str, str, str]
    """A field, its value in the brief, and the plan's value."""

MAX_NEGATIVE_BYTES: Final = 200_000
"""The limit for the negative prompts of all sections together."""
# Fields that must be equal in brief and plan, with the text of the brief's value and of the plan's.
EQUAL_FIELDS: Final[tuple[tuple[str, Callable[[Any], str], Callable[[Any], str]], ...]] = (
    ("metre", metre_name, metre_name),
    ("key", key_name, key_name),
    ("genre", str, str),
    ("kind", lambda kind: kind.name, lambda kind: kind.name),
    ("seed", str, str),
    ("sample_rate", str, str),
    ("title", repr, str),
)


def check_brief_against_plan(brief: Brief, plan: Plan, *, reads_negative: bool) -> Iterator[FieldViolation]:
    """Find what the brief asks for and the filled plan does not have, so that no field is ignored.

    `reads_negative` says that the model may read negative prompts; for other models the planner reads it.
    """
    differences = (
        *_length_and_tempo(brief, plan),
        *_equal_fields(brief, plan),
        *_sections_and_layers(brief, plan),
        *_rendering(brief, plan, reads_negative=reads_negative),
    )
    for field, requested, planned in differences:
        yield FieldViolation(
            f"brief.{field}", f"it says {requested}, but the plan does not; change one of them", planned
        )


def _length_and_tempo(brief: Brief, plan: Plan) -> Iterator[Difference]:
    length_ns = plan.frames * timing.NANOSECONDS // plan.sample_rate
    frame_ns = timing.NANOSECONDS // plan.sample_rate
    if brief.duration_ns and abs(brief.duration_ns - length_ns) > frame_ns:
        yield "duration", f"{brief.duration_ns / 1e9:g} s", f"{length_ns / 1e9:.6f}s"
    tempo = brief.quarters_per_minute
    if tempo and abs(tempo - plan.quarters_per_minute) > SAME_TEMPO:
        yield "quarters_per_minute", bpm_name(tempo, plan.metre), f"{plan.quarters_per_minute:.17g}"


def _equal_fields(brief: Brief, plan: Plan) -> Iterator[Difference]:
    for field, show_requested, show_planned in EQUAL_FIELDS:
        requested, planned = getattr(brief, field), getattr(plan, field)
        is_set = requested is not None if field == "seed" else bool(requested)
        if is_set and requested != planned:
            yield field, show_requested(requested), show_planned(planned)


def _sections_and_layers(brief: Brief, plan: Plan) -> Iterator[Difference]:
    specs = [item.spec for item in plan.sections]
    roles = tuple(spec.role for spec in specs)
    kinds = {layer.kind for spec in specs for layer in spec.layers}
    names = {name for spec in specs for layer in spec.layers for name in layer.instruments}
    if brief.form and brief.form != roles:
        yield "form", _roles(brief.form), _roles(roles)
    if not set(brief.include_layers) <= kinds:
        yield "include_layers", layer_names(brief.include_layers), layer_names(sorted(kinds))
    if set(brief.exclude_layers) & kinds:
        yield "exclude_layers", f"no {layer_names(brief.exclude_layers)}", "leave it out"
    if not set(brief.instruments) <= names:
        yield "instruments", ", ".join(brief.instruments), ", ".join(sorted(names))


def _rendering(brief: Brief, plan: Plan, *, reads_negative: bool) -> Iterator[Difference]:
    specs = [item.spec for item in plan.sections]
    if reads_negative and all(clean(brief.negative_prompt) not in spec.negative_prompt for spec in specs):
        yield "negative_prompt", repr(brief.negative_prompt), specs[0].negative_prompt
    if brief.sampling and all(spec.sampling != brief.sampling for spec in specs):
        yield "sampling", "other settings", "leave it out"
    if brief.continuity and all(spec.continuity != brief.continuity for spec in specs):
        yield "continuity", brief.continuity.name, specs[-1].continuity.name
    if brief.tail == TailPolicy.FORBID and specs[-1].tail_frames:
        yield "tail", "FORBID", "ALLOW"


def refuse_long_negative_prompt(text: str, num_sections: int) -> None:
    """Refuse a negative prompt that makes the plan too long for one message: every section repeats it."""
    if len(text.encode()) * num_sections > MAX_NEGATIVE_BYTES:
        most = MAX_NEGATIVE_BYTES // num_sections
        raise errors.InvalidField(
            f"brief.negative_prompt: each of {num_sections} sections repeats it, so it may have at most {most} bytes",
            violations=[FieldViolation("brief.negative_prompt", f"at most {most} bytes", "shorten it")],
        )


def _roles(roles: Sequence[Role]) -> str:
    return " ".join(role.name.lower() for role in roles)
