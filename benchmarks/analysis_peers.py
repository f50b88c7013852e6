"""Other programs that hear beats and keys, each in a process of its own.

`python analysis_peers.py NAME` needs numpy and that program, and nothing of Segue: aubio (GPL) and essentia (AGPL) are
no dependencies of this project, and live in an environment of whoever compares. It reads sounds from standard input,
and writes a line of JSON for each.
"""

# pyright: basic, reportMissingImports=false

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

RATES = {"librosa": 22_050, "aubio": 44_100, "essentia": 44_100}
MEASURES: dict[str, tuple[str, ...]] = {
    "librosa": ("Acc1", "Acc2", "beat F", "key", "MIREX"),
    "aubio": ("Acc1", "Acc2", "beat F"),
    "essentia": ("Acc1", "Acc2", "beat F", "key", "MIREX"),
}
"""What each of them can answer; none of them finds downbeats."""
NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
# C. Krumhansl, Cognitive Foundations of Musical Pitch, 1990.
KRUMHANSL = (
    (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
)


class Peer:
    """A process that hears sounds, one after the other."""

    def __init__(self, name: str, python: str) -> None:
        self.name = name
        self.rate = RATES[name]
        command = [python, str(Path(__file__).resolve()), name]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def hear(self, sound: np.ndarray) -> dict[str, Any]:
        """Return tempo, beats and key of mono samples at the rate of the peer, and its processor time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{len(sound)}\n".encode() + sound.astype("<f4").tobytes())
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found


def installed(name: str, python: str) -> bool:
    """Return whether an interpreter has a program."""
    return subprocess.run([python, "-c", f"import {name}"], capture_output=True, check=False).returncode == 0


def librosa(sound: np.ndarray, rate: int) -> dict[str, Any]:
    """Hear with librosa's beat tracker, and its chroma beside Krumhansl's profiles."""
    import librosa as program

    tempo, beats = program.beat.beat_track(y=sound, sr=rate, units="time")
    chroma = program.feature.chroma_cqt(y=sound, sr=rate).mean(axis=1)
    fits = [float(np.corrcoef(np.roll(chroma, -tonic), profile)[0, 1]) for profile in KRUMHANSL for tonic in range(12)]
    best = int(np.argmax(fits))
    return {"tempo": float(np.atleast_1d(tempo)[0]), "beats": beats.tolist(), "key": [best % 12, best >= 12]}


def aubio(sound: np.ndarray, rate: int) -> dict[str, Any]:
    """Hear with aubio's beat tracker."""
    import aubio as program  # type: ignore[import-not-found]  # under the GPL: where somebody has installed it

    hop = 512
    tracker = program.tempo("default", 1024, hop, rate)
    starts = range(0, len(sound) - hop, hop)
    beats = [float(tracker.get_last_s()) for first in starts if tracker(sound[first : first + hop])[0]]
    tempo = 60.0 / float(np.median(np.diff(beats))) if len(beats) > 2 else 0.0
    return {"tempo": tempo, "beats": beats}


def essentia(sound: np.ndarray, rate: int) -> dict[str, Any]:
    """Hear with essentia's multifeature beat tracker, and its key extractor with the profile bgate."""
    import essentia as program  # type: ignore[import-not-found]  # under the AGPL: the same

    program.log.infoActive = program.log.warningActive = False
    from essentia import standard

    tempo, beats, *_ = standard.RhythmExtractor2013(method="multifeature")(sound)
    name, mode, _ = standard.KeyExtractor(profileType="bgate", sampleRate=rate)(sound)
    flats = {"Db": "C#", "D#": "Eb", "Gb": "F#", "G#": "Ab", "A#": "Bb"}
    key = [NAMES.index(flats.get(name, name)), mode == "minor"]
    return {"tempo": float(tempo), "beats": [float(each) for each in beats], "key": key}


def main() -> int:
    """Hear what standard input gives."""
    program = {"librosa": librosa, "aubio": aubio, "essentia": essentia}[sys.argv[1]]
    rate = RATES[sys.argv[1]]
    # Libraries may write to standard output: the answers have it for themselves.
    answers, sys.stdout = sys.stdout, sys.stderr
    while line := sys.stdin.buffer.readline():
        sound = np.frombuffer(sys.stdin.buffer.read(4 * int(line)), "<f4").copy()
        before = time.process_time()
        found = program(sound, rate)
        print(json.dumps({**found, "cpu_s": time.process_time() - before}), file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
