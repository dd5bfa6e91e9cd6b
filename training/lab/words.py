"""Which words tell which of the 50 topics: learned from bags of tokens, in seconds, before the network learns all else.

A row of the table is what a token tells, (topic width) and of length 1 at most; it goes into the embeddings as it is
(wiring.draw). A text's topic is the sum of its tokens' rows. Knows no attention.
"""

import random
import sys

import torch
from torch.nn import functional

from training.lab import catalogue, questions, reading
from training.lab.groups import SLUGS, Vocabulary, topic_number

BATCH = 96  # texts in a step
NONE = 0.08  # of the texts: about none of the categories
READING = 400  # steps in which a classifier learns to read a finished table


def topic_texts(rng: random.Random, vocabulary: Vocabulary, count: int) -> list[tuple[list[int], int]]:
    """Questions, interests and titles, as tokens, each with the number of its category, and questions about none."""
    texts = []
    for slug in rng.choices(SLUGS, k=count):
        if rng.random() < NONE:
            texts.append((vocabulary.ids(f" {questions.elsewhere_question(rng).text}"), topic_number(None)))
            continue
        form = rng.random()
        if form < 0.5:
            text = " " + questions.training_question(rng, category=slug).text
        elif form < 0.65:
            text = f" {rng.choice((questions.interest_name(slug), reading.topic_words(rng, slug)))}"
        else:
            text = f" {catalogue.brand(rng)} {catalogue.product(rng, slug)}"
        texts.append((vocabulary.ids(text), topic_number(slug)))
    return texts


def prime_words(classifier: torch.nn.Linear, vocabulary: Vocabulary, *, steps: int, seed: int) -> torch.Tensor:
    """What each token tells of a topic, (V, topic width) and of length 1 at most: learned from bags of tokens, which
    takes seconds. A token that tells nothing has a short row.
    """
    torch.manual_seed(seed)
    table = torch.nn.Embedding(len(vocabulary.tok), classifier.in_features)
    torch.nn.init.normal_(table.weight, std=0.1)
    weigh = torch.nn.Embedding(len(vocabulary.tok), 1)
    torch.nn.init.zeros_(weigh.weight)
    learned = [*table.parameters(), *classifier.parameters(), *weigh.parameters()]
    optimizer = torch.optim.AdamW(learned, weight_decay=0.3)  # words that are rarely asked with stay quiet
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - step / steps)
        texts = topic_texts(random.Random(f"{seed}/words/{step}"), vocabulary, BATCH)
        loss = _bag_loss(table.weight, classifier, texts, weigh)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    print(f"words: loss {loss.item():.3f}", file=sys.stderr, flush=True)
    with torch.no_grad():
        told = table.weight * torch.sigmoid(weigh.weight)
        lengths = told.norm(dim=1, keepdim=True)
        return told / lengths.clamp_min(lengths.quantile(0.9))


def renew_words(
    table: torch.Tensor, classifier: torch.nn.Linear, vocabulary: Vocabulary, *, steps: int, seed: int
) -> torch.Tensor:
    """The same for a network that knows a table already: as near to it as new words allow, the same in no steps. The
    classifier, which is not kept with finished weights, is learned first.
    """
    torch.manual_seed(seed)
    moved = torch.nn.Embedding(*table.shape)
    torch.nn.init.zeros_(moved.weight)
    reading = {"params": list(classifier.parameters()), "weight_decay": 0.0}
    changing = {"params": list(moved.parameters()), "weight_decay": 0.3}
    for part, count, rates in (("reading", READING, (2e-2, 0.0)), ("changing", steps, (3e-4, 3e-3))):
        optimizer = torch.optim.AdamW([reading, changing])
        for step in range(count):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * (1 - step / count)
            texts = topic_texts(random.Random(f"{seed}/{part}/{step}"), vocabulary, BATCH)
            loss = _bag_loss(table + moved.weight, classifier, texts)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    print(f"words: loss {loss.item():.3f}", file=sys.stderr, flush=True)
    with torch.no_grad():
        told = table + moved.weight
        longest = table.norm(dim=1, keepdim=True).clamp_min(1.0)  # rounding to 16 bits may have passed 1
        return told / (told.norm(dim=1, keepdim=True) / longest).clamp_min(1.0)


def _bag_loss(
    table: torch.Tensor,
    classifier: torch.nn.Linear,
    texts: list[tuple[list[int], int]],
    weigh: torch.nn.Embedding | None = None,
) -> torch.Tensor:
    """Cross-entropy of each text's category from the topics of its tokens alone, each weighed by its own gate."""
    flat = torch.tensor([token for tokens, _ in texts for token in tokens])
    begins = torch.tensor([len(tokens) for tokens, _ in texts]).cumsum(0).roll(1)
    begins[0] = 0
    gates = torch.sigmoid(weigh(flat)).squeeze(1) if weigh else None
    bags = functional.embedding_bag(flat, table, begins, mode="sum", per_sample_weights=gates)  # (N, width)
    normed = functional.rms_norm(bags, bags.shape[1:])
    return functional.cross_entropy(classifier(normed), torch.tensor([topic for _, topic in texts]))
