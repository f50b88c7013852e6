"""Trains the decisions: python -m training.decisions FOLDER ... (of training/beats/dataset, one or more parts)."""

# pyright: basic, reportMissingImports=false

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from training.decisions import bars, keys, octaves
from training.decisions.heard import heard_in

KINDS = {"bars": bars.train, "octaves": octaves.train, "keys": keys.train}


def main() -> int:
    """Train some or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--kinds", default=",".join(KINDS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    material = list(heard_in(given.folders))
    print(f"{len(material)} excerpts", flush=True)
    for kind in given.kinds.split(","):
        print(kind, KINDS[kind](material), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
