"""Owners beside each other: what one of them cannot reach of another, and what an admin reaches of all."""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
import soundfile
from tests.mesh.harness import hear, spec, stub
from tests.mesh.shapes import shape

from segue.composer.v1 import analysis_pb2, composition_pb2, files_pb2, separation_pb2, spec_pb2, stream_pb2
from segue_client import Access, Client, SegueError
from segue_client.errors import from_rpc_error
from segue_runtime.settings import load
from segued.serve.node import Node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

CODES = grpc.StatusCode
GRANTS = {"ann": "", "bob": "", "ops": "admin"}
MISSING = "compositions/ffffffffffffffffffffffff"


@dataclass
class Owners:
    """A running mesh, and a client of each owner."""

    address: str
    takes: Path
    ann: Client
    bob: Client
    ops: Client


def sent(owner: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer token of {owner}"),)


@pytest.fixture
async def owners(tmp_path: Path) -> AsyncIterator[Owners]:
    tokens = tmp_path / "tokens"
    digests = {owner: hashlib.sha256(f"token of {owner}".encode()).hexdigest() for owner in GRANTS}
    tokens.write_text("".join(f"{owner} {digests[owner]} {grants}\n" for owner, grants in GRANTS.items()))
    flags = {"home": str(tmp_path), **shape().settings(tmp_path), "server.drain": "1s"}
    flags["server.tokens_file"] = str(tokens)
    async with contextlib.AsyncExitStack() as stack:
        node = Node(load(flags, environ={}, folder=tmp_path), listen=("127.0.0.1:0",))
        address = (await stack.enter_async_context(node)).addresses[0]
        ann, bob, ops = [
            await stack.enter_async_context(Client(Access(address, token=f"token of {owner}"), patience_s=20))
            for owner in GRANTS
        ]
        yield Owners(address, shape().artifact_folder(tmp_path) / "takes", ann, bob, ops)


async def refusal(call: Awaitable[object]) -> SegueError:
    try:
        await call
    except grpc.RpcError as error:
        return from_rpc_error(error)
    except SegueError as error:
        return error
    raise AssertionError("it was accepted")


@pytest.mark.timeout(180)
async def test_names_of_other_owners_are_as_unknown_as_names_that_nobody_has(owners: Owners, tmp_path: Path) -> None:
    ann, bob = owners.ann, owners.bob
    made = (await hear(ann.compose(spec(seconds=2)))).composition
    (tmp_path / "tone.wav").write_bytes(b"RIFF" + bytes(64))
    upload = (await ann.upload(tmp_path / "tone.wav")).name
    section_id = made.plan.sections[0].spec.section_id

    async def answers(name: str, file: str) -> list[tuple[CODES, str, str]]:
        output = composition_pb2.Output(name=f"{name}/outputs/master.flac", size_bytes=4)
        found = []
        async with stub(owners.address) as composer:
            raw: Any = composer
            part = files_pb2.WriteUploadRequest(upload=file, offset=0, data=b"x", crc32c=1)
            for attempt in (
                bob.get(name), bob.cancel(name), bob.delete(name), hear(bob.watch(name)), bob.retry(name),
                anext(aiter(bob.read(output))), bob.url(output), bob.analyze(output.name),
                bob.analyze(f"{name}/takes/{section_id}"),
                bob.create(spec_pb2.CompositionSpec(parent=name)), bob.create_master(file), bob.analyze(file),
                bob.delete_upload(file), raw.WriteUpload(part, metadata=sent("bob")),
                raw.FinishUpload(files_pb2.FinishUploadRequest(upload=file), metadata=sent("bob")),
            ):  # fmt: skip
                error = await refusal(attempt)
                found.append((error.code, error.reason, error.message.replace(name, "NAME").replace(file, "FILE")))
        return found

    of_theirs = await answers(made.name, upload)
    assert of_theirs == await answers(MISSING, "uploads/ffffffffffffffffffffffff")
    assert {code for code, _, _ in of_theirs} == {CODES.NOT_FOUND}
    assert [each async for each in bob.compositions()] == [each async for each in bob.uploads()] == []
    # Equal specs and equal request ids of others are other pieces, with takes of their own.
    same = str(uuid.uuid4())
    again = (await ann.create(spec(seconds=2), request_id=same)).name
    theirs = await bob.create(spec(seconds=2), request_id=same)
    assert theirs.name != again
    await hear(bob.watch(theirs.name))
    folders = sorted(len([*folder.iterdir()]) for folder in owners.takes.iterdir())
    assert len(folders) == 2
    assert folders[0] == folders[1] > 0


@pytest.mark.timeout(180)
async def test_a_separation_and_its_stems_belong_to_its_owner(owners: Owners, tmp_path: Path) -> None:
    ann, bob, ops = owners.ann, owners.bob, owners.ops
    soundfile.write(tmp_path / "tone.wav", np.full((20_000, 1), 0.25), 20_000)
    upload = (await ann.upload(tmp_path / "tone.wav")).name
    made = await ann.separate(upload)
    assert made.owner == "ann"

    async def answers(name: str, file: str) -> list[tuple[CODES, str]]:
        stem = composition_pb2.Output(name=f"{name}/outputs/stem-harmonic.flac", size_bytes=4)
        found = []
        async with stub(owners.address) as composer:
            raw: Any = composer
            get = separation_pb2.GetSeparationRequest(name=name)
            watch = raw.WatchSeparation(separation_pb2.WatchSeparationRequest(name=name), metadata=sent("bob"))
            for attempt in (
                raw.GetSeparation(get, metadata=sent("bob")), watch.read(), bob.cancel_separation(name),
                anext(aiter(bob.read(stem))), bob.url(stem), bob.analyze(stem.name), bob.separate(stem.name),
                bob.separate(file), bob.delete_separation(name),
            ):  # fmt: skip
                error = await refusal(attempt)
                found.append((error.code, error.reason))
        return found

    missing = "separations/ffffffffffffffffffffffff"
    assert await answers(made.name, upload) == await answers(missing, "uploads/ffffffffffffffffffffffff")
    assert {code for code, _ in await answers(made.name, upload)} == {CODES.NOT_FOUND}
    assert [each.name async for each in ann.separations()] == [made.name]
    assert [each async for each in bob.separations()] == [each async for each in ops.separations()] == []
    assert (await refusal(anext(aiter(bob.separations('owner = "ann"'))))).reason == "PERMISSION_DENIED"
    assert [each.owner async for each in ops.separations('owner = "*"')] == ["ann"]
    today = [day async for day in ann.usage()][-1]
    assert today.stored_bytes >= sum(output.size_bytes for output in made.outputs) > 0
    await ops.download(made.outputs[0], tmp_path / "stem.flac")
    await ops.delete_separation(made.name)
    assert [each async for each in ann.separations()] == []
    assert (await refusal(anext(aiter(ann.read(made.outputs[0]))))).reason == "ARTIFACT_NOT_FOUND"


@pytest.mark.timeout(180)
async def test_cursors_and_page_tokens_of_others_are_refused(owners: Owners) -> None:
    heard = await hear(owners.ann.compose(spec(seconds=2)))
    for seed in (1, 2):
        await owners.ann.create(spec(seconds=2, seed=seed))
    theirs = (await owners.bob.create(spec(seconds=2))).name
    async with stub(owners.address) as composer:
        raw: Any = composer
        watch = stream_pb2.WatchCompositionRequest(name=theirs, cursor=heard.updates[3].cursor)
        for owner in ("bob", "ops"):
            call = raw.WatchComposition(watch, metadata=sent(owner))
            assert (await refusal(call.read())).reason == "INVALID_CURSOR"

        def page(filter_text: str, token: str = "") -> composition_pb2.ListCompositionsRequest:
            return composition_pb2.ListCompositionsRequest(page_size=1, filter=filter_text, page_token=token)

        async def listed(owner: str, filter_text: str, token: str = "") -> composition_pb2.ListCompositionsResponse:
            answer = await raw.ListCompositions(page(filter_text, token), metadata=sent(owner))
            assert isinstance(answer, composition_pb2.ListCompositionsResponse)
            return answer

        of_ann, every = 'owner = "ann"', 'owner = "*"'
        tokens = {
            ("ann", ""): (await listed("ann", "")).next_page_token,
            ("ann", of_ann): (await listed("ann", of_ann)).next_page_token,
            ("ops", of_ann): (await listed("ops", of_ann)).next_page_token,
            ("ops", every): (await listed("ops", every)).next_page_token,
        }
        assert all(tokens.values())
        for (made_for, made_with), token in tokens.items():
            for owner, filter_text in (*tokens, ("bob", ""), ("ops", "")):
                if (owner, filter_text) == (made_for, made_with):
                    assert (await listed(owner, filter_text, token)).compositions
                else:
                    error = await refusal(listed(owner, filter_text, token))
                    assert error.reason == "INVALID_PAGE_TOKEN", (made_for, made_with, owner, filter_text)


@pytest.mark.timeout(180)
async def test_an_admin_reaches_the_work_of_all_owners(owners: Owners, tmp_path: Path) -> None:
    ann, bob, ops = owners.ann, owners.bob, owners.ops
    made = (await hear(ann.compose(spec(seconds=2)))).composition
    other = (await hear(bob.compose(spec(seconds=2)))).composition
    (tmp_path / "tone.wav").write_bytes(b"RIFF" + bytes(64))
    upload = (await bob.upload(tmp_path / "tone.wav")).name
    assert (await refusal(bob.analyze(upload))).code is not CODES.NOT_FOUND  # it is no audio
    (analysis,) = [each async for each in bob.analyses()]

    assert (await ops.get(made.name)).name == made.name
    assert (await hear(ops.watch(made.name))).composition.state == composition_pb2.STATE_SUCCEEDED
    await ops.download(made.outputs[0], tmp_path / "file")
    assert hashlib.sha256((tmp_path / "file").read_bytes()).hexdigest() == made.outputs[0].sha256
    if shape().name == "cluster":
        assert await ops.url(made.outputs[0])
    else:  # as for the owner, in a folder
        assert (await refusal(ops.url(made.outputs[0]))).code is CODES.UNIMPLEMENTED
    assert (await ops.cancel(made.name)).name == made.name
    assert (await ops.cancel_analysis(analysis.name)).name == analysis.name

    # Lists show others' work only when asked, with its owner.
    assert [each async for each in ops.compositions()] == [each async for each in ops.analyses()] == []
    for query, expected in (('owner = "ann"', [made]), ('owner = "*"', [other, made]), ('owner = "dan"', [])):
        found = [(each.name, each.owner) async for each in ops.compositions(query)]
        assert found == [(each.name, each.owner) for each in expected]
    narrowed = ops.compositions('owner = "*" AND state = "SUCCEEDED"')
    assert [each.owner async for each in narrowed] == ["bob", "ann"]
    for query, names in (('owner = "*"', [analysis.name]), ('owner = "bob"', [analysis.name]), ('owner = "ann"', [])):
        assert [(each.name, each.owner) async for each in ops.analyses(query)] == [(name, "bob") for name in names]
    assert [each async for each in ops.uploads()] == []
    for query, names in (('owner = "*"', [upload]), ('owner = "bob"', [upload]), ('owner = "ann"', [])):
        assert [(each.name, each.owner) async for each in ops.uploads(query)] == [(name, "bob") for name in names]
    assert [each.name async for each in ann.compositions('owner = "ann"')] == [made.name]
    for query in ('owner = "bob"', 'owner = "*"'):
        for call in (ann.compositions(query), ann.analyses(query), ann.uploads(query)):
            error = await refusal(anext(aiter(call)))
            assert (error.reason, error.metadata["grant"]) == ("PERMISSION_DENIED", "admin")
    for query in ('owner = ""', 'owner = "ann" AND owner = "bob"'):
        assert (await refusal(anext(aiter(ops.compositions(query))))).reason == "INVALID_FILTER"
    assert (await refusal(anext(aiter(ops.uploads('state = "SUCCEEDED"'))))).reason == "INVALID_FILTER"

    # New work belongs to its caller, and is made of its caller's work only.
    new: dict[str, Callable[[], Awaitable[object]]] = {
        "revise": lambda: ops.create(spec_pb2.CompositionSpec(parent=made.name)),
        "retry": lambda: ops.retry(made.name),
        "analyze": lambda: ops.analyze(made.outputs[0].name),
        "analyze a take": lambda: ops.analyze(f"{made.name}/takes/{made.plan.sections[0].spec.section_id}"),
        "master": lambda: ops.create_master(upload),
    }
    for name, attempt in new.items():
        assert (await refusal(attempt())).code is CODES.NOT_FOUND, name

    await ops.delete(made.name)
    await ops.delete_upload(upload)
    assert [each async for each in ann.compositions()] == [each async for each in bob.uploads()] == []
    async with stub(owners.address) as composer:
        request = analysis_pb2.GetAnalysisRequest(name=analysis.name)
        raw: Any = composer
        assert (await raw.GetAnalysis(request, metadata=sent("ops"))).analysis.name == analysis.name
        assert (await refusal(raw.GetAnalysis(request, metadata=sent("ann")))).code is CODES.NOT_FOUND
