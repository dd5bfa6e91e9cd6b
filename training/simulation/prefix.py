"""Read a prompt for what its answers need of it: every layer's keys and values. Any causal model of transformers.

What the last layer would make of the prompt matters for its last token alone. That token is left to the answers, so the
last layer may stop when its keys and values are there. Knows neither sampling nor training.
"""

from contextlib import suppress

import torch
from transformers import DynamicCache, PreTrainedModel


class _Read(Exception):
    """The last layer's keys and values are there."""


class Prefix(DynamicCache):
    """`layers[n].keys` and `.values`, each (G, kv heads, P, size), of G prompts (G, P) padded on the right."""

    _last: int | None = None

    def update(self, key_states, value_states, layer_idx, *args, **kwargs):
        found = super().update(key_states, value_states, layer_idx, *args, **kwargs)
        if layer_idx == self._last:
            raise _Read
        return found


def read_prefix(model: PreTrainedModel, tokens: torch.Tensor, *, stop: bool = True) -> tuple[Prefix, torch.Tensor]:
    """Keys and values of `tokens` (G, P), with their gradients where those are on; and a zero to add to what they lead
    to: a sharded layer gathers its weights again for the gradient of its output alone, so it must not `stop` early.
    """
    prefix, nothing = Prefix(), torch.zeros((), device=tokens.device)
    prefix._last = model.config.get_text_config().num_hidden_layers - 1 if stop else None
    with suppress(_Read):
        nothing = 0 * model(input_ids=tokens, past_key_values=prefix, use_cache=True, logits_to_keep=1).logits.sum()
    prefix._last = None
    return prefix, nothing
