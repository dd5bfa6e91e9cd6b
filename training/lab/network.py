"""The lab Ad-LLM's network and the loss of a batch of groups. Knows tensors, not what the tokens mean."""

import torch
from torch.nn import functional
from transformers import DynamicCache, Qwen3Config, Qwen3ForCausalLM

from training.lab.curriculum import IGNORED, Group

Layers = tuple[int, int, int]  # hidden size, intermediate size, number of layers


def new_model(*, vocabulary: int, layers: Layers, eos: int, pad: int, seed: int) -> Qwen3ForCausalLM:
    """A fresh Qwen3 model with tied embeddings; heads of 64, half as many for keys and values.

    Rotary base and head size leave half of a head's dimensions nearly still over a whole candidate list, so that a
    title is recognised by its content however far away it stands.
    """
    hidden, intermediate, depth = layers
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=depth,
        num_attention_heads=hidden // 64,
        num_key_value_heads=max(1, hidden // 128),
        head_dim=64,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},  # as the published Qwen3 models
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=eos,
        pad_token_id=pad,
        dtype="float32",
    )
    return Qwen3ForCausalLM(config)


def _padded(rows: list[list[int]], fill: int) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [fill] * (width - len(row)) for row in rows])  # (B, T)


def _rows(groups: list[Group]) -> tuple[list[list[int]], list[list[int]]]:
    """Prefix and first branch of each group: tokens, labels."""
    tokens = [group.prefix + group.branches[0].tokens for group in groups]
    return tokens, [[IGNORED] * len(group.prefix) + group.branches[0].labels for group in groups]


def _hidden_of_rows(model: Qwen3ForCausalLM, groups: list[Group]) -> tuple[torch.Tensor, torch.Tensor]:
    """One branch each, one row each. Padding stands on the right, where causal attention never looks."""
    rows, labels = _rows(groups)
    hidden = model.model(input_ids=_padded(rows, 0), use_cache=False).last_hidden_state
    return hidden, _padded(labels, IGNORED)


def _hidden_of_branches(model: Qwen3ForCausalLM, groups: list[Group]) -> tuple[torch.Tensor, torch.Tensor]:
    """Many branches each: the prefix is read once, its keys and values serve every branch, and gradients flow through
    them.
    """
    fan = len(groups[0].branches)
    prefix = _padded([group.prefix for group in groups], 0)  # (G, P)
    cache = model.model(input_ids=prefix, use_cache=True).past_key_values
    shared = DynamicCache()
    for index, layer in enumerate(cache.layers):
        shared.update(layer.keys.repeat_interleave(fan, 0), layer.values.repeat_interleave(fan, 0), index)
    branches = [branch for group in groups for branch in group.branches]
    tokens = _padded([branch.tokens for branch in branches], 0)  # (G * fan, S)
    lengths = torch.tensor([len(group.prefix) for group in groups]).repeat_interleave(fan)
    width, span = prefix.shape[1], tokens.shape[1]
    seen = torch.arange(width)[None, None] < lengths[:, None, None]  # (B, 1, P): the prefix without its padding
    causal = torch.ones(span, span, dtype=torch.bool).tril()
    mask = torch.cat([seen.expand(-1, span, -1), causal.expand(len(branches), -1, -1)], dim=2)
    hidden = model.model(
        input_ids=tokens,
        past_key_values=shared,
        attention_mask=mask[:, None],
        position_ids=lengths[:, None] + torch.arange(span),
        use_cache=True,
    ).last_hidden_state
    return hidden, _padded([branch.labels for branch in branches], IGNORED)


def token_losses(model: Qwen3ForCausalLM, groups: list[Group]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Each labelled token's loss, whether it would be guessed right, and its place (N, 2) as (branch, position)."""
    single = all(len(group.branches) == 1 for group in groups)
    hidden, labels = (_hidden_of_rows if single else _hidden_of_branches)(model, groups)
    losses, right, places = _foretold(model, hidden, labels)
    if single:
        places[:, 1] -= torch.tensor([len(group.prefix) for group in groups])[places[:, 0]]
    return losses, right, places


def _foretold(
    model: Qwen3ForCausalLM, hidden: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Loss, rightness and place (row, column) of each labelled token; it is foretold where the one before it stands."""
    places = (labels[:, 1:] != IGNORED).nonzero() + torch.tensor([0, 1])
    wanted = labels[places[:, 0], places[:, 1]]
    flat = places[:, 0] * hidden.shape[1] + places[:, 1] - 1
    # index_select, because the gradient of hidden[rows, columns] is slow on a CPU
    logits = model.lm_head(hidden.reshape(-1, hidden.shape[2]).index_select(0, flat))
    return functional.cross_entropy(logits, wanted, reduction="none"), logits.argmax(-1) == wanted, places


def guided_losses(
    model: Qwen3ForCausalLM, groups: list[Group]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """token_losses, and behind them the attention loss: how far two kinds of heads are from what copying needs.

    Each head of the first layer should look at the token one, two, three .. places before; the first head of the
    middle layer, where a labelled token is foretold, at that token's place in the prefix. Left alone, a network this
    small needs thousands of steps to find that; shown, some dozens. The loss is the mean negative log of the
    attention paid. One branch a group, with its sources; needs `eager` attention.
    """
    rows, labels = _rows(groups)
    output = model.model(input_ids=_padded(rows, 0), use_cache=False, output_attentions=True)
    losses, right, places = _foretold(model, output.last_hidden_state, _padded(labels, IGNORED))
    first, middle = output.attentions[0], output.attentions[model.config.num_hidden_layers // 2]  # (B, heads, T, T)
    lengths = torch.tensor([len(row) for row in rows])
    unpaid = []
    for head in range(first.shape[1]):
        paid = first[:, head].diagonal(offset=-1 - head, dim1=1, dim2=2)  # (B, T - 1 - head)
        real = torch.arange(1 + head, first.shape[2]) < lengths[:, None]
        unpaid.append(-paid[real].float().clamp_min(1e-6).log().mean())
    paid_from = places[:, 1] - 1
    places[:, 1] -= torch.tensor([len(group.prefix) for group in groups])[places[:, 0]]
    sources = torch.tensor([groups[row].branches[0].sources[at] for row, at in places.tolist()])
    paid = middle[places[:, 0], 0, paid_from, sources]
    return losses, right, places, torch.stack(unpaid).mean() - paid.float().clamp_min(1e-6).log().mean()
