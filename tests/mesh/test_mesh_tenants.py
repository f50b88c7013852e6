"""Owners with entries in the tenant table, through the public port: turns, and each limit with its refusal."""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2
from tests.mesh.harness import hear, spec, stub
from tests.mesh.shapes import opened_store, shape

from segue.composer.v1 import composer_pb2, composition_pb2, files_pb2, spec_pb2
from segue_client import Access, Client
from segue_runtime import reloaded_file
from segue_runtime.settings import load
from segue_runtime.tenants import TenantTable, parse
from segued.serve.node import Node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from segue.composer.v1.composer_pb2_grpc import ComposerServiceAsyncStub
    from segue_runtime.store import Store

CODES = grpc.StatusCode
OWNERS = ("alice", "bob")


@dataclass
class Service:
    """A running server, its store, and the calls of each owner."""

    folder: Path
    store: Store
    alice: Client
    bob: Client
    calls: ComposerServiceAsyncStub

    def table(self, text: str) -> None:
        (self.folder / "tenants.toml").write_text(text)


@contextlib.asynccontextmanager
async def serving(folder: Path, table: str, role: str = "gateway", **flags: str) -> AsyncIterator[Service]:
    """Serve in this process. A gateway alone has no conductor: what it accepts stays in the queue."""
    (folder / "tenants.toml").write_text(table)
    tokens = [f"{owner} {hashlib.sha256(f'token-of-{owner}'.encode()).hexdigest()}\n" for owner in OWNERS]
    (folder / "tokens").write_text("".join(tokens))
    values: dict[str, object] = {
        **shape().settings(folder / "home"),
        "home": str(folder / "home"),
        "server.role": role,
        "server.drain": "2s",
        "server.tokens_file": str(folder / "tokens"),
        "limits.tenants_file": str(folder / "tenants.toml"),
        **{name.replace("__", "."): value for name, value in flags.items()},
    }
    async with contextlib.AsyncExitStack() as stack:
        settings = load(values, environ={}, folder=folder)
        node = await stack.enter_async_context(Node(settings, listen=("127.0.0.1:0",)))
        alice, bob = [
            await stack.enter_async_context(Client(Access(node.addresses[0], token=f"token-of-{owner}"), patience_s=0))
            for owner in OWNERS
        ]
        store = await stack.enter_async_context(opened_store(folder / "home"))
        calls = await stack.enter_async_context(stub(node.addresses[0]))
        yield Service(folder, store, alice, bob, calls)


@dataclass
class Refused:
    """A refusal as it is on the wire."""

    code: grpc.StatusCode
    reason: str
    metadata: dict[str, str]
    quota: error_details_pb2.QuotaFailure.Violation | None
    retry_s: float | None


async def refusal(service: Service, owner: str, request: Any, method: str = "CreateComposition") -> Refused:
    """Return how a call of an owner is refused."""
    if isinstance(request, spec_pb2.CompositionSpec):
        request = composition_pb2.CreateCompositionRequest(spec=request)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await getattr(service.calls, method)(request, metadata=(("authorization", f"Bearer token-of-{owner}"),))
    details = dict(caught.value.trailing_metadata() or ())["grpc-status-details-bin"]
    info, quota, retry = error_details_pb2.ErrorInfo(), error_details_pb2.QuotaFailure(), error_details_pb2.RetryInfo()
    has_retry = False
    for detail in status_pb2.Status.FromString(details).details:
        detail.Unpack(info)
        detail.Unpack(quota)
        has_retry = detail.Unpack(retry) or has_retry
    violation = quota.violations[0] if quota.violations else None
    retry_s = retry.retry_delay.ToNanoseconds() / 1e9 if has_retry else None
    return Refused(caught.value.code(), info.reason, dict(info.metadata), violation, retry_s)


async def test_weights_of_3_and_1_give_3_to_1_claims_beside_a_flood(tmp_path: Path) -> None:
    async with serving(tmp_path, "[tenants.alice]\nweight = 3\n") as service:
        for _ in range(9):
            await service.alice.create(spec())
        made = [(await service.bob.create(spec())).name for _ in range(3)]
        assert [(await service.bob.get(name)).queue_position for name in made] == [2, 6, 10]
        claimed = [await service.store.claim("test", 60) for _ in range(12)]
        owners = [job.owner for job in claimed if job]
    assert all(Counter(owners[start : start + 4]) == {"alice": 3, "bob": 1} for start in (0, 4, 8))


async def test_a_piece_of_a_higher_priority_is_next_if_the_table_allows_it(tmp_path: Path) -> None:
    async with serving(tmp_path, '[tenants.alice]\npriority = "high"\n[tenants.bob]\npriority = "low"\n') as service:
        plain = await service.alice.create(spec())
        low = await service.bob.create(spec())
        urgent = await service.alice.create(spec(priority=spec_pb2.PRIORITY_HIGH))
        found = [await service.alice.get(name) for name in (urgent.name, plain.name)]
        found.append(await service.bob.get(low.name))
        assert [each.queue_position for each in found] == [1, 2, 3]
        assert [each.priority for each in found] == [
            spec_pb2.PRIORITY_HIGH, spec_pb2.PRIORITY_NORMAL, spec_pb2.PRIORITY_LOW,
        ]  # fmt: skip
        refused = await refusal(service, "bob", spec(priority=spec_pb2.PRIORITY_NORMAL))
        assert (refused.code, refused.reason) == (CODES.PERMISSION_DENIED, "PERMISSION_DENIED")
        assert refused.metadata["priority"] == "LOW"


async def test_more_queued_jobs_than_allowed_are_refused_with_a_time_and_only_for_their_owner(tmp_path: Path) -> None:
    async with serving(tmp_path, "[default]\nqueued = 2\n") as service:
        first = await service.alice.create(spec())
        await service.alice.create(spec())
        refused = await refusal(service, "alice", spec())
        assert (refused.code, refused.reason) == (CODES.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
        assert refused.quota is not None
        assert (refused.quota.subject, refused.quota.quota_metric, refused.quota.quota_value) == (
            "owner:alice", "queued", 2,
        )  # fmt: skip
        assert refused.retry_s is not None
        assert refused.retry_s >= 1
        await service.bob.create(spec())
        await service.alice.cancel(first.name)
        await service.alice.create(spec())


async def test_a_changed_table_counts_without_a_restart_and_a_broken_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reloaded_file, "LOOK_EVERY_S", 0.0)
    async with serving(tmp_path, "[tenants.alice]\nqueued = 1\n") as service:
        await service.alice.create(spec())
        service.table("[tenants.alice]\nqueud = 2\n")
        assert (await refusal(service, "alice", spec())).metadata["limit"] == "1"
        service.table("[tenants.alice]\nqueued = 2\nweight = 2\n")
        await service.alice.create(spec())
        assert (await refusal(service, "alice", spec())).metadata["limit"] == "2"


async def test_requests_beyond_the_rate_are_refused_with_the_time_until_the_next(tmp_path: Path) -> None:
    async with serving(tmp_path, "[tenants.alice]\nrequests_a_minute = 3\n") as service:
        for _ in range(3):
            await service.alice.stats()
        refused = await refusal(service, "alice", composer_pb2.GetStatsRequest(), "GetStats")
        assert (refused.code, refused.metadata["unit"]) == (CODES.RESOURCE_EXHAUSTED, "requests_a_minute")
        assert refused.retry_s is not None
        assert 0 < refused.retry_s <= 20
        await service.bob.stats()


async def test_full_storage_refuses_uploads_and_pieces_until_something_is_deleted(tmp_path: Path) -> None:
    async with serving(tmp_path, '[tenants.alice]\nstorage_bytes = "1KiB"\n') as service:
        (tmp_path / "one").write_bytes(bytes(1024))
        kept = await service.alice.upload(tmp_path / "one")
        upload = files_pb2.CreateUploadRequest(media_type="audio/flac", size_bytes=1)
        for refused in (
            await refusal(service, "alice", upload, "CreateUpload"),
            await refusal(service, "alice", spec()),
        ):
            assert (refused.code, refused.reason) == (CODES.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
            assert refused.quota is not None
            assert (refused.quota.quota_metric, refused.quota.quota_value) == ("storage_bytes", 1024)
        await service.bob.upload(tmp_path / "one")
        await service.alice.delete_upload(kept.name)
        await service.alice.create(spec())


async def test_models_seconds_of_audio_and_running_jobs_are_limited_in_a_whole_mesh(tmp_path: Path) -> None:
    table = '[tenants.alice]\nmodels = ["musicgen-*"]\n'
    table += '[tenants.bob]\naudio_seconds_a_day = 9\nrunning = 0\nmodels = ["s*"]\n'
    async with serving(tmp_path, table, role="all") as service:
        plan = composition_pb2.PlanCompositionRequest(spec=spec(seconds=2))
        refused = await refusal(service, "alice", spec(seconds=2))
        assert (refused.code, refused.reason) == (CODES.PERMISSION_DENIED, "PERMISSION_DENIED")
        assert refused.metadata["model"] == "sketch"
        assert (await refusal(service, "alice", plan, "PlanComposition")).code is CODES.PERMISSION_DENIED
        held = await service.bob.create(spec(seconds=6))
        asked = await refusal(service, "bob", spec(seconds=6))
        assert (asked.code, asked.metadata["unit"]) == (CODES.RESOURCE_EXHAUSTED, "audio_seconds_a_day")
        assert asked.retry_s is not None
        assert asked.retry_s == pytest.approx(86_400 - time.time() % 86_400, abs=60)
        # Nothing else waits, and its limit alone holds it back.
        assert (await service.bob.get(held.name)).state == composition_pb2.STATE_QUEUED
        assert not await service.store.wait_for_job(0.2, ["composition"])
        await service.bob.cancel(held.name)
        # What was cancelled before it began has made nothing.
        again = await service.bob.create(spec(seconds=6))
        await service.bob.cancel(again.name)


async def test_a_retry_and_an_edit_need_the_models_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloaded_file, "LOOK_EVERY_S", 0.0)
    async with serving(tmp_path, "", role="all") as service:
        done = (await hear(service.alice.compose(spec(seconds=2)))).composition
        assert done.priority == spec_pb2.PRIORITY_NORMAL
        stopped = await service.alice.create(spec(seconds=120))
        await service.alice.cancel(stopped.name)
        await hear(service.alice.watch(stopped.name))
        service.table('[tenants.alice]\nmodels = ["other"]\n')
        edit = spec_pb2.Edit(redo=spec_pb2.EditRedo(section_id=done.plan.sections[0].spec.section_id))
        edited = spec_pb2.CompositionSpec(parent=done.name, edits=[edit])
        again = composition_pb2.RetryCompositionRequest(name=stopped.name)
        assert (await refusal(service, "alice", edited)).metadata["model"] == "sketch"
        assert (await refusal(service, "alice", again, "RetryComposition")).metadata["model"] == "sketch"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[defaults]\n", "defaults: no such section; did you mean default?"),
        ("[default]\nwait = 3\n", "default.wait: no such limit; "),
        ("[tenants.alice]\nweigth = 3\n", "tenants.alice.weigth: no such limit; did you mean weight?"),
        ("[tenants.alice]\nweight = 0\n", "tenants.alice.weight: write a whole number of 1 to 100"),
        ("[tenants.alice]\nrunning = true\n", "tenants.alice.running: write a whole number of 0 or more"),
        ('[tenants.alice]\npriority = "urgent"\n', "tenants.alice.priority: write low, normal, high"),
        ("[tenants.alice]\nmodels = []\n", "tenants.alice.models: write a list of names or patterns"),
        ('[tenants.alice]\nstorage_bytes = "9 apples"\n', "tenants.alice.storage_bytes: '9 apples' is not a size"),
        ("[tenants.Alice]\n", "tenants.Alice: an owner has a-z"),
        ("tenants = 3\n", "tenants: write a section for each owner"),
        ("[default\n", "at line 1"),
    ],
)
def test_a_wrong_table_says_what_is_wrong_and_where(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        parse(text)


def test_an_entry_has_what_it_names_and_else_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "tenants.toml"
    path.write_text('[default]\nqueued = 5\nweight = 2\n[tenants.alice]\nqueued = 9\nstorage_bytes = "2GiB"\n')
    table = TenantTable(path)
    assert (table.of("alice").queued, table.of("alice").weight, table.of("alice").storage_bytes) == (9, 2, 2 << 30)
    assert (table.of("anybody").queued, table.of("anybody").weight) == (5, 2)
    assert table.named == ["alice"]
