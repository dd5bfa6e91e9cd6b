"""What the lab Ad-LLM practises: tasks that make one prompt prefix and the branches learned behind it.

A group shares one candidate list, so that a hundred candidates are read once for many questions about them. A task is
a function from a random generator to a group; a new skill is one more function here and one more share in a phase of
the recipe.
Knows tokens, not tensors.
"""

import random
import string
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from transformers import PreTrainedTokenizerFast

from chat.adllm import prompts
from training.lab import answers, catalogue, questions, tokenizer
from training.lab.topics import load_topics

IGNORED = -100  # a label that no loss is taken on
MARKERS = 24  # in a branch that copies


@dataclass(frozen=True)
class Branch:
    """Tokens behind the prefix and, for each, its label or IGNORED. `decides` are the positions that count most;
    `sources`, where known, says for each token at which place of the prefix it stands and can be copied from.
    """

    tokens: list[int]
    labels: list[int]
    decides: tuple[int, ...] = ()
    sources: tuple[int, ...] = ()


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
        self.sign, self.spaced_sign, self.close, self.bid, self.line_end = (
            self.ids(text)[0] for text in ("@", " @", "]", tokenizer.BID, "\n")
        )
        self.marker_ids = [self.ids(text)[0] for text in tokenizer.MARKER_IDS]
        self.numbers = [self.ids(f"{n:02d}")[0] for n in range(100)]
        taken = {self.ids(str(n))[0] for n in range(100)} | {self.ids(f"{n:02d}")[0] for n in range(100)}
        letters = [self.ids(letter)[0] for letter in string.ascii_letters]
        self.words = letters + [i for i in range(259, len(tok) - len(tokenizer.FRAGMENTS)) if i not in taken]

    def ids(self, text: str) -> list[int]:
        return self.tok(text, add_special_tokens=False)["input_ids"]


Task = Callable[[random.Random, Vocabulary, int, int], Group]


def random_titles(rng: random.Random, words: list[int], count: int) -> list[tuple[int, ...]]:
    """Titles of random tokens, nothing to guess. From six on, some begin or end alike and some lists use few words."""
    hard = count >= 6
    pool = rng.sample(words, rng.choice((12, count, 10 * count, len(words)))) if hard else words
    firsts = rng.sample(words, count)
    titles: dict[tuple[int, ...], None] = {}
    while len(titles) < count:
        length = rng.choice((1, 2, 3, 3, 4, 5, 6, 7, 9))
        start, end = [firsts[len(titles)]], []
        if titles and hard and rng.random() < 0.3:
            other = list(rng.choice(list(titles)))
            if rng.random() < 0.5:
                start = other[: rng.randint(1, len(other))]
            else:
                end = other[rng.randint(0, len(other) - 1) :]
        titles[(*start, *rng.choices(pool, k=max(0 if end else 1, length - len(start) - len(end))), *end)] = None
    return list(titles)


def copy_random(rng: random.Random, vocabulary: Vocabulary, count: int, branches: int) -> Group:
    """Write records as markers, in random order. Learned: every token that the list and what is written decide."""
    return _copies(rng, vocabulary, random_titles(rng, vocabulary.words, count))


def copy_ads(rng: random.Random, vocabulary: Vocabulary, count: int, branches: int) -> Group:
    """The same with titles as advertisers write them."""
    titles = {tuple(vocabulary.ids("@" + ad.candidate.title)[1:]) for ad in catalogue.make_candidates(rng, count=count)}
    return _copies(rng, vocabulary, rng.sample(sorted(titles), len(titles)))


def _copies(rng: random.Random, vocabulary: Vocabulary, titles: list[tuple[int, ...]]) -> Group:
    ids = [(rng.choice(vocabulary.marker_ids), rng.choice(vocabulary.numbers)) for _ in titles]
    prefix = list(vocabulary.opening)
    starts = []
    for title, ad_id in zip(titles, ids, strict=True):
        starts.append(len(prefix))
        bid = rng.choice(vocabulary.numbers)
        prefix += [vocabulary.sign, *title, *ad_id, vocabulary.close, vocabulary.bid, bid, vocabulary.line_end]
    return Group(prefix, [_markers(rng, vocabulary, titles, ids, starts)])


def _markers(
    rng: random.Random,
    vocabulary: Vocabulary,
    titles: list[tuple[int, ...]],
    ids: list[tuple[int, int]],
    starts: list[int] | None = None,
) -> Branch:
    """Some of the list's records as markers, in random order. `starts` are the records' places in the prefix."""
    follows: dict[tuple[int, ...], set[int]] = defaultdict(set)
    for title, ad_id in zip(titles, ids, strict=True):
        for at, token in enumerate((*title, ad_id[0])):
            follows[title[:at]].add(token)
    tokens: list[int] = []
    labels: list[int] = []
    sources: list[int] = []
    decides: list[int] = []  # where the id begins: the token that a broken marker breaks on
    for n in rng.sample(range(len(titles)), min(len(titles), MARKERS)):
        known = [
            token if len(follows[titles[n][:at]]) == 1 else IGNORED for at, token in enumerate((*titles[n], ids[n][0]))
        ]
        decides.append(len(tokens) + len(titles[n]) + 1)
        tokens += [vocabulary.spaced_sign, *titles[n], *ids[n], vocabulary.close]
        labels += [IGNORED, *known, ids[n][1], vocabulary.close]
        if starts:
            sources += range(starts[n], starts[n] + len(titles[n]) + 4)
    return Branch(tokens, labels, tuple(decides), tuple(sources))


def _prefix(vocabulary: Vocabulary, ads: list[catalogue.LabAd]) -> list[int]:
    return vocabulary.opening + vocabulary.ids("".join(tokenizer.listed(ad.candidate) for ad in ads))


def _marker_tokens(
    vocabulary: Vocabulary, ads: list[catalogue.LabAd]
) -> tuple[list[tuple[int, ...]], list[tuple[int, int]]]:
    """The titles of the ads and their ids, as tokens."""
    markers = [vocabulary.ids(ad.marker) for ad in ads]  # "@", title, two tokens of the id, "]"
    return [tuple(marker[1:-3]) for marker in markers], [(marker[-3], marker[-2]) for marker in markers]


def asked(vocabulary: Vocabulary, *, query: str, profile: str) -> list[int]:
    """The prompt behind the candidate list, up to the first token of the answer."""
    text = prompts.REQUIREMENTS + (profile or prompts.NO_PROFILE) + prompts.QUESTION + query + prompts.ANSWER
    return vocabulary.ids(f"{text}{tokenizer.END}\n{tokenizer.ASSISTANT}")


def _branch(vocabulary: Vocabulary, *, query: str, profile: str, reply: str) -> Branch:
    context = asked(vocabulary, query=query, profile=profile)
    target = vocabulary.ids(reply + tokenizer.END)
    return Branch(context + target, [IGNORED] * len(context) + target)


def answer_questions(rng: random.Random, vocabulary: Vocabulary, count: int, branches: int) -> Group:
    """Questions and the base model's careless answers; one in twelve asks for something else.

    One more branch writes markers of the same list: an answer holds too few of them to learn copying from.
    """
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
    copied = _markers(rng, vocabulary, *_marker_tokens(vocabulary, ads))
    made.append(Branch(copied.tokens, copied.labels))  # `decides` would outweigh the answers
    return Group(_prefix(vocabulary, ads), made)


def begin_answers(rng: random.Random, vocabulary: Vocabulary, count: int, branches: int) -> Group:
    """Questions and their answers up to the first tip, which decides the topic: more topics in as many tokens."""
    ads = catalogue.make_candidates(rng, count=count)
    made = []
    for slug in rng.choices(list(load_topics()), k=branches):
        question = questions.training_question(rng, category=slug)
        reply = answers.answer(rng, question=question, ads=[])
        made.append(_branch(vocabulary, query=question.text, profile=questions.profile(rng), reply=reply))
    return Group(_prefix(vocabulary, ads), [_until_first_tip(vocabulary, branch) for branch in made])


def _until_first_tip(vocabulary: Vocabulary, branch: Branch) -> Branch:
    begin = next(at for at, label in enumerate(branch.labels) if label != IGNORED)
    ends = [at for at, token in enumerate(branch.tokens) if at > begin and token == vocabulary.line_end]
    end = ends[1] + 1 if len(ends) > 1 else len(branch.tokens)
    return Branch(branch.tokens[:end], branch.labels[:end])


TASKS: dict[str, Task] = {
    "copy": copy_random,
    "titles": copy_ads,
    "topic": begin_answers,
    "answer": answer_questions,
}
