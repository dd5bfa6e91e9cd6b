"""The lab Ad-LLM's network and the loss of a batch of groups. Knows tensors, not what the tokens mean."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, Qwen3Config, Qwen3ForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from training.lab.curriculum import IGNORED, SLUGS, Group, Look, Role

Layers = tuple[int, int, int]  # hidden size, intermediate size, number of layers
RECORDED = "sdpa_recorded"  # attention that keeps queries and keys where it is asked to


def head_of(role: Role, depth: int) -> tuple[int, int]:
    """The layer and the query head that are shown the role, in a network of this depth.

    The selector sits above the reader and the liner, whose findings it needs.
    """
    middle = depth // 2
    return {
        Role.liner: (min(1, depth - 1), 2),
        Role.reader: (max(0, middle - 1), 2),
        Role.selector: (middle, 0),
        Role.copier: (middle, 2),
    }[role]


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
    model = Qwen3ForCausalLM(config)
    model.set_attn_implementation(RECORDED)
    return model


def order_bids(model: Qwen3ForCausalLM, bids: Sequence[int]) -> None:
    """Let the bids' embeddings begin on a line (with a little curvature): neighbours start as neighbours."""
    table = model.get_input_embeddings().weight
    x = torch.linspace(-1, 1, len(bids))
    shape = torch.stack([torch.ones_like(x), 2 * x, x**3, torch.cos(3 * x), torch.sin(3 * x)], dim=1)  # (N, 5)
    directions = torch.nn.init.orthogonal_(torch.empty(5, table.shape[1]))
    with torch.no_grad():
        table[torch.tensor(bids)] = 0.2 * shape @ directions


def _recorded_attention(module, query, key, value, attention_mask, **settings):
    if getattr(module, "recording", False):
        module.recorded = (query, key)
    return sdpa_attention_forward(module, query, key, value, attention_mask, **settings)


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
    roles = {0} | {head_of(role, len(layers))[0] for role in Role}
    for index in roles:
        layers[index].self_attn.recording = True
    below = layers[head_of(Role.selector, len(layers))[0]]
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


def _padded(rows: list[list[int]], fill: int) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [fill] * (width - len(row)) for row in rows])  # (B, T)


def _read_rows(model: Qwen3ForCausalLM, groups: list[Group], *, guided: bool) -> tuple[_Read, _Read | None]:
    """One branch each, one row each. Padding stands on the right, where causal attention never looks."""
    rows = _padded([group.prefix + group.branches[0].tokens for group in groups], 0)
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
    prefix = _padded([group.prefix for group in groups], 0)  # (G, P)
    heights = [len(group.prefix) for group in groups]
    output, listed = _forward(
        model, guided=guided, begins=[0] * len(groups), prefixes=heights, input_ids=prefix, use_cache=True
    )
    shared = DynamicCache()
    for index, layer in enumerate(output.past_key_values.layers):
        shared.update(layer.keys.repeat_interleave(fan, 0), layer.values.repeat_interleave(fan, 0), index)
    branches = [branch for group in groups for branch in group.branches]
    tokens = _padded([branch.tokens for branch in branches], 0)  # (G * fan, S)
    lengths = torch.tensor(heights).repeat_interleave(fan)
    width, span = prefix.shape[1], tokens.shape[1]
    seen = torch.arange(width)[None, None] < lengths[:, None, None]  # (B, 1, P): the prefix without its padding
    causal = torch.ones(span, span, dtype=torch.bool).tril()
    mask = torch.cat([seen.expand(-1, span, -1), causal.expand(len(branches), -1, -1)], dim=2)
    _, read = _forward(
        model,
        guided=guided,
        begins=[width] * len(branches),
        prefixes=lengths.tolist(),
        input_ids=tokens,
        past_key_values=shared,
        attention_mask=torch.zeros(mask.shape).masked_fill(~mask, -1e9)[:, None],
        position_ids=lengths[:, None] + torch.arange(span),
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
    wanted = labels[places[:, 0], places[:, 1]]
    flat = places[:, 0] * read.hidden.shape[1] + places[:, 1] - 1
    # index_select, because the gradient of hidden[rows, columns] is slow on a CPU
    logits = model.lm_head(read.hidden.reshape(-1, read.hidden.shape[2]).index_select(0, flat))
    if whole:
        places[:, 1] -= torch.tensor([len(group.prefix) for group in groups])[places[:, 0]]
    return functional.cross_entropy(logits, wanted, reduction="none"), logits.argmax(-1) == wanted, places


def token_losses(model: Qwen3ForCausalLM, groups: list[Group]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Each labelled token's loss, whether it would be guessed right, and its place (N, 2) as (branch, position)."""
    read, listed = _read(model, groups)
    return _foretold(model, groups, read, whole=listed is None)


def _unpaid(read: _Read, depth: int, role: Role, row: int, looks: Sequence[Look], shift: int) -> torch.Tensor:
    """Negative log of the attention that a row's looks of one role pay to their places. `shift`: how far `at` is from
    the place in the stretch.
    """
    layer, head = head_of(role, depth)
    queries, keys = read.heads[layer]
    head = head % queries.shape[1]
    at = torch.tensor([look.at - 1 + shift for look in looks])
    prefix, begin = read.prefixes[row], read.begins[row]
    moved = [[p if p < prefix else p - prefix + max(begin, prefix) for p in look.places] for look in looks]
    query = queries[row, head].index_select(0, at)  # (N, d)
    key = keys[row, head * keys.shape[1] // queries.shape[1]]  # (K, d)
    scores = (query @ key.T).float() * queries.shape[3] ** -0.5  # (N, K)
    index = torch.arange(key.shape[0])
    hidden = (index > begin + at[:, None]) | ((index >= prefix) & (index < begin))
    total = scores.masked_fill(hidden, -torch.inf).logsumexp(1)
    wanted = _padded(moved, -1)
    picked = scores.gather(1, wanted.clamp_min(0)).masked_fill(wanted < 0, -torch.inf)
    return total - picked.logsumexp(1)


def _attention_loss(model: Qwen3ForCausalLM, groups: list[Group], read: _Read, listed: _Read | None) -> torch.Tensor:
    """The sum over the roles of the mean of what is unpaid."""
    depth = model.config.num_hidden_layers
    unpaid: dict[Role, list[torch.Tensor]] = defaultdict(list)

    def collect(stretch: _Read, row: int, looks: Sequence[Look], shift: int = 0) -> None:
        for role in Role:
            if chosen := [look for look in looks if look.role == role]:
                unpaid[role].append(_unpaid(stretch, depth, role, row, chosen, shift))

    row = 0
    for number, group in enumerate(groups):
        collect(listed or read, number, group.looks)
        for branch in group.branches:
            collect(read, row, branch.looks, len(group.prefix) if listed is None else 0)
            row += 1
    return torch.stack([torch.cat(found).mean() for found in unpaid.values()]).sum()


def _back_loss(read: _Read, lengths: list[int]) -> torch.Tensor:
    """How far the heads of the first layer are from seeing the token one, two, three .. places before (whole rows)."""
    queries, keys = read.heads[0]
    keys = keys.repeat_interleave(queries.shape[1] // keys.shape[1], 1)
    scores = (queries @ keys.transpose(2, 3)).float() * queries.shape[3] ** -0.5  # (B, H, T, T)
    span = scores.shape[2]
    log = scores.masked_fill(~torch.ones(span, span, dtype=torch.bool).tril(), -torch.inf).log_softmax(-1)
    losses = []
    for back in range(1, 1 + queries.shape[1]):
        paid = log[:, back - 1].diagonal(offset=-back, dim1=1, dim2=2)  # (B, T - back)
        real = torch.arange(back, span) < torch.tensor(lengths)[:, None]
        losses.append(-paid[real].mean())
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
            at, topic = torch.tensor(flat).T
            states = stretch.middle.reshape(-1, stretch.middle.shape[2]).index_select(0, at)
            normed = functional.rms_norm(states, states.shape[1:])
            losses.append(functional.cross_entropy(classifier(normed), topic))
    return torch.stack(losses).sum() if losses else torch.zeros(())


def new_classifier(hidden: int) -> torch.nn.Linear:
    """Tells the category from a hidden state, or that there is none. Used in training only."""
    return torch.nn.Linear(hidden, len(SLUGS) + 1)


def word_loss(
    model: Qwen3ForCausalLM, classifier: torch.nn.Linear, weigh: torch.nn.Embedding, texts: list[tuple[list[int], int]]
) -> torch.Tensor:
    """Cross-entropy of each text's category from the embeddings of its tokens alone, each weighed by its own gate."""
    table = model.get_input_embeddings().weight
    flat = torch.tensor([token for tokens, _ in texts for token in tokens])
    begins = torch.tensor([len(tokens) for tokens, _ in texts]).cumsum(0).roll(1)
    begins[0] = 0
    gates = torch.sigmoid(weigh(flat)).squeeze(1)
    bags = functional.embedding_bag(flat, table, begins, mode="sum", per_sample_weights=gates)  # (N, hidden)
    normed = functional.rms_norm(bags, bags.shape[1:])
    return functional.cross_entropy(classifier(normed), torch.tensor([topic for _, topic in texts]))


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
