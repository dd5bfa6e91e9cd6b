"""Sampling by vLLM's offline engine, in this process. No dependency of ours: imported when asked for."""

from collections.abc import Iterator, Sequence
from typing import Any

from chat.adllm.guidance import answer_grammar
from training.simulation.sampling import Generated, SampleRequest, SamplingError, SamplingSettings, seed_of

AT_ONCE = 512  # requests whose answers are kept until all of them are there


class VLLMSampler:
    """Shares a prompt's keys and values among its answers, which hang on the batch in the last bits."""

    name = "vllm"

    def __init__(self, model: str, *, context: int, **options: Any) -> None:
        try:
            from vllm import LLM
        except ImportError as error:
            raise SamplingError(
                f"vLLM cannot be imported ({error}): install it, or serve the model and use the openai engine"
            ) from None
        self._model, self.source = model, {"model": model}
        self._llm = LLM(model=model, max_model_len=context, enable_prefix_caching=True, **options)

    def together(self, n: int) -> int:
        return AT_ONCE

    def sample(
        self, requests: Sequence[SampleRequest], *, n: int, settings: SamplingSettings
    ) -> Iterator[list[Generated]]:
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        for start in range(0, len(requests), AT_ONCE):
            group = requests[start : start + AT_ONCE]
            params = [
                SamplingParams(
                    n=n,
                    temperature=settings.temperature,
                    top_p=settings.top_p,
                    top_k=settings.top_k,
                    max_tokens=settings.max_tokens,
                    seed=seed_of(settings.seed, request.id, bits=31),
                    structured_outputs=(
                        StructuredOutputsParams(grammar=answer_grammar(request.markers)) if request.markers else None
                    ),
                )
                for request in group
            ]
            try:
                outputs = self._llm.chat([list(request.messages) for request in group], params, use_tqdm=False)
            except ValueError as error:
                raise SamplingError(f"vLLM refused a prompt: {error}") from error
            for output in outputs:
                yield [
                    Generated(answer.text, len(answer.token_ids), answer.finish_reason != "length")
                    for answer in output.outputs
                ]
