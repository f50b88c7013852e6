"""The models of the pool as the store knows them, for acceptance, plans, lists and defaults."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from segue.renderer.v1 import renderer_pb2
from segue_runtime import errors
from segue_runtime.errors import FieldViolation
from segue_runtime.store.pool.records import ModelKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segue_runtime.store import Store

NO_FIELDS: Final = MappingProxyType[str, str]({})


def key_of(profile: renderer_pb2.ModelProfile) -> ModelKey:
    """Return what the takes of a model depend on."""
    return ModelKey(profile.model, profile.model_digest, profile.engine_version)


class ModelCatalog:
    """The models that renderers offer, or offered within the retention time. No renderer is called."""

    def __init__(self, store: Store) -> None:
        self._pool = store.pool

    async def profiles(self) -> Sequence[renderer_pb2.ModelProfile]:
        """Return the profile of each model; the first is the default. NoRenderer if no model is known.

        Models of present renderers come first. Of several versions of a model, a present one counts. The speed of a
        model is the measured one, if its sections were measured.
        """
        known = sorted(await self._pool.models(), key=lambda each: not each.is_served)
        if not known:
            raise errors.NoRenderer(
                "no renderer has answered yet; is one running?", metadata={"service": "renderer"}, retry_after_s=2
            )
        found: dict[str, renderer_pb2.ModelProfile] = {}
        for each in known:
            if each.key.model not in found:
                profile = found[each.key.model] = renderer_pb2.ModelProfile.FromString(each.profile)
                profile.real_time_factor = each.speed or profile.real_time_factor
        return list(found.values())

    async def served(self) -> Sequence[renderer_pb2.ModelProfile]:
        """Return the profiles of the models that present renderers offer."""
        known = await self._pool.models()
        return [renderer_pb2.ModelProfile.FromString(each.profile) for each in known if each.is_served]

    async def find_all(
        self, models: Sequence[str], fields: Mapping[str, str] = NO_FIELDS
    ) -> list[renderer_pb2.ModelProfile]:
        """Return the profiles of models (empty: the default).

        ModelNotFound lists the known ones, and the field that names the model.
        """
        profiles = await self.profiles()
        by_name = {"": profiles[0]} | {profile.model: profile for profile in profiles}
        missing = next((model for model in models if model not in by_name), None)
        if missing is None:
            return [by_name[model] for model in models]
        names = ", ".join(profile.model for profile in profiles)
        text = f"no renderer serves the model {missing!r}; available: {names}"
        field = fields.get(missing, "")
        raise errors.ModelNotFound(
            f"{field}: {text}" if field else text,
            metadata={"model": missing, "models": names},
            violations=[FieldViolation(field, text, profiles[0].model)] if field else (),
        )

    async def statuses(self) -> Sequence[renderer_pb2.GetStatusResponse]:
        """Return the newest status of every present renderer."""
        return [renderer_pb2.GetStatusResponse.FromString(each.offer.status) for each in await self._pool.renderers()]
