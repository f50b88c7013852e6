"""The gRPC reflection service as v1 and v1alpha: the library serves v1alpha only, and newer tools call v1.

The two differ only in the name of their package. So the descriptor of v1 is made from that of v1alpha and added to the
pool, where `grpcurl describe` finds it, and one servicer serves both.
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
    """Add reflection of these services, and of reflection itself, to a server."""
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
    """The pool of all descriptors; it also finds methods and fields, which `grpcurl describe` requests."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def __getattr__(self, name: str) -> object:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802 - the pool's name
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
        pool.FindFileByName(FILE_V1)  # another library may have added the real one
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
