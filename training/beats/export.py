"""Packs trained weights for the product: python -m training.beats.export CHECKPOINT MANIFEST ... --log LOG."""

# pyright: basic, reportMissingImports=false

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

TARGET: Final = Path("services/analyzer/segue_analyzer/rhythm/beat_network.npz")
RECORD: Final = Path("training/beats/record")


def main() -> int:
    """Write the weights as half floats, and beside this program their digest, the log and the manifest."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("manifests", type=Path, nargs="+")
    parser.add_argument("--log", type=Path, nargs="+", required=True)
    given = parser.parse_args()
    RECORD.mkdir(exist_ok=True)
    weights = {name: value.numpy() for name, value in torch.load(given.checkpoint, weights_only=True).items()}
    TARGET.write_bytes(packed(weights))
    rows = [row for path in given.manifests for row in json.loads(path.read_text())]
    (RECORD / "manifest.json").write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    stages = [json.loads(path.read_text()) for path in given.log]
    (RECORD / "log.json").write_text(json.dumps(stages).replace("}, {", "},\n {") + "\n")
    digest = hashlib.sha256(TARGET.read_bytes()).hexdigest()
    (RECORD / "digest.txt").write_text(f"{digest}  {TARGET}\n")
    return 0


def packed(weights: Mapping[str, NDArray[np.float32]]) -> bytes:
    """Return an npz of half floats whose bytes depend on nothing else."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name, value in weights.items():
            entry = io.BytesIO()
            np.save(entry, value.astype(np.float16))
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), entry.getvalue())
    return content.getvalue()


if __name__ == "__main__":
    sys.exit(main())
