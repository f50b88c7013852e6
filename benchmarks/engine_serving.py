"""The engine through RenderSection: published sizes, random weights, loaded like a user's folder.

    python benchmarks/engine_serving.py [--precision int8] [--seconds 4] [--together 1,4] [--threads 2]

Prints load time, time to the first audio, real time factor, cancel-to-free-slot in steps, and memory per slot.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import os
import platform
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from segue_renderer.musicgen.factory import prepare_threads

prepare_threads()
os.environ["HF_HUB_OFFLINE"] = "1"

import sentencepiece  # noqa: E402 - after the threads' settings
import torch  # noqa: E402 - the same
import transformers  # noqa: E402 - the same

from segue.renderer.v1 import renderer_pb2, renderer_pb2_grpc  # noqa: E402 - the same
from segue_music import codec  # noqa: E402 - the same
from segue_music.elements import Metre, TempoPoint  # noqa: E402 - the same
from segue_music.plan import Role, SectionSpec  # noqa: E402 - the same
from segue_renderer.hosting.model_host import ModelHost  # noqa: E402 - the same
from segue_renderer.musicgen.backend import MusicgenBackend  # noqa: E402 - the same
from segue_renderer.registry import band_melody  # noqa: E402 - the same
from segue_renderer.service import SERVICE, RendererService  # noqa: E402 - the same
from segue_runtime import logs  # noqa: E402 - the same
from segue_runtime.rpc import channels  # noqa: E402 - the same
from segue_runtime.rpc.server import Server, Service  # noqa: E402 - the same
from segue_runtime.settings import MusicgenSettings, Settings  # noqa: E402 - the same

HF: Any = transformers
RATE = 32_000


def write_checkpoint(folder: Path) -> None:
    """Write `small` with random weights in the Hugging Face layout."""
    torch.manual_seed(1)
    text = HF.T5Config(vocab_size=32_128, d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12)
    sound = HF.EncodecConfig(
        target_bandwidths=[2.2],
        sampling_rate=RATE,
        num_filters=64,
        upsampling_ratios=[8, 5, 4, 4],
        codebook_size=2048,
        codebook_dim=128,
        use_causal_conv=False,
        use_conv_shortcut=False,
    )
    config = HF.MusicgenConfig(text_encoder=text, audio_encoder=sound, decoder=HF.MusicgenDecoderConfig())
    HF.MusicgenForConditionalGeneration(config).to(torch.bfloat16).save_pretrained(folder)
    corpus = folder / "corpus.txt"
    corpus.write_text(
        "rainy lo-fi with soft keys\nsunny funk with slap bass\na calm intro of strings\n", encoding="utf-8"
    )
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(folder / "spiece"),
        vocab_size=60,
        model_type="unigram",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )


def start_of(seconds: float, seed: int) -> Any:
    """Return the message that requests a section."""
    spec = SectionSpec(
        section_id="verse",
        role=Role.VERSE,
        bars=1,
        frames=round(seconds * RATE),
        sample_rate=RATE,
        metre=Metre(4, 4),
        tempo_points=(TempoPoint(0, 120.0),),
        energy=(0.5,),
        prompt="rainy lo-fi with soft keys",
    )
    start = renderer_pb2.RenderStart(spec=codec.section_to_message(spec), seed=seed, take_key="take", attempt=1)
    return iter([renderer_pb2.RenderSectionRequest(start=start)])


async def render(stub: Any, seconds: float, seed: int) -> tuple[float, float]:
    """Return the seconds to the first audio and to the end."""
    began = time.perf_counter()
    first = 0.0
    async for message in stub.RenderSection(start_of(seconds, seed)):
        if message.WhichOneof("message") == "audio" and not first:
            first = time.perf_counter() - began
    return first, time.perf_counter() - began


async def cancel(stub: Any, backend: MusicgenBackend) -> int:
    """Return the steps from a cancel, as the caller makes it, to the free slot."""
    call = stub.RenderSection(start_of(600, 5))
    async for message in call:
        if message.WhichOneof("message") == "audio":
            break
    before = backend.num_steps
    call.cancel()
    while backend.status().busy_slots:  # noqa: ASYNC110 - this wait is measured
        await asyncio.sleep(0.001)
    return backend.num_steps - before


async def measure(arguments: argparse.Namespace, folder: Path) -> None:
    """Serve the folder and print the table."""
    counts = [int(each) for each in arguments.together.split(",")]
    settings = Settings(home=folder)
    given = MusicgenSettings(
        model=str(folder),
        device=arguments.device,
        precision=arguments.precision,
        threads=arguments.threads,
        slots=max(counts),
    )
    backend = MusicgenBackend(given)
    began = time.perf_counter()
    await backend.load()
    alone = backend.profiles[0].real_time_factor
    print(f"load, allocate, warm up: {time.perf_counter() - began:.1f} s; alone {alone:.2f} x real time\n")
    service = RendererService(ModelHost.of(backend), band_melody)

    def register(server: Any) -> None:
        renderer_pb2_grpc.add_RendererServiceServicer_to_server(service, server)

    server = Server(settings.server, [Service(SERVICE, register)])
    address = server.listen(f"unix:{folder}/r.sock")
    await server.start()
    print("| sections at once | first audio, median | real time factor of each | of all together |\n|---|---|---|---|")
    async with channels.connect(address) as channel:
        stub: Any = renderer_pb2_grpc.RendererServiceStub(channel)
        for count in counts:
            began = time.perf_counter()
            found = await asyncio.gather(*(render(stub, arguments.seconds, seed) for seed in range(count)))
            whole = time.perf_counter() - began
            first = sorted(each[0] for each in found)[count // 2]
            each = arguments.seconds / max(end for _, end in found)
            print(f"| {count} | {first:.1f} s | {each:.2f} x | {count * arguments.seconds / whole:.2f} x |", flush=True)
        print(f"\ncancel, as the caller makes it, to free slot: {await cancel(stub, backend)} steps")
    await server.stop(0)
    await backend.close()


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--together", default="1,4")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    logs.configure(replace(Settings(home=Path()).log, level="error"))
    today = dt.datetime.now(tz=dt.UTC).date()
    machine = platform.processor() or platform.machine()
    print(f"MusicGen small, random weights, {arguments.precision}, {machine}, {arguments.threads} threads, {today}")
    with tempfile.TemporaryDirectory() as found:
        write_checkpoint(Path(found))
        asyncio.run(measure(arguments, Path(found)))


if __name__ == "__main__":
    main()
