"""Arrangement: which layers play in each section, so that no two roles sound alike."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from segue_music.elements import Layer, LayerKind
from segue_music.plan import Role
from segue_planner.averages import mean as mean_of

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
"""A section that ends above this energy has every layer, even where its role would rest one: a big ending."""
HELD_BACK: Final = 0.7
STILL_ENERGY: Final = 0.2


class Arranger:
    """Arranges the sections of one piece in order; instruments of a layer take turns."""

    def __init__(self, ensemble: Ensemble, genre: Genre) -> None:
        self._ensemble, self._genre = ensemble, genre
        self._counts: Counter[Role] = Counter()
        self._turns: Counter[LayerKind] = Counter()

    def arrange(self, role: Role, energy: Sequence[float], *, first: bool, fullest: bool) -> tuple[Layer, ...]:
        """Return the layers of the next section."""
        self._counts[role] += 1
        mean = mean_of(energy)
        opens = self._ensemble.opens if first and self._ensemble.opens else None
        layers = dict(opens or self._ensemble.layers)
        all_play = opens or self._ensemble.always_all or energy[-1] > FULL_END
        playing = set(layers) if all_play else self._playing(role, mean, set(layers))
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
        """Return the level of a layer. A first verse holds back its drums, every second one its textures."""
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
            R.INTRO: (BEATS if self._genre.is_electronic else OPENING, 2),
            R.BREAKDOWN: (THIN if self._counts[role] % 2 else OPENING, 2),
            R.OUTRO: (BEATS if self._genre.is_electronic else CLOSING, 3),
        }.get(role)
        if role in {R.BREAKDOWN, R.OUTRO} and self._genre.is_heavy:
            ordered = None
        if ordered is None and mean < STILL_ENERGY:
            ordered = (OPENING, 3)
        if ordered is not None:
            order, most = ordered
            return set([kind for kind in order if kind in present][:most])
        return self._without(present, *self._resting(role, present))

    def _resting(self, role: Role, present: set[LayerKind]) -> tuple[LayerKind, ...]:
        """Return the layers that rest in a role, the first one to rest first."""
        genre, again = self._genre, self._counts[role] > 1
        sung = (L.LEAD,) if L.VOCALS in present else ()
        resting: Mapping[Role, tuple[LayerKind, ...]] = {
            R.VERSE: sung if again else (L.TEXTURES, *sung),
            R.PRE_CHORUS: (L.BASS,) if genre.groove in {"backbeat", "four_on_the_floor"} else (L.LEAD,),
            R.MOTIF: () if again else (L.TEXTURES,),
            R.BRIDGE: (L.LEAD,) if genre.is_heavy else (L.TEXTURES,) if genre.form == "head" else (L.RHYTHM, L.BASS),
            R.DEVELOPMENT: (L.BASS,) if again and L.RHYTHM not in present else (L.HARMONY,) if again else (),
            R.SOLO: (L.TEXTURES, L.VOCALS),
            R.BREAKDOWN: (L.LEAD,),
            R.OUTRO: (L.LEAD,),
        }
        leaving = resting.get(role, ())
        # In a small ensemble one layer rests, not two.
        return leaving if len(present) > 4 else leaving[:1]

    @staticmethod
    def _without(present: set[LayerKind], *resting: LayerKind) -> set[LayerKind]:
        playing = set(present)
        for kind in resting:
            if len(playing) > 2:
                playing.discard(kind)
        return playing

    def _players(self, role: Role, kind: LayerKind, layers: Mapping[LayerKind, tuple[str, ...]]) -> tuple[str, ...]:
        """Return the instruments of a layer, in turns. Each solo has another soloist."""
        names = layers[kind]
        if role == R.SOLO and kind == L.LEAD and self._counts[role] > 1:
            soloists = [self._ensemble.layers[each][0] for each in SOLOISTS if each in self._ensemble.layers]
            return (soloists[(self._counts[role] - 1) % len(soloists)],)
        position = self._turns[kind] % len(names)
        if role not in {R.INTRO, R.OUTRO}:
            self._turns[kind] += 1
        return names[position:] + names[:position]
