"""The lab Ad-LLM's network and the loss of a batch of groups. Knows tensors, not what the tokens mean."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, Qwen3Config, Qwen3ForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from training.lab.groups import IGNORED, SLUGS, Group, Look, Role
from training.lab.wiring import HEAD, Layers, heads_of, topic_width

RECORDED = "sdpa_recorded"  # attention that keeps queries and keys where it is asked to
ROTARY_BASE = 1e9  # leaves half of a head's dimensions still over a whole candidate list


def new_model(*, vocabulary: int, layers: Layers, eos: int, pad: int, seed: int) -> Qwen3ForCausalLM:
    """A fresh Qwen3 model; heads of 64, half as many for keys and values."""
    hidden, intermediate, depth = layers
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=depth,
        num_attention_heads=hidden // HEAD,
        num_key_value_heads=max(1, hidden // (2 * HEAD)),
        head_dim=HEAD,
        rope_parameters={"rope_type": "default", "rope_theta": ROTARY_BASE},
        max_position_embeddings=8192,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=eos,
        pad_token_id=pad,
        dtype="float32",
    )
    return prepared(Qwen3ForCausalLM(config))


def prepared(model: Qwen3ForCausalLM) -> Qwen3ForCausalLM:
    """The model, to be trained: its attention can be recorded, and of both embedding tables only what tokens tell of
    topics is learned.
    """
    model.set_attn_implementation(RECORDED)
    model.lm_head.requires_grad_(False)
    width = topic_width(model.config.hidden_size)
    model.get_input_embeddings().weight.register_hook(
        lambda gradient: torch.cat([gradient[:, :width], torch.zeros_like(gradient[:, width:])], dim=1)
    )
    return model


def _recorded_attention(module, query, key, value, attention_mask, **settings):
    if getattr(module, "recording", False):
        module.recorded = (query, key)
    if torch.is_autocast_enabled("cpu") and query.device.type == "cpu":
        return _products(query, key, value, attention_mask), None
    return sdpa_attention_forward(module, query, key, value, attention_mask, **settings)


def _products(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Attention as two products with all scores between them, in bfloat16: where a CPU multiplies matrices of it, a
    step takes half the time that PyTorch's kernel takes, whose backward pass does not. Returns (B, T, H, d).
    """
    rows, heads, span, width = query.shape
    pairs, keys = key.shape[1:3]
    query, key, value = query.bfloat16(), key.bfloat16(), value.bfloat16()
    if mask is None:
        mask = torch.ones(span, keys, dtype=torch.bool).tril(keys - span)[None, None]
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, dtype=query.dtype).masked_fill(~mask, -1e9)
    scores = (query * width**-0.5).reshape(rows, pairs, -1, width) @ key.transpose(2, 3)
    paid = (scores.view(rows, pairs, -1, span, keys) + mask[:, :, None].to(query.dtype)).softmax(-1)
    found = paid.view(rows, pairs, -1, keys) @ value  # (B, H', H / H' * T, d)
    return found.view(rows, heads, span, width).transpose(1, 2)


AttentionInterface.register(RECORDED, _recorded_attention)
AttentionMaskInterface.register(RECORDED, sdpa_mask)


@dataclass(frozen=True)
class _Read:
    """What the network made of one stretch of tokens in each row: whole rows, prefixes, or branches behind them."""

    hidden: torch.Tensor  # (B, T, hidden)
    middle: torch.Tensor  # (B, T, hidden), between the layers of reader and selector; empty unless guided
    heads: dict[int, tuple[torch.Tensor, torch.Tensor]]  # layer -> queries (B, H, T, d) and keys (B, H', K, d)
    begins: list[int]  # where among a row's keys its stretch begins
    prefixes: list[int]  # how many keys of the prefix count


@contextmanager
def _recording(model: Qwen3ForCausalLM, wanted: bool) -> Iterator[dict[str, torch.Tensor]]:
    """While it lasts, guided layers keep queries and keys, and the hidden state under the selector is kept."""
    kept: dict[str, torch.Tensor] = {}
    if not wanted:
        yield kept
        return
    layers = model.model.layers
    roles = {0} | {heads_of(role, len(layers))[0] for role in Role}
    for index in roles:
        layers[index].self_attn.recording = True
    below = layers[heads_of(Role.selector, len(layers))[0]]
    hook = below.register_forward_pre_hook(lambda module, args: kept.update(middle=args[0]))
    try:
        yield kept
    finally:
        hook.remove()
        for index in roles:
            layers[index].self_attn.recording = False
            layers[index].self_attn.recorded = None


def _forward(model: Qwen3ForCausalLM, *, guided: bool, begins: list[int], prefixes: list[int], **inputs):
    """The network's output and what was recorded."""
    with _recording(model, guided) as kept:
        output = model.model(**inputs)
        heads = {
            index: layer.self_attn.recorded
            for index, layer in enumerate(model.model.layers)
            if getattr(layer.self_attn, "recording", False)
        }
    middle = kept.get("middle", output.last_hidden_state[:, :0])
    return output, _Read(output.last_hidden_state, middle, heads, begins, prefixes)


def _padded(rows: Sequence[Sequence[int]], fill: int) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows])  # (B, T)


def _read_rows(model: Qwen3ForCausalLM, groups: list[Group], *, guided: bool) -> tuple[_Read, _Read | None]:
    """One branch each, one row each. Padding stands on the right, where causal attention never looks."""
    rows = _padded([group.prefix + group.branches[0].tokens for group in groups], 0).to(model.device)
    prefixes = [len(group.prefix) for group in groups]
    _, read = _forward(
        model, guided=guided, begins=[0] * len(groups), prefixes=prefixes, input_ids=rows, use_cache=False
    )
    return read, None


def _read_branches(model: Qwen3ForCausalLM, groups: list[Group], *, guided: bool) -> tuple[_Read, _Read | None]:
    """Many branches each: the prefix is read once, its keys and values serve every branch, and gradients flow through
    them. Returns what was made of the branches, and of the prefixes.
    """
    fan = len(groups[0].branches)
    device = model.device
    prefix = _padded([group.prefix for group in groups], 0).to(device)  # (G, P)
    heights = [len(group.prefix) for group in groups]
    output, listed = _forward(
        model, guided=guided, begins=[0] * len(groups), prefixes=heights, input_ids=prefix, use_cache=True
    )
    shared = DynamicCache()
    for index, layer in enumerate(output.past_key_values.layers):
        shared.update(layer.keys.repeat_interleave(fan, 0), layer.values.repeat_interleave(fan, 0), index)
    branches = [branch for group in groups for branch in group.branches]
    tokens = _padded([branch.tokens for branch in branches], 0).to(device)  # (G * fan, S)
    lengths = torch.tensor(heights, device=device).repeat_interleave(fan)
    width, span = prefix.shape[1], tokens.shape[1]
    seen = (
        torch.arange(width, device=device)[None, None] < lengths[:, None, None]
    )  # (B, 1, P): the prefix without its padding
    causal = torch.ones(span, span, dtype=torch.bool, device=device).tril()
    mask = torch.cat([seen.expand(-1, span, -1), causal.expand(len(branches), -1, -1)], dim=2)
    _, read = _forward(
        model,
        guided=guided,
        begins=[width] * len(branches),
        prefixes=lengths.tolist(),
        input_ids=tokens,
        past_key_values=shared,
        attention_mask=torch.zeros(mask.shape, device=device).masked_fill(~mask, -1e9)[:, None],
        position_ids=lengths[:, None] + torch.arange(span, device=device),
        use_cache=True,
    )
    return read, listed


def _read(model: Qwen3ForCausalLM, groups: list[Group], *, guided: bool = False) -> tuple[_Read, _Read | None]:
    single = all(len(group.branches) == 1 for group in groups)
    return (_read_rows if single else _read_branches)(model, groups, guided=guided)


def _foretold(
    model: Qwen3ForCausalLM, groups: list[Group], read: _Read, *, whole: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Loss, rightness and place of each labelled token; it is foretold where the one before it stands."""
    labels = _padded(
        [
            ([IGNORED] * len(group.prefix) if whole else []) + branch.labels
            for group in groups
            for branch in group.branches
        ],
        IGNORED,
    )
    places = (labels[:, 1:] != IGNORED).nonzero() + torch.tensor([0, 1])
    wanted = labels[places[:, 0], places[:, 1]].to(model.device)
    flat = places[:, 0] * read.hidden.shape[1] + places[:, 1] - 1
    # index_select, because the gradient of hidden[rows, columns] is slow on a CPU
    logits = model.lm_head(read.hidden.reshape(-1, read.hidden.shape[2]).index_select(0, flat.to(model.device)))
    if whole:
        places[:, 1] -= torch.tensor([len(group.prefix) for group in groups])[places[:, 0]]
    return functional.cross_entropy(logits.float(), wanted, reduction="none"), logits.argmax(-1) == wanted, places


def token_losses(model: Qwen3ForCausalLM, groups: list[Group]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Each labelled token's loss, whether it would be guessed right, and its place (N, 2) as (branch, position)."""
    read, listed = _read(model, groups)
    return _foretold(model, groups, read, whole=listed is None)


def _unpaid(
    read: _Read, depth: int, role: Role, looks: Sequence[Sequence[Look]], shifts: Sequence[int]
) -> torch.Tensor:
    """Negative log of the attention that each of a role's looks pays to its places, meaned over the role's heads.

    `looks`, row by row; `shifts`: how far in each row `at` is from the place in the stretch.
    """
    layer, heads = heads_of(role, depth)
    queries, keys = read.heads[layer]
    device, span = queries.device, keys.shape[2]
    rows = [row for row, found in enumerate(looks) if found]
    at = _padded([[look.at - 1 + shifts[row] for look in looks[row]] for row in rows], -1)  # (R, N)
    prefix = torch.tensor([read.prefixes[row] for row in rows])[:, None]
    begin = torch.tensor([read.begins[row] for row in rows])[:, None]
    most = max(len(look.places) for row in rows for look in looks[row])
    wanted = torch.full((*at.shape, most), -1)
    for number, row in enumerate(rows):
        found = _padded([look.places for look in looks[row]], -1)
        wanted[number, : found.shape[0], : found.shape[1]] = found
    moved = torch.where(
        wanted < prefix[..., None], wanted, wanted - prefix[..., None] + begin.maximum(prefix)[..., None]
    )
    real = (at >= 0).to(device)
    at, prefix, begin, moved, chosen = (x.to(device) for x in (at, prefix, begin, moved, torch.tensor(rows)))
    index = torch.arange(span, device=device)
    unseen = (index > (begin + at.clamp_min(0))[..., None]) | ((index >= prefix) & (index < begin))[
        :, None
    ]  # (R, N, K)
    unpaid = []
    for head in (head % queries.shape[1] for head in heads):
        query = queries[:, head].index_select(0, chosen)  # (R, T, d)
        query = query.gather(1, at.clamp_min(0)[..., None].expand(-1, -1, query.shape[2]))  # (R, N, d)
        key = keys[:, head * keys.shape[1] // queries.shape[1]].index_select(0, chosen)  # (R, K, d)
        scores = (query @ key.transpose(1, 2)).float() * query.shape[2] ** -0.5  # (R, N, K)
        total = scores.masked_fill(unseen, -torch.inf).logsumexp(2)
        picked = scores.gather(2, moved.clamp_min(0)).masked_fill(moved < 0, -torch.inf)
        unpaid.append(total[real] - picked[real].logsumexp(1))
    return torch.stack(unpaid).mean(0)


def _attention_loss(model: Qwen3ForCausalLM, groups: list[Group], read: _Read, listed: _Read | None) -> torch.Tensor:
    """The sum over the roles of the mean of what is unpaid."""
    depth = model.config.num_hidden_layers
    fan = [len(group.branches) for group in groups]
    lists = [group.looks for group in groups]
    written = [branch.looks for group in groups for branch in group.branches]
    heights = [len(group.prefix) for group, times in zip(groups, fan, strict=True) for _ in range(times)]
    stretches = [
        (listed or read, lists, [0] * len(groups)),
        (read, written, heights if listed is None else [0] * len(heights)),
    ]
    means = []
    for role in Role:
        unpaid = [
            _unpaid(stretch, depth, role, chosen, shifts)
            for stretch, looks, shifts in stretches
            if any(chosen := [[look for look in row if look.role == role] for row in looks])
        ]
        if unpaid:
            means.append(torch.cat(unpaid).mean())
    return torch.stack(means).sum()


def _back_loss(read: _Read, lengths: list[int]) -> torch.Tensor:
    """How far the heads of the first layer are from seeing the token one, two, three .. places before (whole rows)."""
    queries, keys = read.heads[0]
    keys = keys.repeat_interleave(queries.shape[1] // keys.shape[1], 1)
    scores = (queries @ keys.transpose(2, 3)).float() * queries.shape[3] ** -0.5  # (B, H, T, T)
    span = scores.shape[2]
    seen = torch.ones(span, span, dtype=torch.bool, device=scores.device).tril()
    log = scores.masked_fill(~seen, -torch.inf).log_softmax(-1)
    losses = []
    for back in range(1, 1 + queries.shape[1]):
        paid = log[:, back - 1].diagonal(offset=-back, dim1=1, dim2=2)  # (B, T - back)
        real = torch.arange(back, span) < torch.tensor(lengths)[:, None]
        losses.append(-paid[real.to(paid.device)].mean())
    return torch.stack(losses).mean()


def _topic_loss(classifier: torch.nn.Linear, groups: list[Group], read: _Read, listed: _Read | None) -> torch.Tensor:
    """Cross-entropy of the categories that should be known, of lines and of questions alike, under the selector."""
    losses = []
    shift = 0 if listed is not None else 1
    for stretch, rows in (
        (listed or read, [group.topics for group in groups]),
        (
            read,
            [
                tuple((at + shift * len(group.prefix), topic) for at, topic in branch.topics)
                for group in groups
                for branch in group.branches
            ],
        ),
    ):
        flat = [(row * stretch.middle.shape[1] + at, topic) for row, topics in enumerate(rows) for at, topic in topics]
        if flat:
            at, topic = torch.tensor(flat, device=read.hidden.device).T
            states = stretch.middle.reshape(-1, stretch.middle.shape[2])[:, : classifier.in_features].index_select(
                0, at
            )
            normed = functional.rms_norm(states, states.shape[1:])
            losses.append(functional.cross_entropy(classifier(normed), topic))
    return torch.stack(losses).sum() if losses else torch.zeros((), device=read.hidden.device)


def new_classifier(hidden: int) -> torch.nn.Linear:
    """Tells the category from the topic's part of a hidden state, or that there is none. Used in training only."""
    return torch.nn.Linear(topic_width(hidden), len(SLUGS) + 1)


def guided_losses(
    model: Qwen3ForCausalLM, classifier: torch.nn.Linear, groups: list[Group]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """token_losses, and behind them the attention loss and the topic loss.

    Left alone, a network this small needs thousands of steps to find out where to look; shown, some dozens. The
    attention loss is the mean negative log of the attention that some heads pay to where they should look. The topic
    loss asks that categories are known where the selector needs them, in one code for lists and questions.
    """
    read, listed = _read(model, groups, guided=True)
    attention = _attention_loss(model, groups, read, listed)
    if listed is None:
        attention = attention + _back_loss(read, [len(g.prefix) + len(g.branches[0].tokens) for g in groups])
    topics = _topic_loss(classifier, groups, read, listed)
    return *_foretold(model, groups, read, whole=listed is None), attention, topics
