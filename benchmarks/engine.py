"""MusicGen's step at its real sizes with random weights: ours against transformers, in one run.

    python benchmarks/engine.py [--size small] [--batches 1,4,8] [--positions 5,250,750,1480] [--threads 2]
                                [--device cpu|cuda] [--modes fp32,bf16,int8] [--quick]

`--device cuda` prints the same table with the floor that the memory's measured bandwidth sets.
"""

from __future__ import annotations

import argparse
import datetime as dt
import gc
import platform
import statistics
import time
from typing import TYPE_CHECKING, Any

from segue_renderer.musicgen import threads

threads.prepare()

import torch  # noqa: E402 - after the threads' settings
import transformers  # noqa: E402 - the same

from segue_renderer.musicgen.checkpoint.tensors import Tensors  # noqa: E402 - the same
from segue_renderer.musicgen.config import CodecConfig, DecoderConfig  # noqa: E402 - the same
from segue_renderer.musicgen.device import Place  # noqa: E402 - the same
from segue_renderer.musicgen.model import sampling  # noqa: E402 - the same
from segue_renderer.musicgen.model.caches import Caches, bytes_a_slot  # noqa: E402 - the same
from segue_renderer.musicgen.model.codec import Codec  # noqa: E402 - the same
from segue_renderer.musicgen.model.decoder import Decoder  # noqa: E402 - the same
from segue_renderer.musicgen.model.streaming import StreamDecoder  # noqa: E402 - the same

if TYPE_CHECKING:
    from collections.abc import Callable

HF: Any = transformers
SIZES = {"small": (1024, 24, 16), "medium": (1536, 48, 24), "large": (2048, 48, 32), "tiny": (64, 2, 4)}
FRAME_MS = 20.0
TEXT = 16
POSITIONS = 1504
BUCKET = 64


class RandomTensors(Tensors):
    """Weights of any shape, small enough to stay numbers."""

    def __init__(self, seed: int = 1) -> None:
        super().__init__("chance", {})
        self._chance = torch.Generator().manual_seed(seed)

    def below(self, scope: str) -> Tensors:  # noqa: ARG002 - all scopes are alike
        """All scopes are alike."""
        return self

    def take(self, name: str, *shape: int) -> torch.Tensor:
        """Return random weights."""
        if name.endswith("norm.weight"):
            return torch.ones(shape)
        return torch.randn(shape, generator=self._chance) * 0.02


def decoder_config(size: str) -> DecoderConfig:
    """Return the sizes of a published model."""
    hidden, layers, heads = SIZES[size]
    return DecoderConfig(2048, hidden, layers, heads, 4 * hidden, 4, 1)


class Ours:
    """Our decoder in one precision, with caches for the largest batch."""

    def __init__(self, config: DecoderConfig, place: Place, batch: int) -> None:
        self.name = f"ours {place.precision}"
        self._decoder = Decoder(config, RandomTensors(), precision=place.precision, device=place.device)
        self._decoder.reserve(POSITIONS)
        self._caches = Caches(
            config, slots=batch, positions=POSITIONS, text_positions=TEXT, dtype=place.cache_dtype, device=place.device
        )
        chance = torch.Generator().manual_seed(3)
        for tensor in (*self._caches.keys, *self._caches.values, *self._caches.text_keys, *self._caches.text_values):
            # The same for every precision: their logits are compared.
            tensor.copy_(torch.randn(tensor.shape, generator=chance) * 0.1)
        self._settings = sampling.Settings.make(batch, place.device)
        for slot in range(batch):
            self._settings.put(slot, guidance=3.0, temperature=1.0, top_k=250, top_p=0.0, seed=slot)
        self._device = place.device

    def logits(self, batch: int, position: int) -> torch.Tensor:
        """Compute one step's logits."""
        codes = torch.arange(batch * 4, device=self._device).view(batch, 4)
        positions = torch.full((batch,), position, device=self._device)
        mask = torch.ones(batch, TEXT, dtype=torch.bool, device=self._device)
        used = -(-(position + 1) // BUCKET) * BUCKET
        found = self._decoder.step(codes, positions, mask, self._caches, min(used, POSITIONS))
        return sampling.guided(found, self._settings.guidance[:batch])

    def step(self, batch: int, position: int) -> None:
        """Compute and sample one step."""
        columns = torch.full((batch,), position, device=self._device)
        sampling.choose(self.logits(batch, position), columns, self._settings)


class Theirs:
    """Transformers' decoder in one precision, its step with a cache of the wanted length.

    Guidance, top-k and the choice are added as its `generate` does them; the bookkeeping of `generate` is left out.
    """

    def __init__(self, config: DecoderConfig, precision: str, device: torch.device) -> None:
        self.name = f"transformers {precision}"
        self._config = config
        self._dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        given = HF.MusicgenDecoderConfig(
            hidden_size=config.hidden_size,
            num_hidden_layers=config.num_layers,
            ffn_dim=config.ffn_size,
            num_attention_heads=config.num_heads,
        )
        self._model = HF.MusicgenForCausalLM(given).eval().to(device, self._dtype)
        self._device = device
        self._held: tuple[tuple[int, int], Any] | None = None

    def step(self, batch: int, position: int) -> None:
        """Compute and sample one step."""
        rows, config = 2 * batch, self._config
        cache = self._cache(rows, position)
        text = torch.zeros(rows, TEXT, config.hidden_size, dtype=self._dtype, device=self._device)
        out = self._model(
            input_ids=torch.zeros(rows * 4, 1, dtype=torch.long, device=self._device),
            encoder_hidden_states=text,
            past_key_values=cache,
            use_cache=True,
        ).logits[:, -1]
        prompted, free = out.float().chunk(2)
        mixed = free + (prompted - free) * 3.0
        mixed = mixed.masked_fill(mixed < torch.topk(mixed, 250)[0][..., -1, None], -torch.inf)
        torch.multinomial(torch.softmax(mixed, dim=-1), 1)
        cache.self_attention_cache.crop(-1)

    def _cache(self, rows: int, position: int) -> Any:
        if self._held is None or self._held[0] != (rows, position):
            self._held = None
            cache = HF.EncoderDecoderCache(HF.DynamicCache(), HF.DynamicCache())
            shape = (rows, self._config.num_heads, position, self._config.head_size)
            for layer in range(self._config.num_layers):
                states = torch.randn(shape, device=self._device).to(self._dtype)
                cache.self_attention_cache.update(states, states.clone(), layer)
            self._held = ((rows, position), cache)
        return self._held[1]


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Return milliseconds."""
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - began)


def bandwidth(device: torch.device) -> float:
    """Return the read bandwidth in GB/s: the best of several sums over a block that no cache holds."""
    block = torch.ones((1 << 30 if device.type == "cuda" else 1 << 28), dtype=torch.float32, device=device)
    return max(float(block.nbytes) / timed(block.sum, device) / 1e6 for _ in range(6))


def steps(arguments: argparse.Namespace, device: torch.device) -> None:
    """Print the table of steps."""
    config = decoder_config(arguments.size)
    batches = [int(each) for each in arguments.batches.split(",")]
    positions = [int(each) for each in arguments.positions.split(",")]
    players: list[Ours | Theirs] = [Theirs(config, "fp32", device), Theirs(config, "bf16", device)]
    players += [Ours(config, Place(device, mode), max(batches)) for mode in arguments.modes.split(",")]
    gc.collect()
    print(
        "| batch | position | "
        + " | ".join(player.name for player in players)
        + " | best of ours / fp32 of theirs | / best of theirs |"
    )
    print("|---|---|" + "---|" * (len(players) + 2))
    for batch in batches:
        for position in positions:
            times: dict[str, list[float]] = {player.name: [] for player in players}
            # One after the other within each round: what else runs on the machine meets all alike.
            for repeat in range(1 + arguments.repeats):
                for player in players:
                    spent = timed(lambda player=player: player.step(batch, position), device)  # type: ignore[misc]  # noqa: B023 - called at once
                    if repeat:
                        times[player.name].append(spent)
            found = {name: statistics.median(each) for name, each in times.items()}
            theirs = [found[player.name] for player in players if isinstance(player, Theirs)]
            ours = min(found[player.name] for player in players if isinstance(player, Ours))
            cells = " | ".join(f"{found[player.name]:.0f} ms" for player in players)
            print(
                f"| {batch} | {position} | {cells} | {theirs[0] / ours:.2f} x | {min(theirs) / ours:.2f} x |",
                flush=True,
            )
    exact = next((player for player in players if player.name == "ours fp32"), None)
    if isinstance(exact, Ours):
        reference = exact.logits(1, 5)
        for player in players:
            if isinstance(player, Ours) and player is not exact:
                error = (player.logits(1, 5) - reference).norm() / reference.norm()
                print(f"\n{player.name}: logits after guidance differ from fp32 by {100 * float(error):.1f} % (norm)")


def codec(device: torch.device, repeats: int) -> None:
    """Print how fast sound is decoded, in pieces and whole."""
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
    print(
        f"\nEnCodec, 5 s of sound: whole {5000 / whole:.1f} x real time, in pieces of 25 frames {5000 / chunked:.1f} x"
    )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--batches", default="1,4,8")
    parser.add_argument("--positions", default="5,250,750,1480")
    parser.add_argument("--modes", default="")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: there is no GPU that this torch can use")
    arguments.modes = arguments.modes or ("bf16,fp32" if device.type == "cuda" else "fp32,bf16,int8")
    config = decoder_config(arguments.size)
    machine = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    today = dt.datetime.now(tz=dt.UTC).date()
    print(f"MusicGen {arguments.size}, random weights, guidance 3, {machine}, {arguments.threads} threads, {today}")
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    print(f"{versions}; medians of {arguments.repeats}, all modes in turn")
    read = bandwidth(device)
    weights = 14 * config.hidden_size**2 * config.num_layers + 4 * 2048 * config.hidden_size
    print(
        f"memory reads {read:.0f} GB/s: the weights alone take {4 * weights / read / 1e6:.1f} ms a step in fp32, "
        f"{2 * weights / read / 1e6:.1f} in bf16, {weights / read / 1e6:.1f} in int8; 20 ms is real time"
    )
    for mode in arguments.modes.split(","):
        each = bytes_a_slot(config, POSITIONS, 128, Place(device, mode).cache_dtype)
        print(f"one slot of 30 s in {mode}: {each / 2**20:.0f} MiB")
    print()
    with torch.inference_mode():
        steps(arguments, device)
        codec(device, arguments.repeats)


if __name__ == "__main__":
    main()
