"""The Python client of Segue: streams that resume, files that are complete, errors with reasons."""

from segue_client import events
from segue_client.blocking import BlockingClient, BlockingStream
from segue_client.channel import Access
from segue_client.client import Client, spec
from segue_client.errors import DamagedAudio, FieldViolation, SegueError
from segue_client.events import Update
from segue_client.stream import Chunk, Stream

__all__ = [
    "Access",
    "BlockingClient",
    "BlockingStream",
    "Chunk",
    "Client",
    "DamagedAudio",
    "FieldViolation",
    "SegueError",
    "Stream",
    "Update",
    "events",
    "spec",
]
