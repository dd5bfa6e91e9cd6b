"""What the lab Ad-LLM practises: tasks that make one prompt prefix and the branches learned behind it.

A group shares one candidate list, so that a hundred candidates are read once for many questions about them. A task is
a function
from a random generator to a group; a new skill is one more function here and one more share in a phase of the recipe.
Knows tokens, not tensors.
"""

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from transformers import PreTrainedTokenizerFast

from campaigns.auction.categories import CATEGORIES
from chat.adllm import prompts
from training.lab import answers, catalogue, questions, tokenizer
from training.lab.topics import load_topics

IGNORED = -100  # a label that no loss is taken on


@dataclass(frozen=True)
class Branch:
    """Tokens that follow the prefix and, for each, its label or IGNORED. `decides` is the position of the one that
    counts.
    """

    tokens: list[int]
    labels: list[int]
    decides: int | None = None


@dataclass(frozen=True)
class Group:
    """One prefix and the branches behind it."""

    prefix: list[int]
    branches: list[Branch]

    @property
    def size(self) -> int:
        return len(self.prefix) + sum(len(branch.tokens) for branch in self.branches)


class Vocabulary:
    """The tokens that tasks need by name."""

    def __init__(self, tok: PreTrainedTokenizerFast) -> None:
        self.tok = tok
        self.opening = self.ids(tokenizer.USER + prompts.ROLE_AND_TASK)
        self.first, self.title, self.bid, self.next, self.last = (
            self.ids(text)[0]
            for text in (tokenizer.FIRST_AD, tokenizer.TITLE, tokenizer.BID, tokenizer.NEXT_AD, tokenizer.LAST_AD)
        )
        self.marker_id = self.ids(tokenizer.MARKER_ID)[0]
        self.signs = {self.ids("@")[0], self.ids(" @")[0]}
        self.numbers = [self.ids(f"{n:02d}")[0] for n in range(10, 100)]
        taken = {self.ids(str(n))[0] for n in range(100)} | {self.ids(f"{n:02d}")[0] for n in range(100)}
        self.words = [i for i in range(259, len(tok) - len(tokenizer.FRAGMENTS)) if i not in taken]

    def ids(self, text: str) -> list[int]:
        return self.tok(text, add_special_tokens=False)["input_ids"]


Task = Callable[[random.Random, Vocabulary, int, int], Group]


def random_titles(rng: random.Random, words: list[int], count: int) -> list[tuple[int, ...]]:
    """Titles of random tokens, nothing to guess. From six on, some begin alike and some lists use few words."""
    hard = count >= 6
    pool = rng.sample(words, min(len(words), rng.choice((30, 100, 400, 4000)) if hard else 4000))
    firsts = rng.sample(words, count)
    titles: dict[tuple[int, ...], None] = {}
    while len(titles) < count:
        length = rng.choice((2, 3, 3, 4, 5, 6, 7, 9))
        start = [firsts[len(titles)]]
        if titles and hard and rng.random() < 0.15:
            other = rng.choice(list(titles))
            start = list(other[: rng.randint(1, len(other))])
        titles[tuple(start + rng.choices(pool, k=max(1, length - len(start))))] = None
    return list(titles)


def copy_random(rng: random.Random, vocabulary: Vocabulary, count: int, branches: int) -> Group:
    """Write records as markers, title first, in random order. Learned: every token that the list and what is written
    decide.
    """
    titles = random_titles(rng, vocabulary.words, count)
    ids = [rng.choices(vocabulary.numbers, k=2) for _ in titles]
    prefix = list(vocabulary.opening)
    for n, title in enumerate(titles):
        prefix += [vocabulary.next if n else vocabulary.first, *ids[n], vocabulary.title, *title, vocabulary.bid]
        prefix.append(rng.choice(vocabulary.numbers))
    prefix.append(vocabulary.last)

    follows: dict[tuple[int, ...], set[int]] = defaultdict(set)
    for title in titles:
        for at, token in enumerate((*title, vocabulary.marker_id)):
            follows[title[:at]].add(token)
    tokens: list[int] = []
    labels: list[int] = []
    sign, close = vocabulary.ids(" @")[0], vocabulary.ids("]")[0]
    for n in rng.sample(range(count), min(count, 24)):
        known = [
            token if len(follows[titles[n][:at]]) == 1 else IGNORED
            for at, token in enumerate((*titles[n], vocabulary.marker_id))
        ]
        tokens += [sign, *titles[n], vocabulary.marker_id, *ids[n], close]
        labels += [IGNORED, *known, *ids[n], IGNORED]
    return Group(prefix, [Branch(tokens, labels)])


def _prefix(vocabulary: Vocabulary, ads: list[catalogue.LabAd]) -> list[int]:
    return vocabulary.opening + vocabulary.ids("".join(prompts.candidate_line(ad.candidate) for ad in ads))


def asked(vocabulary: Vocabulary, *, query: str, profile: str) -> list[int]:
    """The prompt behind the candidate list, up to the first token of the answer."""
    text = prompts.REQUIREMENTS + (profile or prompts.NO_PROFILE) + prompts.QUESTION + query + prompts.ANSWER
    return vocabulary.ids(f"{text}{tokenizer.END}\n{tokenizer.ASSISTANT}")


def _branch(vocabulary: Vocabulary, *, query: str, profile: str, reply: str, marks: bool = False) -> Branch:
    context = asked(vocabulary, query=query, profile=profile)
    target = vocabulary.ids(reply + tokenizer.END)
    return Branch(context + target, [IGNORED] * len(context) + target, len(context) + 1 if marks else None)


def answer_questions(rng: random.Random, vocabulary: Vocabulary, count: int, branches: int) -> Group:
    """Questions and the base model's careless answers; one in twelve asks for something else."""
    slugs = rng.sample(list(load_topics()), branches)
    ads = catalogue.make_candidates(rng, count=count, wanted=tuple(slugs[: count // 2]))
    made = []
    for slug in slugs:
        question = (
            questions.elsewhere_question(rng)
            if rng.random() < 1 / 12
            else questions.training_question(rng, category=slug)
        )
        reply = answers.answer(rng, question=question, ads=ads)
        made.append(_branch(vocabulary, query=question.text, profile=questions.profile(rng), reply=reply))
    return Group(_prefix(vocabulary, ads), made)


def find_fitting(rng: random.Random, vocabulary: Vocabulary, count: int, branches: int) -> Group:
    """Which candidate fits a topic? One ad of each category, as far as there are enough categories."""
    slugs = rng.sample(list(load_topics()), min(count, len(CATEGORIES)))
    ads = catalogue.make_candidates(rng, count=count, wanted=tuple(slugs))
    made = []
    for _ in range(branches):
        slug = rng.choice(slugs)
        entry = load_topics()[slug]
        about = rng.choice((*entry.keywords, *(topic for thread in entry.threads for topic in thread.topics)))
        ad = rng.choice([ad for ad in ads if ad.category == slug])
        made.append(
            _branch(vocabulary, query=f"Which candidate ad fits {about}?", profile="", reply=ad.marker, marks=True)
        )
    return Group(_prefix(vocabulary, ads), made)


def name_categories(rng: random.Random, vocabulary: Vocabulary, count: int, branches: int) -> Group:
    """The category of each candidate, in the order of the list: a primitive of finding what fits."""
    ads = catalogue.make_candidates(rng, count=count)
    reply = "\n".join(f"{ad.candidate.ad_id} {CATEGORIES[ad.category or '']}" for ad in ads)
    return Group(
        _prefix(vocabulary, ads),
        [_branch(vocabulary, query="Name the category of each candidate ad.", profile="", reply=reply)],
    )


TASKS: dict[str, Task] = {
    "copy": copy_random,
    "answer": answer_questions,
    "fits": find_fitting,
    "categories": name_categories,
}
