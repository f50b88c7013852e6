"""What a prompt says, each value with the words that said it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from segue_music.theory import MODE_NAMES, key_name

if TYPE_CHECKING:
    from segue_music.elements import Key, LayerKind, Metre, Mode
    from segue_music.plan import Role

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Said(Generic[T]):
    """A value and the words that said it."""

    value: T
    words: str


@dataclass
class PromptReading:
    """What a prompt says; a fact that it does not mention is None or empty."""

    bpm: Said[float] | None = None
    bpm_range: Said[tuple[float, float]] | None = None
    tempo_word: Said[str] | None = None
    key: Said[Key] | None = None
    mode: Said[Mode] | None = None
    metre: Said[Metre] | None = None
    seconds: Said[float] | None = None
    bars: Said[int] | None = None
    clip: Said[str] | None = None
    genre: Said[str] | None = None
    instruments: dict[str, str] = field(default_factory=dict)
    """Instruments that shall be heard, with their words."""
    without_layers: dict[LayerKind, str] = field(default_factory=dict)
    without_instruments: dict[str, str] = field(default_factory=dict)
    without_roles: dict[Role, str] = field(default_factory=dict)
    only: str = ""
    """The words that say that nothing but `instruments` plays."""
    opens: dict[str, str] = field(default_factory=dict)
    """Instruments that begin alone."""
    form: Said[tuple[Role, ...]] | None = None
    has: dict[Role, str] = field(default_factory=dict)
    role_bars: dict[Role, Said[int]] = field(default_factory=dict)
    course: dict[str, str] = field(default_factory=dict)
    """What is said of beginning, end and course, by the names of words.toml."""
    feel_role: Role | None = None
    """The role that half or double time is said of; None: the whole piece."""
    moods: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    """What contradicts itself or could not be used."""

    def facts(self) -> dict[str, Any]:
        """Return what was read in the words of tests/planner/prompts.toml, without what was not said."""
        ends = {"big_end": "big", "soft_end": "soft", "fade_end": "fade", "abrupt_end": "abrupt", "long_end": "long"}
        feels = ("half_time", "double_time")
        changes = ("key_change", "speeds_up", "slows_down", "builds", "calms")
        told: dict[str, Any] = {
            "bpm": self.bpm and self.bpm.value,
            "about": self.bpm_range and f"{self.bpm_range.value[0]:g}-{self.bpm_range.value[1]:g}",
            "tempo": self.tempo_word and self.tempo_word.value,
            "key": key_name(self.key.value) if self.key else MODE_NAMES[self.mode.value] if self.mode else None,
            "metre": self.metre and f"{self.metre.value.beats}/{self.metre.value.unit}",
            "seconds": self.seconds and self.seconds.value,
            "bars": self.bars and self.bars.value,
            "genre": self.genre and self.genre.value,
            "instruments": sorted(self.instruments),
            "without": sorted(
                [
                    *(kind.name for kind in self.without_layers),
                    *self.without_instruments,
                    *(role.name.lower() for role in self.without_roles),
                ]
            ),
            "only": bool(self.only),
            "opens": " ".join(self.opens) or ("quiet" if "quiet_start" in self.course else None),
            "ends": next((ends[name] for name in self.course if name in ends), None),
            "form": self.form and [role.name.lower() for role in self.form.value],
            "has": sorted(role.name.lower() for role in self.has),
            "kind": "loop" if "loop" in self.course else None,
            "feel": next((name for name in self.course if name in feels), None),
            "changes": sorted(name for name in self.course if name in changes),
        }
        return {name: value for name, value in told.items() if value}
