"""The voice packs on this machine, and the fonts that systems keep."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from segue_renderer.sketch.sampled.font import SoundFont
from segue_renderer.sketch.sampled.pack import NAME, SUFFIX, Credits, digest_of, read_pack
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Iterable

    from segue_renderer.sketch.sampled.pack import VoicePack

NONE, AUTO = "none", "auto"
FONT_FOLDERS: Final = (
    "~/.local/share/soundfonts", "~/.local/share/sounds/sf2", "~/.local/share/sounds/sf3", "~/.sounds/sf2",
    "/usr/local/share/soundfonts", "/usr/local/share/sounds/sf2", "/usr/share/soundfonts", "/usr/share/sounds/sf2",
    "/usr/share/sounds/sf3", "~/Library/Audio/Sounds/Banks", "/Library/Audio/Sounds/Banks",
)  # fmt: skip
FONT_SUFFIXES: Final = frozenset({".sf2", ".sf3"})
MAX_FONTS: Final = 200


@dataclass(frozen=True)
class InstalledPack:
    """A voice pack on this machine; `fault` says why it cannot be opened."""

    path: Path
    size: int
    credits: Credits
    num_programs: int
    digest: str
    fault: str = ""

    @property
    def name(self) -> str:
        """The name that `renderer.sketch.voices` takes."""
        return self.path.name.removesuffix(SUFFIX)


@dataclass(frozen=True)
class FoundFont:
    """A font that a pack can be built from; `fault` says why it cannot be opened."""

    path: Path
    size: int
    name: str
    num_presets: int
    fault: str = ""


class VoiceLibrary:
    """The voice packs in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path_of(self, name: str) -> Path:
        """Return the file of a pack, which need not exist."""
        if NAME.fullmatch(name) is None:
            raise errors.InvalidField(f"{name!r} is not a pack's name: letters, digits, dots, dashes and underscores")
        return self._folder / f"{name}{SUFFIX}"

    def installed(self) -> list[InstalledPack]:
        """List the packs, the newest first."""
        return [self._described(path) for path in self._paths()]

    def opened(self, path: Path) -> InstalledPack:
        """Check a pack's file, and say what it is."""
        pack = read_pack(path)
        return InstalledPack(path, pack.size, pack.credits, len(pack.presets), digest_of(path))

    def remove(self, name: str) -> int:
        """Remove a pack; return the bytes that this frees."""
        path = self._existing(name)
        size = path.stat().st_size
        path.unlink()
        return size

    def chosen(self, setting: str) -> VoicePack | None:
        """Open the pack that `renderer.sketch.voices` chooses: its name, its file, `auto` or `none`."""
        if setting in {NONE, ""}:
            return None
        if setting == AUTO:
            path = next(iter(self._paths()), None)
            if path is None:
                return None
        elif Path(setting).is_file():
            path = Path(setting)
        else:
            path = self._existing(setting)
        return read_pack(path, digest=digest_of(path))

    def _described(self, path: Path) -> InstalledPack:
        try:
            return self.opened(path)
        except (errors.ModelInvalid, OSError) as error:
            nothing = Credits(name="", font="", font_sha256="", license="", text="")
            return InstalledPack(path, path.stat().st_size, nothing, 0, "", str(error))

    def _existing(self, name: str) -> Path:
        path = self.path_of(name)
        if not path.is_file():
            names = ", ".join(each.name.removesuffix(SUFFIX) for each in self._paths()) or "none"
            raise errors.ModelNotInstalled(
                f"{name} is not a voice pack here (`segued voices build FONT` makes one); packs: {names}"
            )
        return path

    def _paths(self) -> list[Path]:
        # A name that begins with a dot is of a build that has not ended.
        found = [path for path in self._folder.glob(f"*{SUFFIX}") if NAME.fullmatch(path.name.removesuffix(SUFFIX))]
        return sorted(found, key=lambda path: (-path.stat().st_mtime_ns, path.name))


def find_fonts(folders: Iterable[str | Path] = FONT_FOLDERS) -> list[FoundFont]:
    """Return the fonts in the folders where systems keep them, each file once."""
    found: dict[Path, FoundFont] = {}
    for folder in folders:
        place = Path(folder).expanduser()
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            real = path.resolve()
            if path.suffix.lower() in FONT_SUFFIXES and real.is_file() and len(found) < MAX_FONTS:
                found.setdefault(real, _described(real))
    return list(found.values())


def _described(path: Path) -> FoundFont:
    size = path.stat().st_size
    try:
        with SoundFont(path) as font:
            return FoundFont(path, size, font.text("INAM") or path.stem, len(font.presets()))
    except (errors.ModelInvalid, OSError) as error:
        return FoundFont(path, size, path.stem, 0, str(error))
