"""Who plays in which section: parts enter, step back and come together, so that no two roles sound alike."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from segue_music.elements import Layer, LayerKind
from segue_music.plan import Role
from segue_planner.parts.energy import mean as mean_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segue_planner.genres.genre import Genre
    from segue_planner.parts.ensemble import Ensemble

L, R = LayerKind, Role
OPENING: Final = (L.HARMONY, L.TEXTURES, L.LEAD, L.BASS, L.RHYTHM, L.VOCALS)
THIN: Final = (L.TEXTURES, L.HARMONY, L.LEAD, L.BASS, L.VOCALS, L.RHYTHM)
BEATS: Final = (L.RHYTHM, L.BASS, L.TEXTURES, L.HARMONY, L.LEAD, L.VOCALS)
CLOSING: Final = (L.HARMONY, L.LEAD, L.BASS, L.TEXTURES, L.VOCALS, L.RHYTHM)
SOLOISTS: Final = (L.LEAD, L.HARMONY, L.BASS)
FULL_ENERGY: Final = 0.88
FULL_END: Final = 0.9
"""What ends so full has everybody, also where the role would rest somebody: a big ending."""
HELD_BACK: Final = 0.7
STILL_ENERGY: Final = 0.2
FAST_ROCK_BPM: Final = 140


def is_electronic(genre: Genre) -> bool:
    """Return whether a genre is made for a floor: beats begin and end it, risers lead to drops."""
    return genre.form == "drop"


def is_heavy(genre: Genre) -> bool:
    """Return whether a genre's quiet places are slow and heavy, not soft."""
    return genre.groove == "rock" and genre.tempo_bpm[1] >= FAST_ROCK_BPM


class Arranger:
    """Arranges the sections of one piece in order; it remembers who has had a turn."""

    def __init__(self, ensemble: Ensemble, genre: Genre) -> None:
        self._ensemble, self._genre = ensemble, genre
        self._counts: Counter[Role] = Counter()
        self._turns: Counter[LayerKind] = Counter()

    def section(self, role: Role, energy: Sequence[float], *, first: bool, fullest: bool) -> tuple[Layer, ...]:
        """Choose who plays in the next section."""
        self._counts[role] += 1
        mean = mean_of(energy)
        opens = self._ensemble.opens if first and self._ensemble.opens else None
        layers = dict(opens or self._ensemble.layers)
        everybody = opens or self._ensemble.all_always or energy[-1] > FULL_END
        playing = set(layers) if everybody else self._playing(role, mean, set(layers))
        if fullest:
            layers = {
                **self._ensemble.layers,
                **{kind: names for kind, names in layers.items() if kind in self._ensemble.layers},
            }
            playing |= self._ensemble.required
        return tuple(
            Layer(kind, self._players(role, kind, layers), self._level(role, kind, mean)) for kind in sorted(playing)
        )

    def _level(self, role: Role, kind: LayerKind, mean: float) -> float:
        """Return how far in front a part stands: a first verse keeps its drums back, every other its textures."""
        count = self._counts[role]
        soft = L.RHYTHM if count == 1 else L.TEXTURES if count % 2 == 0 else None
        back = HELD_BACK if role == R.VERSE and kind == soft else 1.0
        return round((0.6 + 0.3 * mean) * back, 2)

    def _playing(self, role: Role, mean: float, present: set[LayerKind]) -> set[LayerKind]:
        if len(present) <= 2:
            return present
        if mean > FULL_ENERGY:
            return present
        ordered = {
            R.INTRO: (BEATS if is_electronic(self._genre) else OPENING, 2),
            R.BREAKDOWN: (THIN if self._counts[role] % 2 else OPENING, 2),
            R.OUTRO: (BEATS if is_electronic(self._genre) else CLOSING, 3),
        }.get(role)
        if role in {R.BREAKDOWN, R.OUTRO} and is_heavy(self._genre):
            ordered = None
        if ordered is None and mean < STILL_ENERGY:
            ordered = (OPENING, 3)
        if ordered is not None:
            order, most = ordered
            return set([kind for kind in order if kind in present][:most])
        return self._without(present, *self._resting(role, present))

    def _resting(self, role: Role, present: set[LayerKind]) -> tuple[LayerKind, ...]:
        """Return who rests in a role, the first to leave first."""
        genre, again = self._genre, self._counts[role] > 1
        sung = (L.LEAD,) if L.VOCALS in present else ()
        resting: Mapping[Role, tuple[LayerKind, ...]] = {
            R.VERSE: sung if again else (L.TEXTURES, *sung),
            R.PRE_CHORUS: (L.BASS,) if genre.groove in {"backbeat", "four_on_the_floor"} else (L.LEAD,),
            R.MOTIF: () if again else (L.TEXTURES,),
            R.BRIDGE: (L.LEAD,) if is_heavy(genre) else (L.TEXTURES,) if genre.form == "head" else (L.RHYTHM, L.BASS),
            R.DEVELOPMENT: (L.BASS,) if again and L.RHYTHM not in present else (L.HARMONY,) if again else (),
            R.SOLO: (L.TEXTURES, L.VOCALS),
            R.BREAKDOWN: (L.LEAD,),
            R.OUTRO: (L.LEAD,),
        }
        leaving = resting.get(role, ())
        # Of a small band one steps back, not two.
        return leaving if len(present) > 4 else leaving[:1]

    @staticmethod
    def _without(present: set[LayerKind], *resting: LayerKind) -> set[LayerKind]:
        playing = set(present)
        for kind in resting:
            if len(playing) > 2:
                playing.discard(kind)
        return playing

    def _players(self, role: Role, kind: LayerKind, layers: Mapping[LayerKind, tuple[str, ...]]) -> tuple[str, ...]:
        """Return who of a part plays, in turns; of several solos each belongs to somebody else."""
        names = layers[kind]
        if role == R.SOLO and kind == L.LEAD and self._counts[role] > 1:
            soloists = [self._ensemble.layers[each][0] for each in SOLOISTS if each in self._ensemble.layers]
            return (soloists[(self._counts[role] - 1) % len(soloists)],)
        place = self._turns[kind] % len(names)
        if role not in {R.INTRO, R.OUTRO}:
            self._turns[kind] += 1
        return names[place:] + names[:place]
