"""Checks of one complete answer: its order, its chunks, its lengths, its stems and notes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from segue.audio.v1 import audio_pb2
from segue.music.v1 import music_pb2
from segue_renderer.conformance import examples
from segue_renderer.conformance.check import Check
from segue_renderer.conformance.outcome import CheckSkipped, require, require_none
from segue_renderer.conformance.profile_checks import layer_names, without_measurements
from segue_renderer.conformance.rendering import MIX
from segue_runtime.rpc.chunks import crc32c

if TYPE_CHECKING:
    from segue_renderer.conformance.rendering import Rendering
    from segue_renderer.conformance.target import Target

LOUDEST: Final = 16.0
LARGEST_OFFSET: Final = 0.1
LONGEST_TAIL_S: Final = 60.0
STEM_TOLERANCE: Final = 1e-4
PROGRESS_PER_S: Final = 10
MOST_CHUNK_BYTES: Final = 262_144


async def order(target: Target) -> str:
    """The answer begins with accepted and ends with finished, each once."""
    kinds = (await target.base()).kinds
    require(kinds, "the answer is empty")
    require("" not in kinds, "a message is empty")
    require(kinds[0] == "accepted", f"the answer begins with {kinds[0]}")
    require(kinds[-1] == "finished", f"the answer ends with {kinds[-1]}")
    for kind in ("accepted", "finished"):
        require(kinds.count(kind) == 1, f"{kind} comes {kinds.count(kind)} times")
    return f"{len(kinds)} messages"


async def accepted(target: Target) -> str:
    """Profile and format of accepted are those of the model."""
    found = (await target.base()).accepted
    form = found.format
    require(
        without_measurements(found.profile) == without_measurements(target.profile),
        "its profile is not the one that ListModels gives",
    )
    require(form.sample_format == audio_pb2.SAMPLE_FORMAT_F32LE, "its samples are not F32LE")
    require(form.sample_rate == target.sample_rate, f"its rate is {form.sample_rate}, not {target.sample_rate} Hz")
    require(form.channels == target.profile.channels, f"it has {form.channels} channels")
    if not found.HasField("declared_lufs"):
        return "no declared level"
    level = found.declared_lufs
    require(math.isfinite(level) and -70 <= level <= 6, f"declared_lufs is {level}")
    return f"declared level {level:.1f} LUFS"


async def progress(target: Target) -> str:
    """Progress never decreases, stays within its total, and comes at most ten times a second."""
    rendering = await target.base()
    done = [each.frames_done for each in rendering.progress if not each.queue_position]
    require(done == sorted(done), "frames_done decreases")
    for each in rendering.progress:
        require(0 <= each.frames_done <= each.frames_total, f"{each.frames_done} of {each.frames_total} frames")
    fractions = [each.fraction for each in rendering.progress if not each.queue_position]
    require(fractions == sorted(fractions), "fraction decreases")
    require(all(0 <= each <= 1 for each in fractions), f"fraction is {max(fractions, default=0)}")
    silent = target.profile.audio_at_end and not any(fractions)
    require(not silent, "the profile has audio_at_end, and no progress has a fraction")
    most = PROGRESS_PER_S * (rendering.seconds + 1)
    require(len(rendering.progress) <= most, f"{len(rendering.progress)} messages in {rendering.seconds:.1f} s")
    return f"{len(rendering.progress)} messages in {rendering.seconds:.1f} s"


async def chunks(target: Target) -> str:
    """Chunks of each layer are contiguous, whole, of the accepted format, and undamaged."""
    rendering = await target.base()
    require(rendering.chunks, "there is no audio")
    problems = []
    next_frames: dict[str, int] = {}
    for chunk in rendering.chunks:
        due = next_frames.get(chunk.layer, 0)
        where = f"{chunk.layer or 'mix'} at frame {chunk.first_frame}"
        if chunk.first_frame != due:
            problems.append(f"{where}: frame {due} was due")
        if len(chunk.data) != chunk.frames * rendering.channels * 4:
            problems.append(f"{where}: {len(chunk.data)} bytes are not {chunk.frames} frames")
        if len(chunk.data) > MOST_CHUNK_BYTES:
            problems.append(f"{where}: {len(chunk.data)} bytes, over the limit of {MOST_CHUNK_BYTES}")
        if chunk.crc32c != crc32c(chunk.data):
            problems.append(f"{where}: crc32c does not match")
        if chunk.format != rendering.accepted.format:
            problems.append(f"{where}: another format than accepted")
        next_frames[chunk.layer] = chunk.first_frame + chunk.frames
    require_none(problems)
    return f"{len(rendering.chunks)} chunks"


async def labels(target: Target) -> str:
    """Chunks repeat the section, the take key and the attempt of the start."""
    rendering = await target.base()
    start = rendering.start
    expected = (start.spec.section_id, start.take_key, start.attempt, audio_pb2.STAGE_TAKE)
    found = {(chunk.section_id, chunk.take, chunk.attempt, chunk.stage) for chunk in rendering.chunks}
    require(found == {expected}, f"section, take, attempt and stage are {sorted(found)}, not {expected}")
    return ""


async def samples(target: Target) -> str:
    """Samples are finite, neither silent nor far beyond full scale, and without an offset."""
    rendering = await target.base()
    problems = []
    for layer in rendering.layers:
        found = rendering.samples(layer)
        if not np.isfinite(found).all():
            problems.append(f"{layer or 'mix'} has samples that are not finite")
        elif len(found) and float(np.abs(found).max()) > LOUDEST:
            problems.append(f"{layer or 'mix'} has a sample of {float(np.abs(found).max()):.3g}")
    require_none(problems)
    mix = rendering.samples()
    require(mix.size and mix.any(), "the mix is silent")
    offset = float(np.abs(mix.mean(axis=0, dtype=np.float64)).max())
    require(offset <= LARGEST_OFFSET, f"the mix has an offset of {offset:.2g}")
    return f"peak {float(np.abs(mix).max()):.3f}"


async def length(target: Target) -> str:
    """The frames are those of the spec, and every layer has as many as finished says."""
    return _check_length(await target.base())


async def other_timeline(target: Target) -> str:
    """The frames are right for a timeline with another sample rate."""
    spec = examples.section(bars=1, sample_rate=44_100)
    rendering = await target.render(target.start_of(spec))
    expected = target.profile.sample_rate or 44_100
    require(rendering.accepted.format.sample_rate == expected, f"its rate is {rendering.accepted.format.sample_rate}")
    return _check_length(rendering)


async def overlap(target: Target) -> str:
    """Audio for the next join comes after the section's own frames, without changing their number."""
    asked = examples.SAMPLE_RATE // 2
    rendering = await target.render(target.start_of(examples.section(bars=1), overlap_frames=asked))
    detail = _check_length(rendering)
    rate = rendering.accepted.format.sample_rate
    tail_s = rendering.finished.tail_frames / rate
    require(tail_s <= asked / examples.SAMPLE_RATE + LONGEST_TAIL_S, f"the tail lasts {tail_s:.1f} s")
    return detail


def _check_length(rendering: Rendering) -> str:
    spec, finished = rendering.start.spec, rendering.finished
    rate = rendering.accepted.format.sample_rate
    expected = round(spec.frames * rate / spec.sample_rate)
    require(finished.frames == expected, f"it has {finished.frames} frames; the spec has {expected} at {rate} Hz")
    require(finished.tail_frames >= 0, f"tail_frames is {finished.tail_frames}")
    total = finished.frames + finished.tail_frames
    for layer in rendering.layers:
        sent = len(rendering.samples(layer))
        require(sent == total, f"{layer or 'mix'} has {sent} frames; finished says {total}")
    require(MIX in rendering.layers, "there is no mix")
    return f"{finished.frames} frames and a tail of {finished.tail_frames}"


async def finished(target: Target) -> str:
    """The last message reports what was done, and nothing that was not asked for."""
    rendering = await target.base()
    found = rendering.finished
    for what in ("conditioning", "following", "lyrics"):
        require(not getattr(found, f"{what}_applied"), f"{what}_applied is set, and none was sent")
    require(found.windows >= 1, "windows is 0")
    require(found.window_frames_used >= 0, f"window_frames_used is {found.window_frames_used}")
    for warning in found.warnings:
        require(warning.code and warning.text, "a warning has no code or no text")
        require(
            warning.section_id in {"", rendering.start.spec.section_id},
            f"a warning is about the section {warning.section_id!r}",
        )
    return f"{found.windows} window(s), warnings: {', '.join(rendering.warning_codes()) or 'none'}"


async def stems(target: Target) -> str:
    """The declared layers of the section come as stems, and they sum to the mix."""
    if not target.profile.layers:
        raise CheckSkipped("the profile declares no layers")
    rendering = await target.base()
    found = [layer for layer in rendering.layers if layer != MIX]
    declared = [*layer_names(target.profile), *target.profile.extra_stems]
    asked = [kind.name.lower() for kind in examples.LAYERS if kind.name.lower() in declared]
    require(set(found) <= set(declared), f"stems {sorted(set(found) - set(declared))} are not declared")
    require(set(asked) <= set(found), f"the layers {sorted(set(asked) - set(found))} are missing")
    mix = rendering.samples()
    total = np.zeros(mix.shape)
    for layer in found:
        require(len(rendering.samples(layer)) == len(mix), f"{layer} is not as long as the mix")
        total += rendering.samples(layer)
    worst = float(np.abs(total - mix).max()) if mix.size else 0.0
    require(worst <= STEM_TOLERANCE, f"the sum of the stems differs from the mix by {worst:.2g}")
    return f"{', '.join(found)}; the sum differs by {worst:.1g}"


async def notes(target: Target) -> str:
    """Notes come where the profile gives them: in time order, within the section, in known ranges."""
    if not target.profile.gives_notes:
        raise CheckSkipped("the profile gives no notes")
    found = (await target.base()).notes
    require(found, "there are no notes")
    ticks = [note.start_tick for note in found]
    require(ticks == sorted(ticks), "they are not in time order")
    for note in found:
        require(note.layer in music_pb2.LayerKind.values()[1:], f"a note has the layer {note.layer}")
        require(0 <= note.pitch <= 127 and 1 <= note.velocity <= 127, f"pitch {note.pitch}, velocity {note.velocity}")
        require(note.ticks > 0, "a note has no length")
    return f"{len(found)} notes"


async def only_asked(target: Target) -> str:
    """A call that asks for neither stems nor notes gets the mix alone."""
    rendering = await target.render(target.start_of(examples.section(bars=1)))
    require(rendering.layers == [MIX], f"layers {rendering.layers} came")
    require(not rendering.notes, "notes came")
    return ""


CHECKS: Final = (
    Check("order", "accepted comes first and once, finished last and once", order),
    Check("accepted", "accepted repeats the profile and gives the audio format", accepted),
    Check("progress", "progress never decreases and comes at most ten times a second", progress),
    Check("chunks", "chunks are contiguous per layer, whole, at most 256 KiB, with checksums", chunks),
    Check("labels", "chunks repeat section, take key and attempt of the start", labels),
    Check("samples", "samples are finite, audible, below +24 dBFS and without offset", samples),
    Check("length", "the frames are exactly those of the spec, in every layer", length),
    Check("timeline", "the frames are exact for a timeline of 44100 Hz", other_timeline),
    Check("overlap", "audio for the next join is a tail after the section's frames", overlap),
    Check("finished", "finished reports what was done", finished),
    Check("stems", "stems are the declared layers and sum to the mix", stems),
    Check("notes", "notes are in time order and in range", notes),
    Check("only-asked", "without stems and notes in the start only the mix comes", only_asked),
)
