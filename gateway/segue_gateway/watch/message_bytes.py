"""The encoded messages of a watcher's stream.

Audio is copied once, behind the bytes that protobuf has encoded; nested messages would copy it four times.
ComposeResponse and WatchCompositionResponse have the same two fields, so both use this encoding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import stream_pb2
from segue_runtime.rpc.chunks import crc32c

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

LENGTH_DELIMITED: Final = 2


def encode_event(cursor: str, event: stream_pb2.CompositionEvent) -> bytes:
    """Return a message without audio."""
    return stream_pb2.WatchCompositionResponse(cursor=cursor, event=event).SerializeToString()


def encode_audio(cursor: str, event: stream_pb2.CompositionEvent, chunk: audio_pb2.AudioChunk, audio: bytes) -> bytes:
    """Return a message of an event, a chunk without data, and its audio."""
    chunk.crc32c = crc32c(audio)
    # The fields of a message may come in any order: bytes appended to a message are its last field.
    within_chunk = chunk.SerializeToString() + _DATA + _varint(len(audio))
    within_event = event.SerializeToString() + _AUDIO + _varint(len(within_chunk) + len(audio))
    size = len(within_event) + len(within_chunk) + len(audio)
    response = stream_pb2.WatchCompositionResponse(cursor=cursor).SerializeToString()
    return b"".join((response, _EVENT, _varint(size), within_event, within_chunk, audio))


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def _key(message_type: Descriptor, name: str) -> bytes:
    return _varint(message_type.fields_by_name[name].number << 3 | LENGTH_DELIMITED)


_DATA: Final = _key(audio_pb2.AudioChunk.DESCRIPTOR, "data")
_AUDIO: Final = _key(stream_pb2.CompositionEvent.DESCRIPTOR, "audio")
_EVENT: Final = _key(stream_pb2.WatchCompositionResponse.DESCRIPTOR, "event")
