"""Sampling from a server with an OpenAI-compatible API: vLLM, `transformers serve` or a hosted one. Knows no ads.

Servers differ: some ignore n, some refuse it, top_k or seed. The first answers show which, and what is missing is asked
for by itself. (vLLM 0.32 on a CPU needs --no-enable-chunked-prefill: see vllm_server.) No money hangs on these answers,
so a connection that fails is tried again, a few times.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

from chat.adllm.guidance import answer_grammar
from training.simulation.sampling import Generated, SampleRequest, SamplingError, SamplingSettings, seed_of

TRIES = 4
OPTIONAL = ("n", "top_k", "seed", "structured_outputs")  # what a server may refuse; named in its refusal


class OpenAISampler:
    name = "openai"

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        api_key: str = "",
        concurrency: int = 32,
        timeout: float = 600.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.source = {"model": model, "base_url": base_url}
        self._model, self._base_url, self._api_key = model, base_url.rstrip("/"), api_key or "none"
        self._concurrency, self._timeout, self._sleep = concurrency, timeout, sleep
        self._refused: frozenset[str] = frozenset()  # replaced, never changed: threads read it

    def together(self, n: int) -> int:
        return 1

    def sample(
        self, requests: Sequence[SampleRequest], *, n: int, settings: SamplingSettings
    ) -> Iterator[list[Generated]]:
        """`concurrency` requests at a time, answers in the order of the requests. Raises SamplingError."""
        from openai import OpenAI, Timeout

        client = OpenAI(
            base_url=self._base_url,
            api_key=self._api_key,
            max_retries=0,  # counted here
            timeout=Timeout(self._timeout, connect=5.0),
        )
        pool = ThreadPoolExecutor(self._concurrency)
        waiting: deque[Future[list[Generated]]] = deque()
        rest = iter(requests)
        try:
            while True:
                for request in islice(rest, 2 * self._concurrency - len(waiting)):
                    waiting.append(pool.submit(self._answers, client, request, n, settings))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            client.close()  # ends what is under way

    def _answers(self, client: Any, request: SampleRequest, n: int, settings: SamplingSettings) -> list[Generated]:
        """All `n` answers in one generation where the server can, the missing ones in further ones."""
        found: list[Generated] = []
        while len(found) < n:
            ask = 1 if "n" in self._refused else n - len(found)
            seed = seed_of(settings.seed, request.id, len(found), bits=31)
            got = self._generate(client, request, ask, seed, settings)
            if len(got) < ask:
                self._refused |= {"n"}
            found += got[:ask]
        return found

    def _generate(
        self, client: Any, request: SampleRequest, n: int, seed: int, settings: SamplingSettings
    ) -> list[Generated]:
        from openai import APIConnectionError, APIStatusError, OpenAIError

        for attempt in range(1, TRIES + len(OPTIONAL) + 1):
            refused = self._refused
            more: dict[str, Any] = {"top_k": settings.top_k}
            if request.markers:
                more["structured_outputs"] = {"grammar": answer_grammar(request.markers)}
            more = {name: value for name, value in more.items() if name not in refused}
            asked: dict[str, Any] = {"n": n, "seed": seed, "extra_body": more}
            if n == 1 or "n" in refused:
                del asked["n"]
            if "seed" in refused:
                del asked["seed"]
            try:
                completion = client.chat.completions.create(
                    model=self._model,
                    messages=list(request.messages),
                    temperature=settings.temperature,
                    top_p=settings.top_p,
                    max_tokens=settings.max_tokens,
                    **asked,
                )
                return _read(completion)
            except APIStatusError as error:
                named = {name for name in OPTIONAL if name not in refused and f"'{name}'" in _quoted(error)}
                if error.status_code in (400, 422) and named:
                    self._refused |= named
                elif error.status_code not in (429, 502, 503) or attempt >= TRIES:
                    why = " ".join(error.message.split())[:300]
                    raise SamplingError(f"The model server at {self._base_url} refused {request.id}: {why}") from error
                else:
                    self._sleep(2.0 ** (attempt - 1))
            except APIConnectionError as error:
                if attempt >= TRIES:
                    raise SamplingError(f"The model server at {self._base_url} cannot be reached") from error
                self._sleep(2.0 ** (attempt - 1))
            except (OpenAIError, ValueError, TypeError, AttributeError) as error:
                raise SamplingError(f"The model server at {self._base_url} sent no answer to {request.id}") from error
        raise SamplingError(f"The model server at {self._base_url} refuses every form of {request.id}")


def _quoted(error: Any) -> str:
    return error.response.text.replace('"', "'").replace("`", "'")


def _read(completion: Any) -> list[Generated]:
    """The answers. A server counts the tokens of all together; each gets its share by length, and the sum is exact."""
    choices = completion.choices
    if not choices:
        raise ValueError("no choices")
    texts = [choice.message.content or "" for choice in choices]
    total = getattr(completion.usage, "completion_tokens", None) or 0
    whole, given, before, answers = sum(map(len, texts)) or 1, 0, 0, []
    for choice, text in zip(choices, texts, strict=True):
        before += len(text)
        upto = round(total * before / whole)
        answers.append(Generated(text, upto - given, choice.finish_reason != "length"))
        given = upto
    return answers
