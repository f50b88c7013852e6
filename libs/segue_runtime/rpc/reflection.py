"""Reflection under both of its names: the library serves v1alpha only, newer tools ask for v1.

The two differ in their package's name alone, so v1's descriptor is made from v1alpha's and put into the pool, where
`describe` finds it, and one servicer answers both.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, cast

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.descriptor import FileDescriptor

V1ALPHA = "grpc.reflection.v1alpha"
V1 = "grpc.reflection.v1"
FILE_V1 = "grpc/reflection/v1/reflection.proto"
SERVICE = "ServerReflection"


def add(server: grpc.aio.Server, services: Iterable[str]) -> None:
    """Answer reflection for these services and for itself."""
    _describe_v1()
    servicer = ReflectionServicer([*services, f"{V1ALPHA}.{SERVICE}", f"{V1}.{SERVICE}"], pool=_Symbols())
    method = grpc.stream_stream_rpc_method_handler(
        cast("Any", servicer).ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for package in (V1ALPHA, V1):
        handlers = grpc.method_handlers_generic_handler(f"{package}.{SERVICE}", {"ServerReflectionInfo": method})
        server.add_generic_rpc_handlers((handlers,))


class _Symbols:
    """The pool of all descriptors, which finds methods and fields too: `grpcurl describe` asks for them."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def __getattr__(self, name: str) -> object:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802 - the pool's name for it
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            parent, _, member = symbol.rpartition(".")
            return self._file_with(parent, member)

    def _file_with(self, parent: str, member: str) -> FileDescriptor:
        with contextlib.suppress(KeyError):
            service = self._pool.FindServiceByName(parent)
            if member in service.methods_by_name:
                return service.file
        message = self._pool.FindMessageTypeByName(parent)
        if member in message.fields_by_name or member in message.oneofs_by_name:
            return message.file
        raise KeyError(member)


def _describe_v1() -> None:
    pool = descriptor_pool.Default()
    try:
        pool.FindFileByName(FILE_V1)  # another library may have brought the real one
    except KeyError:
        file = descriptor_pb2.FileDescriptorProto()
        reflection_pb2.DESCRIPTOR.CopyToProto(file)
        _rename(file)
        pool.Add(file)


def _rename(file: descriptor_pb2.FileDescriptorProto) -> None:
    file.name, file.package = FILE_V1, V1
    for message in file.message_type:
        for field in message.field:
            if field.HasField("type_name"):
                field.type_name = field.type_name.replace(f".{V1ALPHA}.", f".{V1}.")
    for service in file.service:
        for method in service.method:
            method.input_type = method.input_type.replace(f".{V1ALPHA}.", f".{V1}.")
            method.output_type = method.output_type.replace(f".{V1ALPHA}.", f".{V1}.")
