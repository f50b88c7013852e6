"""The states of models in the whole pool, from the statuses of its renderers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue.renderer.v1 import renderer_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BEST_FIRST: Final = (
    renderer_pb2.MODEL_STATE_WARM,
    renderer_pb2.MODEL_STATE_LOADING,
    renderer_pb2.MODEL_STATE_COLD,
    renderer_pb2.MODEL_STATE_FAILED,
)


def model_statuses(
    profiles: Iterable[renderer_pb2.ModelProfile], renderers: Sequence[renderer_pb2.GetStatusResponse]
) -> list[renderer_pb2.ModelStatus]:
    """Return one status for each profile, in their order: of all renderers that have the model together."""
    offers = [offer for renderer in renderers for offer in offered(renderer)]
    return [_together(profile.model, [each for each in offers if each.model == profile.model]) for profile in profiles]


def offered(renderer: renderer_pb2.GetStatusResponse) -> list[renderer_pb2.ModelStatus]:
    """Return the states of one renderer's models. Without states of their own they are WARM and share its slots.

    The models of a renderer that accepts no sections have FAILED, and have no slots.
    """
    found = list(renderer.model_statuses) or [
        renderer_pb2.ModelStatus(
            model=profile.model,
            slots=renderer.slots,
            busy_slots=renderer.busy_slots,
            memory_bytes=profile.memory_bytes,
        )
        for profile in renderer.models
    ]
    if renderer.state == renderer_pb2.RENDERER_STATE_DRAINING:
        return [_failed(each.model, "its renderer is shutting down") for each in found]
    if renderer.state == renderer_pb2.RENDERER_STATE_FAILED:
        return [_failed(each.model, each.reason or renderer.reason) for each in found]
    return found


def _together(model: str, offers: Sequence[renderer_pb2.ModelStatus]) -> renderer_pb2.ModelStatus:
    if not offers:
        return _failed(model, "no renderer serves it")
    state = min((_state(each) for each in offers), key=BEST_FIRST.index)
    best = [each for each in offers if _state(each) == state]
    whole = renderer_pb2.ModelStatus(model=model, state=state, memory_bytes=sum(each.memory_bytes for each in offers))
    if state == renderer_pb2.MODEL_STATE_FAILED:
        whole.reason = next((each.reason for each in best if each.reason), "")
        return whole
    whole.loading_step = next((each.loading_step for each in best if each.loading_step), "")
    able = [each for each in offers if _state(each) != renderer_pb2.MODEL_STATE_FAILED]
    whole.slots = sum(each.slots for each in able)
    whole.busy_slots = sum(each.busy_slots for each in able)
    times = [each.load_time for each in best if each.HasField("load_time")]
    if times:
        whole.load_time.CopyFrom(min(times, key=lambda time: (time.seconds, time.nanos)))
    return whole


def _state(status: renderer_pb2.ModelStatus) -> renderer_pb2.ModelState.ValueType:
    if status.state == renderer_pb2.MODEL_STATE_UNSPECIFIED:
        return renderer_pb2.MODEL_STATE_WARM
    return status.state if status.state in BEST_FIRST else renderer_pb2.MODEL_STATE_FAILED  # of a later contract


def _failed(model: str, reason: str) -> renderer_pb2.ModelStatus:
    return renderer_pb2.ModelStatus(model=model, state=renderer_pb2.MODEL_STATE_FAILED, reason=reason)
