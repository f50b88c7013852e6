"""Divides words into lines and syllables with their vowels, by one rule for all languages.

A run of vowel letters is a syllable. Scripts without vowel letters of their own have one syllable for each character.
The rule needs no dictionary and counts a little too much or too little in every language.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from typing import Final

# As in every Python version: the tables of newer versions have more characters.
FIXED: Final = unicodedata.ucd_3_2_0
VOWELS: Final = "aeiou"
LATIN: Final = {
    **{letter: letter for letter in VOWELS},
    "y": "i",
    "æ": "a",
    "œ": "o",
    "ø": "o",
    "\u0131": "i",
    "ə": "e",
}
CYRILLIC: Final = dict(zip("аеёиіїоуыэюяє", "aeoiiiouieuae", strict=True))
GREEK: Final = dict(zip("αεηιουω", "aeiioio", strict=True))
DIGRAPHS: Final = {"ee": "i", "ie": "i", "oo": "u", "ou": "u"}
SOUNDS: Final = LATIN | CYRILLIC | GREEK
"""Vowel letters, each with the vowel that is sung."""
ALPHABETS: Final = frozenset({"LATIN", "CYRILLIC", "GREEK"})
SILENT_E: Final = frozenset({"en", "fr"})
"""Languages in which an "e" at the end of a longer word is silent."""
WITHOUT_VOWEL: Final = "u"
"""The vowel of a word that has none, for example "hmm"."""
DIAERESIS: Final = "\u0308"
PICTURES: Final = range(0x1F000, 0x20000)
"""Emoji, which nobody sings."""


def lines_of(text: str) -> tuple[str, ...]:
    """Return the lines of a section's words, without blank ones."""
    return tuple(line for line in (" ".join(raw.split()) for raw in text.split("\n")) if line)


def sung_vowels(text: str, language: str = "") -> tuple[str, ...]:
    """Return the vowel of each syllable of a line, each one of `VOWELS`; `language` is a BCP 47 tag."""
    has_silent_e = language.partition("-")[0] in SILENT_E
    return tuple(
        vowel
        for word in FIXED.normalize("NFC", text).lower().split()
        for vowel in _of_word(word, has_silent_e=has_silent_e)
    )


def _of_word(word: str, *, has_silent_e: bool) -> list[str]:
    found: list[str] = []
    letters = ""
    is_sung = False
    for letter in word:
        category = FIXED.category(letter)
        name = FIXED.name(letter, "")
        is_sung |= category[0] in "LN" or (category == "Cn" and ord(letter) not in PICTURES)
        if name.partition(" ")[0] in ALPHABETS:
            letters += letter
            continue
        if category[0] == "M":
            if "VOWEL SIGN" in name and found and not letters:
                found[-1] = _named_vowel(name) or found[-1]
            continue
        found += _of_letters(letters, has_silent_e=has_silent_e)
        letters = ""
        if category == "Lo" or category[0] == "N":
            _add_character(found, letter, name)
    found += _of_letters(letters, has_silent_e=has_silent_e)
    return found or [WITHOUT_VOWEL] * is_sung


def _add_character(found: list[str], letter: str, name: str) -> None:
    """Add the syllable of a character of a script without vowel letters. Small kana belong to the one before."""
    vowel = _named_vowel(name)
    if name.startswith(("HIRAGANA", "KATAKANA")):
        if not vowel or name.endswith("SMALL TU"):
            return
        if " SMALL " in name and found:
            found[-1] = vowel
            return
    found.append(vowel or VOWELS[ord(letter) % len(VOWELS)])


def _named_vowel(name: str) -> str:
    """Return the last vowel in the name of a character, for example "a" for HANGUL SYLLABLE HAN."""
    last = re.split(r"[ -]", name.lower())[-1]
    return next((letter for letter in reversed(last) if letter in VOWELS), "") if last.isalpha() else ""


def _of_letters(letters: str, *, has_silent_e: bool) -> list[str]:
    """Return the vowels of a run of letters that have vowels among them."""
    runs: list[str] = []
    joins = False
    for place, letter in enumerate(letters):
        base, marks = _parts(letter)
        is_consonant = base == "y" and _parts(letters[place + 1 : place + 2])[0] in SOUNDS
        if base not in SOUNDS or is_consonant:
            joins = False
            continue
        if joins and not (DIAERESIS in marks and base in "ei"):
            runs[-1] += base
        else:
            runs.append(base)
        joins = True
    if has_silent_e and _ends_silently(letters, runs):
        runs.pop()
    return [DIGRAPHS.get(run[:2]) or SOUNDS[run[0]] for run in runs]


def _parts(letter: str) -> tuple[str, str]:
    """Return a letter without its accents, and the accents; Cyrillic letters keep theirs, which make other letters."""
    if not letter or letter in SOUNDS or FIXED.name(letter, "").startswith("CYRILLIC"):
        return letter, ""
    whole = FIXED.normalize("NFD", letter)
    return whole[0], whole[1:]


def _ends_silently(letters: str, runs: list[str]) -> bool:
    if len(runs) < 2 or runs[-1] != "e" or not letters.endswith("e"):
        return False
    # "Table" has two syllables, "pole" has one.
    return not (letters.endswith("le") and letters[-3:-2] not in LATIN)


def syllables(text: str, language: str = "") -> tuple[str, ...]:
    """Return the text of each syllable of a line, as many as `sung_vowels`; the last of a word ends with a space."""
    has_silent_e = language.partition("-")[0] in SILENT_E
    found: list[str] = []
    for word in FIXED.normalize("NFC", text).split():
        count = len(_of_word(word.lower(), has_silent_e=has_silent_e))
        if not count:
            # A dash or an emoji belongs to the syllable before.
            if found:
                found[-1] += f"{word} "
            continue
        pieces = _cut(word, count)
        found += [*pieces[:-1], f"{pieces[-1]} "]
    return tuple(found)


def _cut(word: str, count: int) -> list[str]:
    """Cut a word before the last consonant between two vowels, or evenly where its letters do not tell."""
    is_vowel = [_parts(letter)[0] in SOUNDS for letter in word.lower()]
    starts = [at for at in range(len(word)) if is_vowel[at] and (at == 0 or not is_vowel[at - 1])]
    cuts = [
        at - 1 if at and not is_vowel[at - 1] and at - 1 > before else at for before, at in itertools.pairwise(starts)
    ]
    if len(cuts) < count - 1:
        cuts = [len(word) * number // count for number in range(1, count)]
    # A silent vowel at the end makes no syllable of its own.
    edges = [0, *cuts[: count - 1], len(word)]
    return [word[begin:end] for begin, end in itertools.pairwise(edges)]
