"""Tiny random checkpoints in the layout of published ONNX files of the demucs family."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WINDOW = 11_025
"""A quarter of a second; published files have 343 980 frames."""
TAPS = 9


def write_checkpoint(
    path: Path, *, seed: int = 1, window: int = WINDOW, stems: int = 4, weights: Sequence[float] | None = None
) -> str:
    """Write a network of two random convolutions, or of one gain for each stem; return the SHA-256 of the file."""
    rng = np.random.default_rng(seed)
    if weights is None:
        first = rng.standard_normal((6, 2, TAPS)).astype(np.float32) * 0.3
        last = rng.standard_normal((2 * stems, 6, TAPS)).astype(np.float32) * 0.1
    else:  # the channels as they are, then the gains
        first = np.zeros((2, 2, TAPS), np.float32)
        first[[0, 1], [0, 1], TAPS // 2] = 1.0
        last = np.zeros((2 * stems, 2, TAPS), np.float32)
        for stem, gain in enumerate(weights):
            last[2 * stem, 0, TAPS // 2] = last[2 * stem + 1, 1, TAPS // 2] = gain
    pads = [TAPS // 2, TAPS // 2]
    middle = ["Tanh"] if weights is None else ["Identity"]
    nodes = [
        helper.make_node("Conv", ["mix", "first"], ["a"], pads=pads),
        helper.make_node(middle[0], ["a"], ["b"]),
        helper.make_node("Conv", ["b", "last"], ["c"], pads=pads),
        helper.make_node("Reshape", ["c", "shape"], ["stems"]),
    ]
    shape = np.array([1, stems, 2, window], np.int64)
    tensors = {"first": first, "last": last, "shape": shape}
    return save(path, nodes, tensors, [1, 2, window], [1, stems, 2, window])


def save(path: Path, nodes: list[Any], tensors: dict[str, Any], taken: list[int], given: list[int]) -> str:
    """Write a network; return the SHA-256 of the file."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("mix", TensorProto.FLOAT, taken)],
        [helper.make_tensor_value_info("stems", TensorProto.FLOAT, given)],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return hashlib.sha256(path.read_bytes()).hexdigest()
