"""The Ad-LLM behind any OpenAI-compatible endpoint: `vllm serve`, `transformers serve` or a hosted one.

Knows the protocol and its failures; knows nothing of ads. `openai` is imported at the first call, since it takes half a
second. `transformers serve` refuses `top_k` and grammars, which are then left out: its model folder sets both.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from chat.adllm.engine import (
    Delta,
    EngineBadOutput,
    EngineError,
    EngineInterrupted,
    EngineRefused,
    EngineTimeout,
    EngineUnavailable,
    Messages,
    Sampling,
    Usage,
)

_OPTIONAL = ("top_k", "structured_outputs")  # what a server may refuse, named in its refusal
_OF_THE_QUESTION = (400, 413, 422)  # such as: longer than the model's context
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")  # what no database takes as text


@dataclass(frozen=True)
class Timeouts:
    """Seconds."""

    connect: float = 2.0
    first_token: float = 20.0
    between_tokens: float = 10.0
    total: float = 120.0
    after_finish: float = 1.0  # for the usage, once the model has said that it is done
    health: float = 1.0


class OpenAIEngine:
    def __init__(self, *, base_url: str, model: str, api_key: str = "", timeouts: Timeouts = Timeouts()) -> None:
        self.name = model
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key or "none"  # the client insists on one
        self._timeouts = timeouts
        self._refused: frozenset[str] = frozenset()  # replaced, never changed: threads read it
        self._clients: dict[asyncio.AbstractEventLoop, Any] = {}

    async def stream(self, messages: Messages, *, sampling: Sampling) -> AsyncIterator[Delta | Usage]:
        from openai import OpenAIError

        now = asyncio.get_running_loop().time
        times = self._timeouts
        deadline = now() + times.total
        limit = min(deadline, now() + times.first_token)
        deltas, finish, usage = 0, "", None
        try:
            async with asyncio.timeout_at(limit):
                response = await self._open(messages, sampling)
            async with aclosing(response):  # closing it is what stops the generation upstream
                while True:
                    async with asyncio.timeout_at(limit):
                        chunk = await anext(response, None)
                    if chunk is None:
                        break
                    usage = chunk.usage or usage
                    text, finish = _read(chunk, finish)
                    if text:
                        deltas += 1
                        yield Delta(text)
                        limit = min(deadline, now() + times.between_tokens)
                    if finish:
                        limit = now() + times.after_finish
                    elif deltas >= sampling.max_tokens:
                        finish = "length"  # the server knows no limit
                        break
        except (TimeoutError, OpenAIError, ValueError, TypeError, AttributeError) as error:
            if not finish:
                raise _translated(error, started=bool(deltas)) from error
        if finish not in ("stop", "length"):
            raise EngineInterrupted() if deltas else EngineBadOutput()
        if not deltas:
            raise EngineBadOutput("The model gave an empty answer. Please try again.")
        prompt_tokens = getattr(usage, "prompt_tokens", None) or 0
        yield Usage(prompt_tokens, getattr(usage, "completion_tokens", None) or deltas, finish)

    async def healthy(self) -> bool:
        """vLLM and `transformers serve` have /health; others at least list their models."""
        from openai import NotFoundError, OpenAIError

        try:
            async with asyncio.timeout(self._timeouts.health):
                for url in (self._base_url.removesuffix("/v1") + "/health", self._base_url + "/models"):
                    try:
                        await self._client().get(url, cast_to=str)
                        return True
                    except NotFoundError:
                        continue
        except (TimeoutError, OpenAIError):
            pass
        return False

    async def _open(self, messages: Messages, sampling: Sampling) -> Any:
        """Start the generation. Asked again only where the server refused to begin because of what it does not know."""
        from openai import BadRequestError, UnprocessableEntityError

        asked = {
            "model": self.name,
            "messages": list(messages),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if sampling.seed is not None:
            asked["seed"] = sampling.seed
        more: dict[str, Any] = {"top_k": sampling.top_k}
        if sampling.grammar:
            more["structured_outputs"] = {"grammar": sampling.grammar}
        create = self._client().chat.completions.create
        for _ in _OPTIONAL:
            taken = {name: value for name, value in more.items() if name not in self._refused}
            try:
                return await create(**asked, extra_body=taken)
            except (BadRequestError, UnprocessableEntityError) as refusal:
                named = {name for name in taken if name in refusal.response.text}
                if not named:
                    raise
                self._refused |= named
        return await create(**asked)

    def _client(self) -> Any:
        """One client per event loop. It keeps no idle connection, so nothing is left behind when a loop ends."""
        from openai import AsyncOpenAI, Timeout

        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            client = AsyncOpenAI(
                base_url=self._base_url,
                api_key=self._api_key,
                max_retries=0,  # a retry would sample again: a second auction
                timeout=Timeout(self._timeouts.total, connect=self._timeouts.connect),
                default_headers={"Connection": "close"},
            )
            # A new dict, since threads with loops of their own may be reading this one.
            self._clients = {loop: client} | {old: c for old, c in self._clients.items() if not old.is_closed()}
        return self._clients[loop]


def _read(chunk: Any, finish: str) -> tuple[str, str]:
    """Text and finish reason of one chunk. Raises ValueError, TypeError or AttributeError if it is not one."""
    if not chunk.choices:
        if chunk.choices is None:
            raise ValueError("a chunk without choices")
        return "", finish  # vLLM's usage comes alone
    choice = chunk.choices[0]
    text = choice.delta.content or ""
    return _NO_TEXT.sub("\ufffd", text), choice.finish_reason or finish


def _translated(error: Exception, *, started: bool) -> EngineError:
    from openai import APIStatusError, OpenAIError

    if isinstance(error, TimeoutError):
        return EngineTimeout()
    if isinstance(error, APIStatusError):
        return EngineRefused() if error.status_code in _OF_THE_QUESTION else EngineUnavailable()
    if isinstance(error, OpenAIError):  # refused, connect timeout, closed, or an error told in mid-stream
        return EngineInterrupted() if started else EngineUnavailable()
    return EngineBadOutput()
