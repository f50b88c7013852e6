"""The decoders that the engine's benchmark compares: our runner and transformers, at real sizes with random weights."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from segue_renderer.musicgen.factory import prepare_threads

prepare_threads()

import torch  # noqa: E402 - after the threads' settings
import transformers  # noqa: E402 - the same

from segue_renderer.musicgen import graphs  # noqa: E402 - the same
from segue_renderer.musicgen.checkpoint.tensors import Tensors  # noqa: E402 - the same
from segue_renderer.musicgen.config import DecoderConfig  # noqa: E402 - the same
from segue_renderer.musicgen.device import ComputeDevice  # noqa: E402 - the same
from segue_renderer.musicgen.model.decoder import Decoder  # noqa: E402 - the same
from segue_renderer.musicgen.runner import BatchRunner, Conditions, SamplingParams  # noqa: E402 - the same

if TYPE_CHECKING:
    from collections.abc import Callable

    from segue_renderer.musicgen.model.caches import Caches

HF: Any = transformers
SIZES = {"small": (1024, 24, 16), "medium": (1536, 48, 24), "large": (2048, 48, 32), "tiny": (64, 2, 4)}
TEXT = 16
COLUMNS = 1504


class RandomTensors(Tensors):
    """Weights of any shape, small enough to stay numbers."""

    def __init__(self, seed: int = 1) -> None:
        super().__init__("chance", {})
        self._chance = torch.Generator().manual_seed(seed)

    def scoped(self, scope: str) -> Tensors:  # noqa: ARG002 - all scopes are alike
        """All scopes are alike."""
        return self

    def pop(self, name: str, *shape: int) -> torch.Tensor:
        """Return random weights."""
        if name.endswith("norm.weight"):
            return torch.ones(shape)
        return torch.randn(shape, generator=self._chance) * 0.02


def decoder_config(size: str) -> DecoderConfig:
    """Return the sizes of a published model."""
    hidden, layers, heads = SIZES[size]
    return DecoderConfig(2048, hidden, layers, heads, 4 * hidden, 4, 1)


class PlainCapture:
    """A capture without a GPU: a replay runs the work again, call by call."""

    def capture(self, work: Callable[[], None]) -> graphs.Graph:
        """Keep the work."""
        work()
        return SimpleNamespace(replay=work)


class Ours:
    """Our runner in one mode; a mode is a precision, with `+graphs` for captured steps."""

    def __init__(
        self, config: DecoderConfig, mode: str, device: torch.device, slots: int, shared: Caches | None
    ) -> None:
        self.name = f"ours {mode}"
        self.precision, _, captured = mode.partition("+")
        self.dtype = ComputeDevice(device, self.precision).cache_dtype
        decoder = Decoder(config, RandomTensors(), precision=self.precision, device=device)
        model: Any = SimpleNamespace(config=SimpleNamespace(decoder=config, melody=None), decoder=decoder)
        self.runner = BatchRunner(model, slots=slots, columns=COLUMNS, text_positions=TEXT, cache_dtype=self.dtype)
        self._hidden = config.hidden_size
        if shared is None:
            self._fill()
        else:
            self.runner.caches = shared
        if captured:
            began = time.perf_counter()
            num = self.runner.capture(graphs.CudaStepCapture(device) if device.type == "cuda" else PlainCapture())
            print(f"{self.name}: {num} graphs in {time.perf_counter() - began:.1f} s")
            self._fill()
        text = torch.randn(TEXT, config.hidden_size, generator=torch.Generator().manual_seed(4))
        nothing = self.runner.pattern.layout(torch.zeros(4, 0, dtype=torch.int64).numpy(), COLUMNS - 4)
        for slot in range(slots):
            self.runner.begin(slot, nothing, 1, Conditions(text, None), SamplingParams(seed=slot))

    def _fill(self) -> None:
        chance = torch.Generator().manual_seed(3)
        for tensor in self.runner.caches.codes:
            # The same in every slot and precision: their logits are compared.
            one = torch.randn(tensor.shape[1:], generator=chance) * 0.1
            tensor.copy_(one.expand(tensor.shape))

    def prepare(self, batch: int, position: int) -> None:
        """Put the first `batch` slots at a position."""
        self.position = position
        for slot in range(batch):
            self.runner.jump(slot, position)

    def step(self, batch: int) -> None:
        """Step and sample."""
        self.position += 1
        self.runner.step(batch, self.position)

    def logits(self, batch: int, position: int) -> torch.Tensor:
        """Return one step's logits after guidance."""
        self.prepare(batch, position)
        self.step(batch)
        return self.runner.last_logits[:batch].float().cpu()


class Theirs:
    """Transformers' decoder in one precision, its step with a cache of the wanted length.

    Guidance, top-k and the choice are added as in its `generate`, without the bookkeeping of `generate`.
    """

    def __init__(self, config: DecoderConfig, precision: str, device: torch.device) -> None:
        self.name = f"transformers {precision}"
        self.precision = precision
        self._config = config
        self._dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        given = HF.MusicgenDecoderConfig(
            hidden_size=config.hidden_size,
            num_hidden_layers=config.num_layers,
            ffn_dim=config.ffn_size,
            num_attention_heads=config.num_heads,
        )
        self._model = HF.MusicgenForCausalLM(given).eval().to(device, self._dtype)
        self._device = device
        self._position = 0
        self._cache: Any = None

    def prepare(self, batch: int, position: int) -> None:
        """Make a cache of a length, or cut it back to it."""
        rows = 2 * batch
        cache = self._cache
        if cache is not None and cache.self_attention_cache.layers[0].keys.shape[0] == rows:
            length = int(cache.self_attention_cache.get_seq_length())
            if position <= length:
                if position < length:
                    cache.self_attention_cache.crop(position - length)
                return
        self._cache = None
        cache = HF.EncoderDecoderCache(HF.DynamicCache(), HF.DynamicCache())
        states = torch.randn(rows, self._config.num_heads, position, self._config.head_size).to(self._dtype)
        for layer in range(self._config.num_layers):
            cache.self_attention_cache.update(
                states.to(self._device, copy=True), states.to(self._device, copy=True), layer
            )
        self._cache = cache

    def forget(self) -> None:
        """Release the cache."""
        self._cache = None

    def step(self, batch: int) -> None:
        """Compute and sample one step."""
        rows, config = 2 * batch, self._config
        text = torch.zeros(rows, TEXT, config.hidden_size, dtype=self._dtype, device=self._device)
        out = self._model(
            input_ids=torch.zeros(rows * 4, 1, dtype=torch.long, device=self._device),
            encoder_hidden_states=text,
            past_key_values=self._cache,
            use_cache=True,
        ).logits[:, -1]
        prompted, free = out.float().chunk(2)
        mixed = free + (prompted - free) * 3.0
        mixed = mixed.masked_fill(mixed < torch.topk(mixed, 250)[0][..., -1, None], -torch.inf)
        torch.multinomial(torch.softmax(mixed, dim=-1), 1)
