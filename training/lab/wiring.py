"""What the lab Ad-LLM's network is given instead of finding it by luck: which heads do what, and the weights they begin
with. Knows tensors, not what the tokens mean.
"""

from collections.abc import Sequence

import torch
from torch.nn import functional
from transformers import Qwen3ForCausalLM

from training.lab.groups import Role

Layers = tuple[int, int, int]  # hidden size, intermediate size, number of layers
HEAD = 64  # dimensions of a head
LENGTH = 8.0  # of an embedding; what the layers add is small beside it at first
LOUD = 0.3  # weight of the last norm: how sure of itself a fresh model is
PLAIN, SHARP = 3.0, 1.7  # the selector: weight of topics in what it compares, and of its scores
NEAR = 4  # bids below and above that a bid's embedding is smoothed with


def heads_of(role: Role, depth: int) -> tuple[int, tuple[int, ...]]:
    """The layer and the query heads that are shown the role, in a network of this depth.

    Selector and copier sit above the reader and the liner, whose findings the selector needs.
    """
    middle = depth // 2
    return {
        Role.liner: (max(0, min(1, middle - 1)), (2,)),
        Role.reader: (max(0, middle - 1), (2,)),
        Role.selector: (middle, (0,)),
        Role.copier: (middle, (1, 2)),
    }[role]


def topic_width(hidden: int) -> int:
    """How many of a hidden state's dimensions, the first, say what a token, a line or a question is about."""
    return hidden // 8


def told_topics(model: Qwen3ForCausalLM) -> torch.Tensor:
    """What each token tells of a topic, (V, topic width): the part of its embedding that `draw` put there."""
    return model.get_input_embeddings().weight[:, : topic_width(model.config.hidden_size)].detach().float() / LENGTH


@torch.no_grad()
def tell_topics(model: Qwen3ForCausalLM, topics: torch.Tensor) -> None:
    """Put in their place what tokens tell of topics."""
    model.get_input_embeddings().weight[:, : topics.shape[1]] = LENGTH * topics


def _codes(count: int, width: int, bids: Sequence[int]) -> torch.Tensor:
    """A random unit vector for each token; half of a bid's lies on a curve, so that neighbours are neighbours."""
    codes = functional.normalize(torch.randn(count, width), dim=1)
    x = torch.linspace(-1, 1, len(bids))
    curve = torch.stack([torch.ones_like(x), 2 * x, x**3, torch.cos(3 * x), torch.sin(3 * x)], dim=1)  # (N, 5)
    place = functional.normalize(curve, dim=1) @ torch.nn.init.orthogonal_(torch.empty(5, width))
    codes[torch.tensor(bids)] = functional.normalize(codes[torch.tensor(bids)] + place, dim=1)
    return codes


@torch.no_grad()
def smooth_bids(model: Qwen3ForCausalLM, bids: Sequence[int]) -> None:
    """Give each bid the direction of the mean embedding of the bids near it; its length stays. What is random in a code
    would make single bids look like much higher or lower ones (LOG.md, 2026-11-28).
    """
    table, rows = model.get_input_embeddings().weight, torch.tensor(bids)
    codes = table[rows]
    means = torch.stack([codes[max(0, n - NEAR) : n + NEAR + 1].mean(dim=0) for n in range(len(bids))])
    table[rows] = functional.normalize(means, dim=1) * codes.norm(dim=1, keepdim=True)


@torch.no_grad()
def draw(model: Qwen3ForCausalLM, topics: torch.Tensor, bids: Sequence[int]) -> None:
    """Draw what training would have to find by luck: how a token is told from others, handed on, and matched by topic.

    `topics` (V, topic width), of length 1 at most, and a random code make up an embedding. Output embeddings are the
    codes, turned, so that a token does not foretell itself. The middle layer hands on the codes it looks at, so
    turned; its selector compares topics. Only the codes stay as they are drawn.
    """
    hidden, depth = model.config.hidden_size, model.config.num_hidden_layers
    width = topic_width(hidden)
    codes = _codes(len(topics), hidden - width, bids)
    turn = torch.nn.init.orthogonal_(torch.empty(hidden, hidden))[:, width:]  # (hidden, codes)
    model.get_input_embeddings().weight.copy_(LENGTH * torch.cat([topics, codes], dim=1))
    smooth_bids(model, bids)
    model.lm_head.weight.copy_(LENGTH * codes @ turn.T)
    model.model.norm.weight.fill_(LOUD)
    layer, (selector,) = heads_of(Role.selector, depth)
    attention = model.model.layers[layer].self_attn
    heads, pairs = model.config.num_attention_heads, model.config.num_key_value_heads
    basis = torch.nn.init.orthogonal_(torch.empty(pairs * HEAD, hidden - width))
    attention.v_proj.weight.zero_()
    attention.v_proj.weight[:, width:] = basis
    back = (turn @ basis.T).view(hidden, pairs, 1, HEAD).expand(-1, -1, heads // pairs, -1)
    attention.o_proj.weight.copy_(back.reshape(hidden, heads * HEAD) * pairs / heads)
    slow = torch.arange(HEAD // 2 - width // 2, HEAD // 2)  # the slowest turning pairs of dimensions
    still = torch.cat([slow, slow + HEAD // 2])
    for projection, head in ((attention.q_proj, selector), (attention.k_proj, selector * pairs // heads)):
        projection.weight[head * HEAD + still] = PLAIN * torch.eye(width, hidden)
    for norm in (attention.q_norm, attention.k_norm):
        norm.weight.fill_(SHARP)


@torch.no_grad()
def wire_topics(model: Qwen3ForCausalLM) -> None:
    """Keep the dimensions of topics clean below the selector: only the heads that look for topics write there, and
    write what they look at. No token tells more than one topic's worth.
    """
    hidden, depth = model.config.hidden_size, model.config.num_hidden_layers
    width = topic_width(hidden)
    told = model.get_input_embeddings().weight[:, :width]
    told /= (told.norm(dim=1, keepdim=True) / LENGTH).clamp_min(1.0)
    heads, pairs = model.config.num_attention_heads, model.config.num_key_value_heads
    for layer in model.model.layers[: heads_of(Role.selector, depth)[0]]:
        layer.self_attn.o_proj.weight[:width] = 0
        layer.mlp.down_proj.weight[:width] = 0
    for role in (Role.liner, Role.reader):
        layer, (head,) = heads_of(role, depth)
        attention, head = model.model.layers[layer].self_attn, head % heads
        values = head * pairs // heads * HEAD
        attention.v_proj.weight[values : values + width] = torch.eye(width, hidden, device=model.device)
        attention.o_proj.weight[:width, head * HEAD : head * HEAD + width] = torch.eye(width, device=model.device)
