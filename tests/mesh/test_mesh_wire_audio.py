"""Messages that the gateway encodes itself are equal to those that protobuf encodes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import stream_pb2
from segue_gateway.watch import message_bytes
from segue_runtime.rpc.chunks import crc32c

RESPONSES = (stream_pb2.ComposeResponse, stream_pb2.WatchCompositionResponse)


@given(
    cursor=st.text("abc", max_size=300),
    name=st.text("abc", max_size=200),
    first_frame=st.integers(0, 2**40),
    audio=st.one_of(st.binary(max_size=200), st.integers(100, 70_000).map(bytes)),
)
def test_audio_messages_decode_to_their_fields(cursor: str, name: str, first_frame: int, audio: bytes) -> None:
    def event() -> stream_pb2.CompositionEvent:
        return stream_pb2.CompositionEvent(composition=name, sequence=first_frame)

    chunk = audio_pb2.AudioChunk(first_frame=first_frame, section_id=name, stage=audio_pb2.STAGE_DRAFT)
    expected = event()
    expected.audio.CopyFrom(chunk)
    expected.audio.data, expected.audio.crc32c = audio, crc32c(audio)
    written = message_bytes.encode_audio(cursor, event(), chunk, audio)
    for response in RESPONSES:
        assert response.FromString(written) == response(cursor=cursor, event=expected)
        assert response.FromString(message_bytes.encode_event(cursor, event())) == response(
            cursor=cursor, event=event()
        )
