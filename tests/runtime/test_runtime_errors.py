"""Errors: one class for each reason, and their form on the wire."""

from __future__ import annotations

import ast
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest
from google.rpc import status_pb2
from hypothesis import given
from hypothesis import strategies as st
from scripts import error_page

from segue.errors.v1 import errors_pb2
from segue_runtime import errors
from segue_runtime.errors import wire

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAVES = list(errors.leaves())
texts = st.text(max_size=400)
violations = st.builds(errors.FieldViolation, texts, texts, texts)


def ended(code: grpc.StatusCode, packed: bytes | None) -> grpc.aio.AioRpcError:
    trailers = grpc.aio.Metadata(("x", "y"))
    if packed is not None:
        trailers.add(errors.DETAILS_KEY, packed)
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, "dns:///10.0.0.1:443 refused")


def test_every_reason_has_exactly_one_class() -> None:
    reasons = sorted(leaf.reason for leaf in LEAVES)
    named = (name.removeprefix("ERROR_REASON_") for name in errors_pb2.ErrorReason.keys())  # noqa: SIM118 - no dict
    assert reasons == sorted(set(named) - {"UNSPECIFIED"})


def test_each_class_has_the_code_that_the_contract_names() -> None:
    assert {leaf.reason: leaf.code.name for leaf in LEAVES} == {row.reason: row.code for row in error_page.rows()}


def test_each_class_has_the_name_that_callers_use() -> None:
    for leaf in LEAVES:
        assert getattr(errors, leaf.__name__) is leaf
        assert issubclass(leaf, errors.InvalidRequest) == (leaf.code is grpc.StatusCode.INVALID_ARGUMENT)
        assert issubclass(leaf, errors.ResourceExhausted) == (leaf.code is grpc.StatusCode.RESOURCE_EXHAUSTED)
        assert issubclass(leaf, errors.Unavailable) == (leaf.code is grpc.StatusCode.UNAVAILABLE)


def names_of_errors_made(source: str) -> Iterator[str]:
    """Yield the name in each call `errors.Name(…)`, or `Name(…)` when it is imported from the package."""
    module = ast.parse(source)
    imported = {
        alias.name
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom) and node.module == "segue_runtime.errors"
        for alias in node.names
    }
    for node in ast.walk(module):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="errors"), attr=name)):
                yield name
            case ast.Call(func=ast.Name(id=name)) if name in imported:
                yield name


def names_of_errors_caught(source: str) -> Iterator[str]:
    """Yield each `errors.Name` in an except clause, or in the second argument of isinstance."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case (
                ast.ExceptHandler(type=ast.expr() as where) | ast.Call(func=ast.Name(id="isinstance"), args=[_, where])
            ):
                for inner in ast.walk(where):
                    if isinstance(inner, ast.Attribute) and getattr(inner.value, "id", "") == "errors":
                        yield inner.attr


def product_sources() -> Iterator[str]:
    for folder in ("libs", "services", "gateway", "daemon"):
        for path in (Path(__file__).parents[2] / folder).rglob("*.py"):
            yield path.read_text()


def test_every_reason_is_raised_somewhere_in_product_code() -> None:
    made = {leaf.__name__ for leaf in wire.BARE.values()}  # made of the status of a peer or a proxy
    for source in product_sources():
        made |= set(names_of_errors_made(source))
    assert {leaf.__name__ for leaf in LEAVES} - made == set()


def test_a_reason_that_product_code_catches_by_name_is_a_class_statement() -> None:
    # Type checkers know the rows of the table as their group, and would narrow wrongly.
    rows = {leaf.__name__ for leaf in LEAVES if leaf.__module__ == "segue_runtime.errors"}
    for source in product_sources():
        assert not rows & set(names_of_errors_caught(source))


def test_the_page_of_errors_shows_metadata_that_the_code_sends() -> None:
    names = {leaf.__name__: leaf.reason for leaf in LEAVES}
    with_metadata: set[str] = set()
    keys: set[str] = set()
    for folder in ("libs", "services", "gateway", "daemon"):
        for path in (Path(__file__).parents[2] / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), keywords=keywords):
                        with_metadata |= (
                            {name} & names.keys() if "metadata" in {each.arg for each in keywords} else set()
                        )
                    case ast.Dict(keys=found):
                        keys |= {str(key.value) for key in found if isinstance(key, ast.Constant)}
    shown = {row.reason: row.metadata for row in error_page.rows()}
    assert {names[name] for name in with_metadata} - {reason for reason, example in shown.items() if example} == set()
    assert {key for example in shown.values() for key in example} - keys == set()


@given(st.sampled_from(LEAVES), texts, st.lists(violations, max_size=40), st.none() | st.floats(0, 1e6))
def test_a_status_is_small_and_comes_back_as_the_same_error(
    leaf: type[errors.SegueError], message: str, broken: list[errors.FieldViolation], retry: float | None
) -> None:
    metadata = {f"key{index}": message for index in range(20)}
    error = leaf(message, metadata=metadata, violations=broken, retry_after_s=retry)
    packed = errors.to_status(error, "req-1")
    assert packed.ByteSize() < 4096
    back = errors.from_status(status_pb2.Status.FromString(packed.SerializeToString()))
    assert type(back) is leaf
    assert back.metadata["requestId"] == "req-1"
    assert len(back.violations) <= 20
    if retry is None:
        assert back.retry_after_s is None
    else:
        assert back.retry_after_s == pytest.approx(retry, abs=1e-6)


def test_violations_keep_their_suggestion() -> None:
    error = errors.InvalidField("no", violations=[errors.FieldViolation("spec.bars", "must be <= 64", "64")])
    assert errors.from_status(errors.to_status(error, "r")).violations == error.violations


def test_more_than_twenty_violations_are_counted_not_sent() -> None:
    many = [errors.FieldViolation(f"f{i}", "must not be empty") for i in range(2000)]
    back = errors.from_status(errors.to_status(errors.InvalidField("no", violations=many), "r"))
    assert len(back.violations) == 20
    assert back.metadata["violations"] == "2000"


def test_an_error_of_an_inner_service_keeps_its_class() -> None:
    packed = errors.to_status(errors.QueueFull("full", retry_after_s=2), "r").SerializeToString()
    back = errors.from_rpc_error(ended(grpc.StatusCode.RESOURCE_EXHAUSTED, packed))
    assert isinstance(back, errors.QueueFull)
    assert back.retry_after_s == 2
    assert back.message == "full"


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_a_status_without_details_becomes_a_segue_error_without_its_text(code: grpc.StatusCode) -> None:
    for packed in (None, b"\xff\xff"):
        back = errors.from_rpc_error(ended(code, packed), service="mixer")
        assert back.reason in wire.LEAVES
        assert "10.0.0.1" not in back.message
        assert back.metadata["service"] == "mixer"
        broken = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED}
        assert isinstance(back, errors.Unavailable) == (code in broken | {grpc.StatusCode.UNAVAILABLE})
    unreachable = errors.from_rpc_error(ended(grpc.StatusCode.UNAVAILABLE, None))
    assert isinstance(unreachable, errors.ServiceUnreachable)
    assert unreachable.retry_after_s


def test_an_unknown_reason_keeps_its_code_and_name() -> None:
    packed = errors.to_status(errors.QueueFull("full"), "r")
    info = packed.details[0]
    packed.details[0].value = info.value.replace(b"QUEUE_FULL", b"QUEUE_FUN1")
    back = errors.from_status(packed)
    assert isinstance(back, errors.UnknownReason)
    assert back.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert back.reason == "QUEUE_FUN1"
    assert errors.from_status(errors.to_status(back, "r")).reason == "QUEUE_FUN1"


def test_a_log_line_goes_to_the_current_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from segue_runtime import logs
    from segue_runtime.settings import LogSettings

    logs.configure(LogSettings(level="info", format="json"))
    first, second = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", first)
    logs.get("test").info("one")
    first.close()
    monkeypatch.setattr(sys, "stderr", second)
    logs.get("test").info("two")
    assert '"event": "two"' in second.getvalue()
