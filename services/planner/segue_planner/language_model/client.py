"""Asks a language model for a proposal, within a time limit. On any failure the rules plan without it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from segue_planner.language_model.ollama import LanguageModelError, OllamaClient
from segue_planner.language_model.proposal import Proposal, ProposalError, parse_proposal
from segue_planner.language_model.request import RULES, build_request, proposal_schema
from segue_planner.text import clean, clip
from segue_runtime import logs
from segue_runtime.settings import SettingsError

if TYPE_CHECKING:
    from segue_music.plan import Brief
    from segue_planner.prompt.prompt_facts import PromptFacts
    from segue_runtime.settings import PlannerSettings

CACHE_SIZE: Final = 128
"""The number of cached answers. The cache makes a preview and the composition after it agree."""
MAX_CONCURRENT: Final = 4
MAX_REASON_BYTES: Final = 300
log = logs.get("planner")


class LanguageModel:
    """Asks one model and caches its answers; `propose` raises nothing but CancelledError."""

    def __init__(self, client: OllamaClient, time_limit_s: float) -> None:
        self._client, self._time_limit_s = client, time_limit_s
        self._cache: OrderedDict[tuple[str, int], str] = OrderedDict()
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)

    async def propose(
        self, text: str, brief: Brief, prompt: PromptFacts, seed: int, left_s: float | None = None
    ) -> Proposal | str:
        """Return a proposal, or the reason why there is none. `left_s` is the caller's remaining time."""
        request = build_request(text, brief, prompt)
        limit_s = self._time_limit_s if left_s is None else min(self._time_limit_s, left_s)
        answer = self._cache.get((request, seed))
        try:
            if answer is None:
                async with asyncio.timeout(max(0.0, limit_s)), self._slots:
                    answer = await self._client.ask(RULES, request, proposal_schema(), seed)
            proposal = await asyncio.to_thread(parse_proposal, answer)
        except TimeoutError:
            reason = f"no answer within {limit_s:.3g} s"
        except (LanguageModelError, ProposalError) as error:
            reason = str(error)
        else:
            self._cache_answer((request, seed), answer)
            return proposal
        reason = clip(clean(reason), MAX_REASON_BYTES)
        log.warning("language model not used", model=self._client.model, reason=reason)
        return reason

    def _cache_answer(self, key: tuple[str, int], answer: str) -> None:
        self._cache[key] = answer
        self._cache.move_to_end(key)
        while len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)


def make_language_model(settings: PlannerSettings) -> LanguageModel | None:
    """Return the model that the settings name, or None for the rules alone; SettingsError for unusable settings."""
    if settings.backend == "rules":
        return None
    model = settings.ollama_model.strip()
    if not model:
        raise SettingsError(["planner.ollama_model: name a model that the server has, for example llama3.2"])
    try:
        client = OllamaClient(settings.ollama_url, model, settings.ollama_token)
    except ValueError as error:
        raise SettingsError([str(error)]) from error
    return LanguageModel(client, settings.time_limit_s)
