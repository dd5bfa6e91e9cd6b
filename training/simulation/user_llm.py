"""Ask a User-LLM behind any OpenAI-compatible endpoint for JSON. Knows the protocol, not what is asked or answered.

A server that refuses `response_format` is asked without it from then on, and one that refuses `top_k` likewise: the
prompts describe the form in words. Every reader checks what comes: a server may also take `response_format` and ignore
it, as `transformers serve` does.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

TOP_P = 0.8  # App. B.2.1, as are the two below
TOP_K = 20
MAX_TOKENS = 2048


class UserLLMError(Exception):
    """No text came. `kind` is for counting: unavailable, timeout, refused or empty."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


class UserLLM(Protocol):
    """Anything that answers as a user would."""

    def ask(self, *, prompt: str, schema: dict[str, Any], temperature: float) -> str:
        """The text of one generation, meant to be JSON after the schema; unchecked. Raises UserLLMError."""
        ...


class OpenAIUserLLM:
    """A real endpoint: vLLM, `transformers serve` or a hosted one. Safe to use from several threads."""

    def __init__(
        self, *, base_url: str, model: str, api_key: str = "", timeout: float = 120.0, connect_timeout: float = 5.0
    ) -> None:
        self.name = model
        self.takes_response_format = True
        self._takes_top_k = True
        self._options = {"base_url": base_url, "api_key": api_key or "none"}  # the client insists on a key
        self._timeouts = (timeout, connect_timeout)
        self._opened: Any = None

    def ask(self, *, prompt: str, schema: dict[str, Any], temperature: float) -> str:
        """One generation. Asked again only where the server refused to begin because of an option."""
        from openai import APIConnectionError, APIStatusError, APITimeoutError, OpenAIError

        try:
            completion = self._create(prompt, schema, temperature)
        except APITimeoutError as error:
            raise UserLLMError("timeout", f"The User-LLM at {self._where} took too long.") from error
        except APIConnectionError as error:
            raise UserLLMError("unavailable", f"The User-LLM at {self._where} cannot be reached.") from error
        except APIStatusError as error:
            kind = "unavailable" if error.status_code >= 500 or error.status_code == 429 else "refused"
            raise UserLLMError(kind, f"The User-LLM at {self._where} refused: {_one_line(error.message)}") from error
        except (OpenAIError, ValueError) as error:
            raise UserLLMError("unavailable", f"The User-LLM at {self._where}: {_one_line(str(error))}") from error
        choices = getattr(completion, "choices", None)  # a proxy's page comes as plain text
        text = choices[0].message.content if choices else None
        if not isinstance(text, str) or not text.strip():
            raise UserLLMError("empty", f"The User-LLM at {self._where} gave an empty answer.")
        return text

    def _create(self, prompt: str, schema: dict[str, Any], temperature: float) -> Any:
        from openai import BadRequestError, UnprocessableEntityError

        while True:
            asked: dict[str, Any] = {}
            if takes_form := self.takes_response_format:
                form = {"name": "answer", "schema": schema, "strict": True}
                asked["response_format"] = {"type": "json_schema", "json_schema": form}
            if takes_top_k := self._takes_top_k:
                asked["extra_body"] = {"top_k": TOP_K}
            try:
                return self._client().chat.completions.create(
                    model=self.name,
                    messages=[{"role": "user", "content": prompt}],
                    temperature=temperature,
                    top_p=TOP_P,
                    max_tokens=MAX_TOKENS,
                    **asked,
                )
            except (BadRequestError, UnprocessableEntityError) as refusal:
                why = refusal.response.text
                named_form = any(word in why for word in ("response_format", "json_schema", "guided"))
                if not (takes_form and named_form) and not (takes_top_k and "top_k" in why):
                    raise
                if takes_form and named_form:
                    self.takes_response_format = False
                if takes_top_k and "top_k" in why:
                    self._takes_top_k = False

    def _client(self) -> Any:
        if self._opened is None:
            from openai import OpenAI, Timeout

            total, connect = self._timeouts
            # No retries of its own: whoever asks counts them.
            self._opened = OpenAI(**self._options, max_retries=0, timeout=Timeout(total, connect=connect))
        return self._opened

    @property
    def _where(self) -> str:
        return self._options["base_url"]


class ScriptedUserLLM:
    """The fake we ship: answers by a function of the prompt, or by a list, one after another; remembers the prompts."""

    name = "scripted"
    takes_response_format = True

    def __init__(self, answers: Callable[[str], str] | Sequence[str | UserLLMError]) -> None:
        self._answers = answers
        self.prompts: list[str] = []

    def ask(self, *, prompt: str, schema: dict[str, Any], temperature: float) -> str:
        """The next scripted answer; a scripted UserLLMError is raised."""
        self.prompts.append(prompt)
        answer = self._answers(prompt) if callable(self._answers) else self._answers[len(self.prompts) - 1]
        if isinstance(answer, UserLLMError):
            raise answer
        return answer


def _one_line(text: str, *, most: int = 300) -> str:
    return " ".join(text.split())[:most]
