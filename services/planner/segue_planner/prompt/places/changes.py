"""Reads changes of key, tempo and metre: "up a half step", "ends in D major", "tempo doubles", "from 90 to 140 bpm"."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from segue_music.elements import Metre
from segue_music.plan import Role
from segue_planner.limits import FASTEST, SLOWEST
from segue_planner.prompt.key import MODES, read_key
from segue_planner.prompt.places.places import ALL, LAST, find_place, ordinals, role_named, role_pattern
from segue_planner.prompt.prompt_facts import Changes, MetreChange, PromptFacts, TempoChange

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segue_music.elements import Key

INTERVALS: Final[Mapping[str, int]] = {
    r"(?:a\s)?half[\s-]?(?:step|tone)s?|(?:a\s|one\s|by\sone\s)?semitones?(?!\w)": 1,
    r"(?:two|2)\s(?:half[\s-]?steps|semitones)|(?:a\s)?whole[\s-]?(?:step|tone)s?|(?:a|one)\s(?:full\s)?tone(?!\w)": 2,
    r"(?:a\s)?minor\sthird|(?:three|3)\s(?:half[\s-]?steps|semitones)": 3,
    r"(?:a\s)?(?:major\s)?third|(?:four|4)\s(?:half[\s-]?steps|semitones)": 4,
    r"(?:a\s)?(?:perfect\s)?fourth|(?:five|5)\s(?:half[\s-]?steps|semitones)": 5,
    r"(?:a\s)?(?:perfect\s)?fifth|(?:seven|7)\s(?:half[\s-]?steps|semitones)": 7,
}
MODULATION: Final = (
    r"(?:modulat\w+|transpos\w+|key\s(?:goes|change|changes|rises|lifts?|moves|jumps|shift\w*)|"
    r"(?:lift|lifts|raise|raises|move|moves|shift|shifts)\s(?:the\skey|up|down|to)|goes\sup|up|down)"
)
STEP: Final = re.compile(
    rf"\b{MODULATION}(?:\s(?:up|down|by|the|key)){{0,4}}\s(?P<interval>"
    + "|".join(f"(?:{each})" for each in INTERVALS)
    + r")"
    r"(?P<rest>[^,.;]*)",
    re.IGNORECASE,
)
KEY_AT: Final = re.compile(
    r"\b(?:key\schange|change\sof\skey|changes?\s(?:the\s)?key|modulat\w+)"
    r"(?P<rest>\s(?:at|after|in|for|before|during|from)\s[^,.;]{3,40})",
    re.IGNORECASE,
)
"""A change of the key with its place: "key change at 2:00"."""
STEP_AFTER: Final = re.compile(
    r"\b(?P<interval>" + "|".join(f"(?:{each})" for each in INTERVALS) + r")\s(?P<way>higher|up|lower|down)\b",
    re.IGNORECASE,
)
"""An interval before its direction: "every chorus a semitone higher"."""
STEP_PLACE: Final = re.compile(
    r"\b(?:for|in|at|during)\s(?:the\s)?(?P<last>(?:last|final|second)\s)?(?P<role>verse|chorus|bridge|solo|outro|breakdown)",
    re.IGNORECASE,
)
RELATED: Final = re.compile(
    r"(?:\b(?:modulat\w+|mov(?:e|es|ing)|go(?:es)?|switch(?:es)?|chang(?:e|es)|shift\w*|ends?)\s)?(?:in)?(?:to)?\s?(?:the\s)?"
    r"(?P<kind>relative|parallel)\s(?P<mode>major|minor)",
    re.IGNORECASE,
)
FROM_TO: Final = re.compile(
    r"\b(?:start\w*|begin\w*|from)\s(?:in\s)?(?P<first>[A-G][^,.;]{0,14}?(?:major|minor|m))\b[^.;]{0,12}?\b(?:end\w*|finish\w*|to)\s"
    r"(?:in\s|on\s)?(?P<last>[A-G][^,.;]{0,14}?(?:major|minor|m))\b",
)
ROLE_KEY: Final = re.compile(
    r"\b(?P<role>verse|chorus|bridge|intro|outro|drop|solo)(?:s|es)?\s(?:is\s|are\s)?in\s(?:a\s)?"
    r"(?P<key>[A-Ga-g](?:\s?[#b]|[\s-](?:flat|sharp))?\s(?:major|minor)|[A-G](?:#|b)?m|major|minor)\b",
    re.IGNORECASE,
)
RAMP: Final = re.compile(
    r"(?:\b(?:speed\w*|accelerat\w*|slow\w*|get\w*|go\w*|ramp\w*|ris\w*|mov\w*)\s(?:up\s|down\s|faster\s|slower\s)?)?"
    r"\bfrom\s(?P<low>\d{2,3})\s?(?:bpm\s)?(?:to|up\sto|down\sto|-)\s(?P<high>\d{2,3})(?:\s?bpm)?\b(?!\s?(?:s|sec|seconds|bars)\b)",
    re.IGNORECASE,
)
JUMP: Final = re.compile(
    r"\b(?:tempo\s(?P<verb>doubles|halves)|(?P<double>double(?:s|d)?\s(?:the\s)?(?:tempo|speed)|twice\sas\sfast"
    r"|(?:tempo|speed)\s(?:jumps|goes|rises)\s(?:up\s)?to\sdouble|doppeltes\stempo)"
    r"|(?P<half>half\s(?:the\s)?(?:tempo|speed)|halve(?:s|d)?\sthe\stempo|half\sas\sfast"
    r"|(?:tempo|speed)\s(?:drops|falls|goes|slows)\s(?:down\s)?(?:to|by)\s(?:a\s)?half|halbes\stempo))"
    r"(?P<where>\s(?:at|in|for|near)\sthe\s[\w\s-]{3,16})?",
    re.IGNORECASE,
)
BPM: Final = re.compile(r"(?<![\d.])(?P<bpm>\d{2,3})\s?bpm\b", re.IGNORECASE)
SIGNATURE: Final = r"(?P<beats>1[0-6]|[2-9])\s?/\s?(?P<unit>2|4|8)(?![\d/])"
CHANGING: Final = r"(?:switch\w*|chang\w*|mov\w*|go(?:es|ing)?|shift\w*|turns?)\s(?:in)?to"
ALTERNATING: Final = re.compile(
    r"(?<=/[248])\s(?:and|then|to|,)\s(?P<other>(?:1[0-6]|[2-9])\s?/\s?(?:2|4|8))(?!\s?(?:in|for|at|on)?\s?(?:the\s)?[a-z]*(?:verse|chorus|bridge|solo|drop|intro|outro))",
    re.IGNORECASE,
)
MAX_METRES: Final = 8
CONTRASTING: Final = frozenset({Role.VERSE, Role.BRIDGE, Role.SOLO, Role.BREAKDOWN, Role.DEVELOPMENT, Role.OUTRO})
"""Roles that may be in another key alone; a chorus lifts what follows, too."""
EVERY: Final = re.compile(r"\b(?:every|each)\s(?:chorus|time|verse)", re.IGNORECASE)


def split_changes(text: str, changes: Changes) -> str:
    """Read the changes of a prompt; return it with blanks in place of those that contain other facts."""
    text = _read_key_changes(text, changes)
    match = RAMP.search(text)
    if match and _playable(match["low"]) and _playable(match["high"]) and match["low"] != match["high"]:
        changes.tempo = TempoChange(match[0].strip(), float(match["high"]) / float(match["low"]), ramp=True)
        low = f"{match['low']} bpm"
        text = text[: match.start()] + low.ljust(len(match[0])) + text[match.end() :]
    else:
        match = JUMP.search(text)
        if match:
            double = bool(match["double"]) or match["verb"] == "doubles"
            changes.tempo = TempoChange(match[0].strip(), 2.0 if double else 0.5, role=_role_in(match["where"] or ""))
            text = _blanked(text, match)
    text = _read_role_tempo(text, changes)
    match = ALTERNATING.search(text)
    if match:
        changes.metre_words = match[0].strip()
        text = _blanked(text, match)
    return _read_metres(text, changes)


def _read_role_tempo(text: str, changes: Changes) -> str:
    """Read the tempo of a section beside that of the piece: "80 bpm, chorus at 120 bpm"."""
    match = _role_tempo_pattern().search(text) if changes.tempo is None else None
    rest = _blanked(text, match) if match else text
    first = BPM.search(rest)
    if match is None or first is None or not _playable(match["tempo"]) or not _playable(first["bpm"]):
        return text
    role = role_named(match["role"])
    changes.tempo = TempoChange(match[0].strip(), float(match["tempo"]) / float(first["bpm"]), role=role)
    return rest


@cache
def _role_tempo_pattern() -> re.Pattern[str]:
    return re.compile(
        rf"\b{role_pattern()}\s?(?:at|in|is|:|goes\sto|mit|à|a)?\s?(?P<tempo>\d{{2,3}})\s?bpm\b", re.IGNORECASE
    )


@cache
def _metre_patterns() -> tuple[re.Pattern[str], ...]:
    role = role_pattern()
    sources = (
        rf"\b{role}\s(?:(?:is|are|be|goes|{CHANGING})\s)?(?:in\s)?{SIGNATURE}",
        rf"(?:\b{CHANGING}\s)?{SIGNATURE}\s(?:(?:in|for|during|at|on)\s)?{role}(?!(?<=solo)\s\w)",
        rf"\b{CHANGING}\s{SIGNATURE}(?:\s(?:later|halfway|midway|in\sthe\smiddle|(?P<end>(?:at|near)\sthe\send)))?",
    )
    return tuple(re.compile(each, re.IGNORECASE) for each in sources)


def _read_metres(text: str, changes: Changes) -> str:
    """Read the metres of single sections: "verse in 3/4, chorus in 4/4", "switches to 4/4 in the chorus"."""
    for pattern in _metre_patterns():
        while len(changes.metres) < MAX_METRES and (match := pattern.search(text)):
            groups = match.groupdict()
            metre, words = Metre(int(match["beats"]), int(match["unit"])), match[0].strip()
            if groups.get("role"):
                number = ordinals().get((groups["ordinal"] or "").lower(), LAST if groups["later"] else ALL)
                changes.metres.append(MetreChange(metre, words, role_named(groups["role"]), number))
            else:
                changes.metres.append(MetreChange(metre, words, number=LAST if groups.get("end") else ALL))
            text = _blanked(text, match)
    return text


def _read_key_changes(text: str, changes: Changes) -> str:
    match = FROM_TO.search(text)
    if match:
        last = _key(match["last"])
        if last is not None:
            changes.last_key, changes.key_words = last, match[0]
            text = text[: match.start("last")] + " " * len(match["last"]) + text[match.end("last") :]
    for match in list(ROLE_KEY.finditer(text)):
        name = match["key"].lower()
        found = MODES[name] if name in {"major", "minor"} else _key(match["key"])
        if found is not None:
            changes.role_keys[Role[match["role"].upper()]] = (found, match[0])
            text = _blanked(text, match, "key")
    text = _read_key_place(text, changes)
    match = RELATED.search(text)
    if match:
        changes.related, changes.key_words = match["kind"].lower(), match[0].strip()
        return _blanked(text, match)
    match = STEP.search(text)
    if match:
        steps = _steps(match["interval"])
        down = re.search(r"\b(?:down|lower)\b", match[0], re.IGNORECASE)
        changes.steps, changes.every = -steps if down else steps, bool(EVERY.search(match["rest"]))
        changes.key_words = match[0].strip()
        place = STEP_PLACE.match(match["rest"].strip())
        if place and not place["last"]:
            changes.step_role = Role[place["role"].upper()]
        end = match.end("interval") + (match["rest"].index(place[0]) + len(place[0]) if place else 0)
        return text[: match.start()] + " " * (end - match.start()) + text[end:]
    match = STEP_AFTER.search(text)
    if match:
        steps = _steps(match["interval"])
        changes.steps = -steps if match["way"].lower() in {"lower", "down"} else steps
        changes.every, changes.key_words = bool(EVERY.search(text)), match[0]
        text = _blanked(text, match)
    return text


def _read_key_place(text: str, changes: Changes) -> str:
    """Read where the key changes: from a time on, or in the sections of a role."""
    match = KEY_AT.search(text)
    located = find_place(match["rest"]) if match else None
    if match is None or located is None:
        return text
    place, first, last = located
    is_plain = place.is_time or (place.role in CONTRASTING and place.number != LAST)
    if not is_plain or match["rest"][:first].strip():
        return text
    changes.key_words = text[match.start() : match.start("rest") + last].strip()
    if place.is_time:
        changes.key_place = place
    else:
        changes.step_role = place.role
    start = match.start("rest")
    return text[:start] + " " * last + text[start + last :]


def _steps(interval: str) -> int:
    return [number for pattern, number in INTERVALS.items() if re.fullmatch(pattern, interval, re.IGNORECASE)][-1]


def _blanked(text: str, match: re.Match[str], group: str | int = 0) -> str:
    return text[: match.start(group)] + " " * (match.end(group) - match.start(group)) + text[match.end(group) :]


def _key(text: str) -> Key | None:
    facts = PromptFacts()
    read_key(f"in {text[0].upper()}{text[1:]}", facts)
    return facts.key.value if facts.key else None


def _playable(text: str) -> bool:
    return SLOWEST <= float(text) <= FASTEST


def _role_in(text: str) -> Role | None:
    return next((role for role in Role if role and role.name.lower().replace("_", "-") in text.lower()), None)
