"""The table of output formats agrees with the contract, and with the limits of the contract's fields."""

from __future__ import annotations

import pytest

from segue.audio.v1 import audio_pb2
from segue_audio.errors import InvalidSettings
from segue_audio.formats import DEFAULT_BIT_DEPTH, SUFFIXES, FileFormat, format_of

VALUES = [value for value in audio_pb2.FileFormat.DESCRIPTOR.values if value.number]


def test_every_format_of_the_contract_has_an_entry_and_the_other_way_round() -> None:
    assert [kind.contract_name for kind in FileFormat] == [value.name for value in VALUES]


@pytest.mark.parametrize("kind", FileFormat)
def test_the_contract_tells_clients_the_same_facts(kind: FileFormat) -> None:
    value = next(value for value in VALUES if value.name == kind.contract_name)
    options = value.GetOptions().Extensions[audio_pb2.file_format]
    assert tuple(options.suffixes) == kind.value.suffixes
    assert options.media_type == kind.media_type
    assert tuple(options.bit_depths) == kind.value.bit_depths


@pytest.mark.parametrize("kind", FileFormat)
def test_an_entry_is_complete(kind: FileFormat) -> None:
    entry = kind.value
    assert kind.is_lossless == (entry.bit_rates is None)
    assert not kind.is_lossless or DEFAULT_BIT_DEPTH in entry.bit_depths
    assert entry.sndfile_format or kind is FileFormat.WAV
    assert kind.has_sample_rate(entry.default_sample_rate or 48_000)


def test_suffixes_are_unique_and_lower_case() -> None:
    assert len(SUFFIXES) == sum(len(kind.value.suffixes) for kind in FileFormat)
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in SUFFIXES)
    assert format_of(".OGG") is FileFormat.OGG_OPUS
    with pytest.raises(InvalidSettings, match=r"use \.flac, .* or \."):
        format_of(".xyz")
