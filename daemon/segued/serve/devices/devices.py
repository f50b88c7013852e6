"""The devices of `renderer.devices`: cpu:2 is two processes on the CPU, cuda:all is one for each card."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from segue_runtime.rpc.addresses import ListenError
from segue_runtime.settings import process_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_DEVICES: Final = 64
LIST_TIMEOUT_S: Final = 30.0
CARDS: Final = "CUDA_VISIBLE_DEVICES"
FORMS: Final = "write cuda:all, cuda:0,1 or cpu:2"


@dataclass(frozen=True, slots=True)
class RendererDevice:
    """A device of a process of its own."""

    name: str
    kind: str
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


async def devices_of(setting: str) -> Sequence[RendererDevice]:
    """Return the devices that the setting names. Raises ListenError."""
    kind, _, which = setting.partition(":")
    if kind == "cpu" and re.fullmatch(r"[0-9]{1,3}", which) and 1 <= int(which) <= MAX_DEVICES:
        return [RendererDevice(f"cpu:{number}", "cpu") for number in range(int(which))]
    if kind != "cuda" or not re.fullmatch(r"all|[0-9]{1,2}(,[0-9]{1,2})*", which):
        raise ListenError(f"renderer.devices: {setting!r} is none: {FORMS}")
    present = await _cards()
    numbers = range(len(present)) if which == "all" else dict.fromkeys(int(each) for each in which.split(","))
    if not numbers or max(numbers) >= len(present):
        raise ListenError(f"renderer.devices: {setting}: this machine shows {len(present)} cards")
    return [RendererDevice(f"cuda:{number}", "cuda", {CARDS: present[number]}) for number in numbers]


async def _cards() -> list[str]:
    """Return the names of the cards that this process may use, as CUDA_VISIBLE_DEVICES has them."""
    named = process_environment().get(CARDS)
    if named is not None:
        return [each.strip() for each in named.split(",") if each.strip()]
    try:
        listing = await asyncio.create_subprocess_exec(
            "nvidia-smi", "-L", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(LIST_TIMEOUT_S):
            output, _ = await listing.communicate()
    except (OSError, TimeoutError) as error:
        raise ListenError("renderer.devices: the cards cannot be listed: nvidia-smi does not answer") from error
    return re.findall(r"^GPU \d+:.*\(UUID: (GPU-[0-9a-f-]+)\)", output.decode(errors="replace"), re.MULTILINE)
