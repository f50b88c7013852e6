"""`segued check-renderer`: a table or JSON, and exit codes that scripts can use."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from tests.daemon.segued_command import segued
from tests.mesh.faulty_renderer import faulty_renderer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


async def without_checksums(_call: int, _start: Any, responses: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for response in responses:
        if response.WhichOneof("message") == "audio":
            response.audio.crc32c = 0
        yield response


async def test_a_sound_renderer_gives_a_table_and_exit_code_0(tmp_path: Path) -> None:
    async with faulty_renderer(tmp_path) as service:
        answer = await asyncio.to_thread(segued, tmp_path, "check-renderer", service.address)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "passed   stems" in answer.stdout
    assert "skipped  seeds" in answer.stdout
    assert "0 failed" in answer.stdout.splitlines()[-1]


async def test_a_broken_renderer_gives_exit_code_1_and_json_names_the_check(tmp_path: Path) -> None:
    async with faulty_renderer(tmp_path, without_checksums) as service:
        answer = await asyncio.to_thread(segued, tmp_path, "check-renderer", service.address, "--json")
    assert answer.returncode == 1, answer.stdout + answer.stderr
    results = [json.loads(line) for line in answer.stdout.splitlines()]
    assert [each["check"] for each in results if each["outcome"] == "failed"] == ["chunks"]
    assert all(each.keys() == {"check", "outcome", "promise", "detail"} for each in results)


async def test_a_model_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    async with faulty_renderer(tmp_path) as service:
        answer = await asyncio.to_thread(segued, tmp_path, "check-renderer", service.address, "--model", "other")
    assert answer.returncode == 2
    assert "its models are sketch" in answer.stderr


def test_an_address_where_nobody_answers_gives_exit_code_3(tmp_path: Path) -> None:
    answer = segued(tmp_path, "check-renderer", "127.0.0.1:1")
    assert answer.returncode == 3
    assert "does not answer" in answer.stderr
