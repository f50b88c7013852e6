"""A role's process that dies of certain work: `python -m tests.mesh.poisoned_role ROLE ADDRESS FOLDER NAME=VALUE…`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from segue_analyzer.service import AnalyzerService
from segue_conductor.runs.composition import CompositionRun
from segue_mixer.service import MixerService
from segue_planner.service import PlannerService
from segue_renderer.service import RendererService
from segue_runtime.settings import load
from segued.serve.node import Node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

PLANNER, READER, RENDERER, MIXER, ANALYZER = "deadplan", "deadread", "deadrender", "deadmix", "deadreport"
"""The words that kill: the planner in a prompt, the analyzer in a plan, the renderer at its first message or later."""
CONDUCTOR = "deadconduct"
DEADLY_MIX_S = 5
"""A mixer knows no prompts: it dies of a mix that is longer."""
WAIT_S = 0.05
"""Work takes a while, so that other work is in the process when it dies."""


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def replace_method(service: type, method: str, call: Callable[..., Any]) -> None:
    """Replace a method of a class, for all who use it."""
    setattr(service, method, call)


def poison_planner() -> None:
    real: Any = PlannerService.CreatePlan

    async def create_plan(self: PlannerService, request: Any, context: Any) -> Any:
        await asyncio.sleep(4 * WAIT_S)
        if PLANNER in request.brief.prompt:
            die()
        return await real(self, request, context)

    replace_method(PlannerService, "CreatePlan", create_plan)


def poison_conductor() -> None:
    real: Any = CompositionRun._draft  # noqa: SLF001 - where a piece has a plan and no progress

    async def draft(self: Any, job: Any) -> Any:
        if CONDUCTOR in job.spec.brief.prompt:
            await asyncio.sleep(10 * WAIT_S)
            die()
        return await real(self, job)

    replace_method(CompositionRun, "_draft", draft)


def poison_stream(service: Any, method: str, is_deadly: Callable[[Any], bool], num_audio: int) -> None:
    """Die after some audio, sent or received, of a call whose first message is deadly."""
    real = getattr(service, method)

    async def call(self: Any, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        dies = False
        left = num_audio

        async def passed(messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
            nonlocal dies, left
            async for message in messages:
                kind = message.WhichOneof("message")
                if kind == "start":
                    dies = is_deadly(message.start)
                    if service is RendererService and READER in message.start.spec.prompt:
                        die()
                yield message
                if kind == "audio":
                    left -= 1
                    await asyncio.sleep(WAIT_S if left > 0 else 0)
                    if dies and left <= 0:
                        die()

        async for response in passed(real(self, passed(requests), context)):
            yield response

    replace_method(service, method, call)


def is_long(start: Any) -> bool:
    frames: int = sum(section.frames for section in start.sections)
    return frames > DEADLY_MIX_S * int(start.format.sample_rate)


POISON: dict[str, Callable[[], None]] = {
    "planner": poison_planner,
    "renderer": lambda: poison_stream(
        RendererService, "RenderSection", lambda start: RENDERER in start.spec.prompt, num_audio=3
    ),
    "mixer": lambda: poison_stream(MixerService, "Mix", is_long, num_audio=5),
    "analyzer": lambda: poison_stream(
        AnalyzerService,
        "Analyze",
        lambda start: any(ANALYZER in section.spec.prompt for section in start.plan.sections),
        num_audio=3,
    ),
    "all": poison_conductor,
}


async def main(role: str, address: str, folder: str, *more: str) -> None:
    """Serve until killed."""
    POISON[role]()
    listens = "gateway" if role == "all" else role
    settings = {"home": folder, "server.role": role, f"{listens}.listen": address}
    settings |= dict(setting.split("=", 1) for setting in more)
    async with Node(load(settings, environ={}, folder=None)):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
