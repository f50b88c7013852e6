"""Reads the key in its spellings: F# minor, Bbmaj, in G, Em, fis-moll, la menor, A harmonic minor."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from segue_music.elements import Key, Mode
from segue_planner.prompt.prompt_facts import Stated

if TYPE_CHECKING:
    from segue_planner.prompt.prompt_facts import PromptFacts

MODES: Final = {
    "harmonic minor": Mode.HARMONIC_MINOR, "natural minor": Mode.MINOR, "minor": Mode.MINOR, "min": Mode.MINOR,
    "m": Mode.MINOR, "moll": Mode.MINOR, "menor": Mode.MINOR, "mineur": Mode.MINOR, "minore": Mode.MINOR,
    "major": Mode.MAJOR, "maj": Mode.MAJOR, "dur": Mode.MAJOR, "mayor": Mode.MAJOR, "majeur": Mode.MAJOR,
    "maggiore": Mode.MAJOR, "минор": Mode.MINOR, "мажор": Mode.MAJOR, "短調": Mode.MINOR, "長調": Mode.MAJOR,
    "小调": Mode.MINOR, "大调": Mode.MAJOR, "maior": Mode.MAJOR, "dorian": Mode.DORIAN, "phrygian": Mode.PHRYGIAN,
    "lydian": Mode.LYDIAN, "mixolydian": Mode.MIXOLYDIAN, "locrian": Mode.LOCRIAN, "aeolian": Mode.MINOR,
    "ionian": Mode.MAJOR,
}  # fmt: skip
CHURCH: Final = ("dorian", "phrygian", "mixolydian", "lydian", "locrian", "aeolian", "ionian")
SYLLABLES: Final = {
    "do": "C", "re": "D", "ré": "D", "mi": "E", "fa": "F", "sol": "G", "la": "A", "si": "B",
    "dó": "C", "fá": "F", "lá": "A", "sí": "B",
    "до": "C", "ре": "D", "ми": "E", "фа": "F", "соль": "G", "ля": "A", "си": "B",  # noqa: RUF001  Russian
    "ハ": "C", "ニ": "D", "ホ": "E", "ヘ": "F", "ト": "G", "イ": "A", "ロ": "B",
}  # fmt: skip
SIGNS: Final = {"#": "#", "sharp": "#", "b": "b", "flat": "b"}
# Nouns that make "minor" or "major" before them an adjective: "a minor key", "a major hit".
NOUNS: Final = (
    r"(?!\s+(?:key|keys|scale|chord|chords|mode|mood|feel|vibe|tone|tonality|hit|role|part|change|problem|issue|label"
    r"|detail|lift|label|event|work|piece|league))"
)
LETTER: Final = r"(?<![A-Za-z0-9#])(?P<letter>[A-Ga-g])(?P<sign>\s?#|b|[\s-](?:sharp|flat))?"
NAMED: Final = re.compile(
    LETTER
    + r"[\s-]{0,2}(?P<mode>harmonic minor|natural minor|minor|major|min|maj|"
    + "|".join(CHURCH)
    + r")\b"
    + NOUNS,
    re.IGNORECASE,
)
GERMAN: Final = re.compile(r"(?<!\w)(?P<letter>[A-Ha-h])(?P<sign>is|es|s)?[\s-](?P<mode>moll|dur)(?!\w)", re.IGNORECASE)
ROMANCE: Final = re.compile(
    r"(?<!\w)(?P<letter>d[oó]|r[eé]|mi|f[aá]|sol|l[aá]|s[ií]|до|ре|ми|фа|соль|ля|си)"  # noqa: RUF001  Russian
    r"(?:[\s-](?P<sign>sostenido|sustenido|bemol|dièse|bémol|diesis|bemolle|диез|бемоль))?\s"
    r"(?P<mode>menor|mayor|mineur|majeur|minore|maggiore|maior|минор|мажор)(?!\w)",
    re.IGNORECASE,
)
JAPANESE: Final = re.compile(r"(?P<sign>[嬰変])?(?P<letter>[ハニホヘトイロ])(?P<mode>短調|長調)")
CHINESE: Final = re.compile(r"(?P<sign>[升降])?(?P<letter>[A-Ga-g])(?P<mode>小调|大调)")
FLATS: Final = frozenset({"b", "б", "変", "降"})  # noqa: RUF001  Russian
"""The first letters of words for a flat."""
SHORT: Final = re.compile(r"(?<![A-Za-z0-9#])(?P<letter>[A-Ga-g])(?P<sign>#|b)m(?![A-Za-z0-9])")
BARE: Final = re.compile(r"(?<![A-Za-z0-9#])(?P<letter>[A-G])m(?![A-Za-z0-9'])(?!\s+(?:not|so|feeling|I)\b)")
CUED: Final = re.compile(
    r"(?:\b[Ii]n(?:\s+the)?(?:\s+key\s+of)?|\b[Kk]ey(?:\s+of|\s*[:=])?)\s+(?P<letter>[A-G])(?P<sign>#|b|[\s-](?:flat|sharp))?(?P<minor>m)?"
    r"(?![A-Za-z0-9#']|\s*/|\s+[a-z]*\s?(?:key|major|minor))"
)
CHORD: Final = r"[A-G](?:#|b)?(?:m|maj|min|7|maj7|m7|sus[24]|dim)?"
CHORD_LIST: Final = re.compile(
    rf"(?<!\w){CHORD}(?:(?:\s{{0,4}}[,>-]\s{{0,4}}|\s{{1,4}}and\s{{1,4}}|\s{{1,4}}){CHORD}(?![\w#])){{2,}}"
)
MODE_ONLY: Final = re.compile(
    r"\b(?:in\s+(?:a\s+)?(?P<in>minor|major)(?:\s+(?:key|mode|tonality))?|(?P<of>minor|major)[\s-](?:key|mode|tonality)"
    r"|(?P<church>" + "|".join(CHURCH) + r"))\b",
    re.IGNORECASE,
)


def read_key(text: str, facts: PromptFacts) -> None:
    """Read the first key of a text, or only the mode when the text names no tonic."""
    listed = CHORD_LIST.search(text)
    rest = text if listed is None else text[: listed.start()] + " " * len(listed[0]) + text[listed.end() :]
    found = _named(rest) or _foreign(rest) or _short(rest)
    mode = MODE_ONLY.search(rest)
    stated_mode = MODES[next(word for word in mode.groups() if word).lower()] if mode else None
    if found:
        if mode and stated_mode and found.words and found.value.mode == Mode.MAJOR and mode["church"]:
            found = Stated(Key(found.value.tonic, stated_mode), f"{mode[0]} {found.words}")
        facts.key = found
    elif mode and stated_mode:
        facts.mode = Stated(stated_mode, mode[0])


def _named(text: str) -> Stated[Key] | None:
    for match in NAMED.finditer(text):
        article = match["letter"] in "aA" and not match["sign"]
        before = text[: match.start()].rstrip().lower()
        # "a minor" is a key only after words that announce a key; elsewhere it is an article and an adjective.
        if (
            article
            and match["letter"] == "a"
            and not before.endswith((" in", ",", "key of", "key:"))
            and before != "in"
        ):
            continue
        return Stated(Key(_tonic(match["letter"], match["sign"]), MODES[match["mode"].lower()]), match[0])
    return None


def _foreign(text: str) -> Stated[Key] | None:
    match = GERMAN.search(text)
    if match:
        letter, sign = match["letter"].upper(), (match["sign"] or "").lower()
        if sign == "s" and letter not in "AE":
            return None
        # In German, B is B flat and H is B.
        tonic = {"H": "B", "B": "Bb"}.get(letter, letter) if not sign else letter + ("#" if sign == "is" else "b")
        return Stated(Key(tonic if letter != "H" or not sign else "B#", MODES[match["mode"].lower()]), match[0])
    match = ROMANCE.search(text) or JAPANESE.search(text) or CHINESE.search(text)
    if match:
        sign, named = (match["sign"] or "").lower(), match["letter"].lower()
        letter = SYLLABLES.get(named, named.upper()) + ("b" if sign[:1] in FLATS else "#" if sign else "")
        return Stated(Key(letter, MODES[match["mode"].lower()]), match[0])
    return None


def _short(text: str) -> Stated[Key] | None:
    match = SHORT.search(text)
    if match:
        return Stated(Key(_tonic(match["letter"], match["sign"]), Mode.MINOR), match[0])
    match = CUED.search(text)
    if match:
        mode = Mode.MINOR if match["minor"] else Mode.MAJOR
        return Stated(Key(_tonic(match["letter"], match["sign"]), mode), match[0])
    match = BARE.search(text)
    return Stated(Key(match["letter"], Mode.MINOR), match[0]) if match else None


def _tonic(letter: str, sign: str | None) -> str:
    return letter.upper() + (SIGNS[sign.strip(" -").lower()] if sign else "")
