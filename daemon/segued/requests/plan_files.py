"""Plans as JSON files: read, corrected after an edit, and written so that people can edit them."""

from __future__ import annotations

import difflib
import json
import re
from typing import TYPE_CHECKING, Final

from google.protobuf import json_format

from segue.composer.v1 import composition_pb2
from segue.music.v1 import music_pb2
from segue_music import codec, timing
from segue_music.singing import lines_of
from segued.exits import CliError, ExitCode, print_note
from segued.requests.text_input import name_of, read_text

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from segue_music.plan import Lyrics, Plan, SectionSpec

MAX_BYTES: Final = 8 << 20
"""Far above the largest plan of the contract, which has 1 MiB on the wire."""
UNKNOWN_FIELD: Final = re.compile(
    r'named "(?P<name>[^"]*)" at "(?P<place>[^"]*)"\.\s+Available Fields[^:]*: "?\[(?P<known>.*)\]', re.DOTALL
)
HINT: Final = "`segued plan … --json` and `segued plan … -o FILE` write one"


def to_json(message: Message, indent: int | None = 2) -> str:
    """Return a message as JSON, with the field names that error messages use."""
    return json_format.MessageToJson(message, preserving_proto_field_name=True, indent=indent)


def read(source: str, *, quiet: bool = False) -> music_pb2.Plan:
    """Read a plan from a file, or from standard input for "-". The output of `segued plan --json` is also a plan."""
    name = name_of(source)
    text = read_text(source, "the plan", max_bytes=MAX_BYTES, quiet=quiet)
    if not text.strip():
        raise CliError(ExitCode.USAGE, f"{name}: it is empty", HINT)
    return corrected(_parsed(text, name), quiet=quiet)


def _parsed(text: str, name: str) -> music_pb2.Plan:
    try:
        content = json.loads(text)
        if not isinstance(content, dict):
            raise _no_plan(name, "it is JSON, but not an object")
        # `segued plan --json` prints the plan with an estimate; people may leave the estimate in an edited file.
        answer = composition_pb2.PlanCompositionResponse()
        if "plan" in content:
            return json_format.ParseDict(content, answer).plan
        return json_format.ParseDict(content, music_pb2.Plan())
    except RecursionError:
        raise _no_plan(name, "it is nested too deeply") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _no_plan(name, f"it is not JSON at {place}: {error.msg}") from error
    except (json_format.ParseError, AttributeError, TypeError) as error:
        raise _no_plan(name, _reason(str(error))) from error


def _no_plan(name: str, reason: str) -> CliError:
    return CliError(ExitCode.USAGE, f"{name}: this is no plan: {reason}", HINT)


def _reason(text: str) -> str:
    """Shorten the message of the JSON parser: an unknown field is listed with the nearest known one only."""
    match = UNKNOWN_FIELD.search(text)
    if match is None:
        return " ".join(text.split())
    place = match["place"].removeprefix("PlanCompositionResponse.").removeprefix("PlanCompositionResponse")
    place = re.sub(r"^Plan\b", "plan", place)
    known = [re.sub("([A-Z])", r"_\1", name).lower() for name in re.findall(r"'([^']*)'", match["known"])]
    close = difflib.get_close_matches(match["name"], known, n=1, cutoff=0.5)
    suggestion = f"; did you mean {close[0]!r}?" if close else f"; known fields: {', '.join(known)}"
    return f"{place + ': ' if place else ''}there is no field {match['name']!r}{suggestion}"


def corrected(message: music_pb2.Plan, *, quiet: bool = False) -> music_pb2.Plan:
    """Clear the fields that an edit made wrong, so that the planner computes them again.

    A plan with a correct digest, or without one, stays as it is: its author set the positions on purpose.
    """
    if not message.digest:
        return message
    try:
        plan = codec.plan_from_message(message)
    except ValueError:
        return message  # an unknown number of an enum: the planner names the field
    if codec.plan_digest(plan) == plan.digest:
        return message
    if not quiet:
        print_note("note: the plan was edited: lengths, positions and digest are computed again")
    message.digest = ""
    message.frames = 0
    for item, placed in zip(message.sections, plan.sections, strict=True):
        item.first_frame = item.first_bar = 0
        if not _has_consistent_length(plan, placed.spec):
            item.spec.frames = 0
        if placed.spec.lyrics and not _has_its_lines(plan, placed.spec, placed.spec.lyrics):
            del item.spec.lyrics.lines[:]
    for item in message.sections[:-1]:
        item.spec.tail_frames = 0
    return message


def _has_consistent_length(plan: Plan, spec: SectionSpec) -> bool:
    points, rate = spec.tempo_points, spec.sample_rate or plan.sample_rate
    try:
        frames = timing.section_frames(spec.bars, spec.metre or plan.metre, points, rate)
    except (ValueError, ZeroDivisionError, ArithmeticError):
        return True  # the planner reports the fault
    return abs(frames - spec.frames) <= 1


def _has_its_lines(plan: Plan, spec: SectionSpec, lyrics: Lyrics) -> bool:
    """Return whether the timed lines are those of the words, and within the section."""
    end = spec.bars * timing.ticks_per_bar(spec.metre or plan.metre)
    return tuple(line.text for line in lyrics.lines) == lines_of(lyrics.text) and all(
        line.start_tick + line.ticks <= end for line in lyrics.lines
    )
