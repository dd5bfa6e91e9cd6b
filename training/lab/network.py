"""The lab Ad-LLM's network and the loss of a batch of groups. Knows tensors, not what the tokens mean."""

from dataclasses import dataclass

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


@dataclass(frozen=True)
class _Read:
    """What the network made of a batch: one row for each branch."""

    hidden: torch.Tensor  # (B, T, hidden)
    labels: torch.Tensor  # (B, T)
    attentions: tuple[torch.Tensor, ...]  # of each layer (B, heads, T, K), or none
    starts: torch.Tensor  # (B,) where in the row the branch begins
    keys: torch.Tensor  # (B,) where among the keys the branch begins


def _read_rows(model: Qwen3ForCausalLM, groups: list[Group], *, attentions: bool) -> _Read:
    """One branch each, one row each. Padding stands on the right, where causal attention never looks."""
    rows = _padded([group.prefix + group.branches[0].tokens for group in groups], 0)
    labels = [[IGNORED] * len(group.prefix) + group.branches[0].labels for group in groups]
    output = model.model(input_ids=rows, use_cache=False, output_attentions=attentions)
    starts = torch.tensor([len(group.prefix) for group in groups])
    return _Read(output.last_hidden_state, _padded(labels, IGNORED), output.attentions or (), starts, starts)


def _read_branches(model: Qwen3ForCausalLM, groups: list[Group], *, attentions: bool) -> _Read:
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
    output = model.model(
        input_ids=tokens,
        past_key_values=shared,
        attention_mask=torch.zeros(mask.shape).masked_fill(~mask, -1e9)[:, None],
        position_ids=lengths[:, None] + torch.arange(span),
        use_cache=True,
        output_attentions=attentions,
    )
    labels = _padded([branch.labels for branch in branches], IGNORED)
    zeros = torch.zeros_like(lengths)
    return _Read(output.last_hidden_state, labels, output.attentions or (), zeros, zeros + width)


def _read(model: Qwen3ForCausalLM, groups: list[Group], *, attentions: bool = False) -> _Read:
    single = all(len(group.branches) == 1 for group in groups)
    return (_read_rows if single else _read_branches)(model, groups, attentions=attentions)


def _foretold(model: Qwen3ForCausalLM, read: _Read) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Loss, rightness and place of each labelled token; it is foretold where the one before it stands."""
    places = (read.labels[:, 1:] != IGNORED).nonzero() + torch.tensor([0, 1])
    wanted = read.labels[places[:, 0], places[:, 1]]
    flat = places[:, 0] * read.hidden.shape[1] + places[:, 1] - 1
    # index_select, because the gradient of hidden[rows, columns] is slow on a CPU
    logits = model.lm_head(read.hidden.reshape(-1, read.hidden.shape[2]).index_select(0, flat))
    places[:, 1] -= read.starts[places[:, 0]]
    return functional.cross_entropy(logits, wanted, reduction="none"), logits.argmax(-1) == wanted, places


def token_losses(model: Qwen3ForCausalLM, groups: list[Group]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Each labelled token's loss, whether it would be guessed right, and its place (N, 2) as (branch, position)."""
    return _foretold(model, _read(model, groups))


def guided_losses(
    model: Qwen3ForCausalLM, groups: list[Group]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """token_losses, and behind them the attention loss: how far some heads are from looking where they should.

    Left alone, a network this small needs thousands of steps to find out where to look; shown, some dozens. Heads of
    the middle layer follow the branches' looks; each head of the first layer should see the token one, two, three ..
    places before. The loss is the mean negative log of the attention paid. Needs `eager` attention.
    """
    read = _read(model, groups, attentions=True)
    branches = [branch for group in groups for branch in group.branches]
    heights = [len(group.prefix) for group in groups for _ in group.branches]
    middle = read.attentions[model.config.num_hidden_layers // 2]  # (B, heads, T, K)
    looks = [
        (row, look.head % middle.shape[1], look.at - 1, look.first, look.last)
        for row, branch in enumerate(branches)
        for look in branch.looks
    ]
    row, head, at, first, last = torch.tensor(looks).T
    height = torch.tensor(heights)[row]
    within = (first >= height) * (read.keys[row] - height)  # a place in the branch, not in the prefix
    flat = (row * middle.shape[1] + head) * middle.shape[2] + read.starts[row] + at
    looked = middle.reshape(-1, middle.shape[3]).index_select(0, flat).float()  # (N, K)
    summed = functional.pad(looked.cumsum(-1), (1, 0))
    index = torch.arange(len(looks))
    paid = summed[index, last + within] - summed[index, first + within]
    losses = [-paid.clamp_min(1e-6).log().mean()]
    if len(branches) == len(groups):  # whole rows
        lengths = torch.tensor(heights) + torch.tensor([len(branch.tokens) for branch in branches])
        for back in range(1, 1 + middle.shape[1]):
            paid = read.attentions[0][:, back - 1].diagonal(offset=-back, dim1=1, dim2=2)  # (B, T - back)
            real = torch.arange(back, middle.shape[2]) < lengths[:, None]
            losses.append(-paid[real].float().clamp_min(1e-6).log().mean() / middle.shape[1])
    return *_foretold(model, read), torch.stack(losses).sum()
