"""What a renderer offers, read from its status. A status is checked like any hostile input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue.renderer.v1 import renderer_pb2
from segue_composition.model_catalog import key_of
from segue_composition.model_statuses import offered
from segue_runtime import errors
from segue_runtime.rpc import validation
from segue_runtime.store.pool.records import OfferedModel, RendererOffer, Warmth

if TYPE_CHECKING:
    from segue.renderer.v1.renderer_pb2 import GetStatusResponse, ModelProfile, ModelStatus

MAX_MODELS: Final = 32
MAX_SLOTS: Final = 1024
MAX_STATUS_BYTES: Final = 128 << 10
LONGEST_LOAD_S: Final = 86_400.0
WARMTH: Final = {
    renderer_pb2.MODEL_STATE_UNSPECIFIED: Warmth.WARM,
    renderer_pb2.MODEL_STATE_WARM: Warmth.WARM,
    renderer_pb2.MODEL_STATE_LOADING: Warmth.LOADING,
    renderer_pb2.MODEL_STATE_COLD: Warmth.COLD,
}
ACCEPTING: Final = (renderer_pb2.RENDERER_STATE_UNSPECIFIED, renderer_pb2.RENDERER_STATE_READY)


def offer_of(
    address: str, status: GetStatusResponse, *, renderer: str = "", server_name: str = "", stream: str = ""
) -> RendererOffer:
    """Return the offer in a status. Raises InvalidField for a status that breaks the contract or its bounds.

    `renderer` is the renderer's id, by default its address; `stream` is the stream over which it joined.
    """
    _check(status)
    slots = max(1, status.slots)  # a renderer that does not count its slots has one
    states = {each.model: each for each in offered(status)}
    models = [_model(profile, states[profile.model], slots) for profile in status.models]
    return RendererOffer(
        renderer=renderer or address,
        address=address,
        slots=slots,
        models=models,
        server_name=server_name,
        accepts=status.state in ACCEPTING,
        joined=bool(stream),
        stream=stream,
        status=status.SerializeToString(deterministic=True),
    )


def _check(status: GetStatusResponse) -> None:
    validation.check(status)
    if status.ByteSize() > MAX_STATUS_BYTES:
        raise errors.InvalidField(f"the status has {status.ByteSize()} bytes; at most {MAX_STATUS_BYTES} are read")
    if len(status.models) > MAX_MODELS:
        raise errors.InvalidField(f"models: there are {len(status.models)}; at most {MAX_MODELS} are read")
    names = [profile.model for profile in status.models]
    if len(set(names)) < len(names):
        raise errors.InvalidField("models: a model occurs twice")
    stated = [each.model for each in status.model_statuses]
    if stated and stated != names:
        raise errors.InvalidField("model_statuses: they are not the models, in their order")
    for slots in (status.slots, *(each.slots for each in status.model_statuses)):
        if slots > MAX_SLOTS:
            raise errors.InvalidField(f"slots: {slots} is more than {MAX_SLOTS}")
    for each in status.model_statuses:
        if each.HasField("load_time") and not 0 <= each.load_time.ToNanoseconds() / 1e9 <= LONGEST_LOAD_S:
            raise errors.InvalidField(f"model_statuses.load_time: {each.model} takes longer than a day to load")


def _model(profile: ModelProfile, state: ModelStatus, slots: int) -> OfferedModel:
    """Return an offered model. One that has failed is known, and has no slots there."""
    warmth = WARMTH.get(state.state)
    if warmth is None:
        return OfferedModel(key_of(profile), 0, profile.SerializeToString(deterministic=True))
    return OfferedModel(
        key=key_of(profile),
        slots=min(slots, state.slots or 1),
        profile=profile.SerializeToString(deterministic=True),
        warmth=warmth,
        load_s=state.load_time.ToNanoseconds() / 1e9 if state.HasField("load_time") else None,
        speed=profile.real_time_factor,
    )
