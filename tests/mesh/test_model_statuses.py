"""The states of models in the whole pool: the best state, and the slots and memory of all renderers together."""

from __future__ import annotations

from io import StringIO

from google.protobuf.duration_pb2 import Duration
from rich.console import Console

from segue.renderer.v1 import renderer_pb2
from segue_composition.model_statuses import model_statuses
from segued.output.model_view import write_models

COLD, LOADING, WARM, FAILED = (
    renderer_pb2.MODEL_STATE_COLD,
    renderer_pb2.MODEL_STATE_LOADING,
    renderer_pb2.MODEL_STATE_WARM,
    renderer_pb2.MODEL_STATE_FAILED,
)
BAND = renderer_pb2.ModelProfile(model="band")
SMALL = renderer_pb2.ModelProfile(model="small", memory_bytes=5)


def status(state: renderer_pb2.ModelState.ValueType, load_s: int = -1, reason: str = "") -> renderer_pb2.ModelStatus:
    time = Duration(seconds=load_s) if load_s >= 0 else None
    memory = 5 if state == WARM else 0
    return renderer_pb2.ModelStatus(
        model="small", state=state, slots=4, busy_slots=1, load_time=time, reason=reason, memory_bytes=memory
    )


def renderer(
    each: renderer_pb2.ModelStatus, state: renderer_pb2.RendererState.ValueType = renderer_pb2.RENDERER_STATE_READY
) -> renderer_pb2.GetStatusResponse:
    return renderer_pb2.GetStatusResponse(slots=4, models=[SMALL], model_statuses=[each], state=state)


def test_the_best_state_counts_and_slots_are_added() -> None:
    found = model_statuses([BAND, SMALL], [renderer(status(COLD, 30)), renderer(status(WARM)), renderer(status(WARM))])
    assert [each.model for each in found] == ["band", "small"]
    assert (found[0].state, found[0].slots, bool(found[0].reason)) == (FAILED, 0, True), "no renderer serves it"
    assert (found[1].state, found[1].slots, found[1].busy_slots, found[1].memory_bytes) == (WARM, 12, 3, 10)
    assert not found[1].HasField("load_time")


def test_a_model_that_is_warm_nowhere_has_the_shortest_load_time() -> None:
    offers = [renderer(status(LOADING, 30)), renderer(status(LOADING, 9)), renderer(status(COLD, 2))]
    offers[1].model_statuses[0].loading_step = "weights"
    (found,) = model_statuses([SMALL], [*offers, renderer(status(FAILED, reason="damaged"))])
    assert (found.state, found.load_time.seconds, found.slots, found.reason) == (LOADING, 9, 12, "")
    assert found.loading_step == "weights"


def test_failed_and_draining_renderers_have_no_slots() -> None:
    draining = renderer(status(WARM), renderer_pb2.RENDERER_STATE_DRAINING)
    (found,) = model_statuses([SMALL], [draining, renderer(status(FAILED, reason="damaged"))])
    assert (found.state, found.slots) == (FAILED, 0)
    assert found.reason


def test_a_renderer_that_tells_no_states_has_all_models_warm() -> None:
    old = renderer_pb2.GetStatusResponse(slots=2, busy_slots=1, models=[SMALL])
    (found,) = model_statuses([SMALL], [old])
    assert (found.state, found.slots, found.busy_slots, found.memory_bytes) == (WARM, 2, 1, 5)


def test_a_narrow_table_of_models_cuts_no_licence() -> None:
    written = StringIO()
    profiles = [BAND, renderer_pb2.ModelProfile(model="musicgen-stereo-small", weights_license="CC-BY-NC-4.0")]
    write_models(profiles, {}, Console(file=written, width=80))
    lines = written.getvalue().splitlines()
    start = next(line.index("lice") for line in lines if "lice" in line)
    assert "".join(line[start:].strip() for line in lines).endswith("CC-BY-NC-4.0")
    assert "…" not in written.getvalue()


def test_the_table_says_what_each_model_can_do() -> None:
    four = Duration(seconds=4)
    choir = renderer_pb2.ModelProfile(
        model="choir", uses_lyrics=True, lyric_languages=["de", "en"], conditioning=four, following=four,
        audio_at_end=True, weights_license="MIT",
    )  # fmt: skip
    vowels = renderer_pb2.ModelProfile(model="vowels", uses_lyrics=True, sings_vowels=True, gives_notes=True)
    written = StringIO()
    write_models([BAND, choir, vowels], {}, Console(file=written, width=200))
    _, band, sung, hummed = written.getvalue().splitlines()
    assert "lyrics in de en, context on both sides, audio at the end" in sung
    assert sung.rstrip().endswith("MIT")
    assert "notes, lyrics on vowels" in hummed
    assert not any(word in band for word in ("lyrics", "context", "audio"))
