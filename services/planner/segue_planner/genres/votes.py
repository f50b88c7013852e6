"""Votes for a genre: what indicates one when no word names one, read from votes.toml."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from segue_planner.tables import load_table

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

PATH = "genres/votes.toml"
WEIGHTS: Final[Mapping[str, float]] = {
    "artists": 4.0, "composers": 3.0, "words": 2.0, "borrowed": 2.0, "hints": 2.0, "instruments": 1.0, "tempo": 1.0,
    "moods": 0.5,
}  # fmt: skip
"""What one vote of each kind counts."""
ITALIAN: Final = frozenset({"largo", "adagio", "lento", "andante", "allegretto", "allegro", "vivace", "presto"})
"""Tempo words that vote for classical music."""
STRONG: Final = 3.0
"""From this weight on, votes count more than a language model's suggestion."""
PHRASE_KINDS: Final = ("words", "composers", "artists", "borrowed")


@dataclass(frozen=True, slots=True)
class GenreVote:
    """A vote for a genre, and the words of the prompt that cast it."""

    kind: str
    genre: str
    words: str


@dataclass(frozen=True, slots=True)
class VotedGenre:
    """The genre with the most votes."""

    genre: str
    weight: float
    words: str


def count_votes(votes: Iterable[GenreVote], without: Container[str]) -> VotedGenre | None:
    """Return the genre with the most votes; of equal ones, the first named."""
    weights: dict[str, float] = defaultdict(float)
    words: dict[str, list[str]] = defaultdict(list)
    for vote in votes:
        if vote.genre not in without:
            weights[vote.genre] += WEIGHTS[vote.kind]
            words[vote.genre].append(vote.words)
    if not weights:
        return None
    genre = max(weights, key=lambda name: weights[name])
    return VotedGenre(genre, weights[genre], ", ".join(dict.fromkeys(words[genre])))


def vote_phrases() -> Iterator[tuple[str, str, Sequence[str]]]:
    """Yield the kind of vote, the genre, and the phrases that vote for it."""
    table = load_table(PATH)
    for kind in PHRASE_KINDS:
        for genre, phrases in table[kind].items():
            yield kind, genre, phrases


@cache
def genres_of(kind: str) -> Mapping[str, str]:
    """Return the genre that each instrument or mood votes for."""
    return {name: genre for genre, names in load_table(PATH)[kind].items() for name in names}
