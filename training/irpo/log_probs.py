"""Log-probabilities of several answers to one prompt, the prompt read once. Any causal model of transformers.

A prompt with 100 candidates is ten times as long as an answer, so it is read once and its answers branch from its keys
and values; gradients flow back through them. Knows nothing of preferences.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.distributed.fsdp import FSDPModule
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from training.dataset.jsonl import DataError
from training.simulation.prefix import read_prefix
from training.simulation.sampling import Messages

IGNORED = -100


@dataclass(frozen=True)
class Answers:
    """One prompt and its answers, in tokens. `answers` are never empty; each ends with the end token if it ended."""

    query_id: str
    prompt: list[int]
    answers: list[list[int]]


def tokenize(
    tokenizer: PreTrainedTokenizerBase,
    *,
    query_id: str,
    messages: Messages,
    texts: Sequence[tuple[str, bool]],
    context: int,
) -> Answers:
    """Each text comes with whether it ended by itself. The prompt has the tokens that the sampler gave the model.

    Raises DataError for an answer without tokens, and for one that does not fit: nothing is ever cut away.
    """
    rendered = tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)
    prompt = tokenizer(rendered, add_special_tokens=False)["input_ids"]
    answers = []
    for number, (text, ended) in enumerate(texts):
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id] * ended
        if not tokens:
            raise DataError(f"an answer to {query_id} has no tokens (number {number})")
        if len(prompt) + len(tokens) > context:
            raise DataError(
                f"prompt and answer to {query_id} have {len(prompt)} + {len(tokens)} tokens, the context is {context}"
            )
        answers.append(tokens)
    return Answers(query_id, prompt, answers)


def log_probs(model: PreTrainedModel, group: Answers) -> torch.Tensor:
    """log pi(y | prompt) of each answer, (K,) float32: the sum over its tokens, the end token included."""
    return (branched if can_branch(model) and len(group.prompt) > 1 else whole)(model, group)


def can_branch(model: PreTrainedModel) -> bool:
    """Does every layer attend to the whole prompt? Then its keys and values are all that answers need of it."""
    kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or ())
    return kinds <= {"full_attention"}


def branched(model: PreTrainedModel, group: Answers) -> torch.Tensor:
    """The prompt once, then all answers as rows behind it. Needs the cache: no gradient checkpointing."""
    # 1) Read all of the prompt but its last token, which foretells every answer's first.
    read = torch.tensor([group.prompt[:-1]], device=model.device)
    cache, nothing = read_prefix(model, read, stop=not isinstance(model, FSDPModule))

    # 2) Every answer sees the same keys and values. Padding stands on the right, where causal attention never looks.
    for layer in cache.layers:  # (1, kv heads, P - 1, size) each
        layer.keys = layer.keys.expand(len(group.answers), -1, -1, -1)
        layer.values = layer.values.expand(len(group.answers), -1, -1, -1)
    targets = _padded(group.answers, IGNORED).to(model.device)  # (K, R)
    last = targets.new_full((len(targets), 1), group.prompt[-1])
    rows = torch.cat([last, targets[:, :-1].clamp_min(0)], dim=1)
    return _taken(model(input_ids=rows, past_key_values=cache, use_cache=True).logits, targets) + nothing


def whole(model: PreTrainedModel, group: Answers) -> torch.Tensor:
    """The plain way, each answer behind a prompt of its own: for models that cannot branch, and to compare with."""
    rows = _padded([group.prompt + answer for answer in group.answers], IGNORED).to(model.device)  # (K, P + R)
    keep = rows.shape[1] - len(group.prompt) + 1
    logits = model(
        input_ids=rows.clamp_min(0), attention_mask=(rows != IGNORED).long(), use_cache=False, logits_to_keep=keep
    ).logits  # (K, R + 1, V)
    return _taken(logits[:, :-1], rows[:, len(group.prompt) :])


def _padded(rows: Sequence[list[int]], fill: int) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [fill] * (width - len(row)) for row in rows])


def _taken(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Sum over each row of the targets' log-probabilities: (K, R, V) and (K, R) to (K,)."""
    losses = functional.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="none"
    )
    return -losses.view_as(targets).sum(1)
