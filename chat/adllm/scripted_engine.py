"""An engine that says what it is told, for tests and for drills with a hostile model. Knows no network."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from chat.adllm.engine import Delta, EngineError, EngineInterrupted, Messages, Sampling, Usage

Script = Sequence[str] | Callable[[Messages], str]


class ScriptedEngine:
    """Answers with the texts in turn, beginning again after the last, or with what a function makes of the messages.

    Each answer comes in pieces of `chunk_size` characters, `delay` seconds apart. With `fail_after` set, `error` is
    raised once that many characters are out (0: before the first). `calls` keeps the messages of every generation.
    """

    def __init__(
        self,
        script: Script,
        *,
        name: str = "scripted",
        chunk_size: int = 8,
        delay: float = 0.0,
        fail_after: int | None = None,
        error: EngineError | None = None,
    ) -> None:
        self.name = name
        self.calls: list[Messages] = []
        self.open_streams = 0
        self._script = script
        self._chunk_size = chunk_size
        self._delay = delay
        self._fail_after = fail_after
        self._error = error or EngineInterrupted()

    async def stream(self, messages: Messages, *, sampling: Sampling) -> AsyncIterator[Delta | Usage]:
        script = self._script
        whole = script(messages) if callable(script) else script[len(self.calls) % len(script)]
        text = whole[: self._fail_after]
        self.calls.append(messages)
        self.open_streams += 1
        try:
            for start in range(0, len(text), self._chunk_size):
                await asyncio.sleep(self._delay)
                yield Delta(text[start : start + self._chunk_size])
            if self._fail_after is not None:
                raise self._error
            prompt = sum(len(message["content"].split()) for message in messages)
            yield Usage(prompt_tokens=prompt, completion_tokens=len(whole.split()), finish_reason="stop")
        finally:
            self.open_streams -= 1

    async def healthy(self) -> bool:
        return True
