"""Sampling in this process: any causal model of transformers with full attention, on the CPU or a GPU.

A prompt with 100 candidates is long and its answers are short, so each prompt is read once and its answers branch from
its keys and values: a step attends to one prefix for all answers of a query, and to each answer's own tokens behind it.
Against `generate` with num_return_sequences this saves reading n times and keeping n copies. Knows no ads.

On the CPU each thread writes a batch of its own: a step of one token is too little work to be shared by several.

The same seed and query draw the same random numbers whatever else is asked. The numbers they are held against may round
differently in a batch of another shape; where bytes must be equal, ask again from a multiple of `together(n)`.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from threading import Event

import torch
from transformers import AttentionInterface, AutoModelForCausalLM, AutoTokenizer
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from training.dataset.device import default_device, memory_kept, side_by_side
from training.simulation.guidance import MarkerGuide, constrain, token_table, written_markers
from training.simulation.prefix import Prefix, read_prefix
from training.simulation.sampling import Generated, SampleRequest, SamplingError, SamplingSettings, seed_of

ROWS, GPU_ROWS = 32, 160  # answers written together; more do not help a core
ATTENTION = "branches"


class Branches:
    """Keys and values while G prompts are answered by n answers each: the prompts', shared, and the answers' own."""

    def __init__(self, cache: Prefix, lengths: torch.Tensor, n: int) -> None:
        self.prefix = [(layer.keys, layer.values) for layer in cache.layers]  # each (G, kv heads, P, size)
        self.n = n
        width = self.prefix[0][0].shape[2]
        self.shortest = int(lengths.min())
        places = torch.arange(self.shortest, width, device=lengths.device)
        self.hidden = (places >= lengths[:, None])[:, None, None]  # (G, 1, 1, P - shortest): padding
        self.own: list[tuple[torch.Tensor, torch.Tensor]] = []  # each (G * n, kv heads, room, size)
        self.step = 0
        self._scores: torch.Tensor | None = None

    def add(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep this step's key and value (G * n, kv heads, 1, size); returns all of the answers' so far."""
        if layer == len(self.own):
            self.own.append((key[:, :, :0], value[:, :, :0]))
        keys, values = self.own[layer]
        if self.step == keys.shape[2]:  # room doubles, so that a step seldom copies what stands
            more = (0, 0, 0, max(16, self.step))
            keys, values = (torch.nn.functional.pad(part, more) for part in (keys, values))
            self.own[layer] = keys, values
        keys[:, :, self.step], values[:, :, self.step] = key[:, :, 0], value[:, :, 0]
        return keys[:, :, : self.step + 1], values[:, :, : self.step + 1]

    def scores(self, *shape: int, like: torch.Tensor) -> torch.Tensor:
        """Room for one layer's scores, the same memory every time: they are the largest thing that a step makes."""
        size = math.prod(shape)
        if self._scores is None or self._scores.numel() < size:
            self._scores = like.new_empty(size + size // 8)
        return self._scores[:size].view(shape)

    def keep(self, groups: torch.Tensor) -> None:
        """Forget all queries but these."""
        rows = (groups[:, None] * self.n + torch.arange(self.n, device=groups.device)).flatten()
        self.prefix = [(keys[groups], values[groups]) for keys, values in self.prefix]
        self.own = [(keys[rows], values[rows]) for keys, values in self.own]
        self.hidden = self.hidden[groups]


def _attend(module, query, key, value, attention_mask, scaling=None, branches: Branches | None = None, **kwargs):
    """Attention over a shared prefix and own tokens; without branches the usual one."""
    if branches is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    keys, values = branches.add(module.layer_idx, key, value)
    prefix_keys, prefix_values = (part.flatten(0, 1) for part in branches.prefix[module.layer_idx])
    rows, heads, _, size = query.shape
    shared, width, n = key.shape[1], prefix_keys.shape[1], branches.n
    groups, per = rows // n, heads // shared
    query = query.reshape(rows, shared, per, size) * (scaling or size**-0.5)

    # 1) All answers of a query, and all heads that share keys, are rows of one product with the prefix.
    def stacked(part: torch.Tensor) -> torch.Tensor:  # (G * n, kv heads, per, X) -> (G * kv heads, n * per, X)
        return part.view(groups, n, shared, per, -1).transpose(1, 2).reshape(groups * shared, n * per, -1)

    def by_answer(part: torch.Tensor) -> torch.Tensor:  # and back
        return part.view(groups, shared, n, per, -1).transpose(1, 2).reshape(rows, shared, per, -1)

    scores = branches.scores(groups * shared, n * per, width + keys.shape[2], like=query)
    torch.bmm(stacked(query), prefix_keys.transpose(1, 2), out=scores[..., :width])
    padding = scores.view(groups, shared, n * per, -1)[..., branches.shortest : width]
    padding.masked_fill_(branches.hidden, float("-inf"))
    scores[..., width:] = stacked(query @ keys.transpose(2, 3))

    # 2) One softmax over both.
    weights = scores.softmax(dim=2, dtype=torch.float32).to(query.dtype)

    # 3) And the values, weighed.
    out = by_answer(torch.bmm(weights[..., :width], prefix_values)) + by_answer(weights[..., width:]) @ values
    return out.reshape(rows, 1, heads, size), None


AttentionInterface.register(ATTENTION, _attend)


def draw(logits: torch.Tensor, chances: torch.Tensor, settings: SamplingSettings) -> torch.Tensor:
    """The next token of each row (B, V): temperature, top-k, then top-p; `chances` (B) are uniform in [0, 1)."""
    if settings.temperature == 0:
        return logits.argmax(dim=1)
    most = min(settings.top_k, logits.shape[1]) if settings.top_k > 0 else logits.shape[1]
    best, tokens = (logits.float() / settings.temperature).topk(most, dim=1)  # (B, K), falling
    weights = best.softmax(dim=1)
    before = weights.cumsum(dim=1) - weights
    weights = weights.masked_fill(before >= settings.top_p, 0.0)  # the first always stays
    sums = weights.cumsum(dim=1)
    place = (sums <= chances[:, None] * sums[:, -1:]).sum(dim=1, keepdim=True).clamp_max(most - 1)
    return tokens.gather(1, place)[:, 0]


class TransformersSampler:
    name = "transformers"

    def __init__(
        self, model: str | Path, *, device: str | None = None, rows: int | None = None, keep_memory: bool = True
    ) -> None:
        """Load a folder or a published model: float32 on the CPU, bfloat16 on a GPU. Raises SamplingError."""
        self._device = torch.device(device or default_device())
        dtype = torch.float32 if self._device.type == "cpu" else torch.bfloat16
        try:
            self._tok = AutoTokenizer.from_pretrained(model)
            loaded = AutoModelForCausalLM.from_pretrained(model, dtype=dtype, attn_implementation=ATTENTION)
        except (OSError, ValueError) as error:
            raise SamplingError(f"No model could be loaded from {model}: {str(error).splitlines()[0]}") from None
        if set(getattr(loaded.config, "layer_types", None) or ()) - {"full_attention"}:
            raise SamplingError(f"{model} does not attend to all of the prompt in every layer: serve it with vLLM")
        self._model = loaded.eval().to(self._device)
        ends = loaded.generation_config.eos_token_id or self._tok.eos_token_id
        self._ends = torch.tensor(ends if isinstance(ends, list) else [ends], device=self._device)
        self._rows = rows or (ROWS if self._device.type == "cpu" else GPU_ROWS)
        self._memory = memory_kept if keep_memory else nullcontext
        self.source = {"model": str(model), "dtype": str(dtype).removeprefix("torch."), "sha256": _weights_hash(model)}

    def together(self, n: int) -> int:
        return max(1, self._rows // n)

    def sample(
        self, requests: Sequence[SampleRequest], *, n: int, settings: SamplingSettings
    ) -> Iterator[list[Generated]]:
        size = self.together(n)
        batches = [requests[start : start + size] for start in range(0, len(requests), size)]
        threads = torch.get_num_threads() if self._device.type == "cpu" else 1
        with self._memory():
            for answers in side_by_side(
                lambda part, gone: self._answer(part, n, settings, gone), batches, threads=threads
            ):
                yield from answers

    def _prompts(self, requests: Sequence[SampleRequest], context: int) -> list[list[int]]:
        texts = [
            self._tok.apply_chat_template(list(request.messages), add_generation_prompt=True, tokenize=False)
            for request in requests
        ]
        prompts = self._tok(texts, add_special_tokens=False)["input_ids"]
        for request, prompt in zip(requests, prompts, strict=True):
            if len(prompt) >= context:
                raise SamplingError(f"The prompt of {request.id} has {len(prompt)} tokens, the context is {context}")
        return prompts

    @torch.inference_mode()
    def _answer(
        self, requests: Sequence[SampleRequest], n: int, settings: SamplingSettings, gone: Event
    ) -> list[list[Generated]]:
        context = min(settings.context, self._model.config.max_position_embeddings)
        prompts = self._prompts(requests, context)
        device = self._device

        # 1) Read all of each prompt but its last token, padded on the right, where causal attention never looks.
        lengths = torch.tensor([len(prompt) - 1 for prompt in prompts], device=device)
        width = int(lengths.max())
        padded = torch.tensor([prompt[:-1] + [0] * (width - len(prompt) + 1) for prompt in prompts], device=device)
        branches = Branches(read_prefix(self._model, padded)[0], lengths, n)

        # 2) The last token is the first step of every answer. Each query has random numbers of its own.
        last = torch.tensor([prompt[-1] for prompt in prompts], device=device).repeat_interleave(n)  # (G * n)
        places = lengths.repeat_interleave(n)
        rooms = (context - lengths - 1).clamp_max(settings.max_tokens).repeat_interleave(n)
        chances = [torch.Generator().manual_seed(seed_of(settings.seed, request.id)) for request in requests]
        alive = torch.arange(len(requests) * n, device=device)  # the rows still computed, by their number in `written`
        going = torch.ones_like(alive, dtype=torch.bool)
        steps: list[tuple[torch.Tensor, torch.Tensor]] = []
        guides = self._guides(requests, n)
        while not gone.is_set():
            output = self._model(
                input_ids=last[:, None], position_ids=places[:, None], use_cache=False, branches=branches
            )
            branches.step += 1
            uniform = torch.cat([torch.rand(n, generator=chances[g]) for g in (alive[::n] // n).tolist()]).to(device)
            scores = output.logits[:, -1]
            if guides:
                constrain(scores, [guides[answer] for answer in alive.tolist()])
            last = draw(scores, uniform, settings)
            for answer, token in zip(alive.tolist(), last.tolist(), strict=True) if guides else ():
                guides[answer].add(token)
            steps.append((alive[going], last[going]))
            places = places + 1
            going = going & ~torch.isin(last, self._ends) & (branches.step < rooms)

            # 3) Once half of the queries are done, the others go on alone.
            busy = going.view(-1, n).any(dim=1)
            if not (left := int(busy.sum())):
                break
            if left <= len(busy) // 2:
                branches.keep(busy.nonzero()[:, 0])
                rows = busy.repeat_interleave(n)
                last, places, rooms, alive, going = (part[rows] for part in (last, places, rooms, alive, going))

        return [] if gone.is_set() else self._texts(steps, len(requests), n)

    def _guides(self, requests: Sequence[SampleRequest], n: int) -> list[MarkerGuide]:
        """One for each answer, or none where no request is guided."""
        if not any(request.markers for request in requests):
            return []
        try:
            table = token_table(self._tok)
        except ValueError as error:
            raise SamplingError(f"{error}; serve the model with vLLM, or leave it free") from None
        return [MarkerGuide(table, markers) for r in requests for markers in [written_markers(r.markers)] * n]

    def _texts(self, steps: list[tuple[torch.Tensor, torch.Tensor]], count: int, n: int) -> list[list[Generated]]:
        written: list[list[int]] = [[] for _ in range(count * n)]
        for rows, tokens in steps:
            for row, token in zip(rows.tolist(), tokens.tolist(), strict=True):
                written[row].append(token)
        ends = set(self._ends.tolist())
        texts = self._tok.batch_decode(written, skip_special_tokens=True)
        answers = [
            Generated(text, len(tokens), tokens[-1] in ends) for text, tokens in zip(texts, written, strict=True)
        ]
        return [answers[start : start + n] for start in range(0, len(answers), n)]


def _weights_hash(model: str | Path) -> str:
    """SHA-256 over a folder's weights and tokenizer; "" for a published model, which its name tells."""
    digest = hashlib.sha256()
    files = sorted(file for file in Path(model).glob("*") if file.suffix in (".safetensors", ".json", ".jinja"))
    for file in files:
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest() if files else ""
