"""What the caller's entry in the tenant table allows: priority, models, and limits that the store checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue.composer.v1 import spec_pb2
from segue_gateway.caller import owner
from segue_runtime import errors
from segue_runtime.store import Share
from segue_runtime.tenants import Priority, may_use

if TYPE_CHECKING:
    from collections.abc import Iterable

    from segue_runtime.tenants import Tenant, TenantTable

PREFIX: Final = "PRIORITY_"


class Tenancy:
    """The limits of the callers of one gateway."""

    def __init__(self, tenants: TenantTable) -> None:
        self._tenants = tenants

    @property
    def tenant(self) -> Tenant:
        """What the caller may use."""
        return self._tenants.of(owner())

    @property
    def share(self) -> Share:
        """What the store must know of the caller's limits."""
        tenant = self.tenant
        return Share(
            weight=tenant.weight,
            running=tenant.running,
            queued=tenant.queued,
            audio_s_a_day=tenant.audio_seconds_a_day,
            storage_bytes=tenant.storage_bytes,
        )

    @property
    def needs_models(self) -> bool:
        """Whether a piece can only be accepted when its models are known."""
        return self.tenant.models is not None or self.counts_audio

    @property
    def counts_audio(self) -> bool:
        """Whether the length of a piece must be known before it is accepted."""
        return self.tenant.audio_seconds_a_day is not None

    def priority(self, wanted: spec_pb2.Priority.ValueType = spec_pb2.PRIORITY_UNSPECIFIED) -> Priority:
        """Return the priority of a job, or raise PermissionDenied."""
        highest = self.tenant.priority
        if wanted == spec_pb2.PRIORITY_UNSPECIFIED:
            return min(Priority.NORMAL, highest)
        if wanted > highest:
            raise errors.PermissionDenied(
                f"spec.priority: {spec_pb2.Priority.Name(wanted).removeprefix(PREFIX)} is above your highest priority, "
                f"{highest.name}; the operator of this server sets it",
                metadata={"priority": highest.name},
            )
        return Priority(wanted)

    def check_models(self, models: Iterable[str]) -> None:
        """Raise PermissionDenied for the first model that the caller may not use."""
        tenant = self.tenant
        for model in models:
            if tenant.models is not None and not may_use(tenant.models, model):
                raise errors.PermissionDenied(
                    f"you may not use the model {model}, but {', '.join(tenant.models)}; the operator of this server "
                    "decides",
                    metadata={"model": model},
                )
