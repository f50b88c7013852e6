"""MusicGen's step at its real sizes with random weights: ours against transformers, in one run.

    python -m benchmarks.engine [--size small] [--batches 1,4,8] [--positions 5,250,750,1480] [--threads 2]
                                [--device cpu|cuda] [--modes bf16,int8] [--repeats 7] [--keep FILE]

`--device cuda` first plays the plain loop against the captured graphs, then prints the same table. Every table has the
floor: the time that reading weights, keys and values once takes at the memory's measured bandwidth. `--keep` stores
finished rows, so that an interrupted run can be resumed. On the CPU a mode as `fp32+graphs` dry-runs what a GPU does.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from benchmarks.engine_players import COLUMNS, SIZES, Ours, RandomTensors, Theirs, decoder_config  # isort: skip

import torch
import transformers

from benchmarks import report
from segue_renderer.musicgen.config import CodecConfig
from segue_renderer.musicgen.device import ComputeDevice
from segue_renderer.musicgen.model.caches import ROWS_PER_SLOT, bytes_per_slot
from segue_renderer.musicgen.model.codec import Codec
from segue_renderer.musicgen.model.stream_decoder import StreamDecoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from segue_renderer.musicgen.config import DecoderConfig
    from segue_renderer.musicgen.model.caches import Caches

WIDTH = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}
PARITY_STEPS = 100


Player: TypeAlias = Ours | Theirs


@dataclass
class Kept:
    """Measured rows in a file."""

    path: Path | None
    rows: dict[str, dict[str, float]]

    @classmethod
    def open(cls, path: Path | None) -> Kept:
        """Read the rows of an earlier run."""
        return cls(path, json.loads(path.read_text()) if path is not None and path.is_file() else {})

    def put(self, key: str, row: dict[str, float]) -> None:
        """Write a row."""
        self.rows[key] = row
        if self.path is not None:
            self.path.write_text(json.dumps(self.rows, indent=1))


def timed(work: Callable[[], object], device: torch.device, times: int = 1) -> float:
    """Return milliseconds per call."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(times):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - began) / times


def bandwidth(device: torch.device) -> float:
    """Return the read bandwidth in GB/s: the best of several sums over a block that no cache holds."""
    block = torch.ones((1 << 30 if device.type == "cuda" else 1 << 28), dtype=torch.float32, device=device)
    return max(float(block.nbytes) / timed(block.sum, device) / 1e6 for _ in range(20))


def floor_ms(config: DecoderConfig, player: Ours, batch: int, position: int, read: float) -> float:
    """Return how long reading the weights once, and every row's keys and values, takes at `read` GB/s."""
    weights = (14 * config.hidden_size**2 * config.num_layers + 4 * 2048 * config.hidden_size) * WIDTH[player.precision]
    cached = 2 * config.num_layers * config.hidden_size * player.dtype.itemsize * ROWS_PER_SLOT * batch * position
    return float(weights + cached) / read / 1e6


def measure(players: list[Player], batch: int, position: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Return each player's median; players take turns within each round, so that other processes affect all alike."""
    device = torch.device(arguments.device)
    times: dict[str, list[float]] = {player.name: [] for player in players}
    for repeat in range(1 + arguments.repeats):
        for player in players:
            player.prepare(batch, position)
            spent = timed(partial(player.step, batch), device, 16 if device.type == "cuda" else 4)
            if repeat:
                times[player.name].append(spent)
    return {name: statistics.median(found) for name, found in times.items()}


def players_of(arguments: argparse.Namespace, config: DecoderConfig, slots: int) -> list[Player]:
    """Load all players. Modes with the same type of keys and values share them to save memory."""
    device = torch.device(arguments.device)
    players: list[Player] = [Theirs(config, one, device) for one in arguments.theirs.split(",") if one]
    shared: dict[torch.dtype, Caches] = {}
    for mode in arguments.modes.split(","):
        dtype = ComputeDevice(device, mode.partition("+")[0]).cache_dtype
        players.append(Ours(config, mode, device, slots, None if "+" in mode else shared.get(dtype)))
        shared.setdefault(dtype, players[-1].runner.caches)  # type: ignore[union-attr]  # it was appended just now
    return players


def steps(arguments: argparse.Namespace, config: DecoderConfig, read: float) -> None:
    """Print the table of steps."""
    batches = [int(each) for each in arguments.batches.split(",")]
    positions = [int(each) for each in arguments.positions.split(",")]
    kept = Kept.open(arguments.keep)
    players = players_of(arguments, config, max(batches))
    ours = [player for player in players if isinstance(player, Ours)]
    theirs = [player for player in players if isinstance(player, Theirs)]
    columns = ["batch", "position", *(player.name for player in players)]
    columns += ["best of ours", "/ first of theirs", "/ best of theirs", "its floor", "of the floor"]
    print("\n| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for batch in batches:
        for position in positions:
            key = f"{arguments.size} {arguments.device} {arguments.threads} {batch} {position} {arguments.modes}"
            if key not in kept.rows:
                kept.put(key, measure(players, batch, position, arguments))
            found = kept.rows[key]
            best = min(ours, key=lambda player: found[player.name])
            cells: list[object] = [batch, position, *(f"{found[player.name]:.1f} ms" for player in players), best.name]
            others = [found[player.name] for player in theirs]
            cells += [f"{other / found[best.name]:.2f} x" for other in ((others[0], min(others)) if others else ())]
            floor = floor_ms(config, best, batch, position, read)
            cells += [f"{floor:.1f} ms", f"{100 * floor / found[best.name]:.0f} %"]
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)
        for player in theirs:
            player.forget()
        gc.collect()
    print()


def errors_of_modes(arguments: argparse.Namespace, config: DecoderConfig, device: torch.device) -> None:
    """Print how far each precision's logits are from those in fp32."""
    exact = Ours(config, "fp32", device, 1, None).logits(1, 250)
    for precision in dict.fromkeys(mode.partition("+")[0] for mode in arguments.modes.split(",")):
        if precision != "fp32":
            error = (Ours(config, precision, device, 1, None).logits(1, 250) - exact).norm() / exact.norm()
            print(f"{precision}: logits after guidance differ from fp32 by {100 * float(error):.1f} % (norm)")


def parity(arguments: argparse.Namespace, config: DecoderConfig, device: torch.device) -> None:
    """Play the plain loop and the captured graphs side by side and compare."""
    for precision in dict.fromkeys(mode.partition("+")[0] for mode in arguments.modes.split(",") if "+" in mode):
        plain, captured = (Ours(config, mode, device, 2, None) for mode in (precision, f"{precision}+graphs"))
        worst, differing = 0.0, 0
        for player in (plain, captured):
            player.prepare(2, 240)
        for _ in range(PARITY_STEPS):
            for player in (plain, captured):
                player.step(2)
            one, other = (player.runner.last_logits[:2].float() for player in (plain, captured))
            worst = max(worst, float((one - other).norm() / one.norm()))
        one_codes, other_codes = (player.runner.frames(1, 240, PARITY_STEPS - 4) for player in (plain, captured))
        differing = int((one_codes != other_codes).sum())
        print(
            f"graphs against the plain loop, {precision}, {PARITY_STEPS} steps: logits differ by at most "
            f"{100 * worst:.4f} % (norm), {differing} of {one_codes.size} codes differ"
        )


def codec(device: torch.device, repeats: int) -> None:
    """Print the speed of decoding audio, in parts and as a whole."""
    config = CodecConfig(
        sample_rate=32_000, hidden_size=128, num_filters=64, ratios=(8, 5, 4, 4), codebook_size=2048, num_codebooks=4
    )
    decoder = Codec(config, RandomTensors(), device)
    codes = torch.randint(0, 2048, (4, 250))

    def pieces() -> None:
        stream = StreamDecoder(decoder, 1)
        for first in range(0, 250, 25):
            stream.push(codes[:, first : first + 25], last=first == 225)

    whole = statistics.median(timed(lambda: decoder.decode(codes[None].to(device)), device) for _ in range(repeats))
    chunked = statistics.median(timed(pieces, device) for _ in range(repeats))
    print(f"EnCodec, 5 s of sound: whole {5000 / whole:.1f} x real time, in pieces of 25 frames {5000 / chunked:.1f} x")


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--batches", default="")
    parser.add_argument("--positions", default="5,250,750,1480")
    parser.add_argument("--modes", default="")
    parser.add_argument("--theirs", default="fp32,bf16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--keep", type=Path, help="file in which finished rows are remembered")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: there is no GPU that this torch can use")
    on_gpu = device.type == "cuda"
    arguments.modes = arguments.modes or ("bf16,bf16+graphs,fp16+graphs" if on_gpu else "bf16,int8")
    arguments.batches = arguments.batches or ("1,4,8,32" if on_gpu else "1,4,8")
    config = decoder_config(arguments.size)
    report.heading(f"A step of MusicGen {arguments.size}")
    where = f"{torch.cuda.get_device_name()}; " if on_gpu else f"{arguments.threads} threads; "
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    print(f"Random weights, guidance 3; {where}{versions}; medians of {arguments.repeats}, all modes in turn.")
    with torch.inference_mode():
        read = bandwidth(device)
        print(f"Memory reads {read:.0f} GB/s. 20 ms a step is real time.\n")
        for mode in dict.fromkeys(mode.partition("+")[0] for mode in arguments.modes.split(",")):
            place = ComputeDevice(device, mode)
            each = bytes_per_slot(config, COLUMNS, 128, place.cache_dtype, place.dtype)
            print(f"One slot of 30 s in {mode}: {each / 2**20:.0f} MiB.")
        errors_of_modes(arguments, config, device)
        parity(arguments, config, device)
        codec(device, arguments.repeats)
        gc.collect()
        steps(arguments, config, read)


if __name__ == "__main__":
    main()
