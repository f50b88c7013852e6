"""Reads misspelt and inflected words as the words of the word list that they mean."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from segue_planner.prompt.word_list.phrases import tokenise
from segue_planner.prompt.word_list.words import phrase_tree, phrase_words, single_names, time_units, word_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segue_planner.prompt.word_list.phrases import Token

UNITS: Final = {
    "bmp": "bpm",
    "pbm": "bpm",
    "bpms": "bpm",
    "jaz": "jazz",
    "minr": "minor",
    "mnor": "minor",
    "majr": "major",
}
"""Short words that no distance tells apart."""
PLAIN: Final = (
    "minor",
    "major",
    "tempo",
    "acoustic",
    "electric",
    "distorted",
    "orchestral",
    "without",
    "progressive",
    "chamber",
)
"""Words of patterns and of longer phrases, which may be meant."""
PATTERNS: Final = (
    "minore", "maggiore", "menor", "mayor", "mineur", "majeur", "maior", "moll", "минор", "мажор", "минуту", "ударов",
    "bemol", "bemolle", "diesis", "sostenido",
)  # fmt: skip
"""Words of patterns in other languages."""
SHORTEST: Final = 5
"""The letters from which a word may be misspelt in one place."""
LONG: Final = 9
"""The letters from which a word may be misspelt in two places."""
SUBSTITUTION: Final = 1.1
"""A wrong letter is a little farther away than a missing one, a doubled one, or two in the wrong order."""
MAX_CORRECTED: Final = 24
"""The number of unknown words of a prompt that are compared with the word list: hostile prompts stay cheap."""
CYRILLIC: Final = re.compile(r"[а-яё]{4,}\Z")  # noqa: RUF001  Russian letters
MAX_ENDING: Final = 3
BY_SOUND: Final = 0.1
SOUNDS: Final = tuple(
    (re.compile(pattern), letters)
    for pattern, letters in (
        ("ph", "f"), ("ck|ch|qu?|c(?![eiyh])", "k"), ("c", "s"), ("y", "i"), ("(?<=[rt])h", ""), (r"(\w)\1+", r"\1"),
    )
)  # fmt: skip
"""Letters that are written for each other."""


@cache
def _vocabulary() -> Mapping[str, Sequence[tuple[str, str]]]:
    """Return the words that may be meant and their sounds, by the first letter of the sound."""
    found: dict[str, list[tuple[str, str]]] = {}
    for word in sorted({*single_names(), *PLAIN}):
        if len(word) >= SHORTEST - 1 and word.isalpha():
            found.setdefault(sound_of(word)[0], []).append((word, sound_of(word)))
    return found


@cache
def _known() -> frozenset[str]:
    words = word_list()
    spelled = {token.text for word in words["spelled"]["words"] for token in tokenise(word)}
    return frozenset(
        {*phrase_words(), *words["fillers"]["words"], *words["numbers"], *time_units(), *PLAIN, *PATTERNS, *spelled}
    )


def corrected(text: str, tokens: Sequence[Token]) -> tuple[str, dict[str, str]]:
    """Return a text with the words that are meant, and the misspelt words with what they are read as."""
    pieces: list[str] = []
    spelling: dict[str, str] = {}
    end = compared = 0
    for index, token in enumerate(tokens):
        if token.text in _known() or not token.text.isalpha() or compared >= MAX_CORRECTED:
            continue
        compared += 1
        meant, is_guess = _meant(token.text)
        if not meant:
            before, after = (tokens[each].text if 0 <= each < len(tokens) else "" for each in (index - 1, index + 1))
            meant, is_guess = _continued(before, token.text) or _begun(token.text, after), True
        if meant:
            pieces += [text[end : token.start], meant]
            end = token.end
            if is_guess:
                spelling[text[token.start : token.end]] = meant
    return "".join((*pieces, text[end:])), spelling


def _meant(word: str) -> tuple[str, bool]:
    """Return the word that is meant, or "", and whether it is a guess and not an inflected form."""
    if word in UNITS:
        return UNITS[word], True
    if CYRILLIC.match(word):
        return _stem(word), False
    if len(word) < SHORTEST - 1:
        return "", False
    plural = word[:-1] if word.endswith("s") else ""
    if plural in _known():
        return "", False
    most = 2.2 if len(word) >= LONG else SUBSTITUTION if len(word) > SHORTEST else 1.0
    sound = sound_of(word)
    candidates = [each for each in _vocabulary().get(sound[0], ()) if abs(len(each[0]) - len(word)) <= most]
    distances = [
        (_apart(word, sound, each, heard, most), abs(len(each) - len(word) + 1), each) for each, heard in candidates
    ]
    found = min((each for each in distances if each[0] <= most), default=None)
    return (found[2], True) if found else ("", False)


def _apart(word: str, sound: str, meant: str, heard: str, most: float) -> float:
    """Return how far a word is from one that may be meant, by its letters or by its sound."""
    spelt = distance(word, meant, most) if word[0] == meant[0] else most + 1
    return min(spelt, distance(sound, heard, most) + BY_SOUND)


def _continued(before: str, word: str) -> str:
    """Return the word that continues a phrase and is meant, or "": "hp" after "hip" is "hop"."""
    found = [(distance(word, each, 1.0), each) for each in phrase_tree().following(before) if len(each) > 1]
    nearest = min(found, default=(2.0, ""))
    return nearest[1] if nearest[0] <= 1.0 and len(word) > 1 else ""


def _begun(word: str, after: str) -> str:
    """Return the word that begins a phrase with the next one and is meant, or "": "drm" before "and bass" is "drum"."""
    if len(word) < len("drm"):
        return ""
    sound = sound_of(word)
    found = [(_apart(word, sound, each, sound_of(each), 1.0), each) for each in _beginnings().get(after, ())]
    nearest = min(found, default=(2.0, ""))
    return nearest[1] if nearest[0] <= 1.0 else ""


@cache
def _beginnings() -> Mapping[str, Sequence[str]]:
    """Return the words before each second word of a phrase."""
    found: dict[str, list[str]] = {}
    tree = phrase_tree()
    for word in sorted(phrase_words()):
        for following in tree.following(word):
            if word.isalpha():
                found.setdefault(following, []).append(word)
    return found


def sound_of(word: str) -> str:
    """Return a word as it sounds: "xylofone" and "xylophone" are equal."""
    for pattern, letters in SOUNDS:
        word = pattern.sub(letters, word)
    return word


def _stem(word: str) -> str:
    """Return the longest known word of which a Russian word is an inflected form, or ""."""
    best = ""
    for each, _ in _vocabulary().get(word[0], ()):
        stem = each[:-1] if each[-1] in "аеийояь" else each
        if len(stem) >= MAX_ENDING + 1 and word.startswith(stem) and len(word) - len(stem) <= MAX_ENDING:
            best = max(best, each, key=len)
    return best


def distance(first: str, second: str, most: float) -> float:
    """Return the edits that turn one word into another: letters added, left out, replaced, or swapped."""
    before: list[float] = []
    row = [float(index) for index in range(len(second) + 1)]
    for i, letter in enumerate(first, 1):
        previous, row = row, [float(i)]
        for j, other in enumerate(second, 1):
            cost = 0.0 if letter == other else SUBSTITUTION
            found = min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + cost)
            if i > 1 and j > 1 and letter == second[j - 2] and first[i - 2] == other:
                found = min(found, before[j - 2] + 1)
            row.append(found)
        if min(row) > most:
            return min(row)
        before = previous
    return row[-1]
