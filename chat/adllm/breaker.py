"""A circuit breaker before a model server: while it is down, questions are told so at once instead of waiting for it.

Wraps any engine and is one itself. Knows nothing of HTTP; counts for this process alone.
"""

import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

from chat.adllm.engine import Delta, Engine, EngineTimeout, EngineUnavailable, Messages, Sampling, Usage

FAILURES = 5  # in a row, before the first token: then the server is taken to be down
RETRY_SECONDS = 5.0  # after that long the next question finds out whether it is back


class Breaker:
    """Closed it lets every question through; open, none. Once RETRY_SECONDS have passed, one question is the probe.

    The probe asks for the server's health first, so that it too is refused within about a second, and its first token
    closes the breaker: a server that is back is in use again after RETRY_SECONDS at the latest.
    """

    def __init__(self, engine: Engine, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = engine.name
        self._engine = engine
        self._clock = clock
        self._lock = threading.Lock()  # generations run in the loops of several threads
        self._failures = 0
        self._probe_at = 0.0
        self._probing = False

    async def stream(self, messages: Messages, *, sampling: Sampling) -> AsyncIterator[Delta | Usage]:
        is_probe = self._admit()
        answered = False
        try:
            if is_probe and not await self._engine.healthy():
                raise EngineUnavailable
            async with aclosing(self._engine.stream(messages, sampling=sampling)) as events:
                async for event in events:
                    if not answered:
                        answered = True
                        self._succeeded()
                    yield event
        except (EngineUnavailable, EngineTimeout):
            if not answered:
                self._failed()
            raise
        finally:
            if is_probe:
                self._probing = False

    async def healthy(self) -> bool:
        return await self._engine.healthy()

    def _admit(self) -> bool:
        """Is this question the probe? Raises EngineUnavailable where it may not pass."""
        with self._lock:
            if self._failures < FAILURES:
                return False
            if self._probing or self._clock() < self._probe_at:
                raise EngineUnavailable
            self._probing = True
            return True

    def _succeeded(self) -> None:
        with self._lock:
            self._failures = 0

    def _failed(self) -> None:
        with self._lock:
            self._failures += 1
            self._probe_at = self._clock() + RETRY_SECONDS
