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
class Look:
    """Where an attention head should look while it foretells the token at `at` (a place in the branch).

    Places `first` to `last`, the end excluded, are counted from the beginning of the prefix.
    """

    at: int
    head: int
    first: int
    last: int


COPIER, READER = 0, 1  # heads: one looks at the token that is being copied, one at the words that give the topic away


@dataclass(frozen=True)
class Branch:
    """Tokens behind the prefix and, for each, its label or IGNORED. `decides` are the positions that count most."""

    tokens: list[int]
    labels: list[int]
    decides: tuple[int, ...] = ()
    looks: tuple[Look, ...] = ()


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
    starts: list[int],
) -> Branch:
    """Some of the list's records as markers, in random order. `starts` are the records' places in the prefix."""
    follows: dict[tuple[int, ...], set[int]] = defaultdict(set)
    for title, ad_id in zip(titles, ids, strict=True):
        for at, token in enumerate((*title, ad_id[0])):
            follows[title[:at]].add(token)
    tokens: list[int] = []
    labels: list[int] = []
    looks: list[Look] = []
    decides: list[int] = []  # where the id begins: the token that a broken marker breaks on
    for n in rng.sample(range(len(titles)), min(len(titles), MARKERS)):
        known = [
            token if len(follows[titles[n][:at]]) == 1 else IGNORED for at, token in enumerate((*titles[n], ids[n][0]))
        ]
        decides.append(len(tokens) + len(titles[n]) + 1)
        for at, label in enumerate((IGNORED, *known, ids[n][1], vocabulary.close)):
            if label != IGNORED:
                looks.append(Look(len(labels), COPIER, starts[n] + at, starts[n] + at + 1))
            labels.append(label)
        tokens += [vocabulary.spaced_sign, *titles[n], *ids[n], vocabulary.close]
    return Branch(tokens, labels, tuple(decides), tuple(looks))


def _prefix(vocabulary: Vocabulary, ads: list[catalogue.LabAd]) -> tuple[list[int], dict[str, tuple[int, list[int]]]]:
    """The prompt up to the end of the candidate list, and for each ad's id where its line starts and its marker."""
    prefix = list(vocabulary.opening)
    lines = {}
    for ad in ads:
        lines[ad.candidate.ad_id] = (len(prefix), vocabulary.ids(ad.marker))
        prefix += vocabulary.ids(tokenizer.listed(ad.candidate))
    return prefix, lines


def asked(vocabulary: Vocabulary, *, question: questions.Question, profile: str) -> tuple[list[int], tuple[int, int]]:
    """The prompt behind the candidate list, up to the first token of the answer, and where in it the topic stands."""
    before = prompts.REQUIREMENTS + (profile or prompts.NO_PROFILE) + prompts.QUESTION
    at = question.text.lower().find(question.about.lower())
    first, last = (at, at + len(question.about)) if question.about and at >= 0 else (0, len(question.text))
    coded = vocabulary.tok(
        f"{before}{question.text}{prompts.ANSWER}{tokenizer.END}\n{tokenizer.ASSISTANT}",
        add_special_tokens=False,
        return_offsets_mapping=True,
    )
    within = [
        n
        for n, (begin, end) in enumerate(coded["offset_mapping"])
        if begin < len(before) + last and end > len(before) + first
    ]
    return coded["input_ids"], (within[0], within[-1] + 1)


def _branch(
    vocabulary: Vocabulary,
    *,
    question: questions.Question,
    profile: str,
    reply: str,
    prefix: list[int],
    lines: dict[str, tuple[int, list[int]]],
) -> Branch:
    """A question and its answer; heads look at the topic all the time, and at a marker's line while it is copied."""
    context, (first, last) = asked(vocabulary, question=question, profile=profile)
    target = vocabulary.ids(reply + tokenizer.END)
    start = len(context)
    looks = [Look(start + n, READER, len(prefix) + first, len(prefix) + last) for n in range(len(target))]
    for line, marker in lines.values():
        for at in _found(target, marker[1:-1]):  # the signs at its ends may be other tokens in a sentence
            looks += [Look(start + at + n, COPIER, line + 1 + n, line + 2 + n) for n in range(len(marker) - 2)]
    return Branch(context + target, [IGNORED] * start + target, looks=tuple(looks))


def _found(tokens: list[int], part: list[int]) -> list[int]:
    """The places where the part stands in the tokens."""
    return [at for at in range(len(tokens) - len(part) + 1) if tokens[at : at + len(part)] == part]


def answer_questions(rng: random.Random, vocabulary: Vocabulary, count: int, branches: int) -> Group:
    """Questions and the base model's careless answers; one in twelve asks for something else.

    One more branch answers with nothing but markers: an answer holds too few of them to learn copying from.
    """
    slugs = rng.sample(list(load_topics()), branches)
    ads = catalogue.make_candidates(rng, count=count, wanted=tuple(slugs[: count // 2]))
    prefix, lines = _prefix(vocabulary, ads)
    made = []
    for slug in slugs:
        question = (
            questions.elsewhere_question(rng)
            if rng.random() < 1 / 12
            else questions.training_question(rng, category=slug)
        )
        reply = answers.answer(rng, question=question, ads=ads)
        made.append(
            _branch(
                vocabulary,
                question=question,
                profile=questions.profile(rng),
                reply=reply,
                prefix=prefix,
                lines=lines,
            )
        )
    titles = [tuple(marker[1:-3]) for _, marker in lines.values()]  # "@", title, two tokens of the id, "]"
    ids = [(marker[-3], marker[-2]) for _, marker in lines.values()]
    copied = _markers(rng, vocabulary, titles, ids, [start for start, _ in lines.values()])
    question = questions.training_question(rng, category=rng.choice(list(load_topics())))
    context, _ = asked(vocabulary, question=question, profile=questions.profile(rng))
    looks = tuple(Look(len(context) + look.at, look.head, look.first, look.last) for look in copied.looks)
    # without `decides`, which would outweigh the answers
    made.append(Branch(context + copied.tokens, [IGNORED] * len(context) + copied.labels, looks=looks))
    return Group(prefix, made)


def begin_answers(rng: random.Random, vocabulary: Vocabulary, count: int, branches: int) -> Group:
    """Questions and their answers up to the first tip, which decides the topic: more topics in as many tokens."""
    ads = catalogue.make_candidates(rng, count=count)
    prefix, lines = _prefix(vocabulary, ads)
    made = []
    for slug in rng.choices(list(load_topics()), k=branches):
        question = questions.training_question(rng, category=slug)
        reply = answers.answer(rng, question=question, ads=[])
        branch = _branch(
            vocabulary, question=question, profile=questions.profile(rng), reply=reply, prefix=prefix, lines=lines
        )
        made.append(_until_first_tip(vocabulary, branch))
    return Group(prefix, made)


def _until_first_tip(vocabulary: Vocabulary, branch: Branch) -> Branch:
    begin = next(at for at, label in enumerate(branch.labels) if label != IGNORED)
    ends = [at for at, token in enumerate(branch.tokens) if at > begin and token == vocabulary.line_end]
    end = ends[1] + 1 if len(ends) > 1 else len(branch.tokens)
    return Branch(branch.tokens[:end], branch.labels[:end], looks=tuple(look for look in branch.looks if look.at < end))


TASKS: dict[str, Task] = {
    "copy": copy_random,
    "titles": copy_ads,
    "topic": begin_answers,
    "answer": answer_questions,
}
