"""Plans as files: read from JSON or standard input, mended after an edit, written so that they can be edited."""

from __future__ import annotations

import difflib
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from google.protobuf import json_format

from segue.composer.v1 import composition_pb2
from segue.music.v1 import music_pb2
from segue_music import codec, timing
from segued.exits import Exit, Stop

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from segue_music.plan import Plan, SectionSpec

STANDARD_INPUT: Final = "-"
MAX_BYTES: Final = 8 << 20
"""Far above the largest plan of the contract (1 MiB on the wire)."""
UNKNOWN_FIELD: Final = re.compile(
    r'named "(?P<name>[^"]*)" at "(?P<place>[^"]*)"\.\s+Available Fields[^:]*: "?\[(?P<known>.*)\]', re.DOTALL
)


def to_json(message: Message) -> str:
    """Write a message for people to edit, with the names that the errors use."""
    return json_format.MessageToJson(message, preserving_proto_field_name=True, indent=2)


def read(source: str) -> music_pb2.Plan:
    """Read a plan from a file, or from standard input when it is "-"; the output of `segued plan --json` is one too."""
    name = "standard input" if source == STANDARD_INPUT else source
    text = _text(source, name)
    hint = "`segued plan … --json` and `segued plan … -o FILE` write one"
    if not text.strip():
        raise Stop(Exit.USAGE, f"{name}: it is empty", hint)
    try:
        content = json.loads(text)
        # What `segued plan --json` prints holds the plan and an estimate; who edits it need not cut that off.
        answer = composition_pb2.PlanCompositionResponse()
        if not isinstance(content, dict):
            raise Stop(Exit.USAGE, f"{name}: this is no plan: it is JSON, but no object", hint)
        if "plan" in content:
            return mended(json_format.ParseDict(content, answer).plan)
        return mended(json_format.ParseDict(content, music_pb2.Plan()))
    except RecursionError:
        raise Stop(Exit.USAGE, f"{name}: this is no plan: it is nested too deeply", hint) from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Stop(Exit.USAGE, f"{name}: this is no plan: it is not JSON at {place}: {error.msg}", hint) from error
    except (json_format.ParseError, AttributeError, TypeError) as error:
        raise Stop(Exit.USAGE, f"{name}: this is no plan: {_reason(str(error))}", hint) from error


def _text(source: str, name: str) -> str:
    try:
        if source == STANDARD_INPUT:
            if sys.stdin.isatty():
                print("reading the plan from standard input; Ctrl-D ends it", file=sys.stderr)  # noqa: T201 - talk
            raw = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(source).open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Stop(Exit.USAGE, f"{name}: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise Stop(Exit.USAGE, f"{name}: this is no plan: it has more than {MAX_BYTES >> 20} MiB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Stop(Exit.USAGE, f"{name}: this is no plan: it is not UTF-8 at byte {error.start}") from error


def _reason(text: str) -> str:
    """Shorten what the JSON reader says: an unknown field with the one that was meant, not with all there are."""
    match = UNKNOWN_FIELD.search(text)
    if match is None:
        return " ".join(text.split())
    place = match["place"].removeprefix("PlanCompositionResponse.").removeprefix("PlanCompositionResponse")
    place = re.sub(r"^Plan\b", "plan", place)
    known = [re.sub("([A-Z])", r"_\1", name).lower() for name in re.findall(r"'([^']*)'", match["known"])]
    close = difflib.get_close_matches(match["name"], known, n=1, cutoff=0.5)
    meant = f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(known)}"
    return f"{place + ': ' if place else ''}there is no field {match['name']!r}{meant}"


def mended(message: music_pb2.Plan) -> music_pb2.Plan:
    """Clear what an edit has made untrue and what follows from the rest, so that the planner computes it anew.

    A plan whose digest is its own, or that has none, stays as it is: whoever wrote the places by hand meant them.
    """
    if not message.digest:
        return message
    try:
        plan = codec.plan_from_message(message)
    except ValueError:
        return message  # an enum's number that nobody knows: the planner says where
    if codec.plan_digest(plan) == plan.digest:
        return message
    print("note: the plan was edited: lengths, places and digest are computed anew", file=sys.stderr)  # noqa: T201 - talk
    message.digest = ""
    message.frames = 0
    for item, placed in zip(message.sections, plan.sections, strict=True):
        item.first_frame = item.first_bar = 0
        if not _is_true_length(plan, placed.spec):
            item.spec.frames = 0
    for item in message.sections[:-1]:
        item.spec.tail_frames = 0
    return message


def _is_true_length(plan: Plan, spec: SectionSpec) -> bool:
    points, rate = spec.tempo_points, spec.sample_rate or plan.sample_rate
    try:
        frames = timing.section_frames(spec.bars, spec.metre or plan.metre, points, rate)
    except (ValueError, ZeroDivisionError, ArithmeticError):
        return True  # the planner says what is wrong with it
    return abs(frames - spec.frames) <= 1
