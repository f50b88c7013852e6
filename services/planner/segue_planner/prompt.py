"""Reads a prompt's musical facts: tempo, key, metre, length, genre, layers and what is not wanted."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from segue_music.plan import Key, Kind, LayerKind, Metre, Mode
from segue_planner.genres import Genre, genres


@dataclass(frozen=True)
class Found:
    """A value and the words that said it."""

    value: object
    words: str


@dataclass
class PromptReading:
    """What a prompt says; a fact that it does not mention is absent."""

    facts: dict[str, Found] = field(default_factory=dict)
    """By field: bpm (float), key (Key), metre (Metre), seconds (float), genre (Genre), kind (Kind)."""
    instruments: dict[str, tuple[LayerKind, str]] = field(default_factory=dict)
    """Instrument to its layer and the words."""
    excluded: dict[LayerKind, str] = field(default_factory=dict)
    moods: tuple[str, ...] = ()
    contradictions: list[str] = field(default_factory=list)


TEMPO_WORDS: Final = {
    "very slow": 56, "largo": 50, "adagio": 68, "slow": 72, "andante": 84, "mid-tempo": 100, "midtempo": 100,
    "moderato": 108, "allegretto": 112, "uptempo": 132, "up-tempo": 132, "fast": 140, "allegro": 132,
    "vivace": 160, "very fast": 168, "presto": 176,
}  # fmt: skip
MODES: Final = {
    "minor": Mode.MINOR, "min": Mode.MINOR, "m": Mode.MINOR, "moll": Mode.MINOR, "major": Mode.MAJOR,
    "maj": Mode.MAJOR, "dur": Mode.MAJOR, "dorian": Mode.DORIAN, "phrygian": Mode.PHRYGIAN, "lydian": Mode.LYDIAN,
    "mixolydian": Mode.MIXOLYDIAN, "locrian": Mode.LOCRIAN, "aeolian": Mode.MINOR, "ionian": Mode.MAJOR,
    "harmonic minor": Mode.HARMONIC_MINOR,
}  # fmt: skip
NUMBERS: Final = {
    "half a": 0.5, "a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7,
    "eight": 8, "nine": 9, "ten": 10, "fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40, "sixty": 60,
    "ninety": 90,
}  # fmt: skip
MOODS: Final = (
    "sad", "happy", "dark", "bright", "calm", "dreamy", "rainy", "sunny", "melancholic", "wistful", "epic", "tense",
    "warm", "cold", "nostalgic", "romantic", "playful", "mysterious", "angry", "peaceful", "hopeful", "lonely",
    "energetic", "relaxed", "mellow", "uplifting", "aggressive", "gentle", "haunting", "joyful", "cozy", "spooky",
)  # fmt: skip
SAD: Final = frozenset({"sad", "dark", "melancholic", "wistful", "lonely", "haunting", "tense", "spooky", "rainy"})
INSTRUMENTS: Final = {
    LayerKind.RHYTHM: (
        "drum machine", "brush drums", "drums", "drum", "percussion", "beats", "beat", "shaker", "toms", "congas",
        "bongos", "tambourine", "cymbals", "hi-hats", "hihats", "kick", "snare", "808",
    ),
    LayerKind.BASS: (
        "upright bass", "double bass", "electric bass", "synth bass", "sub bass", "slap bass", "bassline", "bass",
        "cello", "tuba",
    ),
    LayerKind.HARMONY: (
        "electric piano", "rhodes", "wurlitzer", "grand piano", "piano", "acoustic guitar", "electric guitar",
        "guitars", "guitar", "organ", "harpsichord", "ukulele", "banjo", "accordion", "harp", "keys", "chords", "synth",
    ),
    LayerKind.LEAD: (
        "synth lead", "saxophone", "sax", "trumpet", "trombone", "french horn", "brass", "flute", "clarinet", "oboe",
        "violin", "viola", "whistle", "harmonica", "lead", "melody", "bells", "glockenspiel", "marimba", "vibraphone",
        "xylophone", "kalimba", "music box",
    ),
    LayerKind.TEXTURES: (
        "strings", "string section", "pad", "pads", "arp", "arpeggio", "arpeggios", "vinyl crackle", "noise", "drone",
        "textures", "ambience",
    ),
    LayerKind.VOCALS: ("choir", "vocals", "vocal", "voices", "voice", "singing", "singer", "humming", "aahs", "oohs"),
}  # fmt: skip
NO: Final = r"(?:no|without(?: any)?|minus|drop the|sans|ohne|sin|not? any)"
NOTE: Final = r"(?P<letter>[A-Ga-g])(?P<accidental>\s?(?:#|♯|b|♭|-?sharp|-?flat))?"
KEY: Final = re.compile(
    rf"(?:(?:\bin|\bkey of|,)\s+(?:the key of\s+)?)?(?<![A-Za-z0-9]){NOTE}\s*"
    r"(?P<mode>harmonic minor|minor|major|min\b|maj\b|dorian|phrygian|lydian|mixolydian|locrian|aeolian|ionian"
    r"|moll\b|dur\b)",
    re.IGNORECASE,
)
SHORT_KEY: Final = re.compile(r"(?<![A-Za-z0-9#])(?P<letter>[A-Ga-g])(?P<accidental>#|♯|b|♭)m(?![A-Za-z0-9])")
PLAIN_SHORT_KEY: Final = re.compile(
    r"(?:\bin|,|\bkey of)\s+(?P<letter>[A-G])(?P<accidental>#|♯|b|♭)?(?P<minor>m)?(?![A-Za-z0-9#])"
)
BPM: Final = re.compile(
    r"(?P<bpm>\d{2,3}(?:\.\d{1,3})?)\s*(?:-\s*)?(?:bpm|beats per minute|beats a minute)\b", re.IGNORECASE
)
METRE: Final = re.compile(r"(?<![\d/])(?P<beats>1[0-6]|[2-9])\s*/\s*(?P<unit>2|4|8)(?![\d/])")
CLOCK: Final = re.compile(r"(?<![\d:])(?P<minutes>\d{1,2}):(?P<seconds>[0-5]\d)(?![\d:])")
LENGTH: Final = re.compile(
    r"(?P<number>\d+(?:\.\d+)?|half a|one|two|three|four|five|six|seven|eight|nine|ten|fifteen|twenty|thirty|forty"
    r"|sixty|ninety|an?)(?:\s+|-)?(?P<unit>minutes?|mins?|m(?![a-z])|seconds?|secs?|s(?![a-z]))(?P<half>\s+and\s+a\s+half)?"
    r"(?:\s*(?:and\s*)?(?P<more>\d{1,2})\s*(?:seconds?|secs?|s)(?![a-z]))?",
    re.IGNORECASE,
)
MAX_SECONDS: Final = 1800.0
MAX_BPM: Final = 266.0
MIN_BPM: Final = 20.0


def read_prompt(prompt: str) -> PromptReading:
    """Read what a prompt says."""
    reading = PromptReading()
    text = " ".join(prompt.split())
    lower = text.lower()
    _read_metre(text, lower, reading)
    _read_tempo(lower, reading)
    _read_key(text, reading)
    _read_length(lower, reading)
    _read_genre(lower, reading)
    _read_band(lower, reading)
    reading.moods = tuple(mood for mood in MOODS if re.search(rf"\b{mood}\b", lower))
    if re.search(r"\b(?:seamless |perfect )?loop(?:able|ing|s)?\b", lower):
        reading.facts["kind"] = Found(Kind.LOOP, "loop")
    return reading


def _read_tempo(lower: str, reading: PromptReading) -> None:
    numbers = [match for match in BPM.finditer(lower) if MIN_BPM <= float(match["bpm"]) <= MAX_BPM]
    for match in BPM.finditer(lower):
        if match not in numbers and not MIN_BPM <= float(match["bpm"]) <= MAX_BPM:
            reading.contradictions.append(f"{match[0]!r} is no playable tempo; it is not used")
    if numbers:
        reading.facts["bpm"] = Found(float(numbers[0]["bpm"]), numbers[0][0])
        others = {float(match["bpm"]) for match in numbers[1:]} - {float(numbers[0]["bpm"])}
        if others:
            reading.contradictions.append(f"several tempos; {numbers[0][0]!r}, the first, is used")
        return
    for words in sorted(TEMPO_WORDS, key=len, reverse=True):
        if re.search(rf"(?<![\w-]){re.escape(words)}(?![\w-])", lower):
            reading.facts["tempo_word"] = Found(float(TEMPO_WORDS[words]), words)
            return


def _read_key(text: str, reading: PromptReading) -> None:
    match = KEY.search(text)
    if match:
        mode = MODES[match["mode"].lower()]
        reading.facts["key"] = Found(Key(_tonic(match), mode), match[0].lstrip(", "))
        return
    match = SHORT_KEY.search(text)
    if match:
        reading.facts["key"] = Found(Key(_tonic(match), Mode.MINOR), match[0])
        return
    match = PLAIN_SHORT_KEY.search(text)
    if match:
        mode = Mode.MINOR if match["minor"] else Mode.MAJOR
        reading.facts["key"] = Found(Key(_tonic(match), mode), match[0].lstrip(", "))


def _tonic(match: re.Match[str]) -> str:
    accidental = (match["accidental"] or "").strip(" -").lower()
    sign = {"#": "#", "♯": "#", "sharp": "#", "b": "b", "♭": "b", "flat": "b"}.get(accidental, "")
    return match["letter"].upper() + sign


def _read_metre(text: str, lower: str, reading: PromptReading) -> None:
    match = METRE.search(text)
    if match:
        reading.facts["metre"] = Found(Metre(int(match["beats"]), int(match["unit"])), match[0])
    elif re.search(r"\bwaltz(?:es)?\b", lower):
        reading.facts["metre"] = Found(Metre(3, 4), "waltz")


def _read_length(lower: str, reading: PromptReading) -> None:
    match = CLOCK.search(lower)
    if match:
        seconds = int(match["minutes"]) * 60.0 + int(match["seconds"])
        if 1 <= seconds <= MAX_SECONDS:
            reading.facts["seconds"] = Found(seconds, match[0])
            return
    for found in LENGTH.finditer(lower):
        words = found["number"]
        number = NUMBERS[words] if words in NUMBERS else float(words)
        factor = 60.0 if found["unit"].startswith("m") else 1.0
        seconds = (number + (0.5 if found["half"] else 0)) * factor + float(found["more"] or 0)
        if 1 <= seconds <= MAX_SECONDS:
            reading.facts["seconds"] = Found(seconds, found[0].strip())
            return


def _read_genre(lower: str, reading: PromptReading) -> None:
    best: tuple[int, int, Genre, str] | None = None
    for genre in genres().values():
        for words in genre.words:
            match = re.search(rf"(?<!\w){re.escape(words)}(?!\w)", lower)
            # The longest words win ("deep house" over "pop"), then the earliest.
            if match and (best is None or (len(words), -match.start()) > (best[0], best[1])):
                best = (len(words), -match.start(), genre, words)
    if best:
        reading.facts["genre"] = Found(best[2], best[3])


def _read_band(lower: str, reading: PromptReading) -> None:
    for kind, names in INSTRUMENTS.items():
        rest = lower
        for name in names:
            pattern = rf"(?<![\w-]){re.escape(name)}(?![\w-])"
            negated = re.search(rf"\b{NO}\s+(?:\w+\s+(?:or|and)\s+)?{pattern}", rest)
            if negated:
                reading.excluded.setdefault(kind, negated[0])
                rest = rest[: negated.start()] + " " * len(negated[0]) + rest[negated.end() :]
            match = re.search(pattern, rest)
            if match and match[0] != "808":
                reading.instruments.setdefault(name, (kind, match[0]))
                # A longer name was found first: "bass" is not also in "upright bass".
                rest = rest[: match.start()] + " " * len(match[0]) + rest[match.end() :]
    for kind in list(reading.excluded):
        for name in [name for name, (layer, _) in reading.instruments.items() if layer == kind]:
            if re.search(rf"\b{NO}\s+{re.escape(name)}", lower):
                del reading.instruments[name]
    if re.search(r"\binstrumental\b", lower):
        reading.excluded.setdefault(LayerKind.VOCALS, "instrumental")
