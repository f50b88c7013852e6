"""Reads a prompt: what it says of tempo, key, metre, length, genre, band, form and course."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from segue_music.plan import Role
from segue_planner.prompt.instruments import blank, deny, read_band
from segue_planner.prompt.key import read_key
from segue_planner.prompt.prompt_facts import PromptReading, Said
from segue_planner.prompt.sections import read_form
from segue_planner.prompt.tempo import read_length, read_metre, read_tempo
from segue_planner.prompt.word_list.phrases import lexicon, tokenise
from segue_planner.text import known_letters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_planner.prompt.word_list.phrases import Match


# Signs that have a plain twin of the same length, so that patterns need to know one of them only. The last four are
# letters that match i, s and k where case is ignored, and are others in lower case.
PLAIN: Final = {
    0x2019: "'", 0x2018: "'", 0x2013: "-", 0x2014: "-", 0x2212: "-", 0x266F: "#", 0x266D: "b",
    0x0130: "I", 0x0131: "i", 0x017F: "s", 0x212A: "K",
}  # fmt: skip


def read_prompt(prompt: str) -> PromptReading:
    """Read what a prompt says."""
    reading = PromptReading()
    prompt = known_letters(prompt).translate(PLAIN)
    tokens = tokenise(prompt)
    matches = lexicon().find(prompt, tokens)
    band = deny(prompt, tokens, matches)
    read_metre(prompt, band.wanted, tokens, reading)
    read_tempo(prompt, band.wanted, reading)
    read_key(prompt, reading)
    _read_genre(band.wanted, reading)
    _read_course(band.wanted, reading)
    read_band(band, reading)
    read_form(prompt, band.wanted, tokens, reading)
    read_length(prompt, _without_section_lengths(blank(prompt, matches, tokens), reading), reading)
    return reading


def _without_section_lengths(text: str, reading: PromptReading) -> str:
    """Hide "8 bar intro" from the reading of the whole length; nothing is hidden when no section has its own."""
    if not reading.role_bars:
        return text
    tokens = tokenise(text)
    kept = list(text)
    for first, second in pairwise(tokens):
        if first.text.isdecimal() and second.text in {"bar", "bars", "measures", "takte"}:
            kept[first.start : second.end] = " " * (second.end - first.start)
    return "".join(kept)


def _read_genre(wanted: Sequence[Match], reading: PromptReading) -> None:
    """Of genres side by side the last is the noun ("orchestral rock"); of several such groups the first counts."""
    strong = [match for match in wanted if match.name("genre")]
    for index, match in enumerate(strong):
        if index + 1 < len(strong) and strong[index + 1].first == match.last:
            continue
        reading.genre = Said(match.name("genre") or "", match.words)
        return
    for match in wanted:
        hint = match.name("genre_hint")
        if hint:
            reading.genre = Said(hint, match.words)
            return


def _read_course(wanted: Sequence[Match], reading: PromptReading) -> None:
    for index, match in enumerate(wanted):
        course, mood, clip = match.name("course"), match.name("mood"), match.name("clip")
        if course:
            reading.course.setdefault(course, match.words)
            following = wanted[index + 1] if index + 1 < len(wanted) else None
            role = following.name("role") if following and following.first == match.last else None
            if course in {"half_time", "double_time"} and role:
                reading.feel_role = Role[role.upper()]
        if mood:
            reading.moods.setdefault(mood, match.words)
        if clip and reading.clip is None:
            reading.clip = Said(clip, match.words)
