"""What the chat asks of a language model, and how that may fail. Knows nothing of HTTP, of ads or of Django.

One call of `stream` is one generation: no engine tries again by itself, because a second sample is a second auction.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

Messages = Sequence[dict[str, str]]


@dataclass(frozen=True)
class Sampling:
    """App. B.2.1 of the paper. Chosen by the server alone, never by a visitor.

    `grammar` (GBNF) is all that may be written, where the model server can keep a model to one; "" leaves it free.
    """

    temperature: float = 0.7
    top_p: float = 0.8
    top_k: int = 20
    max_tokens: int = 2048
    seed: int | None = None
    grammar: str = ""


@dataclass(frozen=True)
class Delta:
    text: str


@dataclass(frozen=True)
class Usage:
    """The last item of a stream. 0 prompt tokens: the server did not say. finish_reason is "stop" or "length"."""

    prompt_tokens: int
    completion_tokens: int
    finish_reason: str


class Engine(Protocol):
    """Anything that answers. `name` is what the page may call it."""

    name: str

    def stream(self, messages: Messages, *, sampling: Sampling) -> AsyncIterator[Delta | Usage]:
        """Deltas as they come, then one Usage; or an EngineError after any number of deltas.

        Wrap it in contextlib.aclosing: leaving the loop early, or being cancelled, then stops the generation at once.
        """
        ...

    async def healthy(self) -> bool:
        """Would a question be taken now? Answers within about a second."""
        ...


class EngineError(Exception):
    """No whole answer. `user_message` may be shown to a visitor; the cause is for the log."""

    default_message: ClassVar[str] = "Something went wrong while the answer was written."

    def __init__(self, user_message: str = "") -> None:
        self.user_message = user_message or self.default_message
        super().__init__(self.user_message)


class EngineUnavailable(EngineError):
    """Down, refusing or overloaded, before the first token. Nothing was written."""

    default_message = "The model is not available right now. Please try again in a moment."


class EngineRefused(EngineError):
    """The server is well, but does not take this question. Nothing was written."""

    default_message = "The model does not take this question. Please word it differently, or make it shorter."


class EngineTimeout(EngineError):
    """Too slow: the first token, the next one or the whole."""

    default_message = "The model took too long to answer. Please try again."


class EngineInterrupted(EngineError):
    """Cut off after the first token. What came before stands."""

    default_message = "The answer was cut off."


class EngineBadOutput(EngineError):
    """What came is no answer: empty, or not in the protocol."""

    default_message = "The model gave no readable answer. Please try again."
