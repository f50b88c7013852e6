"""The Python client of Segue: streams that resume, files that are whole, errors with reasons."""

from segue_client.channel import Access
from segue_client.client import Client
from segue_client.errors import DamagedAudio, FieldViolation, SegueError
from segue_client.streams import Update

__all__ = ["Access", "Client", "DamagedAudio", "FieldViolation", "SegueError", "Update"]
