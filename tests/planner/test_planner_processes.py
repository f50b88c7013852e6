"""The same brief gives the same bytes in another process, whatever its hash seed, locale and clock are."""

from __future__ import annotations

import os
import subprocess
import sys

from segue_music.plan import Brief
from segue_planner.planning import Planner

PROMPTS = ("sad piano waltz in F# minor, 84 bpm, two minutes, no drums, big ending", "jazz", "techno loop, 16 bars")
PROGRAM = """
import sys
from segue_music.plan import Brief
from segue_planner.planning import Planner
for prompt in sys.argv[1:]:
    print(Planner(Brief(prompt=prompt)).plan().digest)
"""


def test_digests_do_not_depend_on_the_process() -> None:
    here = [Planner(Brief(prompt=prompt)).plan().digest for prompt in PROMPTS]
    for hash_seed, zone, locale in (("1", "Asia/Tokyo", "C"), ("77", "America/Lima", "tr_TR.UTF-8")):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "TZ": zone, "LC_ALL": locale}
        answer = subprocess.run(
            [sys.executable, "-c", PROGRAM, *PROMPTS], env=environment, capture_output=True, text=True, check=True
        )
        assert answer.stdout.split() == here
