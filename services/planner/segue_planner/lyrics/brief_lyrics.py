"""The lyrics of a brief: the form that their marks name, and the words of each section."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from segue_music.plan import Lyrics, Origin, Role
from segue_music.singing import lines_of
from segue_planner.form.request import ProposedSection
from segue_planner.lyrics.assignment import BARS_PER_LINE, SungPlace, assign
from segue_planner.lyrics.marks import LyricsBlock, read_marks
from segue_planner.lyrics.section_lyrics import MAX_LINE_BYTES, most_lines, warn_if_crowded, with_lyrics
from segue_planner.names import bars_name, lyrics_name, role_name
from segue_planner.profiles import profile_of
from segue_runtime import errors
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segue_music.plan import ModelProfile, Plan, SectionSpec
    from segue_planner.facts.decision_log import DecisionLog

PATH: Final = "brief.lyrics.text"
MAX_BYTES: Final = 200_000
"""The limit for the words of all sections together: repeated words must fit into the message of a plan."""


class BriefLyrics:
    """The words of one brief."""

    def __init__(self, lyrics: Lyrics, log: DecisionLog) -> None:
        """Read the words; refuse what cannot be sung."""
        self._language, self._log = lyrics.language, log
        self._text = read_marks(lyrics.text)
        if lyrics.lines:
            raise _refused("brief.lyrics.lines", "the planner times the lines of a brief", "leave it out")
        if not any(block.stanzas for block in self._text.blocks):
            raise _refused(PATH, "it has no words", "leave lyrics out")
        for number, line in enumerate(lyrics.text.split("\n"), 1):
            if len(line.encode()) > MAX_LINE_BYTES:
                raise _refused(PATH, f"line {number} has more than {MAX_LINE_BYTES} bytes", "divide it")

    @property
    def form(self) -> tuple[ProposedSection, ...]:
        """The sections that the marks name, with the usual bars for their lines; empty without marks."""
        if not self._text.is_marked:
            return ()
        return tuple(
            ProposedSection(block.role or Role.VERSE, BARS_PER_LINE * len(block.lines)) for block in self._text.blocks
        )

    def write(
        self, specs: Sequence[SectionSpec], places: Sequence[int], profiles: Sequence[ModelProfile]
    ) -> list[SectionSpec]:
        """Return the sections with their words. Sections with equal numbers in `places` are parts of one."""
        self._warn_about_marks()
        grouped = [list(group) for _, group in itertools.groupby(zip(places, specs, strict=True), lambda each: each[0])]
        words = assign(
            self._text,
            [SungPlace(group[0][1].role, tuple(spec.bars for _, spec in group)) for group in grouped],
        )
        self._check(specs, words.lines)
        for block in words.left_out:
            self._log.warn(
                "lyrics_left_out",
                f"there is no section for {_count(len(block.lines), 'line')} of lyrics marked [{_mark(block)}]",
            )
        found = [
            with_lyrics(spec, Lyrics("\n".join(lines), self._language), profile_of(spec, profiles))
            for spec, lines in zip(specs, words.lines, strict=True)
        ]
        for spec in found:
            warn_if_crowded(spec, self._log)
        if any(spec.lyrics for spec in found):
            self._log.record("lyrics", lyrics_name(found), Origin.CALLER)
        return found

    def _warn_about_marks(self) -> None:
        if self._text.unknown:
            shown = ", ".join(map(str, self._text.unknown[:8])) + (", …" if len(self._text.unknown) > 8 else "")
            self._log.warn("lyrics_mark_unknown", f"unknown marks in the lyrics have no effect: line {shown}")

    def _check(self, specs: Sequence[SectionSpec], lines: Sequence[Sequence[str]]) -> None:
        for spec, mine in zip(specs, lines, strict=True):
            most = most_lines(spec.bars)
            if len(mine) > most:
                text = f"{spec.label} would have {len(mine)} lines in {bars_name(spec.bars)}; {most} is the most"
                raise _refused(PATH, text, "shorten it, or make the piece longer")
        size = sum(len(line.encode()) + 1 for mine in lines for line in mine)
        if size > MAX_BYTES:
            raise _refused(
                PATH, f"all sections together would have {size} bytes; {MAX_BYTES} is the most", "shorten it"
            )


def check_brief_lyrics(lyrics: Lyrics, plan: Plan) -> Iterator[FieldViolation]:
    """Find words beside a plan that are not those of the plan. A plan may sing a part of them only."""
    planned = {line for item in plan.sections if item.spec.lyrics for line in lines_of(item.spec.lyrics.text)}
    stated = {line for block in read_marks(lyrics.text).blocks for line in block.lines}
    if planned - stated:
        yield FieldViolation("brief.lyrics", "the plan has other words; leave one of them out", "leave it out")
    if not planned and plan.digest:
        problem = "the plan is complete and has no words; clear plan.digest, so that it can be changed"
        yield FieldViolation("brief.lyrics", problem, "clear plan.digest")


def _mark(block: LyricsBlock) -> str:
    return f"{role_name(block.role)} {block.number}" if block.number else role_name(block.role or Role.VERSE)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _refused(path: str, text: str, hint: str) -> errors.SegueError:
    return errors.InvalidField(f"{path}: {text}", violations=[FieldViolation(path, text, hint)])
